"""The import graph is the architecture: every module imports only from layers below its own."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "layerscope"
ROOT = Path(__file__).parents[1] / "src" / PACKAGE
LAYERS = [  # low to high; names on one line are siblings and may not import each other
    {"errors", "types", "images", "layouts", "memory", "threads", "specs", "preprocessing"},
    {"products", "drawing", "answers", "hooks", "untrained"},
    {"store", "stats", "progress", "subspace", "reductions", "depth_drawing"},
    {"fingerprints"},
    {"results", "network", "som"},
    {"summary", "data", "layers", "embeddings", "models_hf"},
    {"objects", "pictures"},
    {"files", "tables"},
    {"sources", "models"},
    {"checks", "estimate"},
    {"recorder"},
    {"recording"},
    {"atlas"},
    {"codes"},
    {"measures", "attacks", "causal_figures"},
    {"flow", "robustness", "vulnerability", "figures", "cautions"},
    {"explorer"},
    {"report", "demo", "printing"},
    {"run"},
    {"decoding", "export", "perturbing", "claim"},
    {"study"},
    {"cli"},
    {"__main__"},
]
LATER = {ROOT / name for name in ("explorer/__init__.py", "explorer/opening.py", "som/__init__.py")}
"""Import modules of their own stage when they are asked for, inside functions: web server, widgets and scikit-learn are
slow to load or may not be there, and most who import the stage do without them."""
FOREIGN = {ROOT / name for name in ("specs.py",)}
"""Import modules of the user's, by names that they were given."""
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}


def part(path: Path) -> str:
    """The stage a file belongs to: 'som' for src/layerscope/som/grid.py, 'codes' for src/layerscope/codes.py."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def own_imports(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """Every (line, stage) that `tree`, a part of the file at `path`, imports from this package."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(level=level) if level:
                raise AssertionError(f"{path}:{node.lineno}: relative import; write `from {PACKAGE}.… import …`")
            case ast.ImportFrom(module=str(module)) if module == PACKAGE:
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom(module=str(module)) if module.startswith(PACKAGE + "."):
                yield node.lineno, module.split(".")[1]
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.startswith(PACKAGE + "."):
                        yield node.lineno, alias.name.split(".")[1]
            case ast.Call(func=ast.Name("import_module") | ast.Attribute(attr="import_module"), args=[named, *_]):
                yield from ((node.lineno, stage) for stage in imported_later(named, path))


def imported_later(named: ast.expr, path: Path) -> Iterator[str]:
    """The stage of this package, if any, that `import_module` is asked for by this expression."""
    match named:
        case ast.Constant(str(module)):
            owner, _, inside = module.partition(".")
            if owner == PACKAGE:
                yield inside.partition(".")[0]
        case ast.JoinedStr(values=[ast.FormattedValue(value=ast.Name("__name__")), ast.Constant(str(dot)), *_]):
            assert dot.startswith("."), f"{path}:{named.lineno}: name a module below this package"
            yield part(path)
        case _:
            assert path in FOREIGN, f"{path}:{named.lineno}: `import_module` of a name that this test can't read"


MODULES = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    here = part(path)
    assert here in RANK, f"{here} stands in no layer; add it to LAYERS"
    for line, there in own_imports(ast.parse(path.read_text()), path):
        assert there == here or RANK[there] < RANK[here], f"{path}:{line}: {here} may not import {there}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_own_import_hides_in_a_function(path):
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            hidden = [line for line, there in own_imports(function, path) if path not in LATER or there != part(path)]
            assert not hidden, f"{path}:{hidden[:1]}: import from {PACKAGE} at the top, not inside {function.name}"


def test_what_trains_no_map_does_without_scikit_learn():
    code = (
        "import sys, layerscope\n"
        "from layerscope import som\n"
        "assert 'sklearn' not in sys.modules and 'scipy.stats' not in sys.modules\n"
        "assert {'SOM', 'stability', 'pictures', 'Grid'} <= set(dir(som))\n"
        "assert som.SOM.__name__ == 'SOM' and som.stability.__name__ == 'stability' and som.pictures.u_matrix\n"
        "assert 'sklearn' in sys.modules\n"
        "som.nothing"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert told.strip().endswith("AttributeError: module 'layerscope.som' has no attribute 'nothing'"), told
