"""How activations lie, beside eigenvalues, loops over samples, scikit-learn, scikit-dimension, and simulation."""

from math import isnan, pi

import numpy as np
import pytest
import skdim
import torch
from handmade import few, gaussian, seeds, whole_numbers
from hypothesis import given
from hypothesis import strategies as st
from references import geometry as slow
from references.stats import repeated
from sklearn.datasets import make_swiss_roll
from sklearn.neighbors import NearestNeighbors

from layerscope.measures import geometry
from layerscope.measures.geometry import (
    class_gap,
    class_gaps,
    class_separation,
    class_separation_draws,
    dependent_error,
    dimension_mle,
    dimension_twonn,
    distinct,
    neighbours,
    participation_ratio,
    relative_steps,
    shifts_over_gaps,
    spread,
)
from layerscope.stats import Z, dealt_groups, resample


@pytest.mark.parametrize(("n", "width"), [(4, 2), (7, 3), (7, 20), (8, 8)])
@pytest.mark.parametrize("seed", seeds)
def test_participation_ratio_is_that_of_all_quadruples_of_samples(n, width, seed):
    vectors = gaussian(n, width, seed=seed) * torch.linspace(0.5, 2, width) + 3
    assert participation_ratio(vectors).value == pytest.approx(
        min(slow.unbiased_participation_ratio(vectors), width), rel=1e-4
    )


def test_participation_ratio_of_many_samples_is_that_of_the_eigenvalues():
    vectors = gaussian(20_000, 6) * torch.tensor([3.0, 2.0, 1.0, 1.0, 0.5, 0.1])
    assert participation_ratio(vectors).value == pytest.approx(slow.plug_in_participation_ratio(vectors), rel=2e-3)


@pytest.mark.parametrize(("n", "width"), [(12, 5), (12, 40)])
def test_the_squared_trace_of_the_covariance_is_unbiased(n, width):
    deviations = torch.linspace(0.5, 2, width)
    truth = float(deviations.pow(4).sum())
    found = [geometry._moments(rows * deviations + 2) for rows in gaussian(3000, n, width)]
    for moment, expected in zip(zip(*found, strict=True), (float(deviations.square().sum()), truth), strict=True):
        assert np.mean(moment) == pytest.approx(expected, abs=4 * np.std(moment) / 3000**0.5)
    plug_in = [float((rows * deviations).T.cov().square().sum()) for rows in gaussian(50, n, width)]
    assert np.mean(plug_in) > 1.3 * truth


def test_the_squared_trace_of_skewed_activations_is_unbiased_too():
    truth = 5 * (np.e * (np.e - 1)) ** 2
    found = [geometry._moments(rows.exp())[1] for rows in gaussian(8000, 20, 5, seed=1)]
    assert np.mean(found) == pytest.approx(truth, abs=4 * np.std(found) / 8000**0.5)
    assert np.std(found) / 8000**0.5 < truth / 8


@few
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-10, 10))
def test_participation_ratio_minds_neither_scale_nor_shift_nor_turns(seed, scale, shift):
    vectors = gaussian(40, 5, seed=seed)
    turn, _ = torch.linalg.qr(gaussian(5, 5, seed=seed + 1))
    expected = participation_ratio(vectors).value
    assert participation_ratio(vectors * scale + shift * scale).value == pytest.approx(expected, rel=1e-3)
    assert participation_ratio(vectors @ turn).value == pytest.approx(expected, rel=1e-3)


def test_activations_along_one_line_have_participation_ratio_1():
    vectors = gaussian(500, 1) * gaussian(1, 30)
    assert participation_ratio(vectors).value == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("n", "ratio"), [(2, 1.0), (3, 1.0)])
def test_too_few_samples_for_the_correction_count_as_one_direction(n, ratio):
    assert participation_ratio(gaussian(n, 5)).value == ratio


