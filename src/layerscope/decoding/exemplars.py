"""A code's exemplars: the samples nearest to its unit, those spread over its cell, and what is across its borders."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from layerscope.decoding.coder import weights_held
from layerscope.decoding.layer_codes import LayerCodes
from layerscope.decoding.naming import class_mix_name
from layerscope.layouts import Output
from layerscope.network import Network
from layerscope.types import Units, Vectors

TYPICAL = 0.9
"""The share of a cell, nearest to the prototype first, that typical samples are taken from: the rest are strays."""


class Exemplar(NamedTuple):
    """One sample with the code, or one token or position of one."""

    sample: int
    """The sample's id."""
    place: int
    """Which token or position of it; 0 without any."""
    residual: float
    """Its distance to the prototype, in spreads."""
    label: int | None
    prediction: int | None

    @property
    def wrong(self) -> bool:
        """Whether the network answers something else than the label; False where either is unknown."""
        return None not in (self.label, self.prediction) and self.label != self.prediction


@dataclass(frozen=True)
class Exemplars:
    """What a code's samples are. Empty for a dead unit, which no recorded sample has for its code."""

    unit: int
    name: str
    """From the class mix; see `class_mix_name`."""
    count: int
    """Vectors with this code."""
    nearest: tuple[Exemplar, ...]
    """To the prototype, nearest first."""
    typical: tuple[Exemplar, ...]
    """Spread over the cell: the nearest, then always the one farthest from those taken, strays apart."""
    classes: Mapping[str, int]
    """Samples of each class; predictions where there are no labels."""
    predictions: Mapping[str, int]
    """What the network answers to them."""
    mistakes: tuple[Exemplar, ...]
    """Those that it answers wrong, nearest first."""

    @property
    def commonest(self) -> str | None:
        """The commonest class; None without any."""
        return max(self.classes, key=lambda name: self.classes[name]) if self.classes else None


class Contrast(NamedTuple):
    """What distinguishes a code from a neighbour on the grid."""

    unit: int
    neighbour: int
    own: tuple[Exemplar, ...]
    """The code's samples that lie farthest on its own side of the border."""
    others: tuple[Exemplar, ...]
    """The neighbour's, farthest on theirs."""
    step: Vectors
    """(1, d): the neighbour's prototype less the code's own, in the map's scaled space. `Readout.along` carries it back
    to the input."""


def exemplars(codes: LayerCodes, unit: int, *, count: int = 8) -> Exemplars:
    """The samples that a code stands for.

    Args:
        codes: the layer's.
        unit: which code.
        count: of nearest and of typical samples; fewer where the code has fewer.

    Raises:
        ValueError: if the map has no such unit, or the count is below 1.
    """
    check_unit(codes, unit)
    if count < 1:
        raise ValueError(f"`count` must be at least 1; got {count}.")
    rows = codes.members(unit)
    labels, predictions = codes.labels(rows), codes.predictions(rows)
    answers = _counted(codes, predictions)
    classes = answers if labels is None else _counted(codes, labels)
    wrong = rows[:0] if labels is None or predictions is None else rows[labels != predictions]
    return Exemplars(
        unit=unit,
        name=class_mix_name(classes) if classes or not len(rows) else f"{len(rows)} samples without classes",
        count=len(rows),
        nearest=_told(codes, rows[:count]),
        typical=_told(codes, _spread_out(codes, rows, count)),
        classes=classes,
        predictions=answers,
        mistakes=_told(codes, wrong),
    )


def contrasts(codes: LayerCodes, unit: int, *, count: int = 4) -> tuple[Contrast, ...]:
    """What distinguishes a code from each of its neighbours on the grid that have samples.

    Both sides are ranked along the line from the code's prototype to the neighbour's. A dead unit has none.

    Raises:
        ValueError: if the map has no such unit.
    """
    check_unit(codes, unit)
    prototypes, own = codes.fitted.prototypes, codes.members(unit)
    vectors, found = codes.vectors, []
    for neighbour in codes.fitted.grid.neighbours[unit].nonzero()[:, 0].tolist():
        theirs = codes.members(neighbour)
        if not len(own) or not len(theirs):
            continue
        step = prototypes[neighbour] - prototypes[unit]
        here = own[(vectors[own] @ step).argsort(stable=True)][:count]
        there = theirs[(vectors[theirs] @ step).argsort(stable=True, descending=True)][:count]
        found.append(Contrast(unit, neighbour, _told(codes, here), _told(codes, there), step[None]))
    return tuple(found)


def receptive_field(network: Network, name: str, inputs: Tensor, place: int) -> tuple[slice, slice]:
    """Rows and columns of one image (1, channels, height, width) that a position of a layer's output depends on.

    The smallest rectangle outside of which the gradient of the position's features is 0 at this image.

    Raises:
        ValueError: if the layer has no positions, or the place is none of them, or depends on no pixel.
    """
    shown = inputs.detach().clone().requires_grad_(True)
    features: list[Tensor] = []

    def keep(_: str, output: Output) -> None:
        values = output.tensor.movedim(1, -1) if output.features == 1 else output.tensor
        if values.ndim < 3 or not 0 <= place < values[0].flatten(0, -2).shape[0]:
            raise ValueError(f"Layer {name!r} puts out {tuple(values.shape)}, which has no position {place}.")
        features.append(values.flatten(1, -2)[0, place])

    with weights_held(network), torch.enable_grad():
        network.watch(shown, [name], keep, logits=False)
        weights = torch.linspace(1, 2, len(features[0]), device=features[0].device)  # of no symmetry that cancels
        (slope,) = torch.autograd.grad((features[0] * weights).sum(), shown)
    moved = slope[0].abs().amax(0) > 0
    if not moved.any():
        raise ValueError(f"Position {place} of layer {name!r} depends on no pixel of this image.")
    rows, columns = moved.any(1).nonzero()[:, 0], moved.any(0).nonzero()[:, 0]
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def check_unit(codes: LayerCodes, unit: int) -> None:
    """Raise ValueError where a map has no such unit."""
    if not 0 <= unit < len(codes.fitted.grid):
        raise ValueError(f"`unit` must be one of the map's, 0 to {len(codes.fitted.grid) - 1}; got {unit}.")


def _spread_out(codes: LayerCodes, rows: Units, count: int) -> Int[Tensor, " k"]:
    """The nearest, then always the one farthest from those taken (Gonzalez 1985), among the nearest 90 %."""
    kept = rows[: max(1, round(TYPICAL * len(rows)))] if len(rows) else rows
    vectors = codes.vectors[kept]
    taken: list[int] = []
    apart = torch.full((len(kept),), torch.inf)
    for _ in range(min(count, len(kept))):
        taken.append(int(apart.argmax()) if taken else 0)
        apart = torch.minimum(apart, (vectors - vectors[taken[-1]]).norm(dim=1))
        apart[taken[-1]] = -1
    return kept[taken]


def _told(codes: LayerCodes, rows: Units) -> tuple[Exemplar, ...]:
    labels, predictions = codes.labels(rows), codes.predictions(rows)
    nothing = [None] * len(rows)
    return tuple(
        Exemplar(*one)
        for one in zip(
            codes.parents[rows].tolist(), codes.places[rows].tolist(), codes.residuals(rows).tolist(),
            nothing if labels is None else labels.tolist(),
            nothing if predictions is None else predictions.tolist(), strict=True,
        )
    )  # fmt: skip


def _counted(codes: LayerCodes, classes: Tensor | None) -> dict[str, int]:
    found = Counter(() if classes is None else classes.tolist())
    return {codes.class_name(label): count for label, count in found.most_common()}
