"""The explorer's server: on loopback, for as long as a `with` block lasts."""

import os
import socket
from threading import Event, Thread
from types import TracebackType

import uvicorn

from layerscope.errors import AddressError
from layerscope.explorer.address import BOUND, HOST, PORT, named, own_hosts
from layerscope.explorer.application import Prober, application
from layerscope.explorer.bundle import Bundle

GRACE = 2
"""Seconds that answers under way get when the server ends."""


def listen(host: str = HOST, port: int = PORT) -> socket.socket:
    """The socket of an address, so that requests are held from now on.

    Args:
        host: `127.0.0.1`, `localhost` or `::1`.
        port: 0 takes one that is free.

    Raises:
        ValueError: if the host is not loopback, or the port is none.
        AddressError: if the port can't be had.
    """
    if host not in BOUND:
        raise ValueError(
            f"`host` must be {', '.join(BOUND)}, so that only this machine reaches the run; got {host!r}. From "
            f"another machine, forward the port: ssh -L {port}:{HOST}:{port} THIS-MACHINE."
        )
    if not 0 <= port < 2**16:
        raise ValueError(f"`port` must lie from 0 to {2**16 - 1}; got {port}.")
    try:
        return socket.create_server((BOUND[host], port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise AddressError(
            f"Port {port} of {host} can't be opened ({os.strerror(error.errno or 0)}); perhaps another explorer is "
            "running there. Choose another port with `--port`, or let `--port 0` pick a free one."
        ) from error


class Server:
    """Serves one bundle from entering a `with` block to leaving it, in a thread of its own."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        probe: Prober | None = None,
        note: str = "",
        host: str = HOST,
        port: int = PORT,
        listening: socket.socket | None = None,
    ) -> None:
        """What is to be served, and where.

        Args:
            bundle: what is shown.
            probe: answers probes; none where there is no network.
            note: what the page tells the reader, as text.
            host: `127.0.0.1`, `localhost` or `::1`.
            port: 0 takes one that is free.
            listening: the socket of that host, from `listen`; by default the block opens one.
        """
        self._bundle, self._probe, self._note = bundle, probe, note
        self._host, self._port, self._socket = host, port, listening

    @property
    def address(self) -> str:
        """Of the page; inside the `with` block the port is the one that was taken."""
        return f"http://{named(self._host)}:{self._port}/"

    def __enter__(self) -> "Server":  # noqa: PYI034 - the run-time shape checks know no Self
        """Begin to serve.

        Raises:
            ValueError: if the host is not loopback, or the port is none.
            AddressError: if the port can't be had.
        """
        listening = listen(self._host, self._port) if self._socket is None else self._socket
        self._port = listening.getsockname()[1]
        config = uvicorn.Config(
            application(self._bundle, own_hosts(self._port), probe=self._probe, note=self._note),
            http="h11", ws="none", lifespan="off", loop="asyncio", log_config=None, log_level="warning",
            access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=GRACE,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._ended = Event()
        self._thread = Thread(target=self._serve, args=(listening,), daemon=True)
        self._thread.start()
        return self

    def _serve(self, listening: socket.socket) -> None:
        try:
            self._server.run([listening])
        finally:
            self._ended.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, after the answers under way."""
        self._server.should_exit = True
        self._thread.join()

    def wait(self) -> None:
        """Until the server ends by itself, which it does not, or the user interrupts."""
        # not by joining: Python 3.11 takes a thread for ended when the interrupt comes while it is joined, and would go
        # away from under it
        while not self._ended.wait(1):
            pass
