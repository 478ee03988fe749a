"""Samples that a network can't be shown, told with their ids; data that don't go together."""

from collections.abc import Mapping
from math import isfinite

import torch
from torch import Tensor

from layerscope.data import Batch, Data, some
from layerscope.network import Network
from layerscope.types import Labels


def check_inputs(batch: Batch, network: Network) -> None:
    """Raise ValueError where a sample holds numbers that are not finite, or one tensor lies outside the bounds."""
    given = batch.inputs
    tensors = given.values() if isinstance(given, Mapping) else given if isinstance(given, tuple) else (given,)
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or not tensor.numel():
            continue
        least, most = (float(end) for end in tensor.aminmax())  # NaN if there is one
        if not isfinite(least) or not isfinite(most):
            bad = batch.ids[~tensor.isfinite().flatten(1).all(1)].tolist()
            raise ValueError(
                f"Inputs must be finite; {len(bad)} samples of a batch (ids {some(bad)}) hold NaN or infinity. "
                "Repair or remove them."
            )
        low, high = network.bounds
        if tensor is given and (least < low or most > high):
            inside = ((tensor >= low) & (tensor <= high)).flatten(1).all(1)
            bad, values = batch.ids[~inside].tolist(), tensor[~inside]
            raise ValueError(
                f"Inputs must lie in the network's bounds [{low:g}, {high:g}]; {len(bad)} samples of a batch (ids "
                f"{some(bad)}) have values from {values.min():g} to {values.max():g}. Give the data before "
                "normalisation and the normalisation as `preprocess`, or state other `bounds`."
            )


def check_labels(labels: Labels, classes: int) -> None:
    """Raise ValueError where a label is none of the network's classes."""
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"Labels must be classes of the network, 0 to {classes - 1}; got labels from {labels.min()} to "
            f"{labels.max()}. Map the data's classes to the network's."
        )


def check_together(network: Network, probe: Batch, fit_probe: Batch, measured: Data) -> None:
    """Raise ValueError where network, data and fit data do not go together; told by two samples of each."""
    shape, fit_shape = (_shape(batch) for batch in (probe, fit_probe))
    if fit_shape != shape:
        raise ValueError(f"`fit_data` must be samples as those of `data`, of shape {shape}; got {fit_shape}.")
    check_inputs(probe, network)
    try:
        with torch.no_grad():
            classes = network(probe.inputs).shape[1]
    except RuntimeError as error:
        raise ValueError(f"The network can't take `data`, samples of shape {shape}: {error}") from error
    for whose, names in (("network", network.class_names), ("data", measured.class_names)):
        if len(names) > classes:
            raise ValueError(
                f"The {whose}'s {len(names)} class names ({', '.join(names[:3])}, ...) are more than the network's "
                f"{classes} answers; leave out classes that it does not know."
            )


def _shape(batch: Batch) -> tuple[int, ...] | str:
    """What one sample is: the shape of its tensor, or what else a batch is."""
    inputs = batch.inputs
    return tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else type(inputs).__name__
