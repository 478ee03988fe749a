"""One finding = one row: what was measured, where, its interval, and its nulls beside it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from math import nan
from typing import NamedTuple

import pandas as pd


class Measure(NamedTuple):
    """What a measure is called, in what it is given, and how to read it."""

    unit: str
    title: str
    meaning: str


MEASURES = {
    "participation_ratio": Measure(
        "dimensions", "participation ratio", "how many directions the activations spread over; low = compressed"
    ),
    "label_information": Measure(
        "share of H(y)", "label information I(code; label) / H(label)", "what a code tells of the label; high = diverse"
    ),
    "class_entropy_given_code": Measure(
        "bits", "H(label | code)", "how mixed the classes within a code are; high = homogeneous across classes"
    ),
    "code_perplexity": Measure("codes", "code perplexity", "how many codes are in use, counted by 2^entropy"),
    "explained_variance": Measure("share", "explained variance", "how well the map stands for the layer"),
    "topographic_error": Measure("share", "topographic error", "samples whose two best units are not neighbours"),
    "flip_rate": Measure("share", "codes that flip", "samples whose code a perturbation changes"),
    "shift_over_gap": Measure(
        "gaps",
        "shift over gap",
        "median over samples of the shift, in distances to the nearest sample of another class",
    ),
    "grid_shift": Measure("grid steps", "grid displacement", "mean distance on the map from clean to perturbed code"),
    "accuracy": Measure("share", "accuracy", "right answers on clean inputs"),
    "robust_accuracy": Measure("share", "robust accuracy", "right answers on perturbed inputs"),
}
"""Every measure that a row may name."""


@dataclass(frozen=True)
class Result:
    """One number."""

    measure: str
    """A name in `MEASURES`."""
    layer: str
    """The layer's dotted name; empty for the whole network."""
    layer_index: int
    """The layer's place in depth from 0, the input; -1 for the whole network."""
    condition: str
    """`clean`, a perturbation such as `pgd:linf=8/255`, or a null's own rows: `untrained`, `shuffled`."""
    reduction: str
    """`mean` or `sketch:512`; empty for the whole network."""
    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    null_untrained: float
    """The same measure on the same architecture with untrained weights: mean over draws; NaN where it has none."""
    null_shuffled: float
    """The same measure with labels shuffled: mean over permutations; NaN where labels play no part."""
    n: int
    """Samples behind the number."""
    unit: str


COLUMNS = tuple(field.name for field in fields(Result))


class Place(NamedTuple):
    """Where a number was measured; by default the whole network on clean inputs."""

    layer: str = ""
    layer_index: int = -1
    condition: str = "clean"
    reduction: str = ""


def finding(
    measure: str,
    value: float,
    bounds: tuple[float, float],
    n: int,
    place: Place,
    *,
    null_untrained: float = nan,
    null_shuffled: float = nan,
) -> Result:
    """A row whose unit is the measure's own, and whose nulls are missing unless given.

    Raises:
        ValueError: if the measure is not known.
    """
    if measure not in MEASURES:
        raise ValueError(f"`measure` {measure!r} is not known; measures are: {', '.join(MEASURES)}.")
    return Result(
        measure=measure,
        layer=place.layer,
        layer_index=place.layer_index,
        condition=place.condition,
        reduction=place.reduction,
        value=value,
        low=bounds[0],
        high=bounds[1],
        null_untrained=null_untrained,
        null_shuffled=null_shuffled,
        n=n,
        unit=MEASURES[measure].unit,
    )


def table(rows: Iterable[Result]) -> pd.DataFrame:
    """The rows as the table of `results.parquet`, in the order they came."""
    return pd.DataFrame([asdict(row) for row in rows], columns=list(COLUMNS))


def findings(results: pd.DataFrame) -> list[Result]:
    """The rows of a results table as values."""
    return [Result(**{str(name): value for name, value in row.items()}) for row in results.to_dict("records")]


def select(results: pd.DataFrame, **where: str | int) -> pd.DataFrame:
    """The rows of a results table whose columns equal `where`, in order of depth."""
    kept = results
    for column, wanted in where.items():
        kept = kept[kept[column] == wanted]
    return kept.sort_values("layer_index", kind="stable").reset_index(drop=True)
