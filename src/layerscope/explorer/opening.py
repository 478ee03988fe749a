"""The explorer, wherever Python runs: a widget in a notebook, else a page of the browser."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from torch import nn

from layerscope.explorer.address import PORT
from layerscope.explorer.bundle import bundle
from layerscope.explorer.run import Run
from layerscope.network import Network

if TYPE_CHECKING:
    import layerscope.explorer.widget


def explore(
    run: Run,
    *,
    network: Network | nn.Module | str | None = None,
    port: int = PORT,
    open_browser: bool = True,
    max_samples: int | None = None,
    max_mb: float | None = None,
    show_progress: bool = True,
) -> "layerscope.explorer.widget.Explorer | None":
    """Look at a run: in a notebook a widget, to be the last line of a cell; else in a browser, until Ctrl-C.

    Args:
        run: a finished one.
        network: what the run was made of, so that inputs of the reader's own can be sent to it; see `view`. In a
            notebook none can be sent.
        port: of the page; 0 takes one that is free. A notebook needs none.
        open_browser: whether to open the page. A notebook shows the widget itself.
        max_samples: the most samples to show; see `bundle`.
        max_mb: the most that may be sent, in millions of bytes; see `bundle`.
        show_progress: whether to draw a progress bar.

    Returns:
        In a notebook an `Explorer`; else nothing, after the server has ended.

    Raises:
        ImportError: in a notebook without anywidget; says the pip line.
        ValueError: see `bundle` and `view`.
        AddressError: if the port can't be had.
    """
    # either is loaded where it is used: who opens no explorer waits for no web server and needs no widgets
    if in_notebook():
        widget = import_module("layerscope.explorer.widget")
        shown: layerscope.explorer.widget.Explorer = widget.Explorer(
            bundle(run, max_samples=max_samples, max_mb=max_mb, show_progress=show_progress)
        )
        return shown
    import_module("layerscope.explorer.viewing").view(
        run, network=network, port=port, open_browser=open_browser, max_samples=max_samples, max_mb=max_mb,
        show_progress=show_progress,
    )  # fmt: skip
    return None


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this, and not a script, a terminal or IPython."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
