"""Which layers to look at: names, patterns, or `auto`."""

from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import quote

import pandas as pd
import torch
from torch import Tensor, nn

from layerscope.layouts import Output
from layerscope.network import Call, Network
from layerscope.reductions import PerSampleReduction, Sketch, parse_reduction
from layerscope.types import Samples, size_of

INPUT, LOGITS = "input", "logits"
"""The two ends of the depth axis; recorded always. A submodule of that name is called `input#0` or `logits#0`."""

AUTO_MOST = 20
SILENT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Flatten, nn.Identity)
"""Layers that change no value in evaluation mode."""
CONTAINERS = {nn.Sequential, nn.ModuleList, nn.ModuleDict}
"""Plain sequences, which say nothing of what a block is; their subclasses (a dense block, say) do."""


class Layer(NamedTuple):
    """A place in the network and the way its output is reduced; written `name|reduction`."""

    name: str
    reduction: str

    def __str__(self) -> str:
        """As in specs, column names and shards: `blocks.0|mean`."""
        return f"{self.name}|{self.reduction}"

    @property
    def stem(self) -> str:
        """What a folder's file about the layer is called, without its ending: `sketch-512/blocks.0`.

        A colon is no part of a file name everywhere, and what a module is called is no path.
        """
        return f"{self.reduction.replace(':', '-')}/{quote(self.name, safe='#')}"


def choose_layers(
    network: Network, samples: Samples, wanted: str | Sequence[str] = "auto"
) -> tuple[tuple[str, ...], str]:
    """The names of the layers to look at, in the order in which they run, and a sentence that says why.

    Args:
        network: the network.
        samples: a small batch, run once to see what runs, in which order.
        wanted: `auto`, a pattern, or several (shell style: `layer?.*`; `relu#1` is one call of a reused module).

    Raises:
        ValueError: if a pattern matches nothing that runs; names the closest.
    """
    patterns = [wanted] if isinstance(wanted, str) else list(wanted)
    chosen = _choose(network, *network.trace(samples), size_of(samples), patterns)
    if patterns == ["auto"]:
        return chosen, "auto: blocks and lone layers, in the order in which they run"
    return chosen, f"as asked: {', '.join(patterns)}"


def plan_layers(
    network: Network,
    samples: Samples,
    wanted: str | Sequence[str] = "auto",
    reductions: Sequence[str] = ("mean", "sketch:512"),
    *,
    logits: bool = True,
) -> tuple[Layer, ...]:
    """All that a recording holds: under each reduction the input, the layers as they run, and the logits.

    There is no input row for texts and tokens, no logits row for networks without logits, and neither under reductions
    that give several vectors per sample.

    Args:
        network: the network.
        samples: a small batch, run once.
        wanted: as for `choose_layers`; a reduction after a bar, as in `blocks.*|cls`, is that pattern's own.
        reductions: of patterns without a bar.
        logits: whether they are wanted.

    Raises:
        ValueError: if a pattern matches nothing that runs, or a reduction is not known.
    """
    patterns = [wanted] if isinstance(wanted, str) else list(wanted)
    under: dict[str, list[str]] = {}
    for pattern in patterns:
        name, bar, own = pattern.partition("|")
        for reduction in [own] if bar else reductions:
            under.setdefault(parse_reduction(reduction).name, []).append(name)
    if not patterns:
        under = {parse_reduction(reduction).name: [] for reduction in reductions}
    calls, answer = network.trace(samples)
    planned = []
    for reduction, names in under.items():
        whole = isinstance(parse_reduction(reduction), PerSampleReduction)
        if whole and isinstance(samples, Tensor) and samples.is_floating_point():
            planned.append(Layer(INPUT, reduction))
        planned += [Layer(name, reduction) for name in _choose(network, calls, answer, size_of(samples), names)]
        if whole and logits and answer is not None:
            planned.append(Layer(LOGITS, reduction))
    return tuple(planned)


