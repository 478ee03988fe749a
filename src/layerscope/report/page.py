"""A run as one HTML file: the explorer, and below it everything as inline SVG and tables that need no script.

Nothing comes from the web. Every number below the explorer is read from results.parquet.
"""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from layerscope import explorer, figures
from layerscope.drawing import STYLE
from layerscope.errors import TooLargeError
from layerscope.explorer import Run
from layerscope.explorer.description import description
from layerscope.explorer.thinning import MB
from layerscope.progress import bar
from layerscope.results import MEASURES, Result, findings, select
from layerscope.store import write
from layerscope.summary import headline, summary

MAX_MB = 25.0
BASE64 = 0.74
"""Of a file's bytes in base64, a little less than the share that it had before."""
TRAVEL = ("amplification", "wrong_class_log_odds")
VULNERABILITY = ("vulnerability_homogeneity", "vulnerability_gap")
"""The measures that have figures of their own, in order."""


def write_report(
    run: Run, *, max_mb: float = MAX_MB, max_samples: int | None = None, show_progress: bool = True
) -> Path:
    """Write report.html into the run's folder; its path.

    Args:
        run: a finished one.
        max_mb: the most that the file may take, in millions of bytes: pictures are left out of the explorer until it
            does, then samples; the page says how many.
        max_samples: the most samples that the explorer shows, drawn from every class in proportion; all by default.
        show_progress: whether to draw progress bars and say what was left out, on standard error.

    Raises:
        ValueError: if an option is out of range.
        TooLargeError: if the file would be larger even with a hundred samples and without pictures.
    """
    if not max_mb > 0:
        raise ValueError(f"`max_mb` must be a number above 0; got {max_mb!r}.")
    told = description(run)
    page = _rendered(run, told["run"]["command"], show_progress=show_progress)
    least = len((page("", "", ()) + explorer.inline(explorer.Bundle({}, {})).html).encode())
    instead = (
        f"allow more (`layerscope report {run.folder} --max-mb ...`), or look at the run with `layerscope view "
        f"{run.folder}`."
    )
    if max_mb * MB <= least:
        raise TooLargeError(
            f"`max_mb` is {max_mb:g}, and figures, tables and script alone take {least / MB:.2g} MB; {instead}"
        )
    words = len(json.dumps(told, ensure_ascii=False).encode()) / MB  # stand in the page as they are
    room = words + max(max_mb - least / MB - words, 0) * BASE64
    while True:
        try:
            shown = explorer.bundle(run, max_samples=max_samples, max_mb=room, show_progress=show_progress)
        except TooLargeError as error:
            raise TooLargeError(
                f"`max_mb` is {max_mb:g}, figures, tables and script take {least / MB:.2g} MB of it, and the explorer "
                f"does not fit into the rest even with few samples and without pictures; {instead}"
            ) from error
        inlined, notes = explorer.inline(shown), shown.description["left_out"]
        content = page(Markup(inlined.html), inlined.scripts, notes).encode()  # noqa: S704 - made of escaped parts
        over = len(content) / MB - max_mb
        if over <= 0:
            break
        # what stands around each file was not known before
        room = max(shown.size / MB - over * BASE64, 1 / MB)
    if show_progress:
        _say(notes)
    return _written(run, content)


def write_without_explorer(run: Run, why: str, *, show_progress: bool = True) -> Path:
    """Write report.html into the run's folder with figures, tables and text alone, of whatever size; its path.

    Args:
        run: a finished one.
        why: what keeps the explorer out of it, as the page tells it.
        show_progress: whether to draw a progress bar, on standard error.
    """
    page = _rendered(run, description(run)["run"]["command"], show_progress=show_progress)
    return _written(run, page("", "", [f"This file is without the explorer: {why}"]).encode())


def _say(notes: Sequence[str]) -> None:
    plain = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    for note in notes:
        plain.print(f"Note: {note}")


def _written(run: Run, content: bytes) -> Path:
    path = run.folder / "report.html"
    write(path, content)
    return path


def _rendered(run: Run, command: str | None, *, show_progress: bool) -> Callable[[str, str, Sequence[str]], str]:
    """The page, but for the explorer, the names of its scripts in the policy, and what is told of it.

    `command` makes the run again.
    """
    environment = Environment(
        loader=PackageLoader("layerscope.report"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    sample = run.settings["example"]
    reductions = [name for name in run.results["reduction"].unique() if name]
    depths = []
    with bar("drawing the report", len(reductions), show=show_progress) as progress:
        for name in reductions:
            depths.append((name, svg(figures.depth(run, reduction=name, sample=sample))))
            progress.advance()
    told = {
        "settings": run.settings,
        "warnings": run.warnings,
        "sentences": summary(run.results),
        "headline": headline(run.results),
        "depths": depths,
        "travel": [(name, [svg(one) for one in _travel(run, name)]) for name in reductions],
        "robustness": svg(_figure(figures.robustness(run)))
        if (run.results["measure"] == "smallest_perturbation").any()
        else None,
        "checks": run.settings.get("checks", {}),
        "picture": _picture(run, sample),
        "tables": [(name, _rows(run.results, name)) for name in reductions],
        "measures": MEASURES,
        "command": command,
    }
    template = environment.get_template("page.html")
    return lambda inlined, scripts, notes: template.render(
        explorer=inlined,
        scripts=Markup(scripts),  # noqa: S704 - hashes
        notes=notes,
        **told,
    )


def _travel(run: Run, reduction: str) -> list[Figure]:
    """How perturbations grow and where their codes go, and whether homogeneity goes with vulnerability."""
    has = set(run.results.loc[run.results["reduction"] == reduction, "measure"])
    axes = [figures.flow(run, name, reduction=reduction) for name in TRAVEL if name in has]
    axes += [figures.vulnerability(run, name, reduction=reduction) for name in VULNERABILITY if name in has]
    return [_figure(one) for one in axes]


def _figure(axes: Axes) -> Figure:
    """What an Axes of its own stands on."""
    return cast("Figure", axes.figure)


def svg(figure: Figure) -> Markup:
    """A figure as an SVG element that stands inside HTML; the same figure gives the same bytes."""
    target = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    return Markup(text[text.index("<svg") :])  # noqa: S704 - drawn by matplotlib, which escapes what it is given


def number(value: float) -> str:
    """Three significant digits; whole from 1,000 on."""
    return "" if pd.isna(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _rows(results: pd.DataFrame, reduction: str) -> list[Result]:
    """The layer rows under one reduction."""
    rows = select(results, reduction=reduction)
    return findings(rows.sort_values(["measure", "condition", "layer_index"], kind="stable"))


def _picture(run: Run, sample: int | None) -> dict[str, Any] | None:
    """The example's images, where it is an image, and what the network answers."""
    if sample is None:
        return None
    clean, condition = run.recordings["clean"], run.settings["chosen"]["conditions"][-1]
    attacked = run.recordings[condition]
    place = int((clean.ids == sample).nonzero())
    names = run.class_names
    answers = [names[int(one.logits()[place].argmax())] for one in (clean, attacked)]
    label = "none" if clean.labels is None else names[int(clean.labels[place])]
    told = {"id": sample, "label": label, "answers": answers, "condition": condition, "figure": None}
    before, after = (one.pictures(np.array([place])) for one in (clean, attacked))
    if before is not None and after is not None:
        captions = (f"clean: {answers[0]}", "change", f"attacked: {answers[1]}")
        told["figure"] = svg(figures.pictures(before[0] / 255, after[0] / 255, captions))
    return told
