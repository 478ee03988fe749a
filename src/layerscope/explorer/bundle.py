"""A run as a folder of small files, which the explorer's page reads: report, server and notebook hand over the same.

bundle.json          everything that is text, and of every other file its SHA-256
arrays/NAME.bin      typed arrays, little-endian, row by row
sheets/NAME.png      pictures of samples and of units, many on a sheet
texts.json           of texts, a list of them
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from layerscope.errors import CorruptFileError, RunMismatchError, format_told
from layerscope.explorer.arrays import Rows, arrays, chosen_rows, exact_ids
from layerscope.explorer.description import SCHEMA, description, missing
from layerscope.explorer.inversions import decoded
from layerscope.explorer.run import Run
from layerscope.explorer.sprites import Sheets, sample_sheets
from layerscope.explorer.thinning import left_out, thinned
from layerscope.store import load_json, write

DESCRIPTION = "bundle.json"
NAME = re.compile(r"arrays/[a-z0-9]+(/[0-9]+)*\.bin|sheets/[a-z0-9]+(-[0-9]+)*\.png|texts\.json")
"""Of the other files. None that a bundle names lies outside of it, whoever wrote it."""


@dataclass(frozen=True)
class Bundle:
    """What a page needs to show a run."""

    description: Mapping[str, Any] = field(repr=False)
    """The contents of bundle.json; `docs/explorer.md` has the keys."""
    files: Mapping[str, bytes] = field(repr=False)
    """By name, `bundle.json` among them."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    def save(self, folder: Path | str) -> None:
        """Write the files into a folder, each whole; bundle.json last, since it says what belongs to it.

        Raises:
            StorageError: if the disk is full or the folder can't be written.
        """
        for name in sorted(self.files, key=lambda name: name == DESCRIPTION):
            write(Path(folder) / name, self.files[name])


def bundle(
    run: Run, *, max_samples: int | None = None, max_mb: float | None = None, show_progress: bool = True
) -> Bundle:
    """What a page needs to show a run, made of its folder alone: neither network nor data are loaded.

    Args:
        run: a finished one; see `load_run`.
        max_samples: the most samples to show, drawn from every class in proportion; all by default.
        max_mb: the most that all files may take, in millions of bytes. Pictures are left out until they do: first those
            of noise, then all but every k-th sample's; and where codes and texts alone are too large, samples, drawn as
            by `max_samples`.
        show_progress: whether to draw a progress bar, on standard error.

    Raises:
        ValueError: if an option is out of range.
        TooLargeError: if the files are larger than `max_mb` even of a hundred samples without pictures.
        CorruptFileError: if a file of the run is not what was written there.
    """
    if max_mb is not None and not max_mb > 0:
        raise ValueError(f"`max_mb` must be a number above 0, or None for no bound; got {max_mb!r}.")
    rows = chosen_rows(run.recordings["clean"], max_samples, keep=run.settings["example"])
    inverted = decoded(run)
    of_rows = partial(_of_rows, run, show_progress=show_progress)
    if max_mb is None:
        return of_rows(rows)(sample_sheets(run, rows, {}), inverted)
    return thinned(run, rows, inverted, max_mb, of_rows)


def _of_rows(run: Run, rows: Rows, *, show_progress: bool) -> Callable[[Sheets, Sheets], Bundle]:
    """What makes a bundle of some samples, given pictures of them and of units."""
    clean, made = run.recordings["clean"], arrays(run, rows, show_progress=show_progress)
    told = description(run) | {
        "samples": len(rows),
        "total": len(clean),
        "arrays": {
            name: {"type": one.type, "shape": list(one.values.shape), "scale": one.scale} for name, one in made.items()
        },
        "ids": exact_ids(clean.ids.numpy()[rows]),
        "texts": clean.texts is not None,
    }
    files = {f"arrays/{name}.bin": one.content for name, one in made.items()}
    if clean.texts is not None:
        files["texts.json"] = json.dumps([clean.texts[row] for row in rows], ensure_ascii=False).encode()

    def put_together(pictures: Sheets, inversions: Sheets) -> Bundle:
        shown = told | {"pictures": pictures.told, "decoding": inversions.told}
        lacks = {"missing": missing(run, pictures.told, inversions.told), "left_out": left_out(shown)}
        return whole(shown | lacks, files | pictures.files | inversions.files)

    return put_together


def whole(told: Mapping[str, Any], files: Mapping[str, bytes]) -> Bundle:
    """A bundle of a description and its files, whose digests the description then holds."""
    told = {**told, "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}}
    text = json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Bundle(told, {DESCRIPTION: text.encode(), **files})


def load_bundle(folder: Path | str) -> Bundle:
    """A bundle that was saved.

    Raises:
        FileNotFoundError: if there is none in `folder`.
        CorruptFileError: if a file is missing, or not what was written; names it.
        RunMismatchError: if it was written in another format.
    """
    folder = Path(folder)
    if not (folder / DESCRIPTION).is_file():
        raise FileNotFoundError(f"'{folder}' holds no {DESCRIPTION}; make a bundle there with `bundle(run).save`.")
    told = load_json(folder / DESCRIPTION)
    if told.get("schema") != SCHEMA:
        of_format = format_told(told.get("schema"), SCHEMA, "make it again from the run")
        raise RunMismatchError(f"'{folder}' holds a bundle of {of_format}")
    named = told.get("files")
    if not isinstance(named, dict) or not all(NAME.fullmatch(name) for name in named):
        raise CorruptFileError(
            f"'{folder / DESCRIPTION}' names no files, or other files than a bundle's; make it again."
        )
    files = {DESCRIPTION: (folder / DESCRIPTION).read_bytes()}
    for name, digest in named.items():
        path = folder / name
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise CorruptFileError(f"'{path}' is missing or damaged; make the bundle again from the run.")
        files[name] = content
    return Bundle(told, files)
