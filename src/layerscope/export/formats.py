"""The files that other tools read, written without those tools."""

import csv
import io
import json
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.types import is_numeric_dtype

from layerscope.export.images import png, sheet
from layerscope.export.rows import Samples
from layerscope.store import replacing, write

FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""What a spreadsheet takes for the beginning of a formula, in both widths; as in the page's `saving.js`."""
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
"""A text that begins as a formula and is none."""
BREAKS = re.compile(r"[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
"""What ends a cell or a line of a TSV file, which knows no quotes, for one reader or another."""
OWN_FIELDS = {"id": "source_id"}
"""FiftyOne's samples have an `id` of their own."""


def write_csv(samples: Samples, folder: Path) -> list[Path]:
    """`samples.csv`: texts in quotes, with an apostrophe before what a spreadsheet would calculate."""
    table = samples.table
    columns = [table[name] if is_numeric_dtype(table[name]) else table[name].map(_plain) for name in table]
    table = pd.concat(columns, axis=1).rename(columns=_plain)
    return [_written(folder / "samples.csv", table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode())]


def write_embedding_atlas(samples: Samples, folder: Path) -> list[Path]:
    """`samples.parquet`: `x` and `y` are the projection, `image` is {bytes, path} as in Hugging Face's data sets."""
    table = pa.Table.from_pandas(samples.table, preserve_index=False)
    if samples.pictures is not None:
        cells = [
            {"bytes": png(picture), "path": f"{number}.png"}
            for number, picture in zip(samples.table["id"], samples.pictures, strict=True)
        ]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = table.append_column("image", pa.array(cells, kind))
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "samples.parquet") as part:
        pq.write_table(table, part)
    return [folder / "samples.parquet"]


def write_fiftyone(samples: Samples, folder: Path) -> list[Path]:
    """`data/ID.png`, `metadata.json` and `samples.json`, as FiftyOne reads a data set of its own without a database."""
    table, numbers = samples.table, samples.table["id"].tolist()
    if samples.pictures is not None:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        for number, picture in zip(numbers, samples.pictures, strict=True):
            # not synced one by one: the list of samples, which is written last, says that all are there
            (folder / "data" / f"{number}.png").write_bytes(png(picture))
    fields = field_names(table.columns.tolist())
    rows = [
        {"filepath": f"data/{number}.png", "tags": [], **_fields(row, fields)}
        for number, row in zip(numbers, table.to_dict("records"), strict=True)
    ]
    columns = {field: column for column, field in fields.items() if not column.startswith("confidence")}
    about = {"info": {"network": samples.title, "columns": columns}}
    return [
        _written(folder / "metadata.json", json.dumps(about, allow_nan=False).encode()),
        _written(folder / "samples.json", json.dumps({"samples": rows}, allow_nan=False).encode()),
    ]


def write_tensorboard(samples: Samples, folder: Path) -> list[Path]:
    """`tensors.tsv`, `metadata.tsv`, `sprite.png` and the `projector_config.pbtxt` that names them."""
    written = [
        _written(folder / "tensors.tsv", _tensors(samples.vectors.numpy())),
        _written(folder / "metadata.tsv", _metadata(samples.table)),
    ]
    embedding = [
        f"tensor_name: {_quoted(samples.map)}", 'tensor_path: "tensors.tsv"', 'metadata_path: "metadata.tsv"',
    ]  # fmt: skip
    if samples.pictures is not None:
        page, width, height = sheet(samples.pictures)
        written.append(_written(folder / "sprite.png", page))
        embedding.append(f'sprite {{ image_path: "sprite.png" single_image_dim: {width} single_image_dim: {height} }}')
    config = "embeddings {\n  " + "\n  ".join(embedding) + "\n}\n"
    return [*written, _written(folder / "projector_config.pbtxt", config.encode())]


def field_names(columns: list[str]) -> dict[str, str]:
    """For each column a name that FiftyOne takes for a field: letters, digits and `_`, each once."""
    fields: dict[str, str] = {}
    for column in columns:
        plain = re.sub(r"\W", "_", column.replace("/", "of"), flags=re.ASCII).strip("_") or "field"
        name, number = OWN_FIELDS.get(column, plain), 2
        while name in fields.values():
            name, number = f"{plain}_{number}", number + 1
        fields[column] = name
    return fields


def _fields(row: Mapping[Any, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """A sample's fields; classes are classifications, and what has no value, or none that JSON knows, is left out."""
    found: dict[str, Any] = {}
    for column, value in row.items():
        kind, _, ending = column.partition("@")
        if kind == "label":
            found[fields[column]] = {"_cls": "Classification", "label": value}
        elif kind == "prediction":
            confidence = float(row[f"confidence{'@' if ending else ''}{ending}"])
            found[fields[column]] = {"_cls": "Classification", "label": value, "confidence": confidence}
        elif kind != "confidence" and value is not None and not (isinstance(value, float) and not isfinite(value)):
            found[fields[column]] = value
    return found


def _tensors(vectors: np.ndarray) -> bytes:
    """A row per sample, with as many digits as a single-precision number has."""
    target = io.StringIO()
    np.savetxt(target, vectors, fmt="%.9g", delimiter="\t")
    return target.getvalue().encode()


def _metadata(table: pd.DataFrame) -> bytes:
    """A head and a row per sample; what would break a row is a space, and no cell is calculated."""
    columns = [[name, *table[name].tolist()] for name in table]
    rows = zip(*([_cell(value) for value in column] for column in columns), strict=True)
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def _cell(value: Any) -> str:
    """A cell of a TSV file, which spreadsheets open, too; empty where there is no value."""
    return "" if pd.isna(value) else BREAKS.sub(" ", str(_plain(value)))


def _plain(text: Any) -> Any:
    """A text that no spreadsheet calculates."""
    return f"'{text}" if isinstance(text, str) and FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def _quoted(text: str) -> str:
    """A string of the protocol buffers' text format."""
    told = "".join(chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\{one:03o}" for one in text.encode())
    return f'"{told}"'


def _written(path: Path, content: bytes) -> Path:
    write(path, content)
    return path
