"""One row per sample: what it is, what the network answers, and its code at every layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from layerscope.layers import INPUT, LOGITS, Layer
from layerscope.recording import Recording
from layerscope.run import Run
from layerscope.som import Grid
from layerscope.store import load_table

CLEAN = "clean"
JITTER = 0.4
"""How far from its unit's place a sample may be drawn, in grid steps: inside the cell, whose border is 0.5 away."""
DIGITS = 4
"""Of places, in grid steps."""


@dataclass(frozen=True)
class Chosen:
    """Which part of a run is written."""

    layer: Layer
    """Whose map gives x and y."""
    layers: tuple[Layer, ...]
    """All of its reduction, from `input` to `logits`."""
    conditions: tuple[str, ...]
    """Of the columns; places, distances and pictures are of the first."""


@dataclass(frozen=True)
class Samples:
    """What every tool is given."""

    table: pd.DataFrame
    """A row per sample: see `table_of`."""
    pictures: Tensor | None
    """(n, channels, height, width), bytes, one or three channels; None where the run keeps none."""
    vectors: Tensor
    """(n, width): what the chosen layer said."""
    map: str
    """Whose map gives x and y, and whose vectors those are: layer, reduction and condition."""
    title: str
    """The network's name."""


def choose(run: Run, layer: str | None, reduction: str | None, conditions: Sequence[str] | None) -> Chosen:
    """What was asked for, checked against what the run holds.

    Raises:
        ValueError: if the run has no such layer, reduction or condition; lists those that it has.
    """
    reductions, known = run.recordings[CLEAN].reductions, tuple(run.codes)
    reduction = reductions[0] if reduction is None else reduction
    if reduction not in reductions:
        raise ValueError(f"`reduction` must be one of {', '.join(reductions)}; got {reduction!r}.")
    for condition in conditions or ():
        if condition not in known:
            raise ValueError(f"`condition` must be one of {', '.join(known)}; got {condition!r}.")
    layers = run.recordings[CLEAN].depth(reduction)
    blocks = [one for one in layers if one.name not in (INPUT, LOGITS)]
    named = {one.name: one for one in layers}
    if layer is not None and layer not in named:
        raise ValueError(f"`layer` must be one of {', '.join(named)}; got {layer!r}.")
    chosen = (blocks or layers)[-1] if layer is None else named[layer]
    return Chosen(chosen, layers, tuple(dict.fromkeys(conditions or known)))


def samples_of(run: Run, chosen: Chosen, seed: int) -> Samples:
    """The table, the pictures and the chosen layer's vectors, row by row the same samples."""
    recording = run.recordings[chosen.conditions[0]]
    table = table_of(run, chosen, seed)
    name = f"{chosen.layer} under {chosen.conditions[0]}"
    return Samples(
        table, recording.pictures(), recording.vectors(chosen.layer), name, run.settings["chosen"]["network"]
    )


def table_of(run: Run, chosen: Chosen, seed: int) -> pd.DataFrame:
    """A row per sample.

    Columns: `id`, `source` (its file, where there is one), `text` (of texts), `label`, `smallest` (the size of the
    smallest perturbation, NaN where it was not looked for, infinite where none was found); `x` and `y`, its place on
    the chosen layer's map; for each condition `prediction` and `confidence`, and for each layer `code:LAYER`. Under a
    perturbation a column's name ends in `@CONDITION`, and `flips:LAYER` says whether the code is another than the
    clean one. For the first condition also `distance:LAYER` (to the code's prototype), `x:LAYER` and `y:LAYER`.
    """
    first, names = run.recordings[chosen.conditions[0]], run.class_names
    columns: dict[str, object] = {"id": first.ids.numpy(), "source": load_table(_samples(first))["source"].to_numpy()}
    if first.texts is not None:
        columns["text"] = np.array(first.texts, dtype=object)
    if first.labels is not None:
        columns["label"] = _named(first.labels, names)
    if run.smallest is not None:
        columns["smallest"] = run.smallest.set_index("id")["size"].reindex(first.ids.numpy()).to_numpy()
    spots = spread(len(first), seed)
    codes = run.codes[chosen.conditions[0]]
    columns["x"], columns["y"] = _places(run.grid, codes[f"code:{chosen.layer}"], spots)
    for condition in chosen.conditions:
        columns |= _answers(run.recordings[condition], names, _ending(condition))
        columns |= _codes(run, chosen, condition)
    for layer in chosen.layers:
        columns[f"distance:{layer.name}"] = codes[f"distance:{layer}"].to_numpy()
        columns[f"x:{layer.name}"], columns[f"y:{layer.name}"] = _places(run.grid, codes[f"code:{layer}"], spots)
    return pd.DataFrame(columns)


def spread(count: int, seed: int) -> np.ndarray:
    """(count, 2): a step for each sample, evenly over a disc of radius `JITTER`.

    A sample keeps its step on every map, so that it stands in the same corner of whatever cell it is in.
    """
    turn, out = np.random.default_rng(seed).random((2, count))
    reach = JITTER * np.sqrt(out)
    return np.stack([reach * np.cos(2 * np.pi * turn), reach * np.sin(2 * np.pi * turn)], axis=1)


def _answers(recording: Recording, names: Sequence[str], ending: str) -> dict[str, object]:
    """What the network answers, and how sure it is."""
    if recording.predictions is None:
        return {}
    return {
        f"prediction{ending}": _named(recording.predictions, names),
        f"confidence{ending}": load_table(_samples(recording))["confidence"].to_numpy(),
    }


def _codes(run: Run, chosen: Chosen, condition: str) -> dict[str, object]:
    """Codes under a condition, and whether they are others than without it."""
    columns: dict[str, object] = {}
    for layer in chosen.layers:
        code = run.codes[condition][f"code:{layer}"].to_numpy()
        columns[f"code:{layer.name}{_ending(condition)}"] = code
        if condition != CLEAN:
            columns[f"flips:{layer.name}{_ending(condition)}"] = code != run.codes[CLEAN][f"code:{layer}"].to_numpy()
    return columns


def _places(grid: Grid, codes: pd.Series, spots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where samples stand on a map, in grid steps, y upwards from the last row: the first is on top, as in figures."""
    across, down = grid.positions.double().numpy().T
    x, y = (np.stack([across, down.max() - down], axis=1)[codes.to_numpy()] + spots).round(DIGITS).T
    return x, y


def _named(classes: Tensor, names: Sequence[str]) -> np.ndarray:
    """Classes by name."""
    return np.array(names, dtype=object)[classes.to(torch.int64).numpy()]


def _ending(condition: str) -> str:
    """Of the columns of a condition."""
    return "" if condition == CLEAN else f"@{condition}"


def _samples(recording: Recording) -> Path:
    """Where a recording keeps what it knows of each sample."""
    return recording.folder / "samples.parquet"
