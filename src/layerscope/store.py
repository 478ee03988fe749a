"""A value and its file: written whole, synced, renamed into place, so that a file exists completely or not at all."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensor_bytes
from torch import Tensor

from layerscope.errors import CorruptFileError, StorageError

ENTRY = "layerscope"
"""The one entry of the metadata of our safetensors files."""


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path`, making the folders above it.

    Raises:
        StorageError: if the disk is full or the place can't be written. What stood at `path` before still does.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise StorageError(
            f"Can't write {len(content):,} bytes to '{path}': {error.strerror}. Every file written before is complete; "
            "free some space or make the folder writable, then run the same command again: it goes on from there."
        ) from error


def save_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as readable JSON."""
    write(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CorruptFileError: if it is not one.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptFileError(f"'{path}' is not readable JSON ({error}); delete it and run again.") from error
    if not isinstance(value, dict):
        raise CorruptFileError(f"'{path}' holds no JSON object; delete it and run again.")
    return value


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write `tensors` as safetensors with `header` and the tensors' digest as one JSON entry of the metadata.

    One entry, because the format keeps several in no fixed order, and the same value must give the same bytes.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    entry = json.dumps({"header": header, "digest": tensors_digest(contiguous)}, sort_keys=True)
    write(path, tensor_bytes(contiguous, {ENTRY: entry}))


def load_header(path: Path) -> dict[str, Any]:
    """The header that `save_tensors` wrote, without reading the tensors.

    Raises:
        CorruptFileError: if `path` is no safetensors file of ours.
    """
    return dict(_entry(path)["header"])


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file that `save_tensors` wrote.

    Raises:
        CorruptFileError: if `path` is no safetensors file of ours, or a byte of its tensors has changed.
    """
    digest = _entry(path)["digest"]
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if tensors_digest(tensors) != digest:
        raise CorruptFileError(f"'{path}' is damaged (its contents have changed); delete it and run again.")
    return tensors


def load_tensor(path: Path, name: str) -> Tensor:
    """One tensor of a file that `save_tensors` wrote; the others are not read, and the digest is not checked."""
    with safe_open(path, framework="pt") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


def has_tensor(path: Path, name: str) -> bool:
    """Whether a file that `save_tensors` wrote holds a tensor of that name."""
    with safe_open(path, framework="pt") as file:
        return name in file.keys()  # noqa: SIM118 - not a mapping


def _entry(path: Path) -> dict[str, Any]:
    """Header and digest of a safetensors file of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            entry = json.loads((file.metadata() or {})[ENTRY])
            return {"header": entry["header"], "digest": entry["digest"]}
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CorruptFileError(f"'{path}' is damaged ({error}); delete it and run again.") from error


def save_table(path: Path, table: pd.DataFrame) -> None:
    """Write `table` as Parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink)
    write(path, sink.getvalue().to_pybytes())


def load_table(path: Path) -> pd.DataFrame:
    """Read a Parquet table.

    Raises:
        CorruptFileError: if it is not one.
    """
    try:
        return pq.read_table(path).to_pandas()
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise CorruptFileError(f"'{path}' is damaged ({error}); delete it and run again.") from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of `tensors`, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
