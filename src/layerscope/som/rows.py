"""What a map is fitted on: rows that are read again and again, block by block, from memory or from anywhere else."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.types import Vectors

BLOCK = 1024
"""Rows held at once of what is not in memory."""
NUMBERS = 1 << 16
"""Of a tensor's rows that are narrow, so many numbers are a block: fewer blocks, less time between them."""
HELD = 1 << 22
"""Numbers of rows, at most, that are kept as a solver sees them: 16 MB."""
EXACT_IN_FLOAT32 = (torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8, torch.int16)

Step = Callable[[Vectors], Vectors]


class Rows:
    """Rows of floating numbers in blocks of at most 1,024, as a solver sees them.

    Args:
        source: yields the rows' blocks, afresh at each call.
        width: features of a row.
        count: rows, where that is known before they are read.
        weights: (n,), of each row; only where `count` is known.
        step: what is done to each block on its way: centred, scaled, brought to length one.
        take: the rows of given numbers, where they can be had without reading all.
    """

    def __init__(
        self,
        source: Callable[[], Iterator[Vectors]],
        width: int,
        count: int | None = None,
        weights: Float[Tensor, " n"] | None = None,
        step: Step | None = None,
        take: Callable[[Tensor], Vectors] | None = None,
    ) -> None:
        self._source, self.width, self.count, self.weights = source, width, count, weights
        self._step, self._take = step, take

    def __iter__(self) -> Iterator[Vectors]:
        for block in self._source():
            yield block if self._step is None else self._step(block)

    @property
    def dtype(self) -> torch.dtype:
        """Of the blocks."""
        return next(iter(self)).dtype

    def after(self, step: Step) -> "Rows":
        """The same rows with `step` done to each block, after what is done already."""
        former = self._step
        both = step if former is None else lambda block: step(former(block))
        return Rows(self._source, self.width, self.count, self.weights, both, self._take)

    def at_hand(self) -> "Rows":
        """The same rows, all that is done to them done once; themselves where they are too many to be held twice."""
        if self.count is None or self.count * self.width > HELD:
            return self
        rows = held(torch.cat([*self]))
        rows.weights = self.weights
        return rows

    def evenly(self, middle: Float[Tensor, " d"]) -> "Rows":
        """The rows around `middle`, each times the root of its weight: their covariance is the weighted one."""
        if self.weights is None:
            return Rows(lambda: (block - middle for block in self), self.width, self.count)
        mean = self.weights.mean()

        def scaled() -> Iterator[Vectors]:
            for block, own in self.weighted():
                assert own is not None
                yield ((block - middle).double() * (own / mean).sqrt()[:, None]).to(block.dtype)

        return Rows(scaled, self.width, self.count)

    def moments(self) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """Each feature's weighted mean and standard deviation, in float64.

        Taken around the first row and in units of the first block's size, so that neither a large mean nor numbers of
        any size cost precision.

        Raises:
            ValueError: if there is no row.
        """
        first: Tensor | None = None
        weight, unit, total, squares = 0.0, 1.0, torch.zeros(()), torch.zeros(())
        for block, weights in self.weighted():
            own = block.new_ones(len(block), dtype=torch.float64) if weights is None else weights.double()
            if first is None:
                first = block[0].double()
                total, squares = torch.zeros_like(first), torch.zeros_like(first)
                unit = power_of_two(float((block.double() - first).abs().max()))
            around = (block.double() - first) / unit
            total, squares = total + own @ around, squares + own @ around.square()
            weight += float(own.sum())
        if first is None:
            raise no_rows()
        mean = total / weight
        return first + mean * unit, (squares / weight - mean.square()).clamp_min(0).sqrt() * unit

    def weighted(self) -> Iterator[tuple[Vectors, Float[Tensor, " b"] | None]]:
        """Each block with its rows' weights, if they have any."""
        start = 0
        for block in self:
            yield block, None if self.weights is None else self.weights[start : start + len(block)]
            start += len(block)

    def sample(self, size: int, *, seed: int) -> Vectors:
        """Up to `size` different rows, each as likely as any other.

        Where rows can't be had by their numbers, all are read and counted: every row draws a number, and those with the
        smallest stay.
        """
        generator = torch.Generator().manual_seed(seed)
        if self._take is not None and self.count is not None:
            rows = self._take(torch.randperm(self.count, generator=generator)[:size].sort().values)
            if not bool(rows.isfinite().all()):
                for _ in self:  # names the row that can't be placed
                    pass
            return rows if self._step is None else self._step(rows)
        kept, keys, count = None, torch.empty(0), 0
        for block in self:
            drawn = torch.rand(len(block), generator=generator, dtype=torch.float64)
            count += len(block)
            keys = torch.cat([keys.double(), drawn])
            chosen = keys.argsort()[:size] if len(keys) > size else torch.arange(len(keys))
            new = chosen[chosen >= len(keys) - len(block)] - (len(keys) - len(block))
            old = chosen[chosen < len(keys) - len(block)]
            fresh = block[new.to(block.device)]
            kept = fresh if kept is None else torch.cat([kept[old.to(block.device)], fresh])
            keys = torch.cat([keys[old], drawn[new]])
        if kept is None:
            raise no_rows()
        self.count = count
        return kept


def power_of_two(size: float) -> float:
    """The power of two nearest to a size; 1 for 0."""
    return 2.0 ** round(math.log2(size)) if size > 0 else 1.0


def no_rows() -> ValueError:
    """The error of data without a row."""
    return ValueError("`X` has 0 samples (rows); at least one is needed, and 2 to train a map.")


