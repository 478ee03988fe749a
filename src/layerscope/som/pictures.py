"""Pictures of a map: each draws on an Axes, its own unless one is given, and returns it.

Units are drawn as the cells of the grid, squares or hexagons, row 0 on top. A torus is drawn flat: its left edge goes
on at the right, its top at the bottom.
"""

from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Wedge
from torch import Tensor

from layerscope.drawing import EMPTY, INK, LISTED, STYLE, Array, cell, mixed, palette
from layerscope.som.estimator import SOM
from layerscope.som.grid import Grid
from layerscope.som.quality import neighbour_distances

WIDTH = 4.2
"""Inches of a map on an Axes of its own."""


def u_matrix(som: SOM, *, axes: Axes | None = None) -> Axes:
    """The U-matrix: each unit's mean distance to the prototypes of the units that touch it.

    Ridges part what is different; valleys are clusters.
    """
    found = neighbour_distances(torch.as_tensor(som.prototypes_).cpu(), som.grid_)
    return _scalars(som.grid_, found.numpy(), "distance to the units around", axes)


def hit_map(som: SOM, X: Any, *, axes: Axes | None = None) -> Axes:  # noqa: N803 - scikit-learn's
    """How many rows each unit is best for; units without a row are left blank."""
    hits = np.bincount(_numpy(som.predict(X)), minlength=len(som.grid_)).astype(float)
    return _scalars(som.grid_, np.where(hits > 0, hits, np.nan), "rows", axes)


def component_plane(som: SOM, feature: int | str, *, axes: Axes | None = None) -> Axes:
    """One feature of every prototype.

    Args:
        som: a fitted map.
        feature: its number, or its name where the map was fitted on a table with names.
        axes: where to draw.

    Raises:
        ValueError: if there is no such feature.
    """
    names = [str(name) for name in getattr(som, "feature_names_in_", [])]
    if isinstance(feature, str):
        if feature not in names:
            raise ValueError(
                f"`feature` {feature!r} is not known; features are: {', '.join(names) or 'without names'}."
            )
        number = names.index(feature)
    else:
        number = feature
    if not 0 <= number < som.n_features_in_:
        raise ValueError(f"`feature` must be in 0 ... {som.n_features_in_ - 1}; got {feature}.")
    title = names[number] if names else f"feature {number}"
    return _scalars(som.grid_, _numpy(som.prototypes_)[:, number].astype(float), title, axes)


def class_map(
    som: SOM,
    X: Any,  # noqa: N803
    labels: Any,
    *,
    names: Iterable[str] = (),
    pies: bool = False,
    axes: Axes | None = None,
) -> Axes:
    """Which classes each unit stands for.

    Args:
        som: a fitted map.
        X: (n, d), rows.
        labels: (n,), each row's class, whole numbers from 0.
        names: of the classes, for the legend.
        pies: a pie per unit, its area as its rows, instead of a cell in the colour of the commonest class, the paler
            the more classes mix.
        axes: where to draw.

    Raises:
        ValueError: if labels and rows differ in number, or a label is negative or no whole number.
    """
    units, classes, names = _numpy(som.predict(X)), _numpy(labels), [str(name) for name in names]
    if classes.shape != units.shape:
        raise ValueError(f"`labels` must have shape {units.shape}, one per row of `X`; got {classes.shape}.")
    if classes.dtype.kind not in "iub" or classes.min() < 0:
        raise ValueError("`labels` must be whole numbers from 0; encode classes, e.g. with numpy.unique.")
    if names and len(names) <= classes.max():
        raise ValueError(f"`names` must name every class, 0 ... {classes.max()}; got {len(names)} names.")
    counts = np.zeros((len(som.grid_), max(int(classes.max()) + 1, len(names))))
    np.add.at(counts, (units, classes.astype(int)), 1)
    colours = palette(counts.shape[1])
    with mpl.rc_context(STYLE):
        axes = axes or _own_axes(som.grid_)
        if pies:
            _cells(som.grid_, np.tile(mpl.colors.to_rgb(EMPTY), (len(som.grid_), 1)), axes)
            _pies(som.grid_, counts, colours, axes)
        else:
            _cells(som.grid_, mixed(counts, colours), axes)
        listed = range(min(counts.shape[1], LISTED))
        handles = [Patch(color=colours[index], label=names[index] if names else str(index)) for index in listed]
        axes.legend(handles=handles, frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


def training_history(som: SOM, *, axes: Axes | None = None) -> Axes:
    """Explained variance epoch by epoch, and the radius beside it; the fast solver's coarse grids are shaded."""
    epochs = np.arange(1, len(som.history_) + 1)
    with mpl.rc_context(STYLE):
        axes = axes or Figure(figsize=(WIDTH * 1.3, WIDTH * 0.7), layout="constrained").subplots()
        axes.plot(epochs, [epoch.explained_variance for epoch in som.history_], "o-", color=INK, markersize=3)
        axes.set_xlabel("epoch")
        axes.set_ylabel("explained variance (of its rows)")
        coarse = sum(epoch.units < len(som.grid_) for epoch in som.history_)
        if coarse:
            axes.axvspan(0.5, coarse + 0.5, color=EMPTY, zorder=0)
            axes.text(coarse / 2 + 0.5, 0.02, "coarse grids", ha="center", transform=axes.get_xaxis_transform())
        radius = axes.twinx()
        radius.plot(epochs, [epoch.radius for epoch in som.history_], color="#9ca3af", linewidth=1)
        radius.set_ylabel("radius (grid steps)", color="#6b7280")
        radius.set_ylim(0, None)
        radius.spines["right"].set_visible(True)
    return axes


def _scalars(grid: Grid, values: Array, title: str, axes: Axes | None) -> Axes:
    with mpl.rc_context(STYLE):
        axes = axes or _own_axes(grid)
        shown = _cells(grid, None, axes)
        shown.set_array(np.ma.masked_invalid(values))
        shown.set_cmap(mpl.colormaps["viridis"].with_extremes(bad=EMPTY))
        assert axes.figure is not None
        axes.figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02, label=title)
    return axes


def _cells(grid: Grid, colours: Array | None, axes: Axes) -> PolyCollection:
    places, outline = _places(grid), cell(grid.kind)
    shown = PolyCollection(
        list(places[:, None] + outline[None]), facecolors=colours, edgecolors="white", linewidths=0.3
    )
    axes.add_collection(shown)
    low, high = places.min(0) + outline.min(0), places.max(0) + outline.max(0)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_aspect("equal")
    axes.set_axis_off()
    return shown


def _pies(grid: Grid, counts: Array, colours: Array, axes: Axes) -> None:
    total = counts.sum(1)
    wedges, filled = [], []
    for place, own, rows in zip(_places(grid), counts, total, strict=True):
        ends = np.concatenate([[0.0], np.cumsum(own)]) / max(rows, 1) * 360
        for index in np.flatnonzero(own):
            wedges.append(Wedge(tuple(place), 0.46 * (rows / total.max()) ** 0.5, ends[index], ends[index + 1]))
            filled.append(colours[index])
    axes.add_collection(PatchCollection(wedges, facecolors=filled, edgecolors="none"))


def _places(grid: Grid) -> Array:
    """Each unit's centre, row 0 on top."""
    return grid.positions.double().numpy() * (1, -1)


def _own_axes(grid: Grid) -> Axes:
    places = _places(grid)
    wide, high = np.ptp(places, axis=0) + 1
    height = min(3.0, max(0.25, high / wide)) * WIDTH
    return Figure(figsize=(WIDTH + 1.2, height + 0.2), layout="constrained").subplots()


def _numpy(values: Any) -> Any:
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
