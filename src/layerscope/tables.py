"""Tables as data: Parquet files, and data sets of the Hugging Face hub and its library."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from layerscope.data import Data, checked_ids, some
from layerscope.objects import CONTENT, LABELS
from layerscope.pictures import Decoding, Encoded
from layerscope.progress import bar
from layerscope.specs import imported
from layerscope.store import file_digest

HUB = re.compile(r"hf:(.+):((?:[\w.+-]|\[[^]]*])+)")
"""A hub spec: name or folder, and split, of which a part may be said as in `train[:1000]`."""
READ = 100
"""Rows of a Hugging Face data set that are read at once for its fingerprint."""


def open_parquet(path: Path, decode: Decoding) -> Data:
    """A column `image` or `text`, and, where there are any, `label` and `id`.

    Raises:
        ValueError: if it is no Parquet file, has neither column or both, ids come twice, or labels are missing.
        TypeError: if a column is of another type than it must be.
    """
    if not path.is_file():
        raise ValueError(f"`data`: there is no file '{path}'.")
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            schema = file.schema_arrow
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            extra = file.read(columns=[name for name in ("label", "id") if name in schema.names])
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"`data`: '{path}' is no readable Parquet file ({error}).") from error
    source = f"parquet:{path}"
    column = _content_column([name for name in CONTENT if name in schema.names], schema.names, source)
    _check_type(schema.field(column).type, column, source)
    labels: Tensor | None = None
    names: tuple[str, ...] = ()
    if "label" in schema.names:
        labels, names = _labels(extra["label"], _written_names(schema), source)
    count = sum(sizes)
    ids = None
    if "id" in schema.names:
        ids = checked_ids(extra["id"].to_numpy(), count, f"the column `id` of {source}")
    read = _reading(_Cells(path, column, sizes), labels)
    return _opened(Data(source, np.arange(count), read, names, file_digest(path), ids=ids), column, decode)


def open_hub(spec: str, decode: Decoding) -> Data:
    """`hf:NAME:SPLIT`, `hf:NAME@REVISION:SPLIT`, or `hf:FOLDER:SPLIT`. No code that comes with a data set is run.

    Raises:
        ValueError: if the spec can't be read or the data set not be loaded.
        ImportError: if the library isn't installed; says the pip line.
    """
    said = HUB.fullmatch(spec)
    if said is None:
        raise ValueError(
            f"The data spec {spec!r} can't be read; write `hf:NAME:SPLIT`, `hf:NAME@REVISION:SPLIT` or "
            "`hf:FOLDER:SPLIT`, such as 'hf:ylecun/mnist:test'."
        )
    place, split = said.groups()
    library = imported("datasets", spec, "models")
    name, _, revision = (place, "", "") if Path(place).exists() else place.partition("@")
    try:
        made = library.load_dataset(name, revision=revision or None, split=split)
    except (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError) as error:
        raise ValueError(
            f"The data spec {spec!r} can't be loaded ({error}). Where more is to be said than name, revision and "
            "split, load it yourself and give the Dataset, or `py:package.module:factory`."
        ) from error
    return open_hf(made, spec, decode)


def open_hf(dataset: Any, source: str, decode: Decoding) -> Data:
    """A Dataset of the library `datasets`: its column of images or texts, and its labels, if there are any.

    Raises:
        ValueError: if it is several splits, has not one column of images or texts, or labels are missing.
        TypeError: if labels are neither whole numbers nor text.
    """
    if isinstance(dataset, Mapping):
        raise ValueError(f"`data` must be one split; got several ({', '.join(dataset)}). Give one of them.")
    features = dataset.features
    label = _label_column(features, source)
    column = _content_column(_content_columns(features, label), list(features), source)
    pictures = type(features[column]).__name__ == "Image"
    wanted = dataset.with_format(None).select_columns([column])
    if pictures:
        wanted = wanted.cast_column(column, type(features[column])(decode=False))
    labels: Tensor | None = None
    names: tuple[str, ...] = ()
    if label is not None:
        table = dataset.select_columns([label]).with_format("arrow")[:]
        labels, names = _labels(table[label], tuple(getattr(features[label], "names", ())), source)

    def cells(rows: Sequence[int]) -> list[Any]:
        given = wanted[list(rows)][column]
        return [_encoded(cell) for cell in given] if pictures else list(given)

    digest = hashlib.sha256(labels.numpy().tobytes() if labels is not None else b"")
    with bar("reading the data", len(dataset), show=decode.show_progress) as progress:
        for start in range(0, len(dataset), READ):
            part = cells(range(start, min(start + READ, len(dataset))))
            for content in map(_bytes, part):
                digest.update(f"{len(content)}:".encode() + content)
            progress.advance(len(part))
    data = Data(source, np.arange(len(dataset)), _reading(cells, labels), names, digest.hexdigest())
    return _opened(data, "image" if pictures else "text", decode)


def is_hf(source: Any) -> bool:
    """Whether an object is a map-style Dataset, or several, of the library `datasets`, which need not be there."""
    theirs = type(source).__module__.partition(".")[0] == "datasets"
    return theirs and hasattr(source, "column_names") and hasattr(source, "__len__")


class _Cells:
    """One column of a Parquet file, a row group at a time: the one that was read last is kept, encoded."""

    def __init__(self, path: Path, column: str, sizes: Sequence[int]) -> None:
        self._path, self._column = path, column
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._sizes = sizes
        self._group = -1
        self._held: Any = None

    def __call__(self, rows: Sequence[int]) -> list[Any]:
        return [self._cell(int(row)) for row in rows]

    def _cell(self, row: int) -> Any:
        group = int(np.searchsorted(self._ends, row, side="right"))
        if group != self._group:
            self._held = self._read(group)
            self._group = group
        return self._held[row - int(self._ends[group]) + self._sizes[group]].as_py()

    def _read(self, group: int) -> Any:
        try:
            with pq.ParquetFile(self._path, memory_map=True) as file:
                column = file.read_row_group(group, columns=[self._column])[self._column]
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"`data`: row group {group} of '{self._path}' can't be read ({error}).") from error
        return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column


def _reading(
    cells: Callable[[Sequence[int]], list[Any]], labels: Tensor | None
) -> Callable[[Sequence[int]], tuple[list[Any], Tensor | None]]:
    """Cells and labels of rows."""
    return lambda rows: (cells(rows), None if labels is None else labels[list(rows)])


def _opened(data: Data, column: str, decode: Decoding) -> Data:
    """Images decoded, texts checked."""
    if column == "image":
        return decode(data, lambda row: f"{data.source}, row {row}")

    def read(rows: Sequence[int]) -> tuple[list[str], Tensor | None]:
        texts, labels = data.read(rows)
        missing = [row for row, text in zip(rows, texts, strict=True) if not isinstance(text, str)]
        if missing:
            raise ValueError(f"`data`: {data.source} has no text in rows {some(missing)}; fill them or leave them out.")
        return texts, labels

    return replace(data, read=read)


def _content_column(found: Sequence[str], columns: Sequence[str], source: str) -> str:
    """The one column that inputs stand in."""
    if len(found) == 1:
        return found[0]
    told = "neither" if not found else f"several ({', '.join(map(repr, found))})"
    raise ValueError(
        f"`data` must have one column of inputs, `image` or `text`; {source} has {told} among its columns "
        f"{', '.join(map(repr, columns)) or '(none)'}. Rename or remove columns, or give the inputs as an object."
    )


def _check_type(kind: pa.DataType, column: str, source: str) -> None:
    """Raise TypeError where a Parquet column can't hold what it is called."""
    inner = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    if not (_is_text(kind) if column == "text" else pa.types.is_binary(inner) or pa.types.is_large_binary(inner)):
        must = "text" if column == "text" else "encoded images: bytes, or a struct with a field `bytes`"
        raise TypeError(f"`data`: the column `{column}` of {source} must be {must}; it is {kind}.")


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)


