"""How a perturbation travels: clean against perturbed codes, layer by layer, with noise of equal size beside it."""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch

from layerscope.codes import Coded, best_of
from layerscope.measures import accuracy
from layerscope.measures.geometry import class_gaps, relative_steps, shifts_over_gaps
from layerscope.progress import bar
from layerscope.recording import Recording
from layerscope.results import Place, Result, finding
from layerscope.stats import interval, resample, share_interval, weighted_mean, weighted_median
from layerscope.types import Labels, PerSample, Units, Weights

DRAWS = 200
HALF = 0.5
"""Added to every count of log-odds, so that none is infinite (Haldane 1956)."""


def flow(
    clean: Coded,
    perturbed: Sequence[tuple[Recording, pd.DataFrame]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    show_progress: bool = True,
) -> list[Result]:
    """What each perturbation does to the codes at each layer.

    `flip_rate`: share of samples whose code changes. `grid_shift`: mean distance on the map from the clean to the
    perturbed code, in grid steps. `shift_over_gap`: median over samples of the distance between clean and perturbed
    activation over the clean activation's distance to the nearest sample of another class. `amplification`: median
    over samples that were changed of the shift at the layer over the shift at the first, each in its layer's own
    spread. `wrong_class_log_odds`: mean over samples of how far the odds have moved from the label to the wrong class
    (the likeliest but the label of the perturbed answers), in bits: the log-odds of the two among the clean samples of
    the code that was reached, less those of the code that was left; the sample itself is not counted. What needs labels
    comes where the recording has labels of at least two classes, odds where it has logits, too.

    Args:
        clean: the clean recording and its codes.
        perturbed: recordings of the same samples, perturbed, and their codes on the same atlas.
        draws: bootstrap draws, the same for all conditions.
        seed: of the draws.
        show_progress: whether to draw a progress bar.

    Raises:
        ValueError: if a perturbed recording holds other samples.
    """
    recording = clean.recording
    n = len(recording)
    for other, _ in perturbed:
        if not recording.ids.equal(other.ids):
            raise ValueError(
                f"The recording under '{other.condition}' must hold the samples of the clean one, in its order; "
                "record the same data under both conditions."
            )
    weights = resample(n, draws, seed=seed)
    rows = [row for other, _ in perturbed for row in accuracy(other)]
    wrong = {other.condition: _wrong_class(other, clean.labels) for other, _ in perturbed}
    with bar("following perturbations", len(recording.layers), show=show_progress) as progress:
        for reduction in recording.reductions:
            first: dict[str, PerSample] = {}
            for depth, layer in enumerate(recording.depth(reduction)):
                fitted = clean.atlas.maps[layer]
                vectors = fitted.scaled(recording.vectors(layer))
                before = best_of(clean.codes, layer).unit
                gaps = None if clean.labels is None else class_gaps(vectors, clean.labels)
                for other, codes in perturbed:
                    after = best_of(codes, layer).unit
                    moved = fitted.scaled(other.vectors(layer))
                    place = Place(layer.name, depth, other.condition, reduction)
                    flips, steps = int((before != after).sum()), fitted.grid.steps(before, after)
                    rows.append(finding("flip_rate", flips / n, share_interval(flips, n), n, place))
                    rows.append(_mean("grid_shift", steps, weights, place))
                    shifts = relative_steps(vectors, moved)
                    start = first.setdefault(other.condition, shifts)
                    rows += _amplification(shifts, start, weights, place)
                    if gaps is not None:
                        rows.append(_median("shift_over_gap", shifts_over_gaps(vectors, moved, gaps), weights, place))
                    rivals = wrong[other.condition]
                    if clean.labels is not None and rivals is not None:
                        odds = _odds(before, after, clean.labels, rivals, len(fitted.grid))
                        rows.append(_mean("wrong_class_log_odds", odds, weights, place))
                progress.advance()
    return rows


def _mean(measure: str, values: PerSample, weights: Weights, place: Place) -> Result:
    value = float(values.double().mean())
    return finding(measure, value, interval(value, weighted_mean(values, weights)), len(values), place)


def _median(measure: str, values: PerSample, weights: Weights, place: Place) -> Result:
    value = float(values.median())
    return finding(measure, value, interval(value, weighted_median(values, weights)), len(values), place)


def _amplification(shifts: PerSample, start: PerSample, weights: Weights, place: Place) -> Iterator[Result]:
    """Of the samples that were changed at all; nothing where none was, or the layer never varies."""
    ratios = shifts / start
    changed = (start > 0) & ratios.isfinite()
    if changed.any():
        kept = weights[:, changed]
        yield _median("amplification", ratios[changed], kept[kept.sum(1) > 0], place)


def _wrong_class(perturbed: Recording, labels: Labels | None) -> Labels | None:
    """The likeliest class but the label; none where there are no labels or no logits."""
    if labels is None or perturbed.predictions is None:
        return None
    return perturbed.logits().scatter(1, labels[:, None], -torch.inf).argmax(1)


def _odds(before: Units, after: Units, labels: Labels, wrong: Labels, units: int) -> PerSample:
    """How far each sample's odds of the wrong class against the label move between two codes, in bits."""
    classes = int(torch.maximum(labels, wrong).max()) + 1
    counts = torch.zeros(units * classes, dtype=torch.float64)
    counts.index_add_(0, before * classes + labels, torch.ones(len(labels), dtype=torch.float64))
    counts = counts.view(units, classes)

    def log_odds(code: Units) -> PerSample:
        own = counts[code, labels] - (code == before).double()
        return ((counts[code, wrong] + HALF) / (own + HALF)).log2()

    return log_odds(after) - log_odds(before)
