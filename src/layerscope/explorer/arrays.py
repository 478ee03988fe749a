"""The numbers of a bundle: samples x layers as typed arrays, by name."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from layerscope.explorer.run import Run
from layerscope.measures.geometry import spread
from layerscope.progress import bar
from layerscope.recording import Recording
from layerscope.som.quality import neighbour_distances

NONE = -1
"""Stands for a label, or a prediction, that there is not."""
STEPS = np.iinfo(np.uint16).max
"""The largest number that an array of scaled values holds."""
EXACT = 2**53 - 1
"""The largest whole number up to which a page tells each from the next."""
Rows = NDArray[np.int64]
"""Places of samples in the recordings, in order."""


class Array(NamedTuple):
    """A typed array as it lies in a bundle."""

    values: NDArray[Any]
    scale: float = 1.0
    """What the values are multiplied by."""

    @property
    def type(self) -> str:
        """As in `bundle.json`, such as `uint16`."""
        return str(self.values.dtype)

    @property
    def content(self) -> bytes:
        """Little-endian, row by row."""
        return self.values.astype(self.values.dtype.newbyteorder("<"), copy=False).tobytes()


def arrays(run: Run, rows: Rows, *, show_progress: bool) -> dict[str, Array]:
    """Every array of a bundle, of the samples at `rows`; see the design of the bundle for names and shapes."""
    clean = run.recordings["clean"]
    labels = np.full(len(clean), NONE) if clean.labels is None else clean.labels.numpy()
    found = {"id": Array(clean.ids.numpy()[rows].astype(np.float64)), "label": Array(labels[rows].astype(np.int32))}
    for place, condition in enumerate(run.settings["chosen"]["conditions"]):
        predictions, confidence = _answers(run.recordings[condition])
        found[f"prediction/{place}"] = Array(predictions[rows].astype(np.int32))
        found[f"confidence/{place}"] = Array(confidence[rows].astype(np.float32))
        for number, reduction in enumerate(clean.reductions):
            found[f"code/{place}/{number}"] = _codes(run, condition, reduction, rows)
    with bar("reading the maps", len(clean.layers), show=show_progress) as progress:
        for number, reduction in enumerate(clean.reductions):
            distances, ridges = [], []
            for own, ridge in _of_layers(run, reduction):
                distances.append(own[rows])
                ridges.append(ridge)
                progress.advance()
            found[f"distance/0/{number}"] = scaled(np.stack(distances))
            found[f"umatrix/{number}"] = Array(np.stack(ridges).astype(np.float32))
    if run.smallest is not None:
        found["smallest"] = Array(_smallest(run.smallest, clean.ids.numpy()[rows]))
    return found


def scaled(values: NDArray[np.float64]) -> Array:
    """Values of at least 0 as sixteen bits and a scale: none is further off than half a 65,535th of the largest."""
    scale = float(values.max(initial=0.0)) / STEPS or 1.0
    return Array(np.rint(values / scale).astype(np.uint16), scale)


def exact_ids(ids: NDArray[np.int64]) -> list[str] | None:
    """The ids as text, where one of them is further from 0 than a page's numbers are exact; else None."""
    return None if (abs(ids.astype(object)) <= EXACT).all() else [str(one) for one in ids.tolist()]


def exact_id(sample: int) -> int | str:
    """An id as a page reads it: a number, or text where its numbers are not exact."""
    return sample if abs(sample) <= EXACT else str(sample)


def chosen_rows(recording: Recording, most: int | None, *, keep: int | None = None, seed: int = 0) -> Rows:
    """All rows, or `most` of them: of every class in proportion, of small ones at random.

    Classes are labels, or predictions where there are none.

    Args:
        recording: of the samples.
        most: how many; None takes all.
        keep: the id of a sample that is taken whatever is drawn.
        seed: of the draw.

    Raises:
        ValueError: if `most` is no whole number of at least 1.
    """
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        raise ValueError(f"`max_samples` must be a whole number, at least 1, or None for all; got {most!r}.")
    count = len(recording)
    if most is None or most >= count:
        return np.arange(count)
    classes = recording.predictions if recording.labels is None else recording.labels
    own = np.zeros(count, np.int64) if classes is None else classes.numpy()
    order = np.random.default_rng(seed).permutation(count)
    drawn = pd.Series(own[order]).groupby(own[order])
    # a class's r-th of m samples stands at (r + 1/2) / m: the first `most` of all have every class in proportion
    standing = (drawn.cumcount().to_numpy() + 0.5) / drawn.transform("size").to_numpy()
    if keep is not None:
        standing[recording.ids.numpy()[order] == keep] = 0.0
    return np.sort(order[np.argsort(standing, kind="stable")[:most]])


def _answers(recording: Recording) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each sample's prediction, and how sure it is; none, where the network has no logits."""
    if recording.predictions is None:
        return np.full(len(recording), NONE), np.full(len(recording), np.nan)
    sure = recording.logits().softmax(1).amax(1)
    return recording.predictions.numpy(), sure.double().numpy()


def _codes(run: Run, condition: str, reduction: str, rows: Rows) -> Array:
    """(L, n): the units."""
    layers = run.recordings["clean"].depth(reduction)
    codes = np.stack([run.codes[condition][f"code:{layer}"].to_numpy()[rows] for layer in layers])
    return Array(codes.astype(np.uint16 if len(run.grid) <= STEPS + 1 else np.int32))


def _of_layers(run: Run, reduction: str) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Of each layer: the samples' distances to their prototypes, and the U-matrix, both in the layer's own spread."""
    clean = run.recordings["clean"]
    for layer in clean.depth(reduction):
        fitted = run.atlas.maps[layer]
        own = spread(fitted.scaled(clean.vectors(layer))) or 1.0
        distances = run.codes["clean"][f"distance:{layer}"].to_numpy().astype(np.float64)
        yield distances / own, neighbour_distances(fitted.prototypes, fitted.grid).numpy() / own


def _smallest(table: pd.DataFrame, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n,): of the samples of which it was looked for; NaN of the others."""
    sizes: Mapping[int, float] = dict(zip(table["id"].tolist(), table["size"].tolist(), strict=True))
    return np.array([sizes.get(sample, np.nan) for sample in ids.tolist()], dtype=np.float32)
