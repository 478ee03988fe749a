"""The explorer in a notebook: what the widget holds, what it refuses, and a real JupyterLab that shows it."""

import ast
import base64
import json
import re
import shutil
import subprocess
import sys
import webbrowser
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from browsing import browser, needs_browser
from bundles import without_attack
from notebook import CHROMIUM, PATIENCE, notebook
from planted import planted

from layerscope import explorer
from layerscope.explorer import assemble
from layerscope.explorer import bundle as bundle_of
from layerscope.explorer.arrays import exact_id, exact_ids
from layerscope.explorer.bundle import whole
from layerscope.explorer.server import Server
from layerscope.explorer.widget import from_page, notebook_script, settled, to_page

FRONT = {
    "main.js": "// @ts-check\nexport async function start() {\n  return {};\n}\n",
    "style.css": ".layerscope { padding: 3px; }\n",
}
"""A front end that shows nothing, in the place of the package's."""


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
        ({"travel": "beauty"}, ", None; got 'beauty'."),
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


CELLS = (
    "import layerscope as ls\nshown = ls.load_run('run').explore(show_progress=False)\nshown",
    "print(shown.selection)",
    "shown.selection = {'unit': 7, 'layer': 'stem', 'colour': 'hits'}",
    "shown.selection = {'layer': 'steam'}",
    "shown",
    "shown.close()",
)


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"There is no {CHROMIUM}: the widget was not shown in a browser.")
def test_a_notebook_shows_it_and_the_selection_goes_both_ways(tiny_run, tmp_path):
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    with notebook(tmp_path, CELLS) as (shown, heard):
        assert "Error" not in shown.run(0)
        views = shown.page.locator(".layerscope[data-ready]")
        views.wait_for(timeout=PATIENCE)
        assert "#" not in shown.page.url.split("?")[0]  # a notebook's address is not the explorer's
        begun = ast.literal_eval(shown.run(1))
        assert set(begun) == {"reduction", "layer", "unit", "sample", "condition", "measure", "travel", "colour"}
        assert begun["unit"] is None
        views.locator(".large-map canvas").click(position={"x": 120, "y": 130})
        clicked = ast.literal_eval(shown.run(1))
        assert clicked == {**begun, "unit": clicked["unit"]}
        heading(views, f"Code {clicked['unit']} at {begun['layer']}").wait_for(timeout=PATIENCE)
        across, down, radius = (
            float(views.locator(".large-map circle.ring").get_attribute(name)) for name in ("cx", "cy", "r")
        )
        assert np.hypot(across - 120, down - 130) < 2 * radius
        assert shown.run(2) == ""
        heading(views, "Code 7 at stem").wait_for(timeout=PATIENCE)
        assert views.get_by_role("button", name="hits", exact=True).get_attribute("aria-pressed") == "true"
        assert "`layer` must be one of input, stem, middle, logits; got 'steam'." in shown.run(3)
        shown.run(4)
        heading(views.nth(1), "Code 7 at stem").wait_for(timeout=PATIENCE)
        views.nth(1).locator(".large-map canvas").click(position={"x": 120, "y": 130})
        told = f"Code {clicked['unit']} at stem"
        heading(views.nth(1), told).wait_for(timeout=PATIENCE)
        heading(views.first, told).wait_for(timeout=PATIENCE)
        assert ast.literal_eval(shown.run(1)) == {**clicked, "layer": "stem", "colour": "hits"}
        shown.run(5)
        shown.page.wait_for_function("() => !document.querySelector('.layerscope')", timeout=PATIENCE)
        assert heard == []


PAGE = """<!doctype html><meta charset="utf-8"><body><script type="module">{script}
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer);
const state = {state};
state.files = Object.fromEntries(Object.entries(state.files).map(([name, text]) => [name, bytes(text)]));
const followers = window.followers = new Set();
window.sent = [];
window.held = state;
const model = {{
  get: (name) => state[name],
  set: (name, value) => {{ state[name] = value; window.sent.push(value); }},
  save_changes: () => undefined,
  on: (_, follower) => followers.add(follower),
  off: (_, follower) => followers.delete(follower),
}};
window.set = (selection) => {{ state.selection = selection; followers.forEach((one) => one()); }};
const began = render({{model, el: document.body}});
window.ended = async () => (await began)();
window.failed = began.then(() => "", (error) => error.message);
</script></body>"""
"""A notebook's part of a widget, as the page sees it."""


