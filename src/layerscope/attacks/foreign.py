"""Other libraries' attacks, under the same promises."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from layerscope.attacks.base import AbstractPerturbation, Draws, Found
from layerscope.attacks.budget import slack
from layerscope.network import Network
from layerscope.types import Inputs, Labels

Search = Callable[[Network, Inputs, Labels], Inputs]


@final
@dataclass(frozen=True)
class Foreign(AbstractPerturbation):
    """Any callable `(network, inputs, labels) -> inputs`, held to a budget.

    What it returns is checked and not mended: an attack that oversteps its budget or the bounds is refused, since its
    success would be another's. Its randomness is its own; torch's generator is seeded for it and put back.
    """

    foreign: ClassVar[bool] = True

    search: Search
    """The attack. `network` maps inputs in the bounds to logits; libraries that want a module take
    `network.as_module()`."""

    def run(self, network: Network, inputs: Inputs, labels: Labels, draws: Draws) -> Found:
        """Call it, and see that it kept to the budget."""
        with torch.random.fork_rng(devices=[network.device] if network.device.type == "cuda" else []):
            torch.manual_seed(draws.seed)
            with torch.enable_grad():
                found = self.search(network, inputs.clone(), labels.clone())
        if not isinstance(found, torch.Tensor) or found.shape != inputs.shape:
            shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise ValueError(f"The attack must return inputs of shape {tuple(inputs.shape)}; it returned {shape}.")
        found = found.detach().to(inputs)
        low, high = network.bounds
        room = slack(self.budget.size, network.bounds)
        if found.min() < low - room or found.max() > high + room:
            raise ValueError(
                f"The attack must stay in the network's bounds [{low:g}, {high:g}]; it returned values from "
                f"{found.min():g} to {found.max():g}. Tell it the bounds."
            )
        largest = float(self.budget.geometry.of(found - inputs).max())
        if largest > self.budget.size + room:
            raise ValueError(
                f"The attack must stay in its budget, `{self.budget.norm}` {self.budget.size:g}; it changed an input "
                f"by {largest:g}. Give it the same budget in input space, where pixels go from {low:g} to {high:g}: "
                "the usual mistake is a budget after normalisation."
            )
        return Found(found)
