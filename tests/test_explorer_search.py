"""The explorer's search in a browser: what it finds is what the arrays have, whatever things are called."""

import csv
import io
import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import needs_browser, saved, shown
from planted import CLASSES, COLUMNS, CONDITIONS, LAYERS, ROWS, SAMPLES, written
from references.overlaps import longest, shared_layers, shared_mass, told

pytestmark = needs_browser
ATTACK = CONDITIONS[2]
UNITS = ROWS * COLUMNS


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


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    """Classes in regions of the map: the first two lie together at the first layer and the last, but not between."""

    def change(_, arrays):
        starts = np.array([[0, 0, 8], [0, 4, 8], [0, 0, 3]])
        arrays["code/0/0"] = (starts[:, arrays["label"]] + arrays["code/0/0"] % 4).astype("uint16")

    return written(tmp_path_factory.mktemp("regions"), change)


def test_the_classes_that_share_codes_longest_are_those_of_the_arrays(chromium, regions):
    address, own = regions
    found = shared_mass(own["code/0/0"], own["label"], UNITS)
    best = longest(found)
    assert best == (0, 1)
    assert shared_layers(*found[best]) == [0, 2]
    with shown(chromium, address) as page:
        answer = page.locator('[data-question="share"] .glance-answer').inner_text()
        mean, ceiling = (one.mean() for one in found[best])
        assert answer == (
            f"{CLASSES[0]} and {CLASSES[1]}: at least half of the mass that they could share in 2 of 3 layers (input, "
            f"logits); mean overlap {mean:.2f} where halves of one class have {ceiling:.2f}."
        )
        page.locator('[data-question="share"] button').click()
        assert page.evaluate("document.activeElement.id") == "title-sharing"
        assert page.locator("#title-map").inner_text() == "Map of logits"
        told_of = {one.get_attribute("data-pair"): one.inner_text() for one in page.locator("button.pair").all()}
        for (one, other), parts in found.items():
            mean, ceiling = (one.mean() for one in parts)
            words = f"{told(shared_layers(*parts), LAYERS)}; mean {mean:.2f}, ceiling {ceiling:.2f}"
            assert words in told_of[f"{one}/{other}"]


def test_overlaps_and_ceilings_are_those_of_random_halves(chromium, regions):
    address, own = regions
    found = shared_mass(own["code/0/0"], own["label"], UNITS)
    with shown(chromium, address) as page:
        panel = page.locator("#panel-sharing")
        _, content = saved(page, panel.get_by_role("button", name=re.compile("^CSV")))
        names = dict(zip([CLASSES[0], f"'{CLASSES[1]}", CLASSES[2]], range(3), strict=True))
        rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
        assert rows[0][2:6] == ["layers shared", "mean overlap", "mean ceiling", "overlap at input"]
        assert len(rows) == 4
        for row in rows[1:]:
            overlaps, ceilings = found[names[row[0]], names[row[1]]]
            wanted = [overlaps.mean(), ceilings.mean(), *overlaps, *ceilings]
            assert int(row[2]) == len(shared_layers(overlaps, ceilings))
            assert [float(one) for one in row[3:]] == pytest.approx(wanted, abs=1e-4)
        for place, layer in enumerate(LAYERS):
            page.locator(".layer-name").nth(place).click()
            cells = panel.locator(".matrix td[data-key]")
            pairs = ((0, 1), (0, 2), (1, 2))
            assert [int(one) for one in cells.all_inner_texts()] == [
                int(100 * found[pair][0][place] + 0.5) for pair in pairs
            ], layer
            for cell, pair in zip(cells.all(), pairs, strict=True):
                label = cell.get_attribute("aria-label")
                assert label.endswith(f": {found[pair][0][place]:.2f}, ceiling {found[pair][1][place]:.2f}")
            assert panel.locator(".matrix td.own").count() == 3
        found_by_axe = Axe().run(page, context="#panel-sharing").response["violations"]
        assert not [one["id"] for one in found_by_axe if one["impact"] in ("serious", "critical")]
        cells.first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        many = np.isin(own["label"], [1, 2]).sum()
        assert f"{many} of {SAMPLES} samples: {CLASSES[1]} and {CLASSES[2]}." in search(page).inner_text()
        assert page.evaluate("document.activeElement.id") == "title-search"
        assert page.locator("#panel-map").get_by_role("button", name="found").count() == 1


