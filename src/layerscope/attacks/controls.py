"""Noise of the size of an attack: what any small change does, without the malice."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.attacks.base import AbstractPerturbation, Draws, Found
from layerscope.attacks.budget import L2, wide
from layerscope.network import Network
from layerscope.types import Inputs, Labels, PerSample

HALVINGS, NEAR = 60, 1e-10
"""Of the scale at which a clipped direction has the length wanted, and the relative gap at which that is enough."""
ENTRIES = 2**20
"""Of the inputs, that are worked on at once, in double precision."""


@final
@dataclass(frozen=True)
class Noise(AbstractPerturbation):
    """The whole budget at random, then clipped to the bounds.

    Under `linf`, every entry goes up or down by the budget; under `l2`, the change has a random direction.
    """

    aimless: ClassVar[bool] = True

    def run(self, network: Network, inputs: Inputs, labels: Labels, draws: Draws) -> Found:  # noqa: ARG002 - family
        """One random sign per entry, or one random direction per sample."""
        if self.budget.norm == "linf":
            return Found(inputs + self.budget.size * draws.uniform().sign())
        return Found(inputs + self.budget.size * L2().steepest(draws.normal()))


@final
@dataclass(frozen=True)
class Uniform(AbstractPerturbation):
    """Uniform in the budget's ball, then clipped to the bounds."""

    aimless: ClassVar[bool] = True

    def run(self, network: Network, inputs: Inputs, labels: Labels, draws: Draws) -> Found:  # noqa: ARG002 - family
        """One draw per sample."""
        radius = inputs.new_full((len(inputs),), self.budget.size)
        return Found(inputs + self.budget.geometry.start(draws.uniform, draws.normal, radius))


def matched_noise(
    inputs: Inputs, sizes: PerSample, lengths: PerSample, norm: str, bounds: tuple[float, float], draws: Draws
) -> Inputs:
    """Inputs changed at random by as much as an attack changed them: the control that stands beside it.

    Under `linf`, entries go up or down by the attack's largest change, each in a random direction (where the bounds
    forbid the one, in the other), and as many entries are changed, picked at random, as give the change the attack's
    Euclidean length, too: both norms are the attack's. Under `l2`, the change has a random direction, scaled so that
    what is left of it inside the bounds has the attack's length; where the bounds leave too little room that way,
    random entries are turned to the roomier side.

    Args:
        inputs: (n, ...), clean.
        sizes: (n,): the attack's linf norm of each sample's change.
        lengths: (n,): its l2 norm.
        norm: of the attack's budget: `linf` or `l2`.
        bounds: of the inputs.
        draws: of these samples.

    Returns:
        (n, ...), inside the bounds, with the attack's norm to floating-point precision.
    """
    sizes, lengths = (values.double().to(inputs.device) for values in (sizes, lengths))
    found = torch.empty_like(inputs)
    for rows in torch.arange(len(inputs)).split(max(1, ENTRIES // inputs[0].numel())):
        precise, some = inputs[rows].double(), draws.rows(rows)
        if norm == "linf":
            change = _signs(precise, sizes[rows], lengths[rows], bounds, some, torch.finfo(inputs.dtype).eps)
        else:
            change = _direction(precise, lengths[rows], bounds, some)
        found[rows] = (precise + change).clamp(*bounds).to(inputs.dtype)
    return found


def _signs(
    inputs: Float[Tensor, "n ..."], sizes: PerSample, lengths: PerSample, bounds: tuple[float, float], draws: Draws,
    rounding: float,
) -> Float[Tensor, "n ..."]:  # fmt: skip
    """Random signs of one size on as many random entries as give the length; the last entry by what is left.

    Room that falls short of the size by the inputs' relative rounding is enough: the attack's own entry had no more.
    """
    low, high = bounds
    limit = wide(sizes, inputs)
    enough = torch.maximum(limit - rounding * (inputs.abs() + limit), limit / 2)
    up, down = torch.minimum(high - inputs, limit), torch.minimum(inputs - low, limit)
    drawn = draws.uniform().double()
    upward = drawn >= 0
    full = torch.where(upward, up, down) >= enough
    upward = torch.where(full, upward, up >= down)
    reach = (torch.where(upward, up, down) * (drawn != 0)).flatten(1)  # a draw of 0: an entry that must not change
    # entries with the whole size come first, so that the largest change is the attack's own
    order = (draws.uniform(1).double().flatten(1) - 4.0 * (reach >= enough.flatten(1))).argsort(1)
    ordered = reach.gather(1, order).square()
    before = ordered.cumsum(1) - ordered
    taken = (lengths.square()[:, None] - before).clamp_min(0).minimum(ordered).sqrt()
    change = torch.zeros_like(reach).scatter(1, order, taken).view_as(inputs)
    return torch.where(upward, change, -change)


def _with_room(
    direction: Float[Tensor, "n ..."], inputs: Float[Tensor, "n ..."], lengths: PerSample, bounds: tuple[float, float],
    draws: Draws,
) -> Float[Tensor, "n ..."]:  # fmt: skip
    """Directions with room for changes of such lengths: where they lack it, random entries go to the roomier side."""
    low, high = bounds
    up, down = (high - inputs).square(), (inputs - low).square()
    free = direction != 0
    there, back = torch.where(direction > 0, up, down) * free, torch.where(direction > 0, down, up) * free
    gain = (back - there).nan_to_num(0.0).clamp_min(0).flatten(1)  # without bounds, infinity less infinity
    order = draws.uniform(1).flatten(1).argsort(1)
    ordered = gain.gather(1, order)
    missing = lengths.square() - there.nan_to_num(0.0, posinf=torch.inf).flatten(1).sum(1)
    turned = (ordered > 0) & (ordered.cumsum(1) - ordered < missing[:, None])
    return torch.where(torch.zeros_like(turned).scatter(1, order, turned).view_as(direction), -direction, direction)


def _direction(
    inputs: Float[Tensor, "n ..."], lengths: PerSample, bounds: tuple[float, float], draws: Draws
) -> Float[Tensor, "n ..."]:
    """A random direction with room, so long that it has the length after it is clipped to the bounds."""
    low, high = bounds
    direction = draws.normal().double()
    # where an entry can't go the one way, it goes the other: no length is lost at the bounds
    direction = torch.where(
        (inputs >= high) & (direction > 0) | (inputs <= low) & (direction < 0), -direction, direction
    )
    direction = _with_room(direction, inputs, lengths, bounds, draws)
    unit = direction / wide(L2().of(direction), direction)

    def clipped(scale: PerSample) -> Float[Tensor, "n ..."]:
        return (inputs + wide(scale, unit) * unit).clamp(low, high) - inputs

    least, most = lengths.clone(), lengths.clone()
    for _ in range(HALVINGS):
        short = L2().of(clipped(most)) < lengths
        if not short.any():
            break
        most = torch.where(short, 2 * most, most)
    for _ in range(HALVINGS):
        if bool((most - least <= NEAR * most).all()):
            break
        middle = (least + most) / 2
        short = L2().of(clipped(middle)) < lengths
        least, most = torch.where(short, middle, least), torch.where(short, most, middle)
    return clipped(most)
