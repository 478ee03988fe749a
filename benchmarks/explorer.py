"""How large a report is and how fast its explorer answers, in a real browser.

    python benchmarks/explorer.py --images FOLDER [--out runs/explorer-benchmark] [--browser chromium]

FOLDER holds the IDX files of Fashion-MNIST. Makes a run of 10,000 samples x 16 layers x 400 units x 3 conditions (kept in
--out), writes its report, and opens it from a file; then serves ten times as many samples. Times are taken in the page:
from opening it to the first view, and from a click or a movement of the pointer to the frame after it. Tables go to
standard output.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
PAINTED = """
const painted = () => new Promise((done) => requestAnimationFrame(() => {
  const gate = new MessageChannel(); gate.port1.onmessage = done; gate.port2.postMessage(0); }));
"""
"""Resolves when the next frame has been handed over."""
CLICKS = f"""async () => {{ {PAINTED}
  const taken = [];
  for (let round = 0; round < 3; round += 1) for (const button of [...document.querySelectorAll(".layer-name")]) {{
    await painted();
    const begun = performance.now();
    document.querySelector(`.layer-name[data-layer="${{CSS.escape(button.dataset.layer)}}"]`).click();
    await painted();
    taken.push(performance.now() - begun);
  }}
  return taken;
}}"""
HOVERS = f"""async () => {{ {PAINTED}
  const [taken, area] = [[], document.querySelector(".maps")];
  const box = area.getBoundingClientRect();
  for (let step = 0; step < 60; step += 1) {{
    await painted();
    const at = {{bubbles: true, clientX: box.left + 60 + (step * 37) % (box.width - 200), clientY: box.top + 8 + (step * 13) % (box.height - 16)}};
    const begun = performance.now();
    area.dispatchEvent(new PointerEvent("pointermove", at));
    await painted();
    taken.push(performance.now() - begun);
  }}
  return taken;
}}"""


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
    return (
        f"| {name} | {statistics.median(ordered):.0f} | {ordered[int(0.95 * len(ordered))]:.0f} | {ordered[-1]:.0f} |"
    )


def measured(path: str, address: str, what: str) -> None:
    """Rows of one way to show the explorer."""
    with browser(path) as opened:
        views = []
        for _ in range(5):
            page = opened.new_page(viewport={"width": 1500, "height": 1000})
            views.append(seen(page, address))
            last = page
        print(told(f"{what}: first view", views))
        print(told(f"{what}: layer switch", last.evaluate(CLICKS)))
        print(told(f"{what}: hover", last.evaluate(HOVERS)))


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
