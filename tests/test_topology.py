"""How well a map stands for its layer, beside scikit-learn and lattice rules."""

import numpy as np
import pytest
import torch
from handmade import gaussian, whole_numbers
from references import som as slow
from references.stats import repeated
from sklearn.metrics import r2_score

from layerscope.measures.topology import broken_neighbours, explained_variance, explained_variance_draws
from layerscope.som import Grid, Map
from layerscope.stats import resample


def fitted(prototypes):
    width = prototypes.shape[1]
    return Map(Grid(1, len(prototypes)), prototypes, torch.zeros(width), torch.ones(width), ())


def r2(vectors, predicted):
    return r2_score(vectors, predicted, multioutput="variance_weighted")


def test_explained_variance_is_scikit_learns():
    vectors, prototypes = 3 * gaussian(80, 4) + 1, gaussian(6, 4, seed=1)
    units = fitted(prototypes).best(vectors).unit
    assert explained_variance(vectors, fitted(prototypes), units) == pytest.approx(
        r2(vectors, prototypes[units]), abs=1e-5
    )


@pytest.mark.parametrize(
    ("prototypes", "share"),
    [([[-1.0], [1.0]], 1.0), ([[0.0], [0.0]], 0.0), ([[-0.5], [0.5]], 0.75), ([[-3.0], [3.0]], -3.0)],
)
def test_explained_variance_of_known_maps(prototypes, share):
    vectors, units = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]]), torch.tensor([0, 1, 1, 0])
    assert explained_variance(vectors, fitted(torch.tensor(prototypes)), units) == pytest.approx(share)


def test_explained_variance_of_a_draw_is_that_of_the_samples_drawn():
    vectors, weights = gaussian(50, 4) + 2, resample(50, 10, seed=0)
    prototypes = gaussian(6, 4, seed=1) + 2
    units = fitted(prototypes).best(vectors).unit
    pairs = list(zip(vectors.tolist(), prototypes[units].tolist(), strict=True))
    expected = [r2(*zip(*repeated(pairs, counts), strict=True)) for counts in weights]
    np.testing.assert_allclose(
        explained_variance_draws(vectors, fitted(prototypes), units, weights), expected, atol=1e-4
    )


def test_a_layer_that_never_changes_has_no_variance_to_explain():
    vectors, units = torch.full((30, 2), 0.1), torch.zeros(30, dtype=torch.int64)
    at_zero = fitted(torch.zeros(2, 2))
    assert explained_variance(vectors, at_zero, units) == 0
    assert explained_variance_draws(vectors, at_zero, units, resample(30, 10, seed=0)).tolist() == [0.0] * 10


@pytest.mark.parametrize("kind", ["hexagonal", "rectangular"])
def test_two_best_units_are_broken_apart_where_they_do_not_touch(kind):
    units, seconds = whole_numbers(20, 300), whole_numbers(20, 300, seed=1)
    touching = slow.touching(5, 4, kind)
    expected = [pair not in touching for pair in zip(units.tolist(), seconds.tolist(), strict=True)]
    assert broken_neighbours(units, seconds, Grid(5, 4, kind)).tolist() == expected
    assert len(set(expected)) == 2
