"""Figures to publish: each draws on an Axes, its own unless one is given, and returns it.

Depth runs to the right in all of them, one step per layer, so that they can stand under one another. Everything drawn
is read from the results table and the code tables of a run.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from torch import Tensor

from layerscope.causal_figures import causal as causal  # noqa: PLC0414 - of this door
from layerscope.causal_figures import causal_doses as causal_doses  # noqa: PLC0414 - of this door
from layerscope.causal_figures import causals as causals  # noqa: PLC0414 - of this door
from layerscope.depth_drawing import ATTACK, NOISE, NULL, STEP, beside, depth_axis, legend, line, own_axes
from layerscope.drawing import INK, LISTED, STYLE, Array, cell, mixed, palette
from layerscope.recording import Recording
from layerscope.results import MEASURES, select
from layerscope.som import Grid
from layerscope.summary import ALPHA, attack_pairs, layer_of_departure

STYLES = ("-", "--", ":", "-.")
"""Of lines, for attacks of several budgets."""
MAP = 0.88
"""Width of a map, in steps."""
TELESCOPE = ("label_information", "participation_ratio")
FLOW = ("flip_rate", "shift_over_gap")
"""The measures that the picture of the depth shows."""
Picture = Float[Tensor, "channels height width"]


@runtime_checkable
class Run(Protocol):
    """What the figures need of a run."""

    @property
    def results(self) -> pd.DataFrame:
        """The table of `results.parquet`."""
        ...

    @property
    def codes(self) -> Mapping[str, pd.DataFrame]:
        """Code tables by condition."""
        ...

    @property
    def recordings(self) -> Mapping[str, Recording]:
        """Recordings by condition."""
        ...

    @property
    def grid(self) -> Grid:
        """The lattice of the maps."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """One per class."""
        ...

    @property
    def smallest(self) -> pd.DataFrame | None:
        """From `smallest_perturbations`."""
        ...


def telescope(
    run: Run, measure: str = "label_information", *, reduction: str = "mean", axes: Axes | None = None
) -> Axes:
    """A measure over depth with its 95 % interval, and the bands of its nulls.

    Untrained weights, shuffled labels, a random codebook, the reduction of the inputs alone; see `profile`.

    Raises:
        ValueError: if the run holds no such measure under that reduction.
    """
    layers = run.results[run.results["layer_index"] >= 0]
    rows = select(layers, measure=measure, reduction=reduction, condition="clean")
    if rows.empty:
        known = layers[layers["condition"] == "clean"]
        measures, reductions = (", ".join(known[column].unique()) for column in ("measure", "reduction"))
        raise ValueError(f"The run holds no {measure!r} under {reduction!r}; it holds, under {reductions}: {measures}.")
    with mpl.rc_context(STYLE):
        axes = axes or own_axes(len(rows))
        for condition, label, style in (
            ("shuffled", "labels shuffled", ":"),
            ("codebook", "random codebook", "-."),
            ("reduction", "reduction alone", (0, (8, 3))),
            ("untrained", "same network, untrained", "--"),
        ):
            null = select(layers, measure=measure, reduction=reduction, condition=condition)
            if len(null):
                line(axes, null, label, color=NULL, style=style, marker="")
        line(axes, rows, "trained", color=INK)
        axes.set_title(f"{MEASURES[measure].title}, under {reduction}", loc="left", fontsize=9, fontweight="bold")
        axes.set_ylabel(MEASURES[measure].unit)
        if MEASURES[measure].unit.startswith("share"):
            axes.set_ylim(min(0.0, axes.get_ylim()[0]), max(1.0, axes.get_ylim()[1]))
        elif rows["low"].min() >= 0:
            axes.set_ylim(bottom=0)
        legend(axes, last_first=True)
        depth_axis(axes, list(rows["layer"]))
    return axes


def telescopes(run: Run) -> Figure:
    """What the telescope is told of, and the intrinsic dimension, over depth: a row each, under every reduction."""
    reductions = run.recordings["clean"].reductions
    has = [set(run.results.loc[run.results["reduction"] == reduction, "measure"]) for reduction in reductions]
    measures = [name for name in (*TELESCOPE, "class_gap", "dimension_twonn") if all(name in one for one in has)]
    count = len(run.recordings["clean"].depth(reductions[0]))
    with mpl.rc_context(STYLE):
        size = (len(reductions) * (0.75 * STEP * count + 2.6), 2.3 * len(measures))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(measures), len(reductions), squeeze=False)
        for row, measure in enumerate(measures):
            for column, reduction in enumerate(reductions):
                telescope(run, measure, reduction=reduction, axes=axes[row, column])
    return figure


def flow(run: Run, measure: str = "flip_rate", *, reduction: str = "mean", axes: Axes | None = None) -> Axes:
    """What each perturbation does over depth: attacks in red, noise in grey; the layer of departure is marked.

    Raises:
        ValueError: if the run holds no such measure under that reduction.
    """
    rows = run.results[(run.results["measure"] == measure) & (run.results["reduction"] == reduction)]
    if rows.empty:
        raise ValueError(f"The run holds no {measure!r} under {reduction!r}; make one with an attack.")
    with mpl.rc_context(STYLE):
        conditions = list(rows["condition"].unique())
        attacks = [name for name in conditions if not name.startswith("noise:")]
        layers = list(select(rows, condition=conditions[0])["layer"])
        axes = axes or own_axes(len(layers))
        for condition in conditions:
            style = STYLES[attacks.index(condition.removeprefix("noise:")) % len(STYLES)]
            color = NOISE if condition.startswith("noise:") else ATTACK
            label = "noise of its size" if color == NOISE and len(attacks) == 1 else condition
            line(axes, select(rows, condition=condition), label, color=color, style=style)
        for place, (attack, control) in enumerate(attack_pairs(run.results) if measure == "flip_rate" else ()):
            layer = layer_of_departure(run.results, reduction, attack, control)
            if layer is not None:
                told = "attack parts from noise here" if len(attacks) == 1 else f"{attack} parts from noise here"
                axes.axvline(layers.index(layer), color=ATTACK, linestyle=":", linewidth=1)
                beside(axes, told, layers.index(layer), 0.03 + 0.09 * place, len(layers))
        axes.set_title(f"{MEASURES[measure].title}, under {reduction}", loc="left", fontsize=9, fontweight="bold")
        axes.set_ylabel(MEASURES[measure].unit)
        if measure == "wrong_class_log_odds":
            axes.axhline(0, color=NULL, linewidth=0.8)
        elif measure == "amplification":
            axes.axhline(1, color=NULL, linewidth=0.8)
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(0, 1.03 if MEASURES[measure].unit == "share" else None)
        legend(axes)
        depth_axis(axes, layers)
    return axes


def vulnerability(
    run: Run, measure: str = "vulnerability_homogeneity", *, reduction: str = "mean", axes: Axes | None = None
) -> Axes:
    """Spearman's correlation of the smallest perturbation with homogeneity, or with the gap, over depth.

    As it is, given the margin of the logits, and within classes; a filled dot where p, corrected for the number of
    layers, is below 0.05.

    Raises:
        ValueError: if the run holds no such measure under that reduction.
    """
    rows = run.results[(run.results["measure"] == measure) & (run.results["reduction"] == reduction)]
    rows = rows[~rows["condition"].str.startswith("class ")]
    if rows.empty:
        raise ValueError(f"The run holds no {measure!r} under {reduction!r}; make one with an attack and labels.")
    with mpl.rc_context(STYLE):
        layers = list(run.recordings["clean"].depth(reduction))
        axes = axes or own_axes(len(layers))
        axes.axhline(0, color=NULL, linewidth=0.8)
        for unit, colour in zip(rows["unit"].unique(), (INK, "#2563eb", "#d97706"), strict=False):
            own = select(rows, unit=unit)
            line(axes, own, unit, color=colour)
            p = select(run.results, measure=f"{measure}_p", reduction=reduction, unit=unit)
            sure = own[own["layer"].isin(p.loc[p["value"] < ALPHA, "layer"])]
            axes.plot(sure["layer_index"], sure["value"], "o", color=colour, markersize=4)
        axes.set_title(f"{MEASURES[measure].title}, under {reduction}", loc="left", fontsize=9, fontweight="bold")
        axes.set_ylabel("Spearman")
        axes.set_ylim(-1, 1)
        legend(axes)
        depth_axis(axes, [layer.name for layer in layers])
    return axes


def robustness(run: Run, *, axes: Axes | None = None) -> Axes:
    """Accuracy over the budget: what the smallest perturbations leave of it, and what each attack left.

    The line is the share of all samples that are right and whose smallest perturbation found is larger than the budget;
    a better search would lie lower. Dots are attacks at the largest change that they made, with 95 % intervals.

    Raises:
        ValueError: if the run has no smallest perturbations.
    """
    smallest = run.smallest
    if smallest is None or not (run.results["measure"] == "smallest_perturbation").any():
        raise ValueError("The run has no smallest perturbations; make one with an attack and labels.")
    rows = run.results[run.results["layer_index"] == -1]
    accuracy = float(select(rows, measure="accuracy")["value"].iloc[0])
    middle = select(rows, measure="smallest_perturbation").iloc[0]
    sizes = np.sort(smallest["size"].to_numpy())
    finite = sizes[np.isfinite(sizes)]
    with mpl.rc_context(STYLE):
        axes = axes or Figure(figsize=(7.2, 3.0), layout="constrained").add_subplot()
        left = accuracy * (1 - np.arange(len(finite) + 1) / len(sizes))
        axes.step(np.concatenate([[0.0], finite]), left, where="post", color=INK, label=str(middle["condition"]))
        if np.isfinite(middle["value"]):
            axes.axvline(middle["value"], color=NULL, linestyle=":", linewidth=1)
            axes.annotate(f"median {middle['value']:.3g}", (middle["value"], 0.97), fontsize=8, color=INK)
        for row in select(rows, measure="robust_accuracy").to_dict("records"):
            size = run.recordings[row["condition"]].sizes.get(middle["unit"])
            if size is None or f"{middle['unit']}=" not in row["condition"]:
                continue
            colour = NOISE if row["condition"].startswith("noise:") else ATTACK
            error = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
            axes.errorbar(float(size.max()), row["value"], yerr=error, fmt="o", color=colour, markersize=4,
                          label="noise of its size" if colour == NOISE else row["condition"])  # fmt: skip
        axes.set_ylim(0, 1.03)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"budget, {middle['unit']}")
        axes.set_ylabel("right answers, share")
        axes.set_title("Accuracy over the budget", loc="left", fontsize=9, fontweight="bold")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.03), borderaxespad=0.2)
    return axes


def maps(run: Run, *, reduction: str = "mean", sample: int | None = None, axes: Axes | None = None) -> Axes:
    """Every layer's map in a row: a unit's colour is its commonest class, pale where classes mix.

    Args:
        run: the run. Without labels, the network's predictions are the classes.
        reduction: whose maps.
        sample: id of a sample whose path is drawn: clean in black, under the run's last attack in red.
        axes: where to draw; one step per layer, maps 0.88 steps wide.

    Raises:
        ValueError: if there are neither labels nor predictions.
    """
    recording = run.recordings["clean"]
    depth = recording.depth(reduction)
    classes = recording.predictions if recording.labels is None else recording.labels
    if classes is None:
        raise ValueError("`run` has neither labels nor predictions, so that there are no classes to colour maps by.")
    with mpl.rc_context(STYLE):
        axes = axes or own_axes(len(depth), height=STEP * 1.1)
        places, outline, size = _places(run.grid)
        polygons, colours = [], []
        for index, layer in enumerate(depth):
            codes = run.codes["clean"][f"code:{layer}"].to_numpy()
            counts = np.zeros((len(run.grid), int(classes.max()) + 1))
            np.add.at(counts, (codes, classes.numpy()), 1)
            colours += list(mixed(counts, palette(max(len(run.class_names), counts.shape[1]))))
            polygons += list(places[:, None] + outline[None] + (index, 0))
        axes.add_collection(PolyCollection(polygons, facecolors=colours, edgecolors="white", linewidths=0.3))
        if sample is not None:
            for condition, colour, style, wide in _paths(run):
                units = [_code(run, condition, sample, f"code:{layer}") for layer in depth]
                path = places[units] + np.column_stack([np.arange(len(units)), np.zeros(len(units))])
                axes.plot(
                    *path.T, style, color=colour, marker="o", markersize=2.5 * wide, linewidth=wide, label=condition
                )
            legend(axes)
        axes.set_ylim(-size / 2 - 0.02, size / 2 + 0.02)
        axes.set_aspect("equal", adjustable="box")
        depth_axis(axes, [layer.name for layer in depth])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_title(
            f"Maps under {reduction}: a cell is a code, its colour the commonest class, pale where classes mix",
            loc="left", fontsize=9, fontweight="bold",
        )  # fmt: skip
    return axes


def class_legend(run: Run, axes: Axes) -> Axes:
    """The colours of the classes, as a line of its own; their number where they are too many to list."""
    names = run.class_names
    if len(names) > LISTED:
        axes.text(0, 0.5, f"{len(names)} classes, a colour each", va="center", fontsize=8)
        axes.set_axis_off()
        return axes
    handles = [Patch(color=colour, label=name) for colour, name in zip(palette(len(names)), names, strict=True)]
    with mpl.rc_context(STYLE):
        axes.legend(handles=handles, frameon=False, ncols=min(len(names), 10), loc="center left", fontsize=8)
        axes.set_axis_off()
    return axes


def depth(run: Run, *, reduction: str = "mean", sample: int | None = None) -> Figure:
    """Telescope, maps and flow under one another on one depth axis: what a run found, in one picture."""
    recording = run.recordings["clean"]
    count = len(recording.depth(reduction))
    has = set(run.results.loc[run.results["reduction"] == reduction, "measure"])
    panels: list[tuple[str, float]] = [(name, 1.5) for name in TELESCOPE if name in has]
    panels += [("maps", STEP * MAP), ("classes", 0.1)]
    panels += [(name, 1.5) for name in FLOW if name in has]
    left, right, gap = 0.75, 2.1, 0.55
    width = left + STEP * count + right
    height = sum(tall + gap for _, tall in panels)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        top = height - 0.3
        for name, tall in panels:
            place = (left / width, (top - tall) / height, STEP * count / width, tall / height)
            axes = figure.add_axes(place)
            if name == "maps":
                maps(run, reduction=reduction, sample=sample, axes=axes)
            elif name == "classes":
                class_legend(run, axes)
            elif name in FLOW:
                flow(run, name, reduction=reduction, axes=axes)
            else:
                telescope(run, name, reduction=reduction, axes=axes)
            top -= tall + gap
    return figure


def pictures(clean: Picture, perturbed: Picture, captions: Sequence[str]) -> Figure:
    """One image clean, the change to it enlarged to full contrast around grey, and perturbed; channels first."""
    change = perturbed - clean
    largest = float(change.abs().max()) or 0.5
    figure = Figure(figsize=(4.2, 1.6))
    with mpl.rc_context(STYLE):
        for place, (image, caption) in enumerate(
            zip((clean, change / (2 * largest) + 0.5, perturbed), captions, strict=True)
        ):
            axes = figure.add_axes((place / 3 + 0.01, 0.0, 0.31, 0.8))
            axes.imshow(image.permute(1, 2, 0).squeeze(2).clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
            axes.set_title(f"{caption} ×{0.5 / largest:.0f}" if place == 1 else caption, fontsize=8)
            axes.set_axis_off()
    return figure


def _places(grid: Grid) -> tuple[Array, Array, float]:
    """Each unit's centre around (0, 0) with the map 0.88 wide, the outline of a cell, and the map's height."""
    positions = grid.positions.double().numpy()
    extent = np.ptp(positions, axis=0) + 1
    scale = MAP / max(extent)
    centred = (positions - (positions.max(0) + positions.min(0)) / 2) * scale * (1, -1)
    outline = scale * cell(grid.kind)
    return centred, outline, float(np.ptp(positions[:, 1]) * scale + np.ptp(outline[:, 1]))


def _paths(run: Run) -> list[tuple[str, str, str, float]]:
    """The conditions whose paths are drawn, with colour, line and width: the last attack, and clean on top of it."""
    attacks = [name for name in run.codes if name != "clean" and not name.startswith("noise:")]
    return [*((name, ATTACK, "-", 2.6) for name in attacks[-1:]), ("clean", INK, "-", 1.2)]


def _code(run: Run, condition: str, sample: int, column: str) -> int:
    codes = run.codes[condition]
    return int(codes.loc[codes["id"] == sample, column].iloc[0])
