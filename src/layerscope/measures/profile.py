"""The telescope profile: every measure at every layer, with its interval and its nulls."""

from collections.abc import Sequence
from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.codes import Coded, best_of
from layerscope.layers import Layer
from layerscope.measures import geometry, information, topology
from layerscope.measures.conditional import conditional_entropy
from layerscope.measures.telescope import Depth, telescope
from layerscope.memory import give_back
from layerscope.progress import bar
from layerscope.recording import Recording
from layerscope.results import Place, Result, finding
from layerscope.som.quality import trustworthiness
from layerscope.stats import (
    Band,
    Estimate,
    Z,
    bootstrapped,
    linear,
    median,
    prediction_interval,
    quantile_bounds,
    resample,
    share_interval,
    weighted_mean,
)
from layerscope.types import PerSample, Units, Vectors, Weights

DRAWS = 200
PERMUTATIONS = 200
NEIGHBOURS = 20
"""Whose distances the intrinsic dimension by maximum likelihood takes."""
TRUSTED, TRUST_NEIGHBOURS = 1000, 5
"""Samples that trustworthiness is taken on, and its k."""
SCALES = (2, 4, 8)
"""The intrinsic dimension is taken on every second, fourth and eighth sample, too."""
CELLS = 2**20
"""Cells of joint counts held at once, whatever the number of permutations."""

Found = dict[str, Estimate]


def profile(
    trained: Coded,
    untrained: Sequence[Coded] = (),
    *,
    codebook: Coded | None = None,
    alone: Coded | None = None,
    draws: int = DRAWS,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    show_progress: bool = True,
) -> list[Result]:
    """Every measure of one network under the clean condition, beside its nulls.

    Label measures come where the recording has labels of at least two classes; `local_stretch` where `trained` holds
    the samples after a small step; what can't be told (the dimension of a layer that never changes) has no row. Rows of
    these conditions are made:

    - `clean`: the network, with 95 % intervals over samples.
    - `untrained`: the mean over the untrained draws with the 95 % prediction interval of a further draw; missing where
      a draw can't be measured (no `prediction_information` where one gives the same answer to all).
    - `shuffled`: the mean and the middle 95 % over label permutations.
    - `codebook`: codes from prototypes drawn among the samples instead of a trained map.
    - `reduction`: the reduction of the inputs alone, without a network; the same at every layer.
    - `subsample:2`, `:4`, `:8`: the intrinsic dimension on every second, fourth and eighth sample.
    - `estimator:plug-in`, `:Miller-Madow`, `:Grassberger`, `:Chao-Shen`: code entropy and label information as sums of
      entropies by other estimators (`information.ENTROPIES`), without intervals.

    The telescope's two figures, and what they are beyond the nulls, come last (`measures.telescope`).

    Args:
        trained: the network's recording and codes.
        untrained: the same of each untrained draw of its architecture, with an atlas of its own.
        codebook: the network's recording with codes on a random codebook (`atlas.random_codebook`).
        alone: the reduction alone: recording and codes of a network that puts out its inputs.
        draws: bootstrap draws.
        permutations: of the labels.
        seed: of both.
        show_progress: whether to draw a progress bar.

    Raises:
        ValueError: if a null holds other samples, or other labels.
    """
    recording = trained.recording
    for other in (*untrained, *(one for one in (codebook, alone) if one is not None)):
        if not recording.ids.equal(other.recording.ids):
            raise ValueError("`untrained`, `codebook` and `alone` must hold the samples of `trained`, in its order.")
        labels, others = recording.labels, other.recording.labels
        if labels is not others and (labels is None or others is None or not labels.equal(others)):
            raise ValueError("`untrained`, `codebook` and `alone` must have the labels of `trained`.")
    weights = resample(len(recording), draws, seed=seed)
    rows = accuracy(recording)
    with bar("measuring layers", len(recording.layers), show=show_progress) as progress:
        for reduction in recording.reductions:
            depth: list[Found] = []
            nulls: list[list[Found]] = [[] for _ in untrained]
            permuted: list[Tensor | None] = []
            layers = recording.depth(reduction)
            floor = {} if alone is None else _floor(alone, reduction, weights)
            start, *starts = (_steps(one, layers[0]) for one in (trained, *untrained))
            for index, layer in enumerate(layers):
                vectors = _vectors(trained, layer)
                space = _space(vectors, trained, weights)
                own = _estimated(trained, layers, index, vectors, space, weights, start, full=True)
                place = Place(layer.name, index, "clean", reduction)
                for draw, first, found in zip(untrained, starts, nulls, strict=True):
                    others = _vectors(draw, layer)  # the input's are the same in every draw
                    apart = space if torch.equal(others, vectors) else _space(others, draw, weights)
                    found.append(_estimated(draw, layers, index, others, apart, weights, first))
                shuffled = _shuffled(trained, layer, permutations=permutations, seed=seed)
                for measure, estimate in own.items():
                    # a draw that can't be measured (one answer to all) leaves no null: the rest would be a selection
                    told_of = [found[-1][measure].value for found in nulls if measure in found[-1]]
                    pooled = _pooled(told_of) if len(told_of) == len(nulls) else None
                    chance = _paired(trained, layers, index) if measure == "drift" else _chance(shuffled.get(measure))
                    told = _beside_chance(estimate, chance) if measure == "label_information" else estimate
                    rows += _with_nulls(measure, told, place, pooled, chance)
                if codebook is not None:
                    rows += _rows(_codes(codebook, layer, weights), place._replace(condition="codebook"))
                rows += _rows({m: floor[m] for m in own if m in floor}, place._replace(condition="reduction"))
                rows += _scales(vectors, place) + _opinions(trained, layer, place)
                depth.append(own)
                permuted.append(shuffled.get("label_information"))
                progress.advance()
            rows += telescope(Depth([layer.name for layer in layers], depth, nulls, permuted, floor), reduction)
    return rows


