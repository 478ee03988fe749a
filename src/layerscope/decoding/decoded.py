"""The one door: run, layer and unit to what the code stands for, with its fidelity beside it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import nan
from operator import index
from typing import Any, NamedTuple, SupportsIndex, TypeAlias

import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from layerscope.codes import Coded
from layerscope.data import Data
from layerscope.decoding.attribution import METHODS, Attributed, attribute
from layerscope.decoding.exemplars import Contrast, Exemplars, check_unit, contrasts, exemplars
from layerscope.decoding.fidelity import agreement_rows, inversion_rows, margin_drops, margin_rows, readout_rows
from layerscope.decoding.inversion import Inverted, Recipe, invert
from layerscope.decoding.layer_codes import LayerCodes
from layerscope.decoding.readout import Readout, fit_readout
from layerscope.decoding.subject import subject
from layerscope.layers import Layer
from layerscope.models import load_network
from layerscope.network import Network
from layerscope.progress import bar
from layerscope.reductions import PerSampleReduction, parse_reduction
from layerscope.results import Place, Result, table
from layerscope.run import Run
from layerscope.sources import load_data

AUTO = "auto"
CodePath: TypeAlias = Mapping[Layer, int]
"""A sample's unit at each layer, in order of depth."""


class Fidelity(NamedTuple):
    """How far the pictures of one unit are to be trusted; NaN and None where that was not measured."""

    reencoded: bool | None
    """Whether the inverted input is encoded back to the unit."""
    near: bool | None
    """Whether it is encoded to the unit or one that touches it on the grid."""
    residual: float
    """Distance of the inverted input's activation to the prototype, in the layer's spreads."""
    typical_residual: float
    """That of the unit's exemplar of middling distance."""
    margin_drop: float
    """Mean fall of the BMU margin, in spreads, when the highest attributed fifth of an exemplar is removed."""
    random_drop: float
    """The same when a random fifth is removed."""
    change_drop: float
    """The same when the fifth is removed that the baseline changes most, whatever is attributed to it."""


@dataclass(frozen=True)
class Decoded:
    """What one code stands for."""

    layer: Layer
    unit: int
    exemplars: Exemplars
    contrasts: tuple[Contrast, ...]
    """Against each neighbour on the grid that has samples."""
    inverted: Tensor | None
    """An input whose activation lies at the unit's prototype; None where it was not asked for or can't be."""
    read: Tensor | None
    """The input that a linear read-out tells of the prototype."""
    attributed: tuple[int, ...]
    """Ids of the samples that were attributed, some of the typical exemplars."""
    attribution: Attributed | None
    """Of their margin."""
    fidelity: Fidelity

    @property
    def name(self) -> str:
        """From the class mix; see `class_mix_name`."""
        return self.exemplars.name


@dataclass(frozen=True)
class Decoding:
    """Some codes, decoded, and how far that is to be trusted."""

    units: tuple[Decoded, ...]
    """Layer by layer."""
    results: pd.DataFrame
    """Rows of `reencoding_rate`, `inversion_residual`, `margin_drop`, `readout_explained`, as in results.parquet."""
    codes: Mapping[Layer, LayerCodes]
    """By layer: where the samples lie."""
    readouts: Mapping[Layer, Readout]
    """From activations to inputs, by layer; of layers whose samples are numbers."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per unit, for files and other tools."""
        return pd.DataFrame([_row(one) for one in self.units])


