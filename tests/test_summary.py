"""What a table says in words: every verdict from a table made by hand."""

import pytest

from layerscope.results import Place, finding, table
from layerscope.summary import attack_pairs, layer_of_departure, summary

PGD, NOISE = "pgd:linf=8/255", "noise:linf=8/255"
NAMES = ("input", "stem", "block", "logits")


def rows(measure, values, condition="clean", reduction="mean", half=0.05):
    """A row a layer, each with an interval of twice `half`."""
    return [
        finding(measure, value, (value - half, value + half), 100, Place(name, index, condition, reduction))
        for index, (name, value) in enumerate(zip(NAMES, values, strict=False))
    ]


def ratios(*values, **options):
    return rows("participation_ratio", values, half=0.5, **options)


def told(*values, **options):
    return rows("label_information", values, **options)


def flips(attacked, noisy, **options):
    return rows("flip_rate", noisy, NOISE, **options) + rows("flip_rate", attacked, PGD, **options)


STEM = "participation ratio 3.0 in stem against 8.0 in the input"
RISE = "label information 0.50 in stem, 0.90 in block"


@pytest.mark.parametrize(
    ("own", "null", "verdict", "detail"),
    [
        ((8, 3, 5, 4), (), "compresses", f"{STEM}; no untrained null was measured"),
        ((8, 3, 5, 4), (8, 2, 5, 4), "compresses, but no more than it does untrained", f"{STEM}; untrained 2.0"),
        ((8, 3, 5, 4), (8, 3.9, 5, 4), "compresses, but no more than it does untrained", f"{STEM}; untrained 3.9"),
        ((8, 3, 5, 4), (8, 6, 5, 4), "compresses, and more than it does untrained", f"{STEM}; untrained 6.0"),
        ((8, 3, 5, 4), (8, 7.5, 5, 4), "compresses, and that is learned", f"{STEM}; untrained 7.5"),
        (
            (8, 24, 5, 4),
            (8, 11, 5, 4),
            "widens the space instead of compressing it",
            "participation ratio 24.0 in stem against 8.0 in the input; untrained 11.0",
        ),
        (
            (8, 7.5, 5, 4),
            (),
            "neither compresses nor widens the space",
            "participation ratio 7.5 in stem against 8.0 in the input; the intervals overlap",
        ),
        (
            (8, 8.5, 5, 4),
            (8, 3, 5, 4),
            "neither compresses nor widens the space",
            "participation ratio 8.5 in stem against 8.0 in the input; untrained 3.0; the intervals overlap",
        ),
    ],
)
def test_what_the_first_layer_does_to_the_space(own, null, verdict, detail):
    results = table(ratios(*own) + ratios(*null, condition="untrained"))
    assert summary(results) == [f"Under mean: the first layer {verdict} ({detail})."]


@pytest.mark.parametrize(
    ("own", "null", "verdict", "detail"),
    [
        ((0.7, 0.5, 0.9, 0.9), (), "become diverse with depth", f"{RISE}; no untrained null was measured"),
        (
            (0.7, 0.5, 0.9, 0.9),
            (0.7, 0.4, 0.8, 0.3),
            "become diverse with depth, but no more than they do untrained",
            f"{RISE}; untrained 0.40 and 0.80",
        ),
        (
            (0.7, 0.5, 0.9, 0.9),
            (0.7, 0.4, 0.65, 0.3),
            "become diverse with depth, but no more than they do untrained",
            f"{RISE}; untrained 0.40 and 0.65",
        ),
        (
            (0.7, 0.5, 0.9, 0.9),
            (0.7, 0.4, 0.55, 0.3),
            "become diverse with depth, and more than they do untrained",
            f"{RISE}; untrained 0.40 and 0.55",
        ),
        (
            (0.7, 0.5, 0.9, 0.9),
            (0.7, 0.5, 0.52, 0.9),
            "become diverse with depth, and that is learned",
            f"{RISE}; untrained 0.50 and 0.52",
        ),
        (
            (0.2, 0.5, 0.55, 0.9),
            (0.2, 0.3, 0.35, 0.9),
            "do not become more diverse with depth",
            "label information 0.50 in stem, 0.55 in block; untrained 0.30 and 0.35",
        ),
        (
            (0.2, 0.9, 0.3, 0.9),
            (),
            "do not become more diverse with depth",
            "label information 0.90 in stem, 0.30 in block",
        ),
    ],
)
def test_what_codes_do_with_depth(own, null, verdict, detail):
    results = table(told(*own) + told(*null, condition="untrained"))
    assert summary(results) == [f"Under mean: codes {verdict} ({detail})."]


@pytest.mark.parametrize(
    ("attacked", "verdict"),
    [
        ((0.1, 0.5, 0.9, 1.0), "parts from noise at stem (at the logits it flips 100% of codes, noise 40%)"),
        ((0.1, 0.2, 0.2, 0.42), "never parts from noise (at the logits it flips 42% of codes, noise 40%)"),
    ],
)
def test_where_an_attack_parts_from_noise(attacked, verdict):
    assert summary(table(flips(attacked, (0.1, 0.2, 0.2, 0.4)))) == [f"Under mean: {PGD} {verdict}."]


