"""The explorer's server, as browsers and as ill-meaning pages meet it."""

import asyncio
import json
import logging
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
from browsing import browser, needs_browser, shown
from explorer_front import FILES, HOSTILE, SHOWN, front_bundle
from forks import ended, in_a_fork

from layerscope.errors import AddressError, ProbeError
from layerscope.explorer import assemble
from layerscope.explorer.address import own_hosts
from layerscope.explorer.application import MOST_BYTES, MOST_CHARACTERS, application
from layerscope.explorer.server import Server


class Answering:
    """Answers probes with what it was given."""

    def __init__(self):
        self.together, self.most = 0, 0

    def image(self, content):
        return {"bytes": len(content)}

    def text(self, text):
        if text == "refuse":
            raise ProbeError("Texts that say so are refused.")
        if text == "fail":
            raise OSError("/home/someone/secret.pt is broken")
        self.together += 1
        self.most = max(self.most, self.together)
        time.sleep(0.05)
        self.together -= 1
        return {"text": text}


@pytest.fixture(scope="module")
def front():
    """The small front end in the place of the package's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            assemble, "_texts", lambda folder, real=assemble._texts: FILES if folder == "static" else real(folder)
        )
        yield


@pytest.fixture(scope="module")
def answering():
    return Answering()


@pytest.fixture(scope="module")
def server(front, answering):
    with Server(front_bundle(), probe=answering, port=0) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.address) as client:
        yield client


def port_of(server):
    return httpx.URL(server.address).port


def raw(server, *lines, body=b""):
    """The status of what the server answers to these lines, word for word, and the rest."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as asking:
        asking.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
        answer = b"".join(iter(lambda: asking.recv(65536), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), content


def test_the_page_asks_for_scripts_and_style_by_address(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert '<div id="explorer" data-probe></div>' in page.text
    assert client.get("/static/served.js").text.startswith(
        "// @ts-check\n/** Begins the explorer in the page of a server"
    )


@pytest.mark.parametrize(
    ("name", "kind"), [("main.js", "text/javascript; charset=utf-8"), ("style.css", "text/css; charset=utf-8")]
)
def test_the_package_s_files_are_served_as_they_are(client, name, kind):
    answer = client.get(f"/static/{name}")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, FILES[name], kind)


def test_the_bundle_s_files_are_served_as_they_are(client):
    kinds = {"json": "application/json", "bin": "application/octet-stream", "png": "image/png"}
    for name, content in front_bundle().files.items():
        answer = client.get(f"/bundle/{name}")
        assert (answer.status_code, answer.content) == (200, content), name
        assert answer.headers["content-type"] == kinds[name.rpartition(".")[2]]


@pytest.mark.parametrize(
    "path", ["/", "/static/main.js", "/bundle/bundle.json", "/nothing", "/static/../pyproject.toml"]
)
def test_every_answer_has_the_headers_that_shut_others_out(client, path):
    headers = client.get(path).headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' blob: data:",
        "connect-src": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'", "form-action": "'none'",
    }  # fmt: skip
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert not {"server", "access-control-allow-origin", "set-cookie"} & set(headers)


@pytest.mark.parametrize(
    "path",
    [
        "/bundle/../../../../../../etc/passwd", "/bundle/..%2f..%2f..%2fetc/passwd", "/bundle/%2e%2e/%2e%2e/etc/passwd",
        "/bundle/%252e%252e%252fetc%252fpasswd", "/bundle//etc/passwd", "/bundle/%2Fetc%2Fpasswd",
        "/bundle/..\\..\\etc\\passwd", "/bundle/bundle.json%00.png", "/bundle/./bundle.json", "/bundle/", "/bundle",
        "/static/../page.py", "/static/%2e%2e/page.py", "/static/..%5cpage.py", "/static/entries/served.js", "/static",
        "/static/inline.js", "/study.json", "/bundle/arrays/../bundle.json", "//bundle/bundle.json", "/bundle/BUNDLE",
    ],
)  # fmt: skip
def test_nothing_else_is_served_whatever_the_path_says(server, path):
    status, head, content = raw(server, f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port_of(server)}")
    assert status == 404, path
    assert b"root:" not in content
    assert json.loads(content)["error"] in ("There is no such file.", "Not Found")
    assert "Location" not in head


