"""What a results table says in plain words. Reads the table and nothing else, so that words and numbers agree."""

from itertools import pairwise
from typing import NamedTuple

import pandas as pd

from layerscope.results import select

MARGIN = 0.1
"""How much larger than the control's an attack's flip rate must be, beyond both intervals, to have parted from it."""


class Claim(NamedTuple):
    """A verdict, and the numbers that it stands on."""

    verdict: str
    detail: str


def summary(results: pd.DataFrame) -> list[str]:
    """The findings as sentences: compression, expansion, flow under each reduction, and what differs between them.

    "Compresses" means that the participation ratio of the first layer lies below the input's, and "codes become
    diverse" that the label information of the last layer before the logits lies above the first layer's, each with
    disjoint 95 % intervals. "Learned" means that the band of the untrained network does not do so.
    """
    reductions = [name for name in results["reduction"].unique() if name]
    told = {reduction: _claims(results, reduction) for reduction in reductions}
    sentences = [
        f"Under {reduction}: {claim.verdict} ({claim.detail})."
        for reduction, claims in told.items()
        for claim in claims.values()
    ]
    return sentences + [_difference(first, told[first], other, told[other]) for first, other in pairwise(reductions)]


def attack_pairs(results: pd.DataFrame) -> list[tuple[str, str]]:
    """Each attack condition with the noise condition of its budget."""
    conditions = list(results.loc[results["measure"] == "flip_rate", "condition"].unique())
    noises = {_budget(name): name for name in conditions if name.startswith("noise:")}
    return [
        (name, noises[_budget(name)])
        for name in conditions
        if not name.startswith("noise:") and _budget(name) in noises
    ]


def layer_of_departure(results: pd.DataFrame, reduction: str, attack: str, control: str) -> str | None:
    """The first layer from which on the attack flips more codes than its control at every layer.

    "More" is by at least 0.1 and with disjoint 95 % intervals; none if even the last layer shows no such difference.
    """
    attacked = select(results, measure="flip_rate", reduction=reduction, condition=attack)
    noisy = select(results, measure="flip_rate", reduction=reduction, condition=control)
    apart = (attacked["low"] > noisy["high"]) & (attacked["value"] - noisy["value"] >= MARGIN)
    departed = apart[::-1].cummin()[::-1]
    return str(attacked["layer"][departed].iloc[0]) if departed.any() else None


def _budget(condition: str) -> str:
    return condition.partition("linf=")[2].partition(",")[0]


def _claims(results: pd.DataFrame, reduction: str) -> dict[str, Claim]:
    """What holds under one reduction, by subject."""
    claims = {"compression": _compression(results, reduction), "expansion": _expansion(results, reduction)}
    for attack, control in attack_pairs(results):
        claims[attack] = _parting(results, reduction, attack, control)
    return {subject: claim for subject, claim in claims.items() if claim is not None}


def _compression(results: pd.DataFrame, reduction: str) -> Claim | None:
    """Participation ratio of the first layer against the input's."""
    own = select(results, measure="participation_ratio", reduction=reduction, condition="clean")
    null = select(results, measure="participation_ratio", reduction=reduction, condition="untrained")
    if len(own) < 3:
        return None
    given, first = own.iloc[0], own.iloc[1]
    detail = f"participation ratio {first['value']:.1f} in {first['layer']} against {given['value']:.1f} in the input"
    if len(null):
        detail += f"; untrained {null['value'][1]:.1f}"
    if first["high"] < given["low"]:
        if null.empty:
            return Claim("the first layer compresses", f"{detail}; no untrained null was measured")
        shared = null["high"][1] < null["low"][0]
        return Claim(
            f"the first layer compresses{', but so it does untrained' if shared else ', and that is learned'}", detail
        )
    if first["low"] > given["high"]:
        return Claim("the first layer widens the space instead of compressing it", detail)
    return Claim("the first layer neither compresses nor widens the space", f"{detail}; the intervals overlap")


def _expansion(results: pd.DataFrame, reduction: str) -> Claim | None:
    """Label information of the last layer before the logits against the first layer's."""
    own = select(results, measure="label_information", reduction=reduction, condition="clean")
    null = select(results, measure="label_information", reduction=reduction, condition="untrained")
    if len(own) < 4:
        return None
    first, last = own.iloc[1], own.iloc[-2]
    detail = (
        f"label information {first['value']:.2f} in {first['layer']}, {last['value']:.2f} in {last['layer']}"
    )  # fmt: skip
    if len(null):
        detail += f"; untrained {null['value'].iloc[1]:.2f} and {null['value'].iloc[-2]:.2f}"
    if last["low"] > first["high"]:
        if null.empty:
            return Claim("codes become diverse with depth", f"{detail}; no untrained null was measured")
        shared = null["low"].iloc[-2] > null["high"].iloc[1]
        return Claim(
            f"codes become diverse with depth{', but so they do untrained' if shared else ', and that is learned'}",
            detail,
        )
    return Claim("codes do not become more diverse with depth", detail)


def _parting(results: pd.DataFrame, reduction: str, attack: str, control: str) -> Claim:
    """Where an attack leaves noise of its size behind."""
    layer = layer_of_departure(results, reduction, attack, control)
    rates = [
        select(results, measure="flip_rate", reduction=reduction, condition=name)["value"].iloc[-1]
        for name in (attack, control)
    ]
    detail = f"at the logits it flips {rates[0]:.0%} of codes, noise {rates[1]:.0%}"
    return Claim(f"{attack} parts from noise at {layer}" if layer else f"{attack} never parts from noise", detail)


def _difference(one: str, claims: dict[str, Claim], other: str, others: dict[str, Claim]) -> str:
    """What two reductions say differently."""
    shared = [subject for subject in claims if subject in others]
    differ = [subject for subject in shared if claims[subject].verdict != others[subject].verdict]
    if not differ:
        return f"{one} and {other} agree on every verdict."
    parts = [f"under {one} {claims[subject].verdict}, under {other} {others[subject].verdict}" for subject in differ]
    agreed = [claims[subject].verdict for subject in shared if subject not in differ]
    told = f"What depends on the reduction: {'; '.join(parts)}."
    return told + (f" What does not: {'; '.join(agreed)}." if agreed else "")
