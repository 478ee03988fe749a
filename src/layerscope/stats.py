"""How sure: bootstrap draws, intervals, and the interval of a share."""

from collections.abc import Iterable, Sequence
from math import isnan, nan, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

from layerscope.types import Flags, PerSample, Replicates, Units, Weights

LEVEL = 0.95
GROUPS = 20
"""Of samples, that the jackknife leaves out in turn."""
Z = 1.959963984540054  # the normal quantile of LEVEL, two-sided
NOTHING = 1e-9
"""Share of the ranks' variance that is rounding where a third variable tells all of them."""
MOST = 2.0
"""What a cluster's part in a rank correlation is multiplied by at most, for its share in the mean."""


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


def resample_clusters(clusters: Units, draws: int, *, seed: int) -> Weights:
    """How often each sample is drawn when whole clusters are drawn with replacement, as many as there are: (draws, n).

    Args:
        clusters: (n,), the cluster of each sample.
        draws: how many times over.
        seed: of the draws.
    """
    used, which = clusters.unique(return_inverse=True)
    return resample(len(used), draws, seed=seed)[:, which]


def dealt_groups(n: int) -> Units:
    """(n,): which of 20 groups each sample is dealt to, at random, the same for the same n."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(n)) % min(GROUPS, n)


def jackknife_influence(without: Float[Tensor, " groups"], dealt: Units) -> PerSample:
    """Each sample's pull on a statistic, times n, from its values without each group of samples in turn.

    The delete-group jackknife (Kott 2001, J. Official Statistics 17): var = (G - 1) / G sum (t_g - mean)^2. A sample's
    pull is its group's, shared out so that independent samples with such pulls have that variance.

    Args:
        without: the statistic without each group.
        dealt: (n,), each sample's group; see `dealt_groups`.
    """
    groups, sizes = len(without), torch.bincount(dealt).double()
    pulls = -(((groups - 1) / groups) ** 0.5) * (without.double() - without.double().mean())
    own = (len(dealt) * pulls / sizes.sqrt())[dealt]
    return own - own.mean()


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


def prediction_interval(draws: Sequence[float]) -> tuple[float, float]:
    """Where a further draw of a null would lie, 95 of 100 times, after these few: mean +- t(m - 1) s sqrt(1 + 1/m).

    All draws are measured on the same samples, so that sampling is in their variance already. NaN after one draw, which
    says nothing of others.
    """
    m = len(draws)
    if m < 2:
        return nan, nan
    values = torch.tensor(draws, dtype=torch.float64)
    half = float(stdtrit(m - 1, (1 + LEVEL) / 2)) * float(values.std()) * sqrt(1 + 1 / m)
    return float(values.mean()) - half, float(values.mean()) + half


def share_interval(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share: Wilson's score interval (Wilson 1927).

    Not the bootstrap: where all or none of the samples count, every bootstrap draw says the same and the interval
    would have no width.
    """
    return _wilson(successes / n, n)


def clustered_share_interval(counted: Flags, clusters: Units) -> tuple[float, float]:
    """95 % interval of a share over samples that come in clusters, those of a cluster being alike.

    Wilson's, with as many independent samples as would tell as much (Korn & Graubard 1998, Survey Methodology 24): n
    over the design effect, which is the variance of the clusters' counts over that of independent samples, at least 1,
    times the squared ratio of Student's quantiles for samples and for clusters. Where few or none of the samples count,
    how alike those of a cluster are can hardly be seen: the design effect is that of the clusters with two of average
    size added, one of which counts as a whole and one not at all. NaN with fewer than two clusters.

    Args:
        counted: (n,), which samples count.
        clusters: (n,), the cluster of each.
    """
    used, which = clusters.unique(return_inverse=True)
    n, groups = len(counted), len(used)
    if groups < 2:
        return nan, nan
    added = n / groups
    share = (float(counted.sum()) + added) / (n + 2 * added)
    off = torch.zeros(groups, dtype=torch.float64).index_add_(0, which, counted.double() - share)
    between = float(off.square().sum()) + (added * (1 - share)) ** 2 + (added * share) ** 2
    effect = (groups + 2) / (groups + 1) * between / ((n + 2 * added) * share * (1 - share))
    level = (1 + LEVEL) / 2
    student = float(stdtrit(n - 1, level) / stdtrit(groups - 1, level))
    return _wilson(float(counted.double().mean()), n / max(1.0, effect) * student**2)


