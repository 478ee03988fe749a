"""Bootstrap draws, intervals and rank correlations, beside scipy, written-out draws, and simulation of how often they
hold the truth.
"""

from math import isnan, nan

import numpy as np
import pytest
import torch
from handmade import few, gaussian, seeds, whole_numbers
from hypothesis import given
from hypothesis import strategies as st
from references.information import entropy
from references.ranks import exact_p, partial, ranks_within, rejected, within
from references.stats import centred_interval, lower_median, repeated
from scipy import stats as scipy_stats

from layerscope.measures.geometry import participation_ratio
from layerscope.measures.information import left_over
from layerscope.stats import (
    Z,
    bootstrapped,
    clustered_mean_interval,
    clustered_share_interval,
    dealt_groups,
    holm,
    interval,
    jackknife_influence,
    linear,
    median,
    midranks,
    prediction_interval,
    quantile_bounds,
    rank_correlation,
    rank_sign_p,
    resample,
    resample_clusters,
    share_interval,
    weighted_mean,
    weighted_median,
    widest,
)

SETS = 300


def test_every_draw_counts_as_many_samples_as_there_are():
    weights = resample(37, 50, seed=0)
    assert weights.shape == (50, 37)
    assert (weights.sum(1) == 37).all()
    assert torch.equal(weights, weights.round())
    assert weights.min() == 0


def test_samples_are_drawn_as_often_as_chance_has_it():
    weights = resample(50, 4000, seed=0)
    counts = scipy_stats.binom(50, 1 / 50)
    torch.testing.assert_close(weights.mean(0), torch.ones(50), atol=5 * counts.std() / 4000**0.5, rtol=0)
    assert float(weights.var()) == pytest.approx(counts.var(), rel=0.02)
    assert float((weights == 0).float().mean()) == pytest.approx(counts.pmf(0), rel=0.02)


def test_a_seed_gives_the_same_draws_and_another_gives_others():
    assert torch.equal(resample(20, 5, seed=3), resample(20, 5, seed=3))
    assert not torch.equal(resample(20, 5, seed=3), resample(20, 5, seed=4))


@few
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_weighted_mean_and_median_are_those_of_the_samples_drawn(seed, n):
    values, weights = gaussian(n, seed=seed), resample(n, 12, seed=seed)
    drawn = [repeated(values.tolist(), counts) for counts in weights]
    np.testing.assert_allclose(weighted_mean(values, weights), [np.mean(draw) for draw in drawn], atol=1e-6)
    np.testing.assert_array_equal(weighted_median(values, weights), np.float32([lower_median(draw) for draw in drawn]))


def test_a_median_of_infinite_values_is_infinite_where_they_are_half_or_more():
    values = torch.tensor([1.0, torch.inf, 2.0, torch.inf])
    weights = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 1.0, 0.0], [2.0, 1.0, 0.0, 1.0]])
    assert weighted_median(values, weights).tolist() == [2.0, torch.inf, 1.0]


@few
@given(st.integers(0, 10**6), st.floats(-50, 50), st.floats(-50, 50))
def test_the_interval_is_the_replicates_spread_put_around_the_value(seed, value, bias):
    replicates = gaussian(200, seed=seed).exp()
    expected = centred_interval(value, replicates)
    assert interval(value, replicates) == pytest.approx(expected, abs=1e-5)
    assert interval(value, replicates + bias) == pytest.approx(expected, abs=1e-4)


def test_the_middle_of_evenly_spread_values_is_known():
    assert quantile_bounds(torch.arange(1001.0)) == pytest.approx((25.0, 975.0))


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (1, 2), (3, 10), (500, 1000), (1, 1000)])
def test_the_interval_of_a_share_is_wilsons(successes, n):
    expected = scipy_stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert share_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("n", [1, 7, 1000, 1009, 60_000])
