"""Names for the shapes that pass between stages; checked at run time in the tests."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

Inputs: TypeAlias = Float[Tensor, "n ..."]
"""A batch in input space (images: pixels in [0, 1])."""

Samples: TypeAlias = Tensor | Mapping[str, Tensor] | tuple[Tensor, ...] | Sequence[str]
"""What a network is given for a batch: one tensor, named or ordered tensors (tokens and their mask, say), or texts."""

Logits: TypeAlias = Float[Tensor, "n classes"]
"""What the network answers, before any softmax."""

Labels: TypeAlias = Int[Tensor, " n"]
"""The true class of each sample."""

Vectors: TypeAlias = Float[Tensor, "n d"]
"""One reduced activation per sample."""

Pictures: TypeAlias = UInt8[Tensor, "n channels height width"]
"""Images as bytes, to be looked at."""

Units: TypeAlias = Int[Tensor, " n"]
"""A unit of the map per sample: its code."""

Prototypes: TypeAlias = Float[Tensor, "k d"]
"""The vector of each of the K units."""

Weights: TypeAlias = Float[Tensor, "draws n"]
"""How often each sample was drawn in each bootstrap draw."""

Replicates: TypeAlias = Float[Tensor, " draws"]
"""A statistic computed on each bootstrap draw."""

PerSample: TypeAlias = Float[Tensor, " n"]
"""One number per sample."""

Flags: TypeAlias = Bool[Tensor, " n"]
"""One yes or no per sample."""


def size_of(samples: Samples) -> int:
    """How many samples a batch holds."""
    if isinstance(samples, Mapping):
        return len(next(iter(samples.values())))
    return len(samples[0]) if isinstance(samples, tuple) else len(samples)