@pytest.mark.parametrize(
    "found", [ratios(8, 3), told(0.7, 0.5, 0.9), [], [finding("accuracy", 0.9, (0.8, 1.0), 9, Place())]]
)
def test_nothing_is_said_where_there_are_too_few_layers(found):
    assert summary(table(found)) == []


@pytest.mark.parametrize(
    ("attacked", "noisy", "half", "layer"),
    [
        ((0.9, 0.9, 0.9, 0.9), (0.1, 0.1, 0.1, 0.1), 0.05, "input"),
        ((0.1, 0.1, 0.5, 0.9), (0.1, 0.1, 0.1, 0.1), 0.05, "block"),
        ((0.1, 0.1, 0.1, 0.9), (0.1, 0.1, 0.1, 0.1), 0.05, "logits"),
        ((0.9, 0.1, 0.9, 0.9), (0.1, 0.1, 0.1, 0.1), 0.05, "block"),
        ((0.9, 0.9, 0.9, 0.1), (0.1, 0.1, 0.1, 0.1), 0.05, None),
        ((0.1, 0.1, 0.1, 0.1), (0.9, 0.9, 0.9, 0.9), 0.05, None),
        ((0.5, 0.5, 0.5, 0.5), (0.3, 0.3, 0.3, 0.3), 0.11, None),  # intervals overlap
        ((0.5, 0.5, 0.5, 0.5), (0.42, 0.42, 0.42, 0.42), 0.01, None),  # less than 0.1 apart
    ],
)
def test_an_attack_departs_where_it_stays_apart_from_there_on(attacked, noisy, half, layer):
    results = table(flips(attacked, noisy, half=half))
    assert layer_of_departure(results, "mean", PGD, NOISE) == layer
    assert layer_of_departure(results[::-1], "mean", PGD, NOISE) == layer


def test_departure_is_told_for_each_reduction_by_itself():
    results = table(flips((0, 0.9), (0, 0.1)) + flips((0, 0.1), (0, 0.1), reduction="sketch:8"))
    assert layer_of_departure(results, "mean", PGD, NOISE) == "stem"
    assert layer_of_departure(results, "sketch:8", PGD, NOISE) is None


@pytest.mark.parametrize(
    ("conditions", "pairs"),
    [
        ([NOISE, PGD], [(PGD, NOISE)]),
        ([f"{PGD},steps=20", NOISE], [(f"{PGD},steps=20", NOISE)]),
        (["pgd:steps=20,linf=8/255", NOISE], [("pgd:steps=20,linf=8/255", NOISE)]),
        ([NOISE, "noise:linf=0.1", "pgd:linf=0.1", PGD], [("pgd:linf=0.1", "noise:linf=0.1"), (PGD, NOISE)]),
        ([PGD], []),
        ([NOISE], []),
        (["pgd:linf=4/255", NOISE], []),
        ([], []),
    ],
)
def test_an_attack_is_paired_with_the_noise_of_its_budget(conditions, pairs):
    found = [row for condition in conditions for row in rows("flip_rate", (0.1, 0.2), condition)]
    assert attack_pairs(table([*found, *ratios(8, 3, 5)])) == pairs


def test_reductions_that_say_the_same_agree():
    results = table(ratios(8, 3, 5, 4) + ratios(8, 2, 5, 4, reduction="sketch:8"))
    assert summary(results)[-1] == "mean and sketch:8 agree on every verdict."
    assert len(summary(results)) == 3


def test_what_depends_on_the_reduction_is_told_beside_what_does_not():
    mean = ratios(8, 3, 5, 4) + told(0.7, 0.5, 0.9, 0.9) + flips((0.1, 0.5, 0.9, 1.0), (0.1, 0.2, 0.2, 0.4))
    sketch = (
        ratios(8, 24, 5, 4, reduction="sketch:8")
        + told(0.7, 0.6, 0.9, 0.9, reduction="sketch:8")
        + flips((0.1, 0.2, 0.9, 1.0), (0.1, 0.2, 0.2, 0.4), reduction="sketch:8")
    )
    sentences = summary(table(mean + sketch))
    assert len(sentences) == 7
    assert sentences[-1] == (
        "What depends on the reduction: under mean the first layer compresses, "
        "under sketch:8 the first layer widens the space instead of compressing it; "
        f"under mean {PGD} parts from noise at stem, under sketch:8 {PGD} parts from noise at block. "
        "What does not: codes become diverse with depth."
    )


def test_only_what_both_reductions_can_tell_is_compared():
    results = table(ratios(8, 3, 5, 4) + told(0.7, 0.5, 0.9, 0.9) + ratios(8, 24, 5, 4, reduction="sketch:8"))
    assert summary(results)[-1] == (
        "What depends on the reduction: under mean the first layer compresses, "
        "under sketch:8 the first layer widens the space instead of compressing it."
    )
