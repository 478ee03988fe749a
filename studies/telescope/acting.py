"""The section of docs/study.md on codes that act, and its figure, from causal.parquet beside results.parquet."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from words import COLOURS, DOCS, with_interval

from layerscope.results import select
from layerscope.summary import acting_layers

SAMPLES = 300
"""That the causal test moves at each layer."""
HALF = 0.5


def causal_lines(results: pd.DataFrame, causal: pd.DataFrame, names: list[str]) -> Iterator[str]:
    """The section on the causal test, line by line."""
    done = [name for name in names if name in set(causal["network"])]
    rows = [_acting(results, causal, name, under) for name in done for under in _reductions(causal, name)]
    yield f"""
## Codes that tell and codes that act

A code that goes along with an answer need not take part in it. {SAMPLES} samples that are answered right are moved, at
each layer, by the difference between the prototype of another class's code and that of their own, and the rest of the
network runs: how often does the answer become that class? A layer *acts* where this rate lies beyond those of both
controls of equal length, their 95 % intervals apart: a random direction, and the difference between two other codes
(see [causal.md](causal.md)). Intervals count samples moved from one code as alike, or those moved to one, whichever
makes them wider: there are hardly more codes to move to than classes, so that intervals are wide even where all answers
turn, and a rate in the middle may not be told from the controls. Made by
`python studies/telescope/causal.py` and read from
`studies/telescope/causal.parquet`; it has {len(done)} of the study's {len(names)} networks{_missing(names, done)}.
{_again(results, causal, done)}

*First*: the first layer that acts, and its relative depth. *Tells*: the label information of a layer's code. *Rate*: of
the answers that become the target. *Silent*: of the layers that are not shown to act, the one whose code tells most.

| network | under | layers that act | first: depth, tells | last block: rate | controls | tells | silent: tells, rate |
|---|---|---|---|---|---|---|---|"""
    yield from (row.line for row in rows)
    yield ""
    yield from _causal_sentences([row for row in rows if row.under == "mean"], len(done))
    yield """
![The target rate over relative depth, a line for each network, beside what the codes tell](images/study-causal.png)

Solid: how often the answer becomes the target class; dotted: what the codes tell of the label; a colour is an
architecture. Depth is relative: 0 is the input, 1 the last block."""


class Acting(NamedTuple):
    """A network's causal test under one reduction."""

    name: str
    under: str
    line: str
    """Of the table."""
    share: float
    """Of its layers that act."""
    first: float
    """Relative depth of the first of these; NaN where there is none."""
    last: pd.Series
    """The last block's target rate."""
    last_acts: bool
    silent: float
    """The most that the code of a layer tells that is not shown to act; NaN where there is none."""


def _acting(results: pd.DataFrame, causal: pd.DataFrame, name: str, under: str) -> Acting:
    own = causal[(causal["network"] == name) & (causal["reduction"] == under)]
    rates = select(own, measure="causal_target_rate", condition="clean")
    controls = select(own, measure="causal_control_rate").groupby("layer")["value"].max()
    tells = select(results, network=name, measure="label_information", reduction=under, condition="clean")
    tells = tells.set_index("layer")["value"].reindex(rates["layer"])
    acting, order, last = acting_layers(own, under), list(rates["layer"]), rates.iloc[-1]
    depths = dict(zip(order, rates["layer_index"] / rates["layer_index"].iloc[-1], strict=True))
    first = depths[acting[0]] if acting else np.nan
    silent = tells[[layer for layer in order if layer not in acting]].dropna()
    where = f"{acting[0]}: {first:.2f}, {_told(tells[acting[0]])}" if acting else "none"
    most = silent.idxmax() if len(silent) else None
    rate = rates.set_index("layer")["value"]
    told = f"{most}, {silent[most]:.2f}, {rate[most]:.2f}" if most else "none"
    line = (
        f"| {name} | {under} | {len(acting)} of {len(order)} | {where} | {with_interval(last)} | "
        f"{controls[last['layer']]:.2f} | {_told(tells.iloc[-1])} | {told} |"
    )
    share = len(acting) / len(order)
    return Acting(name, under, line, share, first, last, order[-1] in acting, silent[most] if most else np.nan)


