"""Compression and expansion of profiles made by hand, and their p-values against nulls that are known."""

from math import inf, isnan, log2

import pytest
import torch
from scipy import stats

from layerscope.measures.telescope import Depth, against_draws, extent, lowest, permutation_p, telescope
from layerscope.stats import Estimate

NAMES = ("input", "a", "b", "c", "logits")
RATIOS = (16.0, 4.0, 8.0, 32.0, 1.0)
"""Compresses by 2 octaves in `a` and expands by 3; the logits don't count."""
OCTAVES = "octaves of participation_ratio"


def estimates(measure, values, factors=()):
    """A layer's measures each; `factors` are what its bootstrap replicates are times the value, by layer."""
    scales = dict(factors)
    return [
        {measure: Estimate(value, value * scales.get(layer, torch.ones(41)), (value, value), 100)}
        for layer, value in enumerate(values)
    ]


def depth(
    values=RATIOS, *, measure="participation_ratio", names=NAMES, factors=(), untrained=(), permuted=None, alone=None
):
    nulls = [estimates(measure, draw) for draw in untrained]
    return Depth(names, estimates(measure, values, factors), nulls, permuted or [None] * len(names), alone or {})


def found(one, unit=OCTAVES):
    """The rows of one unit by measure and condition; there are no two of a kind."""
    rows = [row for row in telescope(one, "mean") if row.unit == unit]
    by_name = {(row.measure, row.condition): row for row in rows}
    assert len(by_name) == len(rows)
    return by_name


@pytest.mark.parametrize(
    ("profile", "figures"),
    [
        ([3.0, 1.0, 2.0, 5.0], (2.0, 4.0)),
        ([3.0, 4.0, 2.0, 2.5], (1.0, 0.5)),
        ([3.0, 2.0, 1.5, 1.0], (2.0, -0.5)),  # the last block is the lowest: it falls from the lowest before it
        ([0.0, 1.0, 2.0, 3.0], (-1.0, 2.0)),  # the input is none of the blocks
    ],
)
def test_the_extent_of_a_profile(profile, figures):
    assert tuple(float(one) for one in extent(torch.tensor(profile))) == figures


def test_the_reduction_alone_compresses_by_what_it_takes_from_the_input():
    both = torch.linspace(0.5, 1.5, 41)
    (floor,) = estimates("participation_ratio", [2.0], [(0, both.flip(0))])
    rows = found(depth(factors=[(0, both)], alone=floor))
    row = rows["compression", "reduction"]
    drawn = (16 * both).log2() - (2 * both.flip(0)).log2()
    low, high = torch.quantile(drawn - drawn.mean(), torch.tensor([0.025, 0.975])).tolist()
    assert (row.value, row.low, row.high) == pytest.approx((3.0, 3 + low, 3 + high), abs=1e-4)
    assert ("expansion", "reduction") not in rows
    assert ("compression", "reduction") not in found(depth())
    (dead,) = estimates("participation_ratio", [0.0])
    assert ("compression", "reduction") not in found(depth(alone=dead))


def test_many_profiles_have_each_their_own_lowest_block_unless_it_is_given():
    profiles = torch.tensor([[3.0, 1.0, 2.0, 4.0], [3.0, 2.0, 1.0, 0.5]])
    assert extent(profiles).compression.tolist() == [2.0, 2.5]
    assert extent(profiles).expansion.tolist() == [3.0, -0.5]
    first = lowest(profiles[0])
    assert [int(place) for place in first] == [1, 1]
    assert extent(profiles, first).compression.tolist() == [2.0, 1.0]
    assert extent(profiles, first).expansion.tolist() == [3.0, -1.5]


def test_the_figures_are_octaves_between_the_input_the_lowest_block_and_the_last():
    rows = telescope(depth(), "mean")
    assert [(row.measure, row.condition, row.value) for row in rows] == [
        ("compression", "clean", 2.0),
        ("expansion", "clean", 3.0),
    ]
    for row in rows:
        assert (row.layer, row.layer_index, row.reduction, row.unit, row.n) == ("", -1, "mean", OCTAVES, 100)
        assert isnan(row.null_untrained)
        assert isnan(row.null_shuffled)


@pytest.mark.parametrize(
    ("measure", "values", "compression", "expansion"),
    [
        ("class_gap", (1.0, 0.25, 0.5, 2.0, 9.0), 2.0, 3.0),
        ("label_information", (0.5, 0.25, 0.375, 0.75, 0.0), 0.25, 0.5),
    ],
)
def test_gaps_are_told_in_octaves_and_label_information_as_it_is(measure, values, compression, expansion):
    unit = {"class_gap": "octaves of class_gap", "label_information": "label_information"}[measure]
    rows = found(depth(values, measure=measure), unit)
    assert rows["compression", "clean"].value == compression
    assert rows["expansion", "clean"].value == expansion


