"""Attacks that follow the loss."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor

from layerscope.attacks.base import AbstractPerturbation, Draws, Found
from layerscope.attacks.budget import AbstractNorm, wide
from layerscope.attacks.losses import AWAY, TOWARD, Aim, cross_entropy, dlr, slope
from layerscope.network import Network
from layerscope.types import Flags, Inputs, Labels, Logits, PerSample

STRIDE = 2.5
"""Total length of all steps over the budget: enough to reach its far side from any start, as Madry et al. choose it."""
MOMENTUM = 0.75
CLIMBING = 0.75
"""Of APGD: the weight of the new step, and the share of steps that must climb for a stride to stay."""
STOPS = ("end", "fooled")
LOSSES = {"ce": cross_entropy, "dlr": dlr}


@final
@dataclass(frozen=True)
class FGSM(AbstractPerturbation):
    """One step of the whole budget along the sign of the gradient (Goodfellow et al. 2015, arXiv:1412.6572).

    Under `l2`, along the gradient.
    """

    def run(self, network: Network, inputs: Inputs, labels: Labels, draws: Draws) -> Found:  # noqa: ARG002 - family
        """One step."""
        gradient = slope(network, inputs, labels, cross_entropy).gradient
        return Found(inputs + self.budget.size * self.budget.geometry.steepest(gradient))


@final
@dataclass(frozen=True)
class PGD(AbstractPerturbation):
    """Projected gradient ascent on the cross-entropy from a random start (Madry et al. 2018, arXiv:1706.06083).

    What comes back is where the ascent ends, or, where the network answers right there, the last place on the way where
    it did not; of several restarts, the first that fools it.

    Raises:
        ValueError: if an option is out of range; when it runs, if `target` is no class of the network.
    """

    steps: int = 10
    """Gradient steps, each of 2.5 budgets / steps."""
    restarts: int = 1
    """Random starts; later ones are tried on the samples that are not fooled yet."""
    stop: str = "end"
    """`end` takes all steps, as what a perturbation does inside the network is to be seen at full strength; `fooled`
    leaves a sample as soon as it is answered wrong, which is all that robust accuracy asks."""
    target: int | None = None
    """The class that every answer is to become; none for any other than the label."""

    def __post_init__(self) -> None:
        check_steps(self.steps, self.restarts)
        if self.stop not in STOPS:
            raise ValueError(f"`stop` must be one of {', '.join(STOPS)}; got {self.stop!r}.")
        if self.target is not None and self.target < 0:
            raise ValueError(f"`target` must be a class of the network, 0 or more; got {self.target}.")

    def succeeds(self, answers: Labels, labels: Labels) -> Flags:
        """Whether answers are wrong; with a target, whether they are the target."""
        return answers != labels if self.target is None else answers == self.target

    def run(self, network: Network, inputs: Inputs, labels: Labels, draws: Draws) -> Found:
        """Ascend, from each start."""
        norm, radius = self.budget.geometry, inputs.new_full((len(inputs),), self.budget.size)
        found, left = inputs.clone(), torch.arange(len(inputs), device=inputs.device)
        success, aims = torch.zeros_like(labels, dtype=torch.bool), labels
        if self.target is not None:
            with torch.no_grad():
                classes = network.rows(torch.tensor([0]))(inputs[:1]).shape[1]
            if self.target >= classes:
                raise ValueError(f"`target` must be a class of the network, 0 to {classes - 1}; got {self.target}.")
            aims = torch.full_like(labels, self.target)
        for restart in range(self.restarts):
            some = draws.rows(left)
            drawn = norm.start(partial(some.uniform, restart), partial(some.normal, restart), radius[left])
            start = inputs[left] + drawn
            reached, fooled = ascend(
                network.rows(left), inputs[left], aims[left], start, norm, radius[left], self.steps,
                aim=AWAY if self.target is None else TOWARD, stop=self.stop == "fooled",
            )  # fmt: skip
            found[left], success[left] = reached, fooled
            left = left[~fooled]
            if not len(left):
                break
        return Found(found, success)


def ascend(
    network: Network, inputs: Inputs, aims: Tensor, start: Inputs, norm: AbstractNorm, radius: PerSample, steps: int,
    *, aim: Aim = AWAY, stop: bool = False,
) -> tuple[Inputs, Flags]:  # fmt: skip
    """Projected gradient ascent, each sample in a ball of its own.

    Args:
        network: the network.
        inputs: (n, ...), the balls' centres.
        aims: a row for each sample, of what `aim` takes.
        start: (n, ...).
        norm: of the balls.
        radius: (n,): of each.
        steps: of 2.5 radii / steps.
        aim: what is climbed, and when the network is fooled.
        stop: whether a sample is left as soon as it fools.

    Returns:
        Where it ends, or the last place on the way that fooled the network where the end does not; whether it fools.
    """
    stride = STRIDE * radius / steps
    nothing = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
    region = norm.region(inputs, radius, network.bounds)
    ends = region(start)
    kept, fooled, going = ends.clone(), nothing.clone(), torch.arange(len(inputs), device=inputs.device)
    place, own, asked = ends, aims, network
    before, then = ends, nothing
    for _ in range(steps):
        here = slope(asked, place, own, aim.loss)
        now = aim.reached(here.logits.argmax(1), own)
        lost = then & ~now
        kept[going[lost]] = before[lost]
        fooled[going[now]] = True
        before, then, gradient = place, now, here.gradient
        if stop and now.any():
            kept[going[now]] = place[now]
            going = going[~now]
            if not len(going):
                return kept, fooled
            place, own, gradient = place[~now], aims[going], gradient[~now]
            asked, before, then = asked.rows(~now), place, nothing[going]
            region = norm.region(inputs[going], radius[going], network.bounds)
        place = region(norm.steepest(gradient).mul_(wide(stride[going], place)).add_(place))
    with torch.no_grad():
        now = aim.reached(asked(place).argmax(1), own)
    lost = then & ~now
    kept[going[lost]] = before[lost]
    better = now | ~fooled[going]
    kept[going[better]] = place[better]
    fooled[going] |= now
    return kept, fooled


@final
@dataclass(frozen=True)
class APGD(AbstractPerturbation):
    """Auto-PGD (Croce & Hein 2020, arXiv:2003.01690, algorithm 1): momentum, and strides that halve where it stalls.

    Raises:
        ValueError: if an option is out of range; when it runs, if `loss` is `dlr` and classes are fewer than four.
    """

    loss: str = "ce"
    """`ce`, the cross-entropy, or `dlr`, whose scale plays no part."""
    steps: int = 100
    restarts: int = 1
    """Random starts; later ones are tried on the samples that are not fooled yet."""

    def __post_init__(self) -> None:
        check_steps(self.steps, self.restarts)
        if self.loss not in LOSSES:
            raise ValueError(f"`loss` must be one of {', '.join(LOSSES)}; got {self.loss!r}.")

    @property
    def climbs(self) -> Callable[[Logits, Labels], PerSample]:
        """The cross-entropy, or the ratio of logits."""
        return LOSSES[self.loss]

    def run(self, network: Network, inputs: Inputs, labels: Labels, draws: Draws) -> Found:
        """Ascend, from each start."""
        found, left = inputs.clone(), torch.arange(len(inputs), device=inputs.device)
        success = torch.zeros_like(labels, dtype=torch.bool)
        for restart in range(self.restarts):
            some = draws.rows(left)
            reached, fooled = self._ascend(network.rows(left), inputs[left], labels[left], some, restart)
            found[left], success[left] = reached, fooled
            left = left[~fooled]
            if not len(left):
                break
        return Found(found, success)

    def _ascend(
        self, network: Network, inputs: Inputs, labels: Labels, draws: Draws, restart: int
    ) -> tuple[Inputs, Flags]:
        """One start. A sample is left as soon as it is answered wrong."""
        norm, loss = self.budget.geometry, LOSSES[self.loss]
        n = len(inputs)
        radius = inputs.new_full((n,), self.budget.size)
        going = torch.arange(n, device=inputs.device)
        # the start lies on the ball's surface, as in the authors' own code
        place = inputs + self.budget.size * norm.surface(
            partial(draws.uniform, restart), partial(draws.normal, restart)
        )
        place = norm.region(inputs, radius, network.bounds)(place)
        kept, fooled = place.clone(), torch.zeros(n, dtype=torch.bool, device=inputs.device)
        here = slope(network, place, labels, loss)
        stride = 2 * radius
        state = _Climb(
            place, place, place, here.gradient, here.gradient, here.losses, here.losses, stride,
            torch.zeros_like(radius), torch.ones_like(radius, dtype=torch.bool), here.losses,
        )  # fmt: skip
        answers = here.logits.argmax(1)
        checkpoints, last = _checkpoints(self.steps), 0
        for step in range(self.steps):
            now = answers != labels[going]
            kept[going[now]], fooled[going[now]] = state.place[now], True
            if now.any():
                going, state, network = going[~now], state.rows(~now), network.rows(~now)
                if not len(going):
                    return kept, fooled
            if step in checkpoints:
                state = state.checked(step - last)
                last = step
            region = norm.region(inputs[going], radius[going], network.bounds)
            stepped = state.place + wide(state.stride, state.place) * norm.steepest(state.gradient)
            stepped = region(stepped)
            if step:
                momentum = MOMENTUM * (stepped - state.place) + (1 - MOMENTUM) * (state.place - state.before)
                stepped = region(state.place + momentum)
            here = slope(network, stepped, labels[going], loss)
            answers = here.logits.argmax(1)
            state = state.moved(stepped, here.gradient, here.losses)
        now = answers != labels[going]
        kept[going[now]], fooled[going[now]] = state.place[now], True
        kept[going[~now]] = state.best[~now]
        return kept, fooled


@dataclass(frozen=True)
class _Climb:
    """Where each sample's ascent is: every member has one row a sample."""

    place: Inputs
    before: Inputs
    best: Inputs
    gradient: Inputs
    best_gradient: Inputs
    loss: PerSample
    best_loss: PerSample
    stride: PerSample
    climbed: PerSample
    """Steps that raised the loss since the last checkpoint."""
    halved: Flags
    """Whether the stride was halved, or is new, at the last checkpoint."""
    best_then: PerSample
    """The best loss at the last checkpoint."""

    def rows(self, some: Flags) -> "_Climb":
        """Those of some of the samples."""
        return _Climb(*(value[some] for value in vars(self).values()))

    def moved(self, place: Inputs, gradient: Inputs, loss: PerSample) -> "_Climb":
        """After a step."""
        better = loss > self.best_loss
        return _Climb(
            place, self.place,
            _picked(better, place, self.best), gradient, _picked(better, gradient, self.best_gradient), loss,
            torch.where(better, loss, self.best_loss), self.stride,
            self.climbed + (loss > self.loss), self.halved, self.best_then,
        )  # fmt: skip

    def checked(self, steps: int) -> "_Climb":
        """At a checkpoint: a stride that no longer helps is halved, and the ascent goes on from the best place."""
        stalled = self.climbed < CLIMBING * steps
        idle = ~self.halved & (self.best_loss <= self.best_then)
        halve = stalled | idle
        return _Climb(
            _picked(halve, self.best, self.place), self.before, self.best,
            _picked(halve, self.best_gradient, self.gradient), self.best_gradient,
            torch.where(halve, self.best_loss, self.loss), self.best_loss,
            torch.where(halve, self.stride / 2, self.stride), torch.zeros_like(self.climbed), halve, self.best_loss,
        )  # fmt: skip


def _picked(flags: Flags, one: Inputs, other: Inputs) -> Inputs:
    """The one's sample where its flag says so, else the other's."""
    return torch.where(flags.view(-1, *[1] * (one.ndim - 1)), one, other)


def _checkpoints(steps: int) -> set[int]:
    """After which steps strides are looked at: p_1 = 22 %, then p_(j+1) = p_j + max(p_j - p_(j-1) - 3 %, 6 %)."""
    found, share, gap = set(), 0, 22
    while share + gap <= 100:
        share += gap
        found.add(-(-share * steps // 100))  # rounded up
        gap = max(gap - 3, 6)
    return found


def check_steps(steps: int, restarts: int = 1) -> None:
    """Raise ValueError where there is nothing to do."""
    for name, value in (("steps", steps), ("restarts", restarts)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1; got {value}.")