def _with_nulls(
    measure: str, estimate: Estimate, place: Place, untrained: Band | None, shuffled: Band | None
) -> list[Result]:
    """A measure's row, and one for each null that it has."""
    bands = {"untrained": untrained, "shuffled": shuffled}
    means = [nan if band is None else band.value for band in bands.values()]
    rows = [
        finding(
            measure, estimate.value, estimate.bounds, estimate.n, place,
            null_untrained=means[0], null_shuffled=means[1],
        )
    ]  # fmt: skip
    return rows + [
        finding(measure, band.value, band.bounds, estimate.n, place._replace(condition=name))
        for name, band in bands.items()
        if band is not None
    ]


def _rows(found: Found, place: Place) -> list[Result]:
    return [finding(measure, one.value, one.bounds, one.n, place) for measure, one in found.items()]


def _estimated(
    coded: Coded,
    layers: Sequence[Layer],
    index: int,
    vectors: Vectors,
    space: Found,
    weights: Weights,
    start: PerSample | None = None,
    *,
    full: bool = False,
) -> Found:
    """Every measure of one layer by name.

    Args:
        coded: what is measured.
        layers: of one reduction.
        index: of the layer.
        vectors: of the layer, as its map sees them.
        space: how they lie, from `_space`.
        weights: bootstrap draws.
        start: the first layer's steps.
        full: what has no untrained null, too.
    """
    layer = layers[index]
    fitted, best = coded.atlas.maps[layer], best_of(coded.codes, layer)
    found = dict(space)
    end = _steps(coded, layer) if index else None
    if start is not None and end is not None:
        found |= _stretched(start, end, weights)
    found |= _codes(coded, layer, weights)
    squares = topology.squared_errors(vectors, fitted, best.unit)
    errors = squares.double().sqrt()
    found["quantization_error"] = linear(float(errors.mean()), errors - errors.mean(), weights)
    found["explained_variance"] = bootstrapped(
        topology.explained_variance(vectors, squares),
        topology.explained_variance_draws(vectors, squares, weights),
        len(vectors),
    )
    broken = topology.broken_neighbours(best.unit, best.second, fitted.grid)
    found["topographic_error"] = Estimate(
        float(broken.float().mean()),
        weighted_mean(broken.float(), weights),
        share_interval(int(broken.sum()), len(vectors)),
        len(vectors),
    )
    if index:
        found |= _between(best_of(coded.codes, layers[index - 1]).unit, best.unit, coded, weights)
    if full and len(vectors) > 2 * TRUST_NEIGHBOURS:
        some = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:TRUSTED]
        trust = trustworthiness(vectors[some], best.unit[some], fitted.grid, neighbours=TRUST_NEIGHBOURS)
        found["trustworthiness"] = Estimate(trust, torch.full((len(weights),), trust), (nan, nan), len(vectors[some]))
    return {measure: one for measure, one in found.items() if one.value == one.value}


def _vectors(coded: Coded, layer: Layer) -> Vectors:
    """A layer's vectors as its map sees them."""
    return coded.atlas.maps[layer].scaled(coded.recording.vectors(layer))