def test_without_logits_the_last_layer_is_the_last_block():
    rows = found(depth(names=("input", "a", "b", "c", "d")))
    assert rows["compression", "clean"].value == 4.0
    assert rows["expansion", "clean"].value == -2.0


def test_where_no_input_was_recorded_the_first_layer_stands_for_it():
    rows = found(depth((16.0, 4.0, 8.0, 1.0), names=("embed", "a", "b", "logits")))
    assert rows["compression", "clean"].value == 2.0
    assert rows["expansion", "clean"].value == 1.0


def test_the_interval_is_that_of_the_replicates():
    steps = torch.linspace(-1, 1, 41)
    rows = found(depth(factors={0: torch.exp2(steps)}.items()))
    assert (rows["compression", "clean"].low, rows["compression", "clean"].high) == pytest.approx((1.05, 2.95))
    assert (rows["expansion", "clean"].low, rows["expansion", "clean"].high) == pytest.approx((3.0, 3.0))


def test_replicates_keep_the_lowest_block_of_the_profile():
    steps = torch.linspace(-2, 2, 41)  # in some replicates `b` is lower than `a`
    rows = found(depth(factors={1: torch.exp2(steps)}.items()))
    assert (rows["compression", "clean"].low, rows["compression", "clean"].high) == pytest.approx((0.1, 3.9))
    assert (rows["expansion", "clean"].low, rows["expansion", "clean"].high) == pytest.approx((1.1, 4.9))


def test_untrained_draws_have_each_their_own_lowest_block():
    untrained = ((16, 16, 32, 32, 1), (16, 16, 4, 8, 1), (16, 8, 16, 16, 1))  # compress by 0, 2, 1; expand by 1, 1, 1
    rows = found(depth(untrained=untrained))
    own, null, beyond = (rows["compression", name] for name in ("clean", "untrained", "beyond untrained"))
    half = stats.t.ppf(0.975, 2) * (1 + 1 / 3) ** 0.5
    assert own.null_untrained == null.value == 1.0
    assert (null.low, null.high) == pytest.approx((1 - half, 1 + half))
    assert beyond.value == 1.0
    assert (beyond.low, beyond.high) == pytest.approx((1 - half, 1 + half))
    p = rows["compression_p", "untrained"]
    assert p.value == pytest.approx(2 * stats.t.sf(1 / (4 / 3) ** 0.5, 2))
    assert isnan(p.low)
    assert isnan(p.high)
    assert rows["expansion", "untrained"].low == rows["expansion", "untrained"].high == 1.0
    assert rows["expansion_p", "untrained"].value == 0.0  # draws that are all alike, and not as the network


def test_beyond_untrained_contains_0_unless_p_is_below_a_twentieth():
    generator = torch.Generator().manual_seed(0)
    sides = set()
    for _ in range(40):
        untrained = [(16, *row, 1) for row in torch.exp2(2 + torch.randn(4, 3, generator=generator)).tolist()]
        rows = found(depth((16.0, 0.5, 8.0, 32.0, 1.0), untrained=untrained))
        for name in ("compression", "expansion"):
            beyond, p = rows[name, "beyond untrained"], rows[f"{name}_p", "untrained"].value
            assert (beyond.low <= 0 <= beyond.high) == (p >= 0.05)
            sides.add(p >= 0.05)
    assert sides == {True, False}


def test_one_untrained_draw_is_a_mean_without_a_p():
    rows = found(depth(untrained=((16, 8, 16, 16, 1),)))
    assert set(rows) == {("compression", "clean"), ("expansion", "clean")}
    assert rows["compression", "clean"].null_untrained == 1.0


def test_a_draw_that_lacks_the_measure_somewhere_does_not_count():
    one = depth(untrained=((16, 8, 16, 16, 1),) * 3)
    one.untrained[1][2].clear()
    one.untrained[2][2].clear()
    assert set(found(one)) == {("compression", "clean"), ("expansion", "clean")}


PERMUTED = [torch.tensor(row) for row in ([0.5, 0.5, 0.5], [0.25, 0.5, 0.25], [0.5, 0.75, 0.25], [0.5, 1.0, 0.25])]
"""By layer: over permutations, compression 0.25, 0, 0.25 and expansion 0.25, 0.5, 0."""


