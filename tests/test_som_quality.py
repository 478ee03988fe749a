"""Figures of a map's quality beside slow loops, scikit-learn and simulations."""

import numpy as np
import pytest
import torch
from handmade import few, gaussian, seeds, whole_numbers
from hypothesis import given
from hypothesis import strategies as st
from references import som as slow
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.metrics import cohen_kappa_score

from layerscope.som import SOM, Grid, code_agreement, measure, quality, stability, topographic_product, trustworthiness
from layerscope.som.search import Search

KINDS = ("hexagonal", "rectangular")
PLANE, LINE = Grid(8, 8, "rectangular"), Grid(1, 64, "rectangular")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [60, 2100])
def test_errors_and_explained_variance_are_those_of_a_slow_loop(kind, n):
    vectors, prototypes = gaussian(n, 3).double() + 0.3, gaussian(20, 3, seed=1).double()
    fit = measure(vectors, prototypes, Grid(5, 4, kind))
    expected = slow.figures(vectors.tolist(), prototypes.tolist(), slow.touching(5, 4, kind))
    np.testing.assert_allclose(fit[:3], expected, rtol=1e-9)
    units = [slow.best_units(vector, prototypes.tolist())[0] for vector in vectors.tolist()]
    assert fit.hits.tolist() == np.bincount(units, minlength=20).tolist()


def test_a_map_that_holds_every_row_is_perfect():
    vectors = gaussian(12, 3)
    fit = measure(vectors, vectors, Grid(3, 4))
    assert fit.quantization_error == pytest.approx(0, abs=1e-6)
    assert fit.explained_variance == pytest.approx(1)
    assert fit.hits.tolist() == [1] * 12


def test_rows_that_are_all_equal_have_no_variance_to_explain():
    fit = measure(torch.full((5, 2), 0.7), torch.zeros(4, 2), Grid(2, 2))
    assert fit.explained_variance == 0
    assert fit.quantization_error == pytest.approx(0.7 * 2**0.5)


@few
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_trustworthiness_is_scikit_learns_over_all_ways_to_break_ties(seed, neighbours):
    vectors, units, grid = gaussian(30, 4, seed=seed), whole_numbers(12, 30, seed=seed), Grid(3, 4, "rectangular")
    generator, places = np.random.default_rng(0), grid.positions[units].numpy()
    tries = [
        sklearn_trustworthiness(
            vectors, places + 1e-3 * generator.standard_normal(places.shape), n_neighbors=neighbours
        )
        for _ in range(100)
    ]
    assert trustworthiness(vectors, units, grid, neighbours=neighbours) == pytest.approx(
        np.mean(tries), abs=6 * np.std(tries) / 100**0.5 + 1e-9
    )


@pytest.mark.parametrize("neighbours", [1, 3, 6])
def test_trustworthiness_is_the_papers_where_no_distances_tie(neighbours):
    grid, vectors = Grid(1, 4097, "rectangular"), gaussian(13, 3)
    units = 2 ** torch.randperm(13, generator=torch.Generator().manual_seed(0))
    expected = slow.trustworthiness(vectors.tolist(), lambda i, j: abs(int(units[i] - units[j])), neighbours)
    assert trustworthiness(vectors, units, grid, neighbours=neighbours) == pytest.approx(expected, abs=1e-12)


@few
@given(st.integers(0, 10**6), st.integers(3, 400), st.sampled_from(KINDS))
def test_trustworthiness_is_between_zero_and_one(seed, n, kind):
    most = (n - 1) // 2
    value = trustworthiness(
        gaussian(n, 3, seed=seed), whole_numbers(12, n, seed=seed), Grid(3, 4, kind), neighbours=most
    )
    assert 0 <= value <= 1


def test_a_map_of_its_own_places_can_be_trusted():
    grid = Grid(20, 20, "hexagonal")
    assert trustworthiness(grid.positions, torch.arange(400), grid, neighbours=6) > 0.995
    assert trustworthiness(gaussian(400, 5), torch.arange(400), grid) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("neighbours", [0, 5, -1])
def test_trustworthiness_needs_fewer_neighbours_than_half_the_rows(neighbours):
    text = f"`neighbours` must be at least 1 and less than half of the 10 rows; got {neighbours}"
    with pytest.raises(ValueError, match=text):
        trustworthiness(gaussian(10, 2), torch.zeros(10, dtype=torch.int64), Grid(1, 2), neighbours=neighbours)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("topology", ["planar", "toroidal"])
