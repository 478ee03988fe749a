"""A run folder belongs to the study that made it."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from layerscope.errors import CorruptFileError, RunMismatchError
from layerscope.store import LOCK, load_json, save_json

OWN = (
    "recordings",
    "decoding",
    "atlas",
    "codes",
    "nulls",
    "results.parquet",
    "smallest.parquet",
    "report.html",
    "study.json",
    "telescope.png",
    "profile.parquet",
    "causal.parquet",
    "causal_pairs.parquet",
    "causal.png",
)
"""What a run folder holds, and all that `overwrite` deletes."""


def claim(folder: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Make the folder a study's own, or refuse.

    Args:
        folder: of the run; it exists.
        settings: the contents of study.json; a run that stands keeps its `versions`, and they are put in here.
        overwrite: delete a run that was made with other options.

    Raises:
        RunMismatchError: if the folder holds anything else, or such a run that is to stay; shows the difference.
    """
    if not (folder / "study.json").is_file():
        there = {path.name for path in folder.iterdir()} - {LOCK}
        if there - set(OWN) or (there and not overwrite):
            raise RunMismatchError(
                f"'{folder}' holds other files and no study.json; choose an empty folder or a new name "
                "(`overwrite=True` deletes what is left of a run where there is nothing else)."
            )
    else:
        found, differences = {}, ["study.json: it is damaged, so that nothing says what the run was made of"]
        with suppress(CorruptFileError):
            found = load_json(folder / "study.json")
            differences = _differences(found, settings, finished=(folder / "results.parquet").is_file())
        if not differences:
            settings["versions"] = found["versions"]
            return
        if not overwrite:
            listed = "".join(f"\n  {line}" for line in differences)
            raise RunMismatchError(
                f"'{folder}' holds a run made with other options:{listed}\nChoose another folder, ask for the "
                "same, or delete that run with `overwrite=True` (`--overwrite` on the command line)."
            )
    for name in OWN:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    save_json(folder / "study.json", settings)


def _differences(found: dict[str, Any], asked: dict[str, Any], *, finished: bool) -> list[str]:
    """What two studies differ in, a line each; an unfinished one must go on under the versions that began it."""
    if found.get("schema") != asked["schema"]:
        return [f"format: the run has version {found.get('schema')}, this program writes version {asked['schema']}"]
    lines = [
        f"{name}: the run has {found['asked'].get(name)!r}, you ask for {value!r}"
        for name, value in asked["asked"].items()
        if found["asked"].get(name) != value
    ]
    if not finished and found["versions"] != asked["versions"]:
        lines.append(f"versions: the run was begun under {found['versions']}, these are {asked['versions']}")
    changed = [name for name, value in asked["fingerprints"].items() if found["fingerprints"].get(name) != value]
    return lines + [f"{name}: its contents have changed since the run was made" for name in changed]
