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
        "share of H(label)",
        "label information I(code; label) / H(label)",
        "what a code tells of the label; high = diverse",
    ),
    "class_entropy_given_code": Measure(
        "bits", "H(label | code)", "how mixed the classes within a code are; high = homogeneous across classes"
    ),
    "purity": Measure("share", "purity", "samples that have the commonest class of their code"),
    "class_overlap": Measure("share", "class overlap", "codes in use that serve two or more classes"),
    "prediction_information": Measure(
        "share of H(answer)", "prediction information", "what a code tells of the network's answer"
    ),
    "code_entropy": Measure("bits", "code entropy", "how evenly codes are used"),
    "code_perplexity": Measure("codes", "code perplexity", "how many codes are in use, counted by 2^entropy"),
    "fan_out": Measure("codes", "fan-out", "codes here that a code of the layer before divides into; high = expansion"),
    "fan_in": Measure("codes", "fan-in", "codes of the layer before that join in a code here; high = compression"),
    "drift": Measure(
        "grid steps", "drift", "mean step of a sample from its unit on the layer before; null: paired at random"
    ),
    "dimension_twonn": Measure(
        "dimensions", "intrinsic dimension (TwoNN)", "from the ratio of the distances to the two nearest samples"
    ),
    "dimension_mle": Measure(
        "dimensions", "intrinsic dimension (MLE)", "from the distances to the twenty nearest samples"
    ),
    "class_separation": Measure(
        "ratio", "class separation", "scatter between classes over scatter within, less what chance gives"
    ),
    "class_gap": Measure("spreads", "gap to another class", "median distance to the nearest sample of another class"),
    "local_stretch": Measure(
        "ratio", "local stretch", "median growth of a small step of the input, both in the layer's own spread"
    ),
    "quantization_error": Measure("distance", "quantization error", "mean distance to the prototype of the code"),
    "trustworthiness": Measure("share", "trustworthiness", "whether neighbours on the map are neighbours in the layer"),
    "class_area": Measure("share", "class area", "share of the map that a class occupies, mean over classes"),
    "compression": Measure("", "compression", "how far the profile's lowest block lies below the input"),
    "expansion": Measure("", "expansion", "how far the last block lies above the lowest before it"),
    "compression_p": Measure(
        "",
        "p of compression",
        "untrained: of one more draw as far from their mean, either way; shuffled: permutations that reach it",
    ),
    "expansion_p": Measure(
        "",
        "p of expansion",
        "untrained: of one more draw as far from their mean, either way; shuffled: permutations that reach it",
    ),
    "explained_variance": Measure("share", "explained variance", "how well the map stands for the layer"),
    "topographic_error": Measure("share", "topographic error", "samples whose two best units are not neighbours"),
    "flip_rate": Measure("share", "codes that flip", "samples whose code a perturbation changes"),
    "shift_over_gap": Measure(
        "gaps",
        "shift over gap",
        "median over samples of the shift, in distances to the nearest sample of another class",
    ),
    "grid_shift": Measure("grid steps", "grid displacement", "mean distance on the map from clean to perturbed code"),
    "amplification": Measure(
        "ratio", "amplification", "median growth of the shift since the first layer, each in its layer's own spread"
    ),
    "wrong_class_log_odds": Measure(
        "bits", "odds of the wrong class", "how far codes move from the label's to the wrong class's, mean"
    ),
    "smallest_perturbation": Measure("", "smallest perturbation", "median over samples of the least that fools it"),
    "vulnerability_homogeneity": Measure(
        "Spearman",
        "smallest perturbation and homogeneity",
        "below 0: where classes share a code, less is enough to change the answer",
    ),
    "vulnerability_gap": Measure(
        "Spearman",
        "smallest perturbation and gap",
        "above 0: where another class is near, less is enough to change the answer",
    ),
    "vulnerability_homogeneity_p": Measure("", "p, homogeneity", "of random signs of codes, corrected for the layers"),
    "vulnerability_gap_p": Measure("", "p, gap", "of random signs of codes, corrected for the layers"),
    "causal_target_rate": Measure(
        "share", "answers that become the target class", "after a layer was moved toward the target class's code"
    ),
    "causal_control_rate": Measure(
        "share", "answers that become the target class", "after a layer was moved as far another way"
    ),
    "causal_probability_shift": Measure(
        "probability", "change of the target's probability", "mean over samples, after a layer was moved"
    ),
    "causal_log_odds_shift": Measure("bits", "change of the target's log-odds", "mean, after a layer was moved"),
    "reencoding_rate": Measure(
        "share of units", "re-encoding rate", "units whose inverted input has their own code; high = inversions decode"
    ),
    "inversion_residual": Measure(
        "spreads",
        "inversion residual",
        "mean distance of inverted inputs to their prototypes, in the layer's own spread",
    ),
    "inversion_agreement": Measure(
        "correlation", "agreement of inversions", "between two starts from noise; null: inversions of different units"
    ),
    "readout_explained": Measure(
        "share", "linear read-out", "share of the inputs' variance that a line tells, on samples it was not fitted on"
    ),
    "margin_drop": Measure(
        "spreads", "fall of the BMU margin", "when the highest attributed fifth of an input is removed, mean"
    ),
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
    """Lower end of the 95 % interval; NaN where there is none."""
    high: float
    """Upper end of the 95 % interval; NaN where there is none."""
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
    unit: str = "",
) -> Result:
    """A row whose unit is the measure's own unless it is given, and whose nulls are missing unless given.

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
        unit=unit or MEASURES[measure].unit,
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
