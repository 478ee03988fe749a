"""The search for best matching units: vectors in blocks, one matrix product and one argmax each, never N x K."""

from collections.abc import Iterator
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.products import COLUMNS, ROWS, padded
from layerscope.types import Prototypes, Units, Vectors

SCORES = 1 << 20
"""Scores held at once, about: 4 MB, so that the argmax finds them in the cache where the product left them."""


class Search:
    """Best matching units among fixed prototypes, by the largest x.w - |w|^2 / 2 = (|x|^2 - |x - w|^2) / 2."""

    def __init__(self, prototypes: Prototypes) -> None:
        self._prototypes = padded(prototypes, COLUMNS)
        self._bias = prototypes.new_full((len(self._prototypes),), -torch.inf)
        self._bias[: len(prototypes)] = -prototypes.double().square().sum(1).to(prototypes.dtype) / 2
        self._rows = max(4, min(128, SCORES // len(self._prototypes) // ROWS)) * ROWS

    def best(self, vectors: Vectors) -> Units:
        """(n,): each vector's best matching unit; of equally near ones the first."""
        units = torch.empty(len(vectors), dtype=torch.int64, device=vectors.device)
        for start, scores in self.blocks(vectors):
            units[start : start + len(scores)] = argmax(scores)
        return units

    def best_few(self, vectors: Vectors, few: int) -> Tensor:
        """(n, few): the nearest units, nearest first."""
        units = torch.empty(len(vectors), few, dtype=torch.int64, device=vectors.device)
        for start, scores in self.blocks(vectors):
            for rank in range(few):
                found = argmax(scores)
                units[start : start + len(scores), rank] = found
                scores.scatter_(1, found[:, None], -torch.inf)
        return units

    def blocks(self, vectors: Vectors) -> Iterator[tuple[int, Float[Tensor, "b padded"]]]:
        """First row and scores of each block, in one buffer that the next block overwrites."""
        height = min(self._rows, ceil(len(vectors) / ROWS) * ROWS)
        buffer = vectors.new_empty(height, len(self._prototypes))
        for start in range(0, len(vectors), self._rows):
            block = padded(vectors[start : start + self._rows], ROWS)
            torch.addmm(self._bias, block, self._prototypes.T, out=buffer[: len(block)])
            yield start, buffer[: min(len(block), len(vectors) - start)]


def argmax(scores: Tensor) -> Tensor:
    """Along the last dimension. On a CPU by numpy, whose argmax is vectorised: a fifth of the time that torch takes."""
    if scores.device.type == "cpu":
        return torch.from_numpy(scores.numpy().argmax(-1))
    return scores.argmax(-1)
