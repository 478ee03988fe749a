"""Figures of the causal test: codes that tell, and codes that act."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerscope.depth_drawing import ATTACK, NOISE, NULL, STEP, TELLS, depth_axis, legend, line, own_axes
from layerscope.drawing import STYLE
from layerscope.results import select

CAUSAL_CONTROLS = (("random", "a random direction, as far", "--"), ("codes", "between two other codes, as far", ":"))
"""Conditions of a causal test's controls, what they are, and their lines."""


@runtime_checkable
class Measured(Protocol):
    """A causal test, or a run: what has a table of results."""

    @property
    def results(self) -> pd.DataFrame:
        """Its rows."""
        ...


def causal(found: Measured, run: Measured | None = None, *, reduction: str = "mean", axes: Axes | None = None) -> Axes:
    """How often the answer becomes the target class when a layer is moved, over depth, beside both controls.

    Args:
        found: from `layerscope.causal`.
        run: the run that was tested, whose label information is drawn beside: what the codes tell.
        reduction: under which layers were moved.
        axes: where to draw.

    Raises:
        ValueError: if nothing was moved under that reduction.
    """
    rates = _moved(found, "causal_target_rate", reduction)
    layers = list(select(rates, condition="clean")["layer"])
    with mpl.rc_context(STYLE):
        axes = axes or own_axes(len(layers))
        if run is not None:
            told = select(run.results, measure="label_information", reduction=reduction, condition="clean")
            told = told[told["layer"].isin(layers)]
            line(
                axes,
                _at(told, layers),
                "what the code tells: I(code; label) / H(label)",
                color=TELLS,
                style=(0, (1, 1)),
            )
        controls = _moved(found, "causal_control_rate", reduction)
        for condition, label, style in CAUSAL_CONTROLS:
            own = select(controls, condition=condition)
            if len(own):
                line(axes, _at(own, layers), label, color=NOISE, style=style, marker="s")
        line(axes, _at(select(rates, condition="clean"), layers), "moved to the target's code", color=ATTACK)
        title = f"Answers that become the target class when a layer is moved, under {reduction}"
        axes.set_title(title, loc="left", fontsize=9, fontweight="bold")
        axes.set_ylabel("share")
        axes.set_ylim(-0.03, 1.03)
        legend(axes, last_first=True)
        depth_axis(axes, layers)
    return axes


def causal_doses(found: Measured, *, reduction: str = "mean", axes: Axes | None = None) -> Axes:
    """How often the answer becomes the target class, over how far a layer is moved: a line per layer, dark when deep.

    Controls are grey. A dose of 1 is the difference between the two prototypes.

    Raises:
        ValueError: if nothing was moved under that reduction.
    """
    rates, controls = (_moved(found, f"causal_{kind}_rate", reduction) for kind in ("target", "control"))
    layers = list(select(rates, condition="clean")["layer"])
    with mpl.rc_context(STYLE):
        axes = axes or Figure(figsize=(5.4, 3.0), layout="constrained").add_subplot()
        for kind, label, style in CAUSAL_CONTROLS:
            for layer in layers:
                curve = _curve(controls[controls["layer"] == layer], kind)
                axes.plot(curve["dose"], curve["value"], linestyle=style, color=NULL, linewidth=0.9,
                          label=label if layer == layers[0] else "_")  # fmt: skip
        shades = mpl.colormaps["viridis_r"](np.linspace(0.1, 1, len(layers)))
        for layer, colour in zip(layers, shades, strict=True):
            curve = _curve(rates[rates["layer"] == layer], "clean")
            axes.fill_between(curve["dose"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
            axes.plot(curve["dose"], curve["value"], color=colour, marker="o", markersize=3, linewidth=1.5, label=layer)
        axes.axvline(1, color=NULL, linewidth=0.8, linestyle=":")
        axes.set_title(f"The same over the dose, under {reduction}", loc="left", fontsize=9, fontweight="bold")
        axes.set_xlabel("dose (1: from the own code's prototype to the target's)")
        axes.set_ylabel("share")
        axes.set_ylim(-0.03, 1.03)
        legend(axes, last_first=True)
    return axes


def causals(found: Measured, run: Measured | None = None) -> Figure:
    """A causal test in one picture: over depth and over the dose, a row per reduction; see `causal`."""
    reductions = list(found.results["reduction"].unique())
    count = found.results["layer"].nunique()
    with mpl.rc_context(STYLE):
        wide = 0.55 * STEP * count + 3.4
        figure = Figure(figsize=(wide + 5.2, 3.0 * len(reductions)), layout="constrained")
        axes = figure.subplots(len(reductions), 2, squeeze=False, width_ratios=(wide, 5.2))
        for row, reduction in enumerate(reductions):
            causal(found, run, reduction=reduction, axes=axes[row, 0])
            causal_doses(found, reduction=reduction, axes=axes[row, 1])
    return figure


def _moved(found: Measured, measure: str, reduction: str) -> pd.DataFrame:
    """A causal test's rows of a measure."""
    rows = select(found.results, measure=measure, reduction=reduction)
    if rows.empty:
        known = ", ".join(found.results["reduction"].unique())
        raise ValueError(f"No layer was moved under {reduction!r}; layers were under: {known}.")
    return rows


def _at(rows: pd.DataFrame, layers: Sequence[str]) -> pd.DataFrame:
    """The rows with the places of their layers among `layers` for depth."""
    return rows.assign(layer_index=rows["layer"].map(layers.index))


def _curve(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows of one kind of shift in order of their dose."""
    told = rows["condition"].str.partition(":dose=")
    dose = [float(number or 1) for number in told[2]]
    return rows.assign(dose=dose)[told[0] == kind].sort_values("dose")
