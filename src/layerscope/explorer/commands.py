"""Command lines that make a run again, or what it lacks."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from layerscope.specs import OBJECT

MODEL, DATA = "py:PACKAGE.MODULE:FACTORY", "folder:PATH"
BUDGET, MINIMAL = "KIND:NORM=SIZE", "KIND:NORM"
"""Stand where the reader has to fill something in: only of images is it known how much change is little."""
Options = Iterable[tuple[str, str | None]]


def run_again(settings: Mapping[str, Any], folder: str) -> str | None:
    """The command that makes the same run; None where the network or the data came as an object."""
    asked = settings["asked"]
    if any(_is_object(asked[what]) for what in ("network", "data", "fit_data")):
        return None
    return _line("run", (), _asked(asked, folder))


def run_with(settings: Mapping[str, Any], folder: str, **changed: Any) -> str:
    """The command that makes another run that asks for something else, too.

    Args:
        settings: the contents of study.json.
        folder: where the other run goes.
        changed: what is asked for instead, by its name in study.json.
    """
    asked = {**settings["asked"], **changed}
    spec = {what: value for what, value in (("network", MODEL), ("data", DATA)) if _is_object(asked[what])}
    spec |= {"fit_data": DATA} if _is_object(asked["fit_data"]) else {}
    return _line("run", (), _asked({**asked, **spec}, folder))


def on_run(command: str, settings: Mapping[str, Any], folder: str, *options: tuple[str, str]) -> str:
    """A command that adds to a finished run; network and data have to be named where they came as objects."""
    asked = settings["asked"]
    objects = [("model", MODEL)] if _is_object(asked["network"]) else []
    objects += [("data", DATA)] if _is_object(asked["data"]) else []
    return _line(command, (folder,), [*options, *objects])


def _asked(asked: Mapping[str, Any], folder: str) -> list[tuple[str, str | None]]:
    """What was asked as options, all of them, so that another version's defaults change nothing."""
    layers = asked["layers"]
    found: list[tuple[str, str | None]] = [("model", asked["network"]), ("data", asked["data"])]
    found += [("fit-data", asked["fit_data"])] if asked["fit_data"] is not None else []
    found += [("layers", one) for one in ([layers] if isinstance(layers, str) else layers)]
    found += [("reduction", one) for one in asked["reductions"]]
    found += [("attack", one) for one in asked["attack"] or ["none"]]
    found += [("smallest", asked["smallest"] or "none")]
    found += [("grid", "x".join(map(str, asked["grid"])))] if asked["grid"] is not None else []
    found += [("scaling", asked["scaling"]), ("align" if asked["align"] else "no-align", None)]
    found += [(name.replace("_", "-"), str(asked[name])) for name in ("untrained", "draws", "batch_size", "seed")]
    found += [("decode", one) for one in asked["decode"]]
    return [*found, ("out", folder)]


def _line(command: str, arguments: Iterable[str], options: Options) -> str:
    """`layerscope COMMAND ...` as a shell reads it."""
    words = ["layerscope", command, *arguments]
    for name, value in options:
        words += [f"--{name}"] if value is None else [f"--{name}", value]
    return shlex.join(words)


def _is_object(spec: str | None) -> bool:
    return spec is not None and spec.startswith(OBJECT)
