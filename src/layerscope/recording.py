"""What every chosen layer says to every sample, on disk: network x data -> recording.

    recordings/clean/
      manifest.json              layers (name, reduction, width), shards with row range and checksum
      shard-00000.safetensors    one tensor per layer (rows, width), and logits
      samples.parquet            id, label, prediction, confidence, source

A shard is written whole or not at all, and says in its header what it belongs to: a run that was killed finds the
shards that are there and goes on after the last.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from layerscope.data import Batch, Data
from layerscope.errors import CorruptFileError, NonFiniteError
from layerscope.layers import INPUT, LOGITS, Layer
from layerscope.network import Network
from layerscope.progress import bar
from layerscope.reductions import Flatten, Reduction, Sketch, parse_reduction
from layerscope.store import (
    file_digest,
    has_tensor,
    load_header,
    load_json,
    load_table,
    load_tensor,
    load_tensors,
    save_json,
    save_table,
    save_tensors,
)
from layerscope.types import Inputs, Labels, Logits, Vectors

SCHEMA = 1
SHARD_BYTES = 2**26
WHOLE_INPUT = 4096
"""The widest input that is recorded whole under `mean`."""

Perturb = Callable[[Network, Batch], Inputs]
"""Makes the inputs of a perturbed condition from a clean batch."""


@dataclass(frozen=True)
class Blocks:
    """One tensor of every shard, read as it is asked for."""

    shards: tuple[Path, ...]
    name: str

    def __iter__(self) -> Iterator[Tensor]:
        for shard in self.shards:
            yield load_tensor(shard, self.name)


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
    predictions: Labels = field(repr=False)
    """(n,): the class that the network answers."""
    shards: tuple[str, ...] = field(repr=False)
    """File names, in order of rows."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def reductions(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(dict.fromkeys(layer.reduction for layer in self.layers))

    def depth(self, reduction: str) -> tuple[Layer, ...]:
        """The layers under one reduction, from `input` to `logits`."""
        return tuple(layer for layer in self.layers if layer.reduction == reduction)

    def vectors(self, layer: Layer) -> Vectors:
        """(n, width), float32: what one layer said.

        Raises:
            KeyError: if the layer was not recorded.
        """
        return torch.cat(list(self.blocks(layer)))

    def blocks(self, layer: Layer) -> Blocks:
        """What one layer said, shard by shard: iterate it as often as you like; one shard is in memory at a time.

        `layerscope.som.SOM` fits on it.

        Raises:
            KeyError: if the layer was not recorded.
        """
        if layer not in self.layers:
            raise KeyError(f"Layer '{layer}' was not recorded; layers are: {', '.join(map(str, self.layers))}.")
        return Blocks(tuple(self.folder / shard for shard in self.shards), str(layer))

    def logits(self) -> Logits:
        """(n, classes), float32."""
        return torch.cat(list(Blocks(tuple(self.folder / shard for shard in self.shards), LOGITS)))


