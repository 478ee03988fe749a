"""Grid, batch rule and principal directions, beside slow loops, numpy and scikit-learn."""

import importlib

import numpy as np
import pytest
import torch
from handmade import few, gaussian, whole_numbers
from hypothesis import given
from hypothesis import strategies as st
from references import som as slow
from sklearn.neighbors import NearestNeighbors

from layerscope.som import Grid, Map, initial_plane, smoothed_means, train
from layerscope.subspace import principal_axes

BATCH_RULE = importlib.import_module("layerscope.som.train")
KINDS = ("hexagonal", "rectangular")
SHAPES = [(1, 2), (2, 1), (3, 4), (5, 3)]
small_grids = st.builds(Grid, st.integers(1, 5), st.integers(2, 5), st.sampled_from(KINDS))


def plain_map(grid, prototypes, offset=0.0, scale=1.0):
    width = prototypes.shape[1]
    return Map(grid, prototypes, torch.full((width,), offset), torch.full((width,), scale), ())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_units_stand_where_the_lattice_puts_them(rows, columns, kind):
    grid = Grid(rows, columns, kind)
    expected = slow.positions(rows, columns, kind)
    assert len(grid) == rows * columns
    np.testing.assert_allclose(grid.positions, expected, rtol=1e-6)
    np.testing.assert_allclose(grid.distances, [[slow.distance(a, b) for b in expected] for a in expected], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), [*SHAPES, (12, 12)])
def test_neighbours_are_those_that_touch(rows, columns, kind):
    found = {(int(a), int(b)) for a, b in Grid(rows, columns, kind).neighbours.nonzero()}
    assert found == slow.touching(rows, columns, kind)


@pytest.mark.parametrize(("kind", "most"), [("hexagonal", 6), ("rectangular", 8)])
def test_a_unit_inside_has_all_its_neighbours(kind, most):
    counts = Grid(5, 5, kind).neighbours.sum(1).reshape(5, 5)
    assert (counts[1:-1, 1:-1] == most).all()
    assert (counts[0] < most).all()


@few
@given(small_grids)
def test_grid_distance_is_a_distance(grid):
    distances = grid.distances
    assert torch.equal(distances, distances.T)
    assert torch.equal(distances == 0, torch.eye(len(grid), dtype=torch.bool))
    assert (distances[:, :, None] + distances[None] >= distances[:, None] - 1e-5).all()
    assert torch.equal(grid.neighbours, grid.neighbours.T)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (0, 5), (5, 0), (-2, -3)])
def test_a_grid_of_fewer_than_two_units_is_refused(rows, columns):
    with pytest.raises(ValueError, match=f"A grid needs at least two units; got {rows} x {columns}"):
        Grid(rows, columns)


def test_a_grid_of_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="`kind` must be one of hexagonal, rectangular; got 'triangular'"):
        Grid(2, 2, "triangular")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("radii", [(0.6,), (3.0, 2.0, 1.2, 0.8, 0.5)])
def test_train_is_the_batch_rule(kind, radii):
    vectors, initial = gaussian(50, 3), gaussian(12, 3, seed=1)
    prototypes, history = train(vectors, Grid(3, 4, kind), initial, radii)
    expected, explained = slow.batch_rule(vectors.tolist(), slow.positions(3, 4, kind), initial, radii)
    np.testing.assert_allclose(prototypes, expected, atol=1e-4)
    np.testing.assert_allclose(history, explained, atol=1e-5)


def test_training_explains_more_of_clustered_vectors_than_the_plane_it_started_from():
    centres = 5 * gaussian(9, 4)
    vectors = centres[whole_numbers(9, 300)] + 0.1 * gaussian(300, 4, seed=1)
    vectors = vectors - vectors.mean(0)
    grid = Grid(3, 3)
    _, history = train(vectors, grid, initial_plane(vectors, grid, seed=0), [1.5, 1.0, 0.7, 0.4, 0.2, 0.2])
    assert history[-1] > 0.85
    assert history[0] < 0.7


def test_units_without_samples_near_stay_where_they_were():
    vectors, initial = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [50.0], [60.0]])
    prototypes, _ = train(vectors, Grid(1, 3), initial, [0.05])
    assert prototypes.flatten().tolist() == [2.0, 50.0, 60.0]


