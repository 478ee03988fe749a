"""What a network is, as text that is the same in another process and another when anything that computes is another."""

import functools
import inspect
from typing import Any

from torch import Tensor, nn

from layerscope.store import tensors_digest


def module_text(module: nn.Module) -> str:
    """Weights, buffers, layout and source of a module."""
    tensors = dict(module.named_parameters()) | {f"buffer:{name}": buffer for name, buffer in module.named_buffers()}
    kinds = sorted({type(part) for part in module.modules()}, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
    own = [callable_text(kind.forward) for kind in kinds if not kind.__module__.startswith("torch.")]
    return "\n".join([tensors_digest(tensors), str(module), *own])


def callable_text(function: Any) -> str:
    """Source of a callable, and what it is bound to: closures, arguments, the attributes of its object."""
    if isinstance(function, nn.Module):
        return module_text(function)
    if isinstance(function, functools.partial):
        bound = [_value_text(value) for value in (*function.args, *sorted(function.keywords.items()))]
        return "\n".join([callable_text(function.func), *bound])
    closure = [_value_text(cell.cell_contents) for cell in getattr(function, "__closure__", None) or ()]
    owner = getattr(function, "__self__", None) if hasattr(function, "__code__") else function
    return "\n".join([_source(function), *closure, *_attributes(owner)])


def _attributes(owner: Any) -> list[str]:
    """What an object holds, by name; nothing of what has no attributes."""
    if isinstance(owner, nn.Module):
        return [module_text(owner)]
    return [f"{name}={_value_text(value)}" for name, value in sorted(getattr(owner, "__dict__", {}).items())]


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
        return module_text(value)
    text = repr(value)
    return _source(value) if callable(value) or " at 0x" in text else text