def record(
    network: Network,
    data: Data,
    layers: Sequence[str],
    folder: Path | str,
    *,
    reductions: Sequence[str] = ("mean", "sketch:512"),
    condition: str = "clean",
    perturb: Perturb | None = None,
    batch_size: int = 250,
    show_progress: bool = True,
) -> Recording:
    """Run the data through the network once and keep what the layers say, under every reduction.

    Args:
        network: the network.
        data: the samples.
        layers: names of submodules, in order of depth (see `choose_layers`); `input` and `logits` are added.
        folder: where the recording goes. What an earlier, interrupted call with the same arguments wrote is kept.
        reductions: how outputs become vectors. The input is recorded whole under `mean` (up to 4,096 wide; its
            average would say nothing), else by `sketch:512`.
        condition: what the recording is called.
        perturb: makes the inputs from each clean batch; none for `clean`. Its `repr` tells one perturbation from
            another when a recording is looked for again, so it must say all that matters (a frozen dataclass does).
        batch_size: samples per forward pass.
        show_progress: whether to draw a progress bar.

    Raises:
        ValueError: if inputs lie outside the network's bounds, or labels outside its classes.
        NonFiniteError: if a layer puts out NaN or infinity; names it and the samples.
        StorageError: if the folder can't be written. Shards written before stay, and the same call goes on there.
    """
    folder = Path(folder)
    key = _key(network, data, layers, reductions, condition, perturb, batch_size)
    complete = (folder / "manifest.json").is_file() and (folder / "samples.parquet").is_file()
    if complete and load_json(folder / "manifest.json")["key"] == key:
        return load_recording(folder)
    recorder = _Recorder(network, tuple(layers), tuple(parse_reduction(name) for name in reductions))
    first = next(data.batches(batch_size))
    with torch.no_grad():
        row_bytes = sum(t[0].numel() * 4 for t in recorder.run(first.inputs[:1], first.ids[:1]).values())
    shard_rows = max(1, SHARD_BYTES // row_bytes // batch_size) * batch_size
    files: list[str] = []
    with bar(f"recording {condition}", len(data), show=show_progress) as progress:
        for start in range(0, len(data), shard_rows):
            file = f"shard-{len(files):05d}.safetensors"
            rows = data.rows[start : start + shard_rows]
            header = {"schema": SCHEMA, "key": key, "start": start, "stop": start + len(rows)}
            if not _is_there(folder / file, header):
                parts: list[dict[str, Tensor]] = []
                for offset in range(0, len(rows), batch_size):
                    parts.append(recorder.batch(data.take(rows[offset : offset + batch_size]), perturb))
                    progress.advance(len(parts[-1]["ids"]))
                tensors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
                save_tensors(folder / file, tensors, header)
            else:
                progress.advance(len(rows))
            files.append(file)
    _finish(folder, files, condition, key, recorder.layers, data)
    return load_recording(folder)


def load_recording(folder: Path | str) -> Recording:
    """A recording that `record` has finished.

    Raises:
        FileNotFoundError: if there is none in `folder`.
        CorruptFileError: if a file is missing, or not what was written; names it.
    """
    folder = Path(folder)
    manifest = load_json(folder / "manifest.json")
    for shard in manifest["shards"]:
        path = folder / shard["file"]
        if not path.is_file() or file_digest(path) != shard["sha256"]:
            raise CorruptFileError(f"'{path}' is missing or damaged; delete '{folder}' and run again.")
    if not (folder / "samples.parquet").is_file():
        raise CorruptFileError(f"'{folder / 'samples.parquet'}' is missing; delete '{folder}' and run again.")
    samples = load_table(folder / "samples.parquet")
    labels = samples["label"]
    return Recording(
        folder=folder,
        condition=manifest["condition"],
        layers=tuple(Layer(layer["name"], layer["reduction"]) for layer in manifest["layers"]),
        ids=torch.tensor(samples["id"].to_numpy()),
        labels=None if labels.isna().any() else torch.tensor(labels.to_numpy(dtype=np.int64)),
        predictions=torch.tensor(samples["prediction"].to_numpy()),
        shards=tuple(shard["file"] for shard in manifest["shards"]),
    )


@dataclass(frozen=True)
class _Recorder:
    """One pass per batch: every layer under every reduction, checked."""

    network: Network
    names: tuple[str, ...]
    reductions: tuple[Reduction, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        names = (INPUT, *self.names, LOGITS)
        return tuple(Layer(name, reduction.name) for reduction in self.reductions for name in names)

    def batch(self, batch: Batch, perturb: Perturb | None) -> dict[str, Tensor]:
        """The tensors of a batch as they go into a shard."""
        check_inputs(batch, self.network)
        inputs = perturb(self.network, batch) if perturb else batch.inputs
        with torch.no_grad():
            kept = self.run(inputs, batch.ids)
        kept["ids"] = batch.ids
        if batch.labels is not None:
            check_labels(batch.labels, kept[LOGITS].shape[1])
            kept["labels"] = batch.labels
        return kept

    def run(self, inputs: Inputs, ids: Tensor) -> dict[str, Tensor]:
        """Logits, and every layer under every reduction: float32 on the CPU."""
        kept: dict[str, Tensor] = {}

        def keep(name: str, output: Tensor) -> None:
            for reduction in self.reductions:
                reduce: Reduction = reduction
                if name == INPUT and reduction.name == "mean":
                    reduce = Flatten() if output[0].numel() <= WHOLE_INPUT else Sketch(512)
                vectors = reduce(output.detach()).float().cpu()
                finite = vectors.isfinite().all(1)
                if not finite.all():
                    bad = ids[~finite].tolist()
                    raise NonFiniteError(
                        f"Layer {name!r} puts out NaN or infinity for {len(bad)} of {len(ids)} samples of a batch "
                        f"(ids {', '.join(map(str, bad[:8]))}{', ...' if len(bad) > 8 else ''}). Look at these "
                        "inputs and at the weights up to that layer; nothing of this batch was recorded."
                    )
                kept[str(Layer(name, reduction.name))] = vectors

        keep(INPUT, inputs)
        logits = self.network.watch(inputs, self.names, keep)
        keep(LOGITS, logits)
        kept[LOGITS] = logits.detach().float().cpu()
        return kept


def check_inputs(batch: Batch, network: Network) -> None:
    """Raise ValueError where a sample lies outside the network's bounds, or is not finite."""
    finite = batch.inputs.isfinite().flatten(1).all(1)
    if not finite.all():
        bad = batch.ids[~finite].tolist()
        raise ValueError(
            f"Inputs must be finite; {len(bad)} samples of a batch (ids {', '.join(map(str, bad[:8]))}"
            f"{', ...' if len(bad) > 8 else ''}) hold NaN or infinity. Repair or remove them."
        )
    low, high = network.bounds
    inside = ((batch.inputs >= low) & (batch.inputs <= high)).flatten(1).all(1)
    if not inside.all():
        bad = batch.ids[~inside].tolist()
        values = batch.inputs[~inside]
        raise ValueError(
            f"Inputs must lie in the network's bounds [{low:g}, {high:g}]; {len(bad)} samples of a batch (ids "
            f"{', '.join(map(str, bad[:8]))}{', ...' if len(bad) > 8 else ''}) have values from {values.min():g} to "
            f"{values.max():g}. Give the data before normalisation and the normalisation as `preprocess`, or state "
            "other `bounds`."
        )


def check_labels(labels: Labels, classes: int) -> None:
    """Raise ValueError where a label is none of the network's classes."""
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"Labels must be classes of the network, 0 to {classes - 1}; got labels from {labels.min()} to "
            f"{labels.max()}. Map the data's classes to the network's."
        )


def _key(
    network: Network,
    data: Data,
    layers: Sequence[str],
    reductions: Sequence[str],
    condition: str,
    perturb: Perturb | None,
    batch_size: int,
) -> str:
    """What a recording was made of; a folder with another key holds another recording."""
    parts = [network.fingerprint(), data.fingerprint, list(layers), list(reductions), condition, repr(perturb)]
    return hashlib.sha256(json.dumps([SCHEMA, *parts, batch_size]).encode()).hexdigest()


def _is_there(path: Path, header: dict[str, Any]) -> bool:
    """Whether an interrupted call left this very shard, undamaged."""
    with suppress(FileNotFoundError, CorruptFileError):
        return load_header(path) == header and bool(load_tensors(path))
    return False


def _finish(folder: Path, files: Sequence[str], condition: str, key: str, layers: Sequence[Layer], data: Data) -> None:
    """Write samples and manifest; the manifest last, since it says that the recording is complete."""
    shards = [folder / file for file in files]
    logits = torch.cat([load_tensor(shard, LOGITS) for shard in shards])
    ids = torch.cat([load_tensor(shard, "ids") for shard in shards])
    labels: list[int | None] = [None] * len(ids)
    if has_tensor(shards[0], "labels"):
        labels = torch.cat([load_tensor(shard, "labels") for shard in shards]).tolist()
    samples = pd.DataFrame(
        {
            "id": ids.numpy(),
            "label": pd.array(labels, dtype="Int64"),
            "prediction": logits.argmax(1).numpy(),
            "confidence": logits.softmax(1).amax(1).numpy(),
            "source": [data.origin(row) for row in ids.tolist()],
        }
    )
    save_table(folder / "samples.parquet", samples)
    headers = [load_header(shard) for shard in shards]
    save_json(
        folder / "manifest.json",
        {
            "schema": SCHEMA,
            "key": key,
            "condition": condition,
            "layers": [
                {
                    "name": layer.name,
                    "reduction": layer.reduction,
                    "width": load_tensor(shards[0], str(layer)).shape[1],
                    "dtype": "float32",
                }
                for layer in layers
            ],
            "shards": [
                {"file": shard.name, "start": header["start"], "stop": header["stop"], "sha256": file_digest(shard)}
                for shard, header in zip(shards, headers, strict=True)
            ],
        },
    )
