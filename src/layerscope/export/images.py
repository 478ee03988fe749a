"""Samples' pictures as PNG: one by one, or all on one sheet."""

import io
from math import ceil, isqrt

import numpy as np
from PIL import Image
from torch import Tensor

SHEET = 8192
"""Largest side of a sheet, in pixels: what a projector's texture may have."""


def png(picture: Tensor) -> bytes:
    """One picture (1 or 3, height, width), bytes, as PNG."""
    return _encoded(_image(picture))


def sheet(pictures: Tensor) -> tuple[bytes, int, int]:
    """All pictures on one sheet, row by row, and the width and height of its cells.

    As many columns as rows, about; the sheet's sides are whole numbers of cells, and pictures are made smaller where
    they would not fit.
    """
    count, channels, height, width = pictures.shape
    columns = isqrt(count - 1) + 1
    rows = ceil(count / columns)
    scale = min(1.0, SHEET / (columns * width), SHEET / (rows * height))
    wide, high = max(1, int(width * scale)), max(1, int(height * scale))
    page = Image.new("L" if channels == 1 else "RGB", (columns * wide, rows * high))
    for place, picture in enumerate(pictures):
        image = _image(picture)
        if (wide, high) != image.size:
            image = image.resize((wide, high), Image.Resampling.BOX)
        page.paste(image, (place % columns * wide, place // columns * high))
    return _encoded(page), wide, high


def _image(picture: Tensor) -> Image.Image:
    pixels = picture.numpy()
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _encoded(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.save(target, format="PNG")
    return target.getvalue()
