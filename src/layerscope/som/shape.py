"""How many units suit the rows, and how the grid should lie."""

import torch

from layerscope.som.grid import Grid
from layerscope.som.rows import Rows, held
from layerscope.som.space import Space
from layerscope.subspace import principal_axes
from layerscope.types import Vectors

LONGEST = 8.0
"""How many times longer than wide a grid may be."""


def suitable_grid(rows: Rows, sample: Vectors, kind: str, topology: str) -> Grid:
    """About 5 sqrt(n) units, sides as the rows' two largest principal deviations (Vesanto et al. 2000, SOM Toolbox).

    Args:
        rows: of which n is the number, or the sum of their weights.
        sample: some of them, which the deviations are taken on where rows have no weights.
        kind: of the grid.
        topology: of the grid.
    """
    seen = held(sample) if rows.weights is None else rows
    units = max(4.0, 5 * float(rows.count or 0 if rows.weights is None else rows.weights.sum()) ** 0.5)
    space = Space.around(seen, dtype=torch.float64)
    around = seen.after(space.enter).evenly(torch.zeros_like(space.offset, dtype=torch.float64))
    _, deviations = principal_axes(around, 2)
    narrow = float(deviations[1] / deviations[0]) if len(deviations) > 1 and deviations[0] > 0 else 0.0
    high = max(1, round((units * max(narrow, 1 / LONGEST)) ** 0.5))
    if kind == "hexagonal" and topology == "toroidal":
        high += high % 2
    return Grid(high, max(2, round(units / high)), kind, topology)
