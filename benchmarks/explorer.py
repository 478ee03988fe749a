"""How large a report is and how fast its explorer answers, in a real browser.

    python benchmarks/explorer.py --images FOLDER [--out runs/explorer-benchmark] [--browser chromium]

FOLDER holds the IDX files of Fashion-MNIST. Makes a run of 10,000 samples x 16 layers x 400 units x 3 conditions (kept in
--out), writes its report, and opens it from a file; then serves ten times as many samples. The first view is told by the
page (its own mark, from its opening). The mouse is moved as by a hand, and a layer switch and a hover take, by the browser's
own trace, from the input to the presentation of the page's next changed frame, if it comes before the next input; else
nothing changed, and the input is not counted. The ribbons, which follow a frame later, are timed by a script in the page up to
the second frame after they were drawn. Tables go to standard output; in brackets, how many times.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from playwright.sync_api import Page, sync_playwright
from torch import nn

import layerscope as ls
from layerscope.explorer.bundle import Bundle, bundle, whole
from layerscope.explorer.server import Server

FITTED = 2_000
BLOCKS, WIDTH = 13, 8
GRID = (20, 20)
TIMES = 10
"""As many samples again, when served."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
WINDOW = {"width": 1500, "height": 1000}
"""In pixels."""
PAUSE = 150
"""Milliseconds between inputs."""
TRACED = ["benchmark", "cc", "input"]
"""Categories of Chromium's trace in which inputs and frames stand."""
INPUT, FRAME = "EventLatency", "PipelineReporter"
TOLD = {INPUT: "event_latency", FRAME: "frame_reporter"}
"""Where a trace says what its inputs and its frames are."""
CHANGED = "STATE_PRESENTED_ALL"
"""Of a frame that was presented with what the page's own thread had changed."""
FOLLOWED = """async () => {
  const [taken, names] = [[], [...document.querySelectorAll(".layer-name")].map((one) => one.dataset.layer)];
  const title = document.querySelector("#title-ribbons");
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  document.querySelector("#panel-ribbons").scrollIntoView();
  for (let place = 0; place < names.length - 1; place += 1) {
    await new Promise((done) => setTimeout(done, 150));
    const wanted = `From ${names[place]} to ${names[place + 1]}`;
    if (title.textContent === wanted) continue;
    const begun = performance.now();
    document.querySelector(`.layer-name[data-layer="${CSS.escape(names[place])}"]`).click();
    while (title.textContent !== wanted) {
      if (performance.now() - begun > 5000) throw new Error(`no ribbons ${wanted}`);
      await frame();
    }
    await frame(); // in which they are painted
    await frame();
    taken.push(performance.now() - begun);
  }
  return taken;
}"""
"""How long the ribbons take where they are in view: they are drawn after the frame of all else."""


def network() -> ls.Network:
    """A stem and thirteen blocks: 16 layers from input to logits, not trained, since only sizes matter here."""
    torch.manual_seed(0)
    blocks = [
        nn.Sequential(nn.Conv2d(1 if not place else WIDTH, WIDTH, 3, stride=1 + (not place), padding=1), nn.ReLU())
        for place in range(BLOCKS + 1)
    ]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))
    return ls.Network(nn.Sequential(*blocks, head).eval(), bounds=(0, 1))


def made(images: Path, out: Path) -> ls.Run:
    """The run; what is left of it is made."""
    return ls.Study(
        out, network(), f"fashion-mnist:{images}", fit_data=ls.load_data(f"fashion-mnist:{images}:train", limit=FITTED),
        layers=[str(place) for place in range(BLOCKS + 1)], reductions=("mean",), attack="fgsm:linf=8/255",
        smallest=None, grid=GRID, untrained=0, draws=50,
    ).run()  # fmt: skip


def enlarged(small: Bundle, times: int) -> Bundle:
    """A bundle of as many times the samples, the same again and again under other ids."""
    told = dict(small.description)
    n = told["samples"]
    files = {name: content for name, content in small.files.items() if name != "bundle.json"}
    arrays = {}
    for name, one in told["arrays"].items():
        shape, file = one["shape"], f"arrays/{name}.bin"
        if n in shape:
            values = np.frombuffer(files[file], np.dtype(one["type"]).newbyteorder("<")).reshape(shape)
            tiled = np.tile(values, times) if len(shape) == 1 else np.tile(values, (1, times))
            if name == "id":
                tiled = np.arange(n * times, dtype=values.dtype)
            files[file], shape = tiled.tobytes(), list(tiled.shape)
        arrays[name] = {**one, "shape": shape}
    pictures = {
        condition: {**shown, "rows": list(range(n)) if shown["rows"] is None else shown["rows"]}
        for condition, shown in told["pictures"].items()
    }
    return whole({**told, "samples": n * times, "total": n * times, "arrays": arrays, "pictures": pictures}, files)


