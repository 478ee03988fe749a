"""How far a decoding is to be trusted, as rows of results: measured on the code itself, always beside a control."""

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from layerscope.decoding.attribution import FORWARD, Attributed
from layerscope.decoding.coder import Coder
from layerscope.decoding.draws import seeded
from layerscope.decoding.inversion import Inverted
from layerscope.decoding.readout import Readout
from layerscope.embeddings import attackable
from layerscope.results import Place, Result, finding
from layerscope.stats import interval, resample, resample_clusters, share_interval, weighted_mean
from layerscope.types import PerSample, Samples, Units

SHARE = 0.2
"""Of the parts of an input that are removed, those that attribution ranks highest."""
CHANGED = "largest change"
"""The condition of parts that are removed because the baseline changes them most."""
DRAWS = 1000
"""Bootstrap draws."""


class Drops(NamedTuple):
    """By how much the margins of some inputs fall, in spreads, when a share of their parts becomes the baseline."""

    attributed: PerSample
    """(n,): the highest attributed parts."""
    random: PerSample
    """(n,): as many at random."""
    changed: PerSample
    """(n,): as many, those that the baseline changes most, by |input - baseline|. What is attributed highest most often
    changes much, so that this asks whether attribution knows more than that."""


def margin_drops(
    coder: Coder,
    samples: Samples,
    units: Units,
    attributed: Attributed,
    *,
    share: float = SHARE,
    seed: int = 0,
    ids: Units | None = None,
) -> Drops:
    """How much the margin falls when the highest attributed parts become the baseline, and when control ones do.

    Args:
        coder: the way from the input to the map.
        samples: those that were attributed.
        units: (n,), whose margin it is.
        attributed: from `attribute`.
        share: of the parts that are removed, between 0 and 1; one at least.
        seed: of the random parts, with each sample's id and unit: they don't depend on the samples beside it.
        ids: (n,), of the samples; by default their places in the batch.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"`share` must be between 0 and 1; got {share}.")
    network, inputs = attackable(coder.network, samples)
    there = attributed.there
    named = torch.arange(len(units)) if ids is None else ids
    keys = [(seed, *key) for key in zip(named.tolist(), units.tolist(), strict=True)]
    change = (inputs - attributed.baseline).abs()
    change = change.sum(2) if network is not coder.network else change.sum(1) if inputs.ndim == 4 else change
    found = []
    for scores in (attributed.parts, random_scores(there, keys), change):
        gone = _highest(scores, there, share)
        wide = gone.unsqueeze(2) if network is not coder.network else gone.unsqueeze(1) if inputs.ndim == 4 else gone
        removed = torch.where(wide, attributed.baseline, inputs)
        parts = []
        with torch.no_grad():
            for some in torch.arange(len(inputs)).split(FORWARD):
                own = network.rows(some)
                parts.append(replace(coder, network=own).margins(own.samples(removed[some]), units[some]))
        found.append(attributed.margins - torch.cat(parts))
    return Drops(*found)


def random_scores(there: Bool[Tensor, "n ..."], keys: Sequence[tuple[int, ...]]) -> Float[Tensor, "n ..."]:
    """Scores between 0 and 1 of the parts that are there, 0 elsewhere: each row's drawn from its own numbers."""
    scores = torch.zeros(there.shape)
    for row, own, key in zip(scores, there.cpu(), keys, strict=True):
        row[own] = torch.rand(int(own.sum()), generator=seeded(*key))
    return scores.to(there.device)


def inversion_rows(inverted: Inverted, typical: PerSample, place: Place, *, seed: int = 0) -> list[Result]:
    """Re-encoding rate and residual of inversions.

    `reencoding_rate` counts units whose inverted input has their own code (`share of units`), and that or a neighbour's
    (`share, or a neighbour`). `inversion_residual` is the mean over units, in spreads; beside it, under the condition
    `exemplar`, that of each unit's exemplar of middling distance, over units that have any.

    Args:
        inverted: from `invert`.
        typical: (k,), the residual of each unit's exemplar of middling distance; NaN for dead units.
        place: where that was measured.
        seed: of the bootstrap over units.
    """
    rows = []
    for hits, unit in ((inverted.same, "share of units"), (inverted.near, "share, or a neighbour")):
        hit, count = int(hits.sum()), len(hits)
        rows.append(finding("reencoding_rate", hit / count, share_interval(hit, count), count, place, unit=unit))
    rows.append(_mean("inversion_residual", inverted.residuals, place, seed=seed))
    living = typical[~typical.isnan()]
    if len(living):
        rows.append(_mean("inversion_residual", living, place._replace(condition="exemplar"), seed=seed))
    return rows


