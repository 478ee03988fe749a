"""What a results table says in plain words. Reads the table and nothing else, so that words and numbers agree."""

from itertools import pairwise
from typing import NamedTuple

import pandas as pd

from layerscope.results import Result, findings, select

MARGIN = 0.1
"""How much larger than the control's an attack's flip rate must be, beyond both intervals, to have parted from it."""
ROUNDING = 1e-9


class Claim(NamedTuple):
    """A verdict, and the numbers that it stands on."""

    verdict: str
    detail: str


def summary(results: pd.DataFrame) -> list[str]:
    """The findings as sentences: compression, expansion, flow under each reduction, and what differs between them.

    "Compresses" means that the participation ratio of the first layer lies below the input's, and "codes become
    diverse" that the label information of the last layer before the logits lies above the first layer's, each with
    disjoint 95 % intervals. "Learned" means that the untrained network does not do so and that the trained one lies
    beyond its band: below it in the first layer, or with a rise larger than the largest rise within the band.
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
    apart = (attacked["low"] > noisy["high"]) & (attacked["value"] - noisy["value"] >= MARGIN - ROUNDING)
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
    own, null = _with_null(results, "participation_ratio", reduction)
    if len(own) < 3:
        return None
    given, first = own[0], own[1]
    detail = f"participation ratio {first.value:.1f} in {first.layer} against {given.value:.1f} in the input"
    if null:
        detail += f"; untrained {null[1].value:.1f}"
    if first.low > given.high:
        return Claim("the first layer widens the space instead of compressing it", detail)
    if first.high >= given.low:
        return Claim("the first layer neither compresses nor widens the space", f"{detail}; the intervals overlap")
    if not null:
        return Claim("the first layer compresses", f"{detail}; no untrained null was measured")
    beside = _beside_null("it does", beyond=first.high < null[1].low, shared=null[1].high < null[0].low)
    return Claim(f"the first layer compresses, {beside}", detail)


def _expansion(results: pd.DataFrame, reduction: str) -> Claim | None:
    """Label information of the last layer before the logits against the first layer's."""
    own, null = _with_null(results, "label_information", reduction)
    if len(own) < 4:
        return None
    first, last = own[1], own[-2]
    detail = f"label information {first.value:.2f} in {first.layer}, {last.value:.2f} in {last.layer}"
    if null:
        detail += f"; untrained {null[1].value:.2f} and {null[-2].value:.2f}"
    if last.low <= first.high:
        return Claim("codes do not become more diverse with depth", detail)
    if not null:
        return Claim("codes become diverse with depth", f"{detail}; no untrained null was measured")
    beyond = last.low - first.high > null[-2].high - null[1].low
    beside = _beside_null("they do", beyond=beyond, shared=null[-2].low > null[1].high)
    return Claim(f"codes become diverse with depth, {beside}", detail)


def _with_null(results: pd.DataFrame, measure: str, reduction: str) -> tuple[list[Result], list[Result]]:
    """A measure over depth, and its untrained null's."""
    clean, untrained = (
        findings(select(results, measure=measure, reduction=reduction, condition=condition))
        for condition in ("clean", "untrained")
    )
    return clean, untrained


def _beside_null(does: str, *, beyond: bool, shared: bool) -> str:
    """How a finding stands beside the untrained network's, which may share it."""
    if not beyond:
        return f"but no more than {does} untrained"
    return f"and more than {does} untrained" if shared else "and that is learned"


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
