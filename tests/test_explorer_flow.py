"""Flow, shared codes, search, answers at a glance and saved files: driven in a browser, held against the run."""

import csv
import functools
import io
import re
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from browsing import needs_browser, saved, shown
from planted import written
from playwright.sync_api import expect
from references.overlaps import shared_mass

from layerscope.results import select
from layerscope.summary import layer_of_departure, sentences

pytestmark = needs_browser
ATTACK = "pgd:linf=8/255"


@pytest.fixture(scope="module")
def address(tiny_run):
    return tiny_run.report().resolve().as_uri()


@pytest.fixture
def page(chromium, address):
    with shown(chromium, f"{address}#layer=middle") as opened:
        yield opened


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Nothing."""


@contextmanager
def module(chromium, name):
    """A function that calls what a module of the front end exports."""
    handler = functools.partial(Quiet, directory=str(files("layerscope.explorer") / "static"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opened = chromium.new_page()
        opened.goto(f"http://127.0.0.1:{server.server_port}/style.css")

        def call(called, *given):
            return opened.evaluate(
                f"([given]) => import('/{name}').then((its) => its.{called}(...given))", [list(given)]
            )

        call.within = lambda script: opened.evaluate(f"import('/{name}').then(async (its) => {{ {script} }})")
        yield call
        opened.close()
        server.shutdown()


def panel(page, name):
    return page.locator(f"#panel-{name}")


def selection(page):
    return page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def table(page, name):
    """What a view's CSV button saves, as a table."""
    _, content = saved(page, panel(page, name).get_by_role("button", name=re.compile("^CSV")))
    return pd.DataFrame((rows := list(csv.reader(io.StringIO(content.decode(), newline=""))))[1:], columns=rows[0])


def labels(run):
    return run.recordings["clean"].labels.numpy()


def codes(run, condition="clean"):
    """Codes (samples x layers) under the mean."""
    own = run.codes[condition]
    return pd.DataFrame({name: own[f"code:{name}|mean"] for name in layers(run)})


def layers(run):
    return [layer.name for layer in run.recordings["clean"].depth("mean")]


@pytest.mark.parametrize(
    ("share", "written"),
    [
        (0, "0 %"), (1, "100 %"), (0.9967, "99.7 %"), (0.9999, ">99.9 %"), (0.9995, ">99.9 %"), (0.9994, "99.9 %"),
        (0.0004, "<0.1 %"), (0.0005, "0.1 %"), (0.098, "9.8 %"), (0.5, "50.0 %"), (None, "unknown"),
    ],
)  # fmt: skip
def test_a_share_is_none_or_all_only_where_it_is_exactly_that(call_elements, share, written):
    assert call_elements("percent", share) == written


@pytest.fixture(scope="module")
def call_elements(chromium):
    with module(chromium, "elements.js") as call:
        yield call


def test_few_samples_of_one_and_the_same_distribution_overlap_as_much_as_they_could(chromium):
    drawn = np.random.default_rng(2)
    own = np.repeat([0, 1, 2, -1], [80, 60, 29, 40])
    codes = np.stack([drawn.integers(0, 100, len(own)), own + 1, np.where(own == 0, 0, drawn.integers(0, 2, len(own)))])
    with module(chromium, "overlaps.js") as call:
        told = call("sharedMass", codes.tolist(), own.tolist(), 100)
    (pair,) = told["pairs"]
    ((overlaps, ceilings),) = shared_mass(codes, own, 100).values()
    assert (told["classes"], told["scarce"], told["crowded"]) == ([0, 1], 1, 0)
    assert pair["overlaps"] == pytest.approx(overlaps)
    assert pair["ceilings"] == pytest.approx(ceilings)
    assert pair["overlaps"][0] == pytest.approx(pair["ceilings"][0], abs=0.1)
    assert pair["overlaps"][0] < 0.5  # and yet it is as much as can be
    assert pair["overlaps"][1] == 0
    assert pair["ceilings"][1] == pytest.approx(1)
    assert pair["shared"] == [0, 2]
    assert pair["mean"] == pytest.approx(np.mean(overlaps))
    assert pair["ceiling"] == pytest.approx(np.mean(ceilings))


