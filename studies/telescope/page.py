"""docs/study.md and its figures, from results.parquet and causal.parquet: every sentence is made of their numbers.

python studies/telescope/page.py
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from acting import causal_lines, draw_causal
from matplotlib.figure import Figure
from scipy.stats import permutation_test, spearmanr
from words import COLOURS, DOCS, with_interval

from layerscope.stats import holm, rank_correlation
from layerscope.summary import VULNERABILITY, attack_pairs, layer_of_departure

HERE = Path(__file__).parent
ALPHA = 0.05
REDUCTIONS = ("mean", "sketch:512")
GIVEN = {
    "EfficientNet-Lite0": "EfficientNet-Lite0 has its ImageNet weights and a linear head for the same images.",
    "MiniLM": "MiniLM has its own weights and a linear head that tells spam from ham.",
}
"""Networks that the study did not train, or of other data."""
PANELS = (
    ("participation_ratio", "participation ratio"),
    ("label_information", "I(code; label) / H(label)"),
    ("class_gap", "gap to another class, spreads"),
    ("dimension_twonn", "intrinsic dimension, TwoNN"),
)

CLAIMS = (
    (
        "compression", "octaves of participation_ratio", "Shallow layers compress",
        "How far the participation ratio of the lowest block lies below the input's, in octaves.",
    ),
    (
        "expansion", "label_information", "Deep layers make codes diverse",
        "How far label information rises from the lowest block before the last to the last, in shares of H(label).",
    ),
    (
        "expansion", "octaves of participation_ratio", "Deep layers widen the space",
        "How far the participation ratio rises from the lowest block before the last to the last, in octaves.",
    ),
    (
        "expansion", "octaves of class_gap", "Deep layers part the classes",
        "How far the gap to another class rises from the lowest block before the last to the last, in octaves.",
    ),
)  # fmt: skip
"""Each of the telescope's figures that a claim is about: its name and unit, the claim, and what is measured."""


def write_page(results: pd.DataFrame, causal: pd.DataFrame | None = None) -> None:
    """The page and its figures; without the table of the causal test, without its section."""
    draw(results)
    if causal is not None:
        draw_causal(results, causal)
    (DOCS / "study.md").write_text("\n".join(lines(results, causal)) + "\n")


def lines(results: pd.DataFrame, causal: pd.DataFrame | None) -> Iterator[str]:
    """The page, line by line."""
    names = list(results["network"].unique())
    count = len(names)
    given = "".join(f"\n{told}" for name, told in GIVEN.items() if name in names)
    yield f"""# The telescope study

{count} networks, the claims of Lee & Vijayan (arXiv:2205.10952), and what is left of each beside its nulls. Made by
`python studies/telescope/study.py`; every number and every count on this page is read from
`studies/telescope/results.parquet` by `studies/telescope/page.py`. How each figure is measured, and how it can mislead,
is in [telescope.md](telescope.md).

Five architectures were trained on Fashion-MNIST by the study itself, with three seeds each and no tuning, two of them
also adversarially (PGD at 8/255).{given}
Each is measured on samples that neither the network nor its maps were fitted on, beside five untrained draws of its
architecture, whose batch normalisation has the statistics of the images. p is that of one more untrained draw
(Student's t, two-sided), corrected for the number of networks by Holm's method for each claim and reduction. Networks
of one architecture are held against the same five draws, so that their p-values go together; and what holds for these
small networks and images is shown for no others.

## The networks

| network | samples | accuracy | under PGD 8/255 |
|---|---|---|---|"""
    for name in names:
        own = results[results["network"] == name]
        clean = own[own["measure"] == "accuracy"]
        attacked = own[(own["measure"] == "robust_accuracy") & own["condition"].str.startswith("pgd")]
        robust = f"{attacked['value'].iloc[0]:.1%}" if len(attacked) else "not attacked"
        yield f"| {name} | {clean['n'].iloc[0]:,} | {clean['value'].iloc[0]:.1%} | {robust} |"
    yield from _predictions(results, names)
    for claim in CLAIMS:
        yield from _figures(results, names, *claim)
    yield from _hunchback(results, names)
    yield from _departure(results, names)
    yield from _growth(results, names)
    yield from _vulnerability(results, names)
    yield from _across(results, names)
    if causal is not None:
        yield from causal_lines(results, causal, names)
    yield """
## The profiles

![Four measures over depth for every network, under mean and under sketch](images/study.png)

Depth is relative: 0 is the input, 1 the last block. Solid lines are trained networks, dashed ones the means of their
untrained draws; a colour is an architecture."""


