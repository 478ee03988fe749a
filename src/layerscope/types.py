"""Names for the shapes that pass between stages; checked at run time in the tests."""

from typing import TypeAlias

from jaxtyping import Bool, Float, Int
from torch import Tensor

Inputs: TypeAlias = Float[Tensor, "n ..."]
"""A batch in input space (images: pixels in [0, 1])."""

Logits: TypeAlias = Float[Tensor, "n classes"]
"""What the network answers, before any softmax."""

Labels: TypeAlias = Int[Tensor, " n"]
"""The true class of each sample."""

Vectors: TypeAlias = Float[Tensor, "n d"]
"""One reduced activation per sample."""

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
