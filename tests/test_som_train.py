"""The batch rule and the maps that it trains, beside slow loops, MiniSom and scikit-learn."""

import importlib

import numpy as np
import pytest
import torch
from handmade import few, gaussian, whole_numbers
from hypothesis import given
from hypothesis import strategies as st
from minisom import MiniSom
from references import som as slow
from sklearn.datasets import load_digits, load_iris, make_swiss_roll
from sklearn.neighbors import NearestNeighbors

from layerscope.som import SOM, Grid, Map, initial_plane, smoothed_means, train
from layerscope.som.fast import geometric
from layerscope.som.rows import held
from layerscope.som.train import Tally, explained, means, tallied, weighted_means

BATCH_RULE, ROWS = (importlib.import_module(f"layerscope.som.{name}") for name in ("train", "rows"))
KINDS = ("hexagonal", "rectangular")
small_grids = st.builds(Grid, st.integers(1, 5), st.integers(2, 5), st.sampled_from(KINDS))


def told(history):
    return [epoch.explained_variance for epoch in history]


def plain_map(grid, prototypes, offset=0.0, scale=1.0):
    width = prototypes.shape[1]
    return Map(grid, prototypes, torch.full((width,), offset), torch.full((width,), scale), ())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("radii", [(0.6,), (3.0, 2.0, 1.2, 0.8, 0.5)])
def test_train_is_the_batch_rule(kind, radii):
    vectors, initial = gaussian(50, 3), gaussian(12, 3, seed=1)
    solved = train(vectors, Grid(3, 4, kind), initial, radii)
    expected, variance = slow.batch_rule(vectors.tolist(), slow.positions(3, 4, kind), initial, radii)
    np.testing.assert_allclose(solved.prototypes, expected, atol=1e-4)
    np.testing.assert_allclose(told(solved.history), variance, atol=1e-5)


def test_training_explains_more_of_clustered_vectors_than_the_plane_it_started_from():
    centres = 5 * gaussian(9, 4)
    vectors = centres[whole_numbers(9, 300)] + 0.1 * gaussian(300, 4, seed=1)
    vectors = vectors - vectors.mean(0)
    grid = Grid(3, 3)
    history = told(train(vectors, grid, initial_plane(vectors, grid, seed=0), [1.5, 1.0, 0.7, 0.4, 0.2, 0.2]).history)
    assert history[-1] > 0.85
    assert history[0] < 0.7


def test_units_without_samples_near_stay_where_they_were():
    vectors, initial = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [50.0], [60.0]])
    found = train(vectors, Grid(1, 3), initial, [0.05])
    assert found.prototypes.flatten().tolist() == [2.0, 50.0, 60.0]


def test_samples_far_away_still_move_a_unit():
    vectors, initial = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.5], [50.0], [60.0]])
    found = train(vectors, Grid(1, 3), initial, [0.3])
    assert found.prototypes.flatten().tolist() == [2.0, 2.0, 2.0]


def test_units_that_lose_their_samples_stay_where_the_last_epoch_put_them():
    vectors, initial = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [50.0]])
    found = train(vectors, Grid(1, 2), initial, [100.0, 0.05])
    assert found.prototypes.flatten().tolist() == [2.0, 2.0]


def test_vectors_that_are_all_zero_have_no_variance_to_explain():
    solved = train(torch.zeros(5, 2), Grid(1, 2), torch.ones(2, 2), [1.0, 1.0])
    assert solved.prototypes.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert told(solved.history) == [0.0, 0.0]


@few
@given(st.integers(0, 10**6))
def test_the_order_of_samples_does_not_matter(seed):
    vectors, initial = gaussian(80, 4, seed=seed), gaussian(9, 4, seed=seed + 1)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(seed))
    one = train(vectors, Grid(3, 3), initial, [2.0, 1.0, 0.6])
    other = train(vectors[order], Grid(3, 3), initial, [2.0, 1.0, 0.6])
    torch.testing.assert_close(one.prototypes, other.prototypes, atol=1e-5, rtol=1e-4)


