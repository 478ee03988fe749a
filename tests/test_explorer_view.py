"""A finished run in the browser, as a user asks for it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import webbrowser

import httpx
import numpy as np
import pytest
from browsing import browser, needs_browser, shown
from conftest import TinyNet, tiny_data, tiny_module
from PIL import Image
from typer.testing import CliRunner

from layerscope import Network, Run, Study
from layerscope.cli import app
from layerscope.errors import RunMismatchError
from layerscope.explorer import bundle
from layerscope.explorer.probe import probe_of
from layerscope.explorer.server import Server

NETS = "import sys\nsys.path.insert(0, {tests!r})\nfrom conftest import tiny_module\n"
LACKING = "Inputs of your own can&#x27;t be sent to this network: it could not be loaded here."


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with a finished run of specs."""
    folder = tmp_path_factory.mktemp("viewed")
    images, labels = tiny_data(60)
    np.savez(folder / "data.npz", inputs=images.numpy(), labels=labels.numpy())
    (folder / "own_nets_of_a_view.py").write_text(NETS.format(tests=os.path.dirname(__file__)))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(Run, "report", lambda *_, **__: None)
        options = {"grid": (2, 3), "draws": 50, "untrained": 0, "attack": None, "progress": False}
        Study("runs/mine", "py:own_nets_of_a_view:tiny_module", "npz:data.npz", **options).run()
        yield folder


@pytest.fixture
def seen(monkeypatch):
    """What the browser was opened at; the user interrupts when it is there."""
    opened = []

    def interrupt(_):
        opened.append(httpx.get(opened[0]).text if opened else "")
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(Server, "wait", interrupt)
    return opened


