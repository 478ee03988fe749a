"""A run and the name of a tool -> a folder that the tool opens."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerscope.export.formats import write_csv, write_embedding_atlas, write_fiftyone, write_tensorboard
from layerscope.export.rows import Samples, choose, samples_of
from layerscope.run import Run


@dataclass(frozen=True)
class Tool:
    """What one tool needs."""

    write: Callable[[Samples, Path], list[Path]]
    """Puts the files into a folder; their paths."""
    command: Callable[[Samples, Path], str]
    """What opens that folder, on a command line; empty where any program does."""
    shows_pictures: bool = True


@dataclass(frozen=True)
class Exported:
    """What was written."""

    files: tuple[Path, ...]
    """All but single pictures."""
    rows: int
    """Samples."""
    map: str
    """Whose map gives x and y: layer, reduction and condition."""
    command: str
    """What opens it, on a command line; empty where any program does."""
    notes: tuple[str, ...]
    """What a reader should know: what the run did not have."""


def _atlas(samples: Samples, folder: Path) -> str:
    shown = [f" --{kind} {kind}" for kind, there in _media(samples).items() if there]
    return f"embedding-atlas {shlex.quote(str(folder / 'samples.parquet'))} --x x --y y{''.join(shown)}"


def _fiftyone(_: Samples, folder: Path) -> str:
    name = shlex.quote(f"layerscope-{folder.resolve().name}")
    return (
        f"fiftyone datasets create --name {name} --dataset-dir {shlex.quote(str(folder))} "
        f"--type fiftyone.types.LegacyFiftyOneDataset && fiftyone app launch {name}"
    )


def _tensorboard(_: Samples, folder: Path) -> str:
    return f"tensorboard --logdir {shlex.quote(str(folder))}"


def _media(samples: Samples) -> dict[str, bool]:
    return {"image": samples.pictures is not None, "text": "text" in samples.table}


TOOLS: Mapping[str, Tool] = {
    "csv": Tool(write_csv, lambda _samples, _folder: "", shows_pictures=False),
    "embedding-atlas": Tool(write_embedding_atlas, _atlas),
    "fiftyone": Tool(write_fiftyone, _fiftyone),
    "tensorboard": Tool(write_tensorboard, _tensorboard),
}
"""By name."""


def export(
    run: Run,
    to: str,
    out: Path | str,
    *,
    layer: str | None = None,
    reduction: str | None = None,
    conditions: Sequence[str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Exported:
    """Write a run's samples, a row each, in another tool's format; see docs/export.md for what each tool gets.

    Args:
        run: a finished run.
        to: `csv`, `embedding-atlas`, `fiftyone` or `tensorboard`.
        out: folder for the files, new or empty.
        layer: whose map gives `x` and `y`, and whose vectors TensorBoard projects; by default the last block.
        reduction: whose codes are written; by default the run's first.
        conditions: whose columns are written, by default all; places, distances and pictures are of the first.
        seed: of the steps by which samples of one unit stand apart.
        overwrite: replace files of the same names in a folder that is not empty; all others stay.

    Raises:
        ValueError: if the tool is not known, the run has no such layer, reduction or condition, or `out` is not empty.
    """
    if to not in TOOLS:
        raise ValueError(f"`to` must be one of {', '.join(TOOLS)}; got {to!r}.")
    chosen, out = choose(run, layer, reduction, conditions), Path(out)
    if out.is_file():
        raise ValueError(f"`out` must be a folder; '{out}' is a file.")
    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise ValueError(
            f"`out` '{out}' is not empty; choose a new folder, or replace files of the same names with "
            "`overwrite=True` (`--overwrite` on the command line)."
        )
    tool, samples = TOOLS[to], samples_of(run, chosen, seed)
    notes = []
    if tool.shows_pictures and samples.pictures is None:
        notes.append(f"The run holds no pictures of its samples, so that {to} gets everything but images.")
    written = tool.write(samples, out)
    return Exported(tuple(written), len(samples.table), samples.map, tool.command(samples, out), tuple(notes))
