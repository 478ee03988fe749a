"""Noise of the size of an attack: what any small change does, without the malice."""

from dataclasses import dataclass
from typing import final

import torch

from layerscope.attacks.base import AbstractPerturbation
from layerscope.network import Network
from layerscope.types import Inputs, Labels


@final
@dataclass(frozen=True)
class Noise(AbstractPerturbation):
    """Every entry moved by the whole budget, up or down at random; then clipped to the bounds.

    An l-infinity attack, too, ends with most entries at plus or minus its budget, so the two have the same
    l-infinity norm and nearly the same l2 norm; only the signs carry no intent.
    """

    def run(self, network: Network, inputs: Inputs, labels: Labels, noise: Inputs) -> Inputs:  # noqa: ARG002 - family
        """One random sign per entry."""
        return inputs + self.epsilon * torch.where(noise < 0, -1.0, 1.0)