def widget_page(folder, made, selection=None, files=None):
    """The widget of a bundle in a page without a notebook."""
    kept = made.files if files is None else files
    sent = {name: base64.b64encode(content).decode() for name, content in kept.items() if name != "bundle.json"}
    state = json.dumps({"bundle": dict(made.description), "files": sent, "selection": selection or {}})
    script = notebook_script().replace("export default {render};", "")
    page = folder / "widget.html"
    page.write_text(PAGE.format(script=script, state=state.replace("<", "\\u003c")), encoding="utf-8")
    return page.as_uri()


@pytest.fixture
def opened():
    with browser() as chromium:
        page = chromium.new_page()
        page.set_default_timeout(10_000)
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        assert not complaints


def begun(page, address):
    page.goto(address)
    page.wait_for_selector("[data-ready]")
    page.wait_for_function("window.sent.length > 0")


def taken(page, made):
    """What Python makes of each selection that the page has sent."""
    return [settled(made.description, made.files, {}, from_page(one, None)) for one in page.evaluate("window.sent")]


@needs_browser
def test_python_takes_what_the_page_sends_of_a_run_without_attack(tmp_path, opened):
    made = bundle_of(without_attack(tmp_path / "run"), show_progress=False)
    begun(opened, widget_page(tmp_path, made))
    opened.get_by_role("button", name="stem", exact=True).click()
    first, last = taken(opened, made)[0], taken(opened, made)[-1]
    assert first["travel"] is None
    assert (last["layer"], last["condition"], last["travel"]) == ("stem", "clean", None)


@needs_browser
def test_python_takes_what_the_page_sends_of_a_few_samples_and_no_sample_stays_none(tiny_run, tmp_path, opened):
    made = bundle_of(tiny_run, max_samples=5, show_progress=False)
    assert made.description["example"] in np.frombuffer(made.files["arrays/id.bin"], "<f8")
    begun(opened, widget_page(tmp_path, made))
    assert taken(opened, made)[-1]["sample"] == made.description["example"]
    opened.evaluate("window.set({...window.held.selection, sample: null})")
    assert opened.locator("#title-sample").inner_text() == "Sample"
    opened.get_by_role("button", name="input", exact=True).click()
    last = taken(opened, made)[-1]
    assert (last["layer"], last["sample"]) == ("input", None)


@needs_browser
def test_ids_that_no_number_holds_are_told_apart(tmp_path, opened):
    told, files, arrays = planted()
    ids = [-5, 2**60, 2**60 + 1, *range(2**53 - 2, 2**53 + 2), *(100 + np.arange(293)).tolist()]
    files["arrays/id.bin"] = np.array(ids, np.int64).astype("<f8").tobytes()
    listed = exact_ids(np.array(ids, np.int64))
    assert listed == [str(one) for one in ids]
    made = whole(told | {"ids": listed, "example": exact_id(2**60 + 1)}, files)
    begun(opened, widget_page(tmp_path, made))
    assert taken(opened, made)[-1]["sample"] == 2**60 + 1
    for sample in (-5, 2**60, 2**53, 2**53 + 1):
        row = ids.index(sample)
        opened.locator('[name="id"]').fill(str(sample))
        opened.locator('[name="id"]').press("Enter")
        assert opened.locator("#title-sample").inner_text() == f"Sample {sample}"
        assert opened.locator("#panel-sample blockquote").inner_text() == arrays["texts"][row]
        assert taken(opened, made)[-1]["sample"] == sample
        opened.evaluate("(sample) => window.set({sample})", to_page({"sample": sample + 0}, None)["sample"])
        assert opened.locator("#title-sample").inner_text() == f"Sample {sample}"


