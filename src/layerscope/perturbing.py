"""What changes samples on their way into a recording: attacks, the noise that is matched to them, and a small step."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from layerscope.attacks import AbstractPerturbation, Budget, Draws, Noise, matched_noise
from layerscope.data import Batch, Data
from layerscope.embeddings import attackable
from layerscope.network import Network
from layerscope.types import Samples

STEP, PROBED = 1 / 255, 250
"""Of the inputs' range: small enough to stay near, large beside rounding; and the samples that tell a deviation."""


@dataclass(frozen=True)
class Attacking:
    """A perturbation as a recording needs it. Where the data have no labels, the network's own answers are attacked."""

    perturbation: AbstractPerturbation
    seed: int

    def __call__(self, network: Network, batch: Batch) -> Samples:
        """The batch's inputs, perturbed."""
        (asked, inputs), labels = attackable(network, batch.inputs), batch.labels
        if labels is None:
            with torch.no_grad():
                labels = network(batch.inputs).argmax(1)
        return asked.samples(self.perturbation(asked, inputs, labels, ids=batch.ids.tolist(), seed=self.seed).inputs)


@dataclass(frozen=True)
class Matching:
    """Noise that changes each sample by as much as an attack did: its control."""

    norm: str
    ids: Tensor
    sizes: Mapping[str, Tensor]
    """Of the attack, by norm, as its recording holds them."""
    seed: int

    def __call__(self, network: Network, batch: Batch) -> Samples:
        """The batch's inputs, changed at random."""
        asked, inputs = attackable(network, batch.inputs)
        place = {sample: row for row, sample in enumerate(self.ids.tolist())}
        rows = torch.tensor([place[sample] for sample in batch.ids.tolist()])
        # a stream of its own: with the attack's draws, noise would go the way that the attack started
        draws = Draws(inputs, batch.ids.tolist(), self.seed, stream="control", support=asked.support(inputs))
        linf, l2 = (self.sizes[norm][rows] for norm in ("linf", "l2"))
        return asked.samples(matched_noise(inputs, linf, l2, self.norm, asked.bounds, draws))


def small_step(network: Network, data: Data, *, seed: int) -> Attacking:
    """Noise of a 255th of the inputs' range, or of their deviation where they have no bounds."""
    low, high = network.bounds
    size = STEP * (high - low)
    if not isfinite(size):
        inputs = data.take(data.rows[:PROBED]).inputs
        assert isinstance(inputs, Tensor)
        size = STEP * float(inputs.double().std())
    return Attacking(Noise(Budget("linf", size)), seed)
