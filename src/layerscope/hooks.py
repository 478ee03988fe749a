"""The only place that hooks: what the parts of a module put out, seen and changed as it is put out.

A hook hears of an output *at the moment it is put out*: what is kept of it has to be kept then, since an in-place
operation further on changes it, and what is put in its place is all that the rest of the network knows of.
"""

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Seen = Callable[[str, nn.Module, Any], Any]
"""Called with a submodule's name, itself and what it put out; puts out something else instead, or None."""


@contextmanager
def hooked(module: nn.Module, names: Sequence[str], seen: Seen) -> Iterator[None]:
    """Call `seen` with name, module and output after each run of the submodules `names`; no hook outlives the block.

    What `seen` returns, unless it is None, takes the place of the output.

    Compiled parts run as they are written meanwhile: compiled code calls no hooks. Nor can transformers be hooked that
    turn masked batches into nested tensors; these run without their fused path.
    """

    def hook(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def observe(module: nn.Module, _inputs: object, output: object) -> Any:
            return seen(name, module, output)

        return observe

    handles: list[RemovableHandle] = []
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        if any(isinstance(part, nn.TransformerEncoder) for part in module.modules()):
            torch.backends.mha.set_fastpath_enabled(False)
        for name in names:
            handles.append(module.get_submodule(name).register_forward_hook(hook(name)))  # noqa: PERF401 - see finally
        compiled = "torch._dynamo" in sys.modules  # nothing else compiles, and importing it takes seconds
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for handle in handles:
            handle.remove()


@contextmanager
def looked_up(module: nn.Module, ids: Tensor, change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Hand what is looked up for token ids to `change`, and put what that gives in its place.

    Before anybody's other hooks, so that whoever watches the embedding sees what the network goes on with.
    """

    def observe(_module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        asked = bool(inputs) and inputs[0].shape == ids.shape and bool((inputs[0] == ids).all())
        return change(output) if asked else None

    tables = [part for part in module.modules() if isinstance(part, nn.Embedding)]
    handles = [table.register_forward_hook(observe, prepend=True) for table in tables]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_calls(layers: Sequence[str], counts: Mapping[str, int]) -> None:
    """Raise ValueError where a layer, a name with `#k` for one call of several, did not come exactly once.

    Args:
        layers: the names.
        counts: how often each submodule ran, by its name.
    """
    for layer in layers:
        name, _, index = layer.partition("#")
        calls = counts.get(name, 0)
        if calls == 0:
            raise ValueError(f"Layer {name!r} never ran in the forward pass; leave it out of `layers`.")
        if not index and calls > 1:
            raise ValueError(
                f"Layer {name!r} runs {calls} times in one forward pass; say which call: "
                f"{', '.join(f'{name}#{call}' for call in range(calls))}."
            )
        if index and int(index) >= calls:
            raise ValueError(f"Layer {name!r} runs {calls} times, so {layer!r} never comes; calls count from 0.")


def first_tensor(output: Any, name: str) -> Tensor:
    """What a layer says: its output, or the first tensor in it where it puts out several.

    Tuples, lists, mappings and dataclasses are looked into, one level deep.

    Raises:
        TypeError: if there is none.
    """
    if isinstance(output, Tensor):
        return output
    for _, part in _parts(output):
        if isinstance(part, Tensor):
            return part
    raise TypeError(
        f"Layer {name!r} puts out {type(output).__name__}, which holds no tensor; leave it out of `layers`."
    )


def with_first(output: Any, tensor: Tensor) -> Any:
    """The same output with `tensor` in the place of the one that `first_tensor` finds; the given output stays."""
    if isinstance(output, Tensor):
        return tensor
    place = next(place for place, part in _parts(output) if isinstance(part, Tensor))
    if isinstance(output, (tuple, list)):
        parts = [tensor if here == place else part for here, part in enumerate(output)]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    changed: Any = copy.copy(output)
    if isinstance(output, Mapping):
        changed[place] = tensor
    else:
        object.__setattr__(changed, place, tensor)  # frozen dataclasses, too
    return changed


def _parts(output: Any) -> list[tuple[Any, Any]]:
    """What an output that is no tensor consists of, and where each part stands."""
    if isinstance(output, Mapping):
        return list(output.items())
    if isinstance(output, (tuple, list)):
        return list(enumerate(output))
    return list(vars(output).items()) if hasattr(output, "__dataclass_fields__") else []
