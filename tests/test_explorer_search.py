"""The explorer's search in a browser: what it finds is what the arrays have, whatever things are called."""

import csv
import io
import re
from itertools import combinations

import numpy as np
import pytest
from browsing import browser, needs_browser, saved, shown
from planted import CLASSES, COLUMNS, CONDITIONS, LAYERS, SAMPLES, planted

pytestmark = needs_browser
ATTACK = CONDITIONS[2]


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


def written(folder, **options):
    """The page of a planted bundle, and its arrays."""
    from layerscope.explorer import inline  # inside: the run-time shape checks are installed after collection starts
    from layerscope.explorer.bundle import whole

    told, files, arrays = planted(**options)
    made = inline(whole(told, files))
    rules = f"default-src 'none'; script-src {made.scripts}; style-src 'unsafe-inline'; img-src data: blob:"
    policy = f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>planted</title>{policy}</head>'
    file = folder / "page.html"
    file.write_text(f"{head}<body>{made.html}</body></html>", encoding="utf-8")
    return file.as_uri(), arrays


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return written(tmp_path_factory.mktemp("planted"))


@pytest.fixture
def page(chromium, texts):
    with shown(chromium, texts[0]) as opened:
        yield opened


def search(page):
    return page.locator("#panel-search")


def ask(page, name, value):
    """Choose one of a list's values, or tick a box."""
    field = search(page).locator(f'[name="{name}"]')
    field.select_option(value) if isinstance(value, str) else field.set_checked(value)


def table(page):
    """What was found, as it is saved; its header first."""
    _, content = saved(page, search(page).get_by_role("button", name=re.compile("^CSV")))
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def found_ids(page):
    return [int(row[0]) for row in table(page)[1:]]


def test_filters_hold_together_and_find_what_the_arrays_have(page, texts):
    own = texts[1]
    label, clean, attacked = own["label"], own["prediction/0"], own["prediction/2"]
    ask(page, "condition", ATTACK)
    ask(page, "mistakes", True)
    assert found_ids(page) == own["id"][attacked != label].tolist()
    ask(page, "fooled", True)
    fooled = (clean == label) & (attacked != label)
    assert found_ids(page) == own["id"][fooled].tolist()
    told = search(page).locator(".search-told").inner_text()
    assert told == f"{fooled.sum()} of {SAMPLES} samples: mistakes under {ATTACK}, fooled by {ATTACK}."
    ask(page, "class", "1")
    assert found_ids(page) == own["id"][fooled & (label == 1)].tolist()
    search(page).locator('[name="words"]').fill("PEARS")
    pears = np.char.find(np.char.lower(own["texts"]), "pears") >= 0
    assert found_ids(page) == own["id"][fooled & (label == 1) & pears].tolist()
    search(page).locator('[name="words"]').fill("quince")
    assert "Nothing has all of this." in search(page).locator(".search-told").inner_text()
    search(page).locator('[name="clear"]').click()
    assert len(found_ids(page)) == SAMPLES
    ask(page, "answer", "2")
    assert found_ids(page) == own["id"][attacked == 2].tolist()
    ask(page, "condition", "clean")
    assert found_ids(page) == own["id"][clean == 2].tolist()


