"""What the explorer's server answers: the page, the package's own files, one bundle's files, and probes.

Everything that can be asked for is held by name before the first request, so that no address leads to a file system.
Pages of other sites reach a server on loopback, too: by their own name, once that points to 127.0.0.1 (DNS rebinding),
or by sending a form there. So `Host` must be the server's own address, and `Origin` the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from layerscope.errors import ProbeError
from layerscope.explorer.assemble import entries, static
from layerscope.explorer.bundle import Bundle
from layerscope.explorer.page import SERVED, shell

MOST_BYTES = 20_000_000
"""Of an upload."""
MOST_CHARACTERS = 20_000
"""Of a text."""
UTF8_BYTES = 4
"""The most that a character takes."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer."""
TYPES = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "bin": "application/octet-stream",
}
"""By the end of a file's name."""


@runtime_checkable
class Prober(Protocol):
    """What answers probes."""

    def image(self, content: bytes) -> dict[str, Any]:
        """What the network makes of an image file; raises ProbeError."""
        ...

    def text(self, text: str) -> dict[str, Any]:
        """What the network makes of a text; raises ProbeError."""
        ...


def application(bundle: Bundle, hosts: Iterable[str], *, probe: Prober | None = None, note: str = "") -> ASGIApp:
    """The server's answers, as an ASGI application.

    Args:
        bundle: what is shown.
        hosts: the server's own addresses, as `127.0.0.1:8377`: what a request may name as its host.
        probe: answers probes; none where there is no network.
        note: what the page tells the reader, as text.
    """
    page = shell(str(bundle.description.get("title", "")), probe=probe is not None, note=note)
    own = {name: text.encode() for name, text in static().items()} | {SERVED: entries()[SERVED].encode()}

    async def home(_: Request) -> Response:
        return HTMLResponse(page)

    routes = [
        Route("/", home),
        Route("/static/{name:path}", _files(own)),
        Route("/bundle/{name:path}", _files(bundle.files)),
        Route("/probe", _probed(probe), methods=["POST"]),
    ]
    handlers = {HTTPException: _refused, Exception: _failed}
    answers = Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]
    answers.router.redirect_slashes = False
    return Guard(answers, frozenset(host.lower() for host in hosts))


class Guard:
    """Lets requests through that name the server's own address, and puts the headers on every answer."""

    def __init__(self, answers: ASGIApp, hosts: frozenset[str]) -> None:
        """`hosts` are in lower case."""
        self._answers, self._hosts = answers, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        hosts = [host.lower() for host in headers.getlist("host")]
        own = len(hosts) == 1 and hosts[0] in self._hosts
        if own and all(origin.lower() == f"http://{hosts[0]}" for origin in headers.getlist("origin")):
            await self._answers(scope, receive, sent)
        else:
            told = f"This server answers its own page alone, at {' or '.join(sorted(self._hosts))}."
            await JSONResponse({"error": told}, 403)(scope, receive, sent)


def _files(files: Mapping[str, bytes]) -> Callable[[Request], Awaitable[Response]]:
    """Answers with the file of the name in the address, of these alone."""

    async def answer(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise HTTPException(404, "There is no such file.")
        return Response(files[name], headers={"Content-Type": TYPES.get(name.rpartition(".")[2], TYPES["bin"])})

    return answer


def _probed(probe: Prober | None) -> Callable[[Request], Awaitable[Response]]:
    """Answers with what the network makes of an upload, one at a time."""
    alone = asyncio.Lock()

    async def answer(request: Request) -> Response:
        if probe is None:
            raise HTTPException(404, "There is no network here to probe.")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/octet-stream":
            content = await _body(request, MOST_BYTES, f"An image file may have {MOST_BYTES:,} bytes at most.")
            asked = partial(probe.image, content)
        elif kind == "text/plain":
            asked = partial(probe.text, await _text(request))
        else:
            raise HTTPException(415, "Send an image file as application/octet-stream, or a text as text/plain.")
        async with alone:
            try:
                return JSONResponse(await run_in_threadpool(asked))
            except ProbeError as error:
                raise HTTPException(400, str(error)) from error

    return answer


async def _text(request: Request) -> str:
    """A body that is a text."""
    told = f"A text may have {MOST_CHARACTERS:,} characters at most."
    content = await _body(request, MOST_CHARACTERS * UTF8_BYTES, told)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise HTTPException(400, "A text must be encoded as UTF-8.") from error
    if len(text) > MOST_CHARACTERS:
        raise HTTPException(413, told)
    return text


async def _body(request: Request, most: int, told: str) -> bytes:
    """A body of at most so many bytes: what is too long is not waited for, and not held."""
    content = bytearray()
    try:
        async for part in request.stream():
            content += part
            if len(content) > most:
                raise HTTPException(413, told)
    except ClientDisconnect as error:
        raise HTTPException(400, "It ended before its end.") from error
    if not content:
        raise HTTPException(400, "There is nothing in it.")
    return bytes(content)


async def _refused(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _failed(_: Request, __: Exception) -> Response:
    """The traceback goes to the terminal alone: it may name paths."""
    told = "The network fails on this input; the terminal in which the server runs says why."
    return JSONResponse({"error": told}, 500)
