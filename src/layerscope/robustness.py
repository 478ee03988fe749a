"""What a network answers under attack, sample by sample."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from layerscope.attacks import AbstractPerturbation, Check, check_attack, parse_attack
from layerscope.checks import check_inputs
from layerscope.data import Data
from layerscope.embeddings import attackable
from layerscope.errors import AllWrongError
from layerscope.models import load_network
from layerscope.network import Network
from layerscope.progress import bar
from layerscope.results import Place, Result, finding
from layerscope.sources import load_data
from layerscope.stats import median, resample, share_interval

CHECKED = 100
"""Samples on which an attack checks itself."""
DRAWS = 200


class Robustness(NamedTuple):
    """What attacks do to a network's answers."""

    samples: pd.DataFrame
    """Columns `id`, `label`, `answer` (clean), and for each attack `answer:ATTACK`, `success:ATTACK` and `size:ATTACK`
    (in the attack's norm)."""
    results: tuple[Result, ...]
    """Rows of `accuracy`, and of `robust_accuracy` or `smallest_perturbation` under each attack."""
    checks: dict[str, list[Check]]
    """Of each attack; see `check_attack`."""


def robustness(
    network: Network | torch.nn.Module | str,
    data: object,
    attacks: str | Sequence[str] | Mapping[str, str | AbstractPerturbation],
    *,
    surrogate: Network | torch.nn.Module | str | None = None,
    batch_size: int = 250,
    seed: int = 0,
    show_progress: bool = True,
) -> Robustness:
    """Attack every sample of the data.

    Args:
        network: see `load_network`.
        data: see `load_data`; labelled samples of numbers (images, tables), or texts or tokens, whose embeddings are
            changed (see `attackable`).
        attacks: one spec or several; see `parse_attack`. Those that look for the smallest change (`fmn`, `bisect`) give
            its median over the samples that are answered right. Or specs and perturbations by the names that they are
            to have, such as `{"foolbox": Foreign(Budget("linf", 8 / 255), search)}`.
        surrogate: another network of the same classes, on which attacks are made to see whether they carry over.
        batch_size: samples attacked together.
        seed: of random starts and of noise.
        show_progress: whether to draw a progress bar.

    Raises:
        ValueError: if a spec can't be read, the data have no labels or can't be changed a little, or an attack can't
            be made.
        AllWrongError: if every sample is answered wrong already.
    """
    if not isinstance(attacks, Mapping):
        attacks = {spec: spec for spec in ((attacks,) if isinstance(attacks, str) else attacks)}
    named = {name: parse_attack(one) if isinstance(one, str) else one for name, one in attacks.items()}
    wrong = [name for name, one in named.items() if not isinstance(one, AbstractPerturbation) or name == "clean"]
    if wrong or not named:
        raise ValueError(
            "`attacks` must be specs, or perturbations by names other than 'clean', such as {'foolbox': "
            f"Foreign(Budget('linf', 8 / 255), search)}}; got {', '.join(wrong) or 'none'}."
        )
    network = load_network(network)
    other = None if surrogate is None else load_network(surrogate)
    samples = load_data(data, resize=network.resize, show_progress=show_progress)
    parts, checks = [], _checked(network, samples, named, other, seed)
    with bar("attacking", len(samples) * len(named), unit="samples", show=show_progress) as progress:
        for batch in samples.batches(batch_size):
            check_inputs(batch, network)
            (asked, inputs), labels = attackable(network, batch.inputs), batch.labels
            assert labels is not None
            with torch.no_grad():
                part = {"id": batch.ids, "label": labels, "answer": network(batch.inputs).argmax(1).cpu()}
            for spec, perturbation in named.items():
                found = perturbation(asked, inputs, labels, ids=batch.ids.tolist(), seed=seed)
                with torch.no_grad():
                    part[f"answer:{spec}"] = asked(found.inputs).argmax(1).cpu()
                part[f"success:{spec}"], part[f"size:{spec}"] = found.success.cpu(), found.sizes.cpu()
                progress.advance(len(labels))
            parts.append(pd.DataFrame({name: values.numpy() for name, values in part.items()}))
    table = pd.concat(parts, ignore_index=True)
    right = table["answer"] == table["label"]
    if not right.any():
        raise AllWrongError(
            f"All {len(table)} samples of `data` are answered wrong already, so that there is no answer to change: "
            "check that labels and preprocessing are the network's own."
        )
    rows = [_share("accuracy", int(right.sum()), len(table), "clean")]
    for spec, perturbation in named.items():
        rows.append(_row(table, right, spec, perturbation, seed))
    return Robustness(table, tuple(rows), checks)


def _checked(
    network: Network, data: Data, perturbations: Mapping[str, AbstractPerturbation], other: Network | None, seed: int
) -> dict[str, list[Check]]:
    """Each attack's checks of itself, on samples drawn from all of the data."""
    batch = data.take(some_rows(data, CHECKED, seed))
    check_inputs(batch, network)
    asked, inputs = attackable(network, batch.inputs)
    if batch.labels is None:
        raise ValueError("`data` must have labels, since it is right answers that are to be changed; give labels.")
    if other is not None and asked is not network:
        raise ValueError("`surrogate` needs inputs that both networks take; embeddings are one network's own.")
    return {
        spec: check_attack(asked, inputs, batch.labels, one, surrogate=other, seed=seed)
        for spec, one in perturbations.items()
    }


def some_rows(data: Data, count: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """At most so many rows of the data, drawn at random, in order."""
    return np.sort(np.random.default_rng(seed).permutation(data.rows)[:count])


def _row(table: pd.DataFrame, right: pd.Series, spec: str, perturbation: AbstractPerturbation, seed: int) -> Result:
    """The accuracy that an attack leaves; the median change of one that looks for the smallest."""
    if perturbation.budget.size < float("inf"):
        return _share("robust_accuracy", int((table[f"answer:{spec}"] == table["label"]).sum()), len(table), spec)
    own = table[right]
    sizes = torch.tensor(own[f"size:{spec}"].where(own[f"success:{spec}"], float("inf")).to_numpy()).double()
    middle = median(sizes, resample(len(own), DRAWS, seed=seed))
    place = Place(condition=spec)
    return finding("smallest_perturbation", middle.value, middle.bounds, middle.n, place, unit=perturbation.budget.norm)


def _share(measure: str, count: int, n: int, condition: str) -> Result:
    return finding(measure, count / n, share_interval(count, n), n, Place(condition=condition))