@contextmanager
def browser(path: str) -> Iterator[Any]:
    """Headless Chromium."""
    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=path, args=FLAGS)
        yield made
        made.close()


def seen(page: Page, address: str) -> float:
    """Milliseconds from opening an address to its first view."""
    page.goto(address, wait_until="commit")
    page.wait_for_selector("[data-ready]", timeout=60_000)
    return float(page.evaluate("performance.getEntriesByName('layerscope-ready')[0].startTime"))


def told(name: str, taken: Sequence[float]) -> str:
    """A row: median, 95th percentile, most."""
    ordered = sorted(taken)
    return f"| {name} ({len(ordered)}) | {statistics.median(ordered):.0f} | {ordered[int(0.95 * len(ordered))]:.0f} | {ordered[-1]:.0f} |"


def latencies(page: Page, kind: str, act: Callable[[], None]) -> list[float]:
    """Milliseconds from each input of a kind to the presentation of the page's next changed frame, of what `act` does."""
    browser = page.context.browser
    assert browser is not None
    browser.start_tracing(page=page, categories=TRACED)
    act()
    spans = list(_spans(json.loads(browser.stop_tracing())["traceEvents"]))
    inputs = sorted(
        (one for one in spans if one.name == INPUT and one.told["event_type"] == kind), key=lambda one: one.start
    )
    found = []
    for own, after in zip_longest(inputs, inputs[1:]):
        frames = [
            one.end
            for one in spans
            if one.name == FRAME and one.process == own.process and one.told["state"] == CHANGED and one.end >= own.end
        ]
        shown = min(frames, default=inf)
        if shown < (after.start if after else inf):
            found.append((shown - own.start) / 1000)
    return found


class Span(NamedTuple):
    """A frame or an input of a trace."""

    name: str
    process: int
    start: float
    """Microseconds."""
    end: float
    told: dict[str, Any]


def _spans(events: Iterable[dict[str, Any]]) -> Iterator[Span]:
    """Frames and inputs."""
    begun: dict[tuple[str, int, str], tuple[float, dict[str, Any]]] = {}
    for event in sorted((one for one in events if one["name"] in TOLD), key=lambda one: one["ts"]):
        own = event["name"], event["pid"], event["id2"]["local"]
        if event["ph"] == "b":
            begun[own] = event["ts"], event["args"][TOLD[event["name"]]]
        elif own in begun:
            start, told = begun.pop(own)
            yield Span(event["name"], event["pid"], start, event["ts"], told)


def switched(page: Page) -> None:
    """Click each layer's name."""
    for name in page.locator(".layer-name").all():
        name.scroll_into_view_if_needed()
        page.wait_for_timeout(PAUSE)
        box = name.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(PAUSE)


def hovered(page: Page) -> None:
    """Move the pointer over the maps, each time to another code, so that each time what it says changes."""
    area = page.locator(".maps")
    area.scroll_into_view_if_needed()
    maps = area.bounding_box()
    assert maps is not None
    for name in page.locator(".layer-name").all():
        box = name.bounding_box()
        assert box is not None
        for across, down in ((0.35, 0.4), (0.45, 0.6), (0.6, 0.3), (0.65, 0.7)):
            if (x := box["x"] + across * box["width"]) < WINDOW["width"] - 20:
                page.mouse.move(x, maps["y"] + down * maps["height"])
                page.wait_for_timeout(PAUSE)


def measured(path: str, address: str, what: str) -> None:
    """Rows of one way to show the explorer."""
    with browser(path) as opened:
        views = []
        for _ in range(5):
            page = opened.new_page(viewport=WINDOW)
            views.append(seen(page, address))
            last = page
        print(told(f"{what}: first view", views))
        for often in ("first visit", "again"):
            print(told(f"{what}: layer switch, {often}", latencies(last, "MOUSE_RELEASED", lambda: switched(last))))
        print(told(f"{what}: hover", latencies(last, "MOUSE_MOVED_EVENT", lambda: hovered(last))))
        again = opened.new_page(viewport=WINDOW)
        seen(again, address)
        print(told(f"{what}: ribbons in view after a switch, first visit", again.evaluate(FOLLOWED)))


def main() -> None:
    """The tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/explorer-benchmark"))
    parser.add_argument("--browser", default="/usr/bin/chromium")
    options = parser.parse_args()
    run = made(options.images, options.out)
    report = run.report()
    clean = run.recordings["clean"]
    print(
        f"{len(clean):,} samples x {len(clean.depth('mean'))} layers x {len(run.grid)} units x {len(run.codes)} conditions"
    )
    print(f"report.html: {report.stat().st_size / 1e6:.1f} MB\n")
    print("| milliseconds | median | 95th percentile | most |\n|---|---|---|---|")
    measured(options.browser, report.resolve().as_uri(), "report.html")
    with Server(enlarged(bundle(run), TIMES), port=0) as server:
        measured(options.browser, server.address, f"served, {TIMES * len(clean):,} samples")


if __name__ == "__main__":
    main()