def test_the_interval_of_a_share_holds_it_where_all_or_none_count(n):
    """Rounding puts the formula's own bound for none of 1,000 at 2e-19, above the share."""
    assert share_interval(0, n)[0] == 0 < share_interval(0, n)[1]
    assert share_interval(n, n)[1] == 1 > share_interval(n, n)[0]
    assert all(share_interval(k, n)[0] <= k / n <= share_interval(k, n)[1] for k in range(0, n, 1 + n // 50))


def test_the_interval_of_a_share_has_a_width_where_all_samples_agree():
    low, high = share_interval(0, 50)
    assert low == pytest.approx(0.0, abs=1e-12)
    assert high > 0.05


def held(truth, bounds):
    return sum(low <= truth <= high for low, high in bounds) / len(bounds)


def test_intervals_of_a_mean_hold_it_95_times_in_100():
    weights = resample(80, 1000, seed=1)
    drawn = 2 * gaussian(SETS, 80, seed=2) + 5
    bounds = [interval(float(values.mean()), weighted_mean(values, weights)) for values in drawn]
    assert 0.9 <= held(5, bounds) <= 0.99


def test_intervals_of_a_participation_ratio_hold_it_95_times_in_100():
    deviations = torch.tensor([3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.5, 0.5])
    truth = float(deviations.square().sum() ** 2 / deviations.pow(4).sum())
    weights = resample(300, 2, seed=1)
    drawn = gaussian(150, 300, 8, seed=2) * deviations
    bounds = [linear(*participation_ratio(rows), weights).bounds for rows in drawn]
    assert 0.9 <= held(truth, bounds) <= 0.99


def test_intervals_of_what_codes_leave_open_of_the_label_hold_it_95_times_in_100():
    generator = torch.Generator().manual_seed(2)
    joint = torch.rand(6, 3, generator=generator).pow(3).double()
    p = (joint / joint.sum()).numpy()
    cells = torch.multinomial(joint.flatten(), 120 * 400, replacement=True, generator=generator).reshape(120, 400)
    unsaid = scipy_stats.entropy(p.ravel(), base=2) - scipy_stats.entropy(p.sum(1), base=2)
    bounds = [linear(*left_over(cell // 3, cell % 3, 6, 3), torch.ones(1, 400)).bounds for cell in cells]
    assert 0.9 <= held(unsaid, bounds) <= 0.99


@pytest.mark.parametrize("seed", seeds)
def test_bias_of_the_replicates_does_not_move_the_interval(seed):
    """Every bootstrap draw of an entropy is too low; the interval stands around the estimate all the same."""
    codes = torch.randint(60, (200,), generator=torch.Generator().manual_seed(seed))
    drawn = [repeated(codes.tolist(), counts) for counts in resample(200, 200, seed=0)]
    replicates = torch.tensor([float(scipy_stats.entropy(np.bincount(draw), base=2)) for draw in drawn])
    value = entropy(codes.tolist())
    assert float(replicates.max()) < value
    low, high = interval(value, replicates)
    assert low < value < high


def test_a_further_draw_lies_in_the_prediction_interval_of_a_few():
    generator = torch.Generator().manual_seed(0)
    inside = 0
    for _ in range(2000):
        draws = torch.randn(6, generator=generator).tolist()
        low, high = prediction_interval(draws[:5])
        inside += low <= draws[5] <= high
    assert 0.94 <= inside / 2000 <= 0.96


def test_equal_draws_leave_no_width_and_one_draw_says_nothing_of_others():
    assert prediction_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)
    assert all(np.isnan(prediction_interval([2.0])))


def test_replicates_that_hold_infinity_give_their_own_middle_with_the_estimate_inside():
    replicates = torch.cat([torch.linspace(1, 2, 90), torch.full((10,), torch.inf)])
    low, high = interval(0.5, replicates)
    assert low == 0.5
    assert high == float("inf")
    assert interval(1.5, torch.cat([torch.linspace(1, 2, 199), torch.tensor([torch.inf])]))[1] < 2


@pytest.mark.parametrize("n", [1, 7, 20, 59, 300])
def test_samples_are_dealt_evenly_to_at_most_20_groups_and_always_alike(n):
    dealt = dealt_groups(n)
    sizes = torch.bincount(dealt)
    assert len(dealt) == n
    assert len(sizes) == min(n, 20)
    assert int(sizes.max() - sizes.min()) <= 1
    assert torch.equal(dealt, dealt_groups(n))


def test_samples_are_not_dealt_in_their_order():
    assert not torch.equal(dealt_groups(60), torch.arange(60) % 20)


@few
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_pulls_have_the_variance_of_the_delete_group_jackknife(seed, size):
    without, n = gaussian(20, seed=seed), 20 * size
    pulls = jackknife_influence(without, dealt_groups(n))
    spread = without.double().numpy()
    assert float(pulls.mean()) == pytest.approx(0, abs=1e-9)
    assert float(pulls.square().sum()) / n**2 == pytest.approx(19 / 20 * ((spread - spread.mean()) ** 2).sum())


@pytest.mark.parametrize("n", [200, 207])
def test_the_jackknifes_standard_error_of_a_mean_is_that_of_the_textbook(n):
    dealt, found = dealt_groups(n), []
    for values in gaussian(200, n, seed=3).double():
        without = torch.stack([values[dealt != group].mean() for group in range(20)])
        pulls = jackknife_influence(without, dealt)
        found.append(float(pulls.square().sum()) / n**2)
        assert float(pulls @ (values - values.mean())) > 0
    assert np.mean(found) ** 0.5 == pytest.approx(1 / n**0.5, rel=0.05)


@few
@given(st.integers(0, 10**6), st.floats(-20, 20))
def test_a_linear_estimate_of_a_mean_is_the_textbooks_and_its_bootstrap(seed, value):
    drawn, weights = 3 * gaussian(90, seed=seed), resample(90, 4000, seed=1)
    found = linear(value, drawn - drawn.mean(), weights)
    error = scipy_stats.sem(drawn.double().numpy())
    assert found.value == value
    assert found.n == 90
    assert found.bounds == pytest.approx(scipy_stats.norm.interval(0.95, value, error), rel=1e-5, abs=1e-6)
    shifted = weighted_mean(drawn, weights) - drawn.mean() + value
    np.testing.assert_allclose(found.replicates, shifted, atol=1e-4)
    assert float(found.replicates.mean()) == pytest.approx(value, abs=5 * error / 4000**0.5)
    assert float(found.replicates.std()) == pytest.approx(error, rel=0.06)


def test_a_known_error_scales_interval_and_replicates():
    pulls, weights = gaussian(50).sub(gaussian(50).mean()), resample(50, 300, seed=0)
    alone = linear(2.0, pulls, weights)
    known = linear(2.0, pulls, weights, error=0.7)
    assert known.bounds == pytest.approx((2 - 0.7 * Z, 2 + 0.7 * Z))
    scale = 0.7 / scipy_stats.sem(pulls.double().numpy())
    np.testing.assert_allclose(known.replicates - 2, scale * (alone.replicates - 2), atol=1e-5)


@pytest.mark.parametrize("n", [1, 6])
def test_an_estimate_that_no_sample_pulls_has_no_width(n):
    found = linear(4.0, torch.zeros(n), resample(n, 10, seed=0))
    assert found.bounds == (4.0, 4.0)
    assert found.replicates.tolist() == [4.0] * 10


def test_a_median_comes_with_the_interval_of_the_medians_drawn():
    values, weights = gaussian(60).exp(), resample(60, 200, seed=0)
    found = median(values, weights)
    drawn = [lower_median(repeated(values.tolist(), counts)) for counts in weights]
    assert found.value == pytest.approx(lower_median(values.tolist()))
    np.testing.assert_allclose(found.replicates, drawn, rtol=1e-6)
    assert found.bounds == pytest.approx(centred_interval(found.value, drawn), rel=1e-5)
    assert found.n == 60


def test_a_median_of_mostly_infinite_values_is_infinite():
    found = median(torch.tensor([1.0, torch.inf, torch.inf]), torch.ones(4, 3))
    assert found.value == torch.inf
    assert found.bounds[1] == torch.inf


def test_a_bootstrapped_estimate_has_the_interval_of_its_replicates():
    replicates = gaussian(300).double() + 9
    found = bootstrapped(1.0, replicates, 42)
    assert found.bounds == pytest.approx(centred_interval(1.0, replicates), abs=1e-5)
    assert (found.value, found.n) == (1.0, 42)


def ones(n):
    return torch.ones(1, n)


def tied(n, seed):
    """Two that go together and a third, the first with infinities and the second with ties, and groups."""
    drawn = gaussian(n, 3, seed=seed)
    first = drawn[:, 0] + 0.4 * drawn[:, 2]
    first[first > 1] = torch.inf
    return first, (0.5 * drawn[:, 0] + drawn[:, 1]).mul(2).round(), drawn[:, 2], whole_numbers(3, n, seed=seed)


@few
@given(st.integers(0, 10**6), st.integers(2, 40))
def test_midranks_of_a_draw_are_the_ranks_of_the_samples_written_out(seed, n):
    values, weights = whole_numbers(7, n, seed=seed).float(), resample(n, 8, seed=seed)
    found = midranks(values, weights, torch.zeros(n, dtype=torch.int64))
    for counts, ranks in zip(weights, found, strict=True):
        expected = scipy_stats.rankdata(repeated(values.tolist(), counts))
        np.testing.assert_allclose(repeated(ranks.tolist(), counts), (expected - (n + 1) / 2) / n, atol=1e-12)


@few
@given(st.integers(0, 10**6), st.integers(2, 40))
def test_midranks_of_groups_are_those_of_each_alone_in_shares_of_it(seed, n):
    values, _, _, groups = tied(n, seed)
    for counts, ranks in zip(
        resample(n, 4, seed=seed), midranks(values, resample(n, 4, seed=seed), groups), strict=True
    ):
        written = [repeated(one.tolist(), counts) for one in (values, groups)]
        np.testing.assert_allclose(repeated(ranks.tolist(), counts), ranks_within(*written), atol=1e-12)


@few
@given(st.integers(0, 10**6), st.integers(8, 60))
def test_rank_correlations_are_those_of_scipy_of_residuals_and_of_a_loop_over_groups(seed, n):
    first, second, third, groups = tied(n, seed)
    finite = first.nan_to_num(posinf=1e9).numpy()
    plain = scipy_stats.spearmanr(finite, second).statistic
    assert float(rank_correlation(first, second, ones(n))) == pytest.approx(plain, abs=1e-6)
    alone = float(rank_correlation(first, second, ones(n), given=third))
    assert alone == pytest.approx(partial(finite, second, third), abs=1e-6)
    inside = float(rank_correlation(first, second, ones(n), groups=groups))
    assert inside == pytest.approx(within(finite, second.tolist(), groups.tolist()), abs=1e-6)


def test_a_rank_correlation_on_each_draw_is_that_of_the_samples_written_out():
    first, second, third, groups = tied(40, 5)
    weights, finite = resample(40, 30, seed=1), first.nan_to_num(posinf=1e9)
    found = [rank_correlation(first, second, weights, **how) for how in ({}, {"given": third}, {"groups": groups})]
    for place, counts in enumerate(weights):
        one, other, given_too, group = (repeated(v.tolist(), counts) for v in (finite, second, third, groups))
        expected = [
            scipy_stats.spearmanr(one, other).statistic,
            partial(one, other, given_too),
            within(one, other, group),
        ]
        assert [float(replicates[place]) for replicates in found] == pytest.approx(expected, abs=1e-5)


def test_what_differs_between_groups_plays_no_part_within_them():
    groups = torch.arange(300) % 3
    first, second = (gaussian(300, seed=seed) + 10 * groups for seed in (0, 1))
    assert float(rank_correlation(first, second, ones(300))) > 0.8
    assert abs(float(rank_correlation(first, second, ones(300), groups=groups))) < 0.15


def test_what_a_third_tells_already_plays_no_part_given_it():
    third = gaussian(500, seed=2)
    first, second = (gaussian(500, seed=seed) + 3 * third for seed in (0, 1))
    assert float(rank_correlation(first, second, ones(500))) > 0.8
    assert abs(float(rank_correlation(first, second, ones(500), given=third))) < 0.15


@pytest.mark.parametrize("n", [12, 50, 333])
@pytest.mark.parametrize("which", ["first is constant", "second is constant", "third is constant", "third tells all"])
def test_where_something_does_not_vary_there_is_no_rank_correlation_and_no_p(n, which):
    first, second, third = gaussian(3, n)
    options = {"given": third} if "third" in which else {}
    if "constant" in which:
        {"first": first, "second": second, "third": third}[which.split()[0]].fill_(2.0)
    else:
        options = {"given": second.exp()}
    assert rank_correlation(first, second, resample(n, 20, seed=0), **options).isnan().all()
    codes = torch.arange(n) % 11
    assert isnan(rank_sign_p(first, second, codes, draws=20, seed=0, **options))
    if which == "third tells all":
        assert isnan(rank_sign_p(second, first, codes, draws=20, seed=0, **options))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("how", ["plain", "given", "groups"])
def test_a_p_of_signs_is_the_share_of_all_of_them_that_go_as_far(how, seed):
    drawn = gaussian(20, 3, seed=seed)
    first, second, third = drawn[:, 0] + drawn[:, 1] * (seed % 2), drawn[:, 1].mul(2).round(), drawn[:, 2]
    clusters, groups = 3 * whole_numbers(7, 20, seed=seed), whole_numbers(2, 20, seed=seed + 1)
    options = {"plain": {}, "given": {"given": third}, "groups": {"groups": groups}}[how]
    count = 20_000
    lists = {name: value.tolist() for name, value in options.items()}
    expected = exact_p(first.tolist(), second.tolist(), clusters.tolist(), **lists)
    found = rank_sign_p(first, second, clusters, draws=count, seed=seed, **options)
    assert found == pytest.approx(expected, abs=4 * (expected * (1 - expected) / count) ** 0.5 + 1 / count)


def test_a_p_of_signs_is_the_same_for_the_opposite_relation_and_never_0():
    (first, second), codes = gaussian(2, 60), torch.arange(60) % 20
    one, other = (rank_sign_p(first, sign * second, codes, draws=99, seed=0) for sign in (1, -1))
    assert one == pytest.approx(other)
    assert rank_sign_p(first, first, codes, draws=99, seed=0) == 1 / 100
    assert rank_sign_p(first, second, codes, draws=99, seed=1) != one
    # three clusters, a third of the samples each: turning all of them leaves the sum as large, a quarter of the signs
    assert rank_sign_p(first, first, codes % 3, draws=9999, seed=0) == pytest.approx(1 / 4, abs=0.02)


def test_clusters_are_drawn_whole_and_as_many_as_there_are():
    clusters = torch.tensor([7, 2, 7, 7, 30, 2])
    found = resample_clusters(clusters, 500, seed=3)
    assert torch.equal(found[:, [0, 1, 4]], resample(3, 500, seed=3)[:, [1, 0, 2]])
    assert torch.equal(found[:, [0, 0, 1]], found[:, [2, 3, 5]])


def unrelated(how, seed):
    """Two that have nothing to do with one another, but both with their code, and with a third or with their group."""
    drawn, codes, groups = gaussian(300, 3, seed=seed), whole_numbers(40, 300, seed=seed), torch.arange(300) % 4
    shared = gaussian(40, 2, seed=seed + 5000)[codes]
    first, second, third = 0.8 * drawn[:, 0] + 0.6 * shared[:, 0], shared[:, 1], drawn[:, 2]
    if how == "plain":
        return (first, second, codes), {}
    if how == "given":
        return (first + third, second - third, codes), {"given": third}
    return (first + groups, second - 2 * groups, codes), {"groups": groups}


@pytest.mark.parametrize("how", ["plain", "given", "groups"])
def test_a_p_of_signs_is_uniform_where_samples_of_a_code_are_alike_and_nothing_else(how):
    found = []
    for seed in range(600):
        three, options = unrelated(how, seed)
        found.append(rank_sign_p(*three, draws=99, seed=seed, **options))
    assert 0.03 <= np.mean(np.array(found) <= 0.05) <= 0.08
    smeared = np.array(found) - np.random.default_rng(0).random(600) / 100
    assert scipy_stats.kstest(smeared, "uniform").pvalue > 0.01


@few
@given(st.lists(st.floats(0, 1), max_size=12))
def test_a_corrected_p_is_the_least_level_at_which_holms_procedure_rejects(p):
    for place, corrected in enumerate(holm(p)):
        assert p[place] <= corrected <= 1
        assert rejected(p, corrected * (1 + 1e-9) + 1e-300)[place] or corrected == 1
        assert corrected == 0 or not rejected(p, corrected * (1 - 1e-9))[place]


def test_the_correction_by_hand_passes_over_what_has_no_p():
    assert holm([0.03, nan, 0.01, 0.02, 0.9]) == pytest.approx([0.06, nan, 0.04, 0.06, 0.9], nan_ok=True)
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_share_of_samples_that_come_in_clusters_counts_as_many_as_they_tell():
    alone = torch.arange(200)
    counted = whole_numbers(2, 200).bool()
    share = int(counted.sum())
    plain, clustered = share_interval(share, 200), clustered_share_interval(counted, alone)
    assert clustered == pytest.approx(plain, abs=0.002)  # every sample a cluster: Wilson's
    five = clustered_share_interval(counted.repeat_interleave(5), alone.repeat_interleave(5))
    assert five == pytest.approx(plain, abs=0.005)  # five copies of each tell no more
    none = clustered_share_interval(torch.zeros(1000, dtype=torch.bool), alone.repeat_interleave(5))
    assert none[0] == 0
    assert none[1] == pytest.approx(share_interval(0, 200)[1], rel=0.05)
    assert all(isnan(bound) for bound in clustered_share_interval(counted, torch.zeros(200, dtype=torch.int64)))


def test_the_interval_of_a_clustered_share_covers_it():
    generator = np.random.default_rng(0)
    for groups, n, share in ((20, 100, 0.3), (60, 300, 0.05), (125, 300, 0.9)):
        hits, plain = 0, 0
        for _ in range(200):
            clusters = generator.integers(groups, size=n)
            counted = generator.random(n) < generator.beta(share, 1 - share, groups)[clusters]  # half of it is shared
            low, high = clustered_share_interval(torch.tensor(counted), torch.tensor(clusters))
            hits += low <= share <= high
            low, high = share_interval(int(counted.sum()), n)
            plain += low <= share <= high
        assert hits / 200 >= 0.92, (groups, n, share)
        assert plain < hits


def test_the_widest_interval_passes_over_those_that_there_are_not():
    assert widest([(0.2, 0.5), (0.1, 0.6), (nan, nan)]) == (0.1, 0.6)
    assert widest([(nan, nan), (0.2, 0.5)]) == (0.2, 0.5)
    assert all(isnan(bound) for bound in widest([(nan, nan), (nan, nan)]))


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_the_wider_of_two_intervals_covers_a_share_that_one_the_other_or_both_kinds_of_clusters_set(part):
    """Part: of the outcome's variance, what the ten larger clusters set; the sixty smaller ones set the rest."""
    generator = np.random.default_rng(1)
    small, both = 0, 0
    for _ in range(200):
        first, second = generator.integers(60, size=300), generator.integers(10, size=300)
        one, other = generator.normal(size=60)[first], generator.normal(size=10)[second]
        counted = torch.tensor((1 - part) ** 0.5 * one + part**0.5 * other < scipy_stats.norm.ppf(0.7))
        bounds = [clustered_share_interval(counted, torch.tensor(clusters)) for clusters in (first, second)]
        small += bounds[0][0] <= 0.7 <= bounds[0][1]
        low, high = widest(bounds)
        both += low <= 0.7 <= high
    assert both / 200 >= 0.92
    assert part == 0 or small / 200 < 0.8


def test_the_interval_of_a_mean_over_few_clusters_covers_it_and_there_is_none_over_one():
    generator = np.random.default_rng(0)
    hits, plain = 0, 0
    for draw in range(600):
        clusters = torch.from_numpy(generator.integers(10, size=200))
        values = torch.from_numpy(generator.normal(size=10))[clusters] + gaussian(200, seed=draw)
        drawn = resample_clusters(clusters, 200, seed=draw).double()
        low, high = clustered_mean_interval(values, drawn, clusters)
        hits += low <= 0 <= high
        low, high = interval(float(values.mean()), (drawn @ values) / drawn.sum(1))
        plain += low <= 0 <= high
    assert 0.91 <= hits / 600 <= 0.98  # 0.94 over many draws, and 0.88 of bootstraps as they are
    assert plain / 600 < 0.91
    one = torch.zeros(200, dtype=torch.int64)
    assert all(isnan(bound) for bound in clustered_mean_interval(values, resample_clusters(one, 200, seed=0), one))
