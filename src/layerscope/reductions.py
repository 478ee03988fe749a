"""Ways to turn what a layer puts out into one vector per sample, or per position.

Averaging is itself a compression, so a claim about compression needs a reduction beside it that keeps the geometry of
the whole feature map: `sketch`. Padded tokens, where the network is told of them by a mask, count in none of them.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layerscope.layouts import Output
from layerscope.types import Units, Vectors

NONZEROS = 8
"""Entries per feature in the sketch's projection."""


class Pieces(NamedTuple):
    """Several vectors of a sample: one per token, or per position."""

    vectors: Vectors
    """(m, features), sample after sample."""
    sample: Units
    """(m,): which sample of the batch each belongs to."""
    place: Units
    """(m,): which token of it, or which position, counted row by row."""


@dataclass(frozen=True)
class Mean:
    """The average over positions or tokens; of (n, features), the vectors themselves."""

    name: str = "mean"

    def __call__(self, output: Output) -> Vectors:
        """Reduce a batch."""
        values, features, mask = output
        if values.ndim <= 2:
            return _flat(values)
        if mask is not None:
            kept = values.masked_fill(~mask[..., None], 0).float()
            return kept.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        return values.flatten(2).mean(2) if features == 1 else values.flatten(1, -2).mean(1)


@dataclass(frozen=True)
class Max:
    """The largest value of each feature over positions or tokens; of (n, features), the vectors themselves."""

    name: str = "max"

    def __call__(self, output: Output) -> Vectors:
        """Reduce a batch."""
        values, features, mask = output
        if values.ndim <= 2:
            return _flat(values)
        if mask is not None:
            values = values.masked_fill(~mask[..., None], float("-inf")).masked_fill(~mask.any(1)[:, None, None], 0)
        return values.flatten(2).amax(2) if features == 1 else values.flatten(1, -2).amax(1)


@dataclass(frozen=True)
class Token:
    """The first token (`cls`) or the last one (`last`) that is no padding; of (n, features), the vectors themselves."""

    name: str

    def __call__(self, output: Output) -> Vectors:
        """Reduce a batch.

        Raises:
            ValueError: if the output is not (n, tokens, features).
        """
        values, _, mask = output
        if values.ndim <= 2:
            return _flat(values)
        _check_tokens(output, self.name)
        if mask is None:
            return values[:, 0 if self.name == "cls" else -1].clone()
        return values[torch.arange(len(values), device=values.device), self.places(output)]

    def places(self, output: Output) -> Units:
        """(n,): which token of each sample it is, in an output of shape (n, tokens, features)."""
        mask = output.mask
        if mask is None:
            mask = torch.ones(output.tensor.shape[:2], dtype=torch.bool, device=output.tensor.device)
        return mask.int().argmax(1) if self.name == "cls" else mask.shape[1] - 1 - mask.flip(1).int().argmax(1)


