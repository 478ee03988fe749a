"""Files as data: folders of images, npz files, the IDX files of Fashion-MNIST."""

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from layerscope.data import Data
from layerscope.objects import open_arrays
from layerscope.pictures import Decoding

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PARTS = {"train": "train", "test": "t10k"}
"""How the names of the IDX files begin."""
MAGIC = {1: 2049, 3: 2051}
"""The first number of an IDX file of bytes, by the number of its axes."""


def open_folder(path: Path, decode: Decoding) -> Data:
    """One subfolder of images for each class.

    Raises:
        ValueError: if there is no such folder, or a subfolder holds no images.
    """
    if not path.is_dir():
        raise ValueError(f"`data`: there is no folder '{path}'.")
    classes = sorted(child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    found = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((path / name).rglob("*"))
        if file.suffix.lower() in IMAGES
    ]
    empty = set(range(len(classes))) - {label for _, label in found}
    if found and empty:
        told = ", ".join(repr(classes[label]) for label in sorted(empty))
        raise ValueError(f"`data`: every subfolder of '{path}' is a class, but there is no image in {told}; remove it.")
    files, labels = [file for file, _ in found], torch.tensor([label for _, label in found], dtype=torch.int64)

    def read(rows: Sequence[int]) -> tuple[list[Path], Tensor]:
        return [files[row] for row in rows], labels[list(rows)]

    names = tuple(str(file.relative_to(path)) for file in files)
    stats = [file.stat() if file.exists() else file.lstat() for file in files]  # a link may lead nowhere
    entries = [f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in zip(names, stats, strict=True)]
    fingerprint = hashlib.sha256("\n".join(entries).encode()).hexdigest()
    encoded = Data(f"folder:{path}", np.arange(len(files)), read, tuple(classes), fingerprint, files=names)
    return decode(encoded, lambda row: str(files[row]))


def open_npz(path: Path) -> Data:
    """Arrays `inputs` and, where there are any, `labels`, `class_names` and `ids`.

    Raises:
        ValueError: if there is no such file, it is no npz file, or it holds no `inputs`.
    """
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
        labels, ids = arrays.get("labels"), arrays.get("ids")
        return open_arrays(arrays["inputs"], labels, f"npz:{path}", class_names=names, ids=ids)


def open_fashion_mnist(place: str) -> Data:
    """`PATH`, `PATH:train` or `PATH:test`: a folder with the IDX files of Fashion-MNIST; the test part if none is said.

    Raises:
        ValueError: if a file is missing, damaged, or of another kind than its name says.
    """
    folder, _, part = place.rpartition(":")
    if part not in PARTS:
        folder, part = place, "test"
    images = _idx(Path(folder) / f"{PARTS[part]}-images-idx3-ubyte.gz", 3)
    labels = _idx(Path(folder) / f"{PARTS[part]}-labels-idx1-ubyte.gz", 1)
    if len(labels) and labels.max() >= len(FASHION):
        raise ValueError(
            f"`data`: labels of Fashion-MNIST must lie from 0 to {len(FASHION) - 1}; '{folder}' has {labels.max()}. "
            "Download the files again."
        )
    return open_arrays(images, labels.astype(np.int64), f"fashion-mnist:{place}", class_names=FASHION)


def _idx(path: Path, axes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of an IDX file with so many axes."""
    if not path.is_file():
        raise ValueError(
            f"`data`: there is no file '{path}'; `fashion-mnist:PATH` is a folder with the four files as they are "
            "distributed."
        )
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"`data`: '{path}' is no readable gzip file ({error}); download it again.") from error
    start = 4 * (1 + axes)
    magic, *shape = np.frombuffer(content[:start], dtype=">i4").tolist() if len(content) >= start else (0, 0)
    if magic != MAGIC[axes]:
        raise ValueError(
            f"`data`: '{path}' must be an IDX file of bytes with {axes} axes, which begins with {MAGIC[axes]}; it "
            f"begins with {magic}. Download it again."
        )
    if len(content) - start != np.prod(shape):
        raise ValueError(
            f"`data`: '{path}' says that it holds {' x '.join(map(str, shape))} bytes, and holds "
            f"{len(content) - start}; download it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
