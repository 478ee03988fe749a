"""Is a code a handle, or only a label? A layer is moved to another class's code, and the rest of the network runs.

A code that goes along with an answer need not take part in it. Each sample's activation is moved by the difference
between the prototype of a code of another class, the target, and the prototype of its own code, and what counts is how
often the answer becomes the target. Beside it stand two controls of the same length: a random direction, and the
difference between two codes that are no codes of the target.

The target's code is the commonest one among the samples of that class that are answered right, the sample's own code
left out: it is there for every class at every layer, while in shallow layers no code may be one class's own, and the
code nearest to the sample would be the least typical of its class. The other two codes of the control are drawn among
those in use that are neither the sample's own nor of the target class (that is, whose commonest class it is not); where
there are no two, the sample is left out of that control. A sample that is moved at several positions has one direction,
and one pair of other codes, at all of them: the steps to the target hardly differ between its positions, and controls
that went a way of their own at each would cancel in any average over these.

Samples depend on one another in two ways: those of one code are moved from one prototype, and those with one target are
moved to one, of which there are hardly more than classes. A rate's interval is Wilson's, once with the samples moved
from one code counted as alike and once with those moved to one (see `stats.clustered_share_interval`), and the wider of
the two is told; a mean's is the wider of two bootstraps, of the codes moved from and of the codes moved to. Under
`positions:N` and `tokens`, where a sample has several codes, samples are independent in the first and alike by target
class in the second. Where there is one target code only, as there mostly is for a pair of classes, the first stands
alone. Intervals are of other samples and codes of the same kind, with this network and this map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import isfinite, log
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from layerscope.atlas import Atlas
from layerscope.data import Data
from layerscope.decoding.moves import Kind, Plan, Steps, planned, steps_of
from layerscope.decoding.shifts import movable, shifted, why_not
from layerscope.decoding.subject import subject
from layerscope.errors import RunMismatchError
from layerscope.layers import INPUT, LOGITS, Layer
from layerscope.layouts import Output
from layerscope.network import Network
from layerscope.progress import bar
from layerscope.recording import Recording
from layerscope.reductions import Pieces
from layerscope.results import Place, Result, finding, table
from layerscope.run import Run
from layerscope.stats import clustered_mean_interval, clustered_share_interval, resample_clusters, widest
from layerscope.store import save_table
from layerscope.types import Flags, Labels, Logits, PerSample, Samples, Units, Vectors

SAMPLES = 500
"""That are moved, where nothing else is asked."""
DOSES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Shifts in multiples of the difference between the two prototypes."""
DRAWS = 200
MISREAD = 0.01
"""Share of the samples that may be answered otherwise than recorded: rounding turns a tie, and no more."""
KINDS: tuple[Kind, ...] = ("clean", "random", "codes")
"""Toward the target class's code; and the controls: a random direction, the difference between two other codes."""


@dataclass(frozen=True)
class Causal:
    """What a causal test found."""

    results: pd.DataFrame
    """Rows as in `results.parquet`: `causal_target_rate` under the condition `clean`, `causal_control_rate` under
    `random` and `codes`; `causal_probability_shift` and `causal_log_odds_shift` under all three. Those of another dose
    than 1 say it, as in `clean:dose=0.5`."""
    pairs: pd.DataFrame
    """At dose 1, a row for each layer, own class and target: columns `reduction`, `layer`, `layer_index`, `own`,
    `target`, `n`, `rate`, `low`, `high`, and the controls' rates `random` and `codes`."""

    def save(self, folder: Path | str) -> tuple[Path, Path]:
        """Write causal.parquet and causal_pairs.parquet into a folder; their paths."""
        paths = Path(folder) / "causal.parquet", Path(folder) / "causal_pairs.parquet"
        for path, rows in zip(paths, (self.results, self.pairs), strict=True):
            save_table(path, rows)
        return paths


