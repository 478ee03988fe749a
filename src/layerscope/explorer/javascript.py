"""What a JavaScript module says at its top level: what it imports, exports and declares.

No parser: comments, quotes and what stands in brackets are blanked, and what is left is read by patterns. A slash is a
division after a name, a number or a closing bracket, else it begins a regular expression.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

PLAIN = '`import {a, b} from "./module.js";`'
TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<template>`)
    |(?P<open>[({\[])
    |(?P<close>[)}\]])
    |(?P<word>[\w$]+)
    |(?P<space>\s+)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
TEMPLATE = re.compile(r"(?:\\.|\$(?!\{)|[^`\\$])*(?P<end>`|\$\{)", re.DOTALL)
"""The text of a template, up to its end or to the next expression in it."""
EXPRESSION = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/\w*")
"""A regular expression."""
VALUELESS = {"return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "else", "do", "await", "yield"}
"""Words after which a slash begins a regular expression."""
PAIRS = {"(": ")", "[": "]", "{": "}", "${": "}"}

IMPORT = re.compile(r'import\s*\{(?P<names>[^}"]*)\}\s*from\s*"(?P<module>[^"]*)"[ \t]*;?[ \t]*\n?')
EXPORT = re.compile(r"export\s+(?=(?:async\s+function|function|class|const|let)\b)")
DECLARED = re.compile(
    r"(?<![.\w$])(?:function\b\s*\*?|class\b(?!\s*extends\b)|(?P<several>(?:const|let|var)\b))\s*(?P<name>[\w$]*)"
)
FURTHER = re.compile(r",\s*([\w$]+)\s*(?==[^=>]|,|;|$)")
"""A further name of a declaration of several."""


@dataclass(frozen=True)
class Module:
    """A module's text, and what its top level says."""

    imports: Mapping[str, tuple[str, ...]]
    """By module, the names taken from it; in the order of the text."""
    exports: frozenset[str]
    declared: tuple[str, ...]
    """Every name of the top level, imported ones apart."""
    body: str
    """The text without imports, and without the word `export`."""


class _Bare(NamedTuple):
    """A text with spaces for what is no code; as long as the text."""

    code: str
    """Without comments, and with nothing between quotes."""
    top: str
    """Besides, with nothing between brackets."""


def parse(name: str, text: str) -> Module:
    """A module, read.

    Args:
        name: what errors call it.
        text: what stands in it.

    Raises:
        ValueError: if it imports, exports or declares in another way than the plain one, or its quotes or brackets
            don't close; names the line.
    """
    bare = _bare(name, text)
    imports: dict[str, tuple[str, ...]] = {}
    exported: list[int] = []
    cut: list[tuple[int, int]] = []
    for found in re.finditer(r"(?<![.\w$])(?:import|export)\b(?!\s*:)", bare.code):
        if found[0] == "import":
            module, names, end = _import(name, text, bare, found.start())
            imports[module] = imports.get(module, ()) + names
        else:
            plain = EXPORT.match(bare.top, found.start())
            if plain is None:
                told = "must export what it declares, as `export function`, `export class`, `export const`"
                raise _refused(name, text, found.start(), told)
            end = plain.end()
            exported.append(end)
        cut.append((found.start(), end))
    declared = [(place, one) for place, own in _declared(name, text, bare) for one in own]
    starts = {place for place, _ in declared}
    # `export async function` is declared behind its first word
    heads = {min((start for start in starts if start >= place), default=-1) for place in exported}
    body, last = "", 0
    for start, end in cut:
        body, last = body + text[last:start], end
    return Module(
        imports=imports,
        exports=frozenset(one for place, one in declared if place in heads),
        declared=tuple(one for _, one in declared),
        body=body + text[last:],
    )


def _import(name: str, text: str, bare: _Bare, place: int) -> tuple[str, tuple[str, ...], int]:
    """The module that a statement imports from, the names, and where the statement ends."""
    found = IMPORT.match(bare.code, place)
    names = [] if found is None else [one.strip() for one in found["names"].split(",")]
    if names and not names[-1]:
        names.pop()  # a comma at the end
    module = "" if found is None else text[slice(*found.span("module"))]
    whole = all(re.fullmatch(r"[\w$]+", one) for one in names)
    if (
        found is None
        or not names
        or not whole
        or not re.fullmatch(r"\./[\w-]+\.js", module)
        or not _is_top(bare, place)
    ):
        raise _refused(name, text, place, f"must import as {PLAIN}, and in no other way")
    return module.removeprefix("./"), tuple(names), found.end()


def _declared(name: str, text: str, bare: _Bare) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Where declarations of the top level stand, and the names that they declare."""
    for found in DECLARED.finditer(bare.top):
        if not found["name"]:
            if found["several"]:
                raise _refused(name, text, found.start(), "must declare the names of its top level one by one")
            continue  # a function without a name
        end = bare.top.find(";", found.end())
        rest = bare.top[found.end() : end + 1 if end >= 0 else None] if found["several"] else ""
        yield found.start(), (found["name"], *FURTHER.findall(rest))


def _is_top(bare: _Bare, place: int) -> bool:
    return not bare.top[place].isspace()


def _refused(name: str, text: str, place: int, told: str) -> ValueError:
    line = text.count("\n", 0, place) + 1
    return ValueError(f"'{name}', line {line}, {told}; it says: {text.splitlines()[line - 1].strip()}")


def _bare(name: str, text: str) -> _Bare:
    """The code of a text, and of its top level."""
    code, top = list(text), list(text)
    for kind, start, end, depth in _tokens(name, text):
        blank = [one if one == "\n" else " " for one in text[start:end]]
        if kind in ("comment", "template"):
            code[start:end] = blank
        elif kind in ("string", "pattern"):
            code[start + 1 : end - 1] = blank[1:-1]
        top[start:end] = blank if depth else code[start:end]
    return _Bare("".join(code), "".join(top))


def _tokens(name: str, text: str) -> Iterator[tuple[str, int, int, int]]:
    """What a text is made of: the kind, from where to where, and within how many brackets."""
    opened: list[str] = []
    before, end = "", 0
    while end < len(text):
        found, start = TOKEN.match(text, end), end
        assert found is not None  # its last kind is any character
        kind, said, end, depth = found.lastgroup or "", found[0], found.end(), len(opened)
        if kind == "open":
            opened.append(said)
        elif kind == "close" and opened and PAIRS[opened[-1]] == said:
            kind = "template" if opened.pop() == "${" else kind
            depth = len(opened)
        elif kind == "close" or said in ('"', "'"):
            raise _refused(name, text, start, "has a quote or a bracket without its other half")
        elif said == "/" and not _is_value(before) and (pattern := EXPRESSION.match(text, start)):
            kind, end = "pattern", pattern.end()
        if kind == "template":
            rest = TEMPLATE.match(text, end)
            if rest is None:
                raise _refused(name, text, start, "has a template that does not end")
            end = rest.end()
            opened += ["${"] if rest["end"] == "${" else []
        yield kind, start, end, depth
        if kind not in ("comment", "space"):
            before = said if kind in ("word", "close") else kind
    if opened:
        raise _refused(name, text, len(text.rstrip()) - 1, f"ends before {PAIRS[opened[-1]]!r} closes what is open")


def _is_value(token: str) -> bool:
    """Whether a slash after this token, or this kind of token, divides."""
    if token in ("open", "other", ""):
        return False
    return token not in VALUELESS