def _predictions(results: pd.DataFrame, names: list[str]) -> Iterator[str]:
    yield """
## Codes go along with predictions

What a code of the last block tells of the network's own answer, I(code; answer) / H(answer), and of the label.

| network | under | answer | label | answer, untrained |
|---|---|---|---|---|"""
    shares = []
    for name in names:
        for reduction in REDUCTIONS:
            told = _last(results, name, "prediction_information", reduction)
            label = _last(results, name, "label_information", reduction)
            shares.append((told["value"], told["value"] > label["high"]))
            yield (
                f"| {name} | {reduction} | {with_interval(told)} | {with_interval(label)} | "
                f"{'one answer' if np.isnan(told['null_untrained']) else format(told['null_untrained'], '.2f')} |"
            )
    least, beyond = min(value for value, _ in shares), sum(more for _, more in shares)
    yield f"""
The last block's codes tell at least {least:.2f} of the answer in every network. In {beyond} of {len(shares)} rows they
tell clearly more of the answer than of the label (above the label's 95 % interval). The untrained column is what codes
of an untrained network tell of that network's own answer: high there, too, where answers follow from the last block;
*one answer* where it gives the same to all samples."""


def _figures(
    results: pd.DataFrame, names: list[str], figure: str, unit: str, title: str, meaning: str
) -> Iterator[str]:
    alone = figure == "compression"
    yield f"""
## {title}

{meaning}

| network | under | value |{" reduction alone |" if alone else ""} untrained | beyond untrained | p | p, Holm |
|---|---|---|{"---|" if alone else ""}---|---|---|---|"""
    sentences = []
    for reduction in REDUCTIONS:
        rows = []
        for name in names:
            own = results[
                (results["network"] == name) & (results["reduction"] == reduction) & (results["unit"] == unit)
            ]
            if own.empty:
                continue
            by = {one: own[(own["measure"] == figure) & (own["condition"] == one)] for one in own["condition"].unique()}
            p = own[(own["measure"] == f"{figure}_p") & (own["condition"] == "untrained")]["value"].iloc[0]
            floor = by["reduction"]["value"].iloc[0] if alone and len(by.get("reduction", ())) else np.nan
            rows.append((name, by["clean"].iloc[0], by["beyond untrained"].iloc[0], by["untrained"].iloc[0], p, floor))
        corrected = holm([p for *_, p, _ in rows])
        for (name, value, beyond, _, p, floor), both in zip(rows, corrected, strict=True):
            told = f" {'not measured' if np.isnan(floor) else format(floor, '+.2f')} |" if alone else ""
            yield (
                f"| {name} | {reduction} | {with_interval(value)} |{told} {value['null_untrained']:+.2f} | "
                f"{with_interval(beyond)} | {p:.2g} | {both:.2g} |"
            )
        there = sum(value["low"] > 0 for _, value, *_ in rows)
        kinds = {results.loc[results["network"] == name, "kind"].iloc[0]: null for name, _, _, null, *_ in rows}
        untrained = sum(null["low"] > 0 for null in kinds.values())
        further = [
            (value["value"] - value["null_untrained"]) * (both < ALPHA)
            for (_, value, *_), both in zip(rows, corrected, strict=True)
        ]
        more, less = sum(one > 0 for one in further), sum(one < 0 for one in further)
        effect = np.median([beyond["value"] for _, _, beyond, *_ in rows])
        told = (
            f"Under {reduction} it is there (95 % interval above 0) in {there} of {len(rows)} networks, and in the "
            f"untrained draws of {untrained} of {len(kinds)} architectures (95 % prediction interval above 0); beyond "
            f"untrained in {more}, short of untrained in {less} (Holm). The median over networks of what is beyond "
            f"untrained is {effect:+.2f}."
        )
        floors = [(value, floor) for _, value, _, _, _, floor in rows if not np.isnan(floor)]
        if floors:
            past = sum(value["low"] > floor for value, floor in floors)
            told += f" In {past} of {len(floors)} it is more than {reduction} of the input does without a network."
        sentences.append(told)
    yield ""
    yield from sentences


