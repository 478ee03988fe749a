"""How large a change is: the two norms, and the geometry that attacks need of each."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.types import Inputs, PerSample

ROUNDING = 1e-5
"""Of the budget, and of the inputs' range: how far floating point may overstep before it is called a breach."""
TINY = 1e-20
"""Keeps a division by a gradient of 0 from being one by 0."""

Draw = Callable[[], Inputs]
"""Draws one number for each of the inputs' entries."""


class AbstractNorm(ABC):
    """The size of a change, sample by sample; every tensor is (n, ...)."""

    @abstractmethod
    def of(self, change: Inputs) -> PerSample:
        """(n,): the norm of each sample's change."""

    @abstractmethod
    def dual(self, gradient: Inputs) -> PerSample:
        """(n,): how fast the steepest change of size 1 climbs the gradient."""

    @abstractmethod
    def steepest(self, gradient: Inputs) -> Inputs:
        """The change of size 1 that climbs the gradient fastest; 0 where the gradient is."""

    @abstractmethod
    def project(self, change: Inputs, radius: PerSample) -> Inputs:
        """The nearest change that is no larger than `radius`."""

    def region(self, inputs: Inputs, radius: PerSample, bounds: tuple[float, float]) -> Callable[[Inputs], Inputs]:
        """What puts inputs near the originals: clipped to the bounds first, then drawn into the ball, inside both.

        Under `l2` the other order would spend the radius on entries that the bounds cut off: of images that are largely
        black or white, most of it.
        """
        return lambda moved: inside(moved.clamp(*bounds), inputs, self, radius, bounds)

    @abstractmethod
    def start(self, uniform: Draw, normal: Draw, radius: PerSample) -> Inputs:
        """Uniform in the ball of `radius`, from what it draws of the two distributions."""

    @abstractmethod
    def surface(self, uniform: Draw, normal: Draw) -> Inputs:
        """A random change of size 1, from what it draws of the two distributions."""


@final
class Linf(AbstractNorm):
    """The largest entry of the change."""

    def of(self, change: Inputs) -> PerSample:
        """Largest absolute entry."""
        return change.abs().flatten(1).amax(1)

    def dual(self, gradient: Inputs) -> PerSample:
        """The l1 norm."""
        return gradient.abs().flatten(1).sum(1)

    def steepest(self, gradient: Inputs) -> Inputs:
        """The sign of each entry."""
        return gradient.sign()

    def project(self, change: Inputs, radius: PerSample) -> Inputs:
        """Each entry clipped."""
        limit = wide(radius, change)
        return torch.maximum(torch.minimum(change, limit), -limit)

    def region(self, inputs: Inputs, radius: PerSample, bounds: tuple[float, float]) -> Callable[[Inputs], Inputs]:
        """The same at once, since the ball is a box as the bounds are."""
        limit, (low, high) = wide(radius, inputs), bounds
        least, most = (inputs - limit).clamp_min(low), (inputs + limit).clamp_max(high)
        return lambda moved: moved.clamp(least, most)

    def start(self, uniform: Draw, normal: Draw, radius: PerSample) -> Inputs:  # noqa: ARG002 - family
        """Uniform in the cube."""
        drawn = uniform()
        return drawn * wide(radius, drawn)

    def surface(self, uniform: Draw, normal: Draw) -> Inputs:  # noqa: ARG002 - family
        """On the cube's surface."""
        drawn = uniform()
        return drawn / wide(self.of(drawn), drawn)


@final
class L2(AbstractNorm):
    """The Euclidean length of the change."""

    def of(self, change: Inputs) -> PerSample:
        """Root of the sum of squares."""
        return change.flatten(1).norm(dim=1)

    def dual(self, gradient: Inputs) -> PerSample:
        """The l2 norm."""
        return gradient.flatten(1).norm(dim=1)

    def steepest(self, gradient: Inputs) -> Inputs:
        """The gradient's direction."""
        return gradient / wide(self.of(gradient).clamp_min(TINY), gradient)

    def project(self, change: Inputs, radius: PerSample) -> Inputs:
        """Scaled down to the sphere."""
        return change * wide((radius / self.of(change).clamp_min(TINY)).clamp_max(1), change)

    def start(self, uniform: Draw, normal: Draw, radius: PerSample) -> Inputs:
        """Uniform in the ball: a random direction, a share of the radius."""
        direction, drawn = self.steepest(normal()), uniform().flatten(1)
        entries = drawn != 0  # the others, such as padding, are not drawn
        first = drawn.gather(1, entries.int().argmax(1, keepdim=True))[:, 0]
        share = ((first + 1) / 2) ** (1 / entries.sum(1).clamp_min(1))
        return direction * wide(share * radius, direction)

    def surface(self, uniform: Draw, normal: Draw) -> Inputs:  # noqa: ARG002 - family
        """On the sphere."""
        return self.steepest(normal())


NORMS: dict[str, AbstractNorm] = {"linf": Linf(), "l2": L2()}


@dataclass(frozen=True)
class Budget:
    """How large a change may be, in input space.

    Raises:
        ValueError: if the norm is not known, or the size is negative or NaN.
    """

    norm: str
    """`linf` or `l2`."""
    size: float = inf
    """The largest change allowed; infinite where the smallest that is enough is looked for."""

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"`norm` must be one of {', '.join(NORMS)}; got {self.norm!r}.")
        if not self.size >= 0:
            raise ValueError(f"`{self.norm}` must be a number, 0 or more; got {self.size:g}.")

    @property
    def geometry(self) -> AbstractNorm:
        """The norm's geometry."""
        return NORMS[self.norm]

    def widest(self, bounds: tuple[float, float], entries: int) -> float:
        """The largest change that there is inside the bounds, of inputs with so many entries."""
        width = bounds[1] - bounds[0]
        return width if self.norm == "linf" else width * entries**0.5


def slack(size: float, bounds: tuple[float, float]) -> float:
    """How far floating point may overstep a budget inside these bounds."""
    width = bounds[1] - bounds[0]
    return ROUNDING * (size if isfinite(size) else 0.0) + 0.1 * ROUNDING * (width if isfinite(width) else 1.0)


def wide(values: PerSample, like: Inputs) -> Float[Tensor, "n ..."]:
    """One number a sample, shaped so that it multiplies inputs."""
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def inside(found: Inputs, inputs: Inputs, norm: AbstractNorm, radius: PerSample, bounds: tuple[float, float]) -> Inputs:
    """Inputs inside the bounds and no farther than `radius` from the originals, near to what was found.

    Clipping to the bounds after projecting onto the ball never leaves the ball, since the originals are in bounds.
    """
    low, high = bounds
    return (inputs + norm.project(found - inputs, radius)).clamp(low, high)
