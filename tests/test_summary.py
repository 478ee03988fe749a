"""What a table says in words: every verdict from a table made by hand."""

from dataclasses import replace
from math import nan

import pytest

from layerscope.results import Place, finding, table
from layerscope.summary import Claim, Sentence, _difference, attack_pairs, layer_of_departure, sentences, summary

PGD, NOISE = "pgd:linf=8/255", "noise:pgd:linf=8/255"
NAMES = ("input", "stem", "block", "logits")


def rows(measure, values, condition="clean", reduction="mean", half=0.05, names=NAMES):
    """A row a layer, each with an interval of twice `half`."""
    return [
        finding(measure, value, (value - half, value + half), 100, Place(name, index, condition, reduction))
        for index, (name, value) in enumerate(zip(names, values, strict=False))
    ]


def ratios(*values, **options):
    return rows("participation_ratio", values, half=0.5, **options)


def told(*values, **options):
    return rows("label_information", values, **options)


def flips(attacked, noisy, **options):
    return rows("flip_rate", noisy, NOISE, **options) + rows("flip_rate", attacked, PGD, **options)


def figure(name, unit, bounds, untrained=nan, p=None, reduction="mean"):
    """One of the telescope's figures, in the middle of its bounds; the nulls' own rows stand around it."""
    place, value = Place(reduction=reduction), sum(bounds) / 2
    clean = finding(name, value, bounds, 100, place, unit=unit, null_untrained=untrained)
    if p is None:
        return [clean]
    null, shuffled = (place._replace(condition=condition) for condition in ("untrained", "shuffled"))
    return [
        finding(name, untrained, (-9.0, 9.0), 100, null, unit=unit),
        finding(f"{name}_p", 1 - p, (nan, nan), 100, shuffled, unit=unit),
        clean,
        finding(name, value - untrained, (-9.0, 9.0), 100, place._replace(condition="beyond untrained"), unit=unit),
        finding(f"{name}_p", p, (nan, nan), 100, null, unit=unit),
    ]


def compression(*bounds, **options):
    return figure("compression", "octaves of participation_ratio", bounds, **options)


def expansion(*bounds, **options):
    return figure("expansion", "label_information", bounds, **options)


def narrowing(reduction="mean"):
    return ratios(8, 2, 4, 1, reduction=reduction) + compression(1.75, 2.25, reduction=reduction)


def widening(reduction="mean"):
    return ratios(8, 32, 16, 1, reduction=reduction) + compression(-1.5, -0.5, reduction=reduction)


def diversifying(reduction="mean"):
    return told(0.7, 0.5, 0.9, 0.95, reduction=reduction) + expansion(0.3, 0.5, reduction=reduction)


BELOW = "participation ratio 8.0 in the input, 2.0 at its lowest, in stem: +2.00 octaves (1.75 to 2.25)"
ABOVE = "participation ratio 8.0 in the input, 16.0 at its lowest, in block: -1.00 octaves (-1.50 to -0.50)"
RISE = (
    "label information 0.50 at its lowest before the last block, in stem, and 0.90 in block: "
    "+0.40 of H(y) (0.30 to 0.50)"
)
FEW, NONE = "too few untrained draws to judge it by", "no untrained draws to judge it by"
UNTOLD, NOTHING = (f"with {how} untrained draws to tell whether that is learned" for how in ("too few", "no"))


@pytest.mark.parametrize(
    ("untrained", "p", "ending", "against"),
    [
        (0.5, 0.03, "and more than it does untrained", "untrained +0.50, p = 0.030"),
        (-0.5, 0.004, "and more than it does untrained", "untrained -0.50, p = 0.004"),
        (3.5, 0.03, "but less than it does untrained", "untrained +3.50, p = 0.030"),
        (0.5, 0.05, "but not shown to be more than it does untrained", "untrained +0.50, p = 0.050"),
        (3.5, 0.098, "but not shown to be more than it does untrained", "untrained +3.50, p = 0.098"),
        (0.5, None, UNTOLD, FEW),
        (nan, None, NOTHING, NONE),
    ],
)
def test_a_network_compresses_where_its_lowest_block_lies_below_the_input(untrained, p, ending, against):
    found = table(ratios(8, 2, 4, 1) + compression(1.75, 2.25, untrained=untrained, p=p))
    assert summary(found) == [f"Under mean: the network compresses, {ending} ({BELOW}; {against})."]