def layer_table(
    network: Network, samples: Samples, reductions: Sequence[str] = ("mean", "sketch:512"), *, item_bytes: int = 4
) -> pd.DataFrame:
    """What can be recorded: a row for each call of each submodule, in the order in which they run.

    Args:
        network: the network.
        samples: a small batch, run twice.
        reductions: of which the widths are told.
        item_bytes: of a stored number.

    Returns:
        Columns `layer`, `type`, `shape` (of one sample's output), `auto` (whether `auto` picks it), and for each
        reduction its `width` (missing where it can't be had) and `bytes` per sample, as `mean width`, `mean bytes`.
    """
    calls, answer = network.trace(samples)
    count = size_of(samples)
    calls = [call for call in calls if call.shape and call.shape[0] == count]
    picked = set(_choose(network, calls, answer, count, ["auto"]))
    widths: dict[tuple[str, str], float] = {}

    def keep(name: str, output: Output) -> None:
        output = output._replace(tensor=output.tensor.float())
        for spec in reductions:
            reduction = parse_reduction(spec)
            with suppress(ValueError):  # not every reduction can take every output
                if isinstance(reduction, Sketch):  # no need to draw its projection
                    widths[name, spec] = min(output.tensor[0].numel(), reduction.size)
                elif isinstance(reduction, PerSampleReduction):
                    widths[name, spec] = reduction(output).shape[1]
                else:
                    widths[name, spec] = reduction(output, range(count)).vectors.numel() / count

    with torch.no_grad():
        network.watch(samples, [call.name for call in calls], keep)
    rows = []
    for call in calls:
        row: dict[str, Any] = {"layer": _public(call), "type": type(call.module).__name__, "shape": call.shape[1:]}
        row["auto"] = _public(call) in picked
        for spec in reductions:
            width = widths.get((call.name, spec), float("nan"))
            row |= {f"{spec} width": width, f"{spec} bytes": width * item_bytes}
        rows.append(row)
    return pd.DataFrame(rows)


def _choose(
    network: Network, calls: Sequence[Call], logits: Tensor | None, count: int, patterns: Sequence[str]
) -> tuple[str, ...]:
    """The names that match, in the order in which they run."""
    runnable = [_public(call) for call in calls if call.shape and call.shape[0] == count]
    picked: set[str] = set()
    for pattern in patterns:
        if pattern == "auto":
            picked |= set(_auto(network, calls, runnable, None if logits is None else tuple(logits.shape)))
            continue
        matching = {name for name in runnable if fnmatchcase(name, pattern)}
        if not matching:
            close = get_close_matches(pattern, runnable, n=3, cutoff=0.4)
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
            raise ValueError(
                f"`layers`: {pattern!r} matches no layer that runs{hint} Layers are: {', '.join(runnable) or 'none'}."
            )
        picked |= matching
    return tuple(name for name in runnable if name in picked)


def _public(call: Call) -> str:
    return f"{call.name}#0" if call.name in (INPUT, LOGITS) else call.name


def _auto(
    network: Network, calls: Sequence[Call], runnable: Sequence[str], logits: tuple[int, ...] | None
) -> tuple[str, ...]:
    """Composite blocks where there are any; of lone layers, what each weight layer's group puts out last."""
    blocks = set(_blocks(network.module, _repeated_types(network.module)))
    shown: list[Call] = []
    for call in calls:
        if call.name.partition("#")[0] not in blocks or _public(call) not in runnable:
            continue
        if isinstance(call.module, SILENT):
            continue
        starts_group = _is_composite(call.module) or any(p.ndim > 1 for p in call.module.parameters())
        if starts_group:
            shown.append(call)
        elif shown and not _is_composite(shown[-1].module):
            shown[-1] = call  # normalisation, ReLU or pooling after a lone weight layer: what the group says in the end
    names = [_public(call) for call in shown]
    if len(shown) > 1 and shown[-1].shape == logits and any(True for _ in shown[-1].module.parameters()):
        names = names[:-1]  # the head puts out the logits, which are recorded anyway
    if len(names) > AUTO_MOST:
        names = [names[place] for place in torch.linspace(0, len(names) - 1, AUTO_MOST).round().long().tolist()]
    return tuple(names)


def _is_composite(module: nn.Module) -> bool:
    return any(True for _ in module.children())


def _repeated_types(module: nn.Module) -> set[type]:
    """Classes of composite modules that occur more than once: what a network is built of."""
    types = [type(part) for part in module.modules() if _is_composite(part) and type(part) not in CONTAINERS]
    return {kind for kind in types if types.count(kind) > 1}


def _blocks(module: nn.Module, repeated: set[type], prefix: str = "") -> list[str]:
    """Names of the outermost blocks below `module`, and of its lone layers.

    A block is a composite module of a class that the network repeats; one that holds no such class; or a plain
    sequence around a single weight layer.
    """
    names = []
    for child_name, child in module.named_children():
        name = f"{prefix}{child_name}"
        inner = [type(part) for part in child.modules() if part is not child]
        if type(child) in CONTAINERS:
            whole = sum(any(p.ndim > 1 for p in part.parameters(recurse=False)) for part in child.modules()) == 1
        else:
            whole = type(child) in repeated or not repeated.intersection(inner)
        names += [name] if whole or not _is_composite(child) else _blocks(child, repeated, f"{name}.")
    return names
