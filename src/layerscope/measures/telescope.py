"""The telescope in two figures: how far a network compresses below its input, and how far it expands from there.

A profile v_0 (the input, or the first layer where that is texts), v_1 ... v_L (the blocks, without the logits): its
compression is v_0 - min(v_1 ... v_L), its expansion is v_L - min(v_1 ... v_{L-1}), below 0 where the last block is the
lowest: of the participation ratio and of the class gap in octaves (log2), of label information in shares of H(y). An
untrained network has both, too: it has a minimum somewhere. So each is held against the same figure of every untrained
draw, with its own minimum, and, for label information, of every permutation of the labels.
"""

from collections.abc import Callable, Sequence
from math import inf, nan, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.special import stdtr, stdtrit
from torch import Tensor

from layerscope.results import Place, Result, finding
from layerscope.stats import LEVEL, Estimate, interval, quantile_bounds
from layerscope.types import Replicates

OCTAVES = "octaves of "
SCALED: dict[str, Callable[[Tensor], Tensor]] = {
    "participation_ratio": lambda values: values.clamp_min(1e-12).log2(),
    "label_information": lambda values: values,
    "class_gap": lambda values: values.clamp_min(1e-12).log2(),
}
"""What the telescope is told of, and in which scale."""
UNITS = {name: name if name == "label_information" else OCTAVES + name for name in SCALED}
"""The unit of a row, which says what it is the compression or the expansion of."""


class Depth(NamedTuple):
    """A profile over depth, and what stands against it."""

    names: Sequence[str]
    """Of the layers, in depth; the first stands for the input; the last is `logits` where they were recorded."""
    own: Sequence[dict[str, Estimate]]
    """Each layer's measures."""
    untrained: Sequence[Sequence[dict[str, Estimate]]]
    """The same of each untrained draw."""
    permuted: Sequence[Float[Tensor, " permutations"] | None]
    """Each layer's label information under the same permutations of the labels."""
    alone: dict[str, Estimate]
    """What the reduction of the inputs alone measures, without a network; empty where that is not known."""


class Extent(NamedTuple):
    """The two figures of one profile, or of many at once."""

    compression: Tensor
    expansion: Tensor


class Lowest(NamedTuple):
    """Where a profile is lowest."""

    block: Tensor
    """Of all blocks, from 1."""
    before: Tensor
    """Of the blocks before the last."""


def lowest(profile: Float[Tensor, "... layers"]) -> Lowest:
    """Where a profile is lowest; its first entry is the input."""
    return Lowest(profile[..., 1:].argmin(-1) + 1, profile[..., 1:-1].argmin(-1) + 1)


def extent(profile: Float[Tensor, "... layers"], at: Lowest | None = None) -> Extent:
    """Compression and expansion of a profile whose first entry is the input; at its own minima unless others are given.

    Args:
        profile: (..., 1 + L), L >= 2.
        at: the minima to take; those of an estimate for its bootstrap replicates.
    """
    low, before = (
        profile.gather(-1, place.expand(profile.shape[:-1])[..., None])[..., 0] for place in at or lowest(profile)
    )
    return Extent(profile[..., 0] - low, profile[..., -1] - before)