def rows_of(source: Any, device: torch.device | str | None = None) -> Rows:
    """Rows to fit a map on.

    Args:
        source: a tensor or a numpy array (a memmap too) of shape (n, d); or an iterable that yields such blocks, the
            same rows in the same order each time that it is iterated: a list, a data set of shards, an object with
            `__iter__`.
        device: where to compute; by default where a tensor is, or the CPU.

    Raises:
        TypeError: if `source` can be read only once, or its blocks are neither tensors nor arrays.
        ValueError: if it has no row or no feature, is not two-dimensional, or its blocks differ in width. Where a value
            is NaN or infinite, iterating raises it, naming row and column.
    """
    if isinstance(source, Tensor | np.ndarray):
        _check_shape(source)
        if len(source) == 0:
            raise no_rows()
        return Rows(
            lambda: _checked(_split(source), device),
            source.shape[1],
            len(source),
            take=lambda numbers: next(_moved(iter([_taken(source, numbers)]), device)),
        )
    if isinstance(source, Iterator):
        raise TypeError(
            "`X` is an iterator, which can be read only once, and fitting reads its blocks several times. Give a list "
            "of blocks, a memmap, or an object whose `__iter__` starts anew."
        )
    width = None
    for first in source:
        _check_shape(first)
        width = first.shape[1]
        break
    if width is None:
        raise no_rows()
    return Rows(lambda: _checked(_blocks(source, width), device), width)


def is_blocks(source: Any) -> bool:
    """Whether `source` is an iterable of blocks rather than rows themselves."""
    if isinstance(source, Tensor) or hasattr(source, "__array__") or hasattr(source, "toarray"):
        return False
    if isinstance(source, list | tuple):
        return bool(source) and getattr(source[0], "ndim", 0) == 2
    return isinstance(source, Iterable)


def floating(block: Any) -> Vectors:
    """A block as floating numbers: float32 where that holds its values, float64 otherwise."""
    if not isinstance(block, Tensor):
        block = torch.from_numpy(np.require(block, block.dtype.newbyteorder("="), ["C", "W"]))
    return block.detach().to(torch.float32 if block.dtype in EXACT_IN_FLOAT32 else torch.float64).contiguous()


def held(vectors: Vectors) -> Rows:
    """Rows of a tensor that needs no check."""
    return Rows(
        lambda: iter(vectors.split(max(BLOCK, NUMBERS // vectors.shape[1]))),
        vectors.shape[1],
        len(vectors),
        take=lambda numbers: vectors[numbers.to(vectors.device)],
    )


def weights_of(given: Any, rows: Rows) -> Float[Tensor, " n"]:
    """How often each row counts, in float64.

    Raises:
        ValueError: if the rows can't be told in advance, or the weights are not one finite number per row, none
            negative and not all zero.
    """
    if rows.count is None:
        raise ValueError("`sample_weight` goes with rows in one array; got an iterable of blocks.")
    held_already = isinstance(given, Tensor)
    weights = given.detach().double() if held_already else torch.from_numpy(np.array(given, dtype=np.float64))
    if tuple(weights.shape) != (rows.count,):
        raise ValueError(f"`sample_weight` must have shape ({rows.count},), one per row; got {tuple(weights.shape)}.")
    if not bool(weights.isfinite().all()) or bool((weights < 0).any()):
        raise ValueError("`sample_weight` must be finite and not negative.")
    if float(weights.sum()) == 0:
        raise ValueError("`sample_weight` is zero for every row; at least one row must count.")
    return weights


def _taken(source: Any, numbers: Tensor) -> Any:
    return source[numbers.to(source.device)] if isinstance(source, Tensor) else source[numbers.numpy()]


def _split(source: Any) -> Iterator[Any]:
    for start in range(0, len(source), BLOCK):
        yield source[start : start + BLOCK]


def _blocks(source: Iterable[Any], width: int) -> Iterator[Any]:
    for number, given in enumerate(source):
        block = given if isinstance(given, Tensor) or not hasattr(given, "__array__") else np.asarray(given)
        if getattr(block, "ndim", None) != 2 or hasattr(block, "toarray"):
            raise TypeError(f"Block {number} of `X` must be a tensor or an array of shape (rows, {width}).")
        if block.shape[1] != width:
            raise ValueError(f"Block {number} of `X` has {block.shape[1]} features; the first has {width}.")
        yield from _split(block)


def _checked(blocks: Iterator[Any], device: torch.device | str | None) -> Iterator[Vectors]:
    start = 0
    for block in _moved(blocks, device):
        check_finite(block, start)
        start += len(block)
        yield block


def _moved(blocks: Iterator[Any], device: torch.device | str | None) -> Iterator[Vectors]:
    for raw in blocks:
        block = floating(raw)
        yield block if device is None else block.to(device)


def check_finite(block: Vectors, start: int = 0) -> None:
    """Raise ValueError where a value is NaN or infinite; the sum of a block tells whether to look closer."""
    if not bool(block.sum().isfinite()) and not bool(block.isfinite().all()):
        row, column = (~block.isfinite()).nonzero()[0].tolist()
        what = "NaN" if bool(block[row, column].isnan()) else "infinity"
        raise ValueError(
            f"Input `X` contains {what}: row {start + row}, column {column}. A map can't place it; remove or replace "
            "such rows."
        )


def _check_shape(source: Any) -> None:
    if getattr(source, "ndim", None) is None or not hasattr(source, "shape"):
        raise TypeError(f"`X` must be a tensor, an array or an iterable of such; got {type(source).__name__}.")
    if source.ndim != 2:
        raise ValueError(
            f"`X` must be two-dimensional, (rows, features); got shape {tuple(source.shape)}. Reshape your data: "
            "X.reshape(len(X), -1) for images, X.reshape(-1, 1) for one feature."
        )
    if source.shape[1] == 0:
        raise ValueError(f"`X` has 0 feature(s) (shape={tuple(source.shape)}) while a minimum of 1 is required.")
