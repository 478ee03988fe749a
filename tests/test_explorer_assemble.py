"""The front end's modules as one text: what is joined, in which order, and what is refused."""

import re

import pytest

from layerscope.explorer import assemble
from layerscope.explorer.assemble import joined
from layerscope.explorer.javascript import parse

TRICKY = r"""// @ts-check
/** @param {import("./other.js").Thing} thing - import x from "y"; export default 1; */
import {one, two,} from "./one.js";
import {
  three,
} from "./three.js";

const quoted = "import('./x.js'); export default { ( [", single = 'it\'s } "export"', last = `a ${`b ${one} }`} c`;
export const pattern = /["'`{(\[\/]+ import\(/g, divided = two / three / 2;
let counted;
/* export const hidden = 1; */
export async function load(name) {
  const inner = {name, import: 1};
  for (const key of Object.keys(inner)) { if (/}/.test(key)) return key; }
  return `export ${name.replace(/\//g, "}")}`;
}
export class Thing { static make() { return new Thing(); } }
export function* each() { yield /[/}]/; }
const anonymous = class { };
const derived = class extends Thing { }, arrow = (a, b) => ({a, b});
"""


def test_a_module_says_what_it_imports_exports_and_declares_whatever_stands_in_quotes():
    module = parse("tricky.js", TRICKY)
    assert module.imports == {"one.js": ("one", "two"), "three.js": ("three",)}
    assert module.exports == {"pattern", "divided", "load", "Thing", "each"}
    names = "quoted single last pattern divided counted load Thing each anonymous derived arrow"
    assert module.declared == tuple(names.split())
    assert [line for line in module.body.splitlines() if re.match(r"import|export", line)] == []
    assert "const quoted = \"import('./x.js'); export default { ( [\", single" in module.body
    assert "async function load(name) {" in module.body
    assert len(TRICKY) - len(module.body) == sum(
        len(cut) for cut in ('import {one, two,} from "./one.js";\n', 'import {\n  three,\n} from "./three.js";\n')
    ) + 4 * len("export ")


def test_modules_run_in_the_order_of_their_imports_each_once():
    texts = {
        "main.js": 'import {b} from "./b.js";\nimport {a} from "./a.js";\nexport const start = a + b;\n',
        "a.js": 'import {c} from "./c.js";\nexport const a = c * 2;\n',
        "b.js": 'import {c} from "./c.js";\nexport const b = c + 1;\n',
        "c.js": "export const c = 20;\n",
    }
    text = joined(texts, "main.js")
    assert re.findall(r"^// (\S+)$", text, re.MULTILINE) == ["c.js", "b.js", "a.js", "main.js"]
    assert text.count("const c = 20;") == 1
    assert not re.search(r"import|export", text)


@pytest.mark.parametrize(
    "statement",
    [
        'import a from "./a.js";',
        'import * as a from "./a.js";',
        'import {a as b} from "./a.js";',
        'import "./a.js";',
        'import {} from "./a.js";',
        "import {a} from './a.js';",
        'import {a} from "../a.js";',
        'import {a} from "https://example.org/a.js";',
        'import a, {b} from "./a.js";',
        'const a = await import("./a.js");',
        "const a = `${import('./a.js')}`;",
        'function f() { return import("./a.js"); }',
        "const here = import.meta.url;",
        'function f() { import {a} from "./a.js"; }',
    ],
)
def test_imports_of_another_form_are_refused_with_their_line(statement):
    told = "'main.js', line 2, must import as `import {a, b} from \"./module.js\";`, and in no other way; it says: "
    with pytest.raises(ValueError, match=re.escape(told + statement)):
        joined({"main.js": f"const z = 1;\n{statement}\n", "a.js": "export const a = 1;"}, "main.js")


