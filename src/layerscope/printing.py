"""Findings as tables for a terminal."""

from collections.abc import Sequence
from math import isnan, nan

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from layerscope.results import MEASURES, Result, findings, select
from layerscope.robustness import Robustness

FLOW = ("flip_rate", "shift_over_gap", "wrong_class_log_odds")
SHOWN = (
    "participation_ratio", "label_information", "class_entropy_given_code", "code_perplexity", "class_gap",
    "dimension_twonn",
)  # fmt: skip
"""The measures that a run prints; `layerscope profile` prints all of them."""

HEADS = {
    "class_gap": "gap,\nspreads",
    "dimension_twonn": "TwoNN\ndim.",
    "participation_ratio": "particip.\nratio",
    "label_information": "I(c;y)\n/ H(y)",
    "class_entropy_given_code": "H(y|c)\nbits",
    "code_perplexity": "code\nperplex.",
    "flip_rate": "flips",
    "shift_over_gap": "shift/gap",
    "wrong_class_log_odds": "odds,\nbits",
}
"""Column heads, so that six columns fit a terminal of 80."""


def profile_table(results: pd.DataFrame, reduction: str) -> Table:
    """The profile under one reduction, a row per layer: value, 95 % interval, and the untrained null in brackets."""
    clean = select(results, reduction=reduction, condition="clean")
    columns = [
        (HEADS[measure], clean[clean["measure"] == measure]) for measure in SHOWN if measure in set(clean["measure"])
    ]
    return _table(f"Profile under {reduction}: value, 95 % interval, (same network untrained)", columns)


