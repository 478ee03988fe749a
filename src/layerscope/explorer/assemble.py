"""The front end as one text, for pages that can load nothing: its modules joined in the order of their imports."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from layerscope.explorer.javascript import Module, parse

ENTRY = "main.js"
"""The module that exports `start`."""
STYLE = "style.css"
ENDS = re.compile(r"<!--|</?(?:script|style)", re.IGNORECASE)
"""What would end a script or a style that stands inside HTML, or hide its end."""


def static() -> dict[str, str]:
    """The text of every file of the front end, by name."""
    return _texts("static")


def entries() -> dict[str, str]:
    """The modules that begin it, by name: `inline.js` in a page that holds its bundle, `served.js` in a server's."""
    return _texts("entries")


def modules() -> dict[str, str]:
    """The text of every module of the front end, by name."""
    return {name: text for name, text in static().items() if name.endswith(".js")}


def script(entry: str = ENTRY) -> str:
    """The front end as one module without imports or exports, in whose scope stands `start`.

    Args:
        entry: what begins it: one of `entries`, or the front end alone.

    Raises:
        ValueError: see `joined`.
    """
    texts = modules() | {name: text for name, text in entries().items() if name == entry}
    return _joined_once(tuple(texts.items()), entry)


@cache
def _joined_once(texts: tuple[tuple[str, str], ...], entry: str) -> str:
    """`joined`, which takes a third of a second, once for the same texts."""
    return joined(dict(texts), entry)


def style() -> str:
    """The front end's style sheet.

    Raises:
        ValueError: if it can't stand inside HTML.
    """
    text = static()[STYLE]
    _check_inside_html(STYLE, text)
    return text


def joined(texts: Mapping[str, str], entry: str) -> str:
    """Modules as one: each after those that it imports, as a browser would run them.

    Args:
        texts: by name, the text of every module.
        entry: the one that all others are imported for.

    Raises:
        ValueError: if modules import one another in a circle, import what is not there or not exported, declare the
            same name, or can't be read (see `parse`); if nothing imports one; or if one can't stand inside HTML.
    """
    parsed = {name: parse(name, text) for name, text in texts.items()}
    order: list[str] = []
    _visit(entry, (), parsed, order)
    unused = [name for name in parsed if name not in order]
    if unused:
        raise ValueError(f"Nothing imports '{unused[0]}'; import it somewhere below '{entry}', or delete it.")
    owners: dict[str, str] = {}
    for name in order:
        for declared in parsed[name].declared:
            owner = owners.setdefault(declared, name)
            if owner != name:
                raise ValueError(f"'{owner}' and '{name}' both declare `{declared}` at their top level; rename one.")
        _check_inside_html(name, texts[name])
    return "\n".join(f"// {name}\n{parsed[name].body.strip()}\n" for name in order)


def _visit(name: str, above: tuple[str, ...], parsed: Mapping[str, Module], order: list[str]) -> None:
    """Put a module into the order, behind all that it imports."""
    if name in above:
        circle = " -> ".join([*above[above.index(name) :], name])
        raise ValueError(f"Modules import one another in a circle: {circle}. Move what they share to a module below.")
    if name in order:
        return
    if name not in parsed:
        raise ValueError(
            f"{f'{above[-1]!r} imports' if above else 'The entry is'} {name!r}, and there is no such module."
        )
    for below, names in parsed[name].imports.items():
        _visit(below, (*above, name), parsed, order)
        lacking = [one for one in names if one not in parsed[below].exports]
        if lacking:
            raise ValueError(f"'{name}' imports `{lacking[0]}` from '{below}', which does not export it.")
    order.append(name)


def _texts(folder: str) -> dict[str, str]:
    found = (files("layerscope.explorer") / folder).iterdir()
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(found, key=lambda one: one.name)}


def _check_inside_html(name: str, text: str) -> None:
    found = ENDS.search(text)
    if found:
        raise ValueError(
            f"'{name}' holds `{found[0]}`, which would end or hide the script or style that it becomes inside HTML; "
            "write it in two parts."
        )
