"""The order of the stages, each made once and found again when asked for again (see `run` for the folder)."""

import platform
import warnings
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from importlib.metadata import version
from math import isqrt, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from layerscope.atlas import Atlas, check_scaling, fit_atlas, load_atlas, random_codebook, save_atlas
from layerscope.attacks import (
    MINIMAL,
    Check,
    check_attack,
    control_of,
    is_control,
    parse_attack,
)
from layerscope.cautions import (
    SAMPLES_PER_UNIT,
    attack_cautions,
    cautions_of,
    embedding_caution,
    few_right_caution,
    shape_cautions,
)
from layerscope.checks import check_together
from layerscope.claim import claim
from layerscope.codes import Coded, best_of, encode, load_codes, save_codes
from layerscope.data import Data
from layerscope.decoding import decode, left_to_decode, meant, save_decoding
from layerscope.embeddings import attackable
from layerscope.errors import AllWrongError, StorageError, TooLargeError
from layerscope.flow import flow
from layerscope.layers import INPUT, LOGITS, Layer, choose_layers
from layerscope.measures import profile
from layerscope.models import load_network
from layerscope.network import Network
from layerscope.perturbing import Attacking, Matching, small_step
from layerscope.recording import Recording, load_recording, record
from layerscope.reductions import PerSampleReduction, parse_reduction
from layerscope.report import write_without_explorer
from layerscope.results import Result, table
from layerscope.robustness import CHECKED, some_rows
from layerscope.run import DECODING, FIT_SHARE, SCHEMA, Run, load_run, slug
from layerscope.som import Grid
from layerscope.sources import load_data
from layerscope.specs import OBJECT
from layerscope.store import (
    clear_half_written,
    load_table,
    load_tensors,
    locked,
    save_json,
    save_table,
    save_tensors,
)
from layerscope.vulnerability import FEWEST, median_size, smallest_perturbations, vulnerability

PICTURES, UNSEEN = 64, ("fit", "step")
"""The longer side of the pictures that are kept, in pixels; and the conditions that nobody looks at."""
NORMALISED, BATCH = 1000, 250
"""Samples that batch normalisation of an untrained network takes its statistics from, and how many together."""


