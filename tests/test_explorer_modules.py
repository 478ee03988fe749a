"""Single modules of the explorer's front end in a browser, against the package and against arithmetic."""

import numpy as np
import pytest
from browsing import browser, needs_browser

from layerscope.drawing import mixed, palette
from layerscope.explorer import assemble
from layerscope.som import Grid

pytestmark = needs_browser
TOLD = "conditionTitle, familiesOf, reach, ticks, Grid, palette, mixed, parsed, written, sharp, csvText"


@pytest.fixture(scope="module")
def kit():
    """Calls what the modules export."""
    with browser() as chromium:
        page = chromium.new_page(device_scale_factor=2)
        page.add_script_tag(content=f"{assemble.script()}\nwindow.kit = {{{TOLD}}};", type="module")
        page.wait_for_function("window.kit !== undefined")
        yield page.evaluate
        assert page.evaluate("document.body.childElementCount") == 0


def titles(kit, names):
    return kit(
        "(names) => names.map((name) => kit.conditionTitle(names.map((one) => ({name: one})), name))", ["clean", *names]
    )[1:]


def test_conditions_are_told_apart_by_their_titles(kit):
    assert titles(kit, ["noise:pgd:linf=8/255", "pgd:linf=8/255"]) == ["noise like PGD 8/255", "PGD 8/255"]
    assert titles(kit, ["pgd:linf=8/255", "pgd:linf=8/255,steps=50"]) == ["PGD 8/255", "PGD 8/255, steps=50"]
    assert titles(kit, ["pgd:linf=1", "pgd:l2=1", "fgsm:linf=1"]) == ["PGD linf 1", "PGD l2 1", "FGSM 1"]
    families = kit("(names) => kit.familiesOf(names)", ["clean", "pgd:linf=8/255", "pgd:linf=1/255", "pgd:l2=1"])
    assert families == [
        {"names": ["clean"], "title": "clean"},
        {"names": ["pgd:linf=1/255", "pgd:linf=8/255"], "title": "PGD linf"},
        {"names": ["pgd:l2=1"], "title": "PGD l2 1"},
    ]


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (2.5, 3.9, [2.5, 3, 3.5]),
        (0.4, 6, [0.5, 1, 2, 5]),
        (0.002, 0.06, [0.002, 0.005, 0.01, 0.02, 0.05]),
        (1e-3, 2e6, [10.0**place for place in range(-3, 7)]),
    ],
)
def test_every_logarithmic_axis_has_round_ticks(kit, low, high, wanted):
    assert kit("([low, high]) => kit.ticks(low, high, true)", [low, high]) == pytest.approx(wanted)


def test_the_axis_is_for_what_stands_on_it_and_not_for_the_band_of_a_null(kit):
    row = {"value": 0.5, "low": 0.4, "high": 0.6}
    wide = {"value": 0.3, "low": -2.3, "high": 2.7}
    lines = [{"kind": "trained", "rows": [row]}, {"kind": "null-untrained", "rows": [wide]}]
    assert kit("(lines) => kit.reach(lines, true, false)", lines) == {"low": 0, "high": 1}
    lines[1]["kind"] = "attack"
    assert kit("(lines) => kit.reach(lines, true, false)", lines) == {"low": -2.3, "high": 2.7}


def told_grid(kind, topology, rows=4, columns=6):
    grid = Grid(rows, columns, kind=kind, topology=topology)
    x, y = grid.positions.double().unbind(1)
    positions = [list(one) for one in zip(x.tolist(), (y.max() - y).tolist(), strict=True)]
    return {"kind": kind, "rows": rows, "columns": columns, "topology": topology, "positions": positions}