def test_units_that_lose_their_samples_stay_where_the_last_epoch_put_them():
    vectors, initial = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [50.0]])
    prototypes, _ = train(vectors, Grid(1, 2), initial, [100.0, 0.05])
    assert prototypes.flatten().tolist() == [2.0, 2.0]


def test_vectors_that_are_all_zero_have_no_variance_to_explain():
    prototypes, history = train(torch.zeros(5, 2), Grid(1, 2), torch.ones(2, 2), [1.0, 1.0])
    assert prototypes.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert history == (0.0, 0.0)


@few
@given(st.integers(0, 10**6))
def test_the_order_of_samples_does_not_matter(seed):
    vectors, initial = gaussian(80, 4, seed=seed), gaussian(9, 4, seed=seed + 1)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(seed))
    one, _ = train(vectors, Grid(3, 3), initial, [2.0, 1.0, 0.6])
    other, _ = train(vectors[order], Grid(3, 3), initial, [2.0, 1.0, 0.6])
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@few
@given(st.integers(0, 10**6), st.floats(-20, 20))
def test_a_shift_of_the_data_shifts_the_map(seed, shift):
    vectors, grid = gaussian(80, 4, seed=seed) * torch.tensor([1.0, 2.0, 4.0, 8.0]), Grid(3, 3)
    initial = initial_plane(vectors, grid, seed=0)
    torch.testing.assert_close(initial_plane(vectors + shift, grid, seed=0), initial + shift, atol=1e-3, rtol=1e-4)
    one, _ = train(vectors, grid, initial, [2.0, 1.0, 0.6])
    other, _ = train(vectors + shift, grid, initial + shift, [2.0, 1.0, 0.6])
    torch.testing.assert_close(other, one + shift, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_of_rows_change_nothing(block, monkeypatch):
    vectors, grid, initial = gaussian(100, 5), Grid(3, 4), gaussian(12, 5, seed=1)
    units = whole_numbers(12, 100)
    fitted = plain_map(grid, initial)

    def everything():
        prototypes, history = train(vectors, grid, initial, [2.0, 1.0, 0.6])
        return prototypes, torch.tensor(history), smoothed_means(vectors, units, grid, 1.0), *fitted.best(vectors)

    whole = everything()
    monkeypatch.setattr(BATCH_RULE, "BLOCK", block)
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


@pytest.mark.parametrize(("n", "width", "rank"), [(200, 10, 3), (30, 80, 5), (200, 10, 64), (6, 80, 64)])
def test_principal_axes_are_those_of_a_singular_value_decomposition(n, width, rank):
    vectors = gaussian(n, width) * 0.8 ** torch.arange(width) + 100
    axes, deviations = principal_axes(vectors, rank)
    centred = vectors.double().numpy() - vectors.double().numpy().mean(0)
    _, singular, expected = np.linalg.svd(centred, full_matrices=False)
    kept = min(rank, n, width)
    assert axes.shape == (kept, width)
    np.testing.assert_allclose(deviations, singular[:kept] / np.sqrt(n), rtol=1e-3, atol=1e-4)
    leading = min(kept, 3)
    np.testing.assert_allclose(np.abs(np.sum(axes[:leading].numpy() * expected[:leading], axis=1)), 1, atol=1e-4)
    np.testing.assert_allclose(axes @ axes.T, np.eye(kept), atol=1e-4)


def test_each_principal_axis_points_to_its_largest_entry():
    vectors = gaussian(100, 12) * 0.7 ** torch.arange(12)
    axes, _ = principal_axes(vectors, 5)
    mirrored, _ = principal_axes(-vectors, 5, seed=9)
    assert (axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0).all()
    torch.testing.assert_close(axes, mirrored, atol=1e-3, rtol=0)


def test_principal_axes_of_a_layer_that_never_changes_have_no_spread():
    axes, deviations = principal_axes(torch.full((20, 4), 3.3), 2)
    assert axes.isfinite().all()
    assert deviations.tolist() == [0.0, 0.0]
