"""A finished run in the browser: its bundle and, where its network can be loaded, a probe; until interrupted."""

import webbrowser

from rich.console import Console
from torch import nn

from layerscope.errors import LayerscopeError
from layerscope.explorer.address import HOST, PORT
from layerscope.explorer.bundle import bundle
from layerscope.explorer.probe import Probe, probe_of
from layerscope.explorer.run import Run
from layerscope.explorer.server import Server, listen
from layerscope.network import Network

LACKING = (
    "Inputs of your own can't be sent to this network: it could not be loaded here. To try them, end the server and "
    "start it again with `layerscope view RUN --model SPEC`, or with `run.explore(network=...)`."
)
"""What the page says without a probe; why stands in the terminal, since it may name paths."""


def view(
    run: Run,
    *,
    network: Network | nn.Module | str | None = None,
    host: str = HOST,
    port: int = PORT,
    open_browser: bool = True,
    max_samples: int | None = None,
    max_mb: float | None = None,
    show_progress: bool = True,
) -> None:
    """Serve a run on this machine until the user interrupts.

    Args:
        run: a finished one.
        network: what the run was made of, so that inputs of the reader's own can be sent to it; see `load_network`.
            None loads it from the run's spec; where that fails, the page does without.
        host: `127.0.0.1`, `localhost` or `::1`.
        port: 0 takes one that is free.
        open_browser: whether to open the page there.
        max_samples: the most samples to show; see `bundle`.
        max_mb: the most that may be sent, in millions of bytes; see `bundle`.
        show_progress: whether to draw progress bars, on standard error.

    Raises:
        ValueError: if the host is not loopback, the port is none, or a network is given and can't be probed; and as
            `bundle` does.
        RunMismatchError: if a network is given and the run was made of another.
        AddressError: if the port can't be had.
    """
    plain = Console(soft_wrap=True, highlight=False, markup=False)
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    # first of all: who can't have the port should not learn so after minutes
    with listen(host, port) as listening:
        probe, why = _probe(run, network)
        if why:
            errors.print(f"No probe: {why}")
        shown = bundle(run, max_samples=max_samples, max_mb=max_mb, show_progress=show_progress)
        for note in shown.description["left_out"]:
            errors.print(f"Note: {note}")
        told = "" if probe else LACKING
        with Server(shown, probe=probe, note=told, host=host, listening=listening) as server:
            plain.print(f"Explorer: {server.address} (Ctrl-C ends it)")
            if open_browser:
                webbrowser.open(server.address)
            try:
                server.wait()
            except KeyboardInterrupt:
                plain.print("Ended.")


def _probe(run: Run, network: Network | nn.Module | str | None) -> tuple[Probe | None, str]:
    """The probe, or why there is none."""
    try:
        return probe_of(run, network), ""
    except (LayerscopeError, ValueError, TypeError, ImportError, OSError, RuntimeError) as error:
        if network is not None:
            raise
        return None, str(error)
