"""What a results table says in plain words. Reads the table and nothing else, so that words and numbers agree."""

from itertools import pairwise
from math import isnan, nan
from typing import NamedTuple

import pandas as pd

from layerscope.results import findings, select

MARGIN = 0.1
"""How much larger than the control's an attack's flip rate must be, beyond both intervals, to have parted from it."""
ROUNDING = 1e-9
VULNERABILITY = {
    "vulnerability_homogeneity": ("homogeneous codes", -1),
    "vulnerability_gap": ("narrow gaps to another class", 1),
}
"""What would go with small perturbations if compression made vulnerable, and the sign that the correlation has then."""
ALPHA = 0.05
LEAST = {"compression": 0.1, "expansion": 0.05}
"""Of octaves, and of H(label): what a compression or an expansion must be to be called one."""


CONTROLS = ("random", "codes")
"""Conditions of a causal test's controls at dose 1."""


class Sentence(NamedTuple):
    """A finding in words, and what they are made of: all but `text` is empty where it is about several reductions."""

    reduction: str
    """That it holds under."""
    subject: str
    """`compression`, `expansion`, an attack's condition, `vulnerability_homogeneity` or `vulnerability_gap`."""
    verdict: str
    detail: str
    """The numbers that the verdict stands on."""
    text: str
    """All of it as one sentence."""


class Headline(NamedTuple):
    """The network's accuracy under a condition: its value, its 95 % interval, and the samples behind it."""

    condition: str
    value: float
    low: float
    high: float
    n: int


class Claim(NamedTuple):
    """A verdict, and the numbers that it stands on."""

    verdict: str
    detail: str


def headline(results: pd.DataFrame) -> list[Headline]:
    """Accuracy on clean inputs, and under each perturbation."""
    rows = findings(results[results["measure"].isin(("accuracy", "robust_accuracy"))])
    return [Headline(row.condition, row.value, row.low, row.high, row.n) for row in rows]


def summary(results: pd.DataFrame) -> list[str]:
    """The findings as sentences; see `sentences`."""
    return [one.text for one in sentences(results)]


def sentences(results: pd.DataFrame) -> list[Sentence]:
    """The findings in words: compression, expansion, flow, vulnerability, and what differs between reductions.

    "Compresses" means that the compression of the participation ratio is at least 0.1 octaves and its 95 % interval
    lies above 0, and "codes become diverse" that the expansion of label information is at least 0.05 of H(label), and
    its interval above 0; "more than untrained" that p, of one more untrained draw, is below 0.05, and "beyond what the
    reduction does alone" that the interval lies above that (see `measures.telescope`). Homogeneous codes (narrow gaps)
    "go with small perturbations" in a layer where Spearman's correlation is below (above) 0 with a p below 0.05,
    corrected for the layers (see `vulnerability`).
    """
    reductions = [name for name in results["reduction"].unique() if name]
    told = {reduction: _claims(results, reduction) for reduction in reductions}
    own = [
        Sentence(
            reduction, subject, claim.verdict, claim.detail, f"Under {reduction}: {claim.verdict} ({claim.detail})."
        )
        for reduction, claims in told.items()
        for subject, claim in claims.items()
    ]
    differences = [_difference(first, told[first], other, told[other]) for first, other in pairwise(reductions)]
    return own + [Sentence("", "", "", "", text) for text in differences]


def causal_summary(results: pd.DataFrame) -> list[str]:
    """Where a causal test shows that codes act, as a sentence for each reduction; see `acting_layers`."""
    sentences = []
    for reduction in results["reduction"].unique():
        rates = select(results, measure="causal_target_rate", reduction=reduction, condition="clean")
        controls = select(results, measure="causal_control_rate", reduction=reduction)
        controls = controls[controls["condition"].isin(CONTROLS)]
        acting, last = acting_layers(results, reduction), rates.iloc[-1]
        told = f"in {last['layer']} {last['value']:.0%} of the answers become the target"
        told += (
            f" ({last['low']:.0%} to {last['high']:.0%}), and under the controls at most {controls['value'].max():.0%}"
        )
        told += " in any layer"
        if not acting:
            sentences.append(f"Under {reduction}: no layer's codes are shown to act ({told}).")
            continue
        silent = len(rates) - len(acting)
        told = f"Under {reduction}: codes act in {len(acting)} of {len(rates)} layers, {', '.join(acting)} ({told})"
        sentences.append(f"{told}; those of the other {silent} are not shown to." if silent else f"{told}.")
    return sentences


def acting_layers(results: pd.DataFrame, reduction: str) -> list[str]:
    """The layers whose target rate at dose 1 lies beyond both controls' rates, their 95 % intervals apart."""
    rates = select(results, measure="causal_target_rate", reduction=reduction, condition="clean")
    controls = select(results, measure="causal_control_rate", reduction=reduction)
    reach = controls[controls["condition"].isin(CONTROLS)].groupby("layer")["high"].max()
    return [str(layer) for layer in rates["layer"][rates["low"] > rates["layer"].map(reach)]]


