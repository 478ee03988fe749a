"""The batch rule (Kohonen 2001, Self-Organizing Maps, section 3.6): vectors -> map.

At each radius every vector goes to its best matching unit, and each prototype becomes the neighbourhood-weighted mean
of all vectors. Vectors are read in blocks of rows, so that the N x K distances never exist at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.som.grid import Grid
from layerscope.som.rows import BLOCK, Rows, held
from layerscope.som.search import Search
from layerscope.subspace import principal_axes
from layerscope.types import PerSample, Prototypes, Units, Vectors

ROWS_A_UNIT = 16
"""Rows per unit that are summed in the rows' own precision before the sums go on in float64."""


class Best(NamedTuple):
    """Where vectors fall on a map."""

    unit: Units
    """(n,): the best matching unit, the code."""
    second: Units
    """(n,): the second best."""
    distance: PerSample
    """(n,): from each vector to the prototype of its best matching unit, in the scaled space."""


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
    """Explained variance before each epoch, on the vectors that it took: all, or with many of them a sample."""

    def best(self, vectors: Vectors) -> Best:
        """The two best matching units of each vector, and the distance to the first."""
        search = Search(self.prototypes)
        units, distances = [], []
        for rows in vectors.split(BLOCK):
            block = self.scaled(rows)
            units.append(search.best_few(block, 2))
            distances.append((block - self.prototypes[units[-1][:, 0]]).norm(dim=1))
        first, second = torch.cat(units).unbind(1)
        return Best(first, second, torch.cat(distances))

    def scaled(self, vectors: Vectors) -> Vectors:
        """The vectors as the map sees them."""
        return (vectors - self.offset).div_(self.scale).to(self.prototypes.dtype)


class Tally:
    """Sums and counts of the rows of each unit, gathered block by block."""

    def __init__(self, units: int, width: int, like: Tensor) -> None:
        self._partial = like.new_zeros(units, width)
        self._sums = torch.zeros(units, width, dtype=torch.float64, device=like.device)
        self.counts = torch.zeros(units, dtype=torch.float64, device=like.device)
        """(K,): rows of each unit, or their weights."""
        self._pending = 0

    def add(self, block: Vectors, units: Units, weights: Float[Tensor, " n"] | None = None) -> None:
        """Count a block's rows in."""
        self.counts += torch.bincount(units, weights, minlength=len(self.counts))
        height = max(BLOCK, ROWS_A_UNIT * len(self.counts))
        for start in range(0, len(block), height):
            rows = block[start : start + height]
            if weights is not None:
                rows = rows * weights[start : start + height].to(rows.dtype)[:, None]
            self._partial.index_add_(0, units[start : start + height], rows)
            self._pending += len(rows)
            if self._pending >= height:
                self._flush()

    def include(self, sums: Float[Tensor, "k d"], counts: Float[Tensor, " k"]) -> None:
        """Count in what another tally holds."""
        self._sums += sums
        self.counts += counts

    @property
    def sums(self) -> Float[Tensor, "k d"]:
        """(K, d), float64: the sum of the rows of each unit, each times its weight."""
        self._flush()
        return self._sums

    def explained(self, prototypes: Prototypes, energy: float) -> float:
        """`explained`, of one map."""
        return float(explained(self.sums, self.counts, prototypes, energy))

    def _flush(self) -> None:
        if self._pending:
            self._sums += self._partial
            self._partial.zero_()
            self._pending = 0


def explained(
    sums: Float[Tensor, "*maps k d"],
    counts: Float[Tensor, "*maps k"],
    prototypes: Float[Tensor, "*maps k d"],
    energy: float,
) -> Float[Tensor, "*maps"]:
    """The share of the rows' variance that the prototypes of their units explain; 0 where all rows are equal.

    Args:
        sums: of the rows of each unit, in float64; one map's or several maps' on the same rows.
        counts: of the rows of each unit, in float64.
        prototypes: of the map or maps.
        energy: the sum of |x|^2 over the rows counted.
    """
    own = prototypes.double()
    missed = (counts * own.square().sum(-1)).sum(-1) - 2 * (sums * own).sum((-2, -1))
    spread = energy - sums.sum(-2).square().sum(-1) / counts.sum(-1)
    return torch.where(spread > 1e-12 * energy, 1 - (energy + missed) / spread, 0.0)


class Epoch(NamedTuple):
    """What one epoch of training was."""

    radius: float
    """In steps of the full grid."""
    units: int
    rows: int
    explained_variance: float
    """On its rows, before its update."""


