"""A difference of vectors, carried back to the activation that they were reduced from."""

from typing import TypeAlias

import torch
from torch import Tensor

from layerscope.layouts import Output
from layerscope.reductions import Flatten, Mean, Pieces, Positions, Reduction, Token, Tokens, parse_reduction
from layerscope.types import Vectors

Movable: TypeAlias = Mean | Token | Flatten | Tokens | Positions
REFUSED = {
    "max": "the largest value of a feature is one position's, and no prototype tells what becomes of the others",
    "sketch": "a sketch is a projection, and many activations have the same",
}
"""Reductions under which an activation can't be moved, and why."""


def why_not(reduction: str) -> str | None:
    """Why an activation can't be moved under a reduction; None where it can."""
    return REFUSED.get(reduction.partition(":")[0])


def movable(reduction: str) -> Movable:
    """The reduction that a spec names, if an activation can be moved under it.

    Raises:
        ValueError: if it can't; says why.
    """
    found: Reduction = parse_reduction(reduction)
    if not isinstance(found, Movable):
        raise ValueError(
            f"A layer can't be moved under `{reduction}`: {why_not(reduction)}. Use `mean`, `cls`, `last`, `flatten`, "
            "`positions:N` or `tokens`."
        )
    return found


def shifted(output: Output, reduction: Movable, by: Vectors | Pieces) -> Tensor:
    """What a layer put out, moved so that its reduction is moved by a vector; padding stays where it is.

    Under `mean` every position of a feature is moved by the same, which is the least change of the activation that
    moves the mean so; under `cls` and `last` that token alone; under `flatten` everything, each number by its own;
    under `positions:N` and `tokens` each position by its own vector.

    Args:
        output: what the layer put out.
        reduction: what `by` is a difference of vectors of.
        by: (n, d), a row for each sample; of `positions:N` and `tokens`, the vectors with their samples and places.
    """
    values, features, mask = output
    if isinstance(by, Pieces):
        return _pieces_shifted(values, features, by)
    by = by.to(values)
    if values.ndim <= 2 or isinstance(reduction, Flatten):
        moved = by.reshape(values.shape)
        return values + (moved if mask is None or values.ndim <= 2 else moved * mask[..., None])
    if isinstance(reduction, Token):
        changed = values.clone()
        changed[torch.arange(len(values), device=values.device), reduction.places(output)] += by
        return changed
    ones = [1] * (values.ndim - 2)
    everywhere = by.reshape(len(by), -1, *ones) if features == 1 else by.reshape(len(by), *ones, -1)
    return values + (everywhere if mask is None else everywhere * mask[..., None])


def _pieces_shifted(values: Tensor, features: int, by: Pieces) -> Tensor:
    """Each position moved by its own vector; those that no vector belongs to stay."""
    sample, place = by.sample.to(values.device), by.place.to(values.device)
    if values.ndim <= 2:
        changed = values.clone()
        changed[sample] += by.vectors.to(values).reshape(len(sample), *values.shape[1:])
        return changed
    last = values.movedim(1, -1) if features == 1 else values
    flat = last.flatten(1, -2).clone()
    flat[sample, place] += by.vectors.to(values)
    changed = flat.reshape(last.shape)
    return changed.movedim(-1, 1) if features == 1 else changed
