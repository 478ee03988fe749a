"""The explorer's views of a code and of a sample, and its probe, against the run's tables and hand-made pictures."""

import csv
import io
import json

import numpy as np
import pytest
from browsing import needs_browser, saved, shown
from PIL import Image

from layerscope.errors import ProbeError
from layerscope.explorer import bundle
from layerscope.explorer.bundle import whole
from layerscope.explorer.server import Server

pytestmark = needs_browser
ATTACK, NOISE = "pgd:linf=8/255", "noise:pgd:linf=8/255"
SIDE = 6
CELLS = 10
"""Pictures in a row of a sheet."""
FACTOR = 127 / 3
"""Of a change of at most three grey levels, enlarged to full contrast."""
TEXT = "<b>A text</b> " + "of many words " * 20


class Answering:
    """Answers probes with what it was told to."""

    def __init__(self, run):
        layers = [one.name for one in run.recordings["clean"].depth("mean")]
        ids = run.recordings["clean"].ids[:3].tolist()
        near = [[{"id": one, "shared": 1, "distance": 0.5} for one in ids] for _ in layers]
        paths = {"mean": list(range(len(layers))), "sketch:512": [0] * len(layers)}
        self.told = {
            "prediction": [
                {"class": 2, "name": "bottom", "confidence": 0.75}, {"class": 0, "name": "top", "confidence": 0.25},
            ],
            "codes": paths, "nearest": dict.fromkeys(paths, near), "picture": None,
        }  # fmt: skip

    def image(self, content):
        if content != b"a picture":
            raise ProbeError("<b>This</b> is no image.")
        return self.told

    def text(self, text):
        assert text == TEXT
        return self.told


