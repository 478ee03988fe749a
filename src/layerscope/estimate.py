"""What a recording will take, told before it is begun."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from layerscope.errors import StorageError

SPARE = 2**24
"""Bytes that are left free on the disk."""


@dataclass(frozen=True)
class Estimate:
    """What a recording will take."""

    rows: int
    """Samples."""
    bytes: dict[str, int]
    """On disk, by tensor: those of the layers, and logits, ids and labels."""
    seconds: float
    """From the time of one batch."""

    def __str__(self) -> str:
        """One line."""
        layers = [name for name in self.bytes if name.count("|") == 1]
        largest = max(layers, key=lambda name: self.bytes[name])
        return (
            f"{self.rows:,} samples x {len(layers)} layers: {_size(sum(self.bytes.values()))} (most of it, "
            f"{_size(self.bytes[largest])}, {largest}), about {_duration(self.seconds)}"
        )


def estimate(first: Mapping[str, Tensor], rows: int, seconds: float) -> Estimate:
    """What `rows` samples will take, by the tensors of the first batch and its time."""
    batch = len(first["ids"])
    taken = {name: tensor.numel() * tensor.element_size() * rows // batch for name, tensor in first.items()}
    return Estimate(rows, taken, seconds * rows / batch)


def check_room(folder: Path, needs: Estimate) -> None:
    """Raise StorageError where the disk can't hold what is still to be written."""
    free, needed = shutil.disk_usage(folder).free, sum(needs.bytes.values())
    if needed + SPARE > free:
        raise StorageError(
            f"The recording still needs {_size(needed)} and '{folder}' has {_size(free)} free; nothing more was "
            "written. Choose another folder, fewer layers, a narrower reduction (`mean`, a smaller `sketch`), or dtype "
            "'float16'."
        )


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