@few
@given(st.integers(0, 10**6), st.floats(-20, 20))
def test_a_shift_of_the_data_shifts_the_map(seed, shift):
    vectors, grid = gaussian(80, 4, seed=seed) * torch.tensor([1.0, 2.0, 4.0, 8.0]), Grid(3, 3)
    initial = initial_plane(vectors, grid, seed=0)
    torch.testing.assert_close(initial_plane(vectors + shift, grid, seed=0), initial + shift, atol=1e-3, rtol=1e-4)
    one = train(vectors, grid, initial, [2.0, 1.0, 0.6])
    other = train(vectors + shift, grid, initial + shift, [2.0, 1.0, 0.6])
    torch.testing.assert_close(other.prototypes, one.prototypes + shift, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_of_rows_change_nothing(block, monkeypatch):
    vectors, grid, initial = gaussian(100, 5), Grid(3, 4), gaussian(12, 5, seed=1)
    units = whole_numbers(12, 100)
    fitted = plain_map(grid, initial)

    def everything():
        solved = train(vectors, grid, initial, [2.0, 1.0, 0.6])
        history = torch.tensor(told(solved.history))
        return solved.prototypes, history, smoothed_means(vectors, units, grid, 1.0), *fitted.best(vectors)

    whole = everything()
    for module in (BATCH_RULE, ROWS):
        monkeypatch.setattr(module, "BLOCK", block)
    for in_blocks, at_once in zip(everything(), whole, strict=True):
        torch.testing.assert_close(in_blocks, at_once, atol=1e-5, rtol=1e-5)


def test_best_units_are_those_of_a_nearest_neighbour_search():
    vectors, prototypes, scale = gaussian(200, 6), gaussian(12, 6, seed=1), 0.1 + whole_numbers(5, 6).float()
    fitted = Map(Grid(3, 4), prototypes, torch.arange(6) / 3, scale, ())
    best = fitted.best(vectors)
    scaled = (vectors.double() - torch.arange(6) / 3) / scale
    distances, units = NearestNeighbors(n_neighbors=2).fit(prototypes.double()).kneighbors(scaled)
    assert best.unit.tolist() == units[:, 0].tolist()
    assert best.second.tolist() == units[:, 1].tolist()
    np.testing.assert_allclose(best.distance, distances[:, 0], rtol=1e-5)
    torch.testing.assert_close(fitted.scaled(vectors), scaled.float())


@few
@given(st.integers(0, 10**6), small_grids)
def test_a_prototype_is_its_own_best_unit(seed, grid):
    prototypes = gaussian(len(grid), 8, seed=seed)
    best = plain_map(grid, prototypes, offset=2.0, scale=3.0).best(prototypes * 3 + 2)
    assert best.unit.tolist() == list(range(len(grid)))
    assert (best.second != best.unit).all()
    assert (best.distance < 1e-5).all()


@pytest.mark.parametrize("radius", [0.5, 1.0, 4.0])
def test_smoothed_means_are_the_neighbourhood_means(radius):
    vectors, units = gaussian(40, 3), whole_numbers(12, 40)
    found = smoothed_means(vectors, units, Grid(3, 4), radius)
    expected = slow.neighbourhood_means(
        vectors.tolist(), units.tolist(), slow.positions(3, 4, "hexagonal"), radius, np.zeros((12, 3))
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_smoothed_means_of_an_empty_neighbourhood_are_zero():
    found = smoothed_means(torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0]), Grid(1, 3), 0.05)
    assert found.flatten().tolist() == [3.0, 0.0, 0.0]