def _hunchback(results: pd.DataFrame, names: list[str]) -> Iterator[str]:
    yield """
## Intrinsic dimension rises, then falls

Ansuini et al. (arXiv:1905.12784) saw that in trained networks, not in untrained ones. By TwoNN: *rises* where the
highest block lies above the input, *falls* where the last block lies below the highest, each with disjoint 95 %
intervals (prediction intervals of a further draw, for the untrained).

| network | under | input | highest block | last block | trained | untrained |
|---|---|---|---|---|---|---|"""
    seen = {reduction: [0, 0, 0] for reduction in REDUCTIONS}
    for name in names:
        for reduction in REDUCTIONS:
            found = [_shape(_depth(results, name, "dimension_twonn", reduction, c)) for c in ("clean", "untrained")]
            (start, top, last, told), (*_, other) = found
            seen[reduction][0] += told == "rises, falls"
            seen[reduction][1] += other == "rises, falls"
            seen[reduction][2] += 1
            yield f"| {name} | {reduction} | {start:.1f} | {top:.1f} | {last:.1f} | {told} | {other} |"
    yield ""
    for reduction, (own, null, count) in seen.items():
        yield (
            f"Under {reduction} it rises and falls in {own} of {count} trained networks and in the untrained draws of "
            f"{null}."
        )


def _shape(rows: pd.DataFrame) -> tuple[float, float, float, str]:
    """Values at the input, the highest block and the last, and what the profile does."""
    start, blocks = rows.iloc[0], rows.iloc[1:]
    top, last = blocks.iloc[int(blocks["value"].argmax())], blocks.iloc[-1]
    told = [
        word for word, is_so in (("rises", top["low"] > start["high"]), ("falls", last["high"] < top["low"])) if is_so
    ]
    return start["value"], top["value"], last["value"], ", ".join(told) or "neither"


def _departure(results: pd.DataFrame, names: list[str]) -> Iterator[str]:
    yield """
## Where an attack parts from noise of its size

PGD at 8/255 against noise that changes each image by exactly as much, in both norms: the first layer from which on the
attack flips at least 0.1 more codes, with disjoint intervals, and the codes flipped at the last block.

| network | training | under | parts at | depth | flips, attack | flips, noise |
|---|---|---|---|---|---|---|"""
    depths: dict[tuple[str, str], list[float]] = {}
    for name in names:
        own = results[results["network"] == name]
        pairs = attack_pairs(own)
        for reduction in REDUCTIONS if pairs else ():
            attack, control = pairs[0]
            layer = layer_of_departure(own, reduction, attack, control)
            rows = own[(own["measure"] == "flip_rate") & (own["reduction"] == reduction) & (own["layer"] != "logits")]
            attacked, noisy = (rows[rows["condition"] == one].sort_values("layer_index") for one in (attack, control))
            order = list(attacked["layer"])
            depth = order.index(layer) / (len(order) - 1) if layer in order else np.nan
            training = str(own["training"].iloc[0])
            depths.setdefault((training, reduction), []).append(depth)
            yield (
                f"| {name} | {training} | {reduction} | {layer or 'nowhere'} | "
                f"{'' if np.isnan(depth) else f'{depth:.2f}'} | {with_interval(attacked.iloc[-1])} | "
                f"{with_interval(noisy.iloc[-1])} |"
            )
    yield ""
    for (training, reduction), found in depths.items():
        parted = [depth for depth in found if not np.isnan(depth)]
        where = f", at a median relative depth of {np.median(parted):.2f}" if parted else ""
        yield (
            f"Under {reduction} the attack parts from noise before the logits in {len(parted)} of {len(found)} "
            f"networks of {training} training{where}."
        )