def _labels(column: pa.ChunkedArray, names: tuple[str, ...], source: str) -> tuple[Tensor, tuple[str, ...]]:
    """Whole numbers and what they are called; text is numbered in the order of its sorted values."""
    if column.null_count:
        raise ValueError(
            f"`data`: {column.null_count} of {len(column)} labels of {source} are missing; leave these rows out, or "
            "the column."
        )
    if pa.types.is_integer(column.type):
        return torch.tensor(column.to_numpy().astype(np.int64)), names
    if _is_text(column.type):
        texts: list[str] = column.to_pylist()
        values = sorted(set(texts))
        number = {value: place for place, value in enumerate(values)}
        return torch.tensor([number[text] for text in texts], dtype=torch.int64), tuple(values)
    raise TypeError(f"`data`: labels must be whole numbers or text; those of {source} are {column.type}.")


def _written_names(schema: pa.Schema) -> tuple[str, ...]:
    """The class names that the library `datasets` writes into a Parquet file."""
    try:
        written: Any = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(map(str, written["info"]["features"]["label"]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def _label_column(features: Mapping[str, Any], source: str) -> str | None:
    """`label`, `labels`, or the only column of class labels."""
    named = [name for name in LABELS if name in features]
    found = named or [name for name, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    if len(found) > 1:
        raise ValueError(
            f"`data` must have one column of labels; {source} has {', '.join(map(repr, found))}. Call one of them "
            "`label` and remove the others."
        )
    return found[0] if found else None


def _content_columns(features: Mapping[str, Any], label: str | None) -> list[str]:
    """The columns of images, and `text`; without any, the columns of text."""
    images = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    texts = [
        name
        for name, feature in features.items()
        if name != label and getattr(feature, "dtype", "") in ("string", "large_string")
    ]
    return images + [name for name in texts if name == "text"] or texts


def _encoded(cell: Any) -> Encoded:
    """An image as the library `datasets` keeps it: bytes, or the path of a file."""
    if cell is None or cell["bytes"] is not None:
        return cell and cell["bytes"]
    return Path(cell["path"]) if cell["path"] is not None else None


def _bytes(cell: Encoded | str) -> bytes:
    """What stands in a cell."""
    if isinstance(cell, Path):
        return cell.read_bytes() if cell.is_file() else b""
    return cell.encode() if isinstance(cell, str) else cell or b""
