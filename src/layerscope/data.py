"""Samples with stable ids: batches that come the same, in the same order, every time they are asked for."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from layerscope.types import Labels, Samples

Rows: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
"""(n,), int64."""
TOLD = 5
"""How many of many an error names."""


class Batch(NamedTuple):
    """Some samples."""

    inputs: Samples
    """One tensor: (n, ...), float32, in input space. Named or ordered tensors: (n, ...) each, whole numbers as they
    are, others float32. Texts: a list of n."""
    labels: Labels | None
    """(n,), int64; none where the data has none."""
    ids: Tensor
    """(n,), int64: each sample's own id, or its row in its source."""


@dataclass(frozen=True)
class Data:
    """A data set that can be read again by row. Made by `load_data`."""

    source: str
    """Where it comes from, as reports say it."""
    rows: Rows
    """(n,): the rows of the source; the samples' ids, where they have none of their own."""
    read: Callable[[Sequence[int]], tuple[Any, Any]]
    """Rows of the source to inputs and labels, as the source gives them."""
    class_names: tuple[str, ...]
    """Empty where classes have numbers only."""
    fingerprint: str
    """Changes when the data does: over all of an array, a table or a Dataset; over a folder's file names, sizes and
    times; and over how image files are resized."""
    root: str = ""
    """The fingerprint of the whole source, which its subsets share."""
    files: tuple[str, ...] = ()
    """Where each row of the source comes from, where that is a file."""
    ids: Rows | None = None
    """The id of each row of the source, where it has ids of its own."""
    skipped: tuple[str, ...] = ()
    """The images of the source that can't be read and were left out."""

    def __post_init__(self) -> None:
        if not self.root:
            object.__setattr__(self, "root", self.fingerprint)

    def shares(self, other: "Data") -> int:
        """How many samples are in both."""
        return len(np.intersect1d(self.rows, other.rows)) if self.root == other.root else 0

    def origin(self, sample: int) -> str:
        """The file that the sample with this id comes from, or the source's name."""
        if not self.files:
            return self.source
        return self.files[sample if self.ids is None else self._row_of[sample]]

    def find(self, ids: Sequence[int] | Rows) -> Rows:
        """The rows of the source that hold the samples with these ids, for `take`.

        Raises:
            ValueError: if there is no such sample in this data set.
        """
        wanted = [int(sample) for sample in ids]
        rows = wanted if self.ids is None else [self._row_of.get(sample, -1) for sample in wanted]
        found = np.asarray(rows, dtype=np.int64)
        missing = [sample for sample, there in zip(wanted, np.isin(found, self.rows), strict=True) if not there]
        if missing:
            raise ValueError(f"`ids` must be ids of samples of {self.source}; it holds none with {some(missing)}.")
        return found

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, size: int) -> Iterator[Batch]:
        """All samples in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.take(self.rows[start : start + size])

    def take(self, rows: Sequence[int] | Rows) -> Batch:
        """The samples in these rows of the source.

        Raises:
            TypeError: if the inputs are neither tensors nor texts, or labels are not whole numbers.
            ValueError: if the source gives another number of samples.
        """
        wanted = [int(row) for row in rows]
        inputs, labels = self.read(wanted)
        samples = as_samples(inputs, self.source)
        if labels is not None and (not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim != 1):
            raise TypeError(f"`data` must give one whole number as each sample's label; {self.source} does not.")
        given = {**lengths(samples), **({} if labels is None else {"labels": len(labels)})}
        for name, length in given.items():
            if length != len(wanted):
                raise ValueError(
                    f"`data` must give one sample for each row; {self.source} gives {name} of length {length} for "
                    f"{len(wanted)} rows."
                )
        ids = torch.tensor(wanted if self.ids is None else self.ids[wanted].tolist(), dtype=torch.int64)
        return Batch(samples, None if labels is None else labels.long(), ids)

    def subset(self, rows: Rows) -> "Data":
        """The samples at places `rows` of this data set; they keep their ids."""
        kept = np.sort(np.asarray(rows, dtype=np.int64))
        return replace(self, rows=self.rows[kept], fingerprint=_digest(self.fingerprint, self.rows[kept]))

    def split(self, share: float, *, seed: int) -> tuple["Data", "Data"]:
        """Two disjoint parts drawn at random, the first with `share` of the samples."""
        order = np.random.default_rng(seed).permutation(len(self))
        first = round(share * len(self))
        return self.subset(order[:first]), self.subset(order[first:])

    @cached_property
    def _row_of(self) -> dict[int, int]:
        """The row of each id, where there are ids."""
        return {} if self.ids is None else {sample: row for row, sample in enumerate(self.ids.tolist())}


def as_pixels(inputs: Tensor) -> Tensor:
    """Float32 inputs in input space; bytes are read as pixels, channels first."""
    if inputs.dtype != torch.uint8:
        return inputs.float()
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    elif inputs.ndim == 4 and inputs.shape[3] in (1, 3) and inputs.shape[1] not in (1, 3):
        inputs = inputs.permute(0, 3, 1, 2)
    return inputs.float() / 255


def as_samples(inputs: Any, source: str) -> Samples:
    """What a source gave as a batch of inputs, as networks take it.

    Raises:
        TypeError: if it is neither tensors nor texts.
    """
    if isinstance(inputs, Tensor):
        return as_pixels(inputs)
    parts = list(inputs.values()) if isinstance(inputs, Mapping) else inputs
    if isinstance(parts, (tuple, list)) and parts:
        if parts is inputs and all(isinstance(part, str) for part in parts):
            return [str(part) for part in parts]
        if all(isinstance(part, Tensor) for part in parts):
            numbers = tuple(part.float() if part.is_floating_point() else part for part in parts)
            return dict(zip(map(str, inputs), numbers, strict=True)) if isinstance(inputs, Mapping) else numbers
    kinds = sorted({type(part).__name__ for part in parts}) if isinstance(parts, (tuple, list)) else []
    told = type(inputs).__name__ + (f" of {', '.join(kinds)}" if kinds else "")
    raise TypeError(
        f"`data` must give inputs as one tensor, as named or ordered tensors, or as texts; {source} gives {told}."
    )


def lengths(samples: Samples) -> dict[str, int]:
    """How many samples each part of a batch holds, by the part's name."""
    if isinstance(samples, Mapping):
        return {f"`{name}`": len(tensor) for name, tensor in samples.items()}
    if isinstance(samples, tuple):
        return {f"input {place}": len(tensor) for place, tensor in enumerate(samples)}
    return {"inputs": len(samples)}


