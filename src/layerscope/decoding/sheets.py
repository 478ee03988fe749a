"""Contact sheets: a map on which every unit is drawn by a picture of what it stands for, and one unit in full."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from layerscope.decoding.decoded import Decoded, Decoding
from layerscope.decoding.exemplars import Exemplar
from layerscope.decoding.layer_codes import LayerCodes, image_shape
from layerscope.drawing import INK, LISTED, STYLE, Array, cell, mixed, palette
from layerscope.layers import Layer
from layerscope.som import Grid

INSIDE = 0.72
"""Side of a picture, in grid steps: as large as fits a hexagon of width 1 with its colour around it."""
AWAY = "#dc2626"
"""Around units whose inverted input is encoded elsewhere."""
PICTURES = {
    "inversion": "an input made so that the layer says exactly the unit's prototype",
    "nearest": "the recorded image nearest to its prototype",
    "mean": "the mean of its images",
    "readout": "what a straight line reads of its prototype",
}
"""What a unit may be drawn by."""


def contact_sheet(
    decoding: Decoding, what: str = "inversion", *, layer: Layer | None = None, axes: Axes | None = None
) -> Axes:
    """A layer's map with a picture in each unit, in a frame of its commonest class, pale where classes mix.

    Args:
        decoding: of all units, or of some; the others stay empty.
        what: one of `PICTURES`.
        layer: which, where several were decoded; by default the first.
        axes: where to draw.

    Raises:
        ValueError: if samples are no images, or the layer was not decoded, or has no such pictures.
    """
    if what not in PICTURES:
        raise ValueError(f"`what` must be one of {', '.join(PICTURES)}; got {what!r}.")
    layer, codes, units = _of_layer(decoding, layer)
    pictures = {one.unit: _picture(codes, one, what) for one in units}
    if all(picture is None for picture in pictures.values()):
        raise ValueError(f"`decoding` holds no {what} of '{layer}'; decode it with one.")
    grid = codes.fitted.grid
    with mpl.rc_context(STYLE):
        axes = axes or _own_axes(grid, len(codes.class_names))
        places = grid.positions.double().numpy() * (1, -1)
        polygons = places[:, None] + cell(grid.kind)[None]
        axes.add_collection(PolyCollection(list(polygons), facecolors=list(_colours(codes)), edgecolors="white"))
        for one in units:
            _draw(axes, pictures[one.unit], places[one.unit])
        away = [polygons[one.unit] for one in units if what == "inversion" and one.fidelity.reencoded is False]
        axes.add_collection(PolyCollection(away, facecolors="none", edgecolors=AWAY, linewidths=1.8))
        axes.set_xlim(places[:, 0].min() - 0.6, places[:, 0].max() + 0.6)
        axes.set_ylim(places[:, 1].min() - 0.7, places[:, 1].max() + 0.7)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(_headline(layer, units, what), loc="left", fontsize=9, fontweight="bold")
        _legend(axes, codes, away=bool(away))
    return axes


def unit_sheet(decoding: Decoding, unit: int, *, layer: Layer | None = None) -> Figure:
    """One unit in full: exemplars, inversion, read-out, attribution, neighbours, and how far all that is to be trusted.

    Raises:
        ValueError: if samples are no images, or the unit was not decoded.
    """
    layer, codes, units = _of_layer(decoding, layer)
    one = next((one for one in units if one.unit == unit), None)
    if one is None:
        raise ValueError(f"`unit` {unit} of '{layer}' was not decoded; decode it first.")
    rows = _rows(decoding, codes, one)
    most = max(len(pictures) for _, pictures, _ in rows)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.5 + 0.95 * most, 0.5 + 1.1 * len(rows) + 0.4))
        width, height = figure.get_size_inches()
        figure.text(0.15 / width, 1 - 0.22 / height, _title(codes, one), fontsize=10, fontweight="bold", va="center")
        for line, (label, pictures, captions) in enumerate(rows):
            bottom = height - 0.5 - 1.1 * (line + 1)
            figure.text(0.15 / width, (bottom + 0.5) / height, label, fontsize=8, va="center", linespacing=1.3)
            for column, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
                axes = figure.add_axes(((2.4 + 0.95 * column) / width, bottom / height, 0.85 / width, 0.85 / height))
                _show(axes, picture)
                axes.set_title(caption, fontsize=7, pad=2)
        figure.text(0.15 / width, 0.2 / height, _trust(one), fontsize=8, va="center", color=INK)
    return figure


def _of_layer(decoding: Decoding, layer: Layer | None) -> tuple[Layer, LayerCodes, list[Decoded]]:
    """The layer that is drawn, checked; its codes and its decoded units."""
    layer = next(iter(decoding.codes)) if layer is None else layer
    if layer not in decoding.codes:
        raise ValueError(f"`layer` '{layer}' was not decoded; layers are: {', '.join(map(str, decoding.codes))}.")
    codes = decoding.codes[layer]
    if image_shape(codes.shown([0])) is None:
        raise ValueError(
            f"There are no images to show: samples of {codes.data.source} are not (channels, height, width) with one "
            "or three channels. Texts are drawn by `text_sheet`; `Decoding.table` holds the ids of all exemplars."
        )
    return layer, codes, [one for one in decoding.units if one.layer == layer]


def _picture(codes: LayerCodes, one: Decoded, what: str) -> Tensor | None:
    """(channels, height, width), or None where a unit has none."""
    if what == "inversion":
        return one.inverted
    if what == "readout":
        return one.read
    if not one.exemplars.count:
        return None
    shown = codes.shown(codes.members(one.unit)[: 1 if what == "nearest" else None])
    assert isinstance(shown, Tensor)
    return shown.mean(0)


def _rows(decoding: Decoding, codes: LayerCodes, one: Decoded) -> list[tuple[str, list[Any], list[str]]]:
    """Label, pictures and captions of each row of a unit's sheet."""
    own = one.exemplars
    rows: list[tuple[str, list[Any], list[str]]] = []
    made = [(one.inverted, "inversion"), (_picture(codes, one, "mean"), "mean exemplar"), (one.read, "linear read-out")]
    there = [(picture, told) for picture, told in made if picture is not None]
    if there:
        rows.append(("What it stands for", [picture for picture, _ in there], [told for _, told in there]))
    for label, some in (("Nearest to its prototype", own.nearest), ("Spread over its cell", own.typical)):
        if some:
            captions = [_caption(codes, shown) for shown in some]
            rows.append((label, list(_images(codes, [shown.sample for shown in some])), captions))
    if one.attribution is not None:
        images = _images(codes, one.attributed)
        maps = [(image, _relative(part)) for image, part in zip(images, one.attribution.parts, strict=True)]
        rows.append((
            "What holds it there\nred: for this unit,\nblue: against it", maps,
            [f"margin {margin:+.2f}" for margin in one.attribution.margins.tolist()],
        ))  # fmt: skip
    readout = decoding.readouts.get(one.layer)
    if one.contrasts and readout is not None:
        steps = [readout.along(contrast.step)[0].mean(0) for contrast in one.contrasts]
        largest = max(float(step.abs().max()) for step in steps) or 1.0
        drawn = [(None, step / largest) for step in steps]
        rows.append((
            "To each neighbour, by the\nread-out; red: brighter\nthere, blue: darker", drawn,
            [f"unit {contrast.neighbour}" for contrast in one.contrasts],
        ))  # fmt: skip
    return rows