@pytest.mark.parametrize(
    "statement",
    ["export default 1;", "export {z};", 'export * from "./a.js";', "export {z as y};", 'export {a} from "./a.js";'],
)
def test_exports_of_another_form_are_refused(statement):
    told = "'main.js', line 2, must export what it declares, as `export function`, `export class`, `export const`; it"
    with pytest.raises(ValueError, match=re.escape(f"{told} says: {statement}")):
        joined({"main.js": f"const z = 1;\n{statement}\n"}, "main.js")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (
            {"main.js": 'import {a} from "./a.js";', "a.js": 'import {b} from "./b.js";\nexport const a = 1;',
             "b.js": 'import {a} from "./a.js";\nexport const b = 1;'},
            "Modules import one another in a circle: a.js -> b.js -> a.js. Move what they share to a module below.",
        ),
        (
            {"main.js": 'import {a} from "./a.js";\nlet x, same = 2;', "a.js": "export function a() {}\nclass same {}"},
            "'a.js' and 'main.js' both declare `same` at their top level; rename one.",
        ),
        ({"main.js": "", "lone.js": ""}, "Nothing imports 'lone.js'; import it somewhere below 'main.js', or delete"),
        ({"main.js": 'import {a} from "./a.js";'}, "'main.js' imports 'a.js', and there is no such module."),
        ({}, "The entry is 'main.js', and there is no such module."),
        (
            {"main.js": 'import {b} from "./a.js";', "a.js": "export const a = 1;\nconst b = 2;"},
            "'main.js' imports `b` from 'a.js', which does not export it.",
        ),
        ({"main.js": 'const end = "</script>";'}, "'main.js' holds `</script`, which would end or hide the script or"),
        ({"main.js": "const hide = '<!--';"}, "'main.js' holds `<!--`, which would end or hide"),
        (
            {"main.js": "\nconst {a, b} = window;"},
            "'main.js', line 2, must declare the names of its top level one by one; it says: const {a, b} = window;",
        ),
        ({"main.js": "f(1));"}, "'main.js', line 1, has a quote or a bracket without its other half; it says: f(1));"),
        ({"main.js": 'let a = "b;\n'}, "'main.js', line 1, has a quote or a bracket without its other half; it says: "),
        ({"main.js": "\nf(`a ${b` );"}, "'main.js', line 2, has a template that does not end; it says: f(`a ${b` );"),
        ({"main.js": "\n\nf(() => {\n  1;\n"}, "'main.js', line 4, ends before '}' closes what is open; it says: 1;"),
    ],
)  # fmt: skip
def test_what_could_not_run_alike_joined_and_apart_is_refused(texts, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        joined(texts, "main.js")


def test_equal_names_below_the_top_level_are_no_conflict():
    texts = {
        "main.js": 'import {a} from "./a.js";\nfunction main() { const same = 1; return `${(() => { let y; })()}`; }',
        "a.js": "export const a = 1;\nconst same = [() => { const y = 2; }];",
    }
    assert "const same = 1" in joined(texts, "main.js")


def test_the_front_end_is_what_lies_in_the_package(monkeypatch):
    files = {"main.js": "export function start() {}", "style.css": "p { color: red; }"}
    monkeypatch.setattr(assemble, "static", lambda: files)
    assert assemble.script() == "// main.js\nfunction start() {}\n"
    assert assemble.style() == "p { color: red; }"
    files["style.css"] = "p::before { content: '</STYLE>'; }"
    with pytest.raises(ValueError, match=r"'style.css' holds `</STYLE`, which would end or hide the"):
        assemble.style()


@pytest.mark.parametrize("entry", ["inline.js", "served.js", "widget.js"])
def test_the_package_s_front_end_can_be_joined_for_every_door(entry):
    text = joined(assemble.modules() | {entry: assemble.entries()[entry]}, entry)
    assert "\n// main.js\n" in text
    assert text.index("\nasync function start(") < text.index(f"\n// {entry}\n")
    assert not re.search(r"^(?:import|export) ", text, re.MULTILINE)
    assert set(assemble.entries()) == {"inline.js", "served.js", "widget.js"}