def _growth(results: pd.DataFrame, names: list[str]) -> Iterator[str]:
    yield """
## How far a perturbation has grown by the last block

*Amplification*: the shift at the last block over the shift of the input, each in its layer's own spread, median over
images. *Odds*: how far codes have moved from the label's to the wrong class's, in bits, mean over images.

| network | under | amplification, attack | noise | odds, attack | noise |
|---|---|---|---|---|---|"""
    for name in names:
        own = results[results["network"] == name]
        for attack, control in attack_pairs(own)[:1]:
            for reduction in REDUCTIONS:
                rows = [
                    _depth(results, name, measure, reduction, condition).iloc[-1]
                    for measure in ("amplification", "wrong_class_log_odds")
                    for condition in (attack, control)
                ]
                yield f"| {name} | {reduction} | {' | '.join(with_interval(row) for row in rows)} |"


def _vulnerability(results: pd.DataFrame, names: list[str]) -> Iterator[str]:
    yield """
## Compression and vulnerability, within networks

Each image's smallest perturbation (FMN, Linf, at most 500 images answered right) against its code's homogeneity
H(label | code), and against its gap to another class. If compression made vulnerable, the first correlation would lie
below 0 and the second above. *Layers*: stem and blocks where it does, p < 0.05 by random signs of codes, corrected for
the layers of the network (Holm); *given the margin*: where it still does, given the margin of the answer's logit over
the next.

Samples that share a code are alike, so that codes, not samples, are what p-values and intervals take for independent
(see [perturbations.md](perturbations.md)).

| network | of | under | layers | given the margin | strongest: layer, Spearman |
|---|---|---|---|---|---|"""
    counts: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for name in names:
        for subject, (what, sign) in VULNERABILITY.items():
            for reduction in REDUCTIONS:
                plain, given = (
                    _tested(results, name, subject, reduction, unit)
                    for unit in ("Spearman", "Spearman given the margin")
                )
                if plain.empty:
                    continue
                there, beyond = (int(((rows["value"] * sign > 0) & rows["sure"]).sum()) for rows in (plain, given))
                strongest = plain.iloc[int((plain["value"] * sign).argmax())]
                counts.setdefault((what, reduction), []).append((there, beyond))
                yield (
                    f"| {name} | {what} | {reduction} | {there} of {len(plain)} | {beyond} | {strongest['layer']}, "
                    f"{with_interval(strongest)} |"
                )
    yield ""
    for (what, reduction), found in counts.items():
        yield (
            f"Under {reduction} {what} go with small perturbations in some layer of "
            f"{sum(there > 0 for there, _ in found)} of {len(found)} networks, and in some layer of "
            f"{sum(beyond > 0 for _, beyond in found)} given the margin."
        )


def _tested(results: pd.DataFrame, name: str, subject: str, reduction: str, unit: str) -> pd.DataFrame:
    """A correlation at the stem and the blocks, and whether its corrected p is below 0.05."""
    own = results[
        (results["network"] == name)
        & (results["reduction"] == reduction)
        & (results["unit"] == unit)
        & ~results["condition"].str.startswith("class ")
        & ~results["layer"].isin(("input", "logits"))
    ]
    p = own[(own["measure"] == f"{subject}_p") & (own["value"] < ALPHA)]
    rows = own[own["measure"] == subject].sort_values("layer_index")
    return rows.assign(sure=rows["layer"].isin(p["layer"]))


