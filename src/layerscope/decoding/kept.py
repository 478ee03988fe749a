"""A decoding as data in a run's folder, where the explorer finds it.

decoding/<reduction>/<layer>.safetensors    units (k,); inversion (k, c, h, w): bytes, of images
decoding/<reduction>/<layer>.parquet        a row per unit: name, exemplars, fidelity
decoding/<reduction>/<layer>-fidelity.parquet   rows as in results.parquet
"""

from pathlib import Path

import torch
from torch import Tensor

from layerscope.decoding.decoded import Decoded, Decoding
from layerscope.images import pictures
from layerscope.store import save_table, save_tensors

SCHEMA, LONGEST = 1, 64
"""Of the files; and the longer side of a picture, in pixels, as recordings keep them."""


def save_decoding(decoding: Decoding, folder: Path | str) -> list[Path]:
    """Write what was made of each layer's units, in place of what was there of that layer.

    Returns:
        What was written, layer by layer.
    """
    folder, written = Path(folder), []
    table, results = decoding.table, decoding.results
    for layer, codes in decoding.codes.items():
        own = [one for one in decoding.units if one.layer == layer]
        tensors = {"units": torch.tensor([one.unit for one in own]), **_inversions(own, codes.network.bounds)}
        for name, rows in (("", table), ("-fidelity", results)):
            mine = (rows["layer"] == layer.name) & (rows["reduction"] == layer.reduction)
            save_table(folder / f"{layer.stem}{name}.parquet", rows[mine])
            written.append(folder / f"{layer.stem}{name}.parquet")
        # last, since it is what says that the layer is decoded
        path = folder / f"{layer.stem}.safetensors"
        save_tensors(path, tensors, {"schema": SCHEMA, "layer": layer.name, "reduction": layer.reduction})
        written.append(path)
    return written


def _inversions(units: list[Decoded], bounds: tuple[float, float]) -> dict[str, Tensor]:
    """The inversions as bytes, where there are some and they are images."""
    found = [one.inverted for one in units if one.inverted is not None]
    shown = pictures(torch.stack(found), bounds, LONGEST) if found else None
    return {} if shown is None else {"inversion": shown}