def test_tables_are_quoted_and_formulas_are_disarmed(chromium):
    cells = [
        ["plain", "a,b", 'he said "no"', "two\nlines"],
        ["=1+1", "+1", "-a", "@x"],
        ["\tq", "\rq", "-1", "-1.5e-3"],
        ["'", "", "12", "１"],
    ]
    with module(chromium, "saving.js") as call:
        text = call("csvText", cells)
        assert [call("savedName", name, "SVG") for name in ("../a b", "…", "map")] == [
            "layerscope-a-b.svg", "layerscope-view.svg", "layerscope-map.svg",
        ]  # fmt: skip
        assert call("pngScale", 100, 50) == 2
        assert call("pngScale", 40000, 50) == pytest.approx(0.4)
        assert 15000**2 * call("pngScale", 15000, 15000) ** 2 == pytest.approx(2.5e8)
    back = list(csv.reader(io.StringIO(text, newline="")))
    assert back == [cells[0], ["'=1+1", "'+1", "'-a", "'@x"], ["'\tq", "'\rq", "-1", "-1.5e-3"], cells[3]]
    assert text.count("\r\n") == len(cells)


def test_what_follows_the_next_frame_is_done_once_and_not_after_the_end(chromium):
    script = """
        const [living, times] = [new AbortController(), []];
        let many = 0;
        const later = its.afterFrame({signal: living.signal}, () => { many += 1; });
        const rest = () => new Promise((done) => setTimeout(done, 100));
        later.now(); times.push(many);                             // nothing was asked for
        later.soon(); later.soon(); times.push(many);
        await rest(); times.push(many);
        later.soon(); later.now(); times.push(many);
        await rest(); times.push(many);
        later.soon(); living.abort(); await rest(); times.push(many);
        return times;
    """
    with module(chromium, "watching.js") as call:
        assert call.within(script) == [0, 0, 1, 2, 2, 2]


def test_streams_are_the_counts_of_a_loop_and_none_is_lost_where_many_are_drawn_as_one(chromium):
    drawn = np.random.default_rng(0)
    left, right, own = drawn.integers(0, 30, 900), drawn.integers(0, 30, 900), drawn.integers(-1, 4, 900)
    with module(chromium, "streams.js") as call:
        streams = call("streamsBetween", left.tolist(), right.tolist(), own.tolist(), 30, 4)
        hits = [np.bincount(side, minlength=30).tolist() for side in (left, right)]
        columns = [
            {"order": list(range(30)), "scale": 0.4, "top": (np.cumsum([0, *each])[:-1] * 0.4).tolist()}
            for each in hits
        ]
        placed = call("placedStreams", streams, *columns)
        gathered = call("gatheredStreams", placed, 100)
    wanted = pd.DataFrame({"from": left, "to": right, "own": own})
    for stream, ((start, end), group) in zip(streams, wanted.groupby(["from", "to"]), strict=True):
        known = group["own"][group["own"] >= 0]
        counts = known.value_counts()
        assert (stream["from"], stream["to"], stream["count"]) == (start, end, len(group))
        commonest = int(counts[counts == counts.max()].index.min()) if len(known) else -1
        assert stream["commonest"] == commonest
        assert stream["purity"] == pytest.approx(counts.max() / len(known) if len(known) else 0)
    for unit in range(30):
        edges = sorted((one["top"], one["bottom"]) for one in placed if one["stream"]["from"] == unit)
        assert edges[0][0] == pytest.approx(columns[0]["top"][unit])
        assert all(low == pytest.approx(high) for (_, low), (high, _) in pairwise(edges))
        assert edges[-1][1] == pytest.approx(columns[0]["top"][unit] + 0.4 * hits[0][unit])
    assert len(gathered) <= 100 < len(placed)
    for key, ends in (("top", "bottom"), ("otherTop", "otherBottom")):
        assert sum(one[ends] - one[key] for one in gathered) == pytest.approx(0.4 * 900)
    assert sum(one["stream"]["count"] for one in gathered) == 900


def test_ribbons_are_the_counts_between_two_layers_and_follow_the_selected_code(page, tiny_run):
    before, after = "middle", layers(tiny_run)[layers(tiny_run).index("middle") + 1]
    own = codes(tiny_run)
    counted = own.groupby([before, after]).size()
    told = table(page, "ribbons")
    assert {
        (int(row["code"]), int(row["next code"])): int(row["samples"]) for _, row in told.iterrows()
    } == counted.to_dict()
    unit = int(own[before].value_counts().index[0])
    panel(page, "ribbons").get_by_role("button", name=f"Code {unit} at {before}", exact=True).first.click()
    assert selection(page)["unit"] == str(unit)
    told = table(page, "ribbons")
    assert dict(zip(told["next code"].astype(int), told["samples"].astype(int), strict=True)) == counted[unit].to_dict()
    assert f"Where the samples of code {unit} go" in panel(page, "ribbons").inner_text()
    for measure in ("fan_out", "fan_in"):
        row = select(tiny_run.results, measure=measure, layer=after, condition="clean", reduction="mean").iloc[0]
        words = panel(page, "ribbons").locator(".ribbons-words").inner_text()
        for value in (row["value"], row["low"], row["high"], row["null_untrained"]):
            assert f"{float(f'{value:.3g}'):g}" in words, (measure, words)