def _across(results: pd.DataFrame, names: list[str]) -> Iterator[str]:
    yield """
## Compression and vulnerability, across networks

| network | training | smallest perturbation, median, in 255ths |
|---|---|---|"""
    medians: dict[str, pd.Series] = {}
    for name in names:
        rows = results[(results["network"] == name) & (results["measure"] == "smallest_perturbation")]
        for row in (row for _, row in rows.iterrows()):
            medians[name] = row
            told = f"{255 * row['value']:.2f} ({255 * row['low']:.2f} to {255 * row['high']:.2f})"
            yield f"| {name} | {row['training']} | {told} |"
    yield ""
    for name in (name for name in medians if name.endswith("-robust")):
        twin = name.removesuffix("-robust")
        ratio = medians[name]["value"] / medians[twin]["value"]
        yield f"{name} takes perturbations {ratio:.1f} times as large as {twin}."
    for reduction in REDUCTIONS:
        for measure, told in (("compression", "compression"), ("class_entropy_given_code", "highest H(label | code)")):
            shown = [name for name in medians if name not in GIVEN]
            sizes = torch.tensor([medians[name]["value"] for name in shown])
            values = torch.tensor([_summed(results, name, measure, reduction) for name in shown])
            rho = float(rank_correlation(sizes, values, torch.ones(1, len(shown)))[0])
            p = _pairings_p(sizes.numpy(), values.numpy())
            yield (
                f"Under {reduction}, over the {len(shown)} networks trained here, Spearman's correlation of the "
                f"smallest perturbation with the {told} of the stem and the blocks is {rho:+.2f} (p = {p:.2g} as if "
                "networks were independent, which seeds of one architecture are not)."
            )


def _pairings_p(sizes: np.ndarray, values: np.ndarray) -> float:
    """Two-sided p of Spearman's correlation, by random pairings."""

    def correlation(one: np.ndarray) -> float:
        return float(spearmanr(one, values).statistic)

    return float(permutation_test((sizes,), correlation, permutation_type="pairings", random_state=0).pvalue)


def _summed(results: pd.DataFrame, name: str, measure: str, reduction: str) -> float:
    """A network's compression in octaves of the participation ratio, or the highest value of a measure of layers."""
    if measure == "compression":
        own = results[(results["network"] == name) & (results["reduction"] == reduction)]
        own = own[(own["unit"] == "octaves of participation_ratio") & (own["condition"] == "clean")]
        return float(own.loc[own["measure"] == measure, "value"].iloc[0])
    return float(_depth(results, name, measure, reduction, "clean")["value"].iloc[1:].max())


def draw(results: pd.DataFrame) -> None:
    """Four measures over relative depth, a column per reduction."""
    figure = Figure(figsize=(9.5, 11), layout="constrained")
    axes = figure.subplots(len(PANELS), len(REDUCTIONS), sharex=True)
    for row, (measure, title) in enumerate(PANELS):
        for column, reduction in enumerate(REDUCTIONS):
            one = axes[row, column]
            for name in results["network"].unique():
                kind = results.loc[results["network"] == name, "kind"].iloc[0]
                for condition, style, alpha in (("untrained", "--", 0.35), ("clean", "-", 0.9)):
                    rows = _depth(results, name, measure, reduction, condition)
                    if len(rows) < 2:
                        continue
                    robust = name.endswith("robust") and condition == "clean"
                    one.plot(
                        np.linspace(0, 1, len(rows)), rows["value"], style, color=COLOURS[kind], alpha=alpha,
                        linewidth=2.4 if robust else 1, label=kind if condition == "clean" else None,
                    )  # fmt: skip
            one.set_title(f"{title}, under {reduction}", fontsize=9, loc="left")
            if measure == "participation_ratio":
                one.set_yscale("log")
            one.spines[["top", "right"]].set_visible(False)
    for one in axes[-1]:
        one.set_xlabel("relative depth (thick: adversarially trained)")
    handles = {line.get_label(): line for line in axes[0, 0].get_lines() if not line.get_label().startswith("_")}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(DOCS / "images" / "study.png", dpi=110)


def _depth(results: pd.DataFrame, name: str, measure: str, reduction: str, condition: str) -> pd.DataFrame:
    """The rows of the input and the blocks, in depth."""
    rows = results[
        (results["network"] == name)
        & (results["measure"] == measure)
        & (results["reduction"] == reduction)
        & (results["condition"] == condition)
        & (results["layer"] != "logits")
    ]
    return rows.sort_values("layer_index")


def _last(results: pd.DataFrame, name: str, measure: str, reduction: str) -> pd.Series:
    return _depth(results, name, measure, reduction, "clean").iloc[-1]


if __name__ == "__main__":
    write_page(
        *(pd.read_parquet(path) for path in (HERE / "results.parquet", HERE / "causal.parquet") if path.is_file())
    )
