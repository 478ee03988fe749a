"""Samples with stable ids: batches that come the same, in the same order, every time they are asked for."""

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler, default_collate

from layerscope.network import call_factory
from layerscope.progress import bar
from layerscope.store import tensors_digest
from layerscope.types import Inputs, Labels

PROBED = 8
"""Samples of a Dataset that are read twice, to see that they are the same."""
IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class Batch(NamedTuple):
    """Some samples."""

    inputs: Inputs
    """(n, ...), float32, in input space."""
    labels: Labels | None
    """(n,), int64; none where the data has none."""
    ids: Tensor
    """(n,), int64: each sample's row in its source."""


@dataclass(frozen=True)
class Data:
    """A data set that can be read again by row. Made by `load_data`."""

    source: str
    """Where it comes from, as reports say it."""
    rows: np.ndarray[Any, np.dtype[np.int64]]
    """(n,): the rows of the source, which are the samples' ids."""
    read: Callable[[Sequence[int]], tuple[Any, Any]]
    """Rows of the source to inputs and labels, as the source gives them."""
    class_names: tuple[str, ...]
    """Empty where classes have numbers only."""
    fingerprint: str
    """Changes when the data does: over all of an array or a Dataset; over a folder's file names, sizes and times."""
    root: str = ""
    """The fingerprint of the whole source, which its subsets share."""
    files: tuple[str, ...] = ()
    """Where each row of the source comes from, where that is a file."""

    def __post_init__(self) -> None:
        if not self.root:
            object.__setattr__(self, "root", self.fingerprint)

    def shares(self, other: "Data") -> int:
        """How many samples are in both."""
        return len(np.intersect1d(self.rows, other.rows)) if self.root == other.root else 0

    def origin(self, row: int) -> str:
        """The file of a row of the source, or the source's name."""
        return self.files[row] if self.files else self.source

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, size: int) -> Iterator[Batch]:
        """All samples in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.take(self.rows[start : start + size])

    def take(self, ids: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]]) -> Batch:
        """The samples with these ids.

        Raises:
            TypeError: if the inputs are not tensors, or labels are not whole numbers.
        """
        inputs, labels = self.read([int(row) for row in ids])
        if not isinstance(inputs, Tensor):
            raise TypeError(f"`data` must give inputs as tensors; {self.source} gives {type(inputs).__name__}.")
        if labels is not None and (not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim != 1):
            raise TypeError(f"`data` must give one whole number as each sample's label; {self.source} does not.")
        return Batch(as_pixels(inputs), None if labels is None else labels.long(), torch.tensor([int(i) for i in ids]))

    def subset(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> "Data":
        """The samples at places `rows` of this data set; they keep their ids."""
        kept = np.sort(np.asarray(rows, dtype=np.int64))
        return replace(self, rows=self.rows[kept], fingerprint=_digest(self.fingerprint, self.rows[kept]))

    def split(self, share: float, *, seed: int) -> tuple["Data", "Data"]:
        """Two disjoint parts drawn at random, the first with `share` of the samples."""
        order = np.random.default_rng(seed).permutation(len(self))
        first = round(share * len(self))
        return self.subset(order[:first]), self.subset(order[first:])


def load_data(source: Any, *, limit: int | None = None, seed: int = 0) -> Data:
    """A data set from a spec or an object.

    Args:
        source: one of

            - `folder:PATH`, one subfolder of images per class (labels in the order of the names);
            - `npz:FILE` with arrays `inputs` and, where there are any, `labels` and `class_names`;
            - `py:package.module:factory`, where the factory gives any of the objects below;
            - an array or tensor of inputs, or a pair (inputs, labels);
            - a Dataset of inputs or (input, label) pairs, or a DataLoader over one that does not shuffle (an
              iterable one is read into memory, once).

            Bytes (uint8) are pixels: they are divided by 255, get a channel axis if they have none, and their
            channels are brought to the front.
        limit: keep this many samples, drawn at random; of an iterable, the first.
        seed: of that draw.

    Raises:
        ValueError: if the spec can't be read, the data set is empty, or its parts don't fit together.
        TypeError: if the object is none of these.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be at least 1; got {limit}.")
    data = _open(source, limit)
    if len(data) == 0:
        raise ValueError(f"`data` is empty: {data.source} holds no samples.")
    if limit is not None and limit < len(data):
        data = data.subset(np.random.default_rng(seed).permutation(len(data))[:limit])
    return data


def as_pixels(inputs: Tensor) -> Tensor:
    """Float32 inputs in input space; bytes are read as pixels, channels first."""
    if inputs.dtype != torch.uint8:
        return inputs.float()
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    elif inputs.ndim == 4 and inputs.shape[3] in (1, 3) and inputs.shape[1] not in (1, 3):
        inputs = inputs.permute(0, 3, 1, 2)
    return inputs.float() / 255


def _open(source: Any, limit: int | None) -> Data:
    if isinstance(source, Data):
        return source
    if isinstance(source, str):
        scheme, _, place = source.partition(":")
        if scheme == "folder":
            return _open_folder(Path(place))
        if scheme == "npz":
            return _open_npz(Path(place))
        if scheme == "py":
            return replace(_open(call_factory(source, "data"), limit), source=source)
        raise ValueError(
            f"The data spec {source!r} can't be read; write `folder:PATH`, `npz:FILE` or `py:package.module:factory`."
        )
    if isinstance(source, (np.ndarray, Tensor)):
        return _open_arrays(source, None, (), "an array")
    if isinstance(source, tuple) and len(source) == 2:
        return _open_arrays(*source, (), "a pair of arrays")
    if hasattr(source, "__getitem__") or hasattr(source, "__iter__"):
        return _open_dataset(source, limit)
    raise TypeError(
        "`data` must be a spec, an array, a pair (inputs, labels), a Dataset or a DataLoader; "
        f"got {type(source).__name__}."
    )


