"""How a perturbation travels: clean against perturbed codes, layer by layer, with noise of equal size beside it."""

from collections.abc import Sequence

import pandas as pd

from layerscope.codes import Coded, best_of
from layerscope.measures import accuracy
from layerscope.measures.geometry import class_gaps, shifts_over_gaps
from layerscope.progress import bar
from layerscope.recording import Recording
from layerscope.results import Place, Result, finding
from layerscope.stats import interval, resample, share_interval, weighted_mean, weighted_median

DRAWS = 200


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
    activation over the clean activation's distance to the nearest sample of another class; comes where the recording
    has labels of at least two classes.

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
    labels = clean.labels
    rows = [row for other, _ in perturbed for row in accuracy(other)]
    with bar("following perturbations", len(recording.layers), show=show_progress) as progress:
        for reduction in recording.reductions:
            for depth, layer in enumerate(recording.depth(reduction)):
                fitted = clean.atlas.maps[layer]
                vectors = fitted.scaled(recording.vectors(layer))
                before = best_of(clean.codes, layer).unit
                gaps = None if labels is None else class_gaps(vectors, labels)
                for other, codes in perturbed:
                    after = best_of(codes, layer).unit
                    flips = int((before != after).sum())
                    steps = fitted.grid.distances[before, after]
                    step = float(steps.double().mean())
                    place = Place(layer.name, depth, other.condition, reduction)
                    rows.append(finding("flip_rate", flips / n, share_interval(flips, n), n, place))
                    rows.append(finding("grid_shift", step, interval(step, weighted_mean(steps, weights)), n, place))
                    if gaps is not None:
                        ratios = shifts_over_gaps(vectors, fitted.scaled(other.vectors(layer)), gaps)
                        middle = float(ratios.median())
                        bounds = interval(middle, weighted_median(ratios, weights))
                        rows.append(finding("shift_over_gap", middle, bounds, n, place))
                progress.advance()
    return rows
