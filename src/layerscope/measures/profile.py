"""The telescope profile: every measure at every layer, with its interval and its nulls."""

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

import torch

from layerscope.codes import Coded, best_of
from layerscope.layers import Layer
from layerscope.measures import geometry, information, topology
from layerscope.progress import bar
from layerscope.recording import Recording
from layerscope.results import Place, Result, finding
from layerscope.stats import interval, prediction_interval, quantile_bounds, resample, share_interval, weighted_mean
from layerscope.types import Replicates, Weights

DRAWS = 200
PERMUTATIONS = 200
CELLS = 2**24
"""Cells of joint counts held at once, whatever the number of draws."""


class Band(NamedTuple):
    """What a null gives: its mean, and where 95 % of it lies."""

    value: float
    bounds: tuple[float, float]


class Estimate(NamedTuple):
    """A number, its bootstrap replicates, and its interval."""

    value: float
    replicates: Replicates
    bounds: tuple[float, float]


INFORMATION = {
    "label_information": information.label_information,
    "class_entropy_given_code": information.class_entropy_given_code,
}


def profile(
    trained: Coded,
    untrained: Sequence[Coded] = (),
    *,
    draws: int = DRAWS,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    show_progress: bool = True,
) -> list[Result]:
    """Every measure of one network under the clean condition, beside its nulls.

    Label measures come where the recording has labels of at least two classes. Three kinds of rows are made: condition
    `clean`; `untrained`, the mean over the untrained draws with the 95 % prediction interval of a further draw (see
    `stats.prediction_interval`); `shuffled`, the mean and the middle 95 % over label permutations.

    Args:
        trained: the network's recording and codes.
        untrained: the same of each untrained draw of its architecture, with an atlas of its own.
        draws: bootstrap draws.
        permutations: of the labels.
        seed: of both.
        show_progress: whether to draw a progress bar.
    """
    recording = trained.recording
    weights = resample(len(recording), draws, seed=seed)
    rows = accuracy(recording)
    with bar("measuring layers", len(recording.layers), show=show_progress) as progress:
        for reduction in recording.reductions:
            for depth, layer in enumerate(recording.depth(reduction)):
                own = estimates(trained, layer, weights)
                null = [estimates(draw, layer, weights) for draw in untrained]
                shuffled = _shuffled(trained, layer, permutations=permutations, seed=seed)
                place = Place(layer.name, depth, "clean", reduction)
                for measure, estimate in own.items():
                    pooled = _pooled([draw[measure] for draw in null])
                    rows += _with_nulls(measure, estimate, place, len(recording), pooled, shuffled.get(measure))
                progress.advance()
    return rows


def _with_nulls(
    measure: str, estimate: Estimate, place: Place, n: int, untrained: Band | None, shuffled: Band | None
) -> list[Result]:
    """A measure's row, and one for each null that it has."""
    bands = {"untrained": untrained, "shuffled": shuffled}
    means = {f"null_{name}": nan if band is None else band.value for name, band in bands.items()}
    rows = [finding(measure, estimate.value, estimate.bounds, n, place, **means)]
    return rows + [
        finding(measure, band.value, band.bounds, n, place._replace(condition=name))
        for name, band in bands.items()
        if band is not None
    ]


def estimates(coded: Coded, layer: Layer, weights: Weights) -> dict[str, Estimate]:
    """Every measure of one layer by name."""
    fitted = coded.atlas.maps[layer]
    vectors = fitted.scaled(coded.recording.vectors(layer))
    best = best_of(coded.codes, layer)
    labels = coded.labels
    n = len(vectors)
    found = {
        "participation_ratio": _bootstrapped(
            geometry.participation_ratio(vectors), geometry.participation_ratio_draws(vectors, weights)
        )
    }
    counted = torch.zeros(n, dtype=torch.int64) if labels is None else labels
    classes = int(counted.max()) + 1
    k = len(fitted.grid)
    joint = information.joint_counts(best.unit, counted, k, classes)
    wanted = (INFORMATION if labels is not None else {}) | {"code_perplexity": information.code_perplexity}
    replicates: dict[str, list[Replicates]] = {measure: [] for measure in wanted}
    for some in weights.split(max(1, CELLS // joint.numel())):
        drawn = information.joint_counts(best.unit, counted, k, classes, some)
        for measure, compute in wanted.items():
            replicates[measure].append(compute(drawn))
    for measure, compute in wanted.items():
        found[measure] = _bootstrapped(float(compute(joint)), torch.cat(replicates[measure]))
    found["explained_variance"] = _bootstrapped(
        topology.explained_variance(vectors, fitted, best.unit),
        topology.explained_variance_draws(vectors, fitted, best.unit, weights),
    )
    broken = topology.broken_neighbours(best.unit, best.second, fitted.grid)
    found["topographic_error"] = Estimate(
        float(broken.float().mean()), weighted_mean(broken.float(), weights), share_interval(int(broken.sum()), n)
    )
    return found


def _bootstrapped(value: float, replicates: torch.Tensor) -> Estimate:
    return Estimate(value, replicates.float(), interval(value, replicates.float()))


def _pooled(estimated: Sequence[Estimate]) -> Band | None:
    """Mean over draws, and where a further draw would lie."""
    if not estimated:
        return None
    centred = [draw.replicates - draw.replicates.mean() + draw.value for draw in estimated]
    return Band(sum(draw.value for draw in estimated) / len(estimated), prediction_interval(centred))


def _shuffled(coded: Coded, layer: Layer, *, permutations: int, seed: int) -> dict[str, Band]:
    """The label measures after permutations of the labels: mean and middle 95 %."""
    labels = coded.labels
    if labels is None:
        return {}
    codes = best_of(coded.codes, layer).unit
    k, classes = len(coded.atlas.grid), int(labels.max()) + 1
    values: dict[str, list[float]] = {measure: [] for measure in INFORMATION}
    for joint in information.shuffled_counts(codes, labels, k, classes, draws=permutations, seed=seed):
        for measure, compute in INFORMATION.items():
            values[measure].append(float(compute(joint)))
    bands = {measure: torch.tensor(value, dtype=torch.float64) for measure, value in values.items()}
    return {measure: Band(float(value.mean()), quantile_bounds(value)) for measure, value in bands.items()}


def accuracy(recording: Recording) -> list[Result]:
    """The share of right answers under the recording's condition, as one row; none without labels or logits."""
    if recording.labels is None or recording.predictions is None:
        return []
    right, n = int((recording.labels == recording.predictions).sum()), len(recording)
    measure = "accuracy" if recording.condition == "clean" else "robust_accuracy"
    return [finding(measure, right / n, share_interval(right, n), n, Place(condition=recording.condition))]