def attack_pairs(results: pd.DataFrame) -> list[tuple[str, str]]:
    """Each attack condition with that of its matched noise."""
    conditions = list(results.loc[results["measure"] == "flip_rate", "condition"].unique())
    return [(name, f"noise:{name}") for name in conditions if f"noise:{name}" in conditions]


def layer_of_departure(results: pd.DataFrame, reduction: str, attack: str, control: str) -> str | None:
    """The first layer from which on the attack flips more codes than its control at every layer.

    "More" is by at least 0.1 and with disjoint 95 % intervals; none if even the last layer shows no such difference.
    """
    attacked = select(results, measure="flip_rate", reduction=reduction, condition=attack)
    noisy = select(results, measure="flip_rate", reduction=reduction, condition=control)
    apart = (attacked["low"] > noisy["high"]) & (attacked["value"] - noisy["value"] >= MARGIN - ROUNDING)
    departed = apart[::-1].cummin()[::-1]
    return str(attacked["layer"][departed].iloc[0]) if departed.any() else None


def _claims(results: pd.DataFrame, reduction: str) -> dict[str, Claim]:
    """What holds under one reduction, by subject."""
    claims = {"compression": _compression(results, reduction), "expansion": _expansion(results, reduction)}
    for attack, control in attack_pairs(results):
        claims[attack] = _parting(results, reduction, attack, control)
    claims |= {subject: _vulnerability(results, reduction, subject) for subject in VULNERABILITY}
    return {subject: claim for subject, claim in claims.items() if claim is not None}


def _compression(results: pd.DataFrame, reduction: str) -> Claim | None:
    """How far the participation ratio falls below the input's."""
    figure = _figure(results, reduction, "compression", "octaves of participation_ratio")
    if figure is None:
        return None
    own = select(results, measure="participation_ratio", reduction=reduction, condition="clean")
    blocks = _blocks(own)
    lowest = blocks.iloc[int(blocks["value"].argmin())]
    start = "the input" if own["layer"].iloc[0] == "input" else str(own["layer"].iloc[0])
    detail = f"participation ratio {own['value'].iloc[0]:.1f} in {start}, {lowest['value']:.1f} at its lowest, in "
    detail += f"{lowest['layer']}: {figure.told}"
    if figure.low > 0 and figure.value >= LEAST["compression"]:
        verdict = f"the network compresses, {figure.beside('it does')}"
        if not isnan(figure.alone):
            beyond = "beyond" if figure.low > figure.alone else "not beyond"
            verdict += f" and {beyond} what {reduction} of the input does alone"
            detail += f"; {reduction} alone {figure.alone:+.2f}"
        return Claim(verdict, detail)
    if figure.high < 0 and figure.value <= -LEAST["compression"]:
        return Claim(f"every block is wider than {start}, {_wider(figure)}", detail)
    return Claim(f"no block lies clearly below {start}, and not all above it", detail)


def _expansion(results: pd.DataFrame, reduction: str) -> Claim | None:
    """How far label information rises from its lowest block to the last."""
    figure = _figure(results, reduction, "expansion", "label_information")
    if figure is None:
        return None
    own = select(results, measure="label_information", reduction=reduction, condition="clean")
    blocks = _blocks(own)
    lowest, last = blocks.iloc[int(blocks["value"].iloc[:-1].argmin())], blocks.iloc[-1]
    detail = f"label information {lowest['value']:.2f} at its lowest before the last block, in {lowest['layer']}, and "
    detail += f"{last['value']:.2f} in {last['layer']}: {figure.told}"
    if figure.low > 0 and figure.value >= LEAST["expansion"]:
        return Claim(f"codes become diverse with depth, {figure.beside('they do')}", detail)
    return Claim("codes do not become more diverse with depth", detail)


def _blocks(own: pd.DataFrame) -> pd.DataFrame:
    """What lies between the first layer and the logits."""
    return own.iloc[1:][own.iloc[1:]["layer"] != "logits"]


class Figure(NamedTuple):
    """One of the telescope's two figures, and what stands against it."""

    value: float
    low: float
    high: float
    untrained: float
    p: float
    unit: str
    alone: float
    """Of the reduction alone, without a network; NaN where that was not measured."""

    @property
    def told(self) -> str:
        """The numbers in brackets."""
        what = "octaves" if self.unit.startswith("octaves") else "of H(y)"
        text = f"{self.value:+.2f} {what} ({self.low:.2f} to {self.high:.2f})"
        if self.p != self.p:
            return f"{text}; {self.lacking} to judge it by"
        return f"{text}; untrained {self.untrained:+.2f}, {_rounded(self.p)}"

    @property
    def lacking(self) -> str:
        """Of what there is too little."""
        return f"{'no' if isnan(self.untrained) else 'too few'} untrained draws"

    def beside(self, does: str) -> str:
        """How it stands beside the untrained network's."""
        if self.p != self.p:
            return f"with {self.lacking} to tell whether that is learned"
        if self.p >= ALPHA:
            return f"but not shown to be more than {does} untrained"
        return f"and more than {does} untrained" if self.value > self.untrained else f"but less than {does} untrained"


