"""What a network is, as text: the same in another process, another when anything that computes is another."""

import dataclasses
import functools
import hashlib
import inspect
import types
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from layerscope.store import tensors_digest

OWN = frozenset(vars(nn.Module())) | {"name_or_path"}
"""Attributes that every module has, and where transformers found one: the same network may lie elsewhere."""
HOOKS = ("_forward_pre_hooks", "_forward_hooks")
PLAIN = (str, bytes, int, float, complex, bool, type(None), PurePath, torch.dtype, torch.device, slice, range)


def module_text(module: nn.Module) -> str:
    """Weights, buffers, layout, attributes and source of a module and its parts, and hooks that may change values."""
    return _module_text(module, frozenset())


def callable_text(function: Any) -> str:
    """Source of a callable, and what it is bound to.

    Defaults, closures, arguments, attributes of its object, and the values and functions of its own module that it
    names; not what other modules' functions do.
    """
    return _callable_text(function, frozenset())


def _module_text(module: nn.Module, seen: frozenset[int]) -> str:
    tensors = dict(module.named_parameters()) | {f"buffer:{name}": buffer for name, buffer in module.named_buffers()}
    kinds = sorted({type(part) for part in module.modules()}, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
    own = [_callable_text(kind.forward, seen) for kind in kinds if not kind.__module__.startswith("torch.")]
    held = [f"{name}: {text}" for name, part in module.named_modules() if (text := _held_text(part, seen))]
    return "\n".join([tensors_digest(tensors), str(module), *own, *held])


def _held_text(part: nn.Module, seen: frozenset[int]) -> str:
    """What a module holds besides parts and tensors: what its `__init__` was told, and hooks."""
    own = {name: value for name, value in vars(part).items() if name not in OWN and not name.startswith("_")}
    texts = [f"{name}={_value_text(value, seen | {id(part)})}" for name, value in sorted(own.items())]
    texts += [_callable_text(hook, seen | {id(part)}) for name in HOOKS for hook in getattr(part, name).values()]
    return "; ".join(texts)


def _callable_text(function: Any, seen: frozenset[int]) -> str:
    if id(function) in seen:
        return "itself"
    seen = seen | {id(function)}
    if isinstance(function, nn.Module):
        return _module_text(function, seen)
    if isinstance(function, functools.partial):
        bound = _value_text([function.args, function.keywords], seen)
        return f"{_callable_text(function.func, seen)}\n{bound}"
    code = getattr(function, "__code__", None)
    owner = getattr(function, "__self__", None) if code else function
    parts = [_source(function)]
    if code:
        parts += [_value_text([function.__defaults__, function.__kwdefaults__], seen)]
        parts += [_cell_text(cell, seen) for cell in function.__closure__ or ()]
        parts += _named_text(getattr(function, "__func__", function), seen)
    if owner is not None and not isinstance(owner, (type, types.ModuleType)):
        parts.append(_object_text(owner, seen))
    return "\n".join(parts)


def _cell_text(cell: Any, seen: frozenset[int]) -> str:
    try:
        return _value_text(cell.cell_contents, seen)
    except ValueError:  # the name is bound later
        return "unbound"


def _named_text(function: Any, seen: frozenset[int]) -> list[str]:
    """The values and functions of its own module that a function names; not its lists and mappings, which grow."""
    texts = []
    for name in sorted(set(function.__code__.co_names)):
        value = function.__globals__.get(name)
        own = isinstance(value, types.FunctionType) and value.__module__ == function.__module__
        if own or isinstance(value, (*PLAIN[:6], tuple, Tensor, np.ndarray)):
            texts.append(f"{name}={_value_text(value, seen)}")
    return texts


def _value_text(value: Any, seen: frozenset[int]) -> str:
    """Any value, by what it says; never by where it lies in memory."""
    if isinstance(value, Tensor):
        return tensors_digest({"value": value})
    if isinstance(value, np.ndarray):
        content = value.tobytes() if value.dtype != object else _value_text(value.tolist(), seen).encode()
        return f"{value.dtype}{value.shape}{hashlib.sha256(content).hexdigest()}"
    if isinstance(value, PLAIN):
        return repr(value)
    if id(value) in seen:
        return "itself"
    inside = seen | {id(value)}
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{key!r}: {_value_text(one, inside)}' for key, one in value.items()))}}}"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(_value_text(one, inside) for one in value))}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__qualname__}[{', '.join(_value_text(one, inside) for one in value)}]"
    if isinstance(value, (type, types.ModuleType)):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
    return _callable_text(value, seen) if callable(value) else _object_text(value, inside)


def _object_text(value: Any, seen: frozenset[int]) -> str:
    """An object by its class and what it holds: the fields that a dataclass compares by, or its public attributes."""
    if isinstance(value, nn.Module):
        return _module_text(value, seen | {id(value)})
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if dataclasses.is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare}
    else:
        held = {name: one for name, one in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    return f"{kind}({', '.join(f'{name}={_value_text(one, seen)}' for name, one in sorted(held.items()))})"


def _source(function: Any) -> str:
    """Source of a function, or of an object's class; its byte code where no file holds it."""
    try:
        return inspect.getsource(function if hasattr(function, "__code__") else type(function))
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        if code is None:
            kind = function if hasattr(function, "__qualname__") else type(function)
            return f"{kind.__module__}.{kind.__qualname__}"
        return f"{code.co_code!r}{code.co_names}{[value for value in code.co_consts if not hasattr(value, 'co_code')]}"
