"""The explorer in a real browser: every view is driven, and what it says is what the run's tables say."""

import json
import re

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from browsing import needs_browser, saved, shown

from layerscope.results import select

pytestmark = needs_browser
PANELS = ("glance", "depth", "sample", "map", "unit", "ribbons", "sharing", "search")
COLOURS = ("class", "pies", "hits", "umatrix", "homogeneity", "flips", "shift")


@pytest.fixture(scope="module")
def address(tiny_run):
    return tiny_run.report().resolve().as_uri()


@pytest.fixture
def page(chromium, address):
    with shown(chromium, address) as opened:
        yield opened


def selection(page):
    """What the address says is selected: whatever is not as the page begins."""
    return page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def panel(page, name):
    return page.locator(f"#panel-{name}")


def title(page, name):
    return page.locator(f"#title-{name}").inner_text()


def codes(run, layer, condition="clean", reduction="mean"):
    return run.codes[condition][f"code:{layer}|{reduction}"]


def click_unit(page, run, layer, unit):
    """Press a cell of a layer's map among the small ones."""
    at = page.evaluate(
        """(layer) => {
            const names = [...document.querySelectorAll(".layer-name")];
            const {size, drop} = document.querySelector(".paths").dataset;
            const {left, width} = names[0].style;
            const place = names.findIndex((one) => one.dataset.layer === layer);
            return [place, Number(size), Number(drop), Number.parseFloat(left), Number.parseFloat(width)];
        }""",
        layer,
    )
    place, size, drop, left, step = at
    grid = run.grid
    x, y = grid.positions.double().unbind(1)
    height = {"hexagonal": 2 / 3**0.5, "rectangular": 1}[grid.kind]
    wide, high = float(x.max() - x.min()) + 1, float(y.max() - y.min()) + height
    scale = size / max(wide, high)
    across = (
        left + (place + 0.5) * step - size / 2 + (size - wide * scale) / 2 + (float(x[unit] - x.min()) + 0.5) * scale
    )
    down = (size - high * scale) / 2 + (float(y[unit] - y.min()) + height / 2) * scale - drop
    page.locator(".maps").click(position={"x": across, "y": down})


def test_every_view_is_there_and_the_page_asks_nothing_of_the_web(page):
    for name in PANELS:
        assert panel(page, name).is_visible(), name
        assert panel(page, name).locator(".how").first.inner_text().strip(), f"{name} does not say how it is read"
    assert page.locator("h1").first.inner_text() == "Layerscope"


def test_a_layer_s_name_selects_it_everywhere_and_going_back_goes_back(page):
    before = title(page, "map")
    page.get_by_role("button", name="logits", exact=True).click()
    assert title(page, "map") == "Map of logits"
    assert selection(page)["layer"] == "logits"
    assert page.get_by_role("button", name="logits", exact=True).get_attribute("aria-pressed") == "true"
    page.go_back()
    assert title(page, "map") == before != "Map of logits"
    page.go_forward()
    assert title(page, "map") == "Map of logits"


@pytest.mark.parametrize(("layer", "reduction"), [("input", "mean"), ("middle", "mean"), ("logits", "sketch:512")])
def test_a_click_on_a_cell_selects_that_code_with_its_samples(chromium, address, tiny_run, layer, reduction):
    own = codes(tiny_run, layer, reduction=reduction)
    unit = int(own.value_counts().index[0])
    with shown(chromium, f"{address}#reduction={reduction}") as page:
        click_unit(page, tiny_run, layer, unit)
        assert selection(page)["unit"] == str(unit)
        assert title(page, "unit") == f"Code {unit} at {layer}"
        labels = tiny_run.recordings["clean"].labels[torch.tensor(list(own == unit))]
        assert f"{len(labels)} samples" in panel(page, "unit").inner_text()
        purity = labels.bincount().max() / len(labels)
        assert f"purity {purity:.2f}" in panel(page, "unit").inner_text()


def test_a_link_leads_to_what_it_names_and_nonsense_in_it_is_left_out(chromium, address, tiny_run):
    sample = int(tiny_run.recordings["clean"].ids[7])
    with shown(chromium, f"{address}#layer=logits&unit=5&sample={sample}&colour=hits") as page:
        assert (title(page, "map"), title(page, "unit"), title(page, "sample")) == (
            "Map of logits", "Code 5 at logits", f"Sample {sample}",
        )  # fmt: skip
        assert panel(page, "map").get_by_role("button", name="hits").get_attribute("aria-pressed") == "true"
    with shown(chromium, f"{address}#layer=nowhere&unit=-3&sample=x&colour=%3Cb%3E&measure=toString") as page:
        assert re.match(r"Map of \S+", title(page, "map"))
        assert panel(page, "depth").locator("svg").count() >= 2


def test_keys_move_between_codes_and_layers(page):
    page.get_by_role("button", name="middle", exact=True).click()
    area = panel(page, "map").locator(".large-map")
    area.focus()
    page.keyboard.press("ArrowRight")
    first = int(selection(page)["unit"])
    page.keyboard.press("ArrowRight")
    assert int(selection(page)["unit"]) == first + 1
    page.keyboard.press("ArrowDown")
    assert int(selection(page)["unit"]) == first + 5  # four units to a row
    page.keyboard.press("PageDown")
    assert title(page, "map") == "Map of logits"
    assert re.search(r"Code \d+ at ", page.locator(".spoken").inner_text() or title(page, "unit"))
    page.keyboard.press("Escape")
    assert title(page, "unit") == "Code"


