"""A finished run, read from its folder.

runs/mine/
study.json               what was asked, fingerprints, versions, what was chosen, warnings
recordings/{fit,clean,noise-...,pgd-...}/
atlas/  codes/<condition>.parquet
nulls/untrained-0/       recordings, atlas and codes of the same architecture with fresh weights
results.parquet          every number that was measured
smallest.parquet         the smallest perturbation of some samples
decoding/                what units stand for, by `layerscope decode`
report.html
telescope.png  profile.parquet   written by `layerscope profile`
causal.parquet  causal_pairs.parquet  causal.png   written by `layerscope causal`
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from layerscope import figures
from layerscope.atlas import Atlas, load_atlas
from layerscope.codes import load_codes
from layerscope.data import Data
from layerscope.errors import RunMismatchError, format_told
from layerscope.explorer import explore
from layerscope.models import load_network
from layerscope.network import Network
from layerscope.recording import Recording, load_recording
from layerscope.report import MAX_MB, write_report
from layerscope.som import Grid
from layerscope.sources import load_data
from layerscope.specs import OBJECT
from layerscope.store import load_json, load_table, save_table, write

SCHEMA = 3
"""Of the folder; another is refused."""
DECODING = "decoding"
"""The folder of what was decoded."""
FIT_SHARE = 2 / 3
"""Of the data goes to fitting the atlas where no data are given for that."""


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder."""

    folder: Path
    settings: Mapping[str, Any]
    """The contents of study.json."""
    results: pd.DataFrame
    """The table of results.parquet."""
    recordings: Mapping[str, Recording]
    """By condition: `clean`, `fit` (what the atlas was fitted on), and the perturbations."""
    codes: Mapping[str, pd.DataFrame]
    """By condition."""
    atlas: Atlas

    @property
    def grid(self) -> Grid:
        """The lattice of the maps."""
        return self.atlas.grid

    @property
    def class_names(self) -> tuple[str, ...]:
        """One per class of the network; numbers where classes have no names."""
        count = self.recordings["clean"].logits().shape[1]
        names = self.settings["chosen"]["class_names"]
        return (*names, *(str(number) for number in range(len(names), count)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know before believing the numbers."""
        return tuple(self.settings["warnings"])

    @property
    def profile(self) -> pd.DataFrame:
        """Layer x measure under the clean condition: value, interval, nulls."""
        rows = self.results[(self.results["condition"] == "clean") & (self.results["layer_index"] >= 0)]
        columns = [
            "reduction",
            "layer",
            "measure",
            "value",
            "low",
            "high",
            "null_untrained",
            "null_shuffled",
            "n",
            "unit",
        ]
        return rows[columns].reset_index(drop=True)

    @property
    def smallest(self) -> pd.DataFrame | None:
        """The smallest perturbation of some samples: see `smallest_perturbations`; None where it was not looked for."""
        path = self.folder / "smallest.parquet"
        return load_table(path) if path.is_file() else None

    @property
    def network(self) -> Network:
        """The network, loaded again from its spec.

        Raises:
            ValueError: if the run was made from an object, which no folder can hold.
        """
        return load_network(self.spec("network"))

    @property
    def data(self) -> Data:
        """The samples that were measured, loaded again from their spec.

        Raises:
            ValueError: if the run was made from an object, which no folder can hold.
        """
        return self.measured(load_data(self.spec("data"), resize=self.network.resize, show_progress=False))

    def measured(self, data: Data) -> Data:
        """Of all data that the study was given, those that it measured; given these, themselves."""
        asked = self.settings["asked"]
        if asked["fit_data"] is not None or data.fingerprint == self.settings["fingerprints"]["data"]:
            return data
        return data.split(FIT_SHARE, seed=asked["seed"])[1]

    def spec(self, what: str) -> str:
        """The spec of the `network` or the `data` that the run was made from.

        Raises:
            ValueError: if it was made from an object, which no folder can hold.
        """
        spec: str = self.settings["asked"][what]
        if spec.startswith(OBJECT):
            raise ValueError(
                f"The run was made from {spec}, not from a spec; load the {what} yourself, and give it as `{what}` "
                f"(on the command line: `--{'model' if what == 'network' else what} SPEC`)."
            )
        return spec

    def check(self, what: str, fingerprint: str, why: str) -> None:
        """See that the `network` or the `data` at hand is what the run was made of.

        Args:
            what: which of the two.
            fingerprint: of that at hand.
            why: what makes two of them differ.

        Raises:
            RunMismatchError: if it is another.
        """
        if fingerprint != self.settings["fingerprints"][what]:
            raise RunMismatchError(
                f"`{what}` must be what the run in '{self.folder}' was made of, and is another: {why}. Give the same "
                "as the study was given, or run the study again."
            )

    def save_profile(self) -> tuple[Path, Path]:
        """Write telescope.png and profile.parquet into the folder; their paths."""
        picture, numbers = self.folder / "telescope.png", self.folder / "profile.parquet"
        target = io.BytesIO()
        figures.telescopes(self).savefig(target, format="png", dpi=150)
        write(picture, target.getvalue())
        save_table(numbers, self.profile)
        return picture, numbers

    def report(self, *, max_mb: float = MAX_MB, max_samples: int | None = None, show_progress: bool = True) -> Path:
        """Write report.html anew, of at most `max_mb` million bytes; its path. See `write_report`."""
        return write_report(self, max_mb=max_mb, max_samples=max_samples, show_progress=show_progress)

    explore = explore


def load_run(folder: Path | str) -> Run:
    """A run that a study has finished.

    Raises:
        FileNotFoundError: if there is none in `folder`, or a part of it is missing; names the part.
        CorruptFileError: if a file is not what was written; names it.
    """
    folder = Path(folder)
    if not (folder / "results.parquet").is_file() or not (folder / "study.json").is_file():
        raise FileNotFoundError(f"'{folder}' holds no finished run; make one with `layerscope run --out {folder} ...`.")
    settings = load_json(folder / "study.json")
    if settings.get("schema") != SCHEMA:
        told = format_told(settings.get("schema"), SCHEMA, "run the study again in another folder")
        raise RunMismatchError(f"'{folder}' holds a run of {told}")
    conditions = settings["chosen"]["conditions"]
    recordings = {name: folder / "recordings" / slug(name) for name in ("fit", *conditions)}
    codes = {name: folder / "codes" / f"{slug(name)}.parquet" for name in conditions}
    parts = {path: path / "manifest.json" for path in recordings.values()}
    parts |= {path: path for path in codes.values()} | {folder / "atlas": folder / "atlas" / "atlas.json"}
    missing = [str(part.relative_to(folder)) for part, file in parts.items() if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"'{folder}' lacks {', '.join(missing)}; copy the whole folder, or run the same study there again, which "
            "makes what is missing."
        )
    return Run(
        folder=folder,
        settings=settings,
        results=load_table(folder / "results.parquet"),
        recordings={name: load_recording(path) for name, path in recordings.items()},
        codes={name: load_codes(path) for name, path in codes.items()},
        atlas=load_atlas(folder / "atlas"),
    )


def slug(condition: str) -> str:
    """A condition as a file name: `pgd:linf=8/255` is `pgd-linf-8of255`."""
    return re.sub(r"[^\w.-]", "-", condition.replace("/", "of"))