def telescope_table(results: pd.DataFrame) -> Table:
    """Compression and expansion of the whole network: of what, under which reduction, beside untrained draws."""
    table = Table(
        title="The telescope: how far below the input, and the rise from there to the last block",
        title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for head in ("figure", "of", "under", "value, 95 %", "untrained", "p"):
        table.add_column(head, no_wrap=True)
    rows = results[results["measure"].isin(("compression", "expansion"))]
    for row in findings(rows[rows["condition"] == "clean"]):
        same = results[(results["reduction"] == row.reduction) & (results["unit"] == row.unit)]
        p = same[(same["measure"] == f"{row.measure}_p") & (same["condition"] == "untrained")]["value"]
        untrained = "" if isnan(row.null_untrained) else f"{row.null_untrained:+.2f}"
        table.add_row(
            row.measure, row.unit, row.reduction, f"{row.value:+.2f} ({row.low:.2f}\u2013{row.high:.2f})", untrained,
            f"{p.iloc[0]:.2g}" if len(p) else "",
        )  # fmt: skip
    return table


def decoding_table(rows: Sequence[Result]) -> Table:
    """How far a decoding is to be trusted: a row for each measure and layer."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("layer", "", "", "value, 95 %", "n"):
        table.add_column(head, no_wrap=True, justify="right" if head == "n" else "left")
    for row in rows:
        told = row.unit if row.condition == "clean" else f"{row.unit}, {row.condition}"
        interval = "" if isnan(row.low) else f" ({row.low:.2f}\u2013{row.high:.2f})"
        layer = escape(f"{row.layer}|{row.reduction}")
        table.add_row(layer, MEASURES[row.measure].title, told, f"{row.value:.2f}{interval}", f"{row.n:,}")
    return table


def robustness_table(found: Robustness) -> Table:
    """What attacks leave of the accuracy, and the median of the smallest perturbations."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("", "", "value, 95 %", "n"):
        table.add_column(head, no_wrap=True, justify="right" if head == "n" else "left")
    for row in found.results:
        if row.measure == "smallest_perturbation":
            told = f"{row.value:.4g} ({row.low:.4g}\u2013{row.high:.4g}) {row.unit}"
        else:
            told = f"{row.value:.1%} ({row.low:.1%}\u2013{row.high:.1%})"
        table.add_row(MEASURES[row.measure].title, row.condition, told, f"{row.n:,}")
    return table


def measures_table(results: pd.DataFrame, measures: Sequence[str]) -> Table:
    """A row per measure, reduction and layer: value, interval, and the nulls that the measure has."""
    table = Table(title="Profile", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("measure", "under", "layer"):
        table.add_column(head, no_wrap=True)
    for head in ("value", "95 %", "untrained", "shuffled", "codebook", "reduction"):
        table.add_column(head, justify="right", no_wrap=True)
    for measure in measures:
        for row in findings(results[(results["measure"] == measure) & (results["condition"] == "clean")]):
            here = results[
                (results["measure"] == measure)
                & (results["reduction"] == row.reduction)
                & (results["layer"] == row.layer)
            ]
            others = [here.loc[here["condition"] == name, "value"] for name in ("codebook", "reduction")]
            interval = "" if isnan(row.low) else f"{row.low:.3g}\u2013{row.high:.3g}"
            numbers = [
                row.null_untrained,
                row.null_shuffled,
                *(float(one.iloc[0]) if len(one) else nan for one in others),
            ]
            told = ["" if isnan(number) else f"{number:.3g}" for number in numbers]
            table.add_row(measure, row.reduction, escape(row.layer), f"{row.value:.3g}", interval, *told)
    return table


def flow_table(results: pd.DataFrame, reduction: str, attack: str, control: str) -> Table:
    """What an attack and its noise do under one reduction, a row per layer: value and 95 % interval."""
    rows = select(results, reduction=reduction)
    columns = [
        (f"{HEADS[measure]}\n{who}", select(rows, measure=measure, condition=condition))
        for measure in FLOW
        for who, condition in (("attack", attack), ("noise", control))
        if (rows["measure"] == measure).any()
    ]
    return _table(f"Flow under {reduction}: {attack} against noise of its size", columns)


def causal_table(results: pd.DataFrame, reduction: str) -> Table:
    """What moving each layer does under one reduction: the target rate, both controls, and the target's probability."""
    rows = select(results, reduction=reduction)
    columns = [
        (head, select(rows, measure=measure, condition=condition))
        for head, measure, condition in (
            ("to the target's\ncode", "causal_target_rate", "clean"),
            ("random, as\nfar", "causal_control_rate", "random"),
            ("other codes,\nas far", "causal_control_rate", "codes"),
            ("target's prob.,\nchange", "causal_probability_shift", "clean"),
        )
    ]
    return _table(f"Answers that become the target class, layers moved under {reduction}", columns)


def layers_table(layers: pd.DataFrame, reductions: Sequence[str]) -> Table:
    """One line per layer of a network, with its width and bytes under each reduction; a star where `auto` picks it."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("", "layer", "type", "output"):
        table.add_column(head, no_wrap=True)
    for reduction in reductions:
        table.add_column(f"{reduction}\nwidth", justify="right")
        table.add_column("bytes", justify="right")
    for row in layers.to_dict("records"):
        numbers = [row[f"{reduction} {what}"] for reduction in reductions for what in ("width", "bytes")]
        told = ["-" if isnan(number) else f"{number:,.0f}" for number in numbers]
        output = " x ".join(map(str, row["shape"])) or "1"
        table.add_row("*" if row["auto"] else "", escape(row["layer"]), row["type"], output, *told)
    return table


def _table(title: str, columns: list[tuple[str, pd.DataFrame]]) -> Table:
    """One row per layer, one column per head and its rows of findings."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("layer", no_wrap=True)
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for layer in dict.fromkeys(layer for _, rows in columns for layer in rows["layer"]):
        table.add_row(escape(layer), *(_cell(rows[rows["layer"] == layer]) for _, rows in columns))
    return table


def _cell(row: pd.DataFrame) -> str:
    """Value, interval and untrained null of one finding."""
    if row.empty:
        return ""
    value, low, high, null = (float(row[name].iloc[0]) for name in ("value", "low", "high", "null_untrained"))
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    told, least, most, untrained = (_short(number, digits) for number in (value, low, high, null))
    return f"{told}\n{least}\u2013{most}" + ("" if pd.isna(null) else f"\n({untrained})")


def _short(number: float, digits: int) -> str:
    """Fixed digits; no 0 before the point, so that an interval fits its column."""
    text = f"{number:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(number) < 1 else text
