"""How the activations lie in their own space."""

from collections.abc import Iterator
from math import nan
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layerscope.stats import dealt_groups, jackknife_influence
from layerscope.types import Flags, Labels, PerSample, Replicates, Vectors, Weights

BLOCK = 1024
PAIRS = 2**24
"""Pairs of samples looked at together, at most: 64 MB, however many samples there are."""
ALIGNED = 64
"""Rows of a product start at multiples of this: else it takes up to half as long again."""
TOGETHER, VERY_FEW = 8, 4
"""Pairs in a group that is looked into only where its closest is among the closest of all; and how few of these are
looked for that way."""
ACROSS = 3
"""Nearest samples of other classes that are kept, so that one is left when the jackknife takes some out."""
FEWEST = 20
"""Distinct samples below which an intrinsic dimension is not estimated."""
TIED = 0.1
"""Share of samples as far from their second neighbour as from their first, above which distances are on a lattice."""


class Dimension(NamedTuple):
    """A dimension and each sample's pull on it."""

    value: float
    influence: PerSample
    """How far each sample moves the value, times n; their mean is 0."""


def participation_ratio(vectors: Vectors) -> Dimension:
    """(sum of eigenvalues)^2 / (sum of their squares), of the covariance: 1 to d; how many directions are in use.

    Gao et al. 2017 (bioRxiv 214262), eq. 5. The sum of squares is corrected for finite samples: of all pairs of
    samples, those of a sample with itself are left out, since they alone make tr(C^2) too large, by about
    (tr C)^2 / N. What few samples would take above d is d. A layer that never changes has participation ratio 0 by
    convention.

    The ratio is a function of two U-statistics, tr(C) with kernel |x - y|^2 / 2 and tr(C^2) with (x . y)^2; a sample's
    pull on each is the kernel's mean over all other samples (Hoeffding 1948; van der Vaart 1998, Asymptotic Statistics,
    ch. 12). Where few samples take the ratio to the width, its pull is 0.
    """
    n, width = vectors.shape
    trace, squared = _moments(vectors)
    value = trace**2 / max(squared, trace**2 / width) if trace > 0 else 0.0
    if n < 4 or trace == 0 or squared <= trace**2 / width:
        return Dimension(value, vectors.new_zeros(n, dtype=torch.float64))
    size = (trace / width) ** 0.5  # an influence needs no more than float32 in numbers of middling size
    centred = torch.cat([(block / size).float() for block in _centred(vectors)])
    lengths = centred.square().sum(1).double()
    if width <= n:
        products = centred.T @ centred
        along = torch.cat([((rows @ products) * rows).sum(1) for rows in centred.split(BLOCK)]).double()
    else:
        along = torch.cat([(rows @ centred.T).square().sum(1) for rows in centred.split(BLOCK)]).double()
    trace, squared = trace / size**2, squared / size**4
    products = (along - lengths.square()) / (n - 1)
    pull = 2 * trace * (lengths - lengths.mean()) / squared
    return Dimension(value, pull - 2 * trace**2 * (products - products.mean()) / squared**2)


def _moments(vectors: Vectors) -> tuple[float, float]:
    """tr(C), and tr(C^2) without its finite-sample bias, for the covariance C.

    With S = X'X for centred rows x_i: E[tr(S^2) - sum |x_i|^4] counts pairs i != j only; the two terms that the
    estimated mean leaves are those of Himeno & Yamada 2014 (J. Multivariate Anal. 130), eq. 2.1, which is unbiased.
    Never below 0, where few samples can take it.
    """
    n = len(vectors)
    lengths = torch.cat([block.square().sum(1) for block in _centred(vectors)])
    total, quartic = float(lengths.sum()), float(lengths.square().sum())
    if n < 4 or total == 0:
        return total / max(n - 1, 1), (total / max(n - 1, 1)) ** 2
    if vectors.shape[1] <= n:
        products = vectors.new_zeros(vectors.shape[1], vectors.shape[1], dtype=torch.float64)
        for block in _centred(vectors):
            products.addmm_(block.T, block)
        covariance_squared = float(products.square().sum()) / (n - 1) ** 2
    else:  # tr((X'X)^2) = tr((XX')^2): the smaller of the two
        whole = torch.cat(list(_centred(vectors)))
        covariance_squared = sum(float((rows @ whole.T).square().sum()) for rows in whole.split(BLOCK)) / (n - 1) ** 2
    trace = total / (n - 1)
    mean_quartic = quartic / (n - 1)
    unbiased = (
        (n - 1) / (n * (n - 2) * (n - 3)) * ((n - 1) * (n - 2) * covariance_squared + trace**2 - n * mean_quartic)
    )
    return trace, max(unbiased, 0.0)


