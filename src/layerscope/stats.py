"""How sure: bootstrap draws, intervals, and the interval of a share."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

from layerscope.types import Replicates, Weights

LEVEL = 0.95
Z = 1.959963984540054  # the normal quantile of LEVEL, two-sided


class Band(NamedTuple):
    """What a null gives: its mean, and where 95 % of it lies."""

    value: float
    bounds: tuple[float, float]


class Estimate(NamedTuple):
    """A number, its bootstrap replicates, its interval, and the samples behind it."""

    value: float
    replicates: Replicates
    bounds: tuple[float, float]
    n: int


def resample(n: int, draws: int, *, seed: int) -> Weights:
    """How often each of `n` samples is drawn when `n` are drawn with replacement, `draws` times over: (draws, n)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(n, (draws, n), generator=generator)
    return torch.zeros(draws, n).scatter_add_(1, rows, torch.ones(draws, n))


def interval(value: float, replicates: Replicates) -> tuple[float, float]:
    """95 % interval of `value` from its bootstrap `replicates`, shifted so that their mean is `value`.

    A bootstrap draw repeats samples, so that statistics with a finite-sample bias (entropies, participation ratio,
    distances to the nearest) are biased once more in every replicate. The spread of the replicates is right, their
    place is not: it is put back to the estimate (Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 10).
    Replicates that hold infinity have no mean: then the interval is their middle 95 %, with the estimate inside.
    """
    if not replicates.isfinite().all():
        low, high = quantile_bounds(replicates)
        return min(value, low), max(value, high)
    low, high = quantile_bounds(replicates.double() - replicates.double().mean())
    return value + low, value + high


def quantile_bounds(values: Float[Tensor, " draws"]) -> tuple[float, float]:
    """Where the middle 95 % of the values lie: interpolated, or, where some are infinite, values themselves."""
    levels = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    between = "linear" if values.isfinite().all() else "nearest"
    low, high = torch.quantile(values.double(), levels, interpolation=between).tolist()
    return low, high


def prediction_interval(draws: Sequence[Replicates]) -> tuple[float, float]:
    """Where a further draw of a null would lie, 95 of 100 times, after these few; each is given by its replicates.

    mean +- t(m - 1) sqrt(s^2 (1 + 1/m) + w), with s^2 the variance between the m draws' means and w the mean variance
    within a draw (sampling). One draw alone says nothing of others: its band is its own sampling interval.
    """
    stacked = torch.stack([draw.double() for draw in draws])
    means, within = stacked.mean(1), float(stacked.var(1).mean())
    count = len(draws)
    if count == 1:
        return interval(float(means[0]), draws[0])
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * sqrt(float(means.var()) * (1 + 1 / count) + within)
    return float(means.mean()) - half, float(means.mean()) + half


def share_interval(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share: Wilson's score interval (Wilson 1927).

    Not the bootstrap: where all or none of the samples count, every bootstrap draw says the same and the interval
    would have no width.
    """
    share = successes / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return centre - half, centre + half


def weighted_mean(values: Float[Tensor, " n"], weights: Weights) -> Replicates:
    """The mean of `values` on each bootstrap draw."""
    return (weights.double() @ values.double() / weights.shape[1]).float()


def weighted_median(values: Float[Tensor, " n"], weights: Weights) -> Replicates:
    """The lower median of `values` on each bootstrap draw; `values` may hold infinity."""
    order = values.argsort(stable=True)
    reached = weights[:, order].cumsum(1) >= weights.shape[1] / 2
    return values[order][reached.int().argmax(1)]