def _open_arrays(inputs: Any, labels: Any, class_names: tuple[str, ...], source: str) -> Data:
    if np.asarray(labels).dtype.kind in "USO" and labels is not None:
        raise TypeError("`data`: labels must be whole numbers, the network's classes; got text. Number the classes.")
    x = torch.as_tensor(np.asarray(inputs) if not isinstance(inputs, Tensor) else inputs)
    y = None if labels is None else torch.as_tensor(np.asarray(labels) if not isinstance(labels, Tensor) else labels)
    if y is not None and len(y) != len(x):
        raise ValueError(f"`data` must have one label for each input; got {len(x)} inputs and {len(y)} labels.")
    fingerprint = tensors_digest({"inputs": x} if y is None else {"inputs": x, "labels": y})

    def read(rows: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        return x[list(rows)], None if y is None else y[list(rows)]

    return Data(source, np.arange(len(x)), read, class_names, fingerprint)


def _open_npz(path: Path) -> Data:
    if not path.is_file():
        raise ValueError(f"`data`: there is no file '{path}'.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"`data`: '{path}' is no npz file; write one with numpy.savez(inputs=..., labels=...).")
    with np.load(path, allow_pickle=False) as arrays:
        if "inputs" not in arrays:
            raise ValueError(
                f"`data`: '{path}' must hold an array `inputs`; it holds {', '.join(arrays) or 'nothing'}."
            )
        names = tuple(str(name) for name in arrays["class_names"]) if "class_names" in arrays else ()
        return _open_arrays(arrays["inputs"], arrays.get("labels"), names, f"npz:{path}")


def _open_folder(path: Path) -> Data:
    if not path.is_dir():
        raise ValueError(f"`data`: there is no folder '{path}'.")
    classes = sorted(child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    files = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((path / name).rglob("*"))
        if file.suffix.lower() in IMAGES
    ]
    empty = set(range(len(classes))) - {label for _, label in files}
    if files and empty:
        told = ", ".join(repr(classes[label]) for label in sorted(empty))
        raise ValueError(f"`data`: every subfolder of '{path}' is a class, but there is no image in {told}; remove it.")
    grey = bool(files) and _image(files[0][0], grey=None).ndim == 2

    def read(rows: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        images = [_image(files[row][0], grey=grey) for row in rows]
        for row, image in zip(rows, images, strict=True):
            if image.shape != images[0].shape:
                raise ValueError(
                    f"`data`: images must have one size; '{files[row][0]}' is {image.shape[:2]}, "
                    f"'{files[rows[0]][0]}' is {images[0].shape[:2]} (height, width). Resize them beforehand."
                )
        stacked = torch.from_numpy(np.stack(images))
        return stacked, torch.tensor([files[row][1] for row in rows])

    entries = [f"{file.relative_to(path)}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file, _ in files]
    fingerprint = hashlib.sha256("\n".join(entries).encode()).hexdigest()
    names = tuple(str(file.relative_to(path)) for file, _ in files)
    return Data(f"folder:{path}", np.arange(len(files)), read, tuple(classes), fingerprint, files=names)


def _image(path: Path, *, grey: bool | None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(height, width) if grey, else (height, width, 3); as the file is where `grey` is None."""
    try:
        with Image.open(path) as image:
            plain = image.mode in ("1", "L") if grey is None else grey
            if plain and image.mode not in ("1", "L"):
                raise ValueError(
                    f"`data`: '{path}' is in colour (mode {image.mode}) and the first image is grey; "
                    "bring all images to one mode."
                )
            return np.array(image.convert("L" if plain else "RGB"))
    except OSError as error:
        raise ValueError(f"`data`: '{path}' is no readable image ({error}); repair or remove it.") from error


def _open_dataset(source: Any, limit: int | None) -> Data:
    collate: Callable[[list[Any]], Any] = default_collate
    dataset, kind = source, type(source).__name__
    if isinstance(source, DataLoader):
        dataset = source.dataset
        kind = f"DataLoader over {type(dataset).__name__}"
        if not isinstance(dataset, IterableDataset):
            if not isinstance(source.sampler, SequentialSampler):
                raise ValueError(
                    f"`data`: the {kind} draws samples by {type(source.sampler).__name__}, so that a sample has no "
                    "fixed place; make it with shuffle=False and no sampler."
                )
            collate = source.collate_fn or default_collate
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        dataset = list(islice(iter(dataset), limit))

    def read(rows: Sequence[int]) -> tuple[Any, Any]:
        made = collate([dataset[row] for row in rows])
        return (made[0], made[1]) if isinstance(made, (tuple, list)) else (made, None)

    names = tuple(str(name) for name in getattr(dataset, "classes", ()))
    digest = hashlib.sha256()
    with bar("reading the data", len(dataset)) as progress:
        for row in range(len(dataset)):
            content = _content(read([row]))
            if row % max(1, len(dataset) // PROBED) == 0 and content != _content(read([row])):
                raise ValueError(
                    f"`data`: sample {row} of the {kind} is another when it is read twice; remove random transforms."
                )
            digest.update(content)
            progress.advance()
    return Data(kind, np.arange(len(dataset)), read, names, digest.hexdigest())


def _content(sample: tuple[Any, Any]) -> bytes:
    """What a sample says, as bytes."""
    return b"|".join(np.ascontiguousarray(part.cpu()).tobytes() for part in sample if isinstance(part, Tensor))


def _digest(fingerprint: str, rows: np.ndarray[Any, np.dtype[np.int64]]) -> str:
    return hashlib.sha256(fingerprint.encode() + np.ascontiguousarray(rows).tobytes()).hexdigest()
