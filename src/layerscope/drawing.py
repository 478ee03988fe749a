"""What all pictures share: how they look, and which colour a class has."""

from typing import Any

import numpy as np
from matplotlib.colors import hsv_to_rgb, to_rgb
from numpy.typing import NDArray

INK, EMPTY = "#111827", "#f1f3f5"
CLASSES = (
    "#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#dd8833", "#7755bb", "#885544",
)  # fmt: skip
LISTED = 20
"""The most classes that a legend names."""
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.parse_math": False,  # the name of a layer or class may hold a dollar sign
    "svg.fonttype": "none",
    "svg.hashsalt": "layerscope",  # the same figure has the same bytes
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Array = NDArray[np.float64]


def palette(count: int) -> Array:
    """A colour per class: ten that colour-blind readers can tell, else as many hues as needed."""
    if count <= len(CLASSES):
        return np.array([to_rgb(colour) for colour in CLASSES[:count]])
    hues = np.linspace(0, 1, count, endpoint=False)
    return hsv_to_rgb(np.column_stack([hues, np.full(count, 0.65), 0.7 + 0.2 * (np.arange(count) % 2)]))


def mixed(counts: Array, colours: Array) -> Array:
    """A unit's colour: its commonest class, the paler the smaller that class's share; nearly white if it is empty."""
    total = counts.sum(1)
    purity = counts.max(1) / np.maximum(total, 1)
    by_chance = 1 / max(counts.shape[1], 2)
    strength = (0.12 + 0.88 * ((purity - by_chance) / (1 - by_chance)).clip(0, 1))[:, None]
    blended = 1 - strength + strength * colours[counts.argmax(1)]
    return np.where(total[:, None] > 0, blended, to_rgb(EMPTY))


def cell(kind: str) -> Array:
    """Corners of a unit's cell around (0, 0), in grid steps: a hexagon standing on a corner, or a square."""
    angles = np.deg2rad(np.arange(6) * 60 + 30 if kind == "hexagonal" else np.arange(4) * 90 + 45)
    radius = 1 / 3**0.5 if kind == "hexagonal" else 1 / 2**0.5
    return radius * np.column_stack([np.cos(angles), np.sin(angles)])
