"""What a user may ask of a SOM, and what is said where it can't be done."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch

from layerscope.som.grid import Grid
from layerscope.types import Prototypes

METRICS, SOLVERS, DTYPES = ("euclidean", "cosine"), ("fast", "exact"), ("float32", "float64")


def check_options(metric: Any, solver: Any, dtype: Any, init: Any, radius: Any, epochs: Any) -> None:
    """Raise ValueError for the first option that can't be used, whatever the rows."""
    for name, given, known in (
        ("metric", metric, METRICS),
        ("solver", solver, SOLVERS),
        ("dtype", dtype, DTYPES),
    ):
        if given not in known:
            raise ValueError(f"`{name}` must be one of {', '.join(known)}; got {given!r}.")
    if isinstance(init, str) and init not in ("pca", "sample"):
        raise ValueError(f"`init` must be pca, sample or an array of prototypes; got {init!r}.")
    if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 1:
        raise ValueError(f"`epochs` must be an integer of at least 1; got {epochs!r}.")
    if radius is None:
        return
    pair = tuple(radius) if isinstance(radius, Sequence | np.ndarray) else ()
    numbers = all(isinstance(one, Real) and 0 < float(one) < math.inf for one in pair)
    if len(pair) != 2 or not numbers or pair[0] < pair[1]:
        raise ValueError(
            f"`radius` must be the first and last radius, two numbers above 0, the last not the larger, such as "
            f"(5.0, 0.6); got {radius!r}."
        )


def given_prototypes(init: Any, grid: Grid, width: int) -> Prototypes:
    """The prototypes that a user gave, (K, d) in float64.

    Raises:
        ValueError: if they are not one finite prototype a unit.
    """
    given = torch.as_tensor(init).detach()
    if tuple(given.shape) not in ((len(grid), width), (grid.rows, grid.columns, width)):
        raise ValueError(
            f"`init` must have shape ({len(grid)}, {width}) or ({grid.rows}, {grid.columns}, {width}), one "
            f"prototype a unit; got {tuple(given.shape)}."
        )
    if not bool(given.isfinite().all()):
        raise ValueError("`init` must hold finite numbers; got NaN or infinity.")
    return given.reshape(len(grid), width).to(torch.float64)


def plain(option: Any) -> Any:
    """An option as JSON knows it: numpy's numbers as Python's."""
    if isinstance(option, list | tuple):
        return [plain(one) for one in option]
    return option.tolist() if isinstance(option, np.generic | np.ndarray) else option