def causal(
    run: Run,
    *,
    network: Network | nn.Module | str | None = None,
    data: Any = None,
    layers: Sequence[str] | None = None,
    reductions: Sequence[str] | None = None,
    limit: int | None = SAMPLES,
    doses: Sequence[float] = DOSES,
    batch_size: int = 250,
    seed: int = 0,
    show_progress: bool = True,
) -> Causal:
    """The causal test of a run's codes; see `causal_test`.

    Args:
        run: the run.
        network: the network that it was made of; None loads it from the run's spec.
        data: the data that it was made of; None loads them from the run's spec.
        layers: names of layers of the run; None takes all.
        reductions: those of the run under which activations can be moved; None takes all of these.
        limit: how many samples, drawn at random; None takes all.
        doses: multiples of the difference; 1 among them.
        batch_size: samples per forward pass; plays no part in what is found.
        seed: of everything that is drawn.
        show_progress: whether to draw a progress bar.

    Raises:
        ValueError: if an argument is out of range, names something that the run does not hold or that can't be moved,
            or the run was made from an object that is not given.
        RunMismatchError: if network or data are not what the run was made of.
    """
    own, samples = subject(run, network, data)
    return causal_test(
        own, samples, run.recordings["clean"], run.atlas, layers=layers, reductions=reductions, limit=limit,
        doses=doses, batch_size=batch_size, seed=seed, show_progress=show_progress,
    )  # fmt: skip


def causal_test(
    network: Network,
    data: Data,
    clean: Recording,
    atlas: Atlas,
    *,
    layers: Sequence[str] | None = None,
    reductions: Sequence[str] | None = None,
    limit: int | None = SAMPLES,
    doses: Sequence[float] = DOSES,
    batch_size: int = 250,
    seed: int = 0,
    show_progress: bool = True,
) -> Causal:
    """How often the answer becomes another class when a layer is moved to a code of that class.

    Samples that are answered right (without labels: all) are drawn at random, the same for all layers, and each gets
    one of the other classes as its target; in each class the targets take turns. At each layer its activation is moved
    by the difference between the prototypes of the target's code and of its own, in the layer's own units: under `mean`
    by the same at every position, under `cls`, `last` and `flatten` where these look, under `positions:N` and `tokens`
    each recorded position from its own code to the target's.

    Intervals count samples moved from one code as alike, or those moved to one, whichever makes them wider: outcomes
    depend on both, and there are few codes to move to. The module's own text says more of them, which code is the
    target's, and what the controls are.

    Args:
        network: the network.
        data: the recorded samples, or more.
        clean: what the layers say to them.
        atlas: a map for each layer.
        layers: names of recorded layers; None takes all.
        reductions: recorded reductions; None takes those under which activations can be moved.
        limit: how many samples; None takes all.
        doses: multiples of the difference; 1 among them.
        batch_size: samples per forward pass.
        seed: of samples, targets and controls. What a sample is moved by depends on its id, not on its batch.
        show_progress: whether to draw a progress bar.

    Raises:
        ValueError: if an argument is out of range, names something that was not recorded or can't be moved, or fewer
            than two classes are answered right.
        RunMismatchError: if the network answers otherwise than was recorded.
    """
    doses = _checked(doses, batch_size)
    chosen = _chosen(clean, layers, reductions)
    plan = planned(clean, limit, seed)
    steps = [steps_of(layer, clean, atlas.maps[layer], plan, seed) for layer in chosen]
    answers = _asked(network, data, plan, steps, doses, batch_size, show_progress=show_progress)
    told = [
        _Told(one, plan, _Answers(*(part[number] for part in answers)), _place(clean, one.layer))
        for number, one in enumerate(steps)
    ]
    found = table(row for one in told for row in one.rows(doses, seed))
    return Causal(found, pd.DataFrame(pair for one in told for pair in one.pairs(doses.index(1))))