@dataclass(frozen=True)
class Flatten:
    """Everything, as one long vector per sample, padding as zeros. A copy, never a view."""

    name: str = "flatten"

    def __call__(self, output: Output) -> Vectors:
        """Reduce a batch."""
        if output.mask is not None:
            return _flat(output.tensor.masked_fill(~output.mask[..., None], 0))
        return _flat(output.tensor)


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

    def __call__(self, output: Output) -> Vectors:
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
        """Sparse rows (size, width): one nonzero per feature in each of 8 equal groups of places."""
        generator = torch.Generator().manual_seed(width)
        group = self.size // NONZEROS
        places = torch.randint(group, (NONZEROS, width), generator=generator) + group * torch.arange(NONZEROS)[:, None]
        signs = torch.randint(2, (NONZEROS, width), generator=generator) * 2.0 - 1
        features = torch.arange(width).expand(NONZEROS, width)
        indices = torch.stack([places.flatten(), features.flatten()])
        found = torch.sparse_coo_tensor(
            indices, signs.flatten() / NONZEROS**0.5, (self.size, width), check_invariants=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that compressed rows are young: they are ten times as fast
            return found.coalesce().to_sparse_csr()


@dataclass(frozen=True)
class Tokens:
    """Every token that is no padding, as a vector of its own; of (n, features), the vectors themselves."""

    name: str = "tokens"

    def __call__(self, output: Output, ids: Sequence[int]) -> Pieces:  # noqa: ARG002 - as `Positions`
        """The pieces of a batch.

        Raises:
            ValueError: if the output is not (n, tokens, features).
        """
        if output.tensor.ndim <= 2:
            return _alone(output.tensor)
        _check_tokens(output, self.name)
        mask = output.mask
        if mask is None:
            mask = torch.ones(output.tensor.shape[:2], dtype=torch.bool, device=output.tensor.device)
        sample, place = mask.nonzero(as_tuple=True)
        return Pieces(output.tensor[sample, place], sample, place)


@dataclass(frozen=True)
class Positions:
    """Some positions of each sample, drawn at random without replacement; all of them where there are fewer.

    Of (n, features), the vectors themselves.

    The draw depends on the sample's id and on how many positions there are: layers of one size are read at the same
    places, whatever batch a sample is in.
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"`positions` needs a number of at least 1; got {self.size}.")

    @property
    def name(self) -> str:
        """As in a spec: `positions:16`."""
        return f"positions:{self.size}"

    def __call__(self, output: Output, ids: Sequence[int]) -> Pieces:
        """The pieces of a batch."""
        values, features, mask = output
        if values.ndim <= 2:
            return _alone(values)
        vectors = values.movedim(1, -1) if features == 1 else values
        vectors = vectors.flatten(1, -2)
        allowed = torch.ones(vectors.shape[:2], dtype=torch.bool) if mask is None else mask.cpu()
        drawn = [_drawn(own.nonzero()[:, 0], self.size, one) for own, one in zip(allowed, ids, strict=True)]
        sample = torch.repeat_interleave(torch.arange(len(drawn)), torch.tensor([len(one) for one in drawn]))
        place = torch.cat(drawn)
        return Pieces(vectors[sample.to(values.device), place.to(values.device)], sample, place)


PerSampleReduction = Mean | Max | Token | Flatten | Sketch
PerPieceReduction = Tokens | Positions
Reduction = PerSampleReduction | PerPieceReduction
PLAIN: dict[str, Reduction] = {
    "mean": Mean(),
    "max": Max(),
    "cls": Token("cls"),
    "last": Token("last"),
    "flatten": Flatten(),
}
"""Those without a number."""


def parse_reduction(spec: str) -> Reduction:
    """The reduction that a spec names.

    `mean`, `max`, `cls`, `last`, `flatten` and `sketch:SIZE` give one vector per sample, `positions:N` and `tokens`
    several.

    Raises:
        ValueError: if it names none.
    """
    kind, _, size = spec.partition(":")
    if kind == "sketch" and size.isdigit():
        return Sketch(int(size))
    if kind == "positions" and size.isdigit():
        return Positions(int(size))
    if spec == "tokens":
        return Tokens()
    if spec in PLAIN:
        return PLAIN[spec]
    raise ValueError(
        f"The reduction {spec!r} is not known; write `mean`, `max`, `cls`, `last`, `flatten`, `sketch:SIZE`, "
        "`positions:N` or `tokens`."
    )


def _flat(values: Float[Tensor, "n ..."]) -> Vectors:
    return values.reshape(len(values), -1).clone()


def _alone(values: Float[Tensor, "n ..."]) -> Pieces:
    """Samples that have one vector each."""
    sample = torch.arange(len(values), device=values.device)
    return Pieces(_flat(values), sample, torch.zeros_like(sample))


def _check_tokens(output: Output, name: str) -> None:
    values, features, _ = output
    if values.ndim != 3 or features != -1:
        raise ValueError(
            f"`{name}` takes outputs of shape (samples, tokens, features); got {tuple(values.shape)}. Use `mean`, "
            "`flatten` or `sketch` there, or choose other layers."
        )


def _drawn(places: Units, size: int, sample: int) -> Int[Tensor, " k"]:
    """`size` of the places, in order; the same for the same sample and number of places."""
    if len(places) <= size:
        return places
    seed = hashlib.sha256(f"{sample}:{len(places)}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(seed[:8], "little") >> 1)
    return places[torch.randperm(len(places), generator=generator)[:size].sort().values]
