"""What the parts of the page share."""

from pathlib import Path

import numpy as np
import pandas as pd

DOCS = Path(__file__).parents[2] / "docs"
COLOURS = {
    "residual": "#4477aa", "vgg": "#ee6677", "dense": "#228833", "transformer": "#ccbb44", "perceptron": "#66ccee",
    "EfficientNet-Lite0": "#aa3377", "MiniLM": "#555555",
}  # fmt: skip


def with_interval(row: pd.Series) -> str:
    """A value, and its interval where it has one."""
    if np.isnan(row["low"]):
        return f"{row['value']:.2f}"
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