def sheet(level):
    """The pictures of 120 samples: the first pixel of number n is n, the second differs by condition."""
    pixels = np.full((120 // CELLS * SIDE, CELLS * SIDE), 100, np.uint8)
    for place in range(120):
        row, column = divmod(place, CELLS)
        pixels[row * SIDE, column * SIDE] = place
        pixels[row * SIDE, column * SIDE + 1] += level
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def changed(made, files=None, **told):
    """A bundle of which something is otherwise."""
    kept = {name: content for name, content in made.files.items() if name != "bundle.json"}
    return whole({**made.description, **told}, kept | (files or {}))


@pytest.fixture(scope="module")
def made(tiny_run):
    return bundle(tiny_run, show_progress=False)


@pytest.fixture(scope="module")
def pictured(made):
    cell = {"width": SIDE, "height": SIDE, "shown": 120, "thinned": False, "columns": CELLS, "rows": None}
    levels = {"clean": 0, ATTACK: 3, NOISE: 0}
    pictures = {
        name: {**cell, "sheets": [{"name": f"sample-{place}", "first": 0, "count": 120}]}
        for place, name in enumerate(levels)
    }
    sheets = {f"sheets/sample-{place}.png": sheet(level) for place, level in enumerate(levels.values())}
    decoded = {"sheet": "sample-0", "width": SIDE, "height": SIDE, "columns": CELLS, "units": [0, 1],
               "inverted": [True, False], "reencoded": [False, None], "residual": [1.5, None],
               "names": ["top, middle", ""]}  # fmt: skip
    return changed(made, sheets, pictures=pictures, decoding={"mean": {"middle": decoded}})


@pytest.fixture(scope="module")
def server(pictured, tiny_run):
    with Server(pictured, probe=Answering(tiny_run), port=0) as server:
        yield server


@pytest.fixture
def visit(chromium, server):
    """Opens the explorer at a selection."""
    return lambda address="": shown(chromium, f"{server.address}#{address}")


def units(run, layer, condition="clean"):
    return run.codes[condition][f"code:{layer}|mean"].to_numpy()


def fullest(run, layer):
    """The unit of most samples, and their rows, nearest to its prototype first."""
    unit = int(np.bincount(units(run, layer)).argmax())
    rows = np.flatnonzero(units(run, layer) == unit)
    distances = run.codes["clean"][f"distance:{layer}|mean"].to_numpy()[rows]
    return unit, rows[np.argsort(distances, kind="stable")]


def table(page, name):
    """What a panel saves."""
    _, content = saved(page, page.locator(f"#panel-{name} .save").get_by_role("button", name="CSV"))
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_a_code_shows_its_samples_their_classes_and_where_they_go(visit, tiny_run):
    unit, rows = fullest(tiny_run, "middle")
    clean = tiny_run.recordings["clean"]
    layers = [one.name for one in clean.depth("mean")]
    place = layers.index("middle")
    with visit(f"layer=middle&unit={unit}&condition={ATTACK}") as page:
        panel = page.locator("#panel-unit")
        told = panel.inner_text()
        shares = clean.labels.bincount(minlength=3).new_tensor(np.bincount(clean.labels[rows], minlength=3)) / len(rows)
        entropy = -(shares[shares > 0] * shares[shares > 0].log2()).sum().abs()
        assert f"{len(rows)} samples · purity {shares.max():.2f} · H(label | this code) {abs(entropy):.2f} bits" in told
        found = [int(one.get_attribute("data-sample")) for one in panel.locator(".exemplars button").all()]
        nearest = tiny_run.codes["clean"]["distance:middle|mean"].to_numpy()
        assert nearest[[clean.ids.tolist().index(one) for one in found]] == pytest.approx(nearest[rows[:12]], abs=1e-4)
        for other, words in ((place - 1, "From"), (place + 1, "To")):
            there = np.bincount(units(tiny_run, layers[other])[rows])
            many = np.count_nonzero(there)
            assert f"{words} {many} {'code' if many == 1 else 'codes'} of {layers[other]}" in told
            link = panel.locator(".unit-partners button", has_text=f"({there.max()})").first
            assert there[int(link.inner_text().split()[0])] == there.max()
        moved = units(tiny_run, "middle", ATTACK)[rows] != unit
        assert f"({moved.sum()} of {len(rows)})" in panel.locator(".unit-moves").inner_text()


def test_pressing_a_sample_or_a_neighbouring_code_selects_it(visit, tiny_run):
    unit, _ = fullest(tiny_run, "middle")
    with visit(f"layer=middle&unit={unit}") as page:
        chosen = page.locator("#panel-unit .exemplars button").nth(2)
        chosen.focus()
        page.keyboard.press("Enter")
        assert chosen.get_attribute("aria-pressed") == "true"
        assert page.locator("#title-sample").inner_text() == f"Sample {chosen.get_attribute('data-sample')}"
        link = page.locator("#panel-unit .unit-partners button").first
        other = link.inner_text().split()[0]
        link.focus()
        page.keyboard.press("Enter")
        before = [one.name for one in tiny_run.recordings["clean"].depth("mean")]
        layer = before[before.index("middle") - 1]
        assert page.locator("#title-unit").inner_text() == f"Code {other} at {layer}"
        assert page.evaluate("document.activeElement.closest('#panel-unit') !== null")  # the keyboard stays in the view


def test_a_code_s_samples_are_saved_as_a_table(visit, tiny_run):
    unit, rows = fullest(tiny_run, "middle")
    clean, attacked = tiny_run.recordings["clean"], tiny_run.recordings[ATTACK]
    with visit(f"layer=middle&unit={unit}") as page:
        saved_rows = {int(one["id"]): one for one in table(page, "unit")}
    assert set(saved_rows) == set(clean.ids[rows].tolist())
    names = tiny_run.class_names
    spread = {}
    for row in rows:
        one = saved_rows[int(clean.ids[row])]
        assert one["label"] == names[clean.labels[row]]
        assert one["prediction"] == one["prediction under clean"] == names[clean.predictions[row]]
        assert one[f"prediction under {ATTACK}"] == names[attacked.predictions[row]]
        assert float(one["confidence"]) == pytest.approx(float(clean.logits().softmax(1).amax(1)[row]), rel=1e-5)
        for condition in ("clean", NOISE, ATTACK):
            assert int(one[f"code under {condition}"]) == units(tiny_run, "middle", condition)[row]
        spread[row] = tiny_run.codes["clean"]["distance:middle|mean"][row] / float(one["distance"])
    assert list(spread.values()) == pytest.approx([np.median(list(spread.values()))] * len(rows), rel=0.01)


def test_inversions_are_shown_with_their_fidelity_and_what_lacks_is_told(visit, tiny_run):
    with visit("layer=middle&unit=0") as page:
        told = page.locator(".unit-inversion").inner_text()
        assert "Named top, middle" in told
        assert "✗ encoded to another code · 1.5 spreads from the prototype" in told
        page.evaluate("location.hash = 'layer=middle&unit=1'")
        assert "This code was not inverted." in page.locator(".unit-inversion").inner_text(timeout=2000)
        page.evaluate("location.hash = 'layer=middle&unit=2'")
        page.locator(".unit-inversion", has_text="of middle, 2 of 12 were").wait_for()


def test_a_sample_s_pictures_answers_and_path_are_those_of_the_run(visit, tiny_run):
    clean, row = tiny_run.recordings["clean"], 7
    with visit(f"sample={int(clean.ids[row])}&condition={ATTACK}") as page:
        panel = page.locator("#panel-sample")
        panel.get_by_text(f"change ×{FACTOR:.2g}").wait_for()
        assert "label" in panel.inner_text()
        pixels = page.evaluate(
            "[...document.querySelector('.change canvas').getContext('2d').getImageData(0, 0, 6, 6).data]"
        )
        levels = np.array(pixels).reshape(6, 6, 4)[:, :, :3]
        assert (levels[0, 1] == 255).all()
        levels[0, 1] = 128
        assert (levels == 128).all()
        background = page.evaluate(
            "getComputedStyle(document.querySelector('.sample-pictures .thumbnail')).backgroundPosition"
        )
        assert background == f"{-7 * SIDE * (96 // SIDE)}px 0px"
        for name in ("clean", NOISE, ATTACK):
            recording = tiny_run.recordings[name]
            line = panel.locator(f".answers th[title='{name}'] + td + td").inner_text()
            sure = float(recording.logits().softmax(1).amax(1)[row])
            assert line == (">99.9 %" if 0.9995 <= sure < 1 else f"{100 * sure:.1f} %")
            answer = panel.locator(f".answers th[title='{name}'] + td").inner_text()
            assert tiny_run.class_names[recording.predictions[row]] in answer
            assert ("wrong" in answer) == bool(recording.predictions[row] != clean.labels[row])
        told = table(page, "sample")
    departed = True
    for one in reversed(told):
        before, after = (units(tiny_run, one["layer"], name)[row] for name in ("clean", ATTACK))
        assert (int(one["clean code"]), int(one[f"code under {ATTACK}"])) == (before, after)
        where = tiny_run.grid.positions.double().numpy()
        assert float(one["grid steps between"]) == pytest.approx(np.linalg.norm(where[before] - where[after]), abs=1e-3)
        own = np.bincount(clean.labels[units(tiny_run, one["layer"]) == before])
        assert (one["own class commonest in it, clean"] == "yes") == (own.argmax() == clean.labels[row])
        last, departed = departed, departed and before != after
        if last and not departed:
            assert one["departs here"] == "no"
    assert sum(one["departs here"] == "yes" for one in told) == (
        told[-1]["clean code"] != told[-1][f"code under {ATTACK}"]
    )


def test_the_most_changed_sample_is_the_one_whose_path_lies_furthest(visit, tiny_run):
    where = tiny_run.grid.positions.double().numpy()
    clean = tiny_run.recordings["clean"]
    far = sum(
        np.linalg.norm(where[units(tiny_run, layer.name)] - where[units(tiny_run, layer.name, ATTACK)], axis=1)
        for layer in clean.depth("mean")
    )
    with visit(f"condition={ATTACK}") as page:
        steps = page.get_by_role("group", name="Another sample")
        steps.get_by_role("button", name="Most changed").click()
        shown_id = int(page.locator("#title-sample").inner_text().removeprefix("Sample "))
        assert far[clean.ids.tolist().index(shown_id)] == pytest.approx(far.max(), abs=1e-3)
        assert f"number 1 of {len(clean)}." in page.locator("#panel-sample .facts").last.inner_text()
        row = clean.ids.tolist().index(shown_id)
        steps.get_by_role("button", name="Next").click()
        assert page.locator("#title-sample").inner_text() == f"Sample {int(clean.ids[(row + 1) % len(clean)])}"
        steps.get_by_role("button", name="Previous").click()
        steps.get_by_role("button", name="Random").click()
        assert page.locator("#title-sample").inner_text() != f"Sample {shown_id}"


def test_a_layer_of_the_path_selects_its_code(visit, tiny_run):
    clean = tiny_run.recordings["clean"]
    with visit(f"sample={int(clean.ids[7])}&condition={ATTACK}") as page:
        line = page.locator("table.path tr[data-layer='stem']")
        line.get_by_role("button").nth(1).click()
        assert page.locator("#title-unit").inner_text() == f"Code {units(tiny_run, 'stem', ATTACK)[7]} at stem"
        line.locator("th").click()
        assert page.locator("#title-unit").inner_text() == f"Code {units(tiny_run, 'stem')[7]} at stem"
        assert line.get_attribute("aria-current") == "true"


def test_without_pictures_attacks_and_decoding_the_views_say_how_to_make_them(chromium, made, tiny_run):
    conditions = made.description["conditions"][:1]
    missing = [
        {"what": what, "told": f"No {what}.", "command": f"layerscope {what}"}
        for what in ("attack", "pictures", "decoding")
    ]
    bare = changed(made, conditions=conditions, departure={}, pictures={}, decoding={}, missing=missing)
    unit, _ = fullest(tiny_run, "middle")
    with Server(bare, port=0) as server, shown(chromium, f"{server.address}#layer=middle&unit={unit}") as page:
        code, sample = (page.locator(f"#panel-{name}").inner_text() for name in ("unit", "sample"))
        for what in ("attack", "pictures", "decoding"):
            assert f"layerscope {what}" in code
        assert "layerscope attack" in sample
        assert "layerscope pictures" in sample
        assert page.get_by_role("button", name="Most changed").is_disabled()
        assert page.locator("#panel-probe").count() == 0


def test_wrong_answers_have_a_sign_and_pictures_left_out_are_told(chromium, pictured, tiny_run):
    unit, rows = fullest(tiny_run, "middle")
    clean = tiny_run.recordings["clean"]
    answers = clean.predictions.numpy().astype("<i4")
    answers[rows[0]] = (answers[rows[0]] + 1) % 3
    decoded = {
        **pictured.description["decoding"]["mean"]["middle"],
        "sheet": None, "units": [unit], "inverted": [True], "reencoded": [True], "residual": [0.25], "names": [""],
    }  # fmt: skip
    files = {"arrays/prediction/0.bin": answers.tobytes()}
    mistaken = changed(pictured, files, decoding={"mean": {"middle": decoded}})
    address = f"layer=middle&unit={unit}&sample={int(clean.ids[rows[0]])}"
    with Server(mistaken, port=0) as server, shown(chromium, f"{server.address}#{address}") as page:
        wrong = page.locator("#panel-unit .exemplars button", has_text="✗")
        assert wrong.count() == 1
        assert wrong.get_attribute("data-sample") == str(int(clean.ids[rows[0]]))
        assert wrong.get_attribute("aria-label").endswith("wrong")
        answer = page.locator("#panel-sample .answers th[title='clean'] + td").inner_text()
        assert answer.strip().startswith("✗ ")
        assert tiny_run.class_names[answers[rows[0]]] in answer
        told = page.locator(".unit-inversion").inner_text()
        assert "Its picture was left out to keep the file small." in told
        assert "✓ encoded back to this code · 0.25 spreads from the prototype" in told


def test_texts_are_shown_as_text(chromium, made, tiny_run):
    written = changed(made, {"texts.json": json.dumps([TEXT] * 120).encode()}, texts=True, pictures={})
    unit, _ = fullest(tiny_run, "middle")
    with (
        Server(written, probe=Answering(tiny_run), port=0) as server,
        shown(chromium, f"{server.address}#layer=middle&unit={unit}") as page,
    ):
        assert page.locator("#panel-sample blockquote").inner_text().strip() == TEXT.strip()
        assert page.locator("#panel-unit .words").first.inner_text() == f"{TEXT[:160]}…"
        page.get_by_role("textbox", name="A text").fill(TEXT)
        page.get_by_role("button", name="Ask the network").click()
        page.locator("#panel-probe .answers").wait_for()


def test_a_probe_shows_what_the_network_makes_of_a_picture(visit, tiny_run):
    with visit() as page:
        panel = page.locator("#panel-probe")
        panel.locator("input[type=file]").set_input_files(
            {"name": "<i>.png", "mimeType": "image/png", "buffer": b"a picture"}
        )
        panel.get_by_text("What the network makes of <i>.png:").wait_for()
        assert panel.locator(".answers tbody tr").first.inner_text().split() == ["bottom", "75.0", "%"]
        path = panel.locator(".probe-path button")
        assert path.all_inner_texts() == [
            str(place) for place in range(len(tiny_run.recordings["clean"].depth("mean")))
        ]
        path.nth(1).focus()
        page.keyboard.press("Enter")
        assert page.locator("#title-unit").inner_text().startswith("Code 1 at ")
        assert page.evaluate("document.activeElement.dataset.key") == "1/1"
        panel.locator(".exemplars button").nth(2).click()
        assert page.locator("#title-sample").inner_text() == f"Sample {int(tiny_run.recordings['clean'].ids[2])}"
        assert "1 of 2 codes" in panel.inner_text()


def test_what_can_not_be_probed_is_told_as_text(chromium, pictured, tiny_run):
    with Server(pictured, probe=Answering(tiny_run), port=0) as server:
        page = chromium.new_page()
        page.goto(server.address)
        page.locator("#panel-probe input[type=file]").set_input_files(
            {"name": "x.png", "mimeType": "image/png", "buffer": b"x"}
        )
        assert page.locator("#panel-probe .probe-told.failed").inner_text() == "<b>This</b> is no image."
        page.close()
