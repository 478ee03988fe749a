"""What a reader should know before believing a run's numbers."""

from collections.abc import Mapping, Sequence
from math import prod

import pandas as pd
import torch
from torch import Tensor

from layerscope.attacks import Check
from layerscope.data import Data
from layerscope.embeddings import attackable
from layerscope.layers import INPUT, LOGITS
from layerscope.measures.geometry import distinct
from layerscope.network import Network
from layerscope.recording import Recording
from layerscope.reductions import Sketch, parse_reduction
from layerscope.results import select
from layerscope.som import Grid

SAMPLES_PER_UNIT = 10
"""Measured samples for each unit of a map whose size is chosen here; below half of it a warning is due."""
CHANCE = 0.1
"""Label information under shuffled labels above which a warning is due."""
CAPPED = 0.2
"""Participation ratio, as a share of a sketch's size, above which it is a fifth too low and a warning is due."""
COPIES = 0.01
"""Share of samples equal to an earlier one above which a warning is due."""


def shape_cautions(network: Network, measured: Data, names: Sequence[str], reductions: Sequence[str]) -> list[str]:
    """What averaging makes of layers whose outputs are vectors."""
    if "mean" not in reductions:
        return []
    shapes = _shapes(network, measured, names)
    found = []
    flat = [name for name, shape in shapes.items() if len(shape) == 2]
    if flat and len(flat) == len(names) and len(reductions) > 1:
        found.append(
            f"All layers put out vectors, which have no positions to average over: {', '.join(reductions)} are the "
            "same vectors, but for a sketch's random projection of those wider than it. That a finding holds under "
            "each is no second opinion."
        )
    elif flat and len(flat) < len(names):
        found.append(
            f"Under mean, {', '.join(flat)} put out vectors and are taken whole, while the other layers are averaged "
            "over their positions: a rise from the one kind to the other is the averaging's. Compare them under sketch."
        )
    return found


def _shapes(network: Network, measured: Data, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The shape of what each layer puts out for two samples; () where it is not a tensor."""
    two = measured.take(measured.rows[:2]).inputs
    calls, answer = network.trace(two)
    shapes = {call.name: call.shape for call in calls}
    found = {name: shapes.get(name, shapes.get(name.partition("#")[0], ())) for name in names}
    ends = {INPUT: two, LOGITS: answer}
    return found | {name: tuple(end.shape) for name, end in ends.items() if name in names and isinstance(end, Tensor)}


def sketch_cautions(recording: Recording, results: pd.DataFrame, network: Network, measured: Data) -> list[str]:
    """The layers whose participation ratio is near what a sketch can show at most."""
    found = []
    for name in recording.reductions:
        reduction = parse_reduction(name)
        if not isinstance(reduction, Sketch):
            continue
        rows = select(results, measure="participation_ratio", condition="clean", reduction=name)
        high = list(rows.loc[rows["value"] > CAPPED * reduction.size, "layer"])
        shapes = _shapes(network, measured, high) if high else {}
        capped = [layer for layer, shape in shapes.items() if not shape or prod(shape[1:]) > reduction.size]
        if capped:
            found.append(
                f"Under {name}, the participation ratio of {', '.join(capped)} is too low by a fifth or more: a sketch "
                "of size m shows 1 / (1 / PR + 1 / m), never more than m. Ask for a larger one to see how far they "
                "spread."
            )
    return found


def copy_cautions(recording: Recording) -> list[str]:
    """Samples that stand in the data more than once."""
    first = recording.layers[0]
    copies = int((~distinct(recording.vectors(first))).sum())
    told = (
        f"{copies} of {len(recording)} samples are equal to an earlier one ({first}). Unless equal samples were drawn "
        "independently, they tell nothing new, and all intervals are too narrow: take the copies out."
    )
    return [told] if copies > COPIES * len(recording) else []


def embedding_caution(network: Network, measured: Data) -> str:
    """What an attack on texts or tokens is an attack on."""
    asked, found = attackable(network, measured.take(measured.rows[:100]).inputs)
    support = asked.support(found)
    found = found[torch.ones_like(found, dtype=torch.bool) if support is None else support].view(-1, found.shape[-1])
    return (
        "The attack changes the embeddings of tokens, not texts: what it makes is no text, and its budgets are in the "
        f"embeddings' own units (their entries deviate by {float(found.std()):.3g}, and a token's embedding is "
        f"{float(found.norm(dim=-1).median()):.3g} long)."
    )


def few_right_caution(right: int, fewest: int) -> str:
    """Where too few answers are right to be changed."""
    return (
        f"Only {right} samples are answered right, too few to hold smallest perturbations against codes: vulnerability "
        f"is not measured. It takes {fewest}."
    )


def attack_cautions(checks: Mapping[str, Sequence[Check]]) -> list[str]:
    """The checks that an attack did not pass."""
    return [
        f"The check of {attack} that {one.name} failed: {one.told}. Don't trust its robust accuracy or its flow before "
        "you know why."
        for attack, made in checks.items() for one in made if not one.passed
    ]  # fmt: skip


def cautions_of(recording: Recording, results: pd.DataFrame, network: Network, measured: Data, grid: Grid) -> list[str]:
    """What a reader should know before believing the numbers."""
    found = []
    labels, n = recording.labels, len(recording)
    if labels is None:
        found.append(
            "The data have no labels: label information, H(label | code), gaps and accuracy are not measured, maps are "
            "coloured by predictions, and an attack changes the network's own answers. Give labels to measure them."
        )
    elif bool((labels == labels[0]).all()):
        found.append(
            "All samples have one label: label information, H(label | code) and gaps are not measured. "
            "Give samples of at least two classes."
        )
    if n < SAMPLES_PER_UNIT / 2 * len(grid):
        found.append(
            f"{n} samples on maps of {len(grid)} units are {n / len(grid):.1f} samples a unit: what codes tell of "
            f"labels can be biased by more than 0.02 bits. Give {SAMPLES_PER_UNIT * len(grid)} samples or a smaller "
            "grid."
        )
    ratios = select(results, measure="participation_ratio", condition="clean")
    still = list(ratios.loc[ratios["value"] == 0, "layer"].unique())
    if still:
        found.append(
            f"{', '.join(still)} never changes, and has a participation ratio of 0 and no dimension, gap or "
            "separation. A dead layer says nothing; look at its weights."
        )
    chance = select(results, measure="label_information", condition="clean")["null_shuffled"].abs().max()
    if chance > CHANCE:
        found.append(
            f"With shuffled labels, label information is still up to {chance:.2f} of H(label) from 0, the truth: "
            f"{n} samples are few for {len(grid)} units and this many classes. Give more samples or a smaller grid."
        )
    accuracy = select(results, measure="accuracy")
    if len(accuracy) and labels is not None and bool((labels != labels[0]).any()):
        commonest = float(labels.bincount().max()) / n
        if accuracy["high"][0] <= commonest:
            found.append(
                f"The network is right on {accuracy['value'][0]:.1%} of samples, no more than always answering the "
                f"commonest class ({commonest:.1%}): check that labels and preprocessing are the network's own."
            )
    if network.class_names and measured.class_names and network.class_names != measured.class_names:
        found.append(
            f"The network's classes ({', '.join(network.class_names[:5])}, ...) are not called as the data's "
            f"({', '.join(measured.class_names[:5])}, ...): check that label k is the network's class k."
        )
    return found + copy_cautions(recording) + sketch_cautions(recording, results, network, measured)