@pytest.mark.parametrize(("alone", "word"), [(1.7, "beyond"), (1.8, "not beyond"), (3.0, "not beyond")])
def test_compression_is_held_against_that_of_the_reduction_alone(alone, word):
    place = Place(reduction="mean", condition="reduction")
    floor = finding("compression", alone, (-9.0, 9.0), 100, place, unit="octaves of participation_ratio")
    found = table([*ratios(8, 2, 4, 1), *compression(1.75, 2.25, untrained=0.5, p=0.03), floor])
    assert summary(found) == [
        (
            f"Under mean: the network compresses, and more than it does untrained and {word} what mean of the input "
            f"does alone ({BELOW}; untrained +0.50, p = 0.030; mean alone {alone:+.2f})."
        )
    ]


@pytest.mark.parametrize(("most", "does"), [(0.19, True), (0.15, False)])
def test_a_compression_that_is_sure_but_small_is_none(most, does):
    found = table(ratios(8, 7.5, 7.8, 1) + compression(0.03, most))
    assert summary(found)[0].startswith("Under mean: the network compresses") == does


@pytest.mark.parametrize(("most", "does"), [(0.09, True), (0.07, False)])
def test_a_rise_that_is_sure_but_small_is_none(most, does):
    found = table(told(0.7, 0.5, 0.55, 0.95) + expansion(0.02, most))
    assert summary(found)[0].startswith("Under mean: codes become diverse") == does


def test_of_reductions_that_share_no_subject_nothing_is_said_to_agree():
    other = ratios(8, 2, reduction="sketch:8", names=("input", "a"))
    assert summary(table(narrowing() + other))[-1] == "Nothing could be told under both mean and sketch:8."


@pytest.mark.parametrize(
    ("untrained", "p", "ending", "against"),
    [
        (0.5, 0.03, "and more so than untrained", "untrained +0.50, p = 0.030"),
        (-0.25, 0.03, "and more so than untrained", "untrained -0.25, p = 0.030"),
        (-3.0, 0.00002, "but less so than untrained", "untrained -3.00, p < 0.001"),
        (-0.25, 0.05, "not shown to be other than untrained", "untrained -0.25, p = 0.050"),
        (-0.25, None, UNTOLD, FEW),
        (nan, None, NOTHING, NONE),
    ],
)
def test_every_block_is_wider_where_even_the_lowest_lies_above_the_input(untrained, p, ending, against):
    found = table(ratios(8, 32, 16, 1) + compression(-1.5, -0.5, untrained=untrained, p=p))
    assert summary(found) == [f"Under mean: every block is wider than the input, {ending} ({ABOVE}; {against})."]


@pytest.mark.parametrize(
    ("bounds", "numbers"),
    [
        ((-0.5, 1.0), "+0.25 octaves (-0.50 to 1.00)"),
        ((0.0, 0.5), "+0.25 octaves (0.00 to 0.50)"),
        ((-0.5, 0.0), "-0.25 octaves (-0.50 to 0.00)"),
    ],
)
def test_neither_is_said_where_the_interval_holds_zero(bounds, numbers):
    found = table(ratios(8, 7, 9, 1) + compression(*bounds, untrained=3.0, p=0.001))
    verdict = "no block lies clearly below the input, and not all above it"
    profile = "participation ratio 8.0 in the input, 7.0 at its lowest, in stem"
    assert summary(found) == [f"Under mean: {verdict} ({profile}: {numbers}; untrained +3.00, p = 0.001)."]


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ((1.75, 2.25), f"the network compresses, {NOTHING}"),
        ((-1.5, -0.5), f"every block is wider than stem, {NOTHING}"),
        ((-0.5, 0.5), "no block lies clearly below stem, and not all above it"),
    ],
)
def test_the_first_layer_stands_for_an_input_that_was_not_recorded(bounds, verdict):
    own = ratios(8, 9, 2, 1, names=("stem", "one", "two", "logits"))
    (sentence,) = summary(table(own + compression(*bounds)))
    start = "participation ratio 8.0 in stem, 2.0 at its lowest, in two"
    assert sentence.startswith(f"Under mean: {verdict} ({start}: ")


