"""From an input to its place on a layer's map, with gradients: what attribution and inversion differentiate."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.layers import INPUT, LOGITS, Layer
from layerscope.layouts import Output
from layerscope.network import Network
from layerscope.recorder import WHOLE_INPUT
from layerscope.reductions import Flatten, PerSampleReduction, Sketch, parse_reduction
from layerscope.som import Map
from layerscope.types import Flags, PerSample, Samples, Units, Vectors

FLOOR = 1e-12
"""Added to squared distances, so that their root has a gradient at 0."""


@dataclass(frozen=True)
class Coder:
    """The network up to a layer, the layer's reduction, and its map, as one differentiable function of the input.

    Raises:
        ValueError: if the reduction gives several vectors per sample, so that an input has no code of its own.
    """

    network: Network
    layer: Layer
    fitted: Map
    spread: float
    """Root mean square distance of the recorded vectors to their mean, in the map's scaled space: the unit of residuals
    and margins."""

    def __post_init__(self) -> None:
        if not isinstance(parse_reduction(self.layer.reduction), PerSampleReduction):
            raise ValueError(
                f"`layer` '{self.layer}' has several vectors per sample, so that no input has a code of its own there, "
                "and none can be inverted or attributed; decode it under `mean`, `flatten`, `sketch:SIZE` or `cls`. "
                "Exemplars are there for every reduction."
            )

    def vectors(self, samples: Samples) -> Vectors:
        """(n, d): the samples' vectors in the map's scaled space. Gradients flow."""
        return (self._reduced(samples) - self.fitted.offset) / self.fitted.scale

    def distances(self, samples: Samples) -> Float[Tensor, "n k"]:
        """From each sample to each prototype, in spreads. Gradients flow."""
        return self._apart(self.vectors(samples))

    def margins(self, samples: Samples, units: Units) -> PerSample:
        """How far each sample is inside the cell of a unit, in spreads. Gradients flow.

        The distance to the nearest other unit less that to its own; below 0 where another unit is nearer.

        Args:
            samples: a batch.
            units: (n,), whose margin is asked for.
        """
        apart = self.distances(samples)
        others = apart.scatter(1, units[:, None], torch.inf).amin(1)
        return others - apart.gather(1, units[:, None])[:, 0]

    def residuals(self, samples: Samples, units: Units) -> PerSample:
        """From each sample to the prototype beside it, in spreads. Gradients flow."""
        away = self.vectors(samples) - self.fitted.prototypes[units]
        return (away.square().sum(1) + FLOOR).sqrt() / self.spread

    def codes(self, samples: Samples) -> Units:
        """(n,): the samples' codes."""
        with torch.no_grad():
            return self.fitted.best(self._reduced(samples)).unit

    def near(self, one: Units, other: Units) -> Flags:
        """(n,): whether units are the same or touch on the grid."""
        return (one == other) | self.fitted.grid.touch(one, other)

    def _reduced(self, samples: Samples) -> Vectors:
        """(n, d): what the layer says, as a recording holds it."""
        found: list[Tensor] = []
        reduce = parse_reduction(self.layer.reduction)
        assert isinstance(reduce, PerSampleReduction)

        def keep(_: str, output: Output) -> None:
            tensor = output.tensor
            found.append(reduce(output if tensor.is_floating_point() else output._replace(tensor=tensor.float())))

        if self.layer.name == INPUT:
            assert isinstance(samples, Tensor)
            whole = samples[0].numel() <= WHOLE_INPUT and not isinstance(reduce, Sketch)
            found.append(
                (Flatten() if whole else reduce if isinstance(reduce, Sketch) else Sketch(512))(Output(samples, 1))
            )
        elif self.layer.name == LOGITS:
            found.append(reduce(Output(self.network(samples), -1)))
        else:
            self.network.watch(samples, [self.layer.name], keep, logits=False)
        return found[0].float().to(self.fitted.offset.device)

    def _apart(self, vectors: Vectors) -> Float[Tensor, "n k"]:
        prototypes = self.fitted.prototypes
        squares = vectors.square().sum(1, keepdim=True) + prototypes.square().sum(1) - 2 * vectors @ prototypes.T
        return (squares.clamp_min(0) + FLOOR).sqrt() / self.spread


def spread_of(vectors: Vectors, fitted: Map) -> float:
    """Root mean square distance of vectors to their mean, in a map's scaled space; 1 where all are equal."""
    scaled = fitted.scaled(vectors).double()
    found = float((scaled - scaled.mean(0)).square().sum(1).mean().sqrt())
    return found or 1.0


@contextmanager
def weights_held(network: Network) -> Iterator[None]:
    """No parameter asks for a gradient inside: that saves the backward pass through the weights."""
    asking = [parameter for parameter in network.module.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)