def agreement_rows(runs: Sequence[Inverted], centre: Tensor, place: Place, *, seed: int = 0) -> list[Result]:
    """How alike the inversions of a unit are that began from several seeds.

    Mean over units of the correlation between two seeds' inputs, both less the mean sample; as null_shuffled the same
    between a seed's input and another unit's.

    Raises:
        ValueError: if there are fewer than two seeds or two units.
    """
    if len(runs) < 2 or len(runs[0].units) < 2:
        raise ValueError(f"`runs` must be two seeds of two units at least; got {len(runs)} of {len(runs[0].units)}.")
    ones, others = ((run.inputs - centre).flatten(1) for run in runs[:2])
    order = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))
    null = float(correlations(ones[order], others[order.roll(1)]).mean())  # a cycle: no unit meets itself
    return [_mean("inversion_agreement", correlations(ones, others), place, seed=seed, null=null)]


def margin_rows(drops: Drops, units: Units, place: Place, *, seed: int = 0) -> list[Result]:
    """The mean fall of the margin, with intervals over units, of which each counts as one draw with all its samples.

    Under the place's condition for the attributed part, under `random` for as many random parts, under `largest change`
    for as many that the baseline changes most, and the ratio of the first two means (unit `times random`), which is not
    there where the margin does not fall for random parts.
    """
    weights = resample_clusters(units, DRAWS, seed=seed)
    weights = weights[weights.sum(1) > 0]
    means, replicates = [], []
    rows = []
    for values, condition in zip(drops, (place.condition, "random", CHANGED), strict=True):
        mean = float(values.double().mean())
        drawn = (weights.double() @ values.double()) / weights.double().sum(1)
        means.append(mean)
        replicates.append(drawn)
        here = place._replace(condition=condition)
        rows.append(finding("margin_drop", mean, interval(mean, drawn), len(values), here))
    if means[1] > 0:
        ratio, drawn = means[0] / means[1], replicates[0] / replicates[1]
        sure = bool((replicates[1] > 0).all())
        bounds = interval(ratio, drawn) if sure else (nan, nan)
        rows.append(finding("margin_drop", ratio, bounds, len(units), place, unit="times random"))
    return rows


def readout_rows(activation: Readout, code: Readout, place: Place) -> list[Result]:
    """What a line tells of the input from the activation and from the code alone, on samples it was not fitted on."""
    return [
        finding("readout_explained", one.explained, one.bounds, one.n, place, unit=f"share, from the {kind}")
        for kind, one in (("activation", activation), ("code", code))
    ]


def correlations(ones: Float[Tensor, "n p"], others: Float[Tensor, "n p"]) -> PerSample:
    """(n,): Pearson's correlation of each row of one with the row of the other; 0 where one does not vary."""
    one, other = (values - values.mean(1, keepdim=True) for values in (ones, others))
    lengths = one.norm(dim=1) * other.norm(dim=1)
    return torch.where(lengths > 0, (one * other).sum(1) / lengths.clamp_min(1e-12), torch.zeros_like(lengths))


def _highest(scores: Float[Tensor, "n ..."], there: Bool[Tensor, "n ..."], share: float) -> Bool[Tensor, "n ..."]:
    """The parts with the highest scores among those that are there: this share of them, one at least."""
    flat, allowed = scores.flatten(1), there.flatten(1)
    ranks = flat.masked_fill(~allowed, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    taken = (share * allowed.sum(1, keepdim=True)).round().clamp_min(1)
    return (ranks < taken).view(scores.shape)


def _mean(measure: str, values: PerSample, place: Place, *, seed: int, null: float = nan) -> Result:
    mean = float(values.double().mean())
    drawn = weighted_mean(values, resample(len(values), DRAWS, seed=seed))
    return finding(measure, mean, interval(mean, drawn), len(values), place, null_shuffled=null)
