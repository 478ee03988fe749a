"""Samples that a network can't be shown, told with their ids."""

from collections.abc import Mapping
from math import isfinite

from torch import Tensor

from layerscope.data import Batch, some
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
