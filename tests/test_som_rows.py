"""Rows in blocks: from memory, from disk, from anything that can be read again."""

import numpy as np
import pytest
import torch
from handmade import few, gaussian
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from layerscope.som.rows import BLOCK, HELD, NUMBERS, Rows, check_finite, floating, held, is_blocks, rows_of

VALUES = np.random.default_rng(0).integers(-9, 9, (2500, 4))


class Shards:
    """Blocks of a data set, yielded anew each time."""

    def __init__(self, blocks):
        self.blocks = blocks

    def __iter__(self):
        yield from self.blocks


def mapped(folder, values):
    np.save(folder / "rows.npy", values)
    return np.load(folder / "rows.npy", mmap_mode="r")


SOURCES = {
    "float64": lambda _: VALUES.astype(np.float64),
    "float32": lambda _: VALUES.astype(np.float32),
    "float16": lambda _: VALUES.astype(np.float16),
    "integers": lambda _: VALUES,
    "small integers": lambda _: VALUES.astype(np.int8),
    "fortran": lambda _: np.asfortranarray(VALUES.astype(np.float32)),
    "every second": lambda _: np.repeat(VALUES, 2, axis=0)[::2],
    "backwards": lambda _: VALUES[::-1].copy()[::-1],
    "big endian": lambda _: VALUES.astype(">f4"),
    "memmap": lambda folder: mapped(folder, VALUES.astype(np.float32)),
    "tensor": lambda _: torch.from_numpy(VALUES),
    "half tensor": lambda _: torch.from_numpy(VALUES).bfloat16(),
    "transposed tensor": lambda _: torch.from_numpy(VALUES.T.copy()).double().T,
    "list of blocks": lambda _: [VALUES[:1], VALUES[1:2000], VALUES[2000:]],
    "list of tensors": lambda _: list(torch.from_numpy(VALUES).float().split(700)),
    "shards": lambda _: Shards([VALUES[:900].astype(np.float32), VALUES[900:]]),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_same_rows_come_from_every_source_again_and_again(kind, tmp_path):
    rows = rows_of(SOURCES[kind](tmp_path))
    for _ in range(2):
        blocks = list(rows)
        assert max(map(len, blocks)) <= BLOCK
        assert all(block.is_contiguous() and block.dtype in (torch.float32, torch.float64) for block in blocks)
        assert torch.cat(blocks).tolist() == VALUES.tolist()
    assert rows.width == 4


def test_flags_are_zeros_and_ones():
    assert torch.cat(list(rows_of(VALUES > 0))).tolist() == (VALUES > 0).astype(float).tolist()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", "float32"), ("uint8", "float32"), ("int16", "float32"), ("int32", "float64"), ("float64", "float64")],
)
def test_numbers_keep_their_precision(dtype, expected):
    assert floating(np.ones((2, 2), dtype)).dtype == getattr(torch, expected)
    assert floating(torch.ones(2, 2, dtype=getattr(torch, dtype))).dtype == getattr(torch, expected)


@pytest.mark.parametrize("kind", ["float64", "memmap", "tensor", "list of blocks", "shards"])
def test_a_sample_is_of_different_rows(kind, tmp_path):
    numbered = np.arange(2500)[:, None]
    source = {"memmap": lambda _: mapped(tmp_path, numbered), "tensor": torch.from_numpy}.get(kind, lambda rows: rows)
    split = {"list of blocks": np.array_split(numbered, 9), "shards": Shards(np.array_split(numbered, 9))}
    rows = rows_of(split.get(kind, source(numbered)))
    for size in (1, 300, 2499, 2500, 9999):
        sample = rows.sample(size, seed=3)[:, 0].tolist()
        assert len(sample) == len(set(sample)) == min(size, 2500)
        assert set(sample) <= set(range(2500))
        assert rows.sample(size, seed=3)[:, 0].tolist() == sample
    assert rows.count == 2500
    assert rows.sample(300, seed=4)[:, 0].tolist() != rows.sample(300, seed=3)[:, 0].tolist()


@pytest.mark.parametrize("kind", ["array", "blocks"])
def test_every_row_is_as_likely_to_be_drawn(kind):
    numbered = np.arange(12.0)[:, None]
    rows = rows_of(numbered if kind == "array" else [numbered[:1], numbered[1:8], numbered[8:]])
    draws = torch.cat([rows.sample(4, seed=seed) for seed in range(1500)]).flatten().long()
    assert chisquare(torch.bincount(draws, minlength=12)).pvalue > 0.001


def weighted(vectors, weights):
    rows = held(vectors)
    rows.weights = weights
    return rows


def test_steps_follow_one_another():
    rows = rows_of(VALUES).after(lambda block: block + 1).after(lambda block: 2 * block)
    assert torch.cat(list(rows)).tolist() == (2 * (VALUES + 1)).tolist()


