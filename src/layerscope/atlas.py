"""One map per layer, trained through the depth so that the same place means the same kind of input at every layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from layerscope.errors import RunMismatchError, format_told
from layerscope.layers import Layer
from layerscope.progress import bar
from layerscope.recording import Recording
from layerscope.som import Grid, Map, initial_plane, smoothed_means, train
from layerscope.som.fast import SAMPLE, geometric, pays, solve_fast
from layerscope.som.rows import held
from layerscope.store import load_header, load_json, load_tensors, save_json, save_tensors
from layerscope.types import Units, Vectors

SCHEMA = 1
Scaling = Literal["own", "standard"]

EPOCHS = 20
END_RADIUS = 0.6
"""In grid steps; smaller explains more variance at the cost of neighbourhoods."""
ALIGNED_RADIUS = 2.5
"""Where a layer that follows another starts: wide enough to settle, too narrow to turn or fold the map."""
START_SMOOTHING = 1.0
"""Radius of the smoothing of the first prototypes of such a layer."""


@dataclass(frozen=True)
class Atlas:
    """One map per layer and reduction, all on one grid."""

    maps: Mapping[Layer, Map]
    """In the order of the recording that it was fitted on."""

    @property
    def grid(self) -> Grid:
        """The lattice that all maps share."""
        return next(iter(self.maps.values())).grid


def fit_atlas(
    recording: Recording,
    grid: Grid,
    *,
    align: bool = True,
    scaling: str = "own",
    seed: int = 0,
    show_progress: bool = True,
) -> Atlas:
    """A map for every layer of a recording.

    Under each reduction the first layer starts on its principal plane. With `align`, each further layer starts from
    the neighbourhood-smoothed means of its own vectors over the samples of each unit of the layer before, and trains
    with a small radius; without, every layer starts on its own principal plane.

    Args:
        recording: what the layers say; the atlas should be measured on another one.
        grid: the lattice, the same for all layers.
        align: whether maps follow one another.
        scaling: `own` keeps each layer's scale; `standard` divides each feature by its standard deviation.
        seed: of the principal plane's random directions.
        show_progress: whether to draw a progress bar.

    Raises:
        ValueError: if there are fewer samples than units, or the scaling is not known.
    """
    if len(recording) < len(grid):
        raise ValueError(
            f"A map of {grid.rows} x {grid.columns} = {len(grid)} units needs at least as many samples to be fitted; "
            f"got {len(recording)}. Give more data or a smaller `grid`."
        )
    check_scaling(scaling)
    maps: dict[Layer, Map] = {}
    with bar("training maps", len(recording.layers), show=show_progress) as progress:
        for reduction in recording.reductions:
            before: Units | None = None
            for layer in recording.depth(reduction):
                vectors = recording.vectors(layer)
                maps[layer] = _fit(vectors, grid, scaling, before if align else None, seed)
                before = maps[layer].best(vectors).unit
                progress.advance()
    return Atlas(maps)


def random_codebook(recording: Recording, atlas: Atlas, *, seed: int = 0) -> Atlas:
    """The same layers and lattice with prototypes drawn among a recording's samples: codes without a trained map.

    The same samples at every layer. What such codes tell of the label needs no map.

    Args:
        recording: the one that the atlas was fitted on, so that prototypes are none of the samples measured.
        atlas: whose lattice, offsets and scales are kept.
        seed: of the draw.

    Raises:
        ValueError: if there are fewer samples than units.
    """
    count, units = len(recording), len(atlas.grid)
    if count < units:
        raise ValueError(f"`recording` must hold at least one sample per unit; got {count} for {units} units.")
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:units]
    maps = {
        layer: Map(fitted.grid, fitted.scaled(recording.vectors(layer)[drawn]), fitted.offset, fitted.scale, ())
        for layer, fitted in atlas.maps.items()
    }
    return Atlas(maps)


def _fit(vectors: Vectors, grid: Grid, scaling: str, before: Units | None, seed: int) -> Map:
    """A layer's map; `before` are the samples' units on the map to follow, if any."""
    offset = vectors.double().mean(0)
    scale = torch.ones_like(offset)
    if scaling == "standard":
        deviations = (vectors.double() - offset).square().mean(0).sqrt()
        scale = torch.where(deviations > 0, deviations, scale)
    centred = ((vectors - offset) / scale).float()
    if before is None:
        initial = initial_plane(centred, grid, seed=seed)
        start = max(grid.rows, grid.columns) / 2
    else:
        initial = smoothed_means(centred, before, grid, START_SMOOTHING)
        start = ALIGNED_RADIUS
    rows, radius = held(centred), (start, END_RADIUS)
    sample = rows.sample(SAMPLE, seed=seed)
    if pays(len(centred), len(grid), sample):
        solved = solve_fast(rows, sample, grid, initial=initial, radius=radius, epochs=EPOCHS, seed=seed)
    else:
        solved = train(rows, grid, initial, geometric(*radius, EPOCHS))
    history = tuple(epoch.explained_variance for epoch in solved.history)
    return Map(grid, solved.prototypes, offset.float(), scale.float(), history)


def check_scaling(scaling: str) -> None:
    """Raise ValueError where `scaling` is none that `fit_atlas` knows."""
    if scaling not in get_args(Scaling):
        raise ValueError(f"`scaling` must be one of {', '.join(get_args(Scaling))}; got {scaling!r}.")


def save_atlas(atlas: Atlas, folder: Path | str) -> None:
    """Write one safetensors file per layer and, last, the list of layers."""
    folder = Path(folder)
    for layer, fitted in atlas.maps.items():
        tensors = {"prototypes": fitted.prototypes, "offset": fitted.offset, "scale": fitted.scale}
        save_tensors(
            folder / f"{layer.stem}.safetensors", tensors, {"grid": asdict(fitted.grid), "history": fitted.history}
        )
    layers = [
        {"name": layer.name, "reduction": layer.reduction, "file": f"{layer.stem}.safetensors"} for layer in atlas.maps
    ]
    save_json(folder / "atlas.json", {"schema": SCHEMA, "layers": layers})


def load_atlas(folder: Path | str) -> Atlas:
    """An atlas that `save_atlas` wrote.

    Raises:
        FileNotFoundError: if there is none in `folder`.
        CorruptFileError: if a file is not what was written; names it.
        RunMismatchError: if it was written in another format.
    """
    folder = Path(folder)
    listed = load_json(folder / "atlas.json")
    if listed.get("schema") != SCHEMA:
        told = format_told(listed.get("schema"), SCHEMA, "fit it again")
        raise RunMismatchError(f"'{folder}' holds an atlas of {told}")
    maps = {}
    for entry in listed["layers"]:
        header, tensors = load_header(folder / entry["file"]), load_tensors(folder / entry["file"])
        maps[Layer(entry["name"], entry["reduction"])] = Map(
            grid=Grid(**header["grid"]), history=tuple(header["history"]), **tensors
        )
    return Atlas(maps)
