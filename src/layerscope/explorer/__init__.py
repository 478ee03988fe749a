"""A run as something to be looked at: a bundle of small files, which a page reads and knows nothing else."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerscope.explorer.address import HOST as HOST
from layerscope.explorer.address import PORT as PORT
from layerscope.explorer.bundle import Bundle as Bundle
from layerscope.explorer.bundle import bundle as bundle
from layerscope.explorer.bundle import load_bundle as load_bundle
from layerscope.explorer.opening import explore as explore
from layerscope.explorer.page import Inlined as Inlined
from layerscope.explorer.page import inline as inline
from layerscope.explorer.run import Run as Run

if TYPE_CHECKING:
    from layerscope.explorer.viewing import view as view
    from layerscope.explorer.widget import Explorer as Explorer

LATER = {"view": "viewing", "Explorer": "widget"}
"""By name, the module that it is in. Loaded when asked for: most need no web server, and anywidget may not be there."""


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *LATER})