def test_numbers_that_a_page_holds_exactly_stay_numbers():
    assert exact_ids(np.array([-(2**53) + 1, 2**53 - 1])) is None
    assert exact_ids(np.array([0, -(2**63)])) == ["0", str(-(2**63))]
    assert (exact_id(2**53 - 1), exact_id(2**53)) == (2**53 - 1, str(2**53))


@needs_browser
def test_a_widget_without_a_file_says_so(tmp_path, opened):
    told, files, _ = planted()
    made = whole(told, files)
    lacking = {name: content for name, content in made.files.items() if name != "arrays/label.bin"}
    opened.goto(widget_page(tmp_path, made, files=lacking))
    opened.wait_for_selector('[role="alert"].failed')
    text = "The widget lacks the file arrays/label.bin; make it again."
    assert opened.locator(".failed").inner_text() == text
    assert opened.evaluate("window.failed") == text


COUNTED = """
window.alive = 0;
for (const name of ["ResizeObserver", "IntersectionObserver"]) {
  const Real = window[name];
  window[name] = class extends Real {
    observe(...told) { window.alive += 1; super.observe(...told); }
    disconnect() { window.alive -= 1; super.disconnect(); }
  };
}
const listen = MediaQueryList.prototype.addEventListener;
MediaQueryList.prototype.addEventListener = function (kind, follower, options) {
  window.alive += 1;
  options?.signal?.addEventListener("abort", () => { window.alive -= 1; });
  return listen.call(this, kind, follower, options);
};
"""
"""Counts what watches the world outside."""


@needs_browser
@pytest.mark.parametrize("early", [False, True])
def test_a_view_that_is_closed_leaves_nothing_behind(tmp_path, opened, early):
    told, files, _ = planted()
    opened.add_init_script(COUNTED)
    address = widget_page(tmp_path, whole(told, files))
    if early:
        opened.goto(address, wait_until="commit")
        opened.wait_for_function("window.ended !== undefined")
    else:
        begun(opened, address)
        assert opened.evaluate("window.alive") >= 5
    opened.evaluate("window.ended()")
    assert opened.evaluate("[window.alive, document.querySelectorAll('.layerscope').length, followers.size]") == [
        0,
        0,
        0,
    ]
    sent = opened.evaluate("window.sent.length")
    opened.emulate_media(color_scheme="dark")
    opened.set_viewport_size({"width": 700, "height": 500})
    opened.evaluate("window.set({layer: 'logits'})")
    assert opened.evaluate("window.sent.length") == sent


def heading(view, text):
    return view.get_by_role("heading", name=text, exact=True)


@pytest.fixture
def kernel(monkeypatch):
    """IPython as it is inside a notebook."""
    assert explorer.Explorer  # what needs the real one is loaded before
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    return shell


@pytest.mark.usefixtures("kernel", "front")
def test_in_a_notebook_a_run_becomes_a_widget(tiny_run):
    made = tiny_run.explore(max_samples=12, show_progress=False)
    assert isinstance(made, explorer.Explorer)
    assert made.bundle["samples"] == 12
    assert made.bundle["total"] == 40


@pytest.mark.usefixtures("kernel")
def test_in_a_notebook_without_anywidget_the_pip_line_is_told(tiny_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "layerscope.explorer.widget", raising=False)
    with pytest.raises(
        ImportError, match=r"needs anywidget, which is not installed: pip install 'layerscope\[notebook\]'"
    ):
        tiny_run.explore(show_progress=False)


def test_elsewhere_a_run_is_served_until_the_user_interrupts(tiny_run, kernel, monkeypatch, capsys):
    seen = []

    def opened(address):
        seen.extend((address, httpx.get(address).text, httpx.get(f"{address}bundle/bundle.json").json()))

    def interrupted(_):
        raise KeyboardInterrupt

    del kernel.kernel  # IPython in a terminal
    monkeypatch.setattr(webbrowser, "open", opened)
    monkeypatch.setattr(Server, "wait", interrupted)
    assert tiny_run.explore(max_samples=9, port=0, show_progress=False) is None
    address, page, told = seen
    assert '<div id="explorer"' in page
    assert told["samples"] == 9
    assert f"Explorer: {address} (Ctrl-C ends it)" in capsys.readouterr().out
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)
