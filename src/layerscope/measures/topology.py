"""How well a map stands for its layer."""

from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.measures.geometry import BLOCK, spread
from layerscope.measures.information import entropy
from layerscope.som import Grid, Map
from layerscope.types import Flags, PerSample, Replicates, Units, Vectors, Weights


def squared_errors(vectors: Vectors, fitted: Map, units: Units) -> PerSample:
    """Squared distance of each sample to the prototype of its unit. Vectors are as the map sees them (`Map.scaled`)."""
    parts = zip(vectors.split(BLOCK), units.split(BLOCK), strict=True)
    return torch.cat([(block - fitted.prototypes[own]).square().sum(1) for block, own in parts])


def explained_variance(vectors: Vectors, errors: PerSample) -> float:
    """1 - (squared distances to the prototypes) / (squared distances to the mean): 1 is perfect, 0 as a single point.

    Taken on the samples given, around their own mean; negative if the map fits them worse than that. A layer that never
    changes has 0 by convention.

    Args:
        vectors: (n, d), as the map sees them.
        errors: (n,): their `squared_errors`.
    """
    total = len(vectors) * spread(vectors) ** 2
    return 1 - float(errors.sum()) / total if total > 0 else 0.0


def explained_variance_draws(vectors: Vectors, errors: PerSample, weights: Weights) -> Replicates:
    """The explained variance on each bootstrap draw, exactly."""
    n, mean = len(vectors), vectors.mean(0)
    sums, total = weights.new_zeros(len(weights), vectors.shape[1]), weights.new_zeros(len(weights))
    for block, own in zip(vectors.split(BLOCK), weights.split(BLOCK, 1), strict=True):
        rows = block - mean
        sums += own @ rows
        total += own @ rows.square().sum(1)
    total = total / n - (sums / n).square().sum(1)
    return torch.where(total > 0, 1 - weights @ errors / n / total, torch.zeros_like(total))


def broken_neighbours(units: Units, seconds: Units, grid: Grid) -> Flags:
    """Whether a sample's two best units fail to touch; their share is the topographic error (Kiviluoto 1996)."""
    return ~grid.touch(units, seconds)


def class_areas(joint: Float[Tensor, "codes classes"]) -> Float[Tensor, " classes"]:
    """The share of the map that each class occupies: 2^H(code | class) / K, 1 / K to 1; NaN for classes not there.

    How many units serve a class, counted by how evenly it uses them (Miller-Madow corrected, at most all).
    """
    used = torch.exp2(entropy(joint.T)) / len(joint)
    return torch.where(joint.sum(0) > 0, used.clamp_max(1), torch.nan)


def drift(before: Units, after: Units, grid: Grid) -> PerSample:
    """How far each sample steps from its unit on one map to its unit on the next, in grid steps.

    Means something where the maps are aligned; the mean over samples paired at random (`drift_by_chance`) is what maps
    that share nothing would give.
    """
    return grid.steps(before, after).double()


def drift_by_chance(before: Units, after: Units, grid: Grid) -> float:
    """The mean step where samples of the two maps are paired at random: exact, over all pairs."""
    first, second = (torch.bincount(units, minlength=len(grid)).double() / len(units) for units in (before, after))
    return float(first @ grid.distances.double() @ second)


def area_influence(joint: Float[Tensor, "codes classes"]) -> Float[Tensor, "codes classes"]:
    """How much a sample in each cell pulls the mean of `class_areas`, times n, to first order.

    A class's 2^H moves by 2^H ln 2 times what the sample adds to H, -log2 p(code | class) - H, over the class's share.
    """
    share = joint.sum(0) / joint.sum()
    p = joint / joint.sum(0).clamp_min(1)
    surprise = torch.where(joint > 0, -p.clamp_min(1e-300).log2(), torch.zeros_like(p))
    own = surprise - (p * surprise).sum(0)
    areas = class_areas(joint)
    present = areas.isfinite()
    pull = areas.nan_to_num() * log(2) / share.clamp_min(1e-300) / present.sum()
    return torch.where(joint > 0, own * pull, torch.zeros_like(p))
