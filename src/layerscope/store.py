"""A value and its file: written whole, synced, renamed into place, so that a file exists completely or not at all."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from layerscope.errors import CorruptFileError, FolderInUseError, StorageError

ENTRY = "layerscope"
"""The one entry of the metadata of our safetensors files."""
PART = ".part"
"""End of the names of folders in which a file is being written."""
LOCK = ".lock"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place to write what is to stand at `path`; synced and renamed into place where the block ends well.

    Raises:
        StorageError: if the disk is full or the place can't be written. What stood at `path` before still does.
    """
    own = path.with_name(f".{path.name}.{os.getpid()}{PART}")  # a folder, for whatever writes files beside its own
    part = own / path.name
    try:
        own.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        told = error.strerror if isinstance(error, OSError) else str(error)
        raise StorageError(
            f"Can't write '{path}': {told}. Every file written before is complete; free some space or make the folder "
            "writable, then run the same command again: it goes on from there."
        ) from error
    finally:
        shutil.rmtree(own, ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path`, making the folders above it.

    Raises:
        StorageError: see `replacing`.
    """
    with replacing(path) as part:
        part.write_bytes(content)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make `folder` this process's own to write to.

    The operating system holds the lock, so that it ends with the process, however that ends.

    Raises:
        FolderInUseError: if another process writes there.
        StorageError: if the folder can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise FolderInUseError(
            f"Another process is writing to '{folder}'; wait until it has ended, stop it, or choose another folder."
        ) from error
    except OSError as error:
        raise StorageError(f"Can't write to '{folder}': {error.strerror}; choose another folder.") from error
    try:
        yield
    finally:
        lock.release()


def clear_half_written(*folders: Path) -> None:
    """Delete what killed processes left half written in folders that are this process's own."""
    for folder in folders:
        for part in folder.glob(f".*{PART}"):
            shutil.rmtree(part, ignore_errors=True)


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
    """Write `tensors` as safetensors with `header` and each tensor's digest as one JSON entry of the metadata.

    One entry, because the format keeps several in no fixed order, and the same value must give the same bytes.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    digests = {name: tensors_digest({name: tensor}) for name, tensor in contiguous.items()}
    entry = json.dumps({"header": header, "digests": digests}, sort_keys=True)
    with replacing(path) as part:
        save_file(contiguous, part, {ENTRY: entry})


def load_header(path: Path) -> dict[str, Any]:
    """The header that `save_tensors` wrote, without reading the tensors.

    Raises:
        CorruptFileError: if `path` is no safetensors file of ours.
    """
    with _opened(path) as (_, entry):
        return dict(entry["header"])


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file that `save_tensors` wrote.

    Raises:
        CorruptFileError: if `path` is no safetensors file of ours, or a byte of its tensors has changed.
    """
    with _opened(path) as (file, entry):
        if set(file.keys()) != set(entry["digests"]):
            raise _damaged(path, "tensors are missing")
        return {name: _checked(path, name, file.get_tensor(name), entry) for name in entry["digests"]}


def load_tensor(path: Path, name: str, *, check: bool = True) -> Tensor:
    """One tensor of a file that `save_tensors` wrote, mapped into memory; the others are not read.

    Args:
        path: the file.
        name: the tensor's.
        check: compare its bytes with their digest, for which all of them are read.

    Raises:
        CorruptFileError: if `path` is no safetensors file of ours, has no such tensor, or a byte of it has changed.
    """
    with _opened(path) as (file, entry):
        if name not in entry["digests"]:
            raise _damaged(path, f"there is no {name!r}")
        tensor: Tensor = file.get_tensor(name)
        return _checked(path, name, tensor, entry) if check else tensor


def tensor_names(path: Path) -> tuple[str, ...]:
    """Names of the tensors of a file that `save_tensors` wrote.

    Raises:
        CorruptFileError: if `path` is no safetensors file of ours.
    """
    with _opened(path) as (_, entry):
        return tuple(entry["digests"])


def preamble_digest(path: Path) -> str:
    """SHA-256 of what stands before the tensors in a safetensors file: names, types, shapes, places, metadata."""
    with path.open("rb") as file:
        length = file.read(8)
        most = path.stat().st_size  # a damaged length may be any number
        return hashlib.sha256(length + file.read(min(int.from_bytes(length, "little"), most))).hexdigest()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A safetensors file of ours, and its header and digests."""
    try:
        with safe_open(path, framework="pt") as file:
            entry = json.loads((file.metadata() or {})[ENTRY])
            yield file, {"header": entry["header"], "digests": dict(entry["digests"])}
    except KeyError as error:
        raise CorruptFileError(
            f"'{path}' was not written by this library, or its header is damaged; give the file that was saved."
        ) from error
    except (SafetensorError, ValueError, TypeError) as error:
        raise _damaged(path, str(error)) from error


def _checked(path: Path, name: str, tensor: Tensor, entry: dict[str, Any]) -> Tensor:
    if tensors_digest({name: tensor}) != entry["digests"][name]:
        raise _damaged(path, f"the contents of {name!r} have changed")
    return tensor


def _damaged(path: Path, what: str) -> CorruptFileError:
    return CorruptFileError(f"'{path}' is damaged ({what}); delete it and run again.")


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
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