def test_keys_lead_along_the_ribbons_and_the_last_layer_shows_the_step_before_it(page, tiny_run):
    own, names = codes(tiny_run), layers(tiny_run)
    area = panel(page, "ribbons").locator(".ribbons")
    area.focus()
    page.keyboard.press("ArrowDown")
    first = int(selection(page)["unit"])
    page.keyboard.press("ArrowDown")
    unit = int(selection(page)["unit"])
    assert first != unit
    assert {first, unit} <= set(own["middle"])
    page.keyboard.press("ArrowRight")
    after = names[names.index("middle") + 1]
    counts = own[own["middle"] == unit][after].value_counts()
    assert selection(page)["layer"] == after
    assert counts[int(selection(page)["unit"])] == counts.max()
    page.locator(f'.layer-name[data-layer="{names[-1]}"]').click()
    expect(page.locator("#title-ribbons")).to_have_text(f"From {names[-2]} to {names[-1]}")
    area.focus()
    page.keyboard.press("ArrowDown")
    unit = int(selection(page)["unit"])
    expect(panel(page, "ribbons")).to_contain_text(f"Where the samples of code {unit} come from")
    page.keyboard.press("Escape")
    expect(panel(page, "ribbons")).to_contain_text("The largest ribbons")


def test_ribbons_out_of_sight_are_painted_for_paper(chromium, address):
    picture = "document.querySelector('#panel-ribbons canvas').toDataURL()"
    with shown(chromium, address) as page:
        page.wait_for_timeout(300)
        blank = page.evaluate(picture)
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert len(page.evaluate(picture)) > 2 * len(blank)


def changes(run):
    """How far each path lies from its clean one: grid steps, summed over layers."""
    positions = run.grid.positions.double()
    clean, attacked = codes(run).to_numpy(), codes(run, ATTACK).to_numpy()
    return np.array(
        [
            sum(float((positions[a] - positions[b]).norm()) for a, b in zip(one, other, strict=True))
            for one, other in zip(clean, attacked, strict=True)
        ]
    )


