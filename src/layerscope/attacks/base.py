"""What every perturbation is: a search, wrapped in one checked call."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, NamedTuple, final
from zlib import crc32

import torch
from torch import Tensor, nn

from layerscope.attacks.budget import Budget, inside, slack
from layerscope.attacks.losses import cross_entropy
from layerscope.checks import check_labels
from layerscope.network import Network
from layerscope.store import tensors_digest
from layerscope.types import Flags, Inputs, Labels, Logits, PerSample

ULPS = 4
"""By how many units in the last place a search's own projection may miss the budget."""


class Attacked(NamedTuple):
    """Perturbed inputs."""

    inputs: Any
    """(n, ...): inside budget and bounds. `layerscope.attack` of texts gives their tokens with perturbed embeddings."""
    success: Flags
    """(n,): whether the network's answer to them is not the label; of a targeted attack, whether it is the target."""
    sizes: PerSample
    """(n,): how large each change is, in the budget's norm."""


class Found(NamedTuple):
    """What a search came to."""

    inputs: Inputs
    """(n, ...). May overstep budget and bounds: the caller projects."""
    success: Flags | None = None
    """(n,): whether the network, asked about just these, answered as the search wanted; None if it was not asked."""


class Draws:
    """All the randomness that a perturbation has: each sample's from its id and the seed alone, whatever its batch."""

    def __init__(
        self, inputs: Inputs, ids: Sequence[int], seed: int, *, stream: str = "", support: Tensor | None = None
    ) -> None:
        """Of one purpose, the `stream`: draws of two have nothing in common. Outside `support` all are 0."""
        self._inputs, self._ids, self.seed, self._stream, self._support = inputs, ids, seed, stream, support

    def uniform(self, turn: int = 0) -> Inputs:
        """(n, ...), in [-1, 1); another draw each turn."""
        return self._supported(2 * self._drawn(torch.rand, turn) - 1)

    def normal(self, turn: int = 0) -> Inputs:
        """(n, ...), standard normal; another draw each turn."""
        return self._supported(self._drawn(torch.randn, -1 - turn))

    def _supported(self, drawn: Inputs) -> Inputs:
        return drawn if self._support is None else drawn * self._support

    def rows(self, rows: torch.Tensor) -> "Draws":
        """Those of some of the samples."""
        support = None if self._support is None else self._support[rows]
        ids = [self._ids[row] for row in rows.tolist()]
        return Draws(self._inputs[rows], ids, self.seed, stream=self._stream, support=support)

    def _drawn(self, law: Callable[..., torch.Tensor], turn: int) -> Inputs:
        drawn, purpose, generator = [], crc32(self._stream.encode()) * 0xC2B2AE35, torch.Generator()
        for sample in self._ids:
            state = (self.seed * 0x9E3779B1 + turn * 0x85EBCA6B + int(sample) + purpose) % 2**63
            drawn.append(law(self._inputs.shape[1:], generator=generator.manual_seed(state)))
        return torch.stack(drawn).to(self._inputs)