def clustered_mean_interval(values: PerSample, weights: Weights, clusters: Units) -> tuple[float, float]:
    """95 % interval of a mean over samples that come in clusters, those of a cluster being alike.

    That of its bootstrap replicates, stretched for few clusters as textbooks do: by sqrt(G / (G - 1)), what a
    bootstrap of G clusters falls short of their spread, and by Student's quantile over the normal one. NaN with fewer
    than two clusters.

    Args:
        values: (n,).
        weights: (draws, n), draws of clusters; see `resample_clusters`.
        clusters: (n,), the cluster of each.
    """
    groups, value, drawn = len(clusters.unique()), float(values.mean()), weights.double()
    if groups < 2:
        return nan, nan
    stretch = sqrt(groups / (groups - 1)) * float(stdtrit(groups - 1, (1 + LEVEL) / 2)) / Z
    low, high = interval(value, (drawn @ values.double()) / drawn.sum(1))
    return value - stretch * (value - low), value + stretch * (high - value)


def widest(intervals: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The widest of several intervals; those that are NaN are passed over, where any is not.

    For a number over samples that depend on one another in two ways, each interval counting one of these: the widest
    is no narrower than the interval that counts the dependence that matters, whichever that is. Where both matter as
    much it misses a part of the variance; `studies/causal.py` simulates how often it holds the truth.
    """
    return max(intervals, key=lambda bounds: -1.0 if isnan(bounds[0]) else bounds[1] - bounds[0])


def _wilson(share: float, n: float) -> tuple[float, float]:
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)  # rounding alone could pass them


def weighted_mean(values: Float[Tensor, " n"], weights: Weights) -> Replicates:
    """The mean of `values` on each bootstrap draw."""
    return (weights.double() @ values.double() / weights.shape[1]).float()


def weighted_median(values: Float[Tensor, " n"], weights: Weights) -> Replicates:
    """The lower median of `values` on each bootstrap draw; `values` may hold infinity."""
    order = values.argsort(stable=True)
    reached = weights[:, order].cumsum(1) >= weights.sum(1, keepdim=True) / 2
    return values[order][reached.int().argmax(1)]


def linear(value: float, influence: PerSample, weights: Weights, *, error: float | None = None) -> Estimate:
    """An estimate whose samples each pull it by `influence` / n: replicates and 95 % interval to first order.

    The interval is value -+ 1.96 standard errors, the standard deviation of the influence over sqrt(n) (van der Vaart
    1998, Asymptotic Statistics, ch. 20: the delta method for functionals).

    Args:
        value: the estimate.
        influence: (n,), times n, their mean 0.
        weights: bootstrap draws, of which replicates are made.
        error: the standard error where pulls are not independent of one another.
    """
    n = len(influence)
    independent = float(influence.double().std()) / sqrt(n) if n > 1 else 0.0
    error = independent if error is None else error
    pulls = (influence / (independent or 1.0)).to(weights)  # of middling size, so that single precision is enough
    replicates = value + error * (weights @ pulls).double() / n
    return Estimate(value, replicates.float(), (value - Z * error, value + Z * error), n)


def median(values: PerSample, weights: Weights) -> Estimate:
    """The lower median of the values, with its bootstrap interval; `values` may hold infinity."""
    value = float(values.double().quantile(0.5, interpolation="lower"))
    return bootstrapped(value, weighted_median(values, weights), len(values))


def bootstrapped(value: float, replicates: Replicates, n: int) -> Estimate:
    """An estimate with the interval of its replicates; see `interval`."""
    return Estimate(value, replicates.float(), interval(value, replicates.float()), n)


def midranks(values: PerSample, weights: Weights, groups: Units) -> Float[Tensor, "draws n"]:
    """Ranks of the values on each bootstrap draw, ties shared, each group ranked alone and centred at 0.

    In shares of the group's samples, so that groups of several sizes can be taken together.
    """
    ranks = torch.zeros(weights.shape, dtype=torch.float64)
    for group in groups.unique():
        own = (groups == group).nonzero()[:, 0]
        levels, which = values[own].unique(return_inverse=True)
        heavy = torch.zeros(len(weights), len(levels), dtype=torch.float64).index_add_(
            1, which, weights[:, own].double()
        )
        total = heavy.sum(1, keepdim=True).clamp_min(1)
        middle = (heavy.cumsum(1) - heavy / 2) / total
        ranks[:, own] = (middle - (heavy * middle).sum(1, keepdim=True) / total)[:, which]
    return ranks


def rank_correlation(
    one: PerSample, other: PerSample, weights: Weights, *, groups: Units | None = None, given: PerSample | None = None
) -> Replicates:
    """Spearman's rank correlation on each bootstrap draw (ones for the samples as they are).

    Args:
        one: (n,); infinity ranks highest.
        other: (n,).
        weights: (draws, n).
        groups: (n,): ranks are taken within each group, so that what differs between groups plays no part.
        given: (n,): the partial correlation given the rank of this (Kendall 1942), by the three correlations.

    Returns:
        (draws,): NaN where something does not vary, or `given` tells all of it.
    """
    groups = torch.zeros(len(one), dtype=torch.int64) if groups is None else groups
    parts = [midranks(values, weights, groups) for values in (one, other, *(() if given is None else (given,)))]

    def together(first: Float[Tensor, "draws n"], second: Float[Tensor, "draws n"]) -> Float[Tensor, " draws"]:
        products = [(weights.double() * a * b).sum(1) for a, b in ((first, second), (first, first), (second, second))]
        return products[0] / (products[1] * products[2]).sqrt()

    plain = together(parts[0], parts[1])
    if given is None:
        return plain.float()
    first, second = (together(part, parts[2]) for part in parts[:2])
    return ((plain - first * second) / ((1 - first**2) * (1 - second**2)).sqrt()).float()


def rank_sign_p(
    one: PerSample, other: PerSample, clusters: Units, *, draws: int, seed: int, groups: Units | None = None,
    given: PerSample | None = None,
) -> float:  # fmt: skip
    """Two-sided p of a rank correlation over samples that come in clusters, those of a cluster being alike.

    The score bootstrap (Kline & Santos 2012, J. Econometric Methods 1) with one random sign a cluster: what each
    cluster adds to the correlation is turned to the other side or left, and p is the share of such draws that go as far
    as the clusters themselves, those counted in, so that p is never 0. Samples of a cluster may depend on one another
    in any way, and clusters may differ in size and spread. `groups` and `given` as in `rank_correlation`: with `given`,
    what is left of the ranks after a line in its rank is correlated.

    Ranks are less their group's mean, of which a cluster that is a share h of the group has made a part, so that what
    is left of its own is too small: in the draws it is divided by sqrt(1 - h), as HC2 does (MacKinnon & White 1985, J.
    Econometrics 29), and at most doubled. Where few clusters make up a group, the test finds too little, not too much.

    Returns:
        p, or NaN where something does not vary, or `given` tells all of it.
    """
    ones = torch.ones(1, len(one))
    groups = torch.zeros(len(one), dtype=torch.int64) if groups is None else groups
    first, second = (midranks(values, ones, groups)[0] for values in (one, other))
    least = [NOTHING**0.5 * float(part.norm()) for part in (first, second)]
    if given is not None:
        third = midranks(given, ones, groups)[0]
        first, second = (part - third * (part @ third) / (third @ third) for part in (first, second))
    if not all(float(part.norm()) > nothing for part, nothing in zip((first, second), least, strict=True)):
        return nan
    used, which = clusters.unique(return_inverse=True)
    kinds, kind = groups.unique(return_inverse=True)
    nothing = torch.zeros(len(used), len(kinds), dtype=torch.float64)
    parts = nothing.index_put((which, kind), first * second, accumulate=True)
    counts = nothing.index_put((which, kind), torch.ones_like(first), accumulate=True)
    drawn = (parts / (1 - counts / counts.sum(0)).clamp_min(MOST**-2).sqrt()).sum(1)
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, (draws, len(used)), generator=generator).double() * 2 - 1
    strong = (signs @ drawn).abs() >= parts.sum().abs() - 1e-12 * parts.abs().sum()
    return (1 + int(strong.sum())) / (draws + 1)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979): none is below its own, all hold together. NaN stays NaN."""
    order = sorted((value, place) for place, value in enumerate(p) if not isnan(value))
    found, largest = [float("nan")] * len(p), 0.0
    for rank, (value, place) in enumerate(order):
        largest = max(largest, min(1.0, value * (len(order) - rank)))
        found[place] = largest
    return found