def _asked(
    network: Network, data: Data, plan: Plan, steps: Sequence[Steps], doses: Sequence[float], batch_size: int, *,
    show_progress: bool,
) -> "_Answers":  # fmt: skip
    """What the network answers to every sample, moved by every kind of step at every dose."""
    answers = _Answers.empty(len(steps), len(KINDS), len(doses), len(plan.ids))
    unmoved = torch.empty_like(plan.own)
    work = len(plan.ids) * len(steps) * len(KINDS)
    with bar("causal test", work, unit="samples", show=show_progress) as progress, torch.no_grad():
        for rows in torch.arange(len(plan.ids)).split(batch_size):
            samples = data.take(data.find(plan.ids[rows].tolist())).inputs
            before = network(samples)
            unmoved[rows] = before.argmax(1).cpu()
            for (number, one), (place, kind) in product(enumerate(steps), enumerate(KINDS)):
                by = one.by(kind, rows)
                for at, dose in enumerate(doses):
                    after = _moved(network, samples, one, by, dose) if dose else before
                    answers.note((number, place, at), rows, before, after, plan.target[rows])
                progress.advance(len(rows))
    _check_answers(unmoved, plan.own)
    return answers


def _checked(doses: Sequence[float], batch_size: int) -> tuple[float, ...]:
    """The doses, if they are in range."""
    found = tuple(float(dose) for dose in doses)
    if 1 not in found or len(set(found)) < len(found) or not all(isfinite(one) and one >= 0 for one in found):
        raise ValueError(f"`doses` must be different numbers of at least 0, 1 among them; got {found}.")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"`batch_size` must be a whole number, at least 1; got {batch_size!r}.")
    return found


def _place(clean: Recording, layer: Layer) -> Place:
    """Where a layer stands in depth."""
    return Place(layer.name, clean.depth(layer.reduction).index(layer), "", layer.reduction)


def _chosen(clean: Recording, layers: Sequence[str] | None, reductions: Sequence[str] | None) -> list[Layer]:
    """The recorded layers that are asked for."""
    layers = [layers] if isinstance(layers, str) else layers
    wanted = [reductions] if isinstance(reductions, str) else reductions
    if wanted is None:
        wanted = [name for name in clean.reductions if why_not(name) is None] or clean.reductions
    for name in wanted:
        if name not in clean.reductions:
            raise ValueError(f"`reductions`: {name!r} was not recorded; it is one of {', '.join(clean.reductions)}.")
        movable(name)
    there = [layer for name in wanted for layer in clean.depth(name) if layer.name not in (INPUT, LOGITS)]
    for name in layers or ():
        if name in (INPUT, LOGITS):
            raise ValueError(f"`layers`: {name!r} can't be moved: it is where the network begins, or what it answers.")
        if name not in {layer.name for layer in there}:
            known = ", ".join(dict.fromkeys(layer.name for layer in there)) or "none"
            raise ValueError(f"`layers`: {name!r} was not recorded under {', '.join(wanted)}; layers are: {known}.")
    return [layer for layer in there if layers is None or layer.name in layers]


def _moved(network: Network, samples: Samples, steps: Steps, by: Vectors | Pieces, dose: float) -> Logits:
    """The logits after a layer was moved by a multiple of the steps."""
    scaled = by._replace(vectors=dose * by.vectors) if isinstance(by, Pieces) else dose * by

    def change(output: Output) -> Tensor:
        return shifted(output, steps.reduction, scaled)

    return network.altered(samples, steps.layer.name, change)