def share(page):
    return page.locator('[data-question="share"] .glance-answer').inner_text()


def test_rare_classes_are_left_out_and_two_without_a_common_code_share_none(chromium, tmp_path):
    def change(_, arrays):
        arrays["label"] = np.where(np.arange(SAMPLES) < 29, 0, 1 + np.arange(SAMPLES) % 2).astype("int32")
        arrays["code/0/0"] = np.tile(arrays["label"], (len(LAYERS), 1)).astype("uint16")

    with shown(chromium, written(tmp_path, change)[0]) as page:
        assert share(page) == "No two of the classes compared have a code in common, in any layer."
        notes = page.locator(".sharing-notes").inner_text()
        assert notes == "1 class of fewer than 30 samples is left out."
        assert page.locator(".matrix tbody tr").count() == 2


def test_one_class_alone_shares_nothing_and_departure_needs_noise_of_the_same_size(chromium, tmp_path):
    def change(told, arrays):
        told["conditions"][2]["control"] = None
        arrays["label"][:] = 0

    with shown(chromium, written(tmp_path, change)[0]) as page:
        assert share(page) == "There are fewer than two classes of at least 30 samples."
        assert page.locator(".sharing-notes").inner_text() == share(page)
        answer = page.locator('[data-question="depart"] .glance-answer').inner_text()
        assert answer == f"Beside {ATTACK} the run has no noise of the same size, so this can't be told."


def test_of_many_classes_the_commonest_are_compared(chromium, tmp_path):
    many = 43

    def change(told, arrays):
        for name in told["arrays"]:
            arrays[name] = np.tile(arrays[name], 5 if "umatrix" not in name else 1)
        count = 5 * SAMPLES
        arrays["id"] = np.arange(count).astype("float64")
        arrays["label"] = (np.arange(count) % many).astype("int32")
        told |= {"samples": count, "total": count, "classes": [f"class {one}" for one in range(many)]}
        told["texts"] = False

    address, own = written(tmp_path, change, texts=False)
    found = shared_mass(own["code/0/0"], own["label"], UNITS)
    counts = np.bincount(own["label"])
    assert {counts.max(), counts.min()} == {35, 34}
    left = {one for one in range(many) if not any(one in pair for pair in found)}
    assert left == {40, 41, 42}
    best = longest(found)
    with shown(chromium, address) as page:
        begins = "Of the 40 commonest classes (of equally common ones those of lower number): "
        assert share(page).startswith(f"{begins}class {best[0]} and class {best[1]}: at least half ")
        assert "Compared are the 40 commonest classes" in page.locator(".sharing-notes").inner_text()
        assert "here 40 are compared" in page.locator(".sharing-matrix").inner_text()
        _, content = saved(page, page.locator("#panel-sharing").get_by_role("button", name=re.compile("^CSV")))
        rows = list(csv.reader(io.StringIO(content.decode(), newline="")))[1:]
        assert {name for row in rows for name in row[:2]} == {f"class {one}" for one in range(many) if one not in left}


