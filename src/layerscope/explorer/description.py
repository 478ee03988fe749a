"""The words of a bundle: all of `bundle.json` that a run's tables and settings say."""

from collections.abc import Mapping
from importlib.metadata import version
from math import isfinite, isnan
from typing import Any

import pandas as pd

from layerscope.attacks import control_of, is_control
from layerscope.explorer.arrays import exact_id
from layerscope.explorer.commands import BUDGET, DATA, MINIMAL, on_run, run_again, run_with
from layerscope.explorer.run import Run
from layerscope.recording import Recording
from layerscope.results import MEASURES
from layerscope.som import Grid
from layerscope.summary import MARGIN, attack_pairs, headline, layer_of_departure, sentences

SCHEMA = 2
"""Of the bundle; another is refused."""


def description(run: Run) -> dict[str, Any]:
    """What a page shows of a run in words and tables; arrays, pictures and files come beside it."""
    settings, clean = run.settings, run.recordings["clean"]
    results, conditions = run.results, settings["chosen"]["conditions"]
    return {
        "schema": SCHEMA,
        "layerscope": version("layerscope"),
        "title": settings["chosen"]["network"],
        "run": {
            "folder": _folder(run),
            **{name: settings[name] for name in ("asked", "chosen", "versions", "fingerprints")},
            "command": run_again(settings, _folder(run)),
        },
        "sentences": [one._asdict() for one in sentences(results)],
        "warnings": list(run.warnings),
        "headline": [{name: plain(value) for name, value in one._asdict().items()} for one in headline(results)],
        "classes": list(run.class_names),
        "class_source": _class_source(clean),
        "conditions": [_condition(name, conditions) for name in conditions],
        "reductions": [
            {"name": name, "layers": [layer.name for layer in clean.depth(name)]} for name in clean.reductions
        ],
        "grid": {
            "kind": run.grid.kind, "rows": run.grid.rows, "columns": run.grid.columns, "topology": run.grid.topology,
            "positions": _positions(run.grid),
        },
        "example": None if settings["example"] is None else exact_id(settings["example"]),
        "departure": {
            name: {
                attack: layer_of_departure(results, name, attack, control) for attack, control in attack_pairs(results)
            }
            for name in clean.reductions
        },
        "margin": MARGIN,
        "measures": {name: MEASURES[name]._asdict() for name in results["measure"].unique()},
        "results": _table(results),
    }  # fmt: skip


def missing(run: Run, pictures: Mapping[str, Any], decoding: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a page can't show of this run, why, and the command that makes it, where there is one.

    Args:
        run: the run.
        pictures: what the bundle has of samples, by condition.
        decoding: what it has of units, by reduction.
    """
    settings, folder, clean = run.settings, _folder(run), run.recordings["clean"]
    other, attacks, labelled = f"{folder}-2", settings["asked"]["attack"], clean.labels is not None
    found: dict[str, tuple[str, str | None]] = {}
    if not attacks:
        attack = "pgd:linf=8/255" if pictures else BUDGET
        command = run_with(settings, other, attack=[attack], smallest="auto")
        found["attack"] = ("This run has no attack: there are no perturbed paths, flips or departures.", command)
    if not labelled:
        told = "The data have no labels: maps are coloured by predictions, and accuracy is not known."
        found["labels"] = (told, run_with(settings, other, data=DATA, fit_data=None))
    if not pictures and clean.texts is None:
        found["pictures"] = ("The samples are neither images nor texts: there is nothing of them to be seen.", None)
    if not decoding and pictures:
        wanted = ("layer", f"*|{clean.reductions[0]}"), ("attribution", "none")
        command = on_run("decode", settings, folder, *wanted)
        found["decoding"] = ("No unit was inverted: what a code stands for is told by its samples alone.", command)
    if run.smallest is None and labelled:
        command = run_with(settings, other, smallest="fmn:linf,steps=50" if pictures else MINIMAL)
        found["smallest"] = ("The smallest perturbation of a sample was not looked for.", command)
    if not (run.folder / "causal.parquet").is_file():
        command = on_run("causal", settings, folder)
        found["causal"] = ("Whether codes act on the answer was not asked.", command)
    return [{"what": what, "told": told, "command": command} for what, (told, command) in found.items()]


def _folder(run: Run) -> str:
    """The run's folder as it was named, where that is a path downwards; else its name alone: pages travel."""
    below = run.folder.name and not run.folder.is_absolute() and ".." not in run.folder.parts
    return run.folder.as_posix() if below else run.folder.resolve().name


def plain(value: Any) -> Any:
    """A value as JSON holds it: NaN as null, infinities as text."""
    if isinstance(value, float) and not isfinite(value):
        return None if isnan(value) else "inf" if value > 0 else "-inf"
    return value


def _class_source(clean: Recording) -> str | None:
    """What tells the classes that maps are coloured by."""
    if clean.labels is not None:
        return "labels"
    return None if clean.predictions is None else "predictions"


def _positions(grid: Grid) -> list[list[float]]:
    """Each unit's place in grid steps, y upwards: the first row on top, as in figures."""
    x, y = grid.positions.double().unbind(1)
    return [[round(across, 6), round(up, 6)] for across, up in zip(x.tolist(), (y.max() - y).tolist(), strict=True)]


def _condition(name: str, conditions: list[str]) -> dict[str, Any]:
    kind = "clean" if name == "clean" else "noise" if is_control(name) else "attack"
    control = control_of(name) if kind == "attack" and control_of(name) in conditions else None
    return {"name": name, "kind": kind, "control": control}


def _table(results: pd.DataFrame) -> dict[str, Any]:
    columns = [list(map(plain, results[name].tolist())) for name in results]
    return {"columns": list(results.columns), "rows": [list(row) for row in zip(*columns, strict=True)]}
