"""The smallest perturbation that changes an answer, sample by sample."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import final

import torch
from torch import Tensor

from layerscope.attacks.base import AbstractPerturbation, Draws, Found
from layerscope.attacks.budget import TINY, wide
from layerscope.attacks.gradient import ascend, check_steps
from layerscope.attacks.losses import AWAY, PAST, SECOND, Aim, margin_loss, slope
from layerscope.network import Network
from layerscope.types import Flags, Inputs, Labels, Logits, PerSample

RIVALS = 10
"""Classes, the likeliest, among which the one with the nearest boundary is looked for."""
SHRINK, STRIDE = (0.05, 0.0001), (1.0, 0.01)
"""Of FMN, first and last: by how much the ball grows and shrinks, and the step, in radii of it."""
DOUBLINGS = 30
"""Of the budget that the gradients at the original say is enough, before a sample is given up."""
CLEAR = 16
"""Roundings of the largest logit by which an answer must be wrong to count: in another batch, sums round otherwise."""
ALONG = 12
"""Halvings of the way from what was found back to the original."""


@final
@dataclass(frozen=True)
class FMN(AbstractPerturbation):
    """Fast minimum-norm attack (Pintor et al. 2021, arXiv:2102.12827, algorithm 1), from two starts.

    The ball shrinks where the network is fooled and grows where it is not, while the margin is climbed inside it. It is
    run against whichever class comes second, and again toward the class whose boundary is nearest by the gradients at
    the original (Moosavi-Dezfooli et al. 2016, DeepFool); the smaller change stands, drawn back along the line to the
    original as far as the network stays fooled. Where none is found, the original comes back, and is no success.

    Raises:
        ValueError: if `steps` is below 1.
    """

    steps: int = 100
    """Of each start."""

    def __post_init__(self) -> None:
        check_steps(self.steps)

    @property
    def climbs(self) -> Callable[[Logits, Labels], PerSample]:
        """The margin of the best other logit."""
        return SECOND.loss

    def run(self, network: Network, inputs: Inputs, labels: Labels, draws: Draws) -> Found:  # noqa: ARG002 - family
        """Search from both starts."""
        best, sizes = self._search(network, inputs, labels, SECOND)
        second, nearest = _rivals(network, inputs, labels, self.budget.geometry.dual)
        rows = (second != nearest).nonzero()[:, 0]
        if len(rows):
            found, others = self._search(
                network.rows(rows), inputs[rows], torch.stack([labels, nearest], 1)[rows], PAST
            )
            better = others < sizes[rows]
            best[rows[better]] = found[better]
        return Found(_drawn_back(network, inputs, labels, best))

    def _search(self, network: Network, inputs: Inputs, aims: Tensor, aim: Aim) -> tuple[Inputs, PerSample]:
        """One start: the nearest input found that is answered wrong, and how far it is; infinite where none was."""
        norm = self.budget.geometry
        widest = min(self.budget.size, self.budget.widest(network.bounds, inputs[0].numel()))
        place, best = inputs.clone(), inputs.clone()
        sizes = inputs.new_full((len(inputs),), torch.inf)
        # where two classes tie, the margin says that no step is needed: the least of steps tells them apart
        least = 1e-6 * norm.of(inputs).clamp(TINY, widest)
        radius = torch.zeros_like(sizes)
        for step in range(self.steps + 1):
            here = slope(network, place, aims, aim.loss)
            wrong = _clearly_wrong(here.logits, aims if aims.ndim == 1 else aims[:, 0])
            change = norm.of(place - inputs)
            closer = wrong & (change < sizes)
            best[closer], sizes[closer] = place[closer], change[closer]
            if step == self.steps:
                break
            shrink, stride = (_annealed(*ends, step / self.steps) for ends in (SHRINK, STRIDE))
            reach = change + here.losses.neg().clamp_min(0) / norm.dual(here.gradient).clamp_min(TINY)
            # always beyond the ball before, too: where the bounds cut steps off, `reach` alone would come to a stand
            grown = torch.where(sizes.isfinite(), radius, torch.maximum(torch.maximum(radius, reach), least)) * (
                1 + shrink
            )
            radius = torch.where(wrong, torch.minimum(radius, sizes) * (1 - shrink), grown).clamp_max(widest)
            moved = place + wide(stride * radius, place) * norm.steepest(here.gradient)
            place = norm.region(inputs, radius, network.bounds)(moved)
        return best, sizes


@final
@dataclass(frozen=True)
class Bisected(AbstractPerturbation):
    """The smallest budget, by halving, within which PGD fools the network: slower than `FMN`, and a check on it.

    Where none is found, the original comes back, and is no success.

    Raises:
        ValueError: if `steps` or `halvings` is below 1.
    """

    steps: int = 20
    """Of each ascent; see `PGD`."""
    halvings: int = 10
    """Of the budget, once one is known that is enough."""

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if self.halvings < 1:
            raise ValueError(f"`halvings` must be at least 1; got {self.halvings}.")

    @property
    def climbs(self) -> Callable[[Logits, Labels], PerSample]:
        """The margin of the best other logit."""
        return SECOND.loss

    def run(self, network: Network, inputs: Inputs, labels: Labels, draws: Draws) -> Found:
        """Double the budget until it is enough, then halve the gap."""
        norm = self.budget.geometry
        widest = min(self.budget.size, self.budget.widest(network.bounds, inputs[0].numel()))
        first = slope(network, inputs, labels, SECOND.loss)
        start = first.losses.neg().clamp_min(0) / norm.dual(first.gradient).clamp_min(TINY)
        least = torch.zeros_like(start)
        most = torch.maximum(start, 1e-6 * norm.of(inputs).clamp_min(TINY)).clamp_max(widest)
        best, enough = inputs.clone(), first.losses > 0
        aims = torch.stack([labels, _rivals(network, inputs, labels, norm.dual)[1]], 1)
        most[enough] = 0
        for _ in range(DOUBLINGS):
            self._try(network, inputs, aims, draws, most, best, enough)
            if bool((enough | (most >= widest)).all()):
                break
            least = torch.where(enough, least, most)
            most = torch.where(enough, most, 2 * most).clamp_max(widest)
        for _ in range(self.halvings):
            middle = (least + torch.minimum(most, norm.of(best - inputs))) / 2
            fooled = ~enough
            self._try(network, inputs, aims, draws, middle, best, fooled)
            hit = fooled & enough
            least, most = torch.where(hit, least, middle), torch.where(hit, middle, most)
        return Found(_drawn_back(network, inputs, labels, best))

    def _try(
        self, network: Network, inputs: Inputs, aims: Tensor, draws: Draws, radius: PerSample, best: Inputs,
        fooled: Flags,
    ) -> None:  # fmt: skip
        """PGD in these balls on the samples that are not fooled: past the nearest boundary, then from a random start.

        What is found goes into `best` and `fooled`.
        """
        norm = self.budget.geometry
        for aim in (PAST, AWAY):
            left = (~fooled).nonzero()[:, 0]
            if not len(left):
                return
            start, own, some = inputs[left], aims[left], draws.rows(left)
            if aim is AWAY:
                start, own = start + norm.start(some.uniform, some.normal, radius[left]), own[:, 0]
            found, hit = ascend(
                network.rows(left), inputs[left], own, start, norm, radius[left], self.steps, aim=aim, stop=True
            )
            with torch.no_grad():
                hit &= _clearly_wrong(network.rows(left)(found), aims[left, 0])
            best[left[hit]], fooled[left[hit]] = found[hit], True


def _rivals(
    network: Network, inputs: Inputs, labels: Labels, dual: Callable[[Inputs], PerSample]
) -> tuple[Labels, Labels]:
    """The likeliest class but the label, and, of the ten likeliest, that with the least margin over its slope."""
    inputs = inputs.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = network(inputs)
        own = logits.gather(1, labels[:, None])
        order = logits.detach().scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
        order = order[:, : min(RIVALS, logits.shape[1] - 1)]
        margins = (own - logits.gather(1, order)).unbind(1)
    distances = []
    for place, margin in enumerate(margins):
        (gradient,) = torch.autograd.grad(
            margin, inputs, torch.ones_like(margin), retain_graph=place + 1 < len(margins)
        )
        distances.append(margin.detach().clamp_min(0) / dual(gradient).clamp_min(TINY))
    nearest = torch.stack(distances, 1).argmin(1)
    return order[:, 0], order.gather(1, nearest[:, None])[:, 0]


def _clearly_wrong(logits: Logits, labels: Labels) -> Flags:
    """Whether answers are wrong by more than what rounding could turn around."""
    rounding = min(torch.finfo(dtype).eps for dtype in (logits.dtype, torch.float32))  # half precision has real ties
    return margin_loss(logits, labels) > CLEAR * rounding * logits.abs().amax(1)


def _drawn_back(network: Network, inputs: Inputs, labels: Labels, found: Inputs) -> Inputs:
    """Along the line to the original as far as the network stays fooled; the original where it never was."""
    with torch.no_grad():
        fooled = _clearly_wrong(network(found), labels)
        least, most = (torch.full((len(inputs),), share, device=inputs.device).to(inputs) for share in (0.0, 1.0))
        most[network(inputs).argmax(1) != labels] = 0
        for _ in range(ALONG):
            middle = (least + most) / 2
            wrong = _clearly_wrong(network(inputs + wide(middle, inputs) * (found - inputs)), labels)
            least, most = torch.where(wrong, least, middle), torch.where(wrong, middle, most)
        back = inputs + wide(most * fooled, inputs) * (found - inputs)
        still = _clearly_wrong(network(back), labels)
    return torch.where(wide((still | ~fooled).to(inputs.dtype), inputs) > 0, back, found)


def _annealed(first: float, last: float, share: float) -> float:
    """From first to last along half a cosine."""
    return last + (first - last) * (1 + cos(pi * share)) / 2
