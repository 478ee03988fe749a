"""Small recordings and tables to measure by hand."""

from dataclasses import dataclass

import torch
from hypothesis import settings
from torch import nn

from layerscope import Network, load_data, record

few = settings(max_examples=15, deadline=None, derandomize=True, database=None)
seeds = range(3)


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole_numbers(below, n, seed=0):
    return torch.randint(below, (n,), generator=torch.Generator().manual_seed(seed))


def linear(*matrices):
    """Layers `0`, `1`, ..., each multiplying by its matrix."""
    layers = [nn.Linear(matrix.shape[1], matrix.shape[0], bias=False) for matrix in matrices]
    for layer, matrix in zip(layers, matrices, strict=True):
        layer.weight = nn.Parameter(matrix.clone())
    return nn.Sequential(*layers).eval()


def recorded(folder, module, inputs, labels=None, *, reductions=("mean",), condition="clean", perturb=None):
    """What every layer of `module` says to `inputs`."""
    return record(
        Network(module, bounds=(-100.0, 100.0)),
        load_data(inputs if labels is None else (inputs, labels)),
        [name for name, _ in module.named_children()],
        folder,
        reductions=reductions,
        condition=condition,
        perturb=perturb,
        show_progress=False,
    )


@dataclass(frozen=True)
class Moved:
    """Adds to each sample the row of its id."""

    by: tuple[tuple[float, ...], ...]

    def __call__(self, _network, batch):
        return batch.inputs + torch.tensor(self.by)[batch.ids]
