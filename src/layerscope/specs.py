"""Words that name networks and data: `scheme:place`."""

import importlib
import sys
from pathlib import Path
from typing import Any

OBJECT = "an object ("
"""What a study writes of a network, or of data, that had no spec begins so."""


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


def imported(name: str, spec: str, extra: str) -> Any:
    """The optional library `name` that a spec needs.

    Raises:
        ImportError: if it isn't installed; says the pip line.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != name.partition(".")[0]:
            raise
        raise ImportError(
            f"The spec {spec!r} needs {name}, which is not installed: pip install 'layerscope[{extra}]'"
        ) from error