@pytest.mark.parametrize(
    ("untrained", "p", "ending", "against"),
    [
        (0.1, 0.03, "and more than they do untrained", "untrained +0.10, p = 0.030"),
        (0.6, 0.03, "but less than they do untrained", "untrained +0.60, p = 0.030"),
        (0.1, 0.05, "but not shown to be more than they do untrained", "untrained +0.10, p = 0.050"),
        (0.1, None, UNTOLD, FEW),
        (nan, None, NOTHING, NONE),
    ],
)
def test_codes_become_diverse_where_label_information_rises(untrained, p, ending, against):
    found = table(told(0.7, 0.5, 0.9, 0.95) + expansion(0.3, 0.5, untrained=untrained, p=p))
    assert summary(found) == [f"Under mean: codes become diverse with depth, {ending} ({RISE}; {against})."]


@pytest.mark.parametrize(
    ("bounds", "numbers"),
    [
        ((-0.25, 0.75), "+0.25 of H(y) (-0.25 to 0.75)"),
        ((0.0, 0.5), "+0.25 of H(y) (0.00 to 0.50)"),
        ((-0.75, -0.25), "-0.50 of H(y) (-0.75 to -0.25)"),
    ],
)
def test_codes_do_not_become_diverse_unless_the_interval_lies_above_zero(bounds, numbers):
    found = table(told(0.2, 0.9, 0.4, 0.9) + expansion(*bounds, untrained=-3.0, p=0.001))
    verdict = "codes do not become more diverse with depth"
    profile = "label information 0.90 at its lowest before the last block, in stem, and 0.40 in block"
    assert summary(found) == [f"Under mean: {verdict} ({profile}: {numbers}; untrained -3.00, p = 0.001)."]


@pytest.mark.parametrize("names", [("input", "a", "b", "c", "logits"), ("first", "a", "b", "c", "logits")])
def test_the_rise_is_told_from_the_lowest_block_before_the_last(names):
    found = table(told(0.1, 0.5, 0.4, 0.3, 0.2, names=names) + expansion(-0.2, 0.0))
    (sentence,) = summary(found)
    assert "0.40 at its lowest before the last block, in b, and 0.30 in c: -0.10 of H(y) " in sentence


def test_layers_are_told_in_order_of_depth_whatever_the_order_of_rows():
    found = table(narrowing() + diversifying())
    assert summary(found[::-1]) == summary(found)


@pytest.mark.parametrize(
    ("attacked", "verdict"),
    [
        ((0.1, 0.5, 0.9, 1.0), "parts from noise at stem (at the logits it flips 100% of codes, noise 40%)"),
        ((0.1, 0.2, 0.2, 0.42), "is not shown to part from noise (at the logits it flips 42% of codes, noise 40%)"),
    ],
)
def test_where_an_attack_parts_from_noise(attacked, verdict):
    assert summary(table(flips(attacked, (0.1, 0.2, 0.2, 0.4)))) == [f"Under mean: {PGD} {verdict}."]


@pytest.mark.parametrize(
    "found",
    [
        [],
        [finding("accuracy", 0.9, (0.8, 1.0), 9, Place())],
        ratios(8, 3),
        ratios(8, 3, 5, 4),
        told(0.7, 0.5, 0.9, 0.9),
        told(0.7, 0.5, 0.9, 0.9) + figure("compression", "label_information", (0.1, 0.3)),
        ratios(8, 3, 5, 4) + figure("expansion", "octaves of participation_ratio", (0.1, 0.3)),
        ratios(8, 3, 5, 4) + figure("compression", "octaves of class_gap", (0.1, 0.3)),
    ],
)
def test_nothing_is_said_of_what_the_table_holds_no_figure_of(found):
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


L2 = "pgd:l2=0.5,steps=20"


