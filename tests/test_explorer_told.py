"""What the explorer says of what it shows, and of bundles that it can't show, on planted numbers in a browser."""

import re
from contextlib import contextmanager
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from browsing import needs_browser, saved, shown
from planted import CONDITIONS, LAYERS, SAMPLES, planted

from layerscope.explorer.bundle import whole
from layerscope.explorer.page import inline
from layerscope.explorer.server import Server

pytestmark = needs_browser
SVG = "{http://www.w3.org/2000/svg}"
UNITS = 12


def written(folder, told=None, files=None, leave=()):
    """The page of a planted bundle of which something is otherwise."""
    base, own, _ = planted()
    made = whole(base | (told or {}), own | (files or {}))
    html = inline(made).html
    for name in leave:
        html = re.sub(rf'<script type="[^"]*" data-name="{name}">.*?</script>', "", html, flags=re.DOTALL)
    file = folder / "page.html"
    file.write_text(f'<!doctype html><meta charset="utf-8"><body>{html}</body>', encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return written(tmp_path_factory.mktemp("planted"))


def caption(page):
    return page.locator(".part:has(.maps) .part-head .how").inner_text()


def picture(page, panel):
    """A view as it is saved: its root, and its words."""
    _, content = saved(page, page.locator(f"#panel-{panel}").get_by_role("button", name=re.compile("^SVG")))
    root = ET.fromstring(content)  # noqa: S314 - the page's own
    return root, " ".join(one.text or "" for one in root.iter(f"{SVG}text"))


def hits_of(layer):
    return planted()[2]["code/0/0"][layer].astype(int)


def test_one_amount_has_one_colour_on_all_layers_and_in_both_legends(chromium, address):
    counts = np.array([np.bincount(hits_of(layer), minlength=UNITS) for layer in range(len(LAYERS))])
    with shown(chromium, f"{address}#colour=hits&condition=clean&layer=input") as page:
        assert page.locator(".maps-legend .ends").inner_text().split() == ["0", str(counts.max()), "samples"]
        root, words = picture(page, "depth")
        cells = [one.get("fill") for one in root.iter(f"{SVG}polygon") if one.get("stroke-width") == "0.4px"]
        assert len(cells) == counts.size
        colours = {}
        for count, colour in zip(counts.ravel().tolist(), cells, strict=True):
            assert colours.setdefault(count, colour) == colour
        assert len(set(colours.values())) == len(colours) > 5
        for name in LAYERS:
            page.evaluate("(name) => document.querySelector(`[data-layer='${CSS.escape(name)}']`).click()", name)
            assert page.locator(".map-legend .ends").inner_text().split() == ["0", str(counts.max()), "samples"]
    assert f"{counts.max()} samples" in words
    assert "Colour: hits. From dark (few) to yellow (most)" in words
    assert "Solid line: sample 1000, clean; dashed red: under PGD 8/255, the run's last attack." in words


def test_a_saved_map_says_its_layer_its_colours_and_its_rings(chromium, address):
    with shown(chromium, f"{address}#layer=logits&colour=flips&condition=noise:pgd:linf%3D8/255") as page:
        root, words = picture(page, "map")
    assert "logits under mean, sample 1000 selected." in words
    assert "Dashed ring, grey: where noise like PGD 8/255 moves it." in words
    assert "Condition: noise like PGD 8/255." in words
    assert "1 of the samples" in words
    assert sum(1 for _ in root.iter(f"{SVG}rect")) > 40


def test_what_a_run_cannot_show_is_not_what_the_captions_speak_of(chromium, address):
    with shown(chromium, f"{address}#colour=found") as page:
        colours = page.get_by_role("group", name="Colour by")
        assert colours.locator("[aria-pressed=true]").inner_text() == "hits"
        assert colours.get_by_role("button", name="found").count() == 0
        told = "From dark (few) to yellow (most): how many samples have the code."
        assert told in caption(page)
        assert told in page.locator(".map-legend").inner_text()
        page.locator('#panel-search [name="mistakes"]').set_checked(True)
        assert "share of a code's samples that the search has found" in caption(page)
        assert colours.locator("[aria-pressed=true]").inner_text() == "found"


def test_the_second_path_says_whose_it_is_and_noise_is_grey(chromium, address):
    for condition, told, kind in (
        ("clean", "dashed red: under PGD 8/255, the run's last attack.", "attacked"),
        (CONDITIONS[2], "dashed red: under PGD 8/255.", "attacked"),
        (CONDITIONS[1], "dashed grey: under noise like PGD 8/255.", "noisy"),
    ):
        with shown(chromium, f"{address}#condition={condition}") as page:
            assert told in caption(page)
            assert page.locator(".paths .clean").count() == page.locator(f".paths .{kind}").count() == 1
            assert page.locator(".paths .path").count() == 2
            colour = page.evaluate("(kind) => getComputedStyle(document.querySelector(`.${kind} path`)).stroke", kind)
            assert colour == {"attacked": "rgb(200, 30, 30)", "noisy": "rgb(91, 100, 114)"}[kind]


def test_a_torus_says_that_paths_may_take_the_long_way(chromium, tmp_path, address):
    grid = planted()[0]["grid"]
    with shown(chromium, address) as page:
        assert "Opposite edges" not in caption(page)
    with shown(chromium, written(tmp_path, {"grid": {**grid, "topology": "toroidal"}})) as page:
        assert "Opposite edges of a map touch: a line may take the long way" in caption(page)
        page.locator(".large-map").focus()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        assert page.locator("#title-unit").inner_text().startswith("Code 8 at ")  # four to a row, three rows


def test_it_says_what_was_left_out(chromium, tmp_path, address):
    with shown(chromium, address) as page:
        assert page.locator(".left-out").count() == 0
    told = ["The explorer shows 300 of 900 samples.", "<b>For size</b>, no inversions."]
    with shown(chromium, written(tmp_path, {"left_out": told})) as page:
        assert page.locator(".left-out").all_inner_texts() == told


def test_no_sample_leaves_an_outline_and_few_are_struck_through(chromium, tmp_path):
    codes = np.zeros((len(LAYERS), SAMPLES), np.uint16)
    codes[:, :9], codes[:, 9:19] = 3, 5
    with shown(chromium, written(tmp_path, files={"arrays/code/0/0.bin": codes.tobytes()})) as page:
        for colour, struck in (("class", 0), ("pies", 0), ("hits", 0), ("homogeneity", 1), ("umatrix", 0)):
            page.evaluate("(colour) => { location.hash = `colour=${colour}`; }", colour)
            page.wait_for_function("document.querySelector('.map-side [aria-pressed=true]') !== null")
            root, words = picture(page, "map")
            cells = [one for one in root.iter(f"{SVG}polygon") if one.get("fill") == "none"]
            lines = [one for one in cells if len(one.get("points").split()) == 2]
            assert (len(cells) - len(lines), len(lines)) == (0 if colour == "umatrix" else UNITS - 3, struck), colour
            assert ("Outline alone: no sample has the code." in words) == (colour != "umatrix")
        page.evaluate("location.hash = 'colour=homogeneity'")
        assert "not corrected for few samples. Struck through: fewer than 10 samples" in caption(page)


def test_many_classes_say_that_their_colours_lie_close(chromium, tmp_path, address):
    told = "12 classes: their colours lie close to one another; point at a code"
    with shown(chromium, address) as page:
        assert page.locator(".close-colours").count() == 0
    with shown(chromium, written(tmp_path, {"classes": [f"class {one}" for one in range(12)]})) as page:
        assert page.locator(".maps-legend .close-colours").inner_text().startswith(told)
        assert page.locator(".maps-legend .legend li").count() == 12
        assert told in picture(page, "map")[1]


def test_a_key_on_a_control_leaves_the_keyboard_there(chromium, tmp_path):
    base, files, _ = planted()
    names = ["clean", "pgd:linf=4/255", "pgd:linf=8/255"]
    conditions = [{"name": name, "kind": "clean" if name == "clean" else "attack", "control": None} for name in names]
    columns = base["results"]["columns"]
    measures = {
        name: {"title": name, "unit": "share", "meaning": "planted"} for name in ("beauty", "flip_rate", "grid_shift")
    }
    rows = [
        [measure, layer, place, condition, reduction, 0.5, 0.4, 0.6, None, None, 9, "share"]
        for reduction in ("mean", "max")
        for place, layer in enumerate(LAYERS)
        for measure, condition in (
            ("beauty", "clean"),
            *((one, name) for one in ("flip_rate", "grid_shift") for name in names),
        )
    ]
    told = {
        "conditions": conditions, "measures": measures, "results": {"columns": columns, "rows": rows},
        "reductions": [{"name": one, "layers": LAYERS} for one in ("mean", "max")],
    }  # fmt: skip
    copied = {
        name.replace("/0.bin", "/1.bin"): content
        for name, content in files.items()
        if re.fullmatch(r"arrays/(code/\d|distance/0|umatrix)/0\.bin", name)
    }
    told["arrays"] = base["arrays"] | {
        name.removeprefix("arrays/").removesuffix(".bin"): base["arrays"][
            re.sub(r"/1$", "/0", name.removeprefix("arrays/").removesuffix(".bin"))
        ]
        for name in copied
    }
    held = """(({dataset, textContent, ariaValueText}) => dataset.key ?? ariaValueText ?? textContent)(
        document.activeElement)"""
    with shown(chromium, written(tmp_path, told, copied)) as page:
        for group, name in (("Condition", "clean"), ("Condition", "PGD"), ("Reduction", "max"), ("Colour by", "hits")):
            page.get_by_role("group", name=group).get_by_role("button", name=name, exact=True).focus()
            page.keyboard.press("Enter")
            assert page.evaluate(held) == name
            assert page.evaluate("document.activeElement.ariaPressed") == "true"
        page.locator(".budget input").focus()
        page.keyboard.press("ArrowLeft")
        assert page.evaluate(held) == "PGD 4/255"
        page.keyboard.press("ArrowRight")
        assert page.evaluate(held) == "PGD 8/255"
        for key, letter, value in (("measure", "g", "grid_shift"), ("travel", "g", "grid_shift")):
            page.locator(f"[data-key={key}]").focus()
            page.keyboard.press(letter)
            assert page.evaluate(held) == key
            assert page.locator(f"[data-key={key}]").input_value() == value
            assert selected(page)[key] == value


def selected(page):
    """What the address says is selected: whatever is not as the page begins."""
    return page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


@contextmanager
def refused(chromium, address):
    """A page whose bundle it can't show."""
    page = chromium.new_page()
    page.goto(address)
    page.wait_for_selector("#explorer:not(:empty):not(:has(.loading))")
    yield page.locator("#explorer").inner_text()
    page.close()


@pytest.mark.parametrize(
    ("told", "files", "leave", "text"),
    [
        (
            {"schema": 3},
            {},
            (),
            "The bundle has schema 3, and this page reads schema 2. A newer Layerscope made it: look at it",
        ),
        (
            {"schema": None},
            {},
            (),
            "The bundle has schema null, and this page reads schema 2. Make the report again with one",
        ),
        (
            {},
            {"arrays/label.bin": b"abc"},
            (),
            "The bundle's array label is damaged: 3 bytes for 300 of int32. Make the",
        ),
        ({}, {}, ("arrays/label.bin",), "The page lacks the file arrays/label.bin; make it again."),
    ],
)
def test_a_bundle_that_cannot_be_shown_says_why(chromium, tmp_path, told, files, leave, text):
    with refused(chromium, written(tmp_path, told, files, leave)) as shown_text:
        assert shown_text.startswith(text)


def test_a_bundle_without_schema_or_without_an_array_says_so(chromium, tmp_path):
    base, files, _ = planted()
    page = tmp_path / "bare.html"
    for told, text in (
        ({"title": "no bundle"}, "This is no bundle of a run: it has no schema. Make the report again."),
        (
            base | {"arrays": {name: one for name, one in base["arrays"].items() if name != "label"}},
            "The bundle lacks the array label; make the report again.",
        ),
    ):
        page.write_text(f'<meta charset="utf-8">{inline(whole(told, files)).html}', encoding="utf-8")
        with refused(chromium, page.as_uri()) as shown_text:
            assert shown_text == text


def test_a_server_that_lacks_a_file_is_told_with_its_answer(chromium):
    base, files, _ = planted()
    lacking = {name: content for name, content in files.items() if name != "arrays/label.bin"}
    with Server(whole(base, lacking), port=0) as server, refused(chromium, server.address) as shown_text:
        assert shown_text == "The server has no arrays/label.bin; it says 404."


def test_what_cannot_be_saved_is_told(chromium, address):
    with shown(chromium, address) as page:
        panel = page.locator("#panel-unit")
        panel.get_by_role("button", name=re.compile("^CSV")).click()
        assert panel.locator(".saved").inner_text() == "Nothing to save yet"
        page.evaluate("() => { HTMLCanvasElement.prototype.toBlob = (follower) => follower(null); }")
        panel = page.locator("#panel-map")
        panel.get_by_role("button", name=re.compile("^PNG")).click()
        panel.locator(".saved:not(:empty)").wait_for()
        assert panel.locator(".saved").inner_text() == "Not saved: the browser makes no PNG of this size"
        page.evaluate("() => Object.defineProperty(Image.prototype, 'src', {set() { this.onerror(); }})")
        panel.get_by_role("button", name=re.compile("^PNG")).click()
        told = "Not saved: the drawing can't be read as an image"
        page.wait_for_function("(told) => document.querySelector('#panel-map .saved').textContent === told", arg=told)


def test_names_that_objects_have_are_names_like_others(chromium, tmp_path):
    layers = ["constructor", "__proto__", "toString"]
    told = {"reductions": [{"name": "mean", "layers": layers}], "decoding": {"mean": {}}, "departure": {}}
    with shown(chromium, written(tmp_path, told)) as page:
        for layer in layers:
            page.get_by_role("button", name=layer, exact=True).click()
            page.locator(".large-map").focus()
            page.keyboard.press("ArrowRight")
            assert page.locator("#title-unit").inner_text() == f"Code 0 at {layer}"
            assert f"No code of {layer} was decoded." in page.locator("#panel-unit").inner_text()
