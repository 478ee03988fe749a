"""Best matching units beside scikit-learn's nearest neighbours, and the same for any number of threads."""

import pytest
import torch
from handmade import few, gaussian
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from layerscope.products import padded, product
from layerscope.som.search import Search, argmax


def nearest(vectors, prototypes, few_units):
    search = NearestNeighbors(n_neighbors=few_units, algorithm="brute").fit(prototypes.double())
    return search.kneighbors(vectors.double(), return_distance=False)


def scores_of(search, vectors, units):
    return torch.cat([scores[:, :units].clone() for _, scores in search.blocks(vectors)])


@few
@given(st.integers(1, 200), st.integers(2, 70), st.integers(1, 20), st.integers(0, 10**6))
def test_best_units_are_those_of_a_nearest_neighbour_search(n, units, width, seed):
    vectors, prototypes = gaussian(n, width, seed=seed).double(), gaussian(units, width, seed=seed + 1).double()
    search, many = Search(prototypes), min(units, 4)
    expected = nearest(vectors, prototypes, many)
    assert search.best_few(vectors, many).tolist() == expected.tolist()
    assert search.best(vectors).tolist() == expected[:, 0].tolist()
    distances = -2 * scores_of(search, vectors, len(prototypes)) + vectors.square().sum(1, keepdim=True)
    torch.testing.assert_close(distances, torch.cdist(vectors, prototypes).square(), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("n", [511, 512, 513, 9000])
def test_many_rows_are_searched_in_blocks(n):
    vectors, prototypes = gaussian(n, 3).double(), gaussian(900, 3, seed=1).double()
    assert Search(prototypes).best(vectors).tolist() == nearest(vectors, prototypes, 1)[:, 0].tolist()


def test_of_equally_near_units_the_first_is_best():
    prototypes = torch.tensor([[5.0], [1.0], [1.0], [-1.0]])
    assert Search(prototypes).best(torch.tensor([[0.0], [2.0]])).tolist() == [1, 1]
    assert Search(prototypes).best_few(torch.tensor([[2.0], [0.0]]), 4).tolist() == [[1, 2, 0, 3], [1, 2, 3, 0]]


def test_every_unit_is_among_the_nearest_of_all():
    found = Search(gaussian(17, 3)).best_few(gaussian(10, 3, seed=1), 17)
    assert found.sort(1).values.tolist() == [list(range(17))] * 10


def test_no_rows_have_no_units():
    assert Search(gaussian(4, 3)).best(torch.zeros(0, 3)).tolist() == []


def test_argmax_is_that_of_every_device():
    scores = gaussian(40, 7)
    assert torch.equal(argmax(scores), scores.argmax(-1))


@pytest.mark.parametrize(("n", "units", "width"), [(1, 2, 1), (97, 37, 33), (1000, 145, 130)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_threads_gives_the_same_to_the_bit(threads, n, units, width, dtype):
    vectors, prototypes = gaussian(n, width).to(dtype), gaussian(units, width, seed=1).to(dtype)
    found = []
    for many in (1, 2, 4):
        threads(many)
        found.append((scores_of(Search(prototypes), vectors, len(prototypes)), product(vectors, prototypes.T)))
    for scores, products in found[1:]:
        assert torch.equal(scores, found[0][0])
        assert torch.equal(products, found[0][1])


@few
@given(st.integers(1, 90), st.integers(1, 40), st.integers(1, 20))
def test_products_are_products(n, width, columns):
    left, right = gaussian(n, width).double(), gaussian(width, columns, seed=1).double()
    torch.testing.assert_close(product(left, right), left @ right, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("rows", "expected"), [(0, 0), (1, 16), (16, 16), (17, 32)])
def test_padding_adds_rows_of_zeros_up_to_a_multiple(rows, expected):
    found = padded(torch.ones(rows, 3), 16)
    assert found.shape == (expected, 3)
    assert found.sum() == 3 * rows
