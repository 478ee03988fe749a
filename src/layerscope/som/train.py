"""The batch rule (Kohonen 2001, Self-Organizing Maps, section 3.6): vectors -> map.

At each radius every vector goes to its best matching unit, and each prototype becomes the neighbourhood-weighted mean
of all vectors. Vectors are read in blocks of rows, so that the N x K distances never exist at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.som.grid import Grid
from layerscope.subspace import principal_axes
from layerscope.types import PerSample, Prototypes, Units, Vectors

BLOCK = 4096


class Best(NamedTuple):
    """Where vectors fall on a map."""

    unit: Units
    """(n,): the best matching unit, the code."""
    second: Units
    """(n,): the second best."""
    distance: PerSample
    """(n,): from each vector to the prototype of its best matching unit, in the layer's own units."""


@dataclass(frozen=True)
class Map:
    """A trained self-organizing map. Prototypes live in the scaled space: (vector - offset) / scale."""

    grid: Grid
    prototypes: Prototypes
    """(K, d), scaled."""
    offset: Float[Tensor, " d"]
    """Taken from every vector: the mean of those that the map was fitted on."""
    scale: Float[Tensor, " d"]
    """Each feature's divisor: ones, or standard deviations."""
    history: tuple[float, ...]
    """Explained variance on the fitted vectors before each epoch."""

    def best(self, vectors: Vectors) -> Best:
        """The two best matching units of each vector, and the distance to the first."""
        units, seconds, distances = [], [], []
        for block in ((rows - self.offset) / self.scale for rows in vectors.split(BLOCK)):
            two = _affinity(block, self.prototypes).topk(2, dim=1).indices
            units.append(two[:, 0])
            seconds.append(two[:, 1])
            distances.append((block - self.prototypes[two[:, 0]]).norm(dim=1))
        return Best(torch.cat(units), torch.cat(seconds), torch.cat(distances))

    def scaled(self, vectors: Vectors) -> Vectors:
        """The vectors as the map sees them."""
        return (vectors - self.offset) / self.scale


def train(
    vectors: Vectors, grid: Grid, initial: Prototypes, radii: Sequence[float]
) -> tuple[Prototypes, tuple[float, ...]]:
    """One epoch of the batch rule per radius: the prototypes, and the explained variance before each epoch.

    Args:
        vectors: (n, d), centred: the mean is far from 0 only at the cost of precision.
        grid: the lattice.
        initial: (K, d), the prototypes to start from.
        radii: the Gaussian neighbourhood's standard deviation in each epoch, in grid steps.
    """
    prototypes, history = initial, []
    squares = grid.distances.to(vectors.device).square()
    energy = float(sum(block.double().square().sum() for block in vectors.split(BLOCK)))
    for radius in radii:
        sums = torch.zeros_like(prototypes, dtype=torch.float64)
        counts = torch.zeros(len(grid), dtype=torch.float64, device=vectors.device)
        error = 0.0
        for block, units, affinity in _assigned(vectors, prototypes):
            _accumulate(sums, counts, block, units)
            error += float(block.double().square().sum() - 2 * affinity.double().sum())
        history.append(1 - error / energy if energy > 0 else 0.0)
        prototypes = _smooth(sums, counts, squares, radius, prototypes)
    return prototypes, tuple(history)


def smoothed_means(vectors: Vectors, units: Units, grid: Grid, radius: float) -> Prototypes:
    """The neighbourhood-weighted mean of the vectors of each unit, where `units` says whose they are.

    The start that aligns a layer's map with the map of the layer before: same place, same samples.
    """
    sums = torch.zeros(len(grid), vectors.shape[1], dtype=torch.float64, device=vectors.device)
    counts = torch.zeros(len(grid), dtype=torch.float64, device=vectors.device)
    for block, own in zip(vectors.split(BLOCK), units.split(BLOCK), strict=True):
        _accumulate(sums, counts, block, own)
    squares = grid.distances.to(vectors.device).square()
    return _smooth(sums, counts, squares, radius, torch.zeros_like(sums, dtype=vectors.dtype))


def initial_plane(vectors: Vectors, grid: Grid, *, seed: int) -> Prototypes:
    """Prototypes on the plane of the two leading principal directions, two standard deviations to each side."""
    axes, deviations = principal_axes(vectors, 2, seed=seed)
    places = grid.positions.to(vectors)
    middle, half = (places.amax(0) + places.amin(0)) / 2, (places.amax(0) - places.amin(0)).clamp_min(1) / 2
    spread = 2 * ((places - middle) / half)[:, : len(axes)]
    return vectors.double().mean(0).to(vectors.dtype) + (spread * deviations) @ axes


def _affinity(vectors: Vectors, prototypes: Prototypes) -> Float[Tensor, "n k"]:
    """Largest where the distance is smallest: x.w - |w|^2 / 2 = (|x|^2 - |x - w|^2) / 2."""
    return torch.addmm(-prototypes.square().sum(1) / 2, vectors, prototypes.T)


def _assigned(vectors: Vectors, prototypes: Prototypes) -> Iterator[tuple[Vectors, Units, PerSample]]:
    for block in vectors.split(BLOCK):
        affinity, units = _affinity(block, prototypes).max(1)
        yield block, units, affinity


def _accumulate(sums: Tensor, counts: Tensor, block: Vectors, units: Units) -> None:
    """Add a block's sums and counts per unit, in place: float64, since there may be many blocks."""
    sums += torch.zeros_like(sums, dtype=block.dtype).index_add_(0, units, block)
    counts += torch.bincount(units, minlength=len(counts))


def _smooth(
    sums: Float[Tensor, "k d"],
    counts: Float[Tensor, " k"],
    squares: Float[Tensor, "k k"],
    radius: float,
    former: Prototypes,
) -> Prototypes:
    """The neighbourhood-weighted means; units whose whole neighbourhood is empty stay where they were."""
    neighbourhood = torch.exp(-squares.double() / (2 * radius**2))
    weight = neighbourhood @ counts
    means = ((neighbourhood @ sums) / weight.clamp_min(1e-300)[:, None]).to(former.dtype)
    return torch.where(weight[:, None] > 1e-12, means, former)