@pytest.mark.parametrize(
    ("conditions", "pairs"),
    [
        ([NOISE, PGD], [(PGD, NOISE)]),
        ([PGD, NOISE], [(PGD, NOISE)]),
        ([NOISE, PGD, f"noise:{L2}", L2], [(PGD, NOISE), (L2, f"noise:{L2}")]),
        ([f"noise:{L2}", PGD, NOISE], [(PGD, NOISE)]),
        (["noise:linf=8/255", PGD], []),
        ([PGD], []),
        ([NOISE], []),
        ([], []),
    ],
)
def test_an_attack_is_paired_with_the_noise_that_was_matched_to_it(conditions, pairs):
    found = [row for condition in conditions for row in rows("flip_rate", (0.1, 0.2), condition)]
    assert attack_pairs(table([*found, *ratios(8, 3, 5)])) == pairs


def test_reductions_that_say_the_same_agree():
    sketch = ratios(9, 3, 5, 4, reduction="sketch:8") + compression(1.0, 2.0, reduction="sketch:8")
    found = table(narrowing() + sketch)
    assert summary(found)[-1] == "mean and sketch:8 agree on every verdict."
    assert len(summary(found)) == 3


def test_reductions_differ_where_only_one_goes_beyond_untrained():
    learned = compression(1.75, 2.25, untrained=0.5, p=0.01)
    given = compression(1.75, 2.25, untrained=0.5, p=0.2, reduction="sketch:8")
    found = table(ratios(8, 2, 4, 1) + learned + ratios(8, 2, 4, 1, reduction="sketch:8") + given)
    assert summary(found)[-1] == (
        "Verdicts that depend on the reduction: 1 of 1. Under mean the network compresses, and more than it does "
        "untrained; under sketch:8 the network compresses, but not shown to be more than it does untrained."
    )


def test_what_depends_on_the_reduction_is_told_beside_what_does_not():
    mean = narrowing() + diversifying() + flips((0.1, 0.5, 0.9, 1.0), (0.1, 0.2, 0.2, 0.4))
    sketch = (
        widening("sketch:8")
        + diversifying("sketch:8")
        + flips((0.1, 0.2, 0.9, 1.0), (0.1, 0.2, 0.2, 0.4), reduction="sketch:8")
    )
    found = summary(table(mean + sketch))
    assert len(found) == 7
    assert found[-1] == (
        f"Verdicts that depend on the reduction: 2 of 3. Under mean the network compresses, {NOTHING}; "
        f"under sketch:8 every block is wider than the input, {NOTHING}. "
        f"Under mean {PGD} parts from noise at stem; under sketch:8 {PGD} parts from noise at block."
    )


def test_a_sentence_says_what_it_is_made_of():
    rates = (0.1, 0.5, 0.9, 1.0), (0.1, 0.2, 0.2, 0.4)
    mean = narrowing() + diversifying() + flips(*rates)
    found = sentences(table(mean + narrowing("sketch:8") + flips(*rates, reduction="sketch:8")))
    assert [(one.reduction, one.subject) for one in found] == [
        ("mean", "compression"), ("mean", "expansion"), ("mean", PGD),
        ("sketch:8", "compression"), ("sketch:8", PGD), ("", ""),
    ]  # fmt: skip
    assert found[0].verdict == f"the network compresses, {NOTHING}"
    assert found[0].detail == f"{BELOW}; {NONE}"
    assert found[2].verdict == f"{PGD} parts from noise at stem"
    for one in found[:-1]:
        assert one.text == f"Under {one.reduction}: {one.verdict} ({one.detail})."
    assert found[-1] == Sentence("", "", "", "", "mean and sketch:8 agree on every verdict.")


def test_only_what_both_reductions_can_tell_is_compared():
    found = table(narrowing() + diversifying() + widening("sketch:8"))
    assert summary(found)[-1] == (
        f"Verdicts that depend on the reduction: 1 of 1. Under mean the network compresses, {NOTHING}; "
        f"under sketch:8 every block is wider than the input, {NOTHING}."
    )


GIVEN = "Spearman given the margin"


