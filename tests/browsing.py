"""A real browser over the explorer: whatever it complains of fails the test."""

import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")


@contextmanager
def browser():
    """Headless Chromium."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@contextmanager
def shown(opened, address, **options):
    """A page with the explorer in it; at its end, nothing was complained of and nothing asked of the web."""
    context = opened.new_context(**{"viewport": {"width": 1400, "height": 1000}, "accept_downloads": True, **options})
    context.set_default_timeout(10_000)
    page, complaints, asked = context.new_page(), [], []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("[data-ready]", timeout=20_000)
    yield page
    assert not complaints
    start = address.split("#")[0].rsplit("/", 1)[0]
    foreign = [url for url in asked if not url.startswith((start, "data:", "blob:"))]
    assert not foreign
    context.close()


def saved(page, button):
    """The text or bytes of what a button saves."""
    with page.expect_download() as waiting:
        button.click()
    download = waiting.value
    with open(download.path(), "rb") as file:  # noqa: PTH123 - Playwright gives a name
        return download.suggested_filename, file.read()