def test_steps_are_done_to_every_block_and_to_samples():
    rows = rows_of(VALUES).after(lambda block: block + 100)
    assert torch.cat(list(rows)).tolist() == (VALUES + 100).tolist()
    assert (rows.sample(5, seed=0) > 50).all()


@few
@given(st.integers(2, 60), st.integers(0, 10**6))
def test_weighted_rows_have_the_weighted_covariance(n, seed):
    vectors = gaussian(n, 3, seed=seed).double()
    weights = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.01
    middle = (weights @ vectors) / weights.sum()
    around = torch.cat(list(weighted(vectors, weights).evenly(middle)))
    expected = np.cov(vectors.T, aweights=weights, bias=True)
    np.testing.assert_allclose(around.T @ around / n, expected, atol=1e-10)


def test_weights_go_with_their_rows():
    weights = torch.arange(2500.0)
    found = [(len(block), own) for block, own in weighted(torch.zeros(2500, 1), weights).weighted()]
    assert torch.equal(torch.cat([own for _, own in found]), weights)
    assert all(size == len(own) for size, own in found)
    assert {own for _, own in rows_of(VALUES).weighted()} == {None}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (VALUES, False),
        (VALUES.tolist(), False),
        (torch.zeros(3, 2), False),
        ([], False),
        ([torch.zeros(3, 2)], True),
        ((VALUES, VALUES), True),
        (Shards([VALUES]), True),
        (iter([VALUES]), True),
        (3, False),
    ],
    ids=[f"source-{number}" for number in range(9)],
)
def test_blocks_are_told_from_rows(source, expected):
    assert is_blocks(source) == expected


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("blocks", [False, True])
def test_a_value_that_is_no_number_is_named(value, what, blocks):
    values = VALUES.astype(np.float32)
    values[1777, 2] = value
    rows = rows_of(np.array_split(values, 3) if blocks else values)
    with pytest.raises(ValueError, match=rf"Input `X` contains {what}: row 1777, column 2\. .* remove or replace"):
        list(rows)


def test_large_numbers_whose_sum_overflows_are_numbers():
    check_finite(torch.full((4, 4), 3e38))


ERRORS = [
    (np.zeros((0, 3)), ValueError, "`X` has 0 samples"),
    ([], ValueError, "`X` has 0 samples"),
    (np.zeros((3, 0)), ValueError, r"`X` has 0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required"),
    (np.zeros(3), ValueError, r"`X` must be two-dimensional, \(rows, features\); got shape \(3,\)\. Reshape your data"),
    ([np.zeros((2, 3, 1))], ValueError, r"`X` must be two-dimensional, .* got shape \(2, 3, 1\)"),
    (iter([np.zeros((2, 3))]), TypeError, "`X` is an iterator, which can be read only once"),
    (["words"], TypeError, "`X` must be a tensor, an array or an iterable of such; got str"),
]


@pytest.mark.parametrize(("source", "error", "text"), ERRORS, ids=[text for _, _, text in ERRORS])
def test_what_is_no_rows_is_refused(source, error, text):
    with pytest.raises(error, match=text):
        rows_of(source)


def test_blocks_that_differ_are_refused():
    with pytest.raises(ValueError, match="Block 1 of `X` has 5 features; the first has 4"):
        list(rows_of([VALUES, np.zeros((2, 5))]))
    with pytest.raises(TypeError, match=r"Block 1 of `X` must be a tensor or an array of shape \(rows, 4\)"):
        list(rows_of([VALUES, [1, 2, 3, 4]]))


def test_blocks_without_a_row_have_no_sample():
    with pytest.raises(ValueError, match="`X` has 0 samples"):
        Rows(lambda: iter(()), 3).sample(5, seed=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_at_hand_are_the_same_rows_done_once(weighted):
    done, vectors = [], gaussian(3000, 5)
    rows = rows_of(vectors).after(lambda block: (done.append(len(block)), 2 * block)[1])
    rows.weights = torch.rand(3000, dtype=torch.float64) if weighted else None
    near = rows.at_hand()
    assert sum(done) == 3000
    torch.testing.assert_close(torch.cat(list(near)), 2 * vectors, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat(list(near)), 2 * vectors, rtol=0, atol=0)
    assert sum(done) == 3000
    assert near.weights is rows.weights
    for one, other in zip(near.moments(), rows.moments(), strict=True):
        torch.testing.assert_close(one, other)


def test_too_many_rows_are_not_held_twice():
    many = rows_of(gaussian(HELD // 64 + 1, 64))
    assert many.at_hand() is many
    endless = Rows(lambda: iter([gaussian(10, 3)]), 3)
    assert endless.at_hand() is endless


def test_blocks_of_narrow_rows_are_longer_and_none_holds_more_than_stated():
    for width in (1, 10, 64, 200):
        sizes = [len(block) for block in held(gaussian(20_000, width))]
        assert max(sizes) == min(20_000, max(BLOCK, NUMBERS // width))
        assert sum(sizes) == 20_000