@dataclass(frozen=True)
class Asked:
    """What is to be made of each unit.

    Raises:
        ValueError: if an option is none of those that there are.
    """

    recipe: Recipe | str | None
    attribution: str | None
    count: int
    attributed: int
    agreement: bool
    seed: int

    def __post_init__(self) -> None:
        if not (self.recipe is None or self.recipe == AUTO or isinstance(self.recipe, Recipe)):
            raise ValueError(f"`recipe` must be a Recipe, '{AUTO}', or None for no inversions; got {self.recipe!r}.")
        if self.attribution not in (None, AUTO, *METHODS):
            raise ValueError(
                f"`attribution` must be one of {', '.join(METHODS)}, '{AUTO}', or None for none; got "
                f"{self.attribution!r}."
            )
        for name, least in (("count", 1), ("attributed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"`{name}` must be a whole number, at least {least}; got {value!r}.")

    def of(self, codes: LayerCodes) -> "Asked":
        """The same with `auto` settled by what the layer and the samples allow."""
        single = isinstance(parse_reduction(codes.layer.reduction), PerSampleReduction)
        numbers = isinstance(codes.shown([0]), Tensor)
        recipe, method = self.recipe, self.attribution
        if isinstance(recipe, str):
            recipe = Recipe(seed=self.seed) if single and numbers else None
        if self.agreement and recipe is None:
            raise ValueError(
                f"`agreement` holds inversions beside one another, and there are none of '{codes.layer}': `recipe` is "
                "None, or the layer can't be inverted. Leave agreement out."
            )
        if method == AUTO:
            method = METHODS[0] if single else None
        return replace(self, recipe=recipe, attribution=method)


def decode(
    run: Run | Coded,
    layer: str | Layer,
    unit: SupportsIndex | Sequence[SupportsIndex] | NDArray[Any] | Tensor | str | CodePath = "all",
    *,
    network: Network | nn.Module | str | None = None,
    data: Any = None,
    recipe: Recipe | str | None = AUTO,
    attribution: str | None = AUTO,
    count: int = 8,
    attributed: int = 4,
    agreement: bool = False,
    seed: int = 0,
    show_progress: bool = True,
) -> Decoding:
    """What codes stand for: exemplars, contrast, name, inversion, attribution, and their fidelity.

    Args:
        run: a finished run, or a recording with its atlas, of `tokens` and `positions:N` too.
        layer: its name, or a pattern of several (`blocks.*`), with the reduction after a bar; without one, the run's
            first.
        unit: which, several, `all`, or a sample's code path (see `code_path`): its unit at each layer.
        network: what was recorded; by default what the run was made from, if that was a spec.
        data: the samples that were recorded; by default as `network`.
        recipe: of inversions; None leaves them out, `auto` inverts wherever that can be done.
        attribution: one of `METHODS`; None leaves it out, `auto` takes integrated gradients where there is one vector
            per sample. Needs captum.
        count: of nearest and of typical exemplars per unit.
        attributed: of the typical ones, how many per unit are attributed; 0 for none.
        agreement: whether to invert twice more, from two seeds of noise, to see how alike the results are;
            of two units at least.
        seed: of everything that is drawn.
        show_progress: whether to draw a progress bar.

    Raises:
        ValueError: if there is no such layer or unit, an option is out of range, network or data can't be loaded again,
            the layer can't be inverted or attributed though that is asked for, or agreement is asked of one unit, or of
            no inversions.
        RunMismatchError: if network or data are not what was recorded.
        ImportError: if attribution is asked for and captum is not installed; says the pip line.
    """
    coded = run if isinstance(run, Coded) else Coded(run.recordings["clean"], run.atlas, run.codes["clean"])
    chosen = meant(coded.recording.layers, layer)
    path = {str(one): number for one, number in unit.items()} if isinstance(unit, Mapping) else None
    if path is not None:
        chosen = _on_path(chosen, path, layer)
    asked = Asked(recipe, attribution, count, attributed, agreement, seed)
    made, samples = _loaded(run, network, data)
    every: list[Decoded] = []
    rows: list[Result] = []
    codes: dict[Layer, LayerCodes] = {}
    readouts: dict[Layer, Readout] = {}
    with bar("decoding", len(chosen), unit="layers", show=show_progress) as progress:
        for one in chosen:
            codes[one] = LayerCodes.of(coded, one, made, samples)
            units = _units(codes[one], unit if path is None else path[str(one)])
            if agreement and len(units) < 2:
                raise ValueError(
                    "`agreement` holds inversions of a unit against those of others, and needs two units of a layer at "
                    f"least; `unit` gives {units} of '{one}'. Ask for several, or leave agreement out."
                )
            own, found, readout = _decode_layer(codes[one], units, asked.of(codes[one]))
            every += own
            rows += found
            readouts |= {} if readout is None else {one: readout}
            progress.advance()
    return Decoding(tuple(every), table(rows), codes, readouts)


def code_path(run: Run | Coded, sample: int, reduction: str | None = None) -> CodePath:
    """A sample's unit at each layer, in order of depth.

    Raises:
        ValueError: if there is no such sample or reduction.
    """
    recording, atlas, codes = (
        run[:3] if isinstance(run, Coded) else (run.recordings["clean"], run.atlas, run.codes["clean"])
    )
    reduction = recording.reductions[0] if reduction is None else reduction
    if reduction not in recording.reductions:
        raise ValueError(f"`reduction` must be one of {', '.join(recording.reductions)}; got {reduction!r}.")
    row = codes[codes["id"] == sample]
    if row.empty:
        raise ValueError(f"`sample` must be the id of a recorded sample; there is none with id {sample}.")
    return {layer: int(row[f"code:{layer}"].iloc[0]) for layer in recording.depth(reduction) if layer in atlas.maps}


def _decode_layer(
    codes: LayerCodes, units: list[int], asked: Asked
) -> tuple[list[Decoded], list[Result], Readout | None]:
    """Some units of one layer, and the rows that say how far they are to be trusted."""
    place = Place(
        codes.layer.name, codes.recording.depth(codes.layer.reduction).index(codes.layer), "clean",
        codes.layer.reduction,
    )  # fmt: skip
    shown = [exemplars(codes, unit, count=asked.count) for unit in units]
    rows: list[Result] = []
    inverted, readout = _inverted(codes, units, asked, place, rows), None
    if len(codes.vectors) == len(codes.recording) >= 4 and isinstance(codes.shown([0]), Tensor):
        readout = fit_readout(codes, seed=asked.seed)
        rows += readout_rows(readout, fit_readout(codes, "code", seed=asked.seed), place)
    typical = torch.tensor([_typical_residual(codes, unit) for unit in units])
    if inverted is not None:
        rows += inversion_rows(inverted, typical, place, seed=asked.seed)
    parts, drops = _attributed(codes, shown, asked, place, rows)
    found = []
    for row, (unit, own) in enumerate(zip(units, shown, strict=True)):
        read = None if readout is None else readout(codes.fitted.prototypes[unit][None])[0]
        fidelity = Fidelity(
            None if inverted is None else bool(inverted.same[row]),
            None if inverted is None else bool(inverted.near[row]),
            nan if inverted is None else float(inverted.residuals[row]),
            float(typical[row]),
            *drops.get(unit, (nan, nan, nan)),
        )
        found.append(Decoded(
            codes.layer, unit, own, contrasts(codes, unit), None if inverted is None else inverted.inputs[row], read,
            tuple(one.sample for one in own.typical[: asked.attributed]) if unit in parts else (), parts.get(unit),
            fidelity,
        ))  # fmt: skip
    return found, rows, readout


def _inverted(codes: LayerCodes, units: list[int], asked: Asked, place: Place, rows: list[Result]) -> Inverted | None:
    """The inversions; with agreement, its row is added."""
    if not isinstance(asked.recipe, Recipe):
        return None
    wanted = torch.tensor(units)
    if asked.agreement:
        noisy = [replace(asked.recipe, start="noise", seed=asked.seed + one) for one in range(2)]
        rows += agreement_rows([invert(codes, wanted, one) for one in noisy], codes.mean_input, place, seed=asked.seed)
    return invert(codes, wanted, asked.recipe)


def _attributed(
    codes: LayerCodes, shown: Sequence[Exemplars], asked: Asked, place: Place, rows: list[Result]
) -> tuple[dict[int, Attributed], dict[int, tuple[float, float, float]]]:
    """The attribution of each living unit's exemplars, and what removing its highest part does; the rows are added."""
    owners = [(own.unit, one.sample) for own in shown for one in own.typical[: asked.attributed]]
    if asked.attribution is None or not owners:
        return {}, {}
    units = torch.tensor([unit for unit, _ in owners])
    ids = [sample for _, sample in owners]
    samples = codes.data.take(codes.data.find(ids)).inputs
    found = attribute(codes.coder, samples, units, asked.attribution)
    drops = margin_drops(codes.coder, samples, units, found, seed=asked.seed, ids=torch.tensor(ids))
    rows += margin_rows(drops, units, place, seed=asked.seed)
    parts, falls = {}, {}
    for unit in units.unique().tolist():
        mine = units == unit
        parts[unit] = found.of(mine)
        attributed, random, changed = (float(values[mine].mean()) for values in drops)
        falls[unit] = (attributed, random, changed)
    return parts, falls


def _typical_residual(codes: LayerCodes, unit: int) -> float:
    """Of the unit's exemplar of middling distance; NaN for a dead unit."""
    middle = codes.median_member(unit)
    return nan if middle is None else float(codes.residuals([middle])[0])


def meant(layers: Sequence[Layer], wanted: str | Layer) -> list[Layer]:
    """Those of some recorded layers that a name or pattern means, in order of depth.

    Raises:
        ValueError: if there is none.
    """
    name, bar_, reduction = str(wanted).partition("|")
    reductions = tuple(dict.fromkeys(one.reduction for one in layers))
    reduction = parse_reduction(reduction).name if bar_ else reductions[0]
    found = [one for one in layers if one.reduction == reduction and fnmatchcase(one.name, name)]
    if not found:
        known = dict.fromkeys(one.name for one in layers)
        raise ValueError(
            f"`layer` {str(wanted)!r} was not recorded; layers are {', '.join(known)}, under {', '.join(reductions)}."
        )
    return found


def _on_path(chosen: list[Layer], path: Mapping[str, Any], wanted: str | Layer) -> list[Layer]:
    """Those layers that a code path passes."""
    found = [one for one in chosen if str(one) in path]
    if not found:
        raise ValueError(
            f"`unit` is a code path of {', '.join(path) or 'no layer'}, and `layer` {str(wanted)!r} means "
            f"{', '.join(map(str, chosen))}, none of which is on it. Give the path's reduction after a bar: '*|mean'."
        )
    return found


def _units(codes: LayerCodes, wanted: Any) -> list[int]:
    """Units by number, or all: whole numbers of any kind, in sequences, arrays and tensors."""
    if isinstance(wanted, str) and wanted == "all":
        return list(codes.units)
    plain = wanted.tolist() if isinstance(wanted, Tensor) or hasattr(wanted, "__array__") else wanted
    given = list(plain) if isinstance(plain, Iterable) and not isinstance(plain, str) else [plain]
    whole = [one for one in given if isinstance(one, SupportsIndex) and not isinstance(one, bool)]
    if not given or len(whole) < len(given):
        raise ValueError(f"`unit` must be a unit's number, several, 'all', or a code path; got {wanted!r}.")
    units = [index(one) for one in whole]
    for one in units:
        check_unit(codes, one)
    return units


def _loaded(run: Run | Coded, network: Any, data: Any) -> tuple[Network, Data]:
    """Network and samples, as given or as the run was made from."""
    if isinstance(run, Coded):
        if network is None or data is None:
            raise ValueError("`network` and `data` must be given with a recording: those that it was made from.")
        made = load_network(network)
        return made, load_data(data, resize=made.resize, show_progress=False)
    return subject(run, network, data)


def _row(one: Decoded) -> dict[str, Any]:
    """A unit as a line of a table."""
    own, fidelity = one.exemplars, one.fidelity
    return {
        "layer": one.layer.name,
        "reduction": one.layer.reduction,
        "unit": one.unit,
        "name": one.name,
        "count": own.count,
        "classes": [f"{name}: {count}" for name, count in own.classes.items()],
        "predictions": [f"{name}: {count}" for name, count in own.predictions.items()],
        "mistakes": len(own.mistakes),
        "nearest": [shown.sample for shown in own.nearest],
        "typical": [shown.sample for shown in own.typical],
        **fidelity._asdict(),
    }