@pytest.mark.parametrize("n", [1, 3, 300])
def test_a_layer_that_never_changes_has_participation_ratio_0(n):
    vectors = torch.full((n, 4), 0.1)
    assert participation_ratio(vectors).value == 0


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize(("n", "width"), [(120, 12), (120, 150)])
def test_a_samples_pull_on_the_participation_ratio_is_that_of_leaving_it_out(n, width, block, monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK", block)
    vectors = gaussian(n, width) * torch.linspace(0, 3, width).neg().exp() + 5
    value = participation_ratio(vectors).value
    without = [participation_ratio(vectors[torch.arange(n) != left]).value for left in range(n)]
    jackknifed = (n - 1) * (value - np.array(without))
    influence = participation_ratio(vectors).influence.numpy()
    assert influence.mean() == pytest.approx(0, abs=1e-4)
    assert np.corrcoef(influence, jackknifed)[0, 1] > 0.99
    assert influence.std() == pytest.approx(jackknifed.std(), rel=0.1)


def test_pulls_on_the_participation_ratio_of_many_samples_spread_as_leaving_each_out_does():
    vectors = gaussian(500, 12) * torch.linspace(0, 3, 12).neg().exp()
    without = np.array([participation_ratio(vectors[torch.arange(500) != left]).value for left in range(500)])
    influence = participation_ratio(vectors).influence.numpy()
    assert np.corrcoef(influence, -without)[0, 1] > 0.999
    assert influence.std() == pytest.approx(499 * without.std(), rel=0.03)


@few
@given(st.integers(0, 10**6), st.floats(0.001, 1000), st.floats(-10, 10))
def test_pulls_on_the_participation_ratio_mind_neither_scale_nor_shift(seed, scale, shift):
    vectors = gaussian(40, 5, seed=seed) * torch.linspace(0.2, 2, 5)
    expected = participation_ratio(vectors).influence
    found = participation_ratio(vectors * scale + shift * scale).influence
    np.testing.assert_allclose(found, expected, atol=2e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("vectors", [torch.full((30, 4), 0.1), torch.eye(6), gaussian(3, 5)])
def test_no_sample_pulls_a_participation_ratio_that_is_capped_constant_or_of_too_few(vectors):
    assert participation_ratio(vectors).influence.tolist() == [0.0] * len(vectors)


@pytest.mark.parametrize("block", [5, 1024])
@pytest.mark.parametrize("classes", [2, 4])
def test_gaps_are_those_of_all_pairs(block, classes, monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK", block)
    vectors, labels = gaussian(43, 3), whole_numbers(classes, 43)
    np.testing.assert_allclose(class_gaps(vectors, labels), slow.gaps(vectors.tolist(), labels.tolist()), rtol=1e-5)


def test_small_gaps_far_from_the_origin_are_exact():
    vectors = torch.cat([torch.arange(30.0), torch.arange(30.0) + 2**-9])[:, None] + 4096
    labels = torch.arange(60) // 30
    assert class_gaps(vectors, labels).tolist() == [2.0**-9] * 60


def test_gaps_are_infinite_where_there_is_no_other_class():
    assert class_gaps(gaussian(5, 2), torch.full((5,), 3)).tolist() == [torch.inf] * 5


def test_gaps_are_0_where_another_class_stands_in_the_same_place():
    vectors = torch.tensor([[1.0, 2.0], [1.0, 2.0], [4.0, 6.0]])
    assert class_gaps(vectors, torch.tensor([0, 1, 1])).tolist() == [0.0, 0.0, 5.0]


@few
@given(st.integers(0, 10**6))
def test_more_samples_never_widen_a_gap(seed):
    vectors, labels = gaussian(30, 3, seed=seed), whole_numbers(3, 30, seed=seed)
    assert (class_gaps(vectors, labels)[:20] <= class_gaps(vectors[:20], labels[:20])).all()


@pytest.mark.parametrize(
    ("move", "gap", "ratio"),
    [
        ((3.0, 4.0), 2.0, 2.5),
        ((0.0, 0.0), 2.0, 0.0),
        ((0.0, 0.0), 0.0, 0.0),
        ((0.0, 1.0), 0.0, torch.inf),
        ((0.0, 1.0), torch.inf, 0.0),
    ],
)
def test_shift_over_gap_of_known_moves(move, gap, ratio):
    clean = torch.tensor([[1.0, 1.0]])
    assert shifts_over_gaps(clean, clean + torch.tensor([move]), torch.tensor([gap])).tolist() == [ratio]


def test_the_participation_ratio_is_at_most_the_width_however_few_the_samples():
    assert geometry.participation_ratio(torch.eye(6)).value == pytest.approx(6)


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize(("offset", "width"), [(0, 3), (1000, 8)])
def test_nearest_neighbours_are_scikit_learns(block, offset, width, monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK", block)
    vectors = gaussian(90, width) + offset
    found = neighbours(vectors, None, 6)
    distances, indices = NearestNeighbors(n_neighbors=6).fit(vectors.double()).kneighbors()
    np.testing.assert_allclose(found.distances, distances, rtol=1e-4)
    np.testing.assert_array_equal(found.indices, indices)
    assert found.across.shape == found.beyond.shape == (90, 0)


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("offset", [0, 1000])
def test_nearest_samples_of_other_classes_are_those_of_all_pairs(block, offset, monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK", block)
    vectors, labels = gaussian(50, 3) + offset, whole_numbers(3, 50)
    found = neighbours(vectors, labels, 5)
    expected = [apart[:3] for apart in slow.others(vectors.tolist(), labels.tolist())]
    np.testing.assert_allclose(found.across, [[gap for gap, _ in row] for row in expected], rtol=1e-4)
    np.testing.assert_array_equal(found.beyond, [[other for _, other in row] for row in expected])
    assert torch.equal(found.gaps, found.across[:, 0])


@pytest.mark.parametrize("k", [2, 4, 5])
@pytest.mark.parametrize(("n", "height"), [(301, 150), (263, 131), (400, 400)])
def test_very_few_neighbours_of_many_are_those_of_all_pairs(n, height, k, monkeypatch):
    """Looked for in groups along rows and along columns, with some left over."""
    monkeypatch.setattr(geometry, "PAIRS", height * n)
    vectors, labels = gaussian(n, 6, seed=n), whole_numbers(3, n, seed=n)
    found = neighbours(vectors, labels, k)
    apart = torch.cdist(vectors.double(), vectors.double(), compute_mode="donot_use_mm_for_euclid_dist")
    apart.fill_diagonal_(torch.inf)
    near = apart.sort(1)
    np.testing.assert_allclose(found.distances, near.values[:, :k], rtol=1e-6)
    np.testing.assert_array_equal(found.indices, near.indices[:, :k])
    across = apart.masked_fill(labels[:, None] == labels, torch.inf).sort(1)
    few = found.across.shape[1]
    np.testing.assert_allclose(found.across, across.values[:, :few], rtol=1e-6)
    np.testing.assert_array_equal(found.beyond, across.indices[:, :few])


def test_classes_do_not_change_who_is_nearest():
    vectors = gaussian(60, 4)
    plain, classed = neighbours(vectors, None, 4), neighbours(vectors, whole_numbers(3, 60), 4)
    assert torch.equal(plain.distances, classed.distances)
    assert torch.equal(plain.indices, classed.indices)


def test_a_sample_is_no_neighbour_of_itself_even_among_its_equals():
    vectors = torch.tensor([[1.0], [1.0], [1.0], [5.0]])
    found = neighbours(vectors, None, 2)
    assert found.distances.tolist() == [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [4.0, 4.0]]
    assert all(own not in row for own, row in enumerate(found.indices.tolist()))


@pytest.mark.parametrize("n", [2, 4])
def test_fewer_samples_than_neighbours_asked_for_give_all_the_others(n):
    found = neighbours(torch.arange(float(n))[:, None] ** 2, None, 9)
    assert [sorted(row) for row in found.indices.tolist()] == [
        [other for other in range(n) if other != own] for own in range(n)
    ]
    assert found.distances.isfinite().all()


def test_a_class_with_one_stranger_has_one_finite_distance_across():
    found = neighbours(torch.tensor([[0.0], [1.0], [3.0], [7.0]]), torch.tensor([0, 0, 0, 1]), 3)
    assert found.across.tolist() == [
        [7, torch.inf, torch.inf],
        [6, torch.inf, torch.inf],
        [4, torch.inf, torch.inf],
        [4, 6, 7],
    ]
    assert found.beyond[:3, 0].tolist() == [3, 3, 3]
    assert found.beyond[3].tolist() == [2, 1, 0]


def plane(n, seed):
    return gaussian(n, 2, seed=seed) @ gaussian(2, 10, seed=99)


def swiss_roll(n, seed):
    return torch.from_numpy(make_swiss_roll(n, random_state=seed)[0]).float()


def sphere(dimension):
    return lambda n, seed: torch.nn.functional.normalize(gaussian(n, dimension + 1, seed=seed))


def torus(n, seed):
    around, along = 2 * pi * torch.rand(2, n, generator=torch.Generator().manual_seed(seed))
    out = 3 + around.cos()
    return torch.stack([out * along.cos(), out * along.sin(), around.sin()], 1)


def cube(n, seed):
    return torch.rand(n, 5, generator=torch.Generator().manual_seed(seed))


SHAPES = [(plane, 2), (swiss_roll, 2), (torus, 2), *((sphere(d), d) for d in (2, 3, 4, 5)), (cube, 5)]
names = ["plane", "swiss roll", "torus", "S2", "S3", "S4", "S5", "cube"]


@pytest.mark.parametrize(("shape", "dimension"), SHAPES, ids=names)
def test_dimensions_of_known_shapes_are_theirs_and_scikit_dimensions(shape, dimension):
    """At 2000 samples the borders of the cube take a few percent off; nothing here takes off ten."""
    vectors = shape(2000, 0)
    near = neighbours(vectors, None, 10)
    two, many = dimension_twonn(near).value, dimension_mle(near).value
    assert two == pytest.approx(dimension, rel=0.1)
    assert many == pytest.approx(dimension, rel=0.1)
    assert two == pytest.approx(skdim.id.TwoNN(method="mle").fit(vectors.double().numpy()).dimension_, rel=0.005)
    assert two == pytest.approx(skdim.id.TwoNN().fit(vectors.double().numpy()).dimension_, rel=0.1)
    slow_mle = skdim.id.MLE().fit(vectors.double().numpy(), n_neighbors=10, comb="mle")
    assert many == pytest.approx(slow_mle.dimension_, rel=0.01)


def test_below_the_noise_floor_a_plane_has_as_many_dimensions_as_the_noise():
    flat = torch.cat([gaussian(2000, 2), torch.zeros(2000, 4)], 1)
    noise = gaussian(2000, 6, seed=1)
    fine, coarse = (dimension_twonn(neighbours(flat + by * noise, None, 2)).value for by in (1e-4, 1.0))
    assert fine == pytest.approx(2, rel=0.1)
    assert coarse == pytest.approx(6, rel=0.15)


@pytest.mark.parametrize("estimate", [dimension_twonn, dimension_mle])
def test_a_dimension_of_fewer_than_20_samples_is_not_estimated(estimate):
    few_samples = estimate(neighbours(gaussian(19, 3), None, 5))
    assert isnan(few_samples.value)
    assert few_samples.influence.tolist() == [0.0] * 19
    assert estimate(neighbours(gaussian(20, 3), None, 5)).value > 0


@pytest.mark.parametrize("estimate", [dimension_twonn, dimension_mle])
def test_a_lattice_tells_twonn_nothing_and_pulls_have_mean_0(estimate):
    near = neighbours(torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0)), None, 2)
    assert isnan(estimate(near).value)
    assert float(estimate(neighbours(gaussian(200, 3), None, 6)).influence.mean()) == pytest.approx(0, abs=1e-9)


def test_a_samples_pull_on_the_likeliest_dimension_is_that_of_leaving_out_its_distances():
    near = neighbours(gaussian(400, 3), None, 5)
    rows = torch.arange(400)
    without = [dimension_mle(near._replace(distances=near.distances[rows != left])).value for left in range(400)]
    jackknifed = 399 * (dimension_mle(near).value - np.array(without))
    influence = dimension_mle(near).influence.numpy()
    assert np.corrcoef(influence, jackknifed)[0, 1] > 0.999
    assert influence.std() == pytest.approx(jackknifed.std(), rel=0.02)


def test_pulls_on_twonn_tell_how_far_it_scatters_where_ratios_are_independent():
    """Without one sample the cap jumps to the next ratio, so that leaving out is no witness here; simulation is."""
    near, found = neighbours(gaussian(400, 3), None, 2), []
    for ratios in torch.rand(600, 400, generator=torch.Generator().manual_seed(0)).double() ** (-1 / 4):
        one = dimension_twonn(near._replace(distances=torch.stack([torch.ones(400).double(), ratios], 1)))
        found.append((one.value, float(one.influence.std()) / 20))
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(4, rel=0.01)
    assert values.std() == pytest.approx(4 / 360**0.5, rel=0.1)
    assert errors.mean() == pytest.approx(4 / 360**0.5, rel=0.02)


def test_intervals_of_a_dimension_hold_its_mean_95_times_in_100():
    found = []
    for seed in range(120):
        near = neighbours(gaussian(500, 3, seed=seed), None, 2)
        one = dimension_twonn(near)
        found.append((one.value, Z * dependent_error(one.influence, near.indices[:, :2])))
    mean = np.mean([value for value, _ in found])
    assert 0.9 <= np.mean([abs(value - mean) <= half for value, half in found]) <= 0.99


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_error_of_dependent_pulls_adds_each_neighbouring_pair_once(sign):
    influence, near = torch.tensor([2.0, 2.0 * sign, -1.0, -1.0]), torch.tensor([[1], [0], [1], [2]])
    pairs = {frozenset((own, int(other))) for own, other in enumerate(near[:, 0])}
    twice = sum(2 * float(influence[list(pair)].prod()) for pair in pairs)
    assert dependent_error(influence, near) == pytest.approx(max(10 + twice, 2.5) ** 0.5 / 4)


@few
@given(st.integers(0, 10**6))
def test_of_equal_rows_the_first_is_kept(seed):
    vectors = whole_numbers(3, 60, seed=seed).reshape(30, 2).float()
    rows = [tuple(row) for row in vectors.tolist()]
    assert distinct(vectors).tolist() == [row not in rows[:place] for place, row in enumerate(rows)]


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("offset", [0, 300])
def test_class_separation_is_that_of_the_analysis_of_variance(classes, offset):
    labels = whole_numbers(classes, 80)
    vectors = gaussian(80, 4) + gaussian(classes, 4, seed=1)[labels] + offset
    assert class_separation(vectors, labels) == pytest.approx(
        slow.class_separation(vectors.tolist(), labels.tolist()), rel=1e-3
    )


def test_shuffled_labels_separate_nothing_on_average():
    vectors, labels = gaussian(60, 5), torch.arange(60) % 6
    found = [
        class_separation(vectors, labels[torch.randperm(60, generator=torch.Generator().manual_seed(seed))])
        for seed in range(400)
    ]
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found) / 20)
    assert np.std(found) / 20 < 0.005


def test_class_separation_of_a_draw_is_that_of_the_samples_drawn():
    labels, weights = whole_numbers(4, 50), resample(50, 12, seed=0)
    vectors = gaussian(50, 3) + labels[:, None] + 20
    expected = [
        slow.class_separation(repeated(vectors.tolist(), counts), repeated(labels.tolist(), counts))
        for counts in weights
    ]
    np.testing.assert_allclose(class_separation_draws(vectors, labels, weights), expected, rtol=1e-3)


def test_classes_without_scatter_are_infinitely_apart_and_of_one_sample_each_not_to_tell():
    labels = torch.arange(12) % 3
    assert class_separation(labels[:, None].float() * 2, labels) == torch.inf
    assert isnan(class_separation(gaussian(4, 2), torch.arange(4)))
    assert isnan(class_separation(torch.ones(12, 2), labels))


@pytest.mark.parametrize("n", [61, 100])
def test_class_gap_and_its_pulls_are_those_of_samples_left_out_from_scratch(n):
    vectors, labels = gaussian(n, 3) + 4, whole_numbers(3, n, seed=1)
    found, dealt = class_gap(neighbours(vectors, labels, 5), vectors), dealt_groups(n)
    assert found.value == pytest.approx(slow.class_gap(vectors.tolist(), labels.tolist()), rel=1e-5)
    near = slow.others(vectors.tolist(), labels.tolist())
    assert all(len({int(dealt[other]) for _, other in apart[:3]}) > 1 for apart in near)
    without = np.array(
        [slow.class_gap(vectors[dealt != group], labels[dealt != group].tolist()) for group in range(20)]
    )
    error = (19 / 20 * ((without - without.mean()) ** 2).sum()) ** 0.5
    own, sizes = found.influence.numpy(), np.bincount(dealt)
    assert own.mean() == pytest.approx(0, abs=1e-6)
    assert np.sqrt((own**2).sum()) / n == pytest.approx(error, rel=0.02)
    expected = (-((19 / 20) ** 0.5) * (without - without.mean()) * n / sizes**0.5)[dealt]
    np.testing.assert_allclose(own, expected - expected.mean(), atol=1e-4)


def test_a_class_gap_is_infinite_where_there_is_no_other_class():
    vectors = gaussian(40, 3)
    assert class_gap(neighbours(vectors, torch.zeros(40, dtype=torch.int64), 3), vectors).value == torch.inf


def test_the_spread_of_known_samples():
    assert spread(torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0], [0.0, -4.0]]) + 100) == pytest.approx(12.5**0.5)
    assert spread(torch.full((5, 2), 0.1)) == pytest.approx(0, abs=1e-7)


