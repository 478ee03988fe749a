"""The explorer as HTML: a fragment that holds its bundle, and the page that a server hands out."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from layerscope.explorer.assemble import script, style
from layerscope.explorer.bundle import DESCRIPTION, Bundle

INLINE, SERVED = "inline.js", "served.js"
"""The modules that begin the explorer in the one and the other."""
NO_SCRIPT = "The explorer needs JavaScript, which is off in this browser."


@dataclass(frozen=True)
class Inlined:
    """The explorer as a part of a page that works from a file, with nothing from the web."""

    html: str
    """To stand in the body of a page, once."""
    scripts: str
    """What `script-src` of the page's Content-Security-Policy has to name."""


def inline(bundle: Bundle) -> Inlined:
    """A bundle and the explorer that shows it, in one piece of HTML.

    Args:
        bundle: all of its files go into the page: sprites as addresses that are pictures, what is not text as base64.

    Raises:
        ValueError: if the front end can't be joined to one script; see `assemble.joined`.
    """
    code = script(INLINE)
    blocks = "\n".join(_blocks(bundle))
    html = (
        f'<style>{style()}</style>\n<div id="explorer"></div>\n<noscript><p>{NO_SCRIPT}</p></noscript>\n'
        f'{blocks}\n<script type="module">{code}</script>\n'
    )
    return Inlined(html, _source(code))


def shell(title: str, *, probe: bool, note: str = "") -> str:
    """The page that a server hands out; it asks the server for everything else.

    Args:
        title: the network's name, as text.
        probe: whether the server answers probes.
        note: what the reader should know, as text.
    """
    told = f'<p class="note">{escape(note)}</p>\n' if note else ""
    probed = " data-probe" if probe else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Layerscope: {escape(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/style.css">
<script type="module" src="/static/{SERVED}"></script>
</head>
<body>
<div id="explorer"{probed}></div>
<noscript><p>{NO_SCRIPT} Everything that was measured stands in the run's report.html, too.</p></noscript>
{told}</body>
</html>
"""


def _blocks(bundle: Bundle) -> Iterator[str]:
    """Every file of a bundle as an element that no browser runs."""
    for name, content in bundle.files.items():
        if name == DESCRIPTION:
            # in JSON, `<` stands in strings alone: written so, none of them ends the element or opens a comment
            kind, text = "application/json", content.decode().replace("<", "\\u003c")
        elif name.endswith(".png"):
            kind, text = "text/plain", f"data:image/png;base64,{base64.b64encode(content).decode()}"
        else:
            kind, text = "application/octet-stream", base64.b64encode(content).decode()
        yield f'<script type="{kind}" data-name="{escape(name)}">{text}</script>'


def _source(text: str) -> str:
    """A script as a Content-Security-Policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
