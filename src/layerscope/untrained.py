"""The same architecture with fresh weights: the null model of everything that training could have done."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

UNTRAINED_SEED = 0x1A7E5C0B
"""Added to the seed of untrained draws: a user's own small seed would draw the weights that training began with."""


def fresh_module(module: nn.Module, seed: int, name: str) -> nn.Module:
    """A copy with fresh weights, on the CPU.

    Every submodule that has `reset_parameters` draws its weights anew. Parameters that no such method owns keep their
    values in a shuffled order, with a warning.

    Args:
        module: stays as it is.
        seed: of the weights.
        name: what warnings and errors call the network.

    Raises:
        ValueError: if the module can't be copied.
    """
    try:
        fresh = copy.deepcopy(module).cpu()
    except RuntimeError as error:
        raise ValueError(
            f"The untrained null of '{name}' can't be made, since its module can't be copied ({error}); "
            "do without it (`untrained=0`), or remove reparametrisations such as weight_norm."
        ) from error
    before = {name: parameter.detach().clone() for name, parameter in fresh.named_parameters()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(UNTRAINED_SEED + seed)
        for part in fresh.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
        left = {
            name: parameter
            for name, parameter in fresh.named_parameters()
            if parameter.equal(before[name]) and bool((parameter != parameter.flatten()[0]).any())
        }
        for parameter in left.values():
            order = torch.randperm(parameter.numel())
            parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))
    if left:
        warnings.warn(
            f"The untrained null of '{name}' shuffles the entries of {', '.join(left)}: "
            "no `reset_parameters` method draws them anew.",
            stacklevel=3,
        )
    return fresh


def statistics_of(module: nn.Module) -> dict[str, Tensor]:
    """The running statistics of batch normalisation, by name; empty where there is none."""
    return {
        f"{name}.{what}": buffer
        for name, part in _normalised(module).items()
        for what, buffer in part.named_buffers(recurse=False)
    }


@contextmanager
def normalising(module: nn.Module) -> Iterator[None]:
    """Batch normalisation takes the mean over batches of each batch's statistics; all else is in evaluation mode."""
    parts = [*_normalised(module).values()]
    momenta = [part.momentum for part in parts]
    try:
        for part in parts:
            part.train()
            part.momentum = None  # a plain mean over all batches
        yield
    finally:
        for part, momentum in zip(parts, momenta, strict=True):
            part.eval()
            part.momentum = momentum


def _normalised(module: nn.Module) -> dict[str, Any]:
    """The parts that normalise by running statistics of batches, by name."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    return {name: part for name, part in module.named_modules() if isinstance(part, kinds) and part.track_running_stats}
