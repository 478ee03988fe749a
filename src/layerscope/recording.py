"""What every chosen layer says to every sample, on disk: network x data -> recording.

    recordings/clean/
      manifest.json              layers (name, reduction, width), shards with row range and checksum
      shard-00000.safetensors    one tensor per layer (rows, width), and logits; picture: the inputs (rows, c, h, w)
      samples.parquet            id, label, prediction, confidence, source; linf, l2: how far it was perturbed; text

A shard is written whole or not at all, and says in its header what it belongs to: a run that was killed finds the
shards that are there and goes on after the last.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from layerscope.data import Data
from layerscope.errors import CorruptFileError, RunMismatchError, format_told
from layerscope.estimate import check_room, estimate
from layerscope.fingerprints import callable_text
from layerscope.layers import LOGITS, Layer, plan_layers
from layerscope.models import load_network
from layerscope.network import Network
from layerscope.progress import bar
from layerscope.recorder import PICTURE, SIZES, Gathered, Perturb, Recorder, several_rows
from layerscope.reductions import PerSampleReduction, parse_reduction
from layerscope.sources import load_data
from layerscope.store import (
    clear_half_written,
    file_digest,
    load_header,
    load_json,
    load_table,
    load_tensor,
    load_tensors,
    locked,
    preamble_digest,
    save_json,
    save_table,
    save_tensors,
    tensor_names,
)
from layerscope.types import Labels, Logits, Pictures, Samples, Units, Vectors

SCHEMA = 3
SHARD_BYTES = 2**25
PRECISIONS = ("float32", "float16", "bfloat16")
"""How numbers may be stored."""
CHARACTERS = 2000
"""The most that are kept of a text."""


@dataclass(frozen=True)
class Blocks:
    """One tensor of every shard, mapped into memory as it is asked for; checked against its digest the first time."""

    shards: tuple[Path, ...]
    name: str
    _checked: set[tuple[Path, str]] = field(default_factory=set, repr=False, compare=False)

    def __iter__(self) -> Iterator[Tensor]:
        for shard in self.shards:
            tensor = load_tensor(shard, self.name, check=(shard, self.name) not in self._checked)
            self._checked.add((shard, self.name))
            yield tensor.float() if tensor.is_floating_point() else tensor

    def rows(self, wanted: NDArray[np.int64]) -> Tensor:
        """(k, ...): some rows, in the order in which they are asked for; shards that hold none of them are not read.

        Raises:
            IndexError: if there is no such row.
        """
        start, found, places = 0, [], []
        for shard in self.shards:
            mapped = load_tensor(shard, self.name, check=False)
            inside = np.flatnonzero((wanted >= start) & (wanted < start + len(mapped)))
            own = next(iter(Blocks((shard,), self.name, self._checked))) if len(inside) else mapped
            found.append(own[torch.from_numpy(wanted[inside] - start)])
            places.append(inside)
            start += len(mapped)
        order = np.concatenate(places).argsort()
        if len(order) < len(wanted):
            raise IndexError(f"`rows` must lie from 0 to {start - 1}; got {wanted.min()} to {wanted.max()}.")
        return torch.cat(found)[torch.from_numpy(order)]


@dataclass(frozen=True)
class Recording:
    """Samples x layers of reduced activations under one condition. Vectors are read from disk when asked for."""

    folder: Path
    condition: str
    """`clean`, or what was done to the inputs, such as `pgd:linf=8/255`."""
    layers: tuple[Layer, ...]
    """In order of depth, one reduction after another; each reduction starts at `input` and ends at `logits`."""
    ids: Tensor = field(repr=False)
    """(n,), int64."""
    labels: Labels | None = field(repr=False)
    """(n,), or none."""
    predictions: Labels | None = field(repr=False)
    """(n,): the class that the network answers; none where it has no logits."""
    shards: tuple[str, ...] = field(repr=False)
    """File names, in order of rows."""
    sizes: Mapping[str, Tensor] = field(repr=False, default_factory=dict)
    """Of a perturbed recording, how far each input is from the clean one: `linf` and `l2`, each (n,)."""
    texts: tuple[str, ...] | None = field(repr=False, default=None)
    """What each sample says, at most 2,000 characters of it; none where samples are no texts, or they were not kept."""
    _checked: set[tuple[Path, str]] = field(default_factory=set, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def reductions(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(dict.fromkeys(layer.reduction for layer in self.layers))

    def depth(self, reduction: str) -> tuple[Layer, ...]:
        """The layers under one reduction, from `input` to `logits`."""
        return tuple(layer for layer in self.layers if layer.reduction == reduction)

    def vectors(self, layer: Layer | str) -> Vectors:
        """(n, width), float32: what one layer said; under `tokens` and `positions:N`, (m, width) with m >= n.

        Raises:
            KeyError: if the layer was not recorded.
            CorruptFileError: if a byte of it has changed on disk; names the shard.
        """
        return torch.cat(list(self.blocks(layer)))

    def blocks(self, layer: Layer | str) -> Blocks:
        """What one layer said, shard by shard: iterate it as often as you like; one shard is in memory at a time.

        `layerscope.som.SOM` fits on it. A layer may be named as it is written, `blocks.0|mean`.

        Raises:
            KeyError: if the layer was not recorded.
        """
        if str(layer) not in map(str, self.layers):
            raise KeyError(f"Layer '{layer}' was not recorded; layers are: {', '.join(map(str, self.layers))}.")
        return self._blocks(str(layer))

    def parents(self, layer: Layer) -> Units:
        """(m,): the id of the sample that each vector of a layer belongs to."""
        if isinstance(parse_reduction(layer.reduction), PerSampleReduction):
            return self.ids
        return torch.cat(list(self._blocks(f"{layer}|sample")))

    def places(self, layer: Layer) -> Units:
        """(m,): which token of its sample, or which position (row by row), each vector of a layer is; 0 without any."""
        if isinstance(parse_reduction(layer.reduction), PerSampleReduction):
            return torch.zeros_like(self.ids)
        return torch.cat(list(self._blocks(f"{layer}|place")))

    def logits(self) -> Logits:
        """(n, classes), float32.

        Raises:
            KeyError: if the network has none, or they were not wanted.
        """
        if self.predictions is None:
            raise KeyError("Logits were not recorded.")
        return torch.cat(list(self._blocks(LOGITS)))

    def pictures(self, rows: NDArray[np.int64] | None = None) -> Pictures | None:
        """(n, c, h, w), uint8: the inputs as the network got them, the bounds at 0 and 255; None where none were kept.

        Args:
            rows: (k,), places of samples: of these alone, in this order; shards that hold none of them are not read.

        Raises:
            CorruptFileError: if a byte of them has changed on disk; names the shard.
            IndexError: if there is no such row.
        """
        if PICTURE not in tensor_names(self.folder / self.shards[0]):
            return None
        kept = self._blocks(PICTURE)
        return torch.cat(list(kept)) if rows is None else kept.rows(rows)

    def _blocks(self, name: str) -> Blocks:
        return Blocks(tuple(self.folder / shard for shard in self.shards), name, self._checked)


def record(
    network: Network | nn.Module | str,
    data: Any,
    layers: str | Sequence[str],
    folder: Path | str,
    *,
    reductions: Sequence[str] = ("mean", "sketch:512"),
    condition: str = "clean",
    perturb: Perturb | None = None,
    batch_size: int = 250,
    dtype: str = "float32",
    logits: bool = True,
    pictures: int = 0,
    overwrite: bool = False,
    show_progress: bool = True,
) -> Recording:
    """Run the data through the network once and keep what the layers say, under every reduction.

    Args:
        network: the network; see `load_network`.
        data: the samples; see `load_data`.
        layers: `auto`, a pattern, or several (see `plan_layers`); a reduction after a bar is that pattern's own.
            `input` and `logits` are added.
        folder: where the recording goes. What an earlier, interrupted call with the same arguments wrote is kept.
        reductions: how outputs become vectors. The input is recorded whole (up to 4,096 wide; its average would say
            nothing), else by `sketch:512`.
        condition: what the recording is called.
        perturb: makes the inputs from each clean batch; none for `clean`. When a recording is looked for again, one
            perturbation is told from another by its source and by the values that it holds.
        batch_size: samples per forward pass.
        dtype: of the stored numbers: `float32`; `float16` and `bfloat16` take half the disk.
        logits: whether to keep them; without them, each pass ends with the last wanted layer.
        pictures: keep what the network got, to be looked at: of images, bytes (the bounds at 0 and 255) whose longer
            side has at most so many pixels, larger ones averaged over areas; of texts, 2,000 characters. 0 keeps none.
        overwrite: delete a recording of something else that stands in the folder.
        show_progress: whether to say what is to be done and draw a progress bar, on standard error.

    Raises:
        ValueError: if inputs lie outside the network's bounds, labels outside its classes, or an argument out of range.
        NonFiniteError: if a layer puts out NaN or infinity; names it and the samples.
        RunMismatchError: if the folder holds a recording of something else; says what differs.
        FolderInUseError: if another process records into the folder.
        StorageError: if the disk can't hold the recording or the folder can't be written. Shards written before stay,
            and the same call goes on there.
    """
    if dtype not in PRECISIONS:
        raise ValueError(f"`dtype` must be one of {', '.join(PRECISIONS)}; got {dtype!r}.")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"`batch_size` must be a whole number, at least 1; got {batch_size!r}.")
    if not isinstance(pictures, int) or isinstance(pictures, bool) or pictures < 0:
        raise ValueError(f"`pictures` must be a whole number of pixels, or 0 for none; got {pictures!r}.")
    folder, network = Path(folder), load_network(network)
    data = load_data(data, resize=network.resize, show_progress=show_progress)
    two = data.take(data.rows[:2])
    try:
        plan = plan_layers(network, two.inputs, layers, reductions, logits=logits)
    except (RuntimeError, TypeError, IndexError) as error:
        error.add_note(f"This was while showing two samples to the network: {_told(two.inputs)}.")
        raise
    if not plan:
        raise ValueError(f"`layers` {layers!r} leaves nothing to record; name layers, or `auto`.")
    options = {"batch_size": batch_size, "dtype": dtype, "logits": logits, "pictures": pictures}
    made_of = _made_of(network, data, plan, condition, perturb, **options)
    with locked(folder):
        _check_folder(folder, made_of, overwrite=overwrite)
        clear_half_written(folder)  # of a finished one too: the last file may be there, and its part not yet gone
        if not (folder / "manifest.json").is_file() or not (folder / "samples.parquet").is_file():
            recorder = Recorder(network, plan, dtype, logits=logits, pictures=pictures)
            probe = recorder.probe(data.take(data.rows[:1]))
            _write_shards(recorder, data, folder, made_of, perturb, probe, show=show_progress)
        return load_recording(folder)


def load_recording(folder: Path | str) -> Recording:
    """A recording that `record` has finished. Shards are mapped when they are read, and checked then.

    Raises:
        FileNotFoundError: if there is none in `folder`.
        CorruptFileError: if a file is missing, or not what was written; names it.
        RunMismatchError: if it was written in another format.
    """
    folder = Path(folder)
    manifest = load_json(folder / "manifest.json")
    if manifest.get("schema") != SCHEMA:
        told = format_told(manifest.get("schema"), SCHEMA, "record it again")
        raise RunMismatchError(f"'{folder}' was recorded in {told}")
    samples = folder / "samples.parquet"
    for shard in manifest["shards"]:
        path = folder / shard["file"]
        if not path.is_file() or path.stat().st_size != shard["bytes"] or preamble_digest(path) != shard["preamble"]:
            raise CorruptFileError(f"'{path}' is missing or damaged; delete '{folder}' and run again.")
    if not samples.is_file() or file_digest(samples) != manifest["samples"]:
        raise CorruptFileError(f"'{samples}' is missing or damaged; delete '{folder}' and run again.")
    table = load_table(samples)
    labels, predictions = table["label"], table["prediction"]
    return Recording(
        folder=folder,
        condition=manifest["made_of"]["condition"],
        layers=tuple(Layer(layer["name"], layer["reduction"]) for layer in manifest["layers"]),
        ids=torch.tensor(table["id"].to_numpy()),
        labels=None if labels.isna().any() else torch.tensor(labels.to_numpy(dtype=np.int64)),
        predictions=None if predictions.isna().any() else torch.tensor(predictions.to_numpy(dtype=np.int64)),
        shards=tuple(shard["file"] for shard in manifest["shards"]),
        sizes={norm: torch.tensor(table[norm].to_numpy()) for norm in SIZES if norm in table},
        texts=tuple(table["text"]) if "text" in table else None,
    )


def _write_shards(
    recorder: Recorder,
    data: Data,
    folder: Path,
    made_of: dict[str, Any],
    perturb: Perturb | None,
    probe: dict[str, Tensor],
    *,
    show: bool,
) -> None:
    """Whatever shards are missing, then samples and manifest."""
    batch_size = made_of["batch_size"]
    # shards of another version or kind of device may differ in their last bits: a run doesn't go on with them
    made_by = {"layerscope": version("layerscope"), "torch": torch.__version__, "device": recorder.network.device.type}
    row_bytes = sum(tensor.numel() * tensor.element_size() for tensor in probe.values())
    shard_rows = max(1, SHARD_BYTES // row_bytes // batch_size) * batch_size
    shards: list[tuple[Path, np.ndarray[Any, np.dtype[np.int64]], dict[str, Any]]] = []
    for start in range(0, len(data), shard_rows):
        rows = data.rows[start : start + shard_rows]
        header = {"schema": SCHEMA, "made_of": made_of, "made_by": made_by, "start": start, "stop": start + len(rows)}
        shards.append((folder / f"shard-{len(shards):05d}.safetensors", rows, header))
    missing = [shard for shard in shards if not _is_there(shard[0], shard[2])]
    done = len(data) - sum(len(rows) for _, rows, _ in missing)
    with bar(f"recording {made_of['condition']}", len(data), done=done, unit="samples", show=show) as progress:
        first: dict[str, Tensor] | None = None
        gathered = Gathered(min(shard_rows, len(data)), several_rows(recorder.plan))
        for path, rows, header in missing:
            for offset in range(0, len(rows), batch_size):
                begun = time.perf_counter()
                part = recorder.batch(data.take(rows[offset : offset + batch_size]), perturb)
                if first is None:
                    first = part
                    left = len(data) - done
                    needs = estimate(first, left, time.perf_counter() - begun)
                    progress.say(f"{made_of['condition']}: {needs}")
                    check_room(folder, needs)
                gathered.add(part)
                progress.advance(len(part["ids"]))
            save_tensors(path, gathered.taken(), header)
    _finish(folder, [path for path, _, _ in shards], made_of, recorder.plan, data)


def _made_of(
    network: Network, data: Data, plan: Sequence[Layer], condition: str, perturb: Perturb | None, **options: Any
) -> dict[str, Any]:
    """All that a recording depends on, by name."""
    return {
        "network": network.fingerprint(),
        "data": data.fingerprint,
        "layers": [str(layer) for layer in plan],
        "condition": condition,
        "perturbation": "" if perturb is None else hashlib.sha256(callable_text(perturb).encode()).hexdigest(),
        **options,
    }


def _told(samples: Samples) -> str:
    """What a batch is, in short."""
    if isinstance(samples, Tensor):
        return f"a tensor of shape {tuple(samples.shape)}, {samples.dtype}"
    if isinstance(samples, Mapping):
        return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in samples.items())
    if isinstance(samples, tuple):
        return ", ".join(str(tuple(tensor.shape)) for tensor in samples)
    return f"{len(samples)} texts"


def _check_folder(folder: Path, made_of: dict[str, Any], *, overwrite: bool) -> None:
    """Raise RunMismatchError where the folder holds a recording of something else, or delete that."""
    shards = sorted(folder.glob("shard-*.safetensors"))
    found: dict[str, Any] = {}
    with suppress(CorruptFileError, FileNotFoundError, KeyError):
        found = load_json(folder / "manifest.json")["made_of"]
    for shard in shards if not found else ():
        with suppress(CorruptFileError, KeyError):
            found = load_header(shard)["made_of"]
            break
    others = [name for name, value in made_of.items() if found.get(name) != value]
    if not others or not (shards or found):
        return
    if not overwrite:
        what = f"a recording made with another {', '.join(others)}" if found else "shards that can't be read"
        raise RunMismatchError(f"'{folder}' holds {what}; choose another folder, or delete it with `overwrite=True`.")
    for path in (*shards, folder / "samples.parquet", folder / "manifest.json"):
        path.unlink(missing_ok=True)


def _is_there(path: Path, header: dict[str, Any]) -> bool:
    """Whether an interrupted call left this very shard, undamaged."""
    with suppress(FileNotFoundError, CorruptFileError):
        return load_header(path) == header and bool(load_tensors(path))
    return False


def _texts(data: Data, made_of: dict[str, Any]) -> list[str]:
    """The beginning of every text; nothing where samples are none, or are not to be shown."""
    if not made_of["pictures"] or isinstance(data.take(data.rows[:1]).inputs, (Tensor, Mapping, tuple)):
        return []
    return [str(text)[:CHARACTERS] for batch in data.batches(made_of["batch_size"]) for text in batch.inputs]


def _finish(folder: Path, shards: Sequence[Path], made_of: dict[str, Any], plan: Sequence[Layer], data: Data) -> None:
    """Write samples and manifest; the manifest last, since it says that the recording is complete."""
    ids, labels, predictions = (np.empty(len(data), np.int64) for _ in range(3))
    confidence = np.full(len(data), np.nan, np.float32)
    names, start = tensor_names(shards[0]), 0
    for shard in shards:
        own = load_tensor(shard, "ids")
        rows = slice(start, start + len(own))
        ids[rows], start = own, rows.stop
        if "labels" in names:
            labels[rows] = load_tensor(shard, "labels")
        if LOGITS in names:
            logits = load_tensor(shard, LOGITS)
            predictions[rows], confidence[rows] = logits.argmax(1), logits.softmax(1).amax(1)
    none = [None] * len(data)
    samples = pd.DataFrame(
        {
            "id": ids,
            "label": pd.array(labels if "labels" in names else none, dtype="Int64"),
            "prediction": pd.array(predictions if LOGITS in names else none, dtype="Int64"),
            "confidence": confidence,
            "source": [data.origin(row) for row in ids.tolist()],
        }
        | {norm: np.concatenate([load_tensor(shard, norm) for shard in shards]) for norm in SIZES if norm in names}
        | ({"text": texts} if (texts := _texts(data, made_of)) else {})
    )
    save_table(folder / "samples.parquet", samples)
    headers = [load_header(shard) for shard in shards]
    save_json(
        folder / "manifest.json",
        {
            "schema": SCHEMA,
            "made_of": made_of,
            "layers": [
                {
                    "name": layer.name,
                    "reduction": layer.reduction,
                    "width": load_tensor(shards[0], str(layer), check=False).shape[1],
                    "dtype": made_of["dtype"],
                }
                for layer in plan
            ],
            "samples": file_digest(folder / "samples.parquet"),
            "shards": [
                {
                    "file": shard.name,
                    "start": header["start"],
                    "stop": header["stop"],
                    "bytes": shard.stat().st_size,
                    "preamble": preamble_digest(shard),
                }
                for shard, header in zip(shards, headers, strict=True)
            ],
        },
    )
