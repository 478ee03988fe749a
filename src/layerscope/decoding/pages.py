"""A decoding as files: sheets as PNG, a table of units and the rows of results as Parquet."""

import io
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from layerscope.decoding.decoded import Decoding
from layerscope.decoding.layer_codes import image_shape
from layerscope.decoding.sheets import PICTURES, contact_sheet, unit_sheet
from layerscope.decoding.texts import text_sheet
from layerscope.layers import Layer
from layerscope.store import save_table, write

TEXT_UNITS = 12
"""Of a layer of texts, the units on its sheet: those with the most texts."""


def write_decoding(decoding: Decoding, folder: Path | str, *, sheets_of_units: bool = True) -> list[Path]:
    """Write what there is to see of a decoding into a folder.

    `LAYER-inversion.png`, `LAYER-nearest.png`, ... with a picture in every unit; `LAYER-unit-K.png`; of texts
    `LAYER-texts.png`; `units.parquet`, a row per unit; `fidelity.parquet`, rows as in results.parquet.

    Args:
        decoding: from `decode`.
        folder: made where it is not there; files of the same names are replaced.
        sheets_of_units: whether to draw a sheet of each unit.

    Returns:
        What was written, tables last.
    """
    folder, written = Path(folder), []
    for layer, codes in decoding.codes.items():
        samples = codes.shown([0])
        units = [one for one in decoding.units if one.layer == layer]
        name = f"{layer.name}-{layer.reduction.replace(':', '-')}"
        if image_shape(samples) is not None:
            for what in PICTURES:
                if what == "inversion" and all(one.inverted is None for one in units):
                    continue
                if what == "readout" and all(one.read is None for one in units):
                    continue
                if what in ("nearest", "mean") and all(not one.exemplars.count for one in units):
                    continue
                figure = contact_sheet(decoding, what, layer=layer).figure
                assert isinstance(figure, Figure)
                written.append(_saved(figure, folder / f"{name}-{what}.png"))
            for one in units if sheets_of_units else ():
                sheet = unit_sheet(decoding, one.unit, layer=layer)
                written.append(_saved(sheet, folder / f"{name}-unit-{one.unit}.png"))
        elif not isinstance(samples, Tensor):
            written += _texts(decoding, layer, folder / f"{name}-texts.png")
    for name, table in (("units", decoding.table), ("fidelity", decoding.results)):
        save_table(folder / f"{name}.parquet", table)
        written.append(folder / f"{name}.parquet")
    return written


def _texts(decoding: Decoding, layer: Layer, path: Path) -> list[Path]:
    """The sheet of a layer of texts, where its network's own preprocessing can write them out."""
    codes = decoding.codes[layer]
    units = [one for one in decoding.units if one.layer == layer and one.attribution is not None]
    units = sorted(units, key=lambda one: -one.exemplars.count)[:TEXT_UNITS]
    if not units or getattr(codes.network.preprocess, "tokenizer", None) is None:
        return []
    return [_saved(text_sheet(decoding, [one.unit for one in units], layer=layer), path)]


def _saved(figure: Figure, path: Path) -> Path:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=100, metadata={"Software": None})
    write(path, target.getvalue())
    return path
