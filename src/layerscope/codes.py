"""Every sample's code at every layer: recording x atlas -> codes."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from layerscope.atlas import Atlas
from layerscope.layers import Layer
from layerscope.recording import Recording
from layerscope.som.train import Best
from layerscope.store import load_table, save_table
from layerscope.types import Labels, Units, Vectors


class Coded(NamedTuple):
    """A recording beside its codes on an atlas: all that the measures need."""

    recording: Recording
    atlas: Atlas
    codes: pd.DataFrame
    """From `encode(recording, atlas)`."""
    stepped: Recording | None = None
    """The same samples after a small step of the input, for `local_stretch`."""

    @property
    def labels(self) -> Labels | None:
        """The labels, where they can tell anything: none where there are none, or one class alone."""
        labels = self.recording.labels
        return None if labels is None or bool((labels == labels[0]).all()) else labels


def encode(recording: Recording, atlas: Atlas) -> pd.DataFrame:
    """The code table of a recording: one row per sample.

    Returns:
        Columns `id`, then for each layer, written `name|reduction`: `code:LAYER` (the best matching unit),
        `distance:LAYER` (to its prototype, in the layer's own units), `second:LAYER` (the second best unit).

    Raises:
        ValueError: if a recorded layer has no map in the atlas, or its width is not the map's.
    """
    return encode_vectors(recording.ids, ((layer, recording.vectors(layer)) for layer in recording.layers), atlas)


def encode_vectors(ids: Units, said: Iterable[tuple[Layer, Vectors]], atlas: Atlas) -> pd.DataFrame:
    """The code table of samples that are not on disk; see `encode`.

    Args:
        ids: (n,), of the samples.
        said: layers and their vectors, one after another.
        atlas: the maps.

    Raises:
        ValueError: if a layer has no map in the atlas, or its width is not the map's.
    """
    columns = {"id": ids.numpy()}
    for layer, vectors in said:
        if layer not in atlas.maps:
            raise ValueError(f"The atlas has no map of '{layer}'; it has: {', '.join(map(str, atlas.maps))}.")
        fitted = atlas.maps[layer]
        if vectors.shape[1] != fitted.prototypes.shape[1]:
            raise ValueError(
                f"The map of '{layer}' was fitted on vectors {fitted.prototypes.shape[1]} wide; "
                f"these are {vectors.shape[1]} wide. Fit an atlas of this network."
            )
        best = fitted.best(vectors)
        columns[f"code:{layer}"] = best.unit.int().numpy()
        columns[f"distance:{layer}"] = best.distance.numpy()
        columns[f"second:{layer}"] = best.second.int().numpy()
    return pd.DataFrame(columns)


def best_of(codes: pd.DataFrame, layer: Layer) -> Best:
    """One layer's columns of a code table.

    Raises:
        KeyError: if the table has no such layer.
    """
    if f"code:{layer}" not in codes:
        raise KeyError(f"The codes hold no layer '{layer}'.")
    return Best(
        torch.tensor(codes[f"code:{layer}"].to_numpy(), dtype=torch.int64),
        torch.tensor(codes[f"second:{layer}"].to_numpy(), dtype=torch.int64),
        torch.tensor(codes[f"distance:{layer}"].to_numpy()),
    )


def save_codes(codes: pd.DataFrame, path: Path | str) -> None:
    """Write a code table as Parquet."""
    save_table(Path(path), codes)


def load_codes(path: Path | str) -> pd.DataFrame:
    """Read a code table."""
    return load_table(Path(path))
