"""A run as something to be looked at: a bundle of small files, which a page reads and knows nothing else."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerscope.explorer.bundle import Bundle as Bundle
from layerscope.explorer.bundle import bundle as bundle
from layerscope.explorer.bundle import load_bundle as load_bundle
from layerscope.explorer.commands import run_again as run_again
from layerscope.explorer.opening import explore as explore
from layerscope.explorer.page import Inlined as Inlined
from layerscope.explorer.page import inline as inline
from layerscope.explorer.run import Run as Run

if TYPE_CHECKING:
    from layerscope.explorer.widget import Explorer as Explorer


def __getattr__(name: str) -> Any:
    """`Explorer` is loaded when it is asked for: it needs anywidget, and nothing else here does."""
    if name != "Explorer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.widget").Explorer


def __dir__() -> list[str]:
    return sorted({*globals(), "Explorer"})