def _wider(figure: Figure) -> str:
    if figure.p != figure.p:
        return f"with {figure.lacking} to tell whether that is learned"
    if figure.p >= ALPHA:
        return "not shown to be other than untrained"
    return "and more so than untrained" if figure.value < figure.untrained else "but less so than untrained"


def _rounded(p: float) -> str:
    """Three digits after the point, so that no p below 0.05 reads as 0.05."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _figure(results: pd.DataFrame, reduction: str, name: str, unit: str) -> Figure | None:
    """One of the telescope's figures under a reduction."""
    rows = results[(results["reduction"] == reduction) & (results["unit"] == unit)]
    own = findings(rows[(rows["measure"] == name) & (rows["condition"] == "clean")])
    if not own:
        return None
    p = rows[(rows["measure"] == f"{name}_p") & (rows["condition"] == "untrained")]["value"]
    alone = rows[(rows["measure"] == name) & (rows["condition"] == "reduction")]["value"]
    one = own[0]
    return Figure(
        one.value, one.low, one.high, one.null_untrained, float(p.iloc[0]) if len(p) else nan, unit,
        float(alone.iloc[0]) if len(alone) else nan,
    )  # fmt: skip


def _parting(results: pd.DataFrame, reduction: str, attack: str, control: str) -> Claim:
    """Where an attack leaves noise of its size behind."""
    layer = layer_of_departure(results, reduction, attack, control)
    rates = [
        select(results, measure="flip_rate", reduction=reduction, condition=name)["value"].iloc[-1]
        for name in (attack, control)
    ]
    detail = f"at the logits it flips {rates[0]:.0%} of codes, noise {rates[1]:.0%}"
    return Claim(
        f"{attack} parts from noise at {layer}" if layer else f"{attack} is not shown to part from noise", detail
    )


def _vulnerability(results: pd.DataFrame, reduction: str, subject: str) -> Claim | None:
    """Whether samples with homogeneous codes, or narrow gaps, are changed by less."""
    what, sign = VULNERABILITY[subject]
    rows = results[(results["measure"] == subject) & (results["reduction"] == reduction)]
    rows = rows[~rows["layer"].isin(("input", "logits")) & ~rows["condition"].str.startswith("class ")]
    plain = select(rows, unit="Spearman")
    if plain.empty:
        return None

    def layers(unit: str, sign: int) -> list[str]:
        own, p = (select(one, reduction=reduction, unit=unit) for one in (rows, results))
        sure = p.loc[(p["measure"] == f"{subject}_p") & (p["value"] < ALPHA), "layer"]
        return list(own.loc[(own["value"] * sign > 0) & own["layer"].isin(sure), "layer"])

    for_it, against = (layers("Spearman", one) for one in (sign, -sign))
    beyond = [layer for layer in layers("Spearman given the margin", sign) if layer in for_it]
    strongest = plain.iloc[int((plain["value"] * sign).argmax())]
    detail = f"in {len(for_it)} of {len(plain)} layers, in {len(beyond)} of these given the margin of the logits; "
    told = f"{strongest['low']:.2f} to {strongest['high']:.2f}" if not isnan(strongest["low"]) else "no interval"
    detail += f"strongest in {strongest['layer']}, Spearman {strongest['value']:+.2f} ({told})"
    if against:
        detail += f"; the other way in {len(against)}: {', '.join(against)}"
    if not for_it:
        return Claim(f"{what} are not shown to go with small perturbations", detail)
    if not beyond:
        return Claim(f"{what} go with small perturbations, not shown beyond what the answer's margin tells", detail)
    every = "in every layer" if len(beyond) == len(for_it) else "in some layers"
    return Claim(f"{what} go with small perturbations, {every} beyond what the answer's margin tells", detail)


def _difference(one: str, claims: dict[str, Claim], other: str, others: dict[str, Claim]) -> str:
    """What two reductions say differently."""
    shared = [subject for subject in claims if subject in others]
    if not shared:
        return f"Nothing could be told under both {one} and {other}."
    # a verdict may name its reduction, which is no difference
    differ = [
        subject
        for subject in shared
        if claims[subject].verdict.replace(one, other) != others[subject].verdict.replace(one, other)
    ]
    if not differ:
        return f"{one} and {other} agree on every verdict."
    parts = [f"Under {one} {claims[subject].verdict}; under {other} {others[subject].verdict}." for subject in differ]
    return " ".join([f"Verdicts that depend on the reduction: {len(differ)} of {len(shared)}.", *parts])