def test_pairs_held_at_once_change_nothing(monkeypatch):
    vectors, labels = torch.randn(90, 4, generator=torch.Generator().manual_seed(0)), torch.arange(90) % 3
    whole = neighbours(vectors, labels, 5)
    monkeypatch.setattr(geometry, "PAIRS", 7 * 90)
    heights = []
    update = geometry._Nearest.update
    monkeypatch.setattr(
        geometry._Nearest, "update", lambda self, start, near: heights.append(len(near)) or update(self, start, near)
    )
    for one, other in zip(neighbours(vectors, labels, 5), whole, strict=True):
        torch.testing.assert_close(one, other)
    assert max(heights) == 7


def test_steps_are_told_in_spreads_of_where_they_start():
    before = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0], [0.0, -4.0]])  # mean square 12.5
    after = before + torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    expected = torch.tensor([5.0, 0.0, 1.0, 2.0]).double() / 12.5**0.5
    torch.testing.assert_close(relative_steps(before, after), expected)


def test_values_on_a_lattice_have_no_dimension_by_two_neighbours():
    values = torch.arange(150.0)[:, None]
    assert np.isnan(dimension_twonn(neighbours(values, None, 2)).value)
    jittered = values + 0.2 * torch.rand(150, 1, generator=torch.Generator().manual_seed(0))
    assert not np.isnan(dimension_twonn(neighbours(jittered, None, 2)).value)