def checked_ids(ids: Any, count: int, source: str) -> Rows:
    """Ids that a source gives its rows.

    Raises:
        TypeError: if they are not whole numbers.
        ValueError: if there is not one for each row, or two are the same.
    """
    given = np.asarray(ids)
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise TypeError(
            f"`data`: ids must be whole numbers, one for each sample; {source} has an array of {given.dtype} of shape "
            f"{given.shape}. Number the samples, or leave the ids out: rows are numbered from 0."
        )
    if len(given) != count:
        raise ValueError(f"`data` must have one id for each input; {source} has {count} inputs and {len(given)} ids.")
    values, counts = np.unique(given, return_counts=True)
    twice = values[counts > 1].tolist()
    if twice:
        raise ValueError(
            f"`data`: ids must differ; in {source}, {len(twice)} of them come more than once ({some(twice)}). Give "
            "each sample its own."
        )
    return given.astype(np.int64)


def some(values: Sequence[Any]) -> str:
    """The first few of many."""
    return f"{', '.join(map(str, values[:TOLD]))}{', ...' if len(values) > TOLD else ''}"


def _digest(fingerprint: str, rows: Rows) -> str:
    return hashlib.sha256(fingerprint.encode() + np.ascontiguousarray(rows).tobytes()).hexdigest()
