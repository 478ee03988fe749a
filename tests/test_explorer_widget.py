"""The explorer in a notebook: what the widget holds, what it refuses, and a real JupyterLab that shows it."""

import re
import subprocess
import sys

import numpy as np
import pytest
from notebook import CHROMIUM, PATIENCE, notebook

from layerscope import explorer
from layerscope.explorer import assemble
from layerscope.explorer import bundle as bundle_of

FRONT = {
    "main.js": """// @ts-check
export async function start(root, {json, read, url, address}) {
  const followers = [];
  let selection = {reduction: "mean", layer: "middle", unit: null, sample: null, condition: "clean",
    measure: Object.keys(json.measures)[0], travel: Object.keys(json.measures)[0], colour: "class"};
  const said = document.createElement("output"), button = document.createElement("button");
  const select = (wanted) => {
    selection = {...selection, ...wanted};
    said.textContent = JSON.stringify(selection);
    followers.forEach((follower) => follower(selection));
  };
  const codes = Array.from(new Uint16Array(await read("arrays/code/0/0.bin")));
  root.classList.add("layerscope");
  root.append(button, said);
  root.dataset.codes = String(codes.length);
  root.dataset.address = String(address);
  button.className = "unit";
  button.addEventListener("click", () => select({unit: 5, layer: "stem"}));
  select({});
  root.dataset.ready = "true";
  return {select, selection: () => selection, destroy: () => { document.body.dataset.destroyed = Number(document.body.dataset.destroyed ?? 0) + 1; },
    onselect: (follower) => { followers.push(follower); follower(selection); }};
}
""",
    "style.css": ".layerscope { padding: 3px; }\n",
}
"""A front end of one button, in the place of the package's."""


@pytest.fixture(scope="module")
def bundle(tiny_run):
    return bundle_of(tiny_run, show_progress=False)


@pytest.fixture
def front(monkeypatch):
    monkeypatch.setattr(assemble, "static", lambda: FRONT)


@pytest.fixture
def widget(bundle, front):
    return explorer.Explorer(bundle)


def test_the_widget_holds_the_bundle_and_the_front_end(bundle, widget):
    state = widget.get_state()
    assert state["bundle"] == bundle.description
    assert state["files"] == {name: content for name, content in bundle.files.items() if name != "bundle.json"}
    assert state["selection"] == {}
    assert "async function start(" in state["_esm"]
    assert state["_esm"].endswith("\nexport default {render};\n")
    assert not re.search(r"^\s*import\b", state["_esm"], re.MULTILINE)
    assert state["_css"] == FRONT["style.css"]
    with pytest.raises(Exception, match='The "bundle" trait is read-only'):
        widget.bundle = {}


def test_the_style_is_of_what_the_widget_shows_and_leaves_the_notebook_alone():
    text = re.sub(r"/\*.*?\*/", "", assemble.static()["style.css"], flags=re.DOTALL)
    rules = re.findall(r"([^{}]+)\{", text)
    selectors = [one.strip() for rule in rules if not rule.strip().startswith("@") for one in rule.split(",")]
    assert len(selectors) > 20
    assert [one for one in selectors if not one.startswith(".layerscope")] == []


def test_a_selection_is_set_in_whole_or_in_part(bundle, front):
    widget = explorer.Explorer(bundle, layer="stem", unit=3)
    assert widget.selection == {"layer": "stem", "unit": 3}
    widget.selection = {"unit": np.int64(4), "condition": "pgd:linf=8/255"}
    assert widget.selection == {"layer": "stem", "unit": 4, "condition": "pgd:linf=8/255"}
    assert type(widget.selection["unit"]) is int
    sample = int(np.frombuffer(bundle.files["arrays/id.bin"], "<f8")[3])
    widget.selection = {"unit": None, "sample": sample, "measure": "flip_rate", "travel": "grid_shift"}
    widget.selection = {"colour": "hits", "reduction": "sketch:512"}
    assert widget.selection == {
        "layer": "stem", "unit": None, "condition": "pgd:linf=8/255", "sample": sample, "measure": "flip_rate",
        "travel": "grid_shift", "colour": "hits", "reduction": "sketch:512",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"layer": "steam"}, "`layer` must be one of input, stem, middle, logits; got 'steam'."),
        ({"reduction": "max"}, "`reduction` must be one of mean, sketch:512; got 'max'."),
        ({"reduction": "max", "layer": "stem"}, "`reduction` must be one of mean, sketch:512; got 'max'."),
        ({"condition": "fit"}, "`condition` must be one of clean, noise:pgd:linf=8/255, pgd:linf=8/255; got 'fit'."),
        ({"measure": "beauty"}, "`measure` must be one of accuracy, participation_ratio, "),
        ({"travel": "beauty"}, "`travel` must be one of accuracy, participation_ratio, "),
        ({"colour": "pink"}, "`colour` must be one of class, pies, hits, umatrix, homogeneity, flips, shift, found;"),
        ({"unit": 12}, "`unit` must lie from 0 to 11, or be None; got 12."),
        ({"unit": -1}, "`unit` must lie from 0 to 11, or be None; got -1."),
        ({"sample": 10**6}, "`sample` must be the id of a sample that is shown, or None; got 1000000."),
        (
            {"layers": "stem"},
            "A selection holds reduction, layer, condition, measure, travel, colour, unit, sample; got",
        ),
    ],
)
def test_what_is_not_there_cannot_be_selected(bundle, widget, asked, text):
    widget.selection = {"layer": "stem"}
    with pytest.raises(ValueError, match=re.escape(text)):
        widget.selection = asked
    assert widget.selection == {"layer": "stem"}
    with pytest.raises(ValueError, match=re.escape(text)):
        explorer.Explorer(bundle, **asked)