@pytest.mark.parametrize("topology", ["planar", "toroidal"])
@pytest.mark.parametrize("kind", ["hexagonal", "rectangular"])
def test_a_cell_is_hit_up_to_its_corners_and_nothing_beside_the_map(kit, kind, topology):
    told = told_grid(kind, topology)
    hits = kit(
        """(told) => {
            const grid = new kit.Grid(told);
            const {scale, centre} = grid.fitted(300);
            const at = (unit, part) => grid.cell.map(([dx, dy]) => {
                const [x, y] = centre(unit);
                return grid.at(300, x + part * dx * scale, y + part * dy * scale);
            });
            return told.positions.map((_, unit) => [at(unit, 0.98), at(unit, 1.05)]);
        }""",
        told,
    )
    for unit, (inside, beyond) in enumerate(hits):
        assert set(inside) == {unit}
        assert unit not in beyond
    assert None in hits[0][1]


def test_arrow_keys_go_round_a_torus_and_stop_at_a_plane_s_edge(kit):
    asked = "([told, unit, key]) => new kit.Grid(told).beside(unit, key)"
    plane, torus = told_grid("rectangular", "planar"), told_grid("rectangular", "toroidal")
    for key, unit, stays, goes in (
        ("ArrowLeft", 6, 6, 11), ("ArrowRight", 11, 11, 6), ("ArrowUp", 2, 2, 20), ("ArrowDown", 20, 20, 2),
    ):  # fmt: skip
        assert kit(asked, [plane, unit, key]) == stays
        assert kit(asked, [torus, unit, key]) == goes
    assert kit(asked, [torus, 7, "ArrowRight"]) == 8


@pytest.mark.parametrize("many", [2, 10, 11, 20, 57])
def test_colours_of_classes_are_those_of_the_figures_however_many(kit, many):
    assert np.allclose(np.array(kit("(many) => kit.palette(many)", many)) / 255, palette(many), atol=1e-6)
    counts = np.random.default_rng(many).integers(0, 40, (30, many)).astype(float)
    counts[:, 0] += 1
    pale = kit(
        """([counts, many]) => counts.map((own) => {
            const most = Math.max(...own);
            const all = own.reduce((sum, one) => sum + one, 0);
            return kit.mixed(kit.palette(many)[own.indexOf(most)], most / all, many, [255, 255, 255]);
        })""",
        [counts.tolist(), many],
    )
    assert np.allclose(np.array(pale) / 255, mixed(counts, palette(many)), atol=1e-6)


def test_an_address_keeps_no_sample_negative_ids_and_ids_past_two_to_the_53(kit):
    there = kit("(hash) => kit.parsed(hash)", "#sample=none&unit=3")
    assert there == {"sample": None, "unit": 3}
    assert kit("(hash) => kit.parsed(hash)", "#sample=-17") == {"sample": -17}
    assert kit("(hash) => kit.parsed(hash)", "#sample=9007199254740993") == {"sample": "9007199254740993"}
    assert kit("(hash) => kit.parsed(hash)", "#sample=1.5&unit=x&other=1&layer=none") == {"layer": "none"}
    assert kit("([now, first]) => kit.written(now, first)", [{"sample": None}, {"sample": 5}]) == "#sample=none"
    assert kit("([now, first]) => kit.written(now, first)", [{"unit": None}, {"unit": None}]) == "#"


def test_no_canvas_is_larger_than_browsers_paint(kit):
    asked = """([width, height]) => {
        const canvas = document.createElement("canvas");
        kit.sharp(canvas, width, height);
        return [canvas.width, canvas.height, canvas.style.width];
    }"""
    assert kit(asked, [700, 92]) == [1400, 184, "700px"]
    assert kit(asked, [180 * 92 + 184, 92]) == [16000, 88, "16744px"]


@pytest.mark.parametrize("cell", ["=1+1", "+1+1", "-1+1", "@x", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠x"])
def test_no_cell_of_a_table_is_a_formula(kit, cell):
    text = kit("(cell) => kit.csvText([[cell]])", cell)
    assert text.strip('"').startswith("'" + cell[0])
    assert kit("() => kit.csvText([['-1.5e-7', 'a-b']])") == "-1.5e-7,a-b\r\n"