def _space(vectors: Vectors, coded: Coded, weights: Weights) -> Found:
    """How the activations lie in their own space."""
    labels, n = coded.labels, len(vectors)
    found = {"participation_ratio": linear(*geometry.participation_ratio(vectors), weights)}
    if n == 1:
        return found
    give_back()  # what tables left in pieces, before the most memory is asked for
    near = geometry.neighbours(vectors, labels, NEIGHBOURS)
    apart = geometry.distinct(vectors) if bool((near.distances[:, 0] == 0).any()) else None
    if apart is None:
        found |= _dimensions(near, weights)
    elif int(apart.sum()) > 1:
        some = weights[:, apart]
        found |= _dimensions(geometry.neighbours(vectors[apart], None, NEIGHBOURS), some)
    size = geometry.spread(vectors)
    if labels is not None and size > 0:
        found["class_gap"] = linear(*geometry.class_gap(near, vectors), weights)
        value = geometry.class_separation(vectors, labels)
        found["class_separation"] = bootstrapped(value, geometry.class_separation_draws(vectors, labels, weights), n)
    return found


def _steps(coded: Coded, layer: Layer) -> PerSample | None:
    """How far a small step of the input moves each sample in a layer, in spreads of the layer."""
    if coded.stepped is None:
        return None
    before, after = (one.vectors(layer) for one in (coded.recording, coded.stepped))
    fitted = coded.atlas.maps[layer]
    return geometry.relative_steps(fitted.scaled(before), fitted.scaled(after))


def _stretched(start: PerSample, end: PerSample, weights: Weights) -> Found:
    """How much a small step of the input has been stretched on its way."""
    moved = start > 0  # at the bounds of the input space a step may be clipped away
    if not bool(moved.any()) or not bool((start.isfinite() & end.isfinite()).all()):
        return {}
    return {"local_stretch": median(end[moved] / start[moved], weights[:, moved])}


def _dimensions(near: geometry.Neighbours, weights: Weights) -> Found:
    found = {}
    for measure, one, reach in (
        ("dimension_twonn", geometry.dimension_twonn(near), 2),
        ("dimension_mle", geometry.dimension_mle(near), NEIGHBOURS),
    ):
        error = geometry.dependent_error(one.influence, near.indices[:, :reach])
        found[measure] = linear(one.value, one.influence, weights, error=error)
    return found


def _codes(coded: Coded, layer: Layer, weights: Weights) -> Found:
    """What a layer's codes say."""
    units, k, labels = best_of(coded.codes, layer).unit, len(coded.atlas.grid), coded.labels
    use = information.code_entropy(units, k)
    found = {"code_entropy": linear(*use, weights), "code_perplexity": _exponential(use, weights)}
    predictions = coded.recording.predictions
    if predictions is not None and bool((predictions != predictions[0]).any()):
        found["prediction_information"] = _told(units, predictions, k, weights)[1]
    if labels is None:
        return found
    n, joint = len(units), information.joint_counts(units, labels, k, int(labels.max()) + 1)
    left, found["label_information"] = _told(units, labels, k, weights)
    found["class_entropy_given_code"] = linear(*left, weights)
    commonest = joint.argmax(1)[units] == labels
    share, bounds = float(information.purity(joint)), share_interval(int(commonest.sum()), n)
    found["purity"] = Estimate(share, weighted_mean(commonest.float(), weights), bounds, n)
    used, overlap = int((joint.sum(1) > 0).sum()), float(information.class_overlap(joint))
    bounds = share_interval(round(overlap * used), used)
    found["class_overlap"] = Estimate(overlap, torch.full((len(weights),), overlap), bounds, n)
    areas = topology.class_areas(joint)
    found["class_area"] = linear(float(areas.nanmean()), topology.area_influence(joint)[units, labels], weights)
    return found


def _told(units: Units, labels: Units, k: int, weights: Weights) -> tuple[information.Told, Estimate]:
    """H(label | code) and I(code; label) / H(label)."""
    classes = int(labels.max()) + 1
    left = information.left_over(units, labels, k, classes)
    whole = float(information.entropy(torch.bincount(labels).double()))
    # H(label) is known so well that its own error does not count
    return left, linear(1 - left.bits / whole, -left.influence / whole, weights)


def _between(before: Units, after: Units, coded: Coded, weights: Weights) -> Found:
    """From the layer before: how codes divide, how they join, and how far samples step."""
    k = len(coded.atlas.grid)
    steps = topology.drift(before, after, coded.atlas.grid)
    return {
        "fan_out": _exponential(information.left_over(before, after, k, k), weights),
        "fan_in": _exponential(information.left_over(after, before, k, k), weights),
        "drift": linear(float(steps.mean()), steps - steps.mean(), weights),
    }


def _paired(coded: Coded, layers: Sequence[Layer], index: int) -> Band:
    """The step of samples whose codes are paired at random."""
    before, after = (best_of(coded.codes, layers[place]).unit for place in (index - 1, index))
    chance = topology.drift_by_chance(before, after, coded.atlas.grid)
    return Band(chance, (chance, chance))