class _Answers(NamedTuple):
    """What came of every sample at every layer, kind and dose: (layers, kinds, doses, n)."""

    became: Bool[Tensor, "layers kinds doses n"]
    """Whether the answer is the target."""
    probability: Float[Tensor, "layers kinds doses n"]
    """The target's, less what it was."""
    odds: Float[Tensor, "layers kinds doses n"]
    """Its log-odds in bits, less what they were."""

    @classmethod
    def empty(cls, *shape: int) -> "_Answers":
        """Before anything was asked."""
        numbers = torch.zeros(shape, dtype=torch.float64)
        return cls(torch.zeros(shape, dtype=torch.bool), numbers, numbers.clone())

    def note(self, where: tuple[int, int, int], rows: Units, before: Logits, after: Logits, target: Labels) -> None:
        """Keep what some samples were answered before and after."""
        (p, odds), (p_before, odds_before) = _confidence(after, target), _confidence(before, target)
        self.became[where][rows] = after.argmax(1).cpu() == target
        self.probability[where][rows] = p - p_before
        self.odds[where][rows] = odds - odds_before


def _confidence(logits: Logits, target: Labels) -> tuple[PerSample, PerSample]:
    """The target's probability, and its log-odds in bits."""
    logits = logits.double().cpu()
    own = logits.gather(1, target[:, None])[:, 0]
    odds = own - logits.scatter(1, target[:, None], -torch.inf).logsumexp(1)
    return odds.sigmoid(), odds / log(2)


@dataclass(frozen=True)
class _Told:
    """One layer's findings."""

    steps: Steps
    plan: Plan
    answers: _Answers
    """Of this layer: (kinds, doses, n)."""
    place: Place

    def rows(self, doses: Sequence[float], seed: int) -> Iterator[Result]:
        """Rates and effects of each kind at each dose."""
        for number, kind in enumerate(KINDS):
            kept = self._kept(kind)
            if not kept.any():
                continue
            clusters = [alike[kept] for alike in self.steps.clusters]
            weights = [resample_clusters(alike, DRAWS, seed=seed) for alike in clusters]
            name = "causal_target_rate" if kind == "clean" else "causal_control_rate"
            for at, dose in enumerate(doses):
                place = self.place._replace(condition=kind if dose == 1 else f"{kind}:dose={dose:g}")
                became, probability, odds = (part[number, at][kept] for part in self.answers)
                bounds = widest(clustered_share_interval(became, alike) for alike in clusters)
                yield finding(name, float(became.double().mean()), bounds, len(became), place)
                for effect, values in (("probability", probability), ("log_odds", odds)):
                    bounds = widest(map(partial(clustered_mean_interval, values), weights, clusters))
                    yield finding(f"causal_{effect}_shift", float(values.mean()), bounds, len(values), place)

    def pairs(self, dose: int) -> Iterator[dict[str, Any]]:
        """A row for each own class and target."""
        became, (origin, _) = self.answers.became[:, dose], self.steps.clusters
        for own, target in torch.stack([self.plan.own, self.plan.target], 1).unique(dim=0).tolist():
            mine = (self.plan.own == own) & (self.plan.target == target)
            low, high = clustered_share_interval(became[0][mine], origin[mine])
            kinds = {
                kind: float(became[number][mine & self._kept(kind)].double().mean())
                for number, kind in enumerate(KINDS)
            }
            where = {name: getattr(self.place, name) for name in ("reduction", "layer", "layer_index")}
            rates = {
                "rate": kinds["clean"],
                "low": low,
                "high": high,
                "random": kinds["random"],
                "codes": kinds["codes"],
            }
            yield where | {"own": own, "target": target, "n": int(mine.sum())} | rates

    def _kept(self, kind: Kind) -> Flags:
        """The samples that this kind of shift has."""
        return self.steps.complete if kind == "codes" else torch.ones(len(self.plan.ids), dtype=torch.bool)


def _check_answers(before: Labels, own: Labels) -> None:
    """Raise RunMismatchError where unmoved samples are answered otherwise than recorded."""
    other = int((before != own).sum())
    if other > MISREAD * len(own):
        raise RunMismatchError(
            f"`network` answers {other} of {len(own)} samples otherwise than was recorded of them; give the network "
            "and the data that the recording was made of."
        )
