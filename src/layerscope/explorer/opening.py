"""The explorer, wherever Python runs: a widget in a notebook, else a page of the browser."""

import sys
import webbrowser
from importlib import import_module
from typing import Any

from rich.console import Console

from layerscope.explorer.bundle import bundle
from layerscope.explorer.run import Run


def explore(
    run: Run, *, max_samples: int | None = None, max_mb: float | None = None, show_progress: bool = True
) -> Any:
    """Look at a run: in a notebook a widget, to be the last line of a cell; else in a browser, until Ctrl-C.

    Args:
        run: a finished one.
        max_samples: the most samples to show; see `bundle`.
        max_mb: the most that may be sent, in millions of bytes; see `bundle`.
        show_progress: whether to draw a progress bar.

    Returns:
        In a notebook an `Explorer`; else nothing, after the server has ended.

    Raises:
        ImportError: in a notebook without anywidget; says the pip line.
        ValueError: see `bundle`.
    """
    # either is loaded where it is used: who opens no explorer waits for no web server and needs no widgets
    door = import_module(f"layerscope.explorer.{'widget' if in_notebook() else 'server'}")
    made = bundle(run, max_samples=max_samples, max_mb=max_mb, show_progress=show_progress)
    if in_notebook():
        return door.Explorer(made)
    with door.Server(made, port=0) as server:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(
            f"The explorer of {run.folder.name}: {server.address} (Ctrl-C ends it)"
        )
        webbrowser.open(server.address)
        try:
            server.wait()
        except KeyboardInterrupt:
            return None
    return None


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this, and not a script, a terminal or IPython."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