@pytest.mark.parametrize("block", [256, 5])
def test_the_topographic_product_is_the_papers(kind, topology, block, monkeypatch):
    monkeypatch.setattr(quality, "BLOCK", block)
    prototypes = gaussian(24, 3).double()
    expected = slow.topographic_product(prototypes.tolist(), slow.apart(4, 6, kind, topology))
    assert topographic_product(prototypes, Grid(4, 6, kind, topology)) == pytest.approx(expected, abs=1e-7)


def test_a_lattice_among_its_own_places_has_no_topographic_product():
    for kind in KINDS:
        grid = Grid(7, 9, kind)
        assert topographic_product(5 * grid.positions.double() + 3, grid) == pytest.approx(0, abs=1e-7)


def test_the_topographic_product_tells_too_low_a_dimension_from_too_high_a_one():
    snake = PLANE.positions.clone().reshape(8, 8, 2)
    snake[1::2] = snake[1::2].flip(1)
    assert topographic_product(snake.reshape(64, 2), LINE) < -0.02
    line = 8 * PLANE.positions[:, 1:] + PLANE.positions[:, :1]
    assert topographic_product(torch.cat([line, 0.001 * line], 1), PLANE) > 0.02


def mirrored(units, grid):
    return (units // grid.columns) * grid.columns + grid.columns - 1 - units % grid.columns


@pytest.mark.parametrize("topology", ["planar", "toroidal"])
def test_a_map_and_its_mirror_agree(topology):
    grid = Grid(6, 7, "rectangular", topology)
    units = whole_numbers(42, 300)
    assert code_agreement([(units, grid), (mirrored(units, grid), grid), (units, grid)]) == pytest.approx(1)


def test_maps_drawn_by_chance_agree_as_by_chance():
    grid = Grid(6, 6)
    found = [code_agreement([(whole_numbers(36, 300, seed=2 * s + one), grid) for one in (0, 1)]) for s in range(40)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 40**0.5
    assert np.std(found) < 0.02


@few
@given(st.integers(0, 10**6), st.sampled_from(KINDS))
def test_stability_is_cohens_kappa_over_all_pairs_of_rows(seed, kind):
    one, other = whole_numbers(12, 40, seed=seed), whole_numbers(20, 40, seed=seed + 1)
    near = [
        slow.near_pairs(units.tolist(), slow.touching(*shape, kind))
        for units, shape in ((one, (3, 4)), (other, (5, 4)))
    ]
    found = code_agreement([(one, Grid(3, 4, kind)), (other, Grid(5, 4, kind))])
    assert found == pytest.approx(cohen_kappa_score(*near), abs=1e-9)


def test_stability_of_several_maps_is_the_mean_over_pairs():
    grid, codes = Grid(3, 4), [whole_numbers(12, 50, seed=seed) for seed in seeds]
    pairs = [code_agreement([(codes[a], grid), (codes[b], grid)]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert code_agreement([(code, grid) for code in codes]) == pytest.approx(np.mean(pairs))


def test_maps_on_which_all_rows_are_near_agree():
    units = torch.zeros(9, dtype=torch.int64)
    assert code_agreement([(units, Grid(1, 2)), (units, Grid(1, 2))]) == 1


@pytest.mark.parametrize("sizes", [[], [5], [5, 6]])
def test_stability_needs_maps_of_the_same_rows(sizes):
    codes = [(torch.zeros(size, dtype=torch.int64), Grid(2, 2)) for size in sizes]
    with pytest.raises(ValueError, match=r"`codes` must be of two or more maps and the same samples; got \["):
        code_agreement(codes)


def test_a_better_map_is_told_from_a_worse_one():
    places = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
    folded = PLANE.positions[torch.randperm(64, generator=torch.Generator().manual_seed(1))] / 7
    for prototypes, broken in ((PLANE.positions / 7, 0.0), (folded, 0.6)):
        units = Search(prototypes).best(places)
        error = measure(places, prototypes, PLANE).topographic_error
        trust = trustworthiness(places, units, PLANE)
        assert (error <= 0.01) if broken == 0 else (error > broken)
        assert (trust > 0.95) if broken == 0 else (trust < 0.9)


def test_stability_is_the_agreement_of_the_maps_codes():
    rows = gaussian(400, 3).numpy()
    maps = [SOM((4, 5), random_state=seed, init="sample").fit(rows) for seed in (0, 1)]
    codes = [(torch.as_tensor(one.labels_), one.grid_) for one in maps]
    assert stability(maps, rows) == code_agreement(codes)
    assert 0.2 < stability(maps, rows) < 1
    assert stability([maps[0], maps[0]], rows) == 1