def _scales(vectors: Vectors, place: Place) -> list[Result]:
    """The intrinsic dimension on fewer and fewer samples: a dimension that is one hardly changes."""
    rows = []
    give_back()  # as in `_space`
    for step in SCALES:
        some = vectors[::step]
        near = geometry.neighbours(some, None, 2)
        if bool((near.distances == 0).any()):
            some = some[geometry.distinct(some)]
            near = geometry.neighbours(some, None, 2)
        if len(some) < geometry.FEWEST:
            break
        one = geometry.dimension_twonn(near)
        if one.value == one.value:
            half = Z * geometry.dependent_error(one.influence, near.indices)
            bounds = (one.value - half, one.value + half)
            here = place._replace(condition=f"subsample:{step}")
            rows.append(finding("dimension_twonn", one.value, bounds, len(some), here))
    return rows


def _opinions(coded: Coded, layer: Layer, place: Place) -> list[Result]:
    """Label information and code entropy by other estimators: of each, what it makes of the same counts."""
    units, k, labels = best_of(coded.codes, layer).unit, len(coded.atlas.grid), coded.labels
    rows, n = [], len(units)
    for name, of in information.ENTROPIES.items():
        here = place._replace(condition=f"estimator:{name}")
        told = float(of(torch.bincount(units, minlength=k).double()))
        rows.append(finding("code_entropy", told, (nan, nan), n, here))
        if labels is not None:
            joint = information.joint_counts(units, labels, k, int(labels.max()) + 1)
            whole = of(joint.sum(0))
            told = float((of(joint.sum(1)) + whole - of(joint.flatten())) / whole)
            rows.append(finding("label_information", told, (nan, nan), n, here))
    return rows


def _floor(alone: Coded, reduction: str, weights: Weights) -> Found:
    """The reduction alone: what its one layer measures."""
    layers = [layer for layer in alone.recording.depth(reduction) if layer.name not in ("input", "logits")]
    if not layers:
        return {}
    vectors = _vectors(alone, layers[0])
    return _estimated(alone, layers, 0, vectors, _space(vectors, alone, weights), weights)


def _exponential(told: information.Told, weights: Weights) -> Estimate:
    """2^bits; the interval is that of the bits, carried over."""
    one = linear(*told, weights)
    return Estimate(2**told.bits, torch.exp2(one.replicates), (2 ** one.bounds[0], 2 ** one.bounds[1]), one.n)


def _pooled(values: Sequence[float]) -> Band | None:
    """Mean over draws, and where a further draw would lie."""
    return Band(sum(values) / len(values), prediction_interval(values)) if values else None


def _chance(values: Float[Tensor, " permutations"] | None) -> Band | None:
    """Mean and middle 95 % over permutations."""
    return None if values is None else Band(float(values.double().mean()), quantile_bounds(values))


def _beside_chance(estimate: Estimate, chance: Band | None) -> Estimate:
    """With 0 in its interval where permutations of the labels reach it: there the error is not that of a normal."""
    if chance is None or estimate.value > chance.bounds[1]:
        return estimate
    return estimate._replace(bounds=(min(estimate.bounds[0], 0.0), max(estimate.bounds[1], 0.0)))


def _shuffled(coded: Coded, layer: Layer, *, permutations: int, seed: int) -> dict[str, Float[Tensor, " permutations"]]:
    """The label measures after permutations of the labels, the same ones at every layer."""
    labels = coded.labels
    if labels is None:
        return {}
    codes = best_of(coded.codes, layer).unit
    k, classes = len(coded.atlas.grid), int(labels.max()) + 1
    joints = information.shuffled_counts(codes, labels, k, classes, draws=permutations, seed=seed)
    left, pure, overlap = [], [], []
    held: list[Tensor] = []
    for number, joint in enumerate(joints, 1):
        held.append(joint)
        if len(held) * joint.numel() >= CELLS or number == permutations:
            tables, held = torch.stack(held), []
            left.append(conditional_entropy(tables))
            pure.append(information.purity(tables))
            overlap.append(information.class_overlap(tables))
    whole = float(information.entropy(torch.bincount(labels, minlength=classes).double()))
    remaining = torch.cat(left)
    return {
        "label_information": 1 - remaining / whole,
        "class_entropy_given_code": remaining,
        "purity": torch.cat(pure),
        "class_overlap": torch.cat(overlap),
    }


def accuracy(recording: Recording) -> list[Result]:
    """The share of right answers under the recording's condition, as one row; none without labels or logits."""
    if recording.labels is None or recording.predictions is None:
        return []
    right, n = int((recording.labels == recording.predictions).sum()), len(recording)
    measure = "accuracy" if recording.condition == "clean" else "robust_accuracy"
    return [finding(measure, right / n, share_interval(right, n), n, Place(condition=recording.condition))]
