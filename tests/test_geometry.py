"""Participation ratio and gaps, beside eigenvalues, loops over samples, and simulation."""

import numpy as np
import pytest
import torch
from handmade import few, gaussian, seeds, whole_numbers
from hypothesis import given
from hypothesis import strategies as st
from references import geometry as slow
from references.stats import repeated

from layerscope.measures import geometry
from layerscope.measures.geometry import class_gaps, participation_ratio, participation_ratio_draws, shifts_over_gaps
from layerscope.stats import resample


@pytest.mark.parametrize(("n", "width"), [(4, 2), (7, 3), (7, 20), (8, 8)])
@pytest.mark.parametrize("seed", seeds)
def test_participation_ratio_is_that_of_all_quadruples_of_samples(n, width, seed):
    vectors = gaussian(n, width, seed=seed) * torch.linspace(0.5, 2, width) + 3
    assert participation_ratio(vectors) == pytest.approx(
        min(slow.unbiased_participation_ratio(vectors), width), rel=1e-4
    )


def test_participation_ratio_of_many_samples_is_that_of_the_eigenvalues():
    vectors = gaussian(20_000, 6) * torch.tensor([3.0, 2.0, 1.0, 1.0, 0.5, 0.1])
    assert participation_ratio(vectors) == pytest.approx(slow.plug_in_participation_ratio(vectors), rel=2e-3)


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
    expected = participation_ratio(vectors)
    assert participation_ratio(vectors * scale + shift * scale) == pytest.approx(expected, rel=1e-3)
    assert participation_ratio(vectors @ turn) == pytest.approx(expected, rel=1e-3)


def test_activations_along_one_line_have_participation_ratio_1():
    vectors = gaussian(500, 1) * gaussian(1, 30)
    assert participation_ratio(vectors) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("n", "ratio"), [(2, 1.0), (3, 1.0)])
def test_too_few_samples_for_the_correction_count_as_one_direction(n, ratio):
    assert participation_ratio(gaussian(n, 5)) == ratio


@pytest.mark.parametrize("n", [1, 3, 300])
def test_a_layer_that_never_changes_has_participation_ratio_0(n):
    vectors = torch.full((n, 4), 0.1)
    assert participation_ratio(vectors) == 0
    assert participation_ratio_draws(vectors, resample(n, 20, seed=0)).tolist() == [0.0] * 20


@pytest.mark.parametrize("block", [7, 1024])
def test_participation_ratio_of_a_draw_is_that_of_the_samples_drawn(block, monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK", block)
    vectors, weights = gaussian(60, 6) * torch.linspace(0.5, 3, 6) + 2, resample(60, 8, seed=0)
    expected = [slow.plug_in_participation_ratio(repeated(vectors.tolist(), counts)) for counts in weights]
    np.testing.assert_allclose(participation_ratio_draws(vectors, weights), expected, rtol=1e-4)


def test_directions_beyond_the_leading_ones_keep_their_share_in_every_draw(monkeypatch):
    monkeypatch.setattr(geometry, "LEADING", 2)
    deviations = torch.tensor([4.0, 3.5, 3.0, 3.0, 3.0, 3.0, 2.0, 2.0])
    vectors, weights = gaussian(400, 8) * deviations, resample(400, 8, seed=0)
    values, directions = np.linalg.eigh(slow.covariance(vectors))
    leading = (vectors.double().numpy() - vectors.double().numpy().mean(0)) @ directions[:, :-3:-1]
    trace = float(np.sum(values))
    rest = max(trace**2 / participation_ratio(vectors) * (400 / 399) ** 2 - float(np.sum(values[-2:] ** 2)), 0)
    expected = []
    for counts in weights:
        drawn = slow.covariance(repeated(list(leading), counts))
        whole = float(np.trace(slow.covariance(repeated(vectors.tolist(), counts))))
        expected.append(whole**2 / (float(np.sum(drawn**2)) + rest))
    np.testing.assert_allclose(participation_ratio_draws(vectors, weights), expected, rtol=1e-3)


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
    assert geometry.participation_ratio(torch.eye(6)) == pytest.approx(6)