@pytest.mark.parametrize(
    "headers",
    [
        ["Host: evil.example"],
        ["Host: evil.example:{port}"],
        ["Host: 127.0.0.1"],
        ["Host: 127.0.0.1:1"],
        ["Host: 127.0.0.1:{port}.evil.example"],
        ["Host: 127.0.0.2:{port}"],
        ["Host: 0.0.0.0:{port}"],
        ["Host: localhost.evil.example:{port}"],
        ["Host: "],
        ["Host: 127.0.0.1:{port}", "Origin: http://evil.example"],
        ["Host: 127.0.0.1:{port}", "Origin: null"],
        ["Host: 127.0.0.1:{port}", "Origin: https://127.0.0.1:{port}"],
        ["Host: 127.0.0.1:{port}", "Origin: http://127.0.0.1:1"],
        ["Host: 127.0.0.1:{port}", "Origin: http://localhost:{port}"],
        ["Host: 127.0.0.1:{port}", "Origin: http://127.0.0.1:{port}", "Origin: http://evil.example"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("path", ["GET /bundle/bundle.json", "POST /probe"])
def test_another_host_or_origin_is_refused(server, headers, path):
    lines = [line.format(port=port_of(server)) for line in headers]
    status, head, content = raw(
        server, f"{path} HTTP/1.1", *lines, "Content-Type: text/plain", "Content-Length: 1", body=b"x"
    )
    assert status == 403
    assert json.loads(content)["error"].startswith("This server answers its own page alone, at 127.0.0.1:")
    assert "cross-origin-resource-policy: same-origin" in head


def test_two_hosts_or_none_are_no_host(server):
    own = f"Host: 127.0.0.1:{port_of(server)}"
    for hosts in ([], [own, "Host: evil.example"]):
        assert raw(server, "GET /bundle/bundle.json HTTP/1.1", *hosts)[0] in (400, 403)
    assert raw(server, "GET / HTTP/1.0")[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_server_s_own_names_are_answered(server, host):
    own = f"{host}:{port_of(server)}"
    lines = [f"Host: {own}", f"Origin: http://{own}", "Content-Type: text/plain", "Content-Length: 2"]
    status, _, content = raw(server, "POST /probe HTTP/1.1", *lines, body=b"hi")
    assert (status, json.loads(content)) == (200, {"text": "hi"})


def test_browsers_leave_the_usual_port_out():
    assert own_hosts(80) == ("127.0.0.1", "localhost", "[::1]")
    assert own_hosts(8377) == ("127.0.0.1:8377", "localhost:8377", "[::1]:8377")


def sent(client, content, kind="text/plain"):
    answer = client.post("/probe", content=content, headers={"Content-Type": kind})
    return answer.status_code, answer.json()


def test_images_and_texts_reach_the_probe_as_they_were_sent(client):
    assert sent(client, b"x" * 1000, "application/octet-stream") == (200, {"bytes": 1000})
    assert sent(client, "é\u2028".encode(), "Text/Plain; charset=utf-8") == (200, {"text": "é\u2028"})
    assert sent(client, "é".encode() * MOST_CHARACTERS)[0] == 200
    assert sent(client, b"x" * MOST_BYTES, "application/octet-stream") == (200, {"bytes": MOST_BYTES})


@pytest.mark.parametrize(
    ("content", "kind", "status", "told"),
    [
        (b"", "text/plain", 400, "There is nothing in it."),
        (b"\xff\xfe", "text/plain", 400, "A text must be encoded as UTF-8."),
        (b"x" * 20_001, "text/plain", 413, "A text may have 20,000 characters at most."),
        (b"x" * 80_001, "text/plain", 413, "A text may have 20,000 characters at most."),
        (b"x" * 20_000_001, "application/octet-stream", 413, "An image file may have 20,000,000 bytes at most."),
        (b"x", "image/png", 415, "Send an image file as application/octet-stream, or a text as text/plain."),
        (b"x", "multipart/form-data", 415, "Send an image file as application/octet-stream, or a text as text/plain."),
        (b"refuse", "text/plain", 400, "Texts that say so are refused."),
    ],
)
def test_what_can_not_be_probed_is_told_as_json(client, content, kind, status, told):
    assert sent(client, content, kind) == (status, {"error": told})


def test_an_upload_that_has_no_end_is_not_waited_for(server):
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as asking:
        own = f"Host: 127.0.0.1:{port_of(server)}"
        head = ["POST /probe HTTP/1.1", own, "Content-Type: text/plain", "Transfer-Encoding: chunked", "", ""]
        asking.sendall("\r\n".join(head).encode())
        asking.sendall(b"14000\r\n" + b"x" * 0x14000 + b"\r\n")  # 81,920 bytes, and no last chunk
        assert asking.recv(65536).startswith(b"HTTP/1.1 413")


@pytest.mark.usefixtures("front")
def test_an_upload_that_breaks_off_is_not_probed():
    """Whoever broke off reads no answer: it is the application's own."""
    given, said = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}], []
    scope = {
        "type": "http", "method": "POST", "path": "/probe", "raw_path": b"/probe", "query_string": b"", "root_path": "",
        "scheme": "http", "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1:1"), (b"content-type", b"text/plain")],
    }  # fmt: skip

    async def receive():
        return given.pop(0)

    async def send(message):
        said.append(message)

    asking = Answering()
    asyncio.run(application(front_bundle(), ["127.0.0.1:1"], probe=asking)(scope, receive, send))
    assert said[0]["status"] == 400
    assert json.loads(said[1]["body"]) == {"error": "It ended before its end."}
    assert asking.most == 0


