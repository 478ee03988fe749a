"""What every perturbation is: a budgeted search, wrapped in one checked call."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch

from layerscope.network import Network
from layerscope.types import Flags, Inputs, Labels


class Attacked(NamedTuple):
    """Perturbed inputs."""

    inputs: Inputs
    """(n, ...): inside budget and bounds."""
    success: Flags
    """(n,): whether the network's answer to them is not the label."""


@dataclass(frozen=True)
class AbstractPerturbation(ABC):
    """Members are final and write `run` alone; the promises of `__call__` hold for all of them."""

    epsilon: float
    """Budget: the largest l-infinity distance between a perturbed input and its original, in input space."""

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < float("inf"):
            raise ValueError(f"`linf` must be a finite number, 0 or more; got {self.epsilon:g}.")

    @abstractmethod
    def run(self, network: Network, inputs: Inputs, labels: Labels, noise: Inputs) -> Inputs:
        """Search. May overstep budget and bounds: the caller projects.

        Args:
            network: the network.
            inputs: (n, ...), in its bounds.
            labels: (n,): the answers to be changed.
            noise: (n, ...), uniform in [-1, 1): all the randomness there is.
        """

    @final
    def __call__(
        self, network: Network, inputs: Inputs, labels: Labels, *, ids: Sequence[int] | None = None, seed: int = 0
    ) -> Attacked:
        """Perturb `inputs`; what comes back is inside the budget and inside `network.bounds`.

        Args:
            network: the network.
            inputs: (n, ...), in its bounds.
            labels: (n,): the answers to be changed.
            ids: of the samples, which with `seed` decide their noise, so that a sample's does not depend on its batch;
                by default 0, 1, 2, ...
            seed: of the noise.

        Raises:
            ValueError: if inputs lie outside the bounds, or the budget is wider than they are.
        """
        low, high = network.bounds
        if inputs.min() < low or inputs.max() > high:
            raise ValueError(
                f"`inputs` must lie in the network's bounds [{low:g}, {high:g}]; got values from {inputs.min():g} to "
                f"{inputs.max():g}. Budgets are in input space: attack before normalisation, never after."
            )
        if self.epsilon > high - low:
            raise ValueError(
                f"`linf` {self.epsilon:g} is wider than the network's bounds [{low:g}, {high:g}], so that any input "
                "becomes any other; give a budget in input space, such as 8/255."
            )
        inputs, labels = inputs.to(network.device), labels.to(network.device)
        noise = _noise(inputs, range(len(inputs)) if ids is None else ids, seed)
        found = self.run(network, inputs, labels, noise).detach()
        found = project(found, inputs, self.epsilon, network)
        with torch.no_grad():
            success = network(found).argmax(1) != labels
        return Attacked(found, success)


def project(found: Inputs, inputs: Inputs, epsilon: float, network: Network) -> Inputs:
    """The nearest inputs inside the budget around `inputs` and inside the network's bounds."""
    low, high = network.bounds
    lowest, highest = (inputs - epsilon).clamp_min(low), (inputs + epsilon).clamp_max(high)
    return torch.minimum(torch.maximum(found, lowest), highest)


def _noise(inputs: Inputs, ids: Sequence[int], seed: int) -> Inputs:
    """Uniform in [-1, 1), each sample's from its id and the seed alone."""
    drawn = []
    for sample in ids:
        generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + int(sample)) % 2**63)
        drawn.append(torch.rand(inputs.shape[1:], generator=generator))
    return (2 * torch.stack(drawn) - 1).to(inputs)