def test_an_interrupt_ends_the_command_and_nothing_is_left(place):
    command = [sys.executable, "-m", "layerscope", "view", "runs/mine", "--port", "0", "--no-browser"]
    process = subprocess.Popen(
        command,
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore the interrupt, and would pass that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    with process.stdout as said, process.stderr as told:
        address = re.fullmatch(r"Explorer: (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", said.readline())[1]
        assert "data-probe" in httpx.get(address).text
        assert httpx.get(f"{address}bundle/bundle.json").json()["title"] == "TinyNet"
        sent = {"content": b"no image", "headers": {"Content-Type": "application/octet-stream"}}
        answer = httpx.post(f"{address}probe", **sent)
        assert (answer.status_code, answer.json()["error"][:25]) == (400, "This is no image file tha")
        process.send_signal(signal.SIGINT)
        assert said.read() == "Ended.\n"
        words = told.read()
    assert process.wait() == 0, words
    assert "Traceback" not in words, words
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


@needs_browser
def test_the_page_of_a_run_answers_to_a_picture_of_the_reader_s_own(tiny_run, tmp_path):
    network = Network(tiny_module(), class_names=("top", "middle", "bottom"))
    probe, codes = probe_of(tiny_run, network), tiny_run.codes["clean"]
    Image.fromarray(tiny_run.recordings["clean"].pictures()[4, 0].numpy()).save(tmp_path / "own.png")
    told = probe.image((tmp_path / "own.png").read_bytes())
    serving = Server(bundle(tiny_run, show_progress=False), probe=probe, port=0)
    with serving as server, browser() as opened, shown(opened, server.address) as page:
        panel = page.locator("#panel-probe")
        panel.locator("input[type=file]").set_input_files(tmp_path / "own.png")
        panel.locator(".answers").wait_for()
        assert panel.locator(".probe-path dd").all_inner_texts() == [str(unit) for unit in told["codes"]["mean"]]
        assert panel.locator("img").first.get_attribute("src") == told["picture"]
        assert panel.locator(".answers tbody th").first.inner_text() == told["prediction"][0]["name"]
    assert told["nearest"]["mean"][-1][0]["id"] == codes["id"][4]


def test_the_browser_is_opened_where_the_page_is(tiny_run, seen, capsys):
    tiny_run.explore(port=0, show_progress=False)
    address, page = seen
    assert capsys.readouterr().out == f"Explorer: {address} (Ctrl-C ends it)\nEnded.\n"
    assert "<title>Layerscope: TinyNet</title>" in page


def test_a_run_of_an_object_is_shown_without_a_probe_and_says_so(tiny_run, seen, capsys):
    tiny_run.explore(port=0, show_progress=False)
    assert LACKING in seen[1]
    assert "data-probe" not in seen[1]
    assert "No probe: The run was made from an object (" in capsys.readouterr().err


def test_with_its_network_it_has_a_probe(tiny_run, seen):
    network = Network(tiny_module(), class_names=("top", "middle", "bottom"))
    tiny_run.explore(network=network, port=0, show_progress=False)
    assert "data-probe" in seen[1]
    assert "note" not in seen[1]
    with pytest.raises(RunMismatchError, match="`network` must be what the run in"):
        tiny_run.explore(network=TinyNet().eval(), port=0, show_progress=False)


def test_a_run_whose_spec_leads_nowhere_is_shown_all_the_same(place, seen, tmp_path, monkeypatch):
    copied = shutil.copytree(place / "runs/mine", tmp_path / "runs/mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_nets_of_a_view", raising=False)
    done = CliRunner().invoke(app, ["view", str(copied), "--port", "0"])
    assert done.exit_code == 0, done.output
    assert "No probe: The network spec 'py:own_nets_of_a_view:tiny_module' names a module that can't be" in done.stderr
    assert LACKING in seen[1]
    assert str(tmp_path) not in seen[1]


def test_no_browser_is_opened_where_none_is_wanted(place, seen):
    done = CliRunner().invoke(app, ["view", "runs/mine", "--port", "0", "--no-browser", "--host", "localhost"])
    assert done.exit_code == 0, done.output
    assert re.search(r"^Explorer: http://localhost:\d+/ \(Ctrl-C ends it\)\nEnded\.\n$", done.stdout)
    assert seen == [""]


def test_as_much_is_shown_as_is_asked_for(tiny_run, seen):
    arguments = ["view", str(tiny_run.folder), "--port", "0", "--no-browser", "--max-samples", "30"]
    done = CliRunner().invoke(app, arguments)
    assert seen == [""]
    seen.clear()
    assert "Note: The explorer shows 30 of 40 samples, of every class in proportion.\n" in done.stderr
    assert "For size" not in done.stderr
    most = (bundle(tiny_run, max_samples=30, show_progress=False).size - 1) / 1e6
    done = CliRunner().invoke(app, [*arguments, "--max-mb", str(most)])
    assert done.exit_code == 0, done.output
    told = "leaves out pictures; its codes and numbers are of all samples here (noise:pgd:linf=8/255: 0 of 30"
    assert told in done.stderr
    done = CliRunner().invoke(app, [*arguments, "--max-mb", "0.001"])
    assert done.exit_code == 2
    assert "Error: `max_mb` is 0.001, and the files take" in done.stderr


def test_what_can_not_be_served_is_told_without_a_traceback(place):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = CliRunner().invoke(app, ["view", "runs/mine", "--port", port, "--no-browser"])
    assert done.exit_code == 2
    assert f"Error: Port {port} of 127.0.0.1 can't be opened (Address already in use)" in done.stderr
    assert "reading the maps" not in done.stderr  # before anything is made
    done = CliRunner().invoke(app, ["view", "runs/mine", "--host", "0.0.0.0", "--no-browser"])  # noqa: S104 - refused
    assert done.exit_code == 2
    assert "Error: `host` must be 127.0.0.1, localhost, ::1, so that only this machine" in done.stderr
    done = CliRunner().invoke(app, ["view", "runs/none"])
    assert done.exit_code == 2
    assert "'runs/none' holds no finished run" in done.stderr
