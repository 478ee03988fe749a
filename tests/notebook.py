"""A real JupyterLab on a free port of this machine, a notebook in it, and a browser that shows the notebook."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
SETTINGS = (
    "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0",
    "--LabApp.expose_app_in_browser=True", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=None", "--LabApp.extension_manager=readonly",
)  # fmt: skip
PATIENCE = 90_000
"""Milliseconds: a kernel that loads torch on a busy machine takes its time."""
RUN = """async (place) => {
  const {commands, shell} = window.jupyterapp, {content} = shell.currentWidget;
  content.activeCellIndex = place;
  await commands.execute("notebook:run-cell");
  return content.widgets[place].model.outputs.toJSON();
}"""


def free_port():
    """One that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


SILENT = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
"""Nothing is asked of the web, or of the user in a corner of the page."""


@contextmanager
def jupyter(folder):
    """A JupyterLab in a folder, with nothing of the user's own settings; its address and its token."""
    port, token = free_port(), secrets.token_hex(16)
    settings = folder / ".jupyter" / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(SILENT))
    own = {f"JUPYTER_{what}_DIR": str(folder / ".jupyter" / what.lower()) for what in ("CONFIG", "DATA", "RUNTIME")}
    places = {"IPYTHONDIR": str(folder / ".ipython"), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [
        sys.executable, "-m", "jupyter", "lab", *SETTINGS, f"--ServerApp.port={port}",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    with (folder / "jupyter.log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **own, **places}, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{address}/api", params={"token": token}, timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, (folder / "jupyter.log").read_text()
                time.sleep(0.1)
        yield address, token
    finally:
        process.terminate()
        process.wait(30)


def write_notebook(path, cells):
    """A notebook of code cells."""
    cells = [
        {"cell_type": "code", "id": str(place), "metadata": {}, "outputs": [], "execution_count": None, "source": text}
        for place, text in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.write_text(
        json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})
    )


class Shown:
    """A notebook in a browser."""

    def __init__(self, page):
        self.page = page

    def run(self, place):
        """Run one cell to its end; what it printed, or the text of its error."""
        outputs = self.page.evaluate(RUN, place)
        return "\n".join("".join(one.get("text", one.get("traceback", []))) for one in outputs)


@contextmanager
def notebook(folder, cells):
    """A notebook of those cells, open in a browser, none of them run; and what its console said of errors."""
    write_notebook(folder / "shown.ipynb", cells)
    with jupyter(folder) as (address, token), sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page, heard = browser.new_page(viewport={"width": 1400, "height": 1000}), []
        page.on("console", lambda told: heard.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.goto(f"{address}/doc/tree/shown.ipynb?token={token}")
        ready = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        page.wait_for_function(ready, timeout=PATIENCE)
        yield Shown(page), heard
        browser.close()
