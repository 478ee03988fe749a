"""Which layers to look at: names, patterns, or `auto`."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import nn

from layerscope.network import Call, Network
from layerscope.types import Inputs

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


def choose_layers(
    network: Network, inputs: Inputs, wanted: str | Sequence[str] = "auto"
) -> tuple[tuple[str, ...], str]:
    """The names of the layers to look at, in the order in which they run, and a sentence that says why.

    Args:
        network: the network.
        inputs: a small batch, run once to see what runs, in which order.
        wanted: `auto`, a pattern, or several (shell style: `layer?.*`; `relu#1` is one call of a reused module).

    Raises:
        ValueError: if a pattern matches nothing that runs; names the closest.
    """
    calls, logits = network.trace(inputs)
    runnable = [_public(call) for call in calls if call.shape and call.shape[0] == len(inputs)]
    if wanted == "auto":
        chosen = _auto(network, calls, runnable, tuple(logits.shape))
        return chosen, "auto: blocks and lone layers, in the order in which they run"
    patterns = [wanted] if isinstance(wanted, str) else list(wanted)
    picked: set[str] = set()
    for pattern in patterns:
        matching = {name for name in runnable if fnmatchcase(name, pattern)}
        if not matching:
            close = get_close_matches(pattern, runnable, n=3, cutoff=0.4)
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
            raise ValueError(
                f"`layers`: {pattern!r} matches no layer that runs{hint} Layers are: {', '.join(runnable) or 'none'}."
            )
        picked |= matching
    chosen = tuple(name for name in runnable if name in picked)
    return chosen, f"as asked: {', '.join(patterns)}"


def _public(call: Call) -> str:
    return f"{call.name}#0" if call.name in (INPUT, LOGITS) else call.name


def _auto(network: Network, calls: Sequence[Call], runnable: Sequence[str], logits: tuple[int, ...]) -> tuple[str, ...]:
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
