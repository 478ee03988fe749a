"""A decoding as data in a run's folder, where the explorer finds it.

decoding/<reduction>/<layer>.safetensors    units (k,); inversion (k, c, h, w): bytes, of images
decoding/<reduction>/<layer>.parquet        a row per unit: name, exemplars, fidelity (none where it was not inverted)
decoding/<reduction>/<layer>-fidelity.parquet   rows as in results.parquet
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from layerscope.decoding.decoded import Decoded, Decoding
from layerscope.errors import CorruptFileError, RunMismatchError, format_told, is_newer
from layerscope.images import pictures
from layerscope.layers import Layer
from layerscope.store import load_header, load_table, load_tensors, save_table, save_tensors

SCHEMA, LONGEST = 1, 64
"""Of the files; and the longer side of a picture, in pixels, as recordings keep them."""


class Kept(NamedTuple):
    """What is kept of a layer's units."""

    table: pd.DataFrame
    """A row per unit."""
    inversions: Tensor | None
    """(k, c, h, w), bytes, in the order of the rows, black where a unit was not inverted; None where none is."""


def save_decoding(decoding: Decoding, folder: Path | str) -> list[Path]:
    """Write what was made of each layer's units, in place of what was there of these; other units stay as they are.

    The rows of fidelity are over all units of one decoding: those of the decoding that had most of them stay.

    Returns:
        What was written, layer by layer.

    Raises:
        RunMismatchError: if a newer Layerscope wrote what is there.
    """
    folder, written = Path(folder), []
    table, results = decoding.table, decoding.results
    for layer, codes in decoding.codes.items():
        rows, fidelity = (
            one[(one["layer"] == layer.name) & (one["reduction"] == layer.reduction)] for one in (table, results)
        )
        units = [one for one in decoding.units if one.layer == layer]
        own, path = Kept(rows, _inversions(units, codes.network.bounds)), folder / f"{layer.stem}.safetensors"
        before = _before(path)
        parts = {"": own.table, "-fidelity": fidelity}
        if before is not None:
            own = _merged(before, own)
            parts = {"": own.table} if len(before.table) > len(rows) else {"": own.table, "-fidelity": fidelity}
        for name, part in parts.items():
            save_table(folder / f"{layer.stem}{name}.parquet", part)
            written.append(folder / f"{layer.stem}{name}.parquet")
        # last, since it is what says that the layer is decoded
        tensors = {"units": torch.tensor(own.table["unit"].to_numpy())}
        tensors |= {} if own.inversions is None else {"inversion": own.inversions}
        save_tensors(path, tensors, {"schema": SCHEMA, "layer": layer.name, "reduction": layer.reduction})
        written.append(path)
    return written


def left_to_decode(folder: Path | str, layer: Layer, units: int) -> list[int]:
    """Those of a layer's units of which nothing is kept.

    Raises:
        RunMismatchError: if a newer Layerscope wrote what is there.
    """
    before = _before(Path(folder) / f"{layer.stem}.safetensors")
    kept = set() if before is None else set(before.table["unit"])
    return [unit for unit in range(units) if unit not in kept]


def _before(path: Path) -> Kept | None:
    """What is kept of a layer; nothing where that can't be read, so that decoding it again is the way out.

    Raises:
        RunMismatchError: if a newer Layerscope wrote it.
    """
    try:
        schema = load_header(path).get("schema")
        if is_newer(schema, SCHEMA):
            told = format_told(schema, SCHEMA, "decode the layer again")
            raise RunMismatchError(f"'{path}' holds a decoding of {told}")
        if schema != SCHEMA:
            return None
        table, tensors = load_table(path.with_name(f"{path.stem}.parquet")), load_tensors(path)
    except (FileNotFoundError, CorruptFileError):
        return None
    whole = table["unit"].tolist() == tensors["units"].tolist()  # or it was killed between the two
    return Kept(table, tensors.get("inversion")) if whole else None


def _merged(before: Kept, own: Kept) -> Kept:
    """Each unit as it was decoded last, in order of units."""
    rows = [*before.table.to_dict("records"), *own.table.to_dict("records")]
    last = {row["unit"]: place for place, row in enumerate(rows)}
    places = [last[unit] for unit in sorted(last)]
    shown = [one for one in (before.inversions, own.inversions) if one is not None]
    parts = [
        torch.zeros(len(one.table), *shown[0].shape[1:], dtype=torch.uint8)
        if one.inversions is None
        else one.inversions
        for one in (before, own)
        if shown
    ]
    return Kept(pd.DataFrame([rows[place] for place in places]), torch.cat(parts)[places] if parts else None)


def _inversions(units: list[Decoded], bounds: tuple[float, float]) -> Tensor | None:
    """The inversions as bytes, where there are some and they are images."""
    found = [one.inverted for one in units if one.inverted is not None]
    return pictures(torch.stack(found), bounds, LONGEST) if found else None