def going(values, p, given=(0.0,) * 4, given_p=(1.0,) * 4, measure="vulnerability_homogeneity", reduction="mean"):
    """Correlations of smallest perturbations with a measure and their p, as they are and given the margin."""
    found = []
    for unit, own, chances in (("Spearman", values, p), (GIVEN, given, given_p)):
        for index, name in enumerate(NAMES):
            place = Place(name, index, "fmn:linf", reduction)
            bounds = (own[index] - 0.05, own[index] + 0.05)
            found.append(finding(measure, own[index], bounds, 100, place, unit=unit))
            found.append(finding(f"{measure}_p", chances[index], (nan, nan), 100, place, unit=unit))
            if unit == "Spearman":
                other = place._replace(condition="class 3")
                found.append(finding(measure, -0.9, (-1.0, -0.8), 20, other, unit=unit))
    return found


BEST = "strongest in stem, Spearman -0.40 (-0.45 to -0.35)"


@pytest.mark.parametrize(
    ("rows", "verdict", "detail"),
    [
        (
            going((-0.9, -0.4, -0.3, -0.9), (0.001, 0.01, 0.2, 0.001)),
            "go with small perturbations, not shown beyond what the answer's margin tells",
            f"in 1 of 2 layers, in 0 of these given the margin of the logits; {BEST}",
        ),
        (
            going((0, -0.4, -0.3, 0), (1, 0.01, 0.02, 1), given=(0, -0.2, 0.3, 0), given_p=(1, 0.03, 0.001, 1)),
            "go with small perturbations, in some layers beyond what the answer's margin tells",
            f"in 2 of 2 layers, in 1 of these given the margin of the logits; {BEST}",
        ),
        (
            going((-0.9, -0.4, 0.3, -0.9), (0.001, 0.05, 0.01, 0.001), given=(-0.9, 0.5, 0, 0), given_p=(0.01,) * 4),
            "are not shown to go with small perturbations",
            f"in 0 of 2 layers, in 0 of these given the margin of the logits; {BEST}; the other way in 1: block",
        ),
    ],
)
def test_homogeneous_codes_go_with_small_perturbations_where_the_correlation_is_below_0(rows, verdict, detail):
    assert summary(table(rows)) == [f"Under mean: homogeneous codes {verdict} ({detail})."]


def test_narrow_gaps_go_with_small_perturbations_where_the_correlation_is_above_0():
    rows = going((0, 0.4, -0.3, 0), (1, 0.01, 0.01, 1), measure="vulnerability_gap")
    detail = "in 1 of 2 layers, in 0 of these given the margin of the logits; "
    detail += "strongest in stem, Spearman +0.40 (0.35 to 0.45)"
    verdict = (
        "narrow gaps to another class go with small perturbations, not shown beyond what the answer's margin tells"
    )
    assert summary(table(rows)) == [f"Under mean: {verdict} ({detail}; the other way in 1: block)."]


def test_a_verdict_that_names_its_reduction_is_the_same_under_another_name():
    one, other = (
        Claim("compresses beyond what mean alone does", "+2"),
        Claim("compresses beyond what flat alone does", "+2"),
    )
    assert _difference("mean", {"a": one}, "flat", {"a": other}) == "mean and flat agree on every verdict."
    assert "Verdicts that depend on the reduction: 1 of 1." in _difference(
        "mean", {"a": one}, "flat", {"a": Claim("expands", "+2")}
    )


def test_a_correlation_without_an_interval_is_told_to_have_none():
    rows = [replace(row, low=nan, high=nan) for row in going((0, -0.4, -0.3, 0), (1, 0.01, 0.2, 1))]
    assert "strongest in stem, Spearman -0.40 (no interval)" in summary(table(rows))[0]


def test_reductions_are_compared_in_what_goes_with_small_perturbations():
    one = going((0, -0.4, -0.3, 0), (1, 0.01, 0.02, 1))
    other = going((0, -0.4, -0.3, 0), (1, 0.2, 0.2, 1), reduction="sketch:8")
    assert summary(table(one + other))[-1] == (
        "Verdicts that depend on the reduction: 1 of 1. Under mean homogeneous codes go with small perturbations, "
        "not shown beyond what the answer's margin tells; under sketch:8 homogeneous codes are not shown to go with "
        "small perturbations."
    )
