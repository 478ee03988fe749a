"""The network and the samples that a run is about: loaded from its specs, or given and checked."""

from typing import Any

from torch import nn

from layerscope.data import Data
from layerscope.errors import RunMismatchError
from layerscope.models import load_network
from layerscope.network import Network
from layerscope.run import Run
from layerscope.sources import load_data


def subject(run: Run, network: Network | nn.Module | str | None = None, data: Any = None) -> tuple[Network, Data]:
    """The network that a run was made of, and the samples that it measured.

    Args:
        run: the run.
        network: see `load_network`; None loads it from the run's spec, where it has one.
        data: see `load_data`: all that the study was given as `data`, or the part that it measured; None loads them
            from the run's spec, where it has one.

    Raises:
        ValueError: if one is not given and the run was made from an object, which no folder can hold.
        RunMismatchError: if one is not what the run was made of.
    """
    found = run.network if network is None else load_network(network)
    _check("network", found.fingerprint(), run, "its weights, its preprocessing or its code differ")
    given = run.spec("data") if data is None else data
    samples = run.measured(load_data(given, resize=found.resize, show_progress=False))
    _check("data", samples.fingerprint, run, "samples, labels, their order or how files are resized differ")
    return found, samples


def _check(what: str, fingerprint: str, run: Run, why: str) -> None:
    """Raise RunMismatchError where a fingerprint is another than the run's."""
    if fingerprint != run.settings["fingerprints"][what]:
        raise RunMismatchError(
            f"`{what}` must be what the run in '{run.folder}' was made of, and is another: {why}. Give the same as the "
            "study was given, or run the study again."
        )