def test_the_path_of_a_sample_is_that_of_the_code_tables(page, tiny_run):
    attack = "pgd:linf=8/255"
    sample = int(page.locator("#title-sample").inner_text().removeprefix("Sample "))
    row = tiny_run.codes["clean"]["id"] == sample
    told = panel(page, "sample").locator("table tr").all_inner_texts()
    for layer in tiny_run.recordings["clean"].depth("mean"):
        clean, attacked = (int(tiny_run.codes[name].loc[row, f"code:{layer}"].iloc[0]) for name in ("clean", attack))
        own = next(line for line in told if line.split()[0] == layer.name)
        assert re.search(rf"\b{clean}\b", own)
        assert re.search(rf"\b{attacked}\b", own)


def test_the_chart_s_values_are_those_of_the_results(page, tiny_run):
    panel(page, "depth").get_by_label("Measure").select_option("participation_ratio")
    rows = select(tiny_run.results, measure="participation_ratio", reduction="mean", condition="clean")
    titles = page.locator(".telescope .line.trained circle title").all_text_contents()
    assert len(titles) == len(rows)
    for told, (_, row) in zip(titles, rows.iterrows(), strict=True):
        name, value = re.match(r"(\S+): (\S+)", told).groups()
        assert name == row["layer"]
        assert float(value) == pytest.approx(row["value"], rel=0.005)


@pytest.mark.parametrize("reduction", ["mean", "sketch:512"])
def test_every_colouring_is_drawn_and_is_another(page, reduction):
    page.get_by_role("button", name="middle", exact=True).click()
    page.get_by_role("group", name="Reduction").get_by_role("button", name=reduction).click()
    seen = {}
    for place, colour in enumerate(COLOURS):
        panel(page, "map").locator(".map-side .choice button").nth(place).click()
        seen[colour] = page.evaluate("document.querySelector('.large-map canvas').toDataURL()")
    same = [(one, other) for one in seen for other in seen if one < other and seen[one] == seen[other]]
    assert not same


def test_views_are_saved_as_pictures_and_tables(page, tiny_run):
    page.get_by_role("button", name="middle", exact=True).click()
    for name in ("depth", "map"):
        file, content = saved(page, panel(page, name).get_by_role("button", name=re.compile("SVG")))
        assert file.endswith(".svg")
        assert content.startswith(b"<")
        assert content.count(b"<polygon") >= len(tiny_run.grid)
        file, content = saved(page, panel(page, name).get_by_role("button", name=re.compile("PNG")))
        assert file.endswith(".png")
        assert content.startswith(b"\x89PNG")
    _, content = saved(page, panel(page, "map").get_by_role("button", name=re.compile("CSV")))
    lines = content.decode().strip().splitlines()
    counted = codes(tiny_run, "middle").value_counts()
    assert {int(line.split(",")[1]): int(line.split(",")[2]) for line in lines[1:]} == {
        unit: int(counted.get(unit, 0)) for unit in range(len(tiny_run.grid))
    }


def test_light_and_dark_can_be_chosen_and_the_maps_follow(page):
    before = page.evaluate("document.querySelector('.large-map canvas').toDataURL()")
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate("getComputedStyle(document.querySelector('.layerscope')).colorScheme") == "dark"
    assert page.evaluate("document.querySelector('.large-map canvas').toDataURL()") != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_view(chromium, address, scheme):
    with shown(chromium, f"{address}#layer=middle&unit=5", color_scheme=scheme) as page:
        found = Axe().run(page, context="#explorer").response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        told = [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in serious]
        assert not serious, json.dumps(told, indent=1)


def test_everything_is_reached_by_the_tab_key_with_a_visible_focus(page):
    page.evaluate("""() => {
        const kinds = "button, select, input, textarea, a[href], summary, [tabindex='0']";
        for (const one of document.querySelectorAll(`#explorer :is(${kinds})`)) {
            if (one.checkVisibility() && !one.disabled) one.dataset.wanted = "";
        }
    }""")
    wanted = page.evaluate("document.querySelectorAll('[data-wanted]').length")
    assert wanted > 40
    for _ in range(wanted + 40):
        page.keyboard.press("Tab")
        outline = page.evaluate("""() => {
            const one = document.activeElement;
            if (!one.closest("#explorer")) return "elsewhere";
            delete one.dataset.wanted;
            const look = getComputedStyle(one);
            return look.outlineStyle === "none" && look.boxShadow === "none" ? one.outerHTML.slice(0, 200) : "seen";
        }""")
        assert outline in ("seen", "elsewhere"), outline
    missed = page.evaluate("[...document.querySelectorAll('[data-wanted]')].map((one) => one.outerHTML.slice(0, 160))")
    radio = [one for one in missed if 'type="radio"' not in one]  # arrows move within a group
    assert not radio


def test_a_small_screen_scrolls_nowhere_but_inside_the_depth(chromium, address):
    with shown(chromium, address, viewport={"width": 390, "height": 800}) as page:
        assert page.evaluate("document.querySelector('#explorer').scrollWidth") <= 390