class Solved(NamedTuple):
    """What a solver found."""

    prototypes: Prototypes
    history: tuple[Epoch, ...]
    tally: Tally
    """Each unit's rows at the last update."""


def train(
    rows: Rows | Vectors,
    grid: Grid,
    initial: Prototypes,
    radii: Sequence[float],
    *,
    unit_length: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Solved:
    """One epoch of the batch rule per radius.

    Args:
        rows: (n, d), centred: the mean is far from 0 only at the cost of precision.
        grid: the lattice.
        initial: (K, d), the prototypes to start from.
        radii: the Gaussian neighbourhood's standard deviation in each epoch, in grid steps; at least one.
        unit_length: bring prototypes to length one after each epoch (the spherical batch rule, for cosine).
        advance: called after each epoch.
    """
    rows = held(rows) if isinstance(rows, Tensor) else rows
    prototypes, history = initial, []
    for radius in radii:
        tally, energy, count = tallied(rows, prototypes)
        history.append(Epoch(radius, len(grid), count, tally.explained(prototypes, energy)))
        prototypes = means(tally, grid, radius, prototypes, unit_length=unit_length)
        advance()
    return Solved(prototypes, tuple(history), tally)


def tallied(rows: Rows, prototypes: Prototypes) -> tuple[Tally, float, int]:
    """Each unit's sums and counts over one reading of the rows, the sum of their |x|^2, and how many they were."""
    search, tally = Search(prototypes), Tally(len(prototypes), prototypes.shape[1], like=prototypes)
    energy, count = torch.zeros((), dtype=torch.float64, device=prototypes.device), 0
    for block, weights in rows.weighted():
        tally.add(block, search.best(block), weights)
        squares = block.square().sum(1, dtype=torch.float64)
        energy += (squares if weights is None else squares * weights).sum()
        count += len(block)
    return tally, float(energy), count


def means(tally: Tally, grid: Grid, radius: float, former: Prototypes, *, unit_length: bool = False) -> Prototypes:
    """The neighbourhood-weighted means; units whose whole neighbourhood is empty stay where they were."""
    return weighted_means(tally.sums, tally.counts, grid, radius, former, unit_length=unit_length)


def weighted_means(
    sums: Float[Tensor, "*maps k d"],
    counts: Float[Tensor, "*maps k"],
    grid: Grid,
    radius: float,
    former: Float[Tensor, "*maps k d"],
    *,
    unit_length: bool,
) -> Float[Tensor, "*maps k d"]:
    """`means` from sums and counts, of one map or of several on one grid at once."""
    both = torch.cat([sums, counts[..., None]], -1).movedim(-2, 0)
    smooth = grid.smooth(both.flatten(1), radius).reshape(both.shape).movedim(0, -2)
    weight, least = smooth[..., -1:], 1e-12 * counts.max()
    found = torch.where(weight > least, smooth[..., :-1] / weight.clamp_min(1e-300), former.double())
    if unit_length:
        found = found / found.norm(dim=-1, keepdim=True).clamp_min(1e-300)
    return found.to(former.dtype)


def smoothed_means(vectors: Vectors, units: Units, grid: Grid, radius: float) -> Prototypes:
    """The neighbourhood-weighted mean of the vectors of each unit, where `units` says whose they are.

    The start that aligns a layer's map with the map of the layer before: same place, same samples.
    """
    tally = Tally(len(grid), vectors.shape[1], like=vectors)
    for block, own in zip(vectors.split(BLOCK), units.split(BLOCK), strict=True):
        tally.add(block, own)
    return means(tally, grid, radius, vectors.new_zeros(len(grid), vectors.shape[1]))


def initial_plane(rows: Rows | Vectors, grid: Grid, *, seed: int) -> Prototypes:
    """Prototypes on the plane of the two leading principal directions, two standard deviations to each side."""
    rows = held(rows) if isinstance(rows, Tensor) else rows
    mean = rows.moments()[0].to(rows.dtype)
    axes, deviations = principal_axes(rows.evenly(mean), 2, seed=seed, centre=False)
    places = grid.positions.to(axes)
    middle, half = (places.amax(0) + places.amin(0)) / 2, (places.amax(0) - places.amin(0)).clamp_min(1) / 2
    spread = 2 * ((places - middle) / half)[:, : len(axes)]
    return mean + (spread * deviations) @ axes