def test_of_thinned_samples_every_count_says_of_how_many(chromium, tmp_path):
    def change(told, _):
        told["total"] = 1000

    address, own = written(tmp_path, change)
    unit = int(own["code/0/0"][0, 0])
    some = f"{np.count_nonzero(own['code/0/0'][0] == unit)} samples of the 300 shown"
    row = int(changes(own).argmax())
    link = f"layer=input&unit={unit}&sample={int(own['id'][row])}&condition={ATTACK}"
    with shown(chromium, f"{address}#{link}") as page:
        assert some in page.locator("#panel-unit .facts").first.inner_text()
        assert " samples of the 300 shown), to " in page.locator(".unit-moves .facts").inner_text()
        assert "number 1 of the 300 shown." in page.locator("#panel-sample .facts").last.inner_text()
        assert page.locator("#panel-ribbons th").nth(2).inner_text() == "samples of the 300 shown"
        assert "mean overlap of the 300 shown" in share(page)
        assert page.locator(".sharing-notes").inner_text() == "Counted are the samples of the 300 shown."
        answer = page.locator('[data-question="change"] .glance-answer').inner_text()
        assert answer.startswith(f"Sample {int(own['id'][row])}, {CLASSES[own['label'][row]]}, of the 300 shown: ")
        assert search(page).locator(".search-told").inner_text() == "All 300 samples that are shown of 1,000."
        assert table(page)[0][0] == "id of the 300 shown"
        ask(page, "mistakes", True)
        assert " of 300 samples shown: mistakes" in search(page).locator(".search-told").inner_text()
        page.locator("#panel-map .large-map").focus()
        page.keyboard.press("ArrowRight")
        assert " of the 300 shown, " in page.locator(".spoken").inner_text()


def test_classes_that_are_answers_are_called_so(chromium, tmp_path):
    def change(told, arrays):
        told["class_source"] = "predictions"
        arrays["label"][:] = -1

    address, own = written(tmp_path, change)
    rows = own["code/0/0"][1] == 5
    counts = np.bincount(own["prediction/0"][rows], minlength=3)
    with shown(chromium, f"{address}#layer={LAYERS[1]}&unit=4") as page:
        shares = counts[counts > 0] / rows.sum()
        page.locator("#panel-map .large-map").focus()
        page.keyboard.press("ArrowRight")
        told_of = page.locator(".spoken").inner_text()
        words = f"{rows.sum()} samples, {100 * counts.max() / rows.sum():.1f} % answered {CLASSES[counts.argmax()]}"
        assert told_of == f"Code 5 at {LAYERS[1]}: {words}"
        entropy = -(shares * np.log2(shares)).sum()
        facts = page.locator("#panel-unit .facts").first.inner_text()
        assert facts.endswith(f"H(answer | this code) {entropy:.2f} bits, not corrected for few samples")
        assert page.locator(".sharing-notes").inner_text() == "A sample's class is the network's answer."
        assert "where halves of one answer have" in share(page)
        assert page.locator("#panel-ribbons th").nth(3).inner_text() == "commonest answer"
        assert "own answer is the commonest" in page.locator("table.path caption").inner_text()
        ask(page, "class", "1")
        assert found_ids(page) == own["id"][own["prediction/0"] == 1].tolist()
        assert "clean answer" in search(page).locator(".search-told").inner_text()


def test_without_classes_no_share_of_a_class_is_told(chromium, tmp_path):
    def change(told, arrays):
        told |= {"class_source": None, "classes": []}
        for name in ("label", "prediction/0", "prediction/1", "prediction/2"):
            arrays[name][:] = -1

    address, own = written(tmp_path, change)
    with shown(chromium, f"{address}#layer=input&unit=4") as page:
        page.locator("#panel-map .large-map").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator(".spoken").inner_text() == f"Code 5 at input: {(own['code/0/0'][0] == 5).sum()} samples"


def test_answers_tell_of_no_departure_and_of_the_path_that_changed_most(page, texts):
    answer = page.locator('[data-question="depart"] .glance-answer').inner_text()
    assert answer == f"{ATTACK} parts from noise in no layer."
    row = int(changes(texts[1]).argmax())
    answer = page.locator('[data-question="change"] .glance-answer').inner_text()
    assert answer.startswith(f"Sample {int(texts[1]['id'][row])}, {CLASSES[texts[1]['label'][row]]}: its path moves ")
    assert f"moves {changes(texts[1])[row]:.3g} grid steps" in answer
