"""A trained network, seen as inputs in, named activations and logits out. The only module that hooks.

A hook keeps what a layer put out *at the moment it put it out*: the caller's `keep` turns the output into something of
its own inside the hook, so that an in-place operation further on can't change it, and so that no full feature map
outlives its layer.
"""

import copy
import functools
import hashlib
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from layerscope.store import tensors_digest
from layerscope.types import Inputs, Logits

UNTRAINED_SEED = 0x1A7E5C0B
"""Added to the seed of untrained draws: a user's own small seed would draw the weights that training began with."""

Keep = Callable[[str, Tensor], None]
"""Called with a layer's name and what it put out."""


class Call(NamedTuple):
    """One run of one submodule in a forward pass."""

    name: str
    """Its dotted name, with `#k` for call k of a module that runs more than once."""
    module: nn.Module
    shape: tuple[int, ...]
    """Of its output, batch first; empty where it put out no tensor."""


@dataclass(frozen=True)
class Network:
    """A module in evaluation mode with its preprocessing, and the range its inputs live in.

    Inputs are always in input space (images: pixels in [0, 1]); `preprocess` (normalisation, say) is part of the
    network, so that an attack's budget means what it says.

    Raises:
        TypeError: if the module is none.
        ValueError: if a part of it is in training mode, or the bounds are not a range.
    """

    module: nn.Module
    """Maps a preprocessed batch to logits, or to a dict, a tuple or an object that holds them as `logits`."""

    preprocess: Callable[[Tensor], Tensor] | None = None
    """Applied to every batch before the module; differentiable if the network is to be attacked."""

    bounds: tuple[float, float] = (0.0, 1.0)
    """Smallest and largest legal value of an input entry."""

    class_names: tuple[str, ...] = ()
    """What the classes are called, in the order of the logits; empty if they have numbers only."""

    name: str = ""
    """What reports call the network."""

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise TypeError(
                f"`module` must be a torch.nn.Module; got {type(self.module).__name__}. "
                "Weights alone (a state dict) are loaded into a module first."
            )
        for name, module in self.module.named_modules():
            if module.training:
                part = f"part {name!r} of it" if name else "it"
                raise ValueError(
                    f"`module` must be in evaluation mode, but {part} is in training mode, where dropout and batch "
                    "normalisation change the answers; call `module.eval()` first."
                )
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"`bounds` must be (low, high) with low < high; got ({low:g}, {high:g}).")
        if not self.name:
            object.__setattr__(self, "name", type(self.module).__name__)

    @property
    def device(self) -> torch.device:
        """Where the weights are; inputs are brought there."""
        return next((tensor.device for tensor in self.module.state_dict().values()), torch.device("cpu"))

    def __call__(self, inputs: Inputs) -> Logits:
        """The logits of a batch in input space; gradients flow."""
        inputs = inputs.to(self.device)
        return _logits(self.module(self.preprocess(inputs) if self.preprocess else inputs))

    def watch(self, inputs: Inputs, layers: Sequence[str], keep: Keep) -> Logits:
        """One forward pass that hands what each of `layers` puts out to `keep`, at that moment.

        Gradients flow unless the caller is inside `torch.no_grad()`: recording and attacking share this pass.

        Args:
            inputs: a batch in input space.
            layers: names as in `trace`: a submodule's dotted name, with `#k` for one call of several.
            keep: receives name and output; what it stores must be its own (a reduction, or a clone).

        Raises:
            ValueError: if a layer never runs, or runs more than once and no call was named.
            TypeError: if a layer puts out something that holds no tensor.
        """
        counts: dict[str, int] = {}
        modules = list(dict.fromkeys(name.partition("#")[0] for name in layers))
        wanted = set(layers)

        def seen(name: str, output: Any) -> None:
            call = counts[name] = counts.get(name, -1) + 1
            for key in ({name} if call == 0 else set()) | {f"{name}#{call}"}:
                if key in wanted:
                    keep(key, first_tensor(output, name))

        with _hooked(self.module, modules, seen):
            logits = self(inputs)
        for layer in layers:
            name, _, index = layer.partition("#")
            calls = counts.get(name, -1) + 1
            if calls == 0:
                raise ValueError(f"Layer {name!r} never ran in the forward pass; leave it out of `layers`.")
            if not index and calls > 1:
                raise ValueError(
                    f"Layer {name!r} runs {calls} times in one forward pass; say which call: "
                    f"{', '.join(f'{name}#{call}' for call in range(calls))}."
                )
            if index and int(index) >= calls:
                raise ValueError(f"Layer {name!r} runs {calls} times, so {layer!r} never comes; calls count from 0.")
        return logits

    def trace(self, inputs: Inputs) -> tuple[list[Call], Logits]:
        """Every call of every submodule in the order in which the calls end, and the logits."""
        calls: list[tuple[str, tuple[int, ...]]] = []

        def seen(name: str, output: Any) -> None:
            try:
                calls.append((name, tuple(first_tensor(output, name).shape)))
            except TypeError:
                calls.append((name, ()))

        modules = dict(self.module.named_modules())
        with torch.no_grad(), _hooked(self.module, [name for name in modules if name], seen):
            logits = self(inputs)
        total: dict[str, int] = {}
        for name, _ in calls:
            total[name] = total.get(name, 0) + 1
        count: dict[str, int] = {}
        traced = []
        for name, shape in calls:
            call = count[name] = count.get(name, -1) + 1
            traced.append(Call(f"{name}#{call}" if total[name] > 1 else name, modules[name], shape))
        return traced, logits

    def untrained(self, seed: int) -> "Network":
        """The same architecture with fresh weights: the null model of everything that training could have done.

        Every submodule that has `reset_parameters` draws its weights anew (batch normalisation's running statistics
        go back to 0 and 1). Parameters that no such method owns keep their values in a shuffled order, with a warning.
        """
        try:
            module = copy.deepcopy(self.module).cpu()
        except RuntimeError as error:
            raise ValueError(
                f"The untrained null of '{self.name}' can't be made, since its module can't be copied ({error}); "
                "do without it (`untrained=0`), or remove reparametrisations such as weight_norm."
            ) from error
        before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(UNTRAINED_SEED + seed)
            for part in module.modules():
                reset = getattr(part, "reset_parameters", None)
                if callable(reset):
                    reset()
            left = {
                name: parameter
                for name, parameter in module.named_parameters()
                if parameter.equal(before[name]) and bool((parameter != parameter.flatten()[0]).any())
            }
            for parameter in left.values():
                order = torch.randperm(parameter.numel())
                parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))
        if left:
            warnings.warn(
                f"The untrained null of '{self.name}' shuffles the entries of {', '.join(left)}: "
                "no `reset_parameters` method draws them anew.",
                stacklevel=2,
            )
        return replace(self, module=module.to(self.device), name=f"{self.name}, untrained")

    def fingerprint(self) -> str:
        """SHA-256 over weights, buffers, architecture, bounds, and the source of what computes.

        Source is that of each `forward` and of the preprocessing, with the values that it is bound to (closures,
        `functools.partial`). What these call in turn is not looked into.
        """
        parts = [_module_text(self.module), str(self.bounds)]
        if isinstance(self.preprocess, nn.Module):
            parts.append(_module_text(self.preprocess))
        elif self.preprocess is not None:
            parts.append(_function_text(self.preprocess))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _module_text(module: nn.Module) -> str:
    """Weights, buffers, layout and source of a module."""
    tensors = dict(module.named_parameters()) | {f"buffer:{name}": buffer for name, buffer in module.named_buffers()}
    kinds = sorted({type(part) for part in module.modules()}, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
    own = [_function_text(kind.forward) for kind in kinds if not kind.__module__.startswith("torch.")]
    return "\n".join([tensors_digest(tensors), str(module), *own])


def _function_text(function: Any) -> str:
    """Source of a callable, and what it is bound to."""
    if isinstance(function, functools.partial):
        bound = [_value_text(value) for value in (*function.args, *sorted(function.keywords.items()))]
        return "\n".join([_function_text(function.func), *bound])
    closure = [_value_text(cell.cell_contents) for cell in getattr(function, "__closure__", None) or ()]
    return "\n".join([_source(function), *closure])


def _source(function: Any) -> str:
    """Source of a function, or of an object's class; its byte code where no file holds it."""
    try:
        return inspect.getsource(function if hasattr(function, "__code__") else type(function))
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        if code is None:
            return f"{type(function).__module__}.{type(function).__qualname__}"
        return f"{code.co_code!r}{code.co_names}{[value for value in code.co_consts if not hasattr(value, 'co_code')]}"


def _value_text(value: Any) -> str:
    """A bound value as text that is the same in another process."""
    if isinstance(value, Tensor):
        return tensors_digest({"value": value})
    if isinstance(value, nn.Module):
        return _module_text(value)
    text = repr(value)
    return _source(value) if callable(value) or " at 0x" in text else text


def first_tensor(output: Any, name: str) -> Tensor:
    """What a layer says: its output, or the first tensor in it where it puts out a tuple, a list or a mapping.

    Raises:
        TypeError: if there is none.
    """
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else ()
    for part in parts:
        if isinstance(part, Tensor):
            return part
    raise TypeError(
        f"Layer {name!r} puts out {type(output).__name__}, which holds no tensor; leave it out of `layers`."
    )


def _logits(output: Any) -> Logits:
    found = output
    if isinstance(output, Mapping):
        found = output.get("logits")
    elif not isinstance(output, Tensor):
        found = getattr(output, "logits", output[0] if isinstance(output, (tuple, list)) and output else None)
    if not isinstance(found, Tensor) or found.ndim != 2:
        shape = f" of shape {tuple(found.shape)}" if isinstance(found, Tensor) else ""
        raise TypeError(
            "`module` must return logits of shape (samples, classes), or a dict, a tuple or an object that holds them "
            f"as `logits`; it returned {type(output).__name__}{shape}. Wrap it in a module that does."
        )
    return found


@contextmanager
def _hooked(module: nn.Module, names: Sequence[str], seen: Callable[[str, Any], None]) -> Iterator[None]:
    """Call `seen` with name and output after each run of the submodules `names`; no hook outlives the block."""

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def observe(_module: nn.Module, _inputs: object, output: object) -> None:
            seen(name, output)

        return observe

    handles: list[RemovableHandle] = []
    try:
        for name in names:
            handles.append(module.get_submodule(name).register_forward_hook(hook(name)))  # noqa: PERF401 - see finally
        yield
    finally:
        for handle in handles:
            handle.remove()


def load_network(source: "str | nn.Module | Network") -> Network:
    """A network from a spec, a module, or a network.

    Args:
        source: `py:package.module:factory`, where calling the factory gives a `Network` or a module in evaluation
            mode (the working folder counts as importable); or such an object itself.

    Raises:
        ValueError: if the spec can't be read or the module is in training mode.
        TypeError: if the factory gives something else.
    """
    made = call_factory(source, "network") if isinstance(source, str) else source
    if isinstance(made, Network):
        return made
    if isinstance(made, nn.Module):
        return Network(made)
    raise TypeError(f"A network must be a layerscope.Network or a torch.nn.Module; got {type(made).__name__}.")


def call_factory(spec: str, kind: str) -> Any:
    """What the factory behind `py:package.module:factory` makes.

    Raises:
        ValueError: if the spec has another form, or names a module or factory that isn't there.
    """
    scheme, _, rest = spec.partition(":")
    module_name, _, factory_name = rest.partition(":")
    if scheme != "py" or not module_name or not factory_name:
        raise ValueError(f"The {kind} spec {spec!r} can't be read; write `py:package.module:factory`.")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"The {kind} spec {spec!r} names a module that can't be imported ({error}); "
            "run from the folder that holds it, or install it."
        ) from error
    finally:
        sys.path.remove(folder)
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        raise ValueError(f"The {kind} spec {spec!r}: module {module_name!r} has no function {factory_name!r}.")
    return factory()