def _caption(codes: LayerCodes, shown: Exemplar) -> str:
    """The label, and where the network answers something else, that."""
    known = shown.prediction if shown.label is None else shown.label
    told = "" if known is None else codes.class_name(known)
    return f"{told} → {codes.class_name(shown.prediction)}" if shown.wrong and shown.prediction is not None else told


def _images(codes: LayerCodes, samples: Sequence[int]) -> Tensor:
    found = codes.data.take(codes.data.find(samples)).inputs
    assert isinstance(found, Tensor)
    return found


def _show(axes: Axes, picture: Any) -> None:
    """An image; or a pair of an image, drawn pale, and what is laid over it in red and blue, from -1 to 1."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#d1d5db")
    if isinstance(picture, Tensor):
        axes.imshow(_pixels(picture), cmap="gray", vmin=0, vmax=1)
        return
    image, over = picture
    if image is not None:
        axes.imshow(1 - 0.35 * image.mean(0).numpy(), cmap="gray", vmin=0, vmax=1)
    alpha = np.ones(over.shape) if image is None else over.abs().sqrt().clamp(0, 1).numpy()
    axes.imshow(over.clamp(-1, 1).numpy(), cmap="RdBu_r", vmin=-1, vmax=1, alpha=alpha)


def _relative(parts: Tensor) -> Tensor:
    """Attribution in units of what all but 1 % of the parts are below, so that one of them does not hide the others."""
    return parts / (float(parts.abs().flatten().quantile(0.99)) or 1.0)


def _pixels(image: Tensor) -> Array:
    """As matplotlib takes it, between 0 and 1."""
    return image.double().permute(1, 2, 0).squeeze(2).clamp(0, 1).numpy()


def _draw(axes: Axes, picture: Tensor | None, place: Array) -> None:
    half = INSIDE / 2
    if picture is None:
        axes.text(float(place[0]), float(place[1]), "–", ha="center", va="center", fontsize=8, color="#6b7280")
        return
    extent = (place[0] - half, place[0] + half, place[1] - half, place[1] + half)
    axes.imshow(_pixels(picture), cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest", zorder=2)


def _colours(codes: LayerCodes) -> Array:
    """Of each unit, from the classes of its samples; nearly white for dead units."""
    classes = codes.recording.labels if codes.recording.labels is not None else codes.recording.predictions
    count = max(len(codes.class_names), 1 if classes is None else int(classes.max()) + 1)
    counts = np.zeros((len(codes.fitted.grid), count))
    if classes is not None:
        np.add.at(counts, (codes.best.unit.numpy(), classes.numpy()), 1)
    return mixed(counts, palette(count))


def _legend(axes: Axes, codes: LayerCodes, *, away: bool) -> None:
    names = codes.class_names
    handles = [Patch(color=colour, label=name) for colour, name in zip(palette(len(names)), names, strict=True)]
    handles = handles if len(names) <= LISTED else []
    handles += [Patch(facecolor="white", edgecolor=AWAY, label="inversion has another code")] if away else []
    if handles:
        axes.legend(
            handles=handles, frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), alignment="left",
            title="Frame: commonest class,\npale where classes mix", title_fontsize=8,
        )  # fmt: skip


def _headline(layer: Layer, units: Sequence[Decoded], what: str) -> str:
    told = f"{layer.name} under {layer.reduction}: each unit by {PICTURES[what]}"
    if what != "inversion":
        return told
    same = sum(one.fidelity.reencoded is True for one in units)
    return f"{told}\n{same} of {len(units)} are encoded back to their unit"


def _title(codes: LayerCodes, one: Decoded) -> str:
    share = f"{one.exemplars.count:,} of {len(codes.best.unit):,} samples, {len(one.exemplars.mistakes)} answered wrong"
    return f"{one.layer.name} under {one.layer.reduction}, unit {one.unit}: {one.name}  ({share})"


def _trust(one: Decoded) -> str:
    """The fidelity in words."""
    told, fidelity = [], one.fidelity
    if fidelity.reencoded is not None:
        where = "back to this unit" if fidelity.reencoded else "to a neighbour" if fidelity.near else "elsewhere"
        told.append(
            f"The inversion is encoded {where}, {fidelity.residual:.2f} spreads from the prototype (the unit's median "
            f"exemplar: {fidelity.typical_residual:.2f})."
        )
    if one.attribution is not None:
        told.append(
            f"With the highest attributed fifth of its pixels blurred, the margin falls by {fidelity.margin_drop:.2f}; "
            f"with a random fifth, by {fidelity.random_drop:.2f}; with the fifth that blurring changes most, by "
            f"{fidelity.change_drop:.2f}."
        )
    return "\n".join(told)


def _own_axes(grid: Grid, classes: int) -> Axes:
    width, height = 0.62 * grid.columns, 0.62 * grid.rows * grid.row_height
    figure = Figure(figsize=(width + (2.3 if classes <= LISTED else 0.3), height + 0.6), layout="constrained")
    return figure.add_subplot()
