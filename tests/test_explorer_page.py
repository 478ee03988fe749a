"""The explorer as HTML: a page that holds its bundle, and the shell that a server hands out."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from browsing import browser, needs_browser, shown
from explorer_front import FILES, HOSTILE, SHOWN, front_bundle

from layerscope.explorer import assemble
from layerscope.explorer.page import inline, shell


@pytest.fixture
def front(monkeypatch):
    """The small front end in the place of the package's."""
    monkeypatch.setattr(assemble, "static", lambda: FILES)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.found, self._inside = [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])
        self._inside = tag in ("script", "style", "title", "p")

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.found[-1][2] += data


def strictest(made):
    """A policy under which the fragment works: of scripts its own alone, and styles as in the report."""
    return (
        f"default-src 'none'; script-src {made.scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def page_of(made):
    policy = f'<meta http-equiv="Content-Security-Policy" content="{strictest(made)}">'
    return f'<!doctype html><html lang="en"><head><meta charset="utf-8">{policy}</head><body>{made.html}</body></html>'


@pytest.mark.usefixtures("front")
def test_every_file_of_the_bundle_stands_in_the_page_as_it_is():
    bundle = front_bundle()
    found = Elements(inline(bundle).html).found
    texts = {attributes["data-name"]: text for tag, attributes, text in found if "data-name" in attributes}
    assert set(texts) == set(bundle.files)
    assert json.loads(texts["bundle.json"]) == bundle.description
    for name in ("arrays/code/0/0.bin", "arrays/id.bin"):
        assert base64.b64decode(texts[name]) == bundle.files[name]
    head, _, picture = texts["sheets/sample-0.png"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(picture) == bundle.files["sheets/sample-0.png"]


@pytest.mark.usefixtures("front")
def test_no_name_opens_or_ends_an_element():
    made = inline(front_bundle())
    tags = [tag for tag, _, _ in Elements(made.html).found]
    assert tags == ["style", "div", "noscript", "p", *["script"] * 5]
    data = made.html[made.html.index("<script") : made.html.rindex("<script")]
    assert "<!--" not in data
    assert data.count("</script>") == data.count("<script ") == 4
    assert "window.hacked" in data


@pytest.mark.usefixtures("front")
def test_the_policy_names_what_runs_by_its_hash():
    made = inline(front_bundle())
    [text] = [
        text for tag, attributes, text in Elements(made.html).found if tag == "script" and "data-name" not in attributes
    ]
    assert made.scripts == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@needs_browser
@pytest.mark.usefixtures("front")
def test_a_browser_shows_it_from_a_file_with_nothing_from_the_web(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page_of(inline(front_bundle())), encoding="utf-8")
    with browser() as opened, shown(opened, path.as_uri()) as page:
        assert json.loads(page.text_content("#explorer")) == SHOWN
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("getComputedStyle(document.getElementById('explorer')).color") == "rgb(1, 2, 3)"


def test_the_shell_shows_names_as_text_and_runs_nothing_of_its_own():
    found = Elements(shell(HOSTILE, probe=True, note=HOSTILE)).found
    assert [text for tag, _, text in found if tag == "title"] == [f"Layerscope: {HOSTILE}"]
    assert [(attributes, text) for tag, attributes, text in found if tag == "script"] == [
        ({"type": "module", "src": "/static/served.js"}, "")
    ]
    assert found[-1] == ["p", {"class": "note"}, HOSTILE]
    assert ["div", {"id": "explorer", "data-probe": None}, ""] in found
    assert not any(tag == "style" or "style" in attributes for tag, attributes, _ in found)


def test_the_shell_without_a_probe_says_so_to_its_script():
    page = shell("net", probe=False)
    assert "data-probe" not in page
    assert "note" not in page


@pytest.mark.parametrize("page", ["shell", "inline"])
@pytest.mark.usefixtures("front")
def test_without_javascript_a_sentence_says_what_is_missing(page):
    html = shell("net", probe=False) if page == "shell" else inline(front_bundle()).html
    assert re.search(r"<noscript><p>The explorer needs JavaScript, which is off in this browser\.", html)