def telescope(depth: Depth, reduction: str) -> list[Result]:
    """Rows `compression` and `expansion` of the whole network under a reduction, of each measure that allows them.

    The unit says of which measure: `octaves of participation_ratio`, `label_information`, `octaves of class_gap`.
    Conditions: `clean`, with a bootstrap interval (the places of the minima are kept); `untrained`, the mean over draws
    and the 95 % prediction interval of a further one; `beyond untrained`, the difference, with an interval that
    contains 0 unless p < 0.05; `shuffled`, the mean and the middle 95 % over permutations of the labels. Rows
    `compression_p` and `expansion_p` of conditions `untrained` (Student's t for a further draw, two-sided; at least two
    draws) and `shuffled` (the share of permutations that reach the figure, the network itself counted in) hold the
    p-values. The row of `compression` under `reduction` is that of the reduction alone: how far the reduced inputs lie
    below the whole ones, with no network between. Where the input was not recorded (texts, tokens) the first layer
    stands for it. Nothing comes with fewer than two blocks, nor of a measure that is infinite, or 0 where octaves are
    counted, at some layer (a dead one).
    """
    last = len(depth.names) - (depth.names[-1] == "logits")
    if last < 3:
        return []
    rows: list[Result] = []
    for measure, scale in SCALED.items():
        own = [layer[measure] for layer in depth.own[:last] if measure in layer]
        least = 0 if UNITS[measure].startswith(OCTAVES) else -inf
        if len(own) < last or not all(least < one.value < inf for one in own):
            continue
        values = scale(_values(own))
        figures = extent(values)
        replicates = extent(scale(torch.stack([one.replicates.double() for one in own], -1)), lowest(values))
        nulls = [
            extent(scale(_values([layer[measure] for layer in draw[:last]])))
            for draw in depth.untrained
            if all(measure in layer for layer in draw[:last])
        ]
        chance = None
        permuted = [one.double() for one in depth.permuted[:last] if one is not None]
        if measure == "label_information" and len(permuted) == last:
            chance = extent(torch.stack(permuted, -1))
        for name in ("compression", "expansion"):
            against = torch.stack([getattr(one, name) for one in nulls]) if nulls else torch.empty(0)
            shuffled = None if chance is None else getattr(chance, name)
            place = Place(reduction=reduction)
            if name == "compression" and measure in depth.alone and least < depth.alone[measure].value < inf:
                one = depth.alone[measure]
                ends = scale(torch.stack([own[0].replicates, one.replicates]).double())
                fall = float(values[0] - scale(torch.tensor(one.value, dtype=torch.float64)))
                bounds = interval(fall, (ends[0] - ends[1]).float())
                here = place._replace(condition="reduction")
                rows.append(finding(name, fall, bounds, one.n, here, unit=UNITS[measure]))
            rows += _figure(
                name, float(getattr(figures, name)), getattr(replicates, name), against, shuffled, own[0].n, place,
                UNITS[measure],
            )  # fmt: skip
    return rows


def _values(estimates: Sequence[Estimate]) -> Float[Tensor, " layers"]:
    return torch.tensor([one.value for one in estimates], dtype=torch.float64)


def _figure(
    name: str, value: float, replicates: Replicates, untrained: Float[Tensor, " nulls"],
    shuffled: Float[Tensor, " permutations"] | None, n: int, place: Place, unit: str,
) -> list[Result]:  # fmt: skip
    """The rows of one figure."""
    mean = float(untrained.mean()) if len(untrained) else nan
    chance = nan if shuffled is None else float(shuffled.mean())
    bounds = interval(value, replicates.float())
    rows = [finding(name, value, bounds, n, place, unit=unit, null_untrained=mean, null_shuffled=chance)]
    if len(untrained) > 1:
        further = against_draws(value, untrained)
        half = further.half_width
        for condition, at in (("untrained", mean), ("beyond untrained", value - mean)):
            here = place._replace(condition=condition)
            rows.append(finding(name, at, (at - half, at + half), n, here, unit=unit))
        here = place._replace(condition="untrained")
        rows.append(finding(f"{name}_p", further.p, (nan, nan), n, here, unit=unit))
    if shuffled is not None:
        here = place._replace(condition="shuffled")
        rows.append(finding(name, chance, quantile_bounds(shuffled), n, here, unit=unit))
        p = permutation_p(value, shuffled)
        rows.append(finding(f"{name}_p", p, (nan, nan), n, here, unit=unit))
    return rows


class Further(NamedTuple):
    """A value held against draws of a null."""

    half_width: float
    """Of the 95 % prediction interval of a further draw."""
    p: float
    """How often a further draw would lie as far from their mean, either way."""


def against_draws(value: float, draws: Float[Tensor, " draws"]) -> Further:
    """Whether a value could be one more of these draws: t = (value - mean) / (s sqrt(1 + 1 / m)), m - 1 degrees.

    All draws are measured on the samples of the value, so that the error of sampling is in their variance already.
    """
    m = len(draws)
    scale = float(draws.double().std()) * sqrt(1 + 1 / m)
    half = float(stdtrit(m - 1, (1 + LEVEL) / 2)) * scale
    apart = abs(value - float(draws.double().mean()))
    return Further(half, 2 * float(stdtr(m - 1, -apart / scale)) if scale > 0 else float(apart == 0))


def permutation_p(value: float, permuted: Float[Tensor, " permutations"]) -> float:
    """The share of permutations that reach the value, itself counted in: (1 + reached) / (1 + permutations)."""
    return (1 + int((permuted >= value).sum())) / (1 + len(permuted))