def test_an_upload_that_breaks_off_leaves_no_trace(server, client, caplog):
    with caplog.at_level(logging.WARNING):
        with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as asking:
            own = f"Host: 127.0.0.1:{port_of(server)}"
            asking.sendall(
                f"POST /probe HTTP/1.1\r\n{own}\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nx".encode()
            )
        assert sent(client, b"after") == (200, {"text": "after"})
    assert not caplog.records


def test_a_failure_of_the_network_leaks_nothing(client, caplog):
    with caplog.at_level(logging.ERROR):
        status, told = sent(client, b"fail")
        since = time.monotonic()
        while "secret.pt is broken" not in caplog.text and time.monotonic() - since < 10:
            time.sleep(0.02)  # the terminal is told after the reader
    assert (status, told) == (
        500, {"error": "The network fails on this input; the terminal in which the server runs says why."},
    )  # fmt: skip
    assert "secret.pt is broken" in caplog.text


def test_other_methods_are_refused(client):
    assert client.get("/probe").status_code == 405
    assert client.post("/bundle/bundle.json", content=b"x").json() == {"error": "Method Not Allowed"}
    assert client.options("/probe").status_code == 405


def test_one_probe_is_answered_at_a_time(client, answering):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(sent(client, b"same"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [(200, {"text": "same"})] * 4
    assert answering.most == 1


@needs_browser
def test_a_browser_shows_the_bundle_and_sends_probes(server):
    with browser() as opened, shown(opened, server.address) as page:
        assert json.loads(page.text_content("#explorer")) == SHOWN
        assert page.evaluate("window.hacked") is None
        assert page.get_attribute("#explorer", "data-text") == '{"text":"a text"}'
        assert page.get_attribute("#explorer", "data-image") == '{"bytes":1}'
        assert page.evaluate("getComputedStyle(document.getElementById('explorer')).color") == "rgb(1, 2, 3)"


@needs_browser
@pytest.mark.usefixtures("front")
def test_without_a_network_the_page_says_so_and_sends_none():
    with Server(front_bundle(), note=f"No probe: {HOSTILE}", port=0) as server:
        with browser() as opened, shown(opened, server.address) as page:
            assert page.get_attribute("#explorer", "data-text") is None
            assert page.text_content(".note") == f"No probe: {HOSTILE}"
            assert page.evaluate("window.hacked") is None
        answer = httpx.post(f"{server.address}probe", content=b"x", headers={"Content-Type": "text/plain"})
        assert (answer.status_code, answer.json()) == (404, {"error": "There is no network here to probe."})


@contextmanager
def taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.usefixtures("front")
def test_a_port_in_use_is_told():
    told = (
        r"Port \d+ of 127.0.0.1 can't be opened \(Address already in use\); perhaps another explorer is running there\."
    )
    with (
        taken() as port,
        pytest.raises(AddressError, match=f"{told} Choose another port with `--port`, or let `--port 0`"),
    ):
        Server(front_bundle(), port=port).__enter__()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", "", "127.0.0.2"])  # noqa: S104 - refused
def test_hosts_that_others_reach_are_refused(host):
    with pytest.raises(
        ValueError, match=r"`host` must be 127\.0\.0\.1, localhost, ::1, so that only this machine reaches"
    ):
        Server(front_bundle(), host=host).__enter__()


@pytest.mark.parametrize("port", [-1, 65536])
def test_ports_that_are_none_are_refused(port):
    with pytest.raises(ValueError, match=f"`port` must lie from 0 to 65535; got {port}"):
        Server(front_bundle(), port=port).__enter__()


@pytest.mark.usefixtures("front")
@pytest.mark.parametrize(("host", "named"), [("localhost", "localhost"), ("::1", "[::1]")])
def test_the_other_names_of_loopback_are_served_and_the_end_frees_the_port(host, named):
    with Server(front_bundle(), host=host, port=0) as server:
        assert server.address == f"http://{named}:{port_of(server)}/"
        assert httpx.get(server.address).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.address)


def test_an_interrupted_wait_leaves_the_server_to_be_ended():
    def interrupted():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore the interrupt
        with Server(front_bundle(), port=0) as server:
            threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                server.wait()
            assert server._thread.is_alive()  # an interrupted join takes it for ended, which it is not
            assert httpx.get(server.address).status_code == 200
        assert not server._thread.is_alive()

    assert ended(in_a_fork(interrupted)) == 0
