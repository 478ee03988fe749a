"""The network and the samples that a run is about: loaded from its specs, or given and checked."""

from typing import Any

from torch import nn

from layerscope.data import Data
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
    run.check("network", found.fingerprint(), "its weights, its preprocessing or its code differ")
    given = run.spec("data") if data is None else data
    samples = run.measured(load_data(given, resize=found.resize, show_progress=False))
    run.check("data", samples.fingerprint, "samples, labels, their order or how files are resized differ")
    return found, samples