def spread(row):
    """A value and its interval, three digits each."""
    value, low, high = (f"{float(f'{row[name]:.3g}'):g}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})" if row["low"] < row["high"] else value


def untrained(run, *rows):
    """What the untrained network has in the same layers."""
    told = [
        spread(
            select(
                run.results, **{name: row[name] for name in ("measure", "layer", "reduction")}, condition="untrained"
            ).iloc[0]
        )
        for row in rows
    ]
    return f"Untrained weights, 2 draws: {told[0]} to {told[1]} in the same layers."


def flip_rate(run, layer, condition):
    row = select(run.results, measure="flip_rate", layer=layer, condition=condition, reduction="mean").iloc[0]
    value, low, high = (
        f"{100 * row[name]:.1f} %" if 0 < row[name] < 1 else f"{100 * row[name]:g} %"
        for name in ("value", "low", "high")
    )
    return f"{value} ({low} to {high})"


def test_the_five_answers_are_those_of_the_tables(page, tiny_run):
    told = {row["question"]: row["answer"] for _, row in table(page, "glance").iterrows()}
    answers = list(told.values())
    clean = {"reduction": "mean", "condition": "clean"}
    verdicts = {one.subject: one.verdict for one in sentences(tiny_run.results) if one.reduction == "mean"}
    for answer, subject in zip(answers, ("compression", "expansion"), strict=False):
        assert answer.lower().startswith(f"{verdicts[subject]}: ".lower())
    widths = select(tiny_run.results, measure="participation_ratio", **clean)
    blocks = widths.iloc[1:][widths.iloc[1:]["layer"] != "logits"]
    first, low = widths.iloc[0], blocks.loc[blocks["value"].idxmin()]
    assert answers[0].endswith(
        f"participation ratio {spread(first)} in {first['layer']}, {spread(low)} at its lowest, in {low['layer']}, "
        f"n = {low['n']}. {untrained(tiny_run, first, low)}"
    )
    information = select(tiny_run.results, measure="label_information", **clean)
    blocks = information.iloc[1:][information.iloc[1:]["layer"] != "logits"]
    low = blocks.iloc[:-1].loc[blocks.iloc[:-1]["value"].idxmin()]
    last = blocks.iloc[-1]
    assert answers[1].endswith(
        f"label information {spread(low)} at its lowest, in {low['layer']}, and from there to {spread(last)} in "
        f"{last['layer']}, n = {last['n']}. {untrained(tiny_run, low, last)}"
    )
    layer = layer_of_departure(tiny_run.results, "mean", ATTACK, f"noise:{ATTACK}")
    assert ("parts from noise in no layer" if layer is None else f"parts from noise from {layer} on") in answers[2]
    at = layers(tiny_run)[-1] if layer is None else layer
    rates = [flip_rate(tiny_run, at, name) for name in (ATTACK, f"noise:{ATTACK}")]
    assert answers[2].endswith(
        f"It flips {rates[0]} of the codes in {at}, noise of the same size {rates[1]}, n = {len(codes(tiny_run))}."
    )
    assert sum(np.bincount(labels(tiny_run)) >= 30) < 2
    assert answers[3] == "There are fewer than two classes of at least 30 samples."
    row = int(changes(tiny_run).argmax())
    assert answers[4].startswith(f"Sample {int(tiny_run.recordings['clean'].ids[row])}, ")
    assert f"{float(f'{changes(tiny_run)[row]:.3g}'):g} grid steps" in answers[4]


def test_what_was_found_stands_in_bold_before_its_numbers(page, tiny_run):
    found = [one for one in sentences(tiny_run.results) if one.reduction in ("", "mean")]
    items = page.locator(".sentences li").all()
    assert [one.inner_text() for one in items] == [one.text for one in found]
    bold = [f"Under mean: {one.verdict}" for one in found if one.verdict]
    assert page.locator(".sentences li b").all_inner_texts() == bold
    assert len(bold) == len(found) - 1


def test_every_answer_leads_to_the_view_that_shows_it(page, tiny_run):
    for question, there in [("compress", "depth"), ("expand", "depth"), ("depart", "depth"), ("change", "sample")]:
        panel(page, "glance").locator(f'[data-question="{question}"] button').click()
        assert page.evaluate("document.activeElement.id") == f"title-{there}"
        box = page.locator(f"#title-{there}").bounding_box()
        assert 0 <= box["y"] < 1000
    row = int(changes(tiny_run).argmax())
    assert page.locator("#title-sample").inner_text() == f"Sample {int(tiny_run.recordings['clean'].ids[row])}"


def test_hints_go_away_one_by_one_or_for_good(chromium, address):
    with shown(chromium, address) as page:
        assert page.evaluate("document.activeElement === document.body")
        hints = page.locator(".first-hint")
        assert hints.count() == 3
        hints.first.get_by_role("button", name=re.compile("Got it")).click()
        assert hints.count() == 2
        page.reload()
        page.wait_for_selector("[data-ready]")
        assert hints.count() == 2
        hints.first.get_by_role("button", name="No more hints").click()
        page.reload()
        page.wait_for_selector("[data-ready]")
        assert hints.count() == 0


@pytest.mark.parametrize("name", ["ribbons", "sharing"])
def test_saved_drawings_are_files_of_their_own(chromium, tmp_path, name):
    with shown(chromium, written(tmp_path)[0]) as page:
        drawing_is_a_file_of_its_own(chromium, page, tmp_path, name)


def drawing_is_a_file_of_its_own(chromium, page, tmp_path, name):
    file, content = saved(page, panel(page, name).get_by_role("button", name=re.compile("^SVG")))
    assert file == f"layerscope-{name}.svg"
    root = ET.fromstring(content)  # noqa: S314 - our own
    own = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{own}title").text == page.locator(f"#title-{name}").inner_text()
    assert root.find(f"{own}rect").get("fill") == "rgb(255, 255, 255)"
    assert not any({"class", "style", "tabindex"} & set(one.attrib) for one in root.iter())
    assert "var(" not in content.decode()
    (tmp_path / file).write_bytes(content)
    with_it = chromium.new_page()
    with_it.goto((tmp_path / file).as_uri())
    assert with_it.evaluate("document.documentElement.getBBox().width") > 100
    with_it.close()
    _, picture = saved(page, panel(page, name).get_by_role("button", name=re.compile("^PNG")))
    size = [float(root.get(side)) * 2 for side in ("width", "height")]
    assert [int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")] == pytest.approx(size, abs=1)
