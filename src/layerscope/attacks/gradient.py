"""Attacks that follow the loss."""

from dataclasses import dataclass
from typing import final

import torch
from torch.nn.functional import cross_entropy

from layerscope.attacks.base import AbstractPerturbation, project
from layerscope.network import Network
from layerscope.types import Inputs, Labels

STRIDE = 2.5
"""Total length of all steps over the budget: enough to reach its far side from any start, as Madry et al. choose it."""


@final
@dataclass(frozen=True)
class PGD(AbstractPerturbation):
    """Projected gradient ascent on the cross-entropy from a random start (Madry et al. 2018, arXiv:1706.06083).

    Raises:
        ValueError: if `steps` is below 1.
    """

    steps: int = 10
    """Gradient steps, each of 2.5 budgets / steps."""

    def __post_init__(self) -> None:
        AbstractPerturbation.__post_init__(self)
        if self.steps < 1:
            raise ValueError(f"`steps` must be at least 1; got {self.steps}.")

    def run(self, network: Network, inputs: Inputs, labels: Labels, noise: Inputs) -> Inputs:
        """Ascend."""
        found = project(inputs + self.epsilon * noise, inputs, self.epsilon, network)
        for _ in range(self.steps):
            found = found.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(cross_entropy(network(found), labels, reduction="sum"), found)
            found = found.detach() + STRIDE * self.epsilon / self.steps * gradient.sign()
            found = project(found, inputs, self.epsilon, network)
        return found
