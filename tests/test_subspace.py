"""Leading principal directions beside a singular value decomposition."""

import numpy as np
import pytest
import torch
from handmade import few, gaussian
from hypothesis import given
from hypothesis import strategies as st

from layerscope.subspace import principal_axes


@pytest.mark.parametrize(("n", "width", "rank"), [(200, 10, 3), (30, 80, 5), (200, 10, 64), (6, 80, 64)])
def test_principal_axes_are_those_of_a_singular_value_decomposition(n, width, rank):
    vectors = gaussian(n, width) * 0.8 ** torch.arange(width) + 100
    axes, deviations = principal_axes(vectors.split(64), rank)
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
    axes, _ = principal_axes(vectors.split(64), 5)
    mirrored, _ = principal_axes([-vectors], 5, seed=9)
    assert (axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0).all()
    torch.testing.assert_close(axes, mirrored, atol=1e-3, rtol=0)


def test_principal_axes_of_a_layer_that_never_changes_have_no_spread():
    axes, deviations = principal_axes([torch.full((20, 4), 3.3)], 2)
    assert axes.isfinite().all()
    assert deviations.tolist() == [0.0, 0.0]


@few
@given(st.integers(1, 100), st.booleans())
def test_blocks_of_vectors_change_nothing_but_rounding(size, centre):
    vectors = gaussian(100, 12).double() * 0.7 ** torch.arange(12) + 1
    axes, deviations = principal_axes(vectors.split(size), 5, centre=centre)
    whole_axes, whole_deviations = principal_axes([vectors], 5, centre=centre)
    torch.testing.assert_close(axes, whole_axes, atol=1e-8, rtol=0)
    torch.testing.assert_close(deviations, whole_deviations, atol=1e-10, rtol=0)


def test_directions_can_start_from_zero():
    vectors = gaussian(100, 6).double() * 0.7 ** torch.arange(6) + 3
    axes, deviations = principal_axes([vectors], 2, centre=False)
    _, singular, expected = np.linalg.svd(vectors.numpy(), full_matrices=False)
    np.testing.assert_allclose(deviations, singular[:2] / 10, rtol=1e-6)
    np.testing.assert_allclose(np.abs(axes.numpy() @ expected[:2].T), np.eye(2), atol=1e-4)


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_more_iterations_find_more_of_the_variance(iterations):
    vectors = gaussian(300, 200) * 0.97 ** torch.arange(200)
    best = torch.linalg.svdvals(vectors - vectors.mean(0))[:10].square().sum() / 300
    found = principal_axes([vectors], 10, iterations=iterations)[1].square().sum()
    assert {1: 0.85, 2: 0.94, 5: 0.985}[iterations] < found / best < 1.00001


def test_any_number_of_threads_finds_the_same_directions(threads):
    vectors, found = gaussian(999, 130), []
    for many in (1, 2, 4):
        threads(many)
        found.append(principal_axes(vectors.split(250), 20))
    for axes, deviations in found[1:]:
        torch.testing.assert_close(axes, found[0][0], atol=1e-6, rtol=0)
        torch.testing.assert_close(deviations, found[0][1], atol=1e-6, rtol=0)
