"""How well a map stands for its layer, beside scikit-learn and lattice rules."""

import numpy as np
import pytest
import torch
from handmade import gaussian, whole_numbers
from references import som as slow
from references.information import entropy
from references.stats import repeated
from sklearn.metrics import r2_score

from layerscope.measures.geometry import BLOCK
from layerscope.measures.topology import (
    area_influence,
    broken_neighbours,
    class_areas,
    drift,
    drift_by_chance,
    explained_variance,
    explained_variance_draws,
    squared_errors,
)
from layerscope.som import Grid, Map
from layerscope.stats import resample


def fitted(prototypes):
    width = prototypes.shape[1]
    return Map(Grid(1, len(prototypes)), prototypes, torch.zeros(width), torch.ones(width), ())


def r2(vectors, predicted):
    return r2_score(vectors, predicted, multioutput="variance_weighted")


@pytest.mark.parametrize("n", [80, 2 * BLOCK + 5])
def test_explained_variance_is_scikit_learns(n):
    vectors, prototypes = 3 * gaussian(n, 4) + 1, gaussian(6, 4, seed=1)
    units = fitted(prototypes).best(vectors).unit
    assert explained_variance(vectors, squared_errors(vectors, fitted(prototypes), units)) == pytest.approx(
        r2(vectors, prototypes[units]), abs=1e-5
    )


@pytest.mark.parametrize(
    ("prototypes", "share"),
    [([[-1.0], [1.0]], 1.0), ([[0.0], [0.0]], 0.0), ([[-0.5], [0.5]], 0.75), ([[-3.0], [3.0]], -3.0)],
)
def test_explained_variance_of_known_maps(prototypes, share):
    vectors, units = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]]), torch.tensor([0, 1, 1, 0])
    assert explained_variance(
        vectors, squared_errors(vectors, fitted(torch.tensor(prototypes)), units)
    ) == pytest.approx(share)


@pytest.mark.parametrize("n", [50, 2 * BLOCK + 5])
def test_explained_variance_of_a_draw_is_that_of_the_samples_drawn(n):
    vectors, weights = gaussian(n, 4) + 2, resample(n, 10, seed=0)
    prototypes = gaussian(6, 4, seed=1) + 2
    units = fitted(prototypes).best(vectors).unit
    pairs = list(zip(vectors.tolist(), prototypes[units].tolist(), strict=True))
    expected = [r2(*zip(*repeated(pairs, counts), strict=True)) for counts in weights]
    np.testing.assert_allclose(
        explained_variance_draws(vectors, squared_errors(vectors, fitted(prototypes), units), weights),
        expected,
        atol=1e-4,
    )


def test_a_layer_that_never_changes_has_no_variance_to_explain():
    vectors, units = torch.full((30, 2), 0.1), torch.zeros(30, dtype=torch.int64)
    at_zero = fitted(torch.zeros(2, 2))
    assert explained_variance(vectors, squared_errors(vectors, at_zero, units)) == 0
    assert (
        explained_variance_draws(vectors, squared_errors(vectors, at_zero, units), resample(30, 10, seed=0)).tolist()
        == [0.0] * 10
    )


@pytest.mark.parametrize("kind", ["hexagonal", "rectangular"])
def test_two_best_units_are_broken_apart_where_they_do_not_touch(kind):
    units, seconds = whole_numbers(20, 300), whole_numbers(20, 300, seed=1)
    touching = slow.touching(5, 4, kind)
    expected = [pair not in touching for pair in zip(units.tolist(), seconds.tolist(), strict=True)]
    assert broken_neighbours(units, seconds, Grid(5, 4, kind)).tolist() == expected
    assert len(set(expected)) == 2


def test_areas_of_known_classes():
    joint = torch.tensor([[40, 10, 0, 3], [0, 10, 0, 3], [0, 10, 0, 0], [0, 10, 0, 0]]).double()
    one, every, absent, two = class_areas(joint).tolist()
    assert one == 1 / 4
    assert every == 1
    assert np.isnan(absent)
    assert two == pytest.approx(2 ** entropy([0, 0, 0, 1, 1, 1]) / 4)


def test_the_area_of_a_class_is_two_to_the_entropy_of_its_units():
    codes, labels = whole_numbers(9, 80), whole_numbers(3, 80, seed=1)
    joint = torch.tensor([[sum((codes == c) & (labels == y)) for y in range(3)] for c in range(30)]).double()
    expected = [2 ** entropy(codes[labels == y].tolist()) / 30 for y in range(3)]
    np.testing.assert_allclose(class_areas(joint), expected)


def plug_in_mean_area(joint):
    shares = joint / joint.sum(0)
    return float(np.mean(np.exp2(-(shares * np.log2(np.where(shares > 0, shares, 1))).sum(0)))) / len(joint)


def test_a_samples_pull_on_the_mean_area_is_that_of_a_little_more_of_it():
    joint = np.array([[4000.0, 0, 10], [1000, 3000, 20], [500, 3000, 4000], [100, 1500, 0], [0, 0, 0], [0, 0, 0]])
    total, step = joint.sum(), 1e-6
    expected = np.zeros_like(joint)
    for cell in zip(*np.nonzero(joint), strict=True):
        more, less = joint.copy(), joint.copy()
        more[cell], less[cell] = more[cell] + step * total, less[cell] - step * total
        expected[cell] = (plug_in_mean_area(more) - plug_in_mean_area(less)) / (2 * step)
    pull = area_influence(torch.from_numpy(joint)).numpy()
    np.testing.assert_allclose(pull, expected, rtol=0.005, atol=1e-4)
    assert (joint * pull).sum() / total == pytest.approx(0, abs=1e-9)


def test_classes_that_are_not_there_pull_nothing():
    joint = torch.tensor([[40.0, 0.0], [10.0, 0.0], [0.0, 0.0]]).double()
    pull = area_influence(joint)
    assert pull[:, 1].tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(pull[:, :1], area_influence(joint[:, :1]))


@pytest.mark.parametrize("kind", ["hexagonal", "rectangular"])
@pytest.mark.parametrize("topology", ["planar", "toroidal"])
def test_drift_and_its_chance_are_those_of_all_pairs(kind, topology):
    before, after = whole_numbers(20, 70), whole_numbers(20, 70, seed=1)
    steps, grid = slow.apart(4, 5, kind, topology), Grid(4, 5, kind, topology)
    pairs = zip(before.tolist(), after.tolist(), strict=True)
    np.testing.assert_allclose(drift(before, after, grid), [steps[a, b] for a, b in pairs], atol=1e-5)
    chance = np.mean([steps[a, b] for a in before.tolist() for b in after.tolist()])
    assert drift_by_chance(before, after, grid) == pytest.approx(chance, rel=1e-5)


def test_samples_that_stay_do_not_drift():
    assert drift(units := whole_numbers(6, 30), units, Grid(2, 3)).tolist() == [0.0] * 30
