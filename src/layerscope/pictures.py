"""Encoded images as data: decoded when they are read, of one mode and size, unreadable ones left out if wanted."""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from layerscope.data import Data
from layerscope.images import Resize
from layerscope.progress import bar

Encoded: TypeAlias = Path | bytes | None
"""An image file, what stands in one, or nothing where an image is missing."""
Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
"""(height, width) if grey, else (height, width, 3)."""
GREY = ("1", "L")
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What decoding raises where a file is damaged, empty or no image."""


@dataclass(frozen=True)
class Decoding:
    """How encoded images become data."""

    resize: Resize | None = None
    """None leaves them as they are, and they must have one size."""
    skip_unreadable: bool = False
    """Whether images that can't be decoded are found now and left out; else one raises when it is met."""
    show_progress: bool = True

    def __call__(self, encoded: Data, told: Callable[[int], str]) -> Data:
        """The pixels of a data set whose inputs are encoded images, one `Encoded` for each.

        Args:
            encoded: the data set.
            told: what the image in a row is called.

        Raises:
            ValueError: if the first image can't be read; when read, if another can't, or differs in mode or size.
        """
        bad = self._unreadable(encoded) if self.skip_unreadable else []
        kept = np.setdiff1d(encoded.rows, bad)
        first = int(kept[0]) if len(kept) else -1
        grey, size = None, None
        if self.resize is None and len(kept):
            image = _pixels(_one(encoded, first), told(first), None)
            grey, size = image.ndim == 2, image.shape[:2]

        def read(rows: Sequence[int]) -> tuple[Tensor, Tensor | None]:
            items, labels = encoded.read(rows)
            images = []
            for row, item in zip(rows, items, strict=True):
                image = _pixels(item, told(row), grey) if self.resize is None else self._resized(item, told(row))
                if size is not None and image.shape[:2] != size:
                    raise ValueError(
                        f"`data`: images must have one size; '{told(row)}' is {image.shape[:2]}, '{told(first)}' is "
                        f"{size} (height, width). A network that is loaded by name brings the size that it takes; "
                        "else give `resize=layerscope.images.Resize(height, width)`, or resize them beforehand."
                    )
                images.append(image)
            return torch.from_numpy(np.stack(images)), labels

        fingerprint = encoded.fingerprint
        if self.resize is not None:
            fingerprint = hashlib.sha256(f"{fingerprint}\n{self.resize}".encode()).hexdigest()
        data = replace(encoded, read=read, fingerprint=fingerprint)  # of the same root: these are the same samples
        return replace(data.subset(kept), skipped=tuple(told(row) for row in bad)) if bad else data

    def _resized(self, item: Encoded, told: str) -> Pixels:
        assert self.resize is not None
        return np.array(self.resize(_image(item, told)))

    def _unreadable(self, encoded: Data) -> list[int]:
        """The rows of images that can't be decoded."""
        bad = []
        with bar("looking for unreadable images", len(encoded), show=self.show_progress) as progress:
            for row in encoded.rows.tolist():
                item = _one(encoded, row)
                try:
                    _decoded(item)
                except UNREADABLE:
                    bad.append(row)
                progress.advance()
        return bad


def _one(encoded: Data, row: int) -> Encoded:
    items: Sequence[Encoded] = encoded.read([row])[0]
    return items[0]


def _decoded(item: Encoded) -> Image.Image:
    """All of an image; header and pixels."""
    if item is None:
        raise OSError("it is missing")
    with Image.open(item if isinstance(item, Path) else io.BytesIO(item)) as image:
        image.load()
        return image.copy()


def _image(item: Encoded, told: str) -> Image.Image:
    try:
        return _decoded(item)
    except UNREADABLE as error:
        raise ValueError(
            f"`data`: '{told}' is no readable image ({error}); repair or remove it, or leave all such out with "
            "`skip_unreadable=True`."
        ) from error


def _pixels(item: Encoded, told: str, grey: bool | None) -> Pixels:
    """As the image is where `grey` is None."""
    image = _image(item, told)
    plain = image.mode in GREY if grey is None else grey
    if plain and image.mode not in GREY:
        raise ValueError(
            f"`data`: '{told}' is in colour (mode {image.mode}) and the first image is grey; bring all images to one "
            "mode."
        )
    return np.array(image.convert("L" if plain else "RGB"))