def test_a_layer_that_the_other_reduction_does_not_have_is_dropped(bundle):
    from layerscope.explorer.widget import settled

    two = [{"name": "mean", "layers": ["a", "b"]}, {"name": "max", "layers": ["b", "c"]}]
    told = {**bundle.description, "reductions": two}
    assert settled(told, bundle.files, {"layer": "a", "unit": 1}, {"reduction": "max"}) == {
        "reduction": "max",
        "unit": 1,
    }
    assert settled(told, bundle.files, {"layer": "b"}, {"reduction": "max"}) == {"reduction": "max", "layer": "b"}
    with pytest.raises(ValueError, match="`layer` must be one of b, c; got 'a'"):
        settled(told, bundle.files, {"reduction": "max"}, {"layer": "a"})


def test_python_knows_the_colours_of_the_maps():
    from layerscope.explorer.widget import COLOURS

    told = assemble.static()["painting.js"]
    listed = told[told.index("COLOURINGS = {") : told.index("\n};")]
    assert tuple(re.findall(r"^  (\w+): \{", listed, re.MULTILINE)) == COLOURS


def test_anywidget_is_loaded_with_the_widget_alone_and_missed_in_words():
    code = (
        "import sys, layerscope.explorer as explorer\n"
        "assert not {'anywidget', 'traitlets', 'ipywidgets'} & set(sys.modules)\n"
        "assert 'Explorer' in dir(explorer)\n"
        "sys.modules['anywidget'] = None\n"
        "try: explorer.Explorer\n"
        "except ImportError as error: print(error)\n"
        "explorer.nothing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    told = "The explorer in a notebook needs anywidget, which is not installed: pip install 'layerscope[notebook]'"
    assert done.stdout.strip() == told
    assert "module 'layerscope.explorer' has no attribute 'nothing'" in done.stderr


BEGIN = f"""
from layerscope.explorer import Explorer, assemble, load_bundle
assemble.static = lambda: {FRONT!r}
shown = Explorer(load_bundle("bundle"), colour="hits")
shown
"""
CELLS = (
    BEGIN,
    "print(shown.selection)",
    "shown.selection = {'unit': 7, 'layer': 'middle'}",
    "shown",
    "shown.close()",
)


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"There is no {CHROMIUM}: the widget was not shown in a browser.")
def test_a_notebook_shows_it_and_the_selection_goes_both_ways(bundle, tmp_path):
    bundle.save(tmp_path / "bundle")
    with notebook(tmp_path, CELLS) as (shown, heard):
        shown.run(0)
        root = shown.page.locator(".layerscope")
        root.and_(shown.page.locator("[data-ready]")).wait_for(timeout=PATIENCE)
        assert root.get_attribute("data-codes") == str(4 * 40)  # layers x samples
        assert root.get_attribute("data-address") == "false"
        assert root.evaluate("element => getComputedStyle(element).padding") == "3px"
        assert "'colour': 'hits'" in shown.run(1)
        shown.page.locator(".layerscope button.unit").click()
        told = shown.run(1)
        assert "'unit': 5" in told
        assert "'layer': 'stem'" in told
        shown.run(2)
        shown.page.locator(".layerscope output:has-text('\"unit\":7')").wait_for(timeout=PATIENCE)
        assert '"layer":"middle"' in root.locator("output").inner_text()
        shown.run(3)
        second = shown.page.locator(".layerscope output").nth(1)
        second.wait_for(timeout=PATIENCE)
        assert '"unit":7' in second.inner_text()
        shown.page.locator(".layerscope button.unit").nth(1).click()
        shown.page.locator(".layerscope output:has-text('\"unit\":5')").nth(1).wait_for(timeout=PATIENCE)
        shown.run(4)
        shown.page.wait_for_function("() => document.body.dataset.destroyed === '2'", timeout=PATIENCE)
        assert root.count() == 0
        assert heard == []