def test_a_wide_neighbourhood_puts_every_unit_at_the_mean():
    vectors = gaussian(40, 3)
    found = smoothed_means(vectors, whole_numbers(12, 40), Grid(3, 4), 1e4)
    torch.testing.assert_close(found, vectors.mean(0).expand(12, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_plane_reaches_two_standard_deviations_to_each_side(kind):
    vectors = gaussian(300, 3) * torch.tensor([1.0, 7.0, 3.0]) + 5
    grid = Grid(5, 4, kind)
    values, directions = np.linalg.eigh(np.cov(vectors.double().T, bias=True))
    along = (initial_plane(vectors, grid, seed=0).double() - vectors.double().mean(0)).numpy() @ directions[:, ::-1]
    places = np.array(slow.positions(5, 4, kind))
    middle, half = (places.max(0) + places.min(0)) / 2, (places.max(0) - places.min(0)) / 2
    expected = 2 * np.sqrt(values[:0:-1]) * (places - middle) / half
    np.testing.assert_allclose(np.abs(along[:, :2]), np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(along[:, 2], 0, atol=1e-4)


@pytest.mark.parametrize(("shape", "width"), [((1, 5), 3), ((5, 1), 3), ((3, 3), 1)])
def test_the_first_plane_of_a_line_is_finite_and_centred(shape, width):
    vectors, grid = gaussian(50, width) + 4, Grid(*shape, "rectangular")
    plane = initial_plane(vectors, grid, seed=0)
    assert plane.shape == (len(grid), width)
    assert plane.isfinite().all()
    torch.testing.assert_close(plane.mean(0), vectors.mean(0), atol=1e-5, rtol=0)
    assert (plane.std(0) > 0.1).any()


@pytest.mark.parametrize("kind", KINDS)
def test_training_on_a_torus_is_the_batch_rule_with_its_distances(kind):
    vectors, initial, radius = gaussian(60, 3).double(), gaussian(12, 3, seed=1).double(), 1.1
    kernel = np.exp(-(slow.apart(4, 3, kind, "toroidal") ** 2) / (2 * radius**2))
    units = [slow.best_units(vector, initial)[0] for vector in vectors.tolist()]
    expected = kernel[:, units] @ vectors.numpy() / kernel[:, units].sum(1, keepdims=True)
    found = train(vectors, Grid(4, 3, kind, "toroidal"), initial, [radius])
    np.testing.assert_allclose(found.prototypes, expected, rtol=1e-10)


DATA = {
    "iris": lambda: load_iris().data,
    "digits": lambda: load_digits().data[::4],
    "roll": lambda: make_swiss_roll(400, random_state=0)[0],
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("shape", [(5, 7), (1, 6)])
def test_the_exact_solver_is_minisoms_batch_training(name, shape):
    data, radius, epochs = DATA[name](), (2.5, 0.6), 5
    generator = np.random.default_rng(0)
    drawn = data[generator.permutation(len(data))[: shape[0] * shape[1]]]
    initial = drawn + 0.1 * generator.standard_normal(drawn.shape)
    other = MiniSom(*shape, data.shape[1], learning_rate=1.0, decay_function=lambda rate, _step, _steps: rate)
    other._weights = initial.reshape(*shape, -1).copy()
    for sigma in geometric(*radius, epochs):
        other._sigma, other._sigma_decay_function = sigma, lambda sigma, _step, _steps: sigma
        other.train_batch_offline(data, 1)
    ours = SOM(shape, init=initial, solver="exact", radius=radius, epochs=epochs, dtype="float64").fit(data)
    np.testing.assert_allclose(ours.prototypes_, other._weights.reshape(len(initial), -1), rtol=1e-4, atol=1e-6)
    assert ours.score(data) == pytest.approx(-other.quantization_error(data), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_tally_holds_the_sums_and_counts_of_every_unit(weighted):
    vectors, units, initial = gaussian(700, 3), whole_numbers(5, 700), gaussian(6, 3, seed=2)
    weights = whole_numbers(4, 700, seed=1).double() if weighted else None
    tally = Tally(6, 3, like=vectors)
    for start in range(0, 700, 50):
        tally.add(vectors[start:][:50], units[start:][:50], None if weights is None else weights[start:][:50])
    own = np.ones(700) if weights is None else weights.numpy()
    rows = vectors.double().numpy()
    sums = [(own[:, None] * rows)[units == unit].sum(0) for unit in range(6)]
    np.testing.assert_allclose(tally.sums, sums, atol=1e-4)
    np.testing.assert_allclose(tally.counts, np.bincount(units, own, minlength=6))
    middle = (own[:, None] * rows).sum(0) / own.sum()
    missed = own @ np.square(rows - initial[units].double().numpy()).sum(1)
    spread = own @ np.square(rows - middle).sum(1)
    assert tally.explained(initial, float(own @ np.square(rows).sum(1))) == pytest.approx(1 - missed / spread, rel=1e-5)
    tally.include(tally.sums.clone(), tally.counts.clone())
    np.testing.assert_allclose(tally.sums, 2 * np.array(sums), atol=1e-4)


def test_what_several_maps_explain_is_what_each_explains():
    vectors, maps = gaussian(300, 3), torch.stack([gaussian(6, 3, seed=seed) for seed in range(4)])
    tallies, energy = [], float(vectors.double().square().sum())
    for seed in range(4):
        tallies.append(Tally(6, 3, like=vectors))
        tallies[-1].add(vectors, whole_numbers(5, 300, seed=seed))
    sums, counts = torch.stack([one.sums for one in tallies]), torch.stack([one.counts for one in tallies])
    each = [one.explained(own, energy) for one, own in zip(tallies, maps, strict=True)]
    np.testing.assert_allclose(explained(sums, counts, maps, energy), each, rtol=1e-12)


def test_sums_of_many_rows_do_not_lose_the_small_ones():
    tally = Tally(1, 1, like=torch.zeros(1))
    for _ in range(300):
        tally.add(torch.full((1024, 1), 0.1), torch.zeros(1024, dtype=torch.int64))
    assert float(tally.sums) == pytest.approx(1024 * 300 * 0.1, rel=1e-4)


def test_an_epoch_tells_radius_units_and_rows():
    history = train(gaussian(50, 3), Grid(3, 4), gaussian(12, 3, seed=1), [2.0, 1.0]).history
    assert [(epoch.radius, epoch.units, epoch.rows) for epoch in history] == [(2.0, 12, 50), (1.0, 12, 50)]


def test_the_last_tally_gives_the_prototypes():
    solved = train(gaussian(50, 3), Grid(3, 4), gaussian(12, 3, seed=1), [2.0, 1.0])
    assert torch.equal(means(solved.tally, Grid(3, 4), 1.0, torch.zeros(12, 3)), solved.prototypes)
    assert solved.tally.counts.sum() == 50


def test_each_epoch_is_told_to_whoever_watches():
    ticks = []
    train(gaussian(9, 2), Grid(1, 2), gaussian(2, 2), [1.0] * 4, advance=lambda: ticks.append(None))
    assert len(ticks) == 4


@few
@given(st.integers(0, 10**6))
def test_whole_weights_are_repeated_rows(seed):
    vectors, initial = gaussian(40, 3, seed=seed).double(), gaussian(9, 3, seed=seed + 1).double()
    weights, rows = whole_numbers(4, 40, seed=seed), held(vectors)
    rows.weights = weights.double()
    weighted = train(rows, Grid(3, 3), initial, [2.0, 1.0, 0.6])
    repeated = train(vectors.repeat_interleave(weights, 0), Grid(3, 3), initial, [2.0, 1.0, 0.6])
    torch.testing.assert_close(weighted.prototypes, repeated.prototypes, atol=1e-9, rtol=1e-9)
    np.testing.assert_allclose(told(weighted.history), told(repeated.history), rtol=1e-9)


def test_prototypes_of_unit_length_are_means_brought_to_it():
    vectors, initial = (torch.nn.functional.normalize(gaussian(n, 3, seed=n)) for n in (50, 12))
    tally, energy, count = tallied(held(vectors), initial)
    free, bound = (means(tally, Grid(3, 4), 1.0, initial, unit_length=unit) for unit in (False, True))
    torch.testing.assert_close(bound, torch.nn.functional.normalize(free))
    assert (energy, count) == (pytest.approx(50), 50)
    solved = train(vectors, Grid(3, 4), initial, [1.0], unit_length=True)
    assert torch.equal(solved.prototypes, bound)


def test_a_plane_of_one_direction_is_a_line():
    line = initial_plane(torch.tensor([[-5.0], [5.0]]), Grid(2, 3, "rectangular"), seed=0)
    torch.testing.assert_close(line.flatten(), torch.tensor([-10.0, 0.0, 10.0]).repeat(2))


def test_several_maps_are_averaged_as_each_alone():
    grid, former = Grid(3, 4), gaussian(5, 12, 3)
    sums, counts = gaussian(5, 12, 3, seed=1).double(), whole_numbers(4, 60).reshape(5, 12).double()
    together = weighted_means(sums, counts, grid, 0.7, former, unit_length=True)
    for index in range(5):
        alone = weighted_means(sums[index], counts[index], grid, 0.7, former[index], unit_length=True)
        torch.testing.assert_close(together[index], alone)
