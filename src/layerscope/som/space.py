"""The space a map is trained in: centred, of a moderate size, or on the unit sphere for cosine."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.som.rows import Rows, power_of_two
from layerscope.types import PerSample, Prototypes, Vectors

MODERATE = (2.0**-20, 2.0**6)
"""Rows of such a spread need no scaling; the more below 1, the farther out a row may lie that the sample missed."""


@dataclass(frozen=True)
class Space:
    """How rows come into a map's space and prototypes out of it. Scaling by a power of two rounds nothing."""

    offset: Float[Tensor, " d"]
    """Taken from every row; zeros for cosine."""
    scale: float
    """A power of two that rows are divided by, where their squares might not fit into float32; mostly 1."""
    unit_length: bool
    """Whether rows and prototypes are brought to length one (cosine)."""
    dtype: torch.dtype
    """What the map computes in."""

    @classmethod
    def around(cls, rows: Rows, *, dtype: torch.dtype) -> "Space":
        """The space of these rows: their weighted mean in the middle."""
        mean, deviations = rows.moments()
        largest = power_of_two(float(deviations.max()))
        spread = float((deviations / largest).norm()) * largest
        scale = 1.0 if MODERATE[0] <= spread <= MODERATE[1] else power_of_two(spread)
        return cls(mean.to(rows.dtype), scale, unit_length=False, dtype=dtype)

    @classmethod
    def sphere(cls, width: int, *, dtype: torch.dtype, device: torch.device) -> "Space":
        """The unit sphere."""
        return cls(torch.zeros(width, dtype=dtype, device=device), 1.0, unit_length=True, dtype=dtype)

    def enter(self, block: Vectors) -> Vectors:
        """Rows as the map sees them.

        Raises:
            ValueError: if cosine is asked of a row of zeros, which has no direction.
        """
        if not self.unit_length:
            block = block.to(torch.promote_types(block.dtype, self.offset.dtype))
            around = block - self.offset
            return (around if self.scale == 1 else around.div_(self.scale)).to(self.dtype)
        largest = block.abs().amax(1, keepdim=True)
        if bool((largest == 0).any()):
            raise ValueError(
                "`X` has a row of zeros, which has no direction: metric='cosine' can't place it. Remove such rows."
            )
        block = block / largest
        return (block / block.norm(dim=1, keepdim=True)).to(self.dtype)

    def leave(self, prototypes: Prototypes) -> Prototypes:
        """Prototypes in the rows' own units, as precise as the rows were."""
        dtype = torch.promote_types(self.dtype, self.offset.dtype)
        return (prototypes.double() * self.scale + self.offset.double()).to(dtype)

    def distances(self, rows: Vectors, prototypes: Prototypes) -> Float[Tensor, "n k"]:
        """From each row to each prototype, in the rows' units; for cosine 1 - cos, in [0, 2]. N x K at once."""
        rows, prototypes = rows.double(), prototypes.double()
        products = rows @ prototypes.T
        if self.unit_length:
            return (1 - products).clamp(0, 2)
        squares = rows.square().sum(1, keepdim=True) + prototypes.square().sum(1) - 2 * products
        return squares.clamp_min(0).sqrt() * self.scale

    def own_distances(self, rows: Vectors, prototypes: Prototypes) -> PerSample:
        """From each row to the prototype beside it, in the rows' units."""
        apart = (rows - prototypes).double().norm(dim=1)
        return apart.square() / 2 if self.unit_length else apart * self.scale
