"""Pictures on sheets: many cells of one size in one PNG file, row by row."""

import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from layerscope.explorer.arrays import Rows
from layerscope.explorer.run import Run
from layerscope.recording import Recording
from layerscope.types import Pictures

SIDE = 4096
"""The most pixels of a sheet's side."""


class Sheets(NamedTuple):
    """Some pictures as a bundle holds them."""

    told: dict[str, Any]
    """Size of a cell, cells in a row, and which cells each sheet has."""
    files: dict[str, bytes]
    """PNG files by name."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def sheets(pictures: Pictures, name: str) -> Sheets:
    """Cells on as few sheets as hold them, called `NAME-0`, `NAME-1`, ..."""
    return laid(tuple(pictures.shape), lambda start, stop: pictures[start:stop], name)


def laid(shape: tuple[int, ...], cells_of: Callable[[int, int], Pictures], name: str) -> Sheets:
    """The same of cells that are asked for as each sheet is drawn: those of one sheet are in memory at a time.

    Args:
        shape: (n, c, h, w): of all cells.
        cells_of: those from one place up to another.
        name: of the sheets.
    """
    count, channels, height, width = shape
    columns = max(1, min(SIDE // width, count))
    most = columns * max(1, SIDE // height)
    found, listed = {}, []
    for number, start in enumerate(range(0, count, most)):
        cells, here = cells_of(start, min(start + most, count)), f"{name}-{number}"
        across, down = min(columns, len(cells)), -(-len(cells) // columns)
        sheet = np.zeros((down * across, channels, height, width), np.uint8)
        sheet[: len(cells)] = cells.numpy()
        beside = sheet.reshape(down, across, channels, height, width).transpose(0, 3, 1, 4, 2)
        found[f"sheets/{here}.png"] = png(beside.reshape(down * height, across * width, channels))
        listed.append({"name": here, "first": start, "count": len(cells)})
    return Sheets({"width": width, "height": height, "columns": columns, "sheets": listed}, found)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(height, width, 1 or 3) as a PNG file, grey or in colour."""
    target = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(target, format="png")
    return target.getvalue()


def sample_sheets(run: Run, rows: Rows, every: Mapping[str, int]) -> Sheets:
    """The samples' pictures, by condition; `told` has an entry of each condition that was recorded with pictures.

    Args:
        run: the run.
        rows: places of the samples in the recordings.
        every: by condition: all but every so many-th sample of these is left out; 0 leaves out all of them.
    """
    told: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for place, condition in enumerate(run.settings["chosen"]["conditions"]):
        recording, step = run.recordings[condition], every.get(condition, 1)
        kept = np.arange(0, len(rows), step) if step else rows[:0]
        none = recording.pictures(rows[:0])
        if none is None:
            continue
        made = laid((len(kept), *none.shape[1:]), partial(_cells, recording, rows[kept]), f"picture-{place}")
        left = len(rows) - len(kept)
        told[condition] = made.told | {"shown": len(kept), "thinned": left, "rows": kept.tolist() if left else None}
        files |= made.files
    return Sheets(told, files)


def _cells(recording: Recording, rows: Rows, start: int, stop: int) -> Pictures:
    """The pictures of some of these samples."""
    pictures = recording.pictures(rows[start:stop])
    assert pictures is not None  # since it has the size of one
    return pictures
