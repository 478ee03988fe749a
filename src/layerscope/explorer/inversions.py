"""What `layerscope decode` left in a run's folder, as a bundle holds it."""

from typing import Any

from torch import Tensor

from layerscope.errors import RunMismatchError, format_told
from layerscope.explorer.description import plain
from layerscope.explorer.run import Run
from layerscope.explorer.sprites import SIDE, Sheets, sheets
from layerscope.images import pictures
from layerscope.layers import Layer
from layerscope.store import load_header, load_table, load_tensors
from layerscope.types import Pictures

SCHEMA = 1
"""Of the files in the folder `decoding`; others are refused."""


def decoded(run: Run) -> Sheets:
    """By reduction and layer, what each unit stands for, and a sheet with a cell for each.

    Raises:
        RunMismatchError: if a file was written in another format.
        CorruptFileError: if a file is not what was written.
    """
    clean = run.recordings["clean"]
    told: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for number, reduction in enumerate(clean.reductions):
        for place, layer in enumerate(clean.depth(reduction)):
            if (run.folder / "decoding" / f"{layer.stem}.safetensors").is_file():
                entry, own = _layer(run, layer, f"decoding-{number}-{place}")
                told.setdefault(reduction, {})[layer.name] = entry
                files |= own
    return Sheets(told, files)


def without_sheets(inverted: Sheets) -> Sheets:
    """The same without pictures; that there are some can still be read."""
    told = {
        reduction: {layer: entry | {"sheet": None} for layer, entry in layers.items()}
        for reduction, layers in inverted.told.items()
    }
    return Sheets(told, {})


def _layer(run: Run, layer: Layer, name: str) -> Sheets:
    path = run.folder / "decoding" / f"{layer.stem}.safetensors"
    schema = load_header(path).get("schema")
    if schema != SCHEMA:
        of_format = format_told(schema, SCHEMA, "decode the layer again")
        raise RunMismatchError(f"'{path}' holds a decoding of {of_format}")
    tensors, table = load_tensors(path), load_table(path.with_name(f"{path.stem}.parquet"))
    seen = table["reencoded"].notna() & ("inversion" in tensors)
    told = {
        "sheet": None, "width": 0, "height": 0, "columns": 0,
        "units": tensors["units"].tolist(), "inverted": seen.tolist(),
        **{column: [plain(value) for value in table[column].tolist()] for column in ("reencoded", "residual")},
        "names": table["name"].tolist(),
    }  # fmt: skip
    if "inversion" not in tensors:
        return Sheets(told, {})
    made = sheets(_on_one_sheet(tensors["inversion"]), name)
    size = {what: made.told[what] for what in ("width", "height", "columns")}
    return Sheets(told | size | {"sheet": made.told["sheets"][0]["name"]}, made.files)


def _on_one_sheet(cells: Tensor) -> Pictures:
    """The pictures, smaller where they are too many for one sheet as they are."""
    beside = int((len(cells) - 1) ** 0.5) + 1
    shrunk = pictures(cells.float(), (0.0, 255.0), SIDE // beside)
    assert shrunk is not None
    return shrunk