@dataclass(frozen=True)
class AbstractPerturbation(ABC):
    """Members are final and write `run` alone; the promises of `__call__` hold for all of them."""

    budget: Budget
    """The largest change, in input space."""
    aimless: ClassVar[bool] = False
    """Whether it is noise, which asks the network nothing."""
    foreign: ClassVar[bool] = False
    """Whether the search is another library's, so that nothing is taken on trust."""

    @abstractmethod
    def run(self, network: Network, inputs: Inputs, labels: Labels, draws: Draws) -> Found:
        """Search.

        Args:
            network: the network. Its parameters need no gradient meanwhile.
            inputs: (n, ...), in its bounds.
            labels: (n,): the answers to be changed.
            draws: all the randomness there is.
        """

    @property
    def climbs(self) -> Callable[[Logits, Labels], PerSample]:
        """The loss whose slope it follows."""
        return cross_entropy

    def succeeds(self, answers: Labels, labels: Labels) -> Flags:
        """Whether the network's answers are what the perturbation is after."""
        return answers != labels

    @final
    def check_budget(self, network: Network, inputs: Inputs) -> None:
        """Raise ValueError where the budget is wider than the bounds of such inputs."""
        widest, (low, high) = self.budget.widest(network.bounds, inputs[0].numel()), network.bounds
        if isfinite(self.budget.size) and self.budget.size > widest:
            raise ValueError(
                f"`{self.budget.norm}` {self.budget.size:g} is wider than the network's bounds [{low:g}, {high:g}] "
                f"({widest:g}), so that any input becomes any other; give a budget in input space, such as 8/255."
            )

    @final
    def __call__(
        self, network: Network, inputs: Inputs, labels: Labels, *, ids: Sequence[int] | None = None, seed: int = 0
    ) -> Attacked:
        """Perturb `inputs`; what comes back is inside the budget and inside `network.bounds`.

        The network is left as it was: weights, buffers, gradients, hooks and training flags. A foreign attack that
        changes them is refused.

        Args:
            network: the network.
            inputs: (n, ...), in its bounds.
            labels: (n,): the answers to be changed.
            ids: of the samples, which with `seed` decide their noise, so that a sample's does not depend on its batch;
                by default 0, 1, 2, ...
            seed: of the noise.

        Raises:
            TypeError: if `run` returns anything but `Found`.
            ValueError: if inputs are not finite or lie outside the bounds, labels are no classes of the network, or the
                budget is wider than the bounds; if the network has no gradients where they are needed; if a foreign
                attack oversteps the budget or the bounds, or changes the network.
        """
        if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
            told = f"{labels.dtype} of shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else repr(labels)
            raise ValueError(f"`labels` must be a tensor of one whole number for each of `inputs`; got {told}.")
        if len(inputs) == 0 or len(inputs) != len(labels):
            raise ValueError(
                f"`labels` must hold one class for each of `inputs`, at least one; got {len(inputs)} inputs and "
                f"{len(labels)} labels."
            )
        if inputs.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"`inputs` must be numbers that can change a little, in float32 or float64; got {inputs.dtype}. A "
                "network of another precision takes float32 inputs."
            )
        if not inputs.isfinite().all():
            raise ValueError("`inputs` must be finite; got NaN or infinity. Repair or remove such samples.")
        low, high = network.bounds
        if not (inputs.min() >= low and inputs.max() <= high):
            raise ValueError(
                f"`inputs` must lie in the network's bounds [{low:g}, {high:g}]; got values from {inputs.min():g} to "
                f"{inputs.max():g}. Budgets are in input space: attack before normalisation, never after."
            )
        self.check_budget(network, inputs)
        inputs, labels = inputs.detach().to(network.device), labels.to(network.device).long()
        support = network.support(inputs)
        stream = "noise" if self.aimless else ""
        draws = Draws(inputs, range(len(inputs)) if ids is None else ids, seed, stream=stream, support=support)
        with _untouched(network, by_value=self.foreign):
            with torch.no_grad():
                check_labels(labels, network.rows(torch.tensor([0]))(inputs[:1]).shape[1])
            searched = self.run(network, inputs, labels, draws)
            if not isinstance(searched, Found):
                raise TypeError(f"`run` must return Found(inputs, success); got {type(searched).__name__}.")
            found, success = searched.inputs.detach(), searched.success
            if found.shape != inputs.shape or not found.isfinite().all():
                raise ValueError(
                    f"The attack must return finite inputs of shape {tuple(inputs.shape)}; got shape "
                    f"{tuple(found.shape)}{'' if found.isfinite().all() else ' with NaN or infinity in it'}."
                )
            reached = self._inside(found.to(inputs), inputs, network)
            success = self._asked(network, reached, labels, success, moved=(reached != found).flatten(1).any(1))
        return Attacked(reached, success, self.budget.geometry.of(reached - inputs))

    @torch.no_grad()
    def _asked(self, network: Network, reached: Inputs, labels: Labels, told: Flags | None, *, moved: Flags) -> Flags:
        """Where it succeeds: asked of all inputs, or, where the search told, of those that were moved since."""
        if told is None:
            return self.succeeds(network(reached).argmax(1), labels)
        rows = moved.nonzero()[:, 0]
        if not len(rows):
            return told
        answers = network.rows(rows)(reached[rows]).argmax(1)
        return told.index_copy(0, rows, self.succeeds(answers, labels[rows]))

    def _inside(self, found: Inputs, inputs: Inputs, network: Network) -> Inputs:
        """Projected into budget and bounds, where they are overstepped by more than rounding."""
        norm, size, (low, high) = self.budget.geometry, self.budget.size, network.bounds
        rounding = ULPS * torch.finfo(inputs.dtype).eps * (size + norm.of(inputs))
        rounding = rounding.clamp_max(slack(size, network.bounds))  # a long input's may be wider than the budget
        beyond = norm.of(found - inputs) > size + rounding
        beyond |= ((found < low) | (found > high)).flatten(1).any(1)
        rows = beyond.nonzero()[:, 0]
        if len(rows):
            radius = inputs.new_full((len(rows),), self.budget.size)
            found = found.index_copy(0, rows, inside(found[rows], inputs[rows], norm, radius, network.bounds))
        support = network.support(inputs)
        return found if support is None else torch.where(support, found, inputs)


@contextmanager
def _untouched(network: Network, *, by_value: bool) -> Iterator[None]:
    """No parameter needs a gradient inside; raises ValueError if the network comes out otherwise than it went in.

    `by_value` compares weights by what they hold, too, since what is done to `.data` leaves no trace.
    """
    wanted = [(one, one.requires_grad, one.grad) for one in network.module.parameters()]
    before = _state(network.module, by_value=by_value)
    try:
        for parameter, *_ in wanted:
            parameter.requires_grad_(False)
            parameter.grad = None
        yield
    finally:
        for parameter, needed, gradient in wanted:
            parameter.requires_grad_(needed)
            parameter.grad = gradient
    after = _state(network.module, by_value=by_value)
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    if changed:
        raise ValueError(
            f"The attack must leave the network as it is, but it changed {', '.join(changed[:5])}"
            f"{', ...' if len(changed) > 5 else ''}. Give it a copy of the network to work on."
        )


def _state(module: nn.Module, *, by_value: bool) -> dict[str, tuple[object, ...]]:
    """What an attack must not change, by name. A tensor's version counts what was done to it in place."""
    state: dict[str, tuple[object, ...]] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        digest = tensors_digest({name: tensor}) if by_value else ""
        state[f"the weights of {name!r}"] = (id(tensor), 0 if tensor.is_inference() else tensor._version, digest)  # noqa: SLF001 - documented by autograd's notes
    for name, part in module.named_modules():
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)  # noqa: SLF001 - nothing public lists them
        state[f"the training flag of {name or 'the module'!r}"] = (part.training,)
        state[f"the hooks of {name or 'the module'!r}"] = tuple(tuple(held) for held in hooks)
    return state
