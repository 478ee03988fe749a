"""Ways to turn what a layer puts out into one vector per sample.

Averaging is itself a compression, so a claim about compression needs a reduction beside it that keeps the geometry of
the whole feature map: `sketch`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from layerscope.types import Inputs, Vectors

NONZEROS = 8
"""Entries per feature in the sketch's projection."""


@dataclass(frozen=True)
class Mean:
    """The average over positions: (n, channels, *space) or (n, tokens, features) to (n, channels or features).

    Outputs of two dimensions are vectors already and stay as they are; of three, the middle one is averaged (tokens);
    of four and more, all after the channels (space).
    """

    name: str = "mean"

    def __call__(self, output: Inputs) -> Vectors:
        """Reduce a batch."""
        if output.ndim <= 2:
            return Flatten()(output)
        return output.mean(1) if output.ndim == 3 else output.flatten(2).mean(2)


@dataclass(frozen=True)
class Flatten:
    """Everything, as one long vector per sample. A copy, never a view."""

    name: str = "flatten"

    def __call__(self, output: Inputs) -> Vectors:
        """Reduce a batch."""
        return output.reshape(len(output), -1).clone()


@dataclass(frozen=True)
class Sketch:
    """A seeded sparse random projection of the whole feature map onto `size` numbers.

    Each feature goes, with random signs and weight 1/sqrt(8), to 8 of the `size` places (Kane & Nelson 2014, Sparser
    Johnson-Lindenstrauss transforms, J. ACM 61(1):4), so that squared distances are kept without bias and with a
    relative standard deviation of about sqrt(2/size). Feature maps no wider than `size` are kept whole. The projection
    depends on the two widths alone: the same layer of another recording, or of another network, is sketched alike.
    """

    size: int
    _projections: dict[tuple[int, torch.device], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.size < NONZEROS or self.size % NONZEROS:
            raise ValueError(f"`sketch` needs a size that is a multiple of {NONZEROS}; got {self.size}.")

    @property
    def name(self) -> str:
        """As in a spec: `sketch:512`."""
        return f"sketch:{self.size}"

    def __call__(self, output: Inputs) -> Vectors:
        """Reduce a batch."""
        flat = Flatten()(output)
        width = flat.shape[1]
        if width <= self.size:
            return flat
        key = (width, flat.device)
        if key not in self._projections:
            self._projections[key] = self._projection(width).to(flat.device)
        return torch.sparse.mm(self._projections[key], flat.float().T).T.contiguous()

    def _projection(self, width: int) -> Tensor:
        """Sparse (size, width): one nonzero per feature in each of 8 equal groups of places."""
        generator = torch.Generator().manual_seed(width)
        group = self.size // NONZEROS
        places = torch.randint(group, (NONZEROS, width), generator=generator) + group * torch.arange(NONZEROS)[:, None]
        signs = torch.randint(2, (NONZEROS, width), generator=generator) * 2.0 - 1
        features = torch.arange(width).expand(NONZEROS, width)
        indices = torch.stack([places.flatten(), features.flatten()])
        return torch.sparse_coo_tensor(
            indices, signs.flatten() / NONZEROS**0.5, (self.size, width), check_invariants=True
        ).coalesce()


Reduction = Mean | Flatten | Sketch


def parse_reduction(spec: str) -> Reduction:
    """The reduction that a spec names: `mean`, `flatten`, or `sketch:SIZE`.

    Raises:
        ValueError: if it names none.
    """
    kind, _, size = spec.partition(":")
    if kind == "sketch" and size.isdigit():
        return Sketch(int(size))
    if spec == "mean":
        return Mean()
    if spec == "flatten":
        return Flatten()
    raise ValueError(f"The reduction {spec!r} is not known; write `mean`, `flatten`, or `sketch:SIZE`.")