@dataclass(frozen=True)
class Study:
    """Everything that is asked of one network and one data set; `run` carries it out.

    Raises:
        ValueError: if an option is out of range, or a spec can't be read.
    """

    folder: Path | str
    """Where the run goes. A run that was interrupted there goes on; one made with other options is not touched."""
    network: Network | torch.nn.Module | str
    """See `load_network`."""
    data: Any
    """The samples that are measured; see `load_data`."""
    _: KW_ONLY
    fit_data: Any = None
    """Other samples of the same kind, to which the atlas is fitted; by default two thirds of `data`, at random."""
    layers: str | Sequence[str] = "auto"
    """`auto`, a pattern, or several; see `choose_layers`."""
    reductions: Sequence[str] = ("mean", "sketch:512")
    """How outputs become vectors. Averaging compresses by itself, so claims need `sketch` beside it."""
    attack: str | Sequence[str] | None = "pgd:linf=8/255"
    """One or several; see `parse_attack`. With each comes noise that changes every sample by as much. None measures
    clean inputs only."""
    smallest: str | None = "auto"
    """What looks for the smallest perturbation of each sample, for `vulnerability`: `auto` is `fmn` of 50 steps in the
    norm of the first attack, where there is one; None leaves that out."""
    grid: tuple[int, int] | None = None
    """Rows and columns of the hexagonal maps; by default square, of 5 sqrt(samples fitted) units or a tenth of the
    samples measured, whichever is smaller."""
    align: bool = True
    """Whether maps follow one another through the depth."""
    scaling: str = "own"
    """`own` keeps a layer's scale; `standard` divides each feature by its standard deviation."""
    untrained: int = 5
    """Draws of the untrained null."""
    draws: int = 200
    """Bootstrap draws, and permutations of the labels."""
    batch_size: int = 250
    seed: int = 0
    """Of everything that is drawn."""
    decode: Sequence[str] = ()
    """Layers whose units are inverted for the explorer, such as `blocks.*|mean`; see `layerscope decode`."""
    overwrite: bool = False
    """Delete a run that stands in the folder and was made with other options."""
    progress: bool = True
    """Whether to draw progress bars and say what was picked, on standard error."""

    def __post_init__(self) -> None:
        for name, least in (("untrained", 0), ("draws", 50), ("batch_size", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or not least <= value < 2**31:
                raise ValueError(f"`{name}` must be a whole number, at least {least}; got {value!r}.")
        if self.grid is not None and not (
            isinstance(self.grid, (tuple, list)) and len(self.grid) == 2 and all(isinstance(k, int) for k in self.grid)
        ):
            raise ValueError(f"`grid` must be two whole numbers, (rows, columns); got {self.grid!r}.")
        check_scaling(self.scaling)
        self._settle_attacks()
        known = [] if isinstance(self.reductions, str) else [parse_reduction(name).name for name in self.reductions]
        if not known or len(set(known)) < len(known):
            raise ValueError(f"`reductions` must be a list of different reductions; got {self.reductions!r}.")
        several = [name for name in known if not isinstance(parse_reduction(name), PerSampleReduction)]
        if several:
            raise ValueError(
                f"`reductions` of a study must give one vector per sample; {', '.join(several)} gives several. Record "
                "those with `layerscope.record`."
            )
        if any("|" in pattern for pattern in ([self.layers] if isinstance(self.layers, str) else self.layers)):
            raise ValueError(
                f"`layers` of a study have no reductions of their own, since each is measured under all `reductions`; "
                f"got {self.layers!r}. Leave out what follows the bar."
            )

    def _settle_attacks(self) -> None:
        """Specs without spaces, read once so that what can't be read is refused now; `auto` put into words."""
        asked: Any = () if self.attack is None else self.attack
        asked = tuple(asked) if isinstance(asked, (list, tuple)) else (asked,)
        given = tuple("".join(spec.split()) for spec in asked if isinstance(spec, str))
        if len(given) < len(asked) or len(set(given)) < len(given):
            raise ValueError(
                f"`attack` must be one spec, such as 'pgd:linf=8/255', or several different ones, or None; got "
                f"{self.attack!r}."
            )
        for spec in given:
            parse_attack(spec)
            if is_control(spec) or spec.partition(":")[0] in MINIMAL:
                raise ValueError(
                    f"`attack` {spec!r} must have a budget and an aim, such as 'pgd:linf=8/255': noise comes with "
                    "every attack, and the smallest perturbation is asked for by `smallest`."
                )
        object.__setattr__(self, "attack", given)
        if self.smallest == "auto":
            norm = parse_attack(given[0]).budget.norm if given else None
            object.__setattr__(self, "smallest", f"fmn:{norm},steps=50" if norm else None)
        elif self.smallest is not None:
            kind = self.smallest.partition(":")[0] if isinstance(self.smallest, str) else None
            if kind not in MINIMAL:
                raise ValueError(
                    f"`smallest` must be one of {', '.join(MINIMAL)}, as 'fmn:linf'; got {self.smallest!r}."
                )
            parse_attack(self.smallest)

    def run(self) -> Run:
        """Carry the study out, or what is left of it, and write the report.

        Raises:
            ValueError: if network, data and options don't fit together.
            RunMismatchError: if the folder holds a run made with other options; shows the difference.
            NonFiniteError: if a layer puts out NaN or infinity.
            FolderInUseError: if another process writes to the folder.
            StorageError: if the folder can't be written.
        """
        network = load_network(self.network)
        reading: dict[str, Any] = {"resize": network.resize, "show_progress": self.progress}
        measured = load_data(self.data, **reading)
        if self.fit_data is None:
            fitted, measured = measured.split(FIT_SHARE, seed=self.seed)
        else:
            fitted = load_data(self.fit_data, **reading)
        shared = fitted.shares(measured)
        if shared:
            raise ValueError(
                "`fit_data` must be other samples than `data`, since an atlas is measured on what it has not seen; "
                f"{shared} samples are in both."
            )
        for name, part in (("fitting the atlas", fitted), ("measuring", measured)):
            if len(part) == 0:
                raise ValueError(f"`data` leaves no samples for {name}; give more, or give `fit_data`.")
        grid = self._grid(len(fitted), len(measured))
        probe = measured.take(measured.rows[:2])
        check_together(network, probe, fitted.take(fitted.rows[:2]), measured)
        if self.attack or self.smallest:
            asked, numbers = attackable(network, probe.inputs)
            for spec in (*(self.attack or ()), *([self.smallest] if self.smallest else [])):
                parse_attack(spec).check_budget(asked, numbers)
        names, why = choose_layers(network, probe.inputs, self.layers)
        self._say(f"Layers ({why}): input, {', '.join(names)}, logits")
        for wanted in self.decode:
            meant([Layer(name, one) for one in self.reductions for name in (INPUT, *names, LOGITS)], wanted)
        settings = self._settings(network, measured, fitted, names, grid)
        if Path(self.folder).is_file():
            raise StorageError(f"'{self.folder}' is a file; choose a folder for the run.")
        with locked(Path(self.folder)):
            claim(Path(self.folder), settings, overwrite=self.overwrite)
            clear_half_written(Path(self.folder), *(path for path in Path(self.folder).rglob("*") if path.is_dir()))
            return self._carry_out(network, measured, fitted, settings, grid)

    def _carry_out(self, network: Network, measured: Data, fitted: Data, settings: dict[str, Any], grid: Grid) -> Run:
        """The stages in order."""
        folder, layers = Path(self.folder), settings["chosen"]["layers"]
        cautions = shape_cautions(network, measured, layers, self.reductions)
        if (self.attack or self.smallest) and not self._plain(measured):
            cautions.append(embedding_caution(network, measured))
        trained = self._coded(folder, network, measured, fitted, layers, grid)
        if self._plain(measured):
            trained = self._stepped(folder, network, measured, layers, trained)
        perturbed = self._perturbed(network, measured, layers, trained.atlas)
        smallest = self._smallest(folder, network, measured)
        checks = {attack: self._checked(network, measured, attack) for attack in self.attack or ()}
        if self.smallest is not None and smallest is not None:
            checks[self.smallest] = self._checked(network, measured, self.smallest)
        nulls, warned = self._nulls(network, measured, fitted, layers, grid)
        if not (folder / "results.parquet").is_file():
            rows = self._profile(network, measured, fitted, grid, trained, nulls)
            kwargs: dict[str, Any] = {"draws": self.draws, "seed": self.seed, "show_progress": self.progress}
            rows += flow(trained, perturbed, **kwargs) if perturbed else []
            if self.smallest is not None and smallest is not None:
                if trained.labels is not None and len(smallest) >= FEWEST:
                    rows += vulnerability(trained, smallest, condition=self.smallest, **kwargs)
                else:
                    rows.append(median_size(smallest, self.smallest, draws=self.draws, seed=self.seed))
            save_table(folder / "results.parquet", table(rows))
        cautions += warned + attack_cautions(checks)
        right = 0 if smallest is None else len(smallest)
        if self.smallest is not None and trained.labels is not None and right < FEWEST:
            cautions.append(few_right_caution(right, FEWEST))
        cautions += cautions_of(trained.recording, load_table(folder / "results.parquet"), network, measured, grid)
        for caution in cautions:
            self._say(f"Warning: {caution}")
        told = {attack: [one._asdict() for one in made] for attack, made in checks.items()}
        example = _example(trained, *perturbed[-1]) if perturbed else None
        save_json(folder / "study.json", settings | {"warnings": cautions, "checks": told, "example": example})
        self._decoded(network, measured, trained)
        run = load_run(folder)
        try:
            run.report(show_progress=self.progress)
        except TooLargeError as error:
            self._say(f"Warning: The report is without the explorer: {error}")
            write_without_explorer(run, str(error), show_progress=self.progress)
        return run

    def _perturbed(
        self, network: Network, measured: Data, layers: Sequence[str], atlas: Atlas
    ) -> list[tuple[Recording, pd.DataFrame]]:
        """Recordings and codes of each attack and, before it, of the noise that is matched to it."""
        folder, found = Path(self.folder), []
        for attack in self.attack or ():
            perturb = Attacking(parse_attack(attack), self.seed)
            attacked = self._record(folder, network, measured, layers, attack, perturb)
            match = Matching(perturb.perturbation.budget.norm, attacked.ids, attacked.sizes, self.seed)
            noisy = self._record(folder, network, measured, layers, control_of(attack), match)
            found += [(one, self._codes(folder, one, atlas)) for one in (noisy, attacked)]
        return found

    def _nulls(
        self, network: Network, measured: Data, fitted: Data, layers: Sequence[str], grid: Grid
    ) -> tuple[list[Coded], list[str]]:
        """The untrained draws, and what making them warned of."""
        nulls: list[Coded] = []
        cautions: list[str] = []
        for draw in range(self.untrained):
            here = Path(self.folder) / "nulls" / f"untrained-{draw}"
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fresh = self._untrained(here, network, fitted, draw)
            cautions += [str(one.message) for one in caught if str(one.message) not in cautions]
            if not (Path(self.folder) / "results.parquet").is_file():
                self._say(f"Null {draw + 1} of {self.untrained}: the same architecture with untrained weights")
            null = self._coded(here, fresh, measured, fitted, layers, grid)
            nulls.append(self._stepped(here, fresh, measured, layers, null) if self._plain(measured) else null)
        return nulls, cautions

    def _profile(
        self, network: Network, measured: Data, fitted: Data, grid: Grid, trained: Coded, nulls: Sequence[Coded]
    ) -> list[Result]:
        """The profile beside its nulls."""
        folder = Path(self.folder)
        book = random_codebook(load_recording(folder / "recordings" / "fit"), trained.atlas, seed=self.seed)
        nothing = Network(torch.nn.Sequential(torch.nn.Identity()).eval(), bounds=network.bounds, name="nothing")
        return profile(
            trained,
            nulls,
            codebook=Coded(trained.recording, book, encode(trained.recording, book)),
            alone=self._coded(folder / "nulls" / "reduction", nothing, measured, fitted, ["0"], grid)
            if self._plain(measured)
            else None,
            draws=self.draws,
            permutations=self.draws,
            seed=self.seed,
            show_progress=self.progress,
        )

    def _coded(
        self, folder: Path, network: Network, measured: Data, fitted: Data, layers: Sequence[str], grid: Grid
    ) -> Coded:
        """Recordings of both parts of the data, an atlas fitted on the one, and the codes of the other."""
        to_fit = self._record(folder, network, fitted, layers, "fit", None)
        recording = self._record(folder, network, measured, layers, "clean", None)
        try:
            atlas = load_atlas(folder / "atlas")
        except FileNotFoundError:
            atlas = fit_atlas(
                to_fit, grid, align=self.align, scaling=self.scaling, seed=self.seed, show_progress=self.progress
            )
            save_atlas(atlas, folder / "atlas")
        return Coded(recording, atlas, self._codes(folder, recording, atlas))

    def _decoded(self, network: Network, measured: Data, trained: Coded) -> None:
        """What the explorer shows of units, made once."""
        folder, layers = Path(self.folder) / DECODING, trained.recording.layers
        for layer in dict.fromkeys(one for wanted in self.decode for one in meant(layers, wanted)):
            units = left_to_decode(folder, layer, len(trained.atlas.maps[layer].grid))
            if units:
                found = decode(
                    trained, layer, units, network=network, data=measured, attribution=None, seed=self.seed,
                    show_progress=self.progress,
                )  # fmt: skip
                save_decoding(found, folder)

    def _checked(self, network: Network, measured: Data, attack: str) -> list[Check]:
        """The attack's checks of itself, on some samples."""
        batch = measured.take(some_rows(measured, CHECKED, self.seed))
        labels = batch.labels
        if labels is None:
            with torch.no_grad():
                labels = network(batch.inputs).argmax(1).cpu()
        return check_attack(*attackable(network, batch.inputs), labels, parse_attack(attack), seed=self.seed)

    def _smallest(self, folder: Path, network: Network, measured: Data) -> pd.DataFrame | None:
        """The smallest perturbation of some samples, made once; None where it isn't asked for or can't be."""
        path = folder / "smallest.parquet"
        if self.smallest is None or measured.take(measured.rows[:1]).labels is None:
            return None
        if not path.is_file():
            try:
                found = smallest_perturbations(
                    network, measured, self.smallest, batch_size=self.batch_size, seed=self.seed,
                    show_progress=self.progress,
                )  # fmt: skip
            except AllWrongError:
                return None
            save_table(path, found)
        return load_table(path)

    def _stepped(self, folder: Path, network: Network, measured: Data, layers: Sequence[str], coded: Coded) -> Coded:
        """The same, with the samples after a small step beside it."""
        step = small_step(network, measured, seed=self.seed)
        return coded._replace(stepped=self._record(folder, network, measured, layers, "step", step))

    def _untrained(self, folder: Path, network: Network, data: Data, draw: int) -> Network:
        """One draw of the untrained null; the statistics of its batch normalisation are made once and kept."""
        path = folder / "normalisation.safetensors"
        if path.is_file():
            return network.untrained(self.seed + draw).with_statistics(load_tensors(path))
        order = np.random.default_rng(self.seed).permutation(len(data))[:NORMALISED]
        batches = (data.take(data.rows[some]).inputs for some in np.array_split(order, max(1, len(order) // BATCH)))
        fresh = network.untrained(self.seed + draw, batches)
        if fresh.statistics:
            save_tensors(path, fresh.statistics, {})
        return fresh

    @staticmethod
    def _plain(data: Data) -> bool:
        """Whether samples are one tensor of numbers each, which can be moved a little and reduced as they are."""
        return isinstance(data.take(data.rows[:1]).inputs, torch.Tensor)

    def _record(
        self, folder: Path, network: Network, data: Data, layers: Sequence[str], condition: str,
        perturb: Attacking | Matching | None,
    ) -> Recording:  # fmt: skip
        shown = folder == Path(self.folder) and condition not in UNSEEN
        return record(
            network,
            data,
            layers,
            folder / "recordings" / slug(condition),
            reductions=self.reductions,
            condition=condition,
            perturb=perturb,
            batch_size=self.batch_size,
            pictures=PICTURES if shown else 0,
            show_progress=self.progress,
        )

    def _codes(self, folder: Path, recording: Recording, atlas: Atlas) -> pd.DataFrame:
        path = folder / "codes" / f"{slug(recording.condition)}.parquet"
        if not path.is_file():
            save_codes(encode(recording, atlas), path)
        return load_codes(path)

    def _grid(self, fitted: int, measured: int) -> Grid:
        if self.grid is not None:
            grid = Grid(*self.grid)
        else:
            side = max(2, isqrt(int(min(5 * sqrt(fitted), measured / SAMPLES_PER_UNIT))))
            grid = Grid(side, side)
        if fitted < len(grid) or measured < len(grid):
            raise ValueError(
                f"A map of {grid.rows} x {grid.columns} = {len(grid)} units needs at least as many samples to be "
                f"fitted and as many to be measured; there are {fitted} and {measured}. Give more data or a smaller "
                "`grid`."
            )
        return grid

    def _settings(
        self, network: Network, measured: Data, fitted: Data, names: Sequence[str], grid: Grid
    ) -> dict[str, Any]:
        """The contents of study.json."""
        conditions = ["clean"]
        for attack in self.attack or ():
            conditions += [control_of(attack), attack]
        return {
            "schema": SCHEMA,
            "asked": {
                "network": self.network if isinstance(self.network, str) else f"{OBJECT}{network.name})",
                "data": self.data if isinstance(self.data, str) else f"{OBJECT}{measured.source})",
                "fit_data": self.fit_data if isinstance(self.fit_data, str | None) else f"{OBJECT}{fitted.source})",
                "layers": self.layers if isinstance(self.layers, str) else list(self.layers),
                "reductions": list(self.reductions),
                "attack": list(self.attack or ()),
                "smallest": self.smallest,
                "grid": self.grid if self.grid is None else list(self.grid),
                "align": self.align,
                "scaling": self.scaling,
                "untrained": self.untrained,
                "draws": self.draws,
                "batch_size": self.batch_size,
                "seed": self.seed,
                "decode": list(self.decode),
            },
            "fingerprints": {
                "network": network.fingerprint(),
                "data": measured.fingerprint,
                "fit_data": fitted.fingerprint,
            },
            "versions": {
                "layerscope": version("layerscope"), "torch": version("torch"), "python": platform.python_version(),
            },
            "chosen": {
                "network": network.name,
                "layers": list(names),
                "grid": [grid.rows, grid.columns],
                "conditions": conditions,
                "measured": len(measured),
                "fitted": len(fitted),
                "class_names": list(network.class_names or measured.class_names),
            },
            "warnings": [],
            "checks": {},
            "example": None,
        }  # fmt: skip

    def _say(self, text: str) -> None:
        if self.progress:
            Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(text)


def _example(clean: Coded, attacked: Recording, codes: pd.DataFrame) -> int:
    """The id of one sample that the attack fools, of middling displacement over the maps; of all, if it fools none."""
    recording, travelled = clean.recording, torch.zeros(len(attacked))
    for layer in recording.depth(recording.reductions[0]):
        start, end = (best_of(table, layer).unit for table in (clean.codes, codes))
        travelled += clean.atlas.grid.steps(start, end)
    before, after = recording.logits().argmax(1), attacked.logits().argmax(1)
    fooled = before != after
    if recording.labels is not None:
        fooled &= before == recording.labels
    places = fooled.nonzero()[:, 0] if fooled.any() else torch.arange(len(recording))
    return int(recording.ids[places[travelled[places].argsort(stable=True)[len(places) // 2]]])