def _centred(vectors: Vectors) -> Iterator[Float[Tensor, "b d"]]:
    """The vectors less their mean, block by block: in double precision, the whole would be twice the layer again."""
    mean = vectors.mean(0, dtype=torch.float64)
    return (block.double() - mean for block in vectors.split(BLOCK))


class Neighbours(NamedTuple):
    """What stands nearest to each sample, from one pass over all pairs."""

    distances: Float[Tensor, "n k"]
    """To the k nearest other samples, nearest first; to all of them where there are fewer."""
    indices: Int[Tensor, "n k"]
    """Which those are."""
    across: Float[Tensor, "n few"]
    """To the nearest samples of other classes, nearest first; infinite where there are fewer."""
    beyond: Int[Tensor, "n few"]
    """Which those are."""

    @property
    def gaps(self) -> PerSample:
        """(n,): to the nearest sample of another class; infinite where there is none."""
        return self.across[:, 0]


def neighbours(vectors: Vectors, labels: Labels | None, k: int) -> Neighbours:
    """The k nearest samples of each, and the nearest of another class. n^2 d / 2 multiplications; n x n never at once.

    Which samples are near is told by products, whose rounding would drown a small distance; the distances themselves
    are taken directly. Each pair is looked at once, for both of its samples.
    """
    count, few = len(vectors), min(k, len(vectors) - 1)
    centred = (vectors - vectors.mean(0, dtype=torch.float64).to(vectors.dtype)).float()
    half = torch.cat([rows.square().sum(1) for rows in centred.split(BLOCK)]) / 2
    nearest, others = _Nearest(centred, few), _Nearest(centred, 0 if labels is None else min(ACROSS, few))
    classes = None if labels is None else labels.int()  # half as long to compare
    height = max(1, min(count, PAIRS // count))  # as tall as may be: few of many are found faster than of some
    held = centred.new_empty(height, -(-count // ALIGNED) * ALIGNED)
    alike = torch.empty_like(held, dtype=torch.bool)
    for start in range(0, count, height):
        own, rest = centred[start : start + height], centred[start:]
        closeness = held[: len(own), : len(rest)]
        torch.addmm(-half[start:], own, rest.T, out=closeness)
        closeness -= half[start : start + height, None]  # -|x - y|^2 / 2
        closeness.diagonal().fill_(-torch.inf)
        nearest.update(start, closeness)
        if classes is not None:
            same = alike[: len(own), : len(rest)]
            torch.eq(classes[start : start + height, None], classes[start:], out=same)
            closeness.masked_fill_(same, -torch.inf)
            others.update(start, closeness)
    near, gaps = (one.distances(vectors) for one in (nearest, others))
    return Neighbours(*near, *gaps)


class _Nearest:
    """The nearest of what has been seen so far, for each sample."""

    def __init__(self, vectors: Vectors, few: int) -> None:
        self._few, self._closeness = few, vectors.new_full((len(vectors), few), -torch.inf)
        self._which = torch.zeros(len(vectors), few, dtype=torch.int64, device=vectors.device)

    def update(self, start: int, closeness: Float[Tensor, "b rest"]) -> None:
        """How close the samples from `start` on, `b` of them, are to themselves and to all that come after."""
        height = len(closeness)
        for place, part, along in ((start, closeness, 1), (start + height, closeness[:, height:], 0)):
            found = _closest(part, self._few, along)
            values, which = (one if along else one.T for one in found)
            some = slice(place, place + len(values))
            both = torch.cat([self._closeness[some], values], 1).topk(self._few, dim=1)
            self._closeness[some] = both.values
            self._which[some] = torch.cat([self._which[some], which + start], 1).gather(1, both.indices)

    def distances(self, vectors: Vectors) -> tuple[Float[Tensor, "n few"], Int[Tensor, "n few"]]:
        """Taken directly, nearest first, and whose they are; infinite where nothing was near."""
        parts = zip(vectors.split(BLOCK), self._which.split(BLOCK), strict=True)
        apart = torch.cat([_apart(own, vectors, which) for own, which in parts])
        found = torch.where(self._closeness > -torch.inf, apart, torch.inf).sort(1)
        return found.values, self._which.gather(1, found.indices)


def _closest(
    closeness: Float[Tensor, "b rest"], few: int, along: int
) -> tuple[Float[Tensor, "..."], Int[Tensor, "..."]]:
    """The `few` largest along a dimension, or all there are, and their places.

    The largest few lie in the few groups whose largest are the largest: where they are very few, one comparison for
    each of the others is all that it takes, and half the time.
    """
    count = closeness.shape[along]
    if few > VERY_FEW or count < 4 * VERY_FEW * TOGETHER:
        values, which = closeness.topk(min(few, count), dim=along)
        return values, which
    groups, wide = count // TOGETHER, (-1, 1) if along == 0 else (1, -1)
    grouped = closeness.narrow(along, 0, groups * TOGETHER).unflatten(along, (TOGETHER, groups))
    best = grouped.amax(along).topk(few, dim=along).indices
    own = torch.cat([best + step * groups for step in range(TOGETHER)], along)
    rest = torch.arange(groups * TOGETHER, count, device=own.device).view(wide)
    shape = list(own.shape)
    shape[along] = rest.numel()
    own = torch.cat([own, rest.expand(shape)], along)
    values, which = closeness.gather(along, own).topk(few, dim=along)
    return values, own.gather(along, which)


def _apart(own: Float[Tensor, "b d"], others: Vectors, which: Int[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """The distance from each row to some of the others."""
    found, there = own.new_empty(which.T.shape), torch.empty_like(own)  # one block of rows, used again and again
    for distances, column in zip(found, which.T.contiguous(), strict=True):
        torch.index_select(others, 0, column, out=there)
        torch.linalg.vector_norm(there.sub_(own), dim=1, out=distances)
    return found.T.double()


def class_gaps(vectors: Vectors, labels: Labels) -> PerSample:
    """Each sample's distance to the nearest sample of another class; infinite where there is no other class.

    Falls as samples are added: compare layers and conditions on the same samples only.
    """
    return neighbours(vectors, labels, 1).gaps


def spread(vectors: Vectors) -> float:
    """The layer's own spread: the root of the mean squared distance from the samples' mean."""
    return float(sum(block.square().sum() for block in _centred(vectors)) / len(vectors)) ** 0.5


class Gap(NamedTuple):
    """The median gap to another class, in spreads of the layer, and each sample's pull on it."""

    value: float
    influence: PerSample
    """Times n; their mean is 0."""


def class_gap(near: Neighbours, vectors: Vectors) -> Gap:
    """Median over samples of the distance to the nearest sample of another class, over the layer's spread.

    Falls as samples are added. Samples share their nearest neighbours, so that how sure the gap is can't be told from
    the gaps alone: pulls come from the delete-group jackknife, which takes samples out as neighbours, too. Infinite
    where there is no other class; its pulls are NaN, unknown, where a group holds all there is of other classes.

    Args:
        near: with classes.
        vectors: (n, d), of some spread.
    """
    dealt = dealt_groups(len(vectors))
    groups = int(dealt.max()) + 1
    value = float(near.gaps.quantile(0.5, interpolation="lower")) / spread(vectors)
    squares, counts = vectors.new_zeros(2, groups, dtype=torch.float64)
    sums = vectors.new_zeros(groups, vectors.shape[1], dtype=torch.float64)
    for block, own in zip(_centred(vectors), dealt.to(vectors.device).split(BLOCK), strict=True):
        for total, parts in ((squares, block.square().sum(1)), (sums, block), (counts, torch.ones_like(block[:, 0]))):
            total.index_add_(0, own, parts)
    left = len(vectors) - counts
    sizes = (squares.sum() - squares) / left - ((sums.sum(0) - sums) / left[:, None]).square().sum(1)
    without = []
    for group, size in enumerate(sizes.sqrt()):
        kept = dealt != group
        there = kept[near.beyond]
        nearest = torch.where(there, near.across, torch.inf).amin(1)
        # all of the few kept are in the group: the farthest of them is the least that the gap can be
        nearest = torch.where(there.any(1), nearest, near.across[:, -1])
        without.append(nearest[kept].quantile(0.5, interpolation="lower") / size)
    return Gap(value, jackknife_influence(torch.stack(without), dealt))


def dimension_twonn(near: Neighbours) -> Dimension:
    """Intrinsic dimension from the ratio mu of the distances to the second and the first neighbour.

    Facco et al. 2017 (Scientific Reports 7:12140): P(mu > x) = x^-d, wherever density is constant over the second
    neighbour's distance. Estimated by maximum likelihood over the 90 % smallest ratios, the rest being censored where
    that paper discards them: d = r / (sum of log mu over those r + (n - r) log of the largest kept). At least 0; NaN
    with fewer than 20 samples, or where ratios tell nothing: values on a lattice (a count, a sum of few levels) have
    more than a tenth of their ratios at exactly 1, which no continuous law gives, and would look of high dimension.

    Args:
        near: of samples no two of which are equal (`distinct`); at least two neighbours each.
    """
    n = len(near.distances)
    logs = (near.distances[:, 1] / near.distances[:, 0]).log() if near.distances.shape[1] > 1 else torch.zeros(n)
    if n and float((logs <= 0).double().mean()) > TIED:
        return Dimension(nan, torch.zeros(n, dtype=torch.float64))
    kept = n - n // 10
    capped = logs.clamp_max(logs.kthvalue(kept).values) if n else logs
    return _inverse(logs <= capped, capped)


def dimension_mle(near: Neighbours) -> Dimension:
    """Intrinsic dimension by maximum likelihood over each sample's k nearest neighbours.

    Levina & Bickel 2004 (NIPS 17, eq. 8), averaged over samples as inverses (MacKay & Ghahramani 2005, Comments on
    'Maximum likelihood estimation of intrinsic dimension'): one over the mean of log(T_k / T_j) over j < k and all
    samples. NaN as `dimension_twonn`.
    """
    logs = (near.distances[:, -1:] / near.distances[:, :-1]).log().mean(1)
    return _inverse(torch.ones(len(logs), dtype=torch.bool), logs)


def _inverse(seen: Flags, logs: PerSample) -> Dimension:
    """How many were seen, rather than censored, over the sum of logs."""
    if len(logs) < FEWEST or not 0 < float(logs.sum()) < torch.inf:
        return Dimension(nan, torch.zeros(len(logs), dtype=torch.float64))
    middle = float(logs.double().mean())
    value = float(seen.double().mean()) / middle
    return Dimension(value, (seen.double() - value * logs.double()) / middle)


def dependent_error(influence: PerSample, near: Int[Tensor, "n k"]) -> float:
    """The standard error of a mean over samples each of which shares its distances with its neighbours.

    Neighbours' pulls go together, so that the sum over pairs that are neighbours, either way, is added to the sum over
    samples: var = (sum e_i^2 + 2 sum over pairs e_i e_j) / n^2; never less than a quarter of what independence gives.
    """
    n, k = near.shape
    pairs = torch.stack([torch.arange(n).repeat_interleave(k), near.flatten().cpu()])
    keys = torch.unique(pairs.amin(0) * n + pairs.amax(0))
    low, high = keys // n, keys % n
    alone = float(influence.square().sum())
    return max(alone + 2 * float((influence[low] * influence[high]).sum()), alone / 4) ** 0.5 / n


def distinct(vectors: Vectors) -> Flags:
    """One of each set of equal rows: the first."""
    _, group = torch.unique(vectors, dim=0, return_inverse=True)
    first = torch.full((int(group.max()) + 1,), len(vectors), dtype=torch.int64)
    first.scatter_reduce_(0, group, torch.arange(len(vectors)), "amin")
    flags = torch.zeros(len(vectors), dtype=torch.bool)
    flags[first] = True
    return flags


def class_separation(vectors: Vectors, labels: Labels) -> float:
    """Between-class over within-class scatter, of all directions together: 0 and up.

    The variance of the class means, weighted by their shares, over the variance within classes. What class means of few
    samples scatter by chance is taken off: (SSB - (C - 1) MSW) / N over MSW, with
    MSW = SSW / (N - C) (one-way analysis of variance), so that shuffled labels give 0 on average; it can come out a
    little below. Infinite where classes have no scatter; NaN where nothing varies or no class has two samples.
    """
    return float(_separation(vectors, labels, vectors.new_ones(1, len(vectors)))[0])


def class_separation_draws(vectors: Vectors, labels: Labels, weights: Weights) -> Replicates:
    """The class separation on each bootstrap draw, exactly."""
    return _separation(vectors, labels, weights)


def _separation(vectors: Vectors, labels: Labels, weights: Weights) -> Replicates:
    centred = (vectors - vectors.mean(0, dtype=torch.float64).to(vectors.dtype)).float()
    parts = zip(weights.split(BLOCK, 1), centred.split(BLOCK), strict=True)
    total = sum(own.double() @ block.double().square().sum(1) for own, block in parts)
    n, explained = weights.sum(1).double(), torch.zeros(len(weights), dtype=torch.float64)
    whole = torch.zeros(len(weights), centred.shape[1], dtype=torch.float64)
    present = torch.zeros(len(weights), dtype=torch.float64)
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        sums = (weights[:, own] @ centred[own]).double()
        counts = weights[:, own].sum(1).double()
        explained += sums.square().sum(1) / counts.clamp_min(1)
        whole += sums
        present += counts > 0
    between = explained - whole.square().sum(1) / n
    mean_within = (total - explained).clamp_min(0) / (n - present)
    return ((between - (present - 1) * mean_within) / n / mean_within).float()


def shifts_over_gaps(clean: Vectors, perturbed: Vectors, gaps: Float[Tensor, " n"]) -> PerSample:
    """How far each sample moved, in gaps; infinite where the gap is 0 and it moved, 0 where it did not."""
    shifts = (perturbed - clean).double().norm(dim=1)
    return torch.where(shifts > 0, shifts / gaps, torch.zeros_like(shifts))


def relative_steps(before: Vectors, after: Vectors) -> PerSample:
    """How far each sample moved, in spreads of where it was; NaN or infinite where that has no spread."""
    return (after - before).double().norm(dim=1) / spread(before)
