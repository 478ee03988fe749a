"""How well a map stands for its layer."""

import torch

from layerscope.som import Grid, Map
from layerscope.types import Flags, PerSample, Replicates, Units, Vectors, Weights


def explained_variance(vectors: Vectors, fitted: Map, units: Units) -> float:
    """1 - (squared distances to the prototypes) / (squared distances to the mean): 1 is perfect, 0 as a single point.

    Taken on the samples given, around their own mean; negative if the map fits them worse than that. Vectors are as
    the map sees them (`Map.scaled`). A layer that never changes has 0 by convention.
    """
    errors = _errors(vectors, fitted, units)
    total = float((vectors.double() - vectors.double().mean(0)).square().sum())
    return 1 - float(errors.sum()) / total if total > 0 else 0.0


def explained_variance_draws(vectors: Vectors, fitted: Map, units: Units, weights: Weights) -> Replicates:
    """The explained variance on each bootstrap draw, exactly."""
    errors = _errors(vectors, fitted, units)
    rows = vectors - vectors.mean(0)
    n = len(rows)
    total = weights @ rows.square().sum(1) / n - (weights @ rows / n).square().sum(1)
    return torch.where(total > 0, 1 - weights @ errors / n / total, torch.zeros_like(total))


def broken_neighbours(units: Units, seconds: Units, grid: Grid) -> Flags:
    """Whether a sample's two best units fail to touch; their share is the topographic error (Kiviluoto 1996)."""
    return ~grid.touch(units, seconds)


def _errors(vectors: Vectors, fitted: Map, units: Units) -> PerSample:
    """Squared distance of each sample to the prototype of its unit."""
    return (vectors - fitted.prototypes[units]).square().sum(1)