def test_permutations_of_the_labels_are_a_null_of_label_information():
    values = (0.5, 0.25, 0.25, 0.625, 0.0)
    rows = found(depth(values, measure="label_information", permuted=[*PERMUTED, None]), "label_information")
    assert set(rows) == {
        (name, condition)
        for name, conditions in (
            ("compression", ("clean", "shuffled")),
            ("expansion", ("clean", "shuffled")),
            ("compression_p", ("shuffled",)),
            ("expansion_p", ("shuffled",)),
        )
        for condition in conditions
    }
    expansion, shuffled = rows["expansion", "clean"], rows["expansion", "shuffled"]
    assert expansion.value == 0.375
    assert expansion.null_shuffled == shuffled.value == 0.25
    assert (shuffled.low, shuffled.high) == pytest.approx((0.0125, 0.4875))
    assert rows["expansion_p", "shuffled"].value == 2 / 4  # itself and the permutation that expands by 0.5
    assert rows["compression_p", "shuffled"].value == 3 / 4  # itself and the two that compress as much
    assert rows["compression", "clean"].null_shuffled == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("measure", "permuted"), [("label_information", [*PERMUTED[:3], None, None]), ("class_gap", [*PERMUTED, None])]
)
def test_permutations_are_no_null_of_other_measures_nor_where_a_layer_lacks_them(measure, permuted):
    rows = telescope(depth(measure=measure, permuted=permuted), "mean")
    assert {row.condition for row in rows} == {"clean"}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ((16.0, 4.0, 1.0), ("input", "a", "logits")),
        ((16.0, 4.0), ("input", "a")),
        ((16.0, 1.0), ("input", "logits")),
    ],
)
def test_fewer_than_two_blocks_are_no_telescope(values, names):
    assert telescope(depth(values, names=names), "mean") == []


def test_a_measure_that_is_missing_at_a_layer_has_no_figures():
    one = depth()
    one.own[2].clear()
    assert telescope(one, "mean") == []


def test_a_measure_that_is_missing_at_the_logits_alone_has():
    one = depth()
    one.own[4].clear()
    assert found(one)["compression", "clean"].value == 2.0


def test_an_infinite_gap_has_no_figures():
    assert telescope(depth((1.0, inf, 2.0, 2.0, 1.0), measure="class_gap"), "mean") == []


def test_every_measure_that_is_there_is_told_of_by_itself():
    one = depth()
    for layer, value in zip(one.own, (0.5, 0.25, 0.375, 0.75, 0.0), strict=True):
        layer.update(estimates("label_information", [value])[0] | estimates("purity", [value])[0])
    rows = telescope(one, "mean")
    assert [row.unit for row in rows] == [OCTAVES, OCTAVES, "label_information", "label_information"]
    assert [row.value for row in rows] == [2.0, 3.0, 0.25, 0.5]


@pytest.mark.parametrize("count", [2, 5, 20])
def test_p_is_that_of_student_s_test_of_one_new_observation(count):
    draws = torch.randn(count, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    for value in (-3.0, 0.1, 1.5):
        expected = stats.ttest_ind_from_stats(value, 0.0, 1, float(draws.mean()), float(draws.std()), count)
        assert against_draws(value, draws).p == pytest.approx(expected.pvalue)


def test_at_the_end_of_the_prediction_interval_p_is_a_twentieth():
    draws = torch.tensor([1.0, 2.0, 4.0, 5.0])
    half = against_draws(0.0, draws).half_width
    assert half == pytest.approx(stats.t.ppf(0.975, 3) * (10 / 3 * 5 / 4) ** 0.5)
    for value in (3 - half, 3 + half):
        assert against_draws(value, draws).p == pytest.approx(0.05)


def test_draws_that_are_all_alike_leave_no_doubt():
    assert against_draws(2.0, torch.full((3,), 2.0)) == (0.0, 1.0)
    assert against_draws(2.5, torch.full((3,), 2.0)) == (0.0, 0.0)


def test_p_of_one_more_draw_is_uniform():
    sets = torch.randn(200, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * log2(10) + 3
    values = [against_draws(float(one[0]), one[1:]).p for one in sets]
    assert stats.kstest(values, "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    ("value", "p"), [(3.0, 3 / 5), (5.0, 1 / 5), (0.0, 1.0), (4.0, 2 / 5)]  # of 1, 2, 3, 4
)  # fmt: skip
def test_the_share_of_permutations_that_reach_the_value(value, p):
    assert permutation_p(value, torch.tensor([1.0, 2.0, 3.0, 4.0])) == p


def test_p_of_permutations_is_uniform_where_the_value_is_one_of_them():
    values = torch.randn(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    others = [torch.cat([values[:place], values[place + 1 :]]) for place in range(20)]
    found_p = [permutation_p(float(value), rest) for value, rest in zip(values, others, strict=True)]
    assert sorted(found_p) == [rank / 20 for rank in range(1, 21)]