def _causal_sentences(rows: list[Acting], count: int) -> Iterator[str]:
    """What the rows under `mean` say together."""
    acting = [row for row in rows if row.last_acts]
    rates = [row.last["value"] for row in acting]
    yield (
        f"Under mean the codes of the last block act in {len(acting)} of {count} networks"
        + (f", where {min(rates):.0%} to {max(rates):.0%} of the answers become the target." if acting else ".")
    )
    if fails := [row.name for row in rows if not row.last_acts]:
        yield f"They are not shown to in {', '.join(fails)}."
    weak = [f"{row.name} ({row.last['value']:.0%})" for row in acting if row.last["value"] < HALF]
    if weak:
        yield f"They act, and turn fewer than half of the answers, in {', '.join(weak)}."
    if every := [row.name for row in rows if row.share == 1]:
        yield f"Codes act at every layer in {', '.join(every)}."
    silent = [row for row in rows if row.silent >= HALF]
    if silent:
        tell = [row.silent for row in silent]
        yield (
            f"In {len(silent)} of {count} some layer's code tells at least half of H(label) ({min(tell):.2f} to "
            f"{max(tell):.2f} at most) and is not shown to act: a label, and not shown to be a handle."
        )
    depths = [row.first for row in rows if not np.isnan(row.first)]
    if depths:
        yield f"The first layer that acts lies at a relative depth of {np.median(depths):.2f} (median over networks)."


def _reductions(causal: pd.DataFrame, name: str) -> list[str]:
    """Those under which a network's layers were moved."""
    return [under for under in causal.loc[causal["network"] == name, "reduction"].unique() if under]


def _told(value: float) -> str:
    return "not measured" if np.isnan(value) else f"{value:.2f}"


def _missing(names: list[str], done: list[str]) -> str:
    """Which networks are not in the table."""
    left = [name for name in names if name not in done]
    return f", all but {', '.join(left)}" if left else ""


def _again(results: pd.DataFrame, causal: pd.DataFrame, done: list[str]) -> str:
    """How near the networks of the causal test are to those of the study."""
    clean = results[(results["measure"] == "accuracy")].set_index("network")["value"]
    again = causal[(causal["measure"] == "accuracy")].set_index("network")["value"]
    apart = (again[done] - clean[done]).abs()
    if apart.max() == 0:
        return "Their accuracies are those of the table above."
    return (
        "Weights were trained again for it from the same seeds; training enlarges "
        "differences in rounding: accuracies differ from those of the table above by up to "
        f"{100 * apart.max():.1f} points ({apart.idxmax()}). "
        "What the codes tell is of the study's own networks."
    )


def draw_causal(results: pd.DataFrame, causal: pd.DataFrame) -> None:
    """The target rate and the label information over relative depth, under mean."""
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name in causal["network"].unique():
        kind = causal.loc[causal["network"] == name, "kind"].iloc[0]
        own = causal[(causal["network"] == name) & (causal["reduction"] == "mean")]
        rates = select(own, measure="causal_target_rate", condition="clean")
        tells = select(results, network=name, measure="label_information", reduction="mean", condition="clean")
        tells = tells[tells["layer"].isin(rates["layer"])]
        for rows, style, width in ((tells, ":", 1), (rates, "-", 1.6)):
            depth = rows["layer_index"] / rates["layer_index"].iloc[-1]
            axes.plot(depth, rows["value"], style, color=COLOURS[kind], linewidth=width,
                      label=kind if style == "-" else None)  # fmt: skip
    axes.set_xlabel("relative depth")
    axes.set_ylabel("share")
    axes.spines[["top", "right"]].set_visible(False)
    handles = {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False)
    figure.savefig(DOCS / "images" / "study-causal.png", dpi=110)