def changes(own):
    """Grid steps between clean and attacked codes, summed over layers."""
    before, after = (own[f"code/{place}/0"].astype(int) for place in (0, 2))
    steps = np.hypot(before % COLUMNS - after % COLUMNS, before // COLUMNS - after // COLUMNS).astype("float32")
    return sum(steps[1:], steps[0])  # layer by layer, as equal sums are equal only in one order


def overlaps(own, one, other):
    """Of two classes, layer by layer: the sum over codes of the smaller of their shares."""
    shares = [
        [
            np.bincount(codes[own["label"] == label], minlength=12) / (own["label"] == label).sum()
            for label in (one, other)
        ]
        for codes in own["code/0/0"]
    ]
    return [float(np.minimum(*pair).sum()) for pair in shares]


@pytest.mark.parametrize("order", ["id", "changed", "typical", "smallest", "surest", "unsure"])
def test_orders_are_those_of_a_stable_sort(page, texts, order):
    own = texts[1]
    keys = {
        "id": np.arange(SAMPLES), "changed": -changes(own), "typical": own["distance/0/0"][1],
        "smallest": own["smallest"], "surest": -own["confidence/2"], "unsure": own["confidence/2"],
    }  # fmt: skip
    ask(page, "condition", ATTACK)
    page.locator(".layer-name").nth(1).click()
    ask(page, "order", order)
    wanted = own["id"][np.argsort(keys[order], kind="stable")].tolist()
    assert found_ids(page) == wanted
    shown_ids = "all => all.map((one) => Number(one.dataset.sample))"
    assert search(page).locator("[data-sample]").evaluate_all(shown_ids) == wanted[:48]
    search(page).get_by_role("button", name=re.compile("^48 more of")).click()
    assert search(page).locator("[data-sample]").evaluate_all(shown_ids) == wanted[:96]
    where = "[...document.querySelectorAll('#panel-search [data-sample]')].indexOf(document.activeElement)"
    assert page.evaluate(where) == 48


def test_the_most_typical_follow_the_selected_layer(page, texts):
    ask(page, "order", "typical")
    for layer in (0, 2):
        page.locator(".layer-name").nth(layer).click()
        first = int(texts[1]["id"][texts[1]["distance/0/0"][layer].argmin()])
        assert search(page).locator("[data-sample]").first.get_attribute("data-sample") == str(first)


def test_an_id_and_enter_go_to_that_sample(page):
    field = search(page).locator('[name="id"]')
    field.fill("1015")
    field.press("Enter")
    assert page.locator("#title-sample").inner_text() == "Sample 1015"
    field.fill("1016")
    field.press("Enter")
    assert search(page).get_by_role("alert").inner_text() == "No sample has the id 1016."
    assert page.locator("#title-sample").inner_text() == "Sample 1015"


def test_what_is_found_is_shown_on_the_maps_and_forgotten_when_cleared(page):
    found = page.locator("#panel-map").get_by_role("button", name="found", exact=True)
    assert found.count() == 0
    ask(page, "mistakes", True)
    assert found.count() == 1
    search(page).locator('[name="clear"]').click()
    assert found.count() == 0
    page.locator("#panel-sharing button.pair").first.click()
    assert search(page).locator('[name="clear"]').inner_text().startswith("Clear, and forget “")
    assert found.count() == 1


def test_names_are_text_on_the_page_and_no_formulas_in_a_table(page, texts):
    rows = table(page)
    assert (
        rows[0][4]
        == f"code at {page.evaluate('document.querySelector(`.layer-name[aria-pressed=true]`).dataset.layer')}"
    )
    names = [CLASSES[0], f"'{CLASSES[1]}", CLASSES[2]]
    assert [row[1] for row in rows[1:]] == [names[one] for one in texts[1]["label"]]
    assert page.locator("#explorer img, #explorer script").count() == 0
    for name in ("glance", "ribbons", "sharing", "search"):
        assert any(word in page.locator(f"#panel-{name}").inner_text() for word in [*CLASSES, *LAYERS[1:2]]), name


def test_what_was_not_looked_for_is_told_with_its_command(chromium, tmp_path):
    with shown(chromium, written(tmp_path, texts=False, smallest=False)[0]) as page:
        values = search(page).locator('[name="order"] option').evaluate_all("all => all.map((one) => one.value)")
        assert "smallest" not in values
        assert search(page).locator('[name="words"]').count() == 0
        search(page).get_by_text("Order by smallest perturbation?").click()
        assert search(page).locator("pre").inner_text() == "layerscope run"


def test_the_classes_that_share_codes_longest_are_those_of_the_arrays(page, texts):
    pairs = {pair: overlaps(texts[1], *pair) for pair in combinations(range(3), 2)}
    last = {
        pair: max((layer for layer, some in enumerate(own) if some >= 0.5), default=-1) for pair, own in pairs.items()
    }
    best = max(pairs, key=lambda pair: (last[pair], np.mean(pairs[pair])))
    answer = page.locator('[data-question="share"] .glance-answer').inner_text()
    assert {name for name in CLASSES if name in answer} == {CLASSES[one] for one in best}
    assert f"up to {LAYERS[last[best]]} (overlap there {pairs[best][last[best]]:.2f}" in answer
    page.locator('[data-question="share"] button').click()
    assert page.evaluate("document.activeElement.id") == "title-sharing"
    cells = page.locator(".matrix td[data-key]")
    layer = LAYERS.index(page.locator('.layer-name[aria-pressed="true"]').get_attribute("data-layer"))
    assert [int(told) for told in cells.all_inner_texts()] == [
        round(100 * pairs[pair][layer]) for pair in ((0, 1), (0, 2), (1, 2))
    ]


def test_answers_tell_of_no_departure_and_of_the_path_that_changed_most(page, texts):
    answer = page.locator('[data-question="depart"] .glance-answer').inner_text()
    assert answer == f"{ATTACK} parts from noise in no layer."
    row = int(changes(texts[1]).argmax())
    answer = page.locator('[data-question="change"] .glance-answer').inner_text()
    assert answer.startswith(f"Sample {int(texts[1]['id'][row])}, {CLASSES[texts[1]['label'][row]]}: its path moves ")
    assert f"moves {changes(texts[1])[row]:.3g} grid steps" in answer
