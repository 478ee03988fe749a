"""What figures over depth share: one step per layer to the right, so that they can stand under one another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerscope.drawing import INK

NULL, ATTACK, NOISE, TELLS = "#9ca3af", "#dc2626", "#6b7280", "#2563eb"
STEP = 1.3
"""Inches from layer to layer."""
LETTER = 0.06
"""Inches, of a note."""


def own_axes(layers: int, height: float = 2.4) -> Axes:
    """Axes of a figure of their own, a step wide for each layer and `height` inches high."""
    figure = Figure(figsize=(0.9 + STEP * layers, height + 0.6), layout="constrained")
    return figure.add_subplot()


def line(axes: Axes, rows: pd.DataFrame, label: str, *, color: str, style: Any = "-", marker: str = "o") -> None:
    """Values over depth, and the band of their intervals; infinite values leave a gap."""
    shown = rows.replace([np.inf, -np.inf], np.nan)
    axes.fill_between(shown["layer_index"], shown["low"], shown["high"], color=color, alpha=0.18, linewidth=0)
    axes.plot(
        shown["layer_index"], shown["value"], linestyle=style, color=color, label=label,
        marker=marker, markersize=4, markerfacecolor="white", linewidth=1.5,
    )  # fmt: skip


def legend(axes: Axes, *, last_first: bool = False) -> None:
    """To the right of the axes, so that it hides nothing, in the order of drawing or its reverse: alike in all panels.

    Handles are long enough to show the gap of the longest dashes.
    """
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    lines = lines[::-1] if last_first else lines
    axes.legend(lines, [str(line.get_label()) for line in lines], frameon=False, fontsize=8, loc="upper left",
                bbox_to_anchor=(1.0, 1.03), borderaxespad=0.2, handlelength=3, handletextpad=0.5)  # fmt: skip


def beside(axes: Axes, told: str, layer: int, height: float, layers: int) -> None:
    """A note to the right of a layer's line, or to its left where it would leave the axes."""
    fits = LETTER * len(told) < STEP * (layers - 0.5 - layer)
    place, side = (layer + 0.06, "left") if fits else (layer - 0.06, "right")
    axes.annotate(told, (place, height), fontsize=8, color=INK, ha=side)


def depth_axis(axes: Axes, names: Sequence[str]) -> None:
    """Name the layers along the axis; long names by their ends."""
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xticks(range(len(names)), [name if len(name) <= 14 else f"...{name[-12:]}" for name in names])
    axes.tick_params(axis="x", length=0)
