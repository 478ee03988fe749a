"""How well a map stands for its rows: how near, how smoothly, and whether another seed would tell the same."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layerscope.som.grid import Grid
from layerscope.som.rows import Rows, held
from layerscope.som.search import Search
from layerscope.types import PerSample, Prototypes, Units, Vectors

BLOCK = 256
"""Rows of N-wide or K-wide tables held at once."""

Distances = Callable[[Vectors, Prototypes], PerSample]


class Quality(NamedTuple):
    """A map's figures on one set of rows."""

    quantization_error: float
    """Mean distance from a row to the prototype of its unit (Kohonen 2001), in the units of the rows; 0 is perfect."""
    explained_variance: float
    """1 - (squared distances to prototypes) / (squared distances to the rows' mean); 1 is perfect, 0 a single point."""
    topographic_error: float
    """Share of rows whose two best units don't touch (Kiviluoto 1996); eight neighbours touch a square, six a hexagon;
    0 is perfect."""
    trustworthiness: float
    """In [0, 1]: whether rows near each other on the map are near each other among the rows (`trustworthiness`)."""
    topographic_product: float
    """0 where the grid's dimension fits the prototypes', negative if too low, positive if too high
    (`topographic_product`)."""
    dead_units: int
    """Units that are no row's best."""


class Fit(NamedTuple):
    """What one reading of the rows tells."""

    quantization_error: float
    explained_variance: float
    topographic_error: float
    hits: Int[Tensor, " k"]
    """(K,): rows of each unit."""


def apart(rows: Vectors, prototypes: Float[Tensor, "n d"]) -> PerSample:
    """The Euclidean distance from each row to the prototype beside it."""
    return (rows - prototypes).double().norm(dim=1)


def measure(rows: Rows | Vectors, prototypes: Prototypes, grid: Grid, *, distances: Distances = apart) -> Fit:
    """Quantization error, explained variance, topographic error and hits, in one reading of the rows.

    Args:
        rows: (n, d), in the space of the prototypes, centred: a mean far from 0 costs precision. Where all are equal
            the explained variance is 0 by convention.
        prototypes: (K, d).
        grid: the lattice.
        distances: of which the quantization error is the mean, from rows and the prototypes of their units.
    """
    rows = held(rows) if isinstance(rows, Tensor) else rows
    search = Search(prototypes)
    count, broken, near, missed, energy, total = 0, 0, 0.0, 0.0, 0.0, torch.zeros((), dtype=torch.float64)
    hits = torch.zeros(len(grid), dtype=torch.int64, device=prototypes.device)
    for block in rows:
        first, second = search.best_few(block, 2).unbind(1)
        squares = (block - prototypes[first]).square().sum(1, dtype=torch.float64)
        count, missed = count + len(block), missed + float(squares.sum())
        near += float(distances(block, prototypes[first]).sum())
        energy += float(block.square().sum(dtype=torch.float64))
        total = total.to(block.device) + block.sum(0, dtype=torch.float64)
        broken += int((~grid.touch(first, second)).sum())
        hits += torch.bincount(first, minlength=len(grid))
    spread = energy - float(total.square().sum()) / count
    return Fit(near / count, 1 - missed / spread if spread > 1e-12 * energy else 0.0, broken / count, hits)


def trustworthiness(vectors: Vectors, units: Units, grid: Grid, *, neighbours: int = 5) -> float:
    """Whether the nearest samples on the map are near among the vectors (Venna & Kaski 2001, ICANN, eq. 1).

    1 - 2 / (n k (2n - 3k - 1)) * sum over samples i and their k nearest j on the map of max(0, rank(i, j) - k), where
    rank counts from i's nearest vector on. On a map many samples stand at the same distance; the value is the mean
    over all ways to choose among them. Equal vectors rank in the order given. Costs n^2 log n; n x n distances never
    exist at once.

    Args:
        vectors: (n, d).
        units: (n,), their best matching units.
        grid: the map's lattice.
        neighbours: k, below n / 2.

    Raises:
        ValueError: if `neighbours` is not in 1 ... (n - 1) // 2.
    """
    n, k = len(vectors), neighbours
    if not 1 <= k < n / 2:
        raise ValueError(f"`neighbours` must be at least 1 and less than half of the {n} rows; got {k}.")
    places = grid.positions.to(vectors.device)
    penalty = 0.0
    for start in range(0, n, BLOCK):
        own = torch.arange(start, min(start + BLOCK, n), device=vectors.device)
        apart = torch.cdist(vectors[own].double(), vectors.double())
        apart[torch.arange(len(own)), own] = -1.0
        rank = torch.empty_like(apart, dtype=torch.int64)
        order = apart.argsort(dim=1, stable=True)
        rank.scatter_(1, order, torch.arange(n, device=vectors.device).expand(len(own), n).contiguous())
        excess = (rank - k).clamp_min(0).double()
        steps = grid.distances_between(places[units[own]], places)[:, units].double()
        steps[torch.arange(len(own)), own] = torch.inf
        limit = steps.kthvalue(k, dim=1, keepdim=True).values
        inside, tied = steps < limit - 1e-4, (steps - limit).abs() <= 1e-4
        chance = (k - inside.sum(1)) / tied.sum(1)
        penalty += float(((excess * inside).sum(1) + (excess * tied).sum(1) * chance).sum())
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * penalty


def topographic_product(prototypes: Prototypes, grid: Grid) -> float:
    """Whether neighbourhoods on the grid and among the prototypes are the same (Bauer & Pawelzik 1992, eq. 12).

    The mean over units j and neighbour orders k of log P3(j, k), the geometric mean of the first k ratios of the
    distances to j's l-th neighbour on the grid over that to its l-th nearest prototype, in both spaces. Near 0 where
    the grid's dimension fits. NaN where two prototypes are equal. Blocked: K x K never exists at once.
    """
    count, total = len(grid), 0.0
    places = grid.positions.to(prototypes.device)
    order = torch.arange(1, count, dtype=torch.float64, device=prototypes.device)
    for start in range(0, count, BLOCK):
        rows = torch.arange(start, min(start + BLOCK, count), device=prototypes.device)
        self_first = torch.zeros(len(rows), count, dtype=torch.float64, device=prototypes.device)
        self_first[torch.arange(len(rows)), rows] = -1.0
        apart = torch.cdist(prototypes[rows].double(), prototypes.double(), compute_mode="donot_use_mm_for_euclid_dist")
        steps = grid.distances_between(places[rows], places).double()
        on_grid = (steps.mul(1e4).round() / 1e4 + self_first).argsort(dim=1, stable=True)[:, 1:]
        in_space = (apart + self_first).argsort(dim=1, stable=True)[:, 1:]
        ratios = (apart.gather(1, on_grid) / apart.gather(1, in_space)).log()
        ratios = ratios + (steps.gather(1, on_grid) / steps.gather(1, in_space)).log()
        total += float((ratios.cumsum(1) / (2 * order)).sum())
    return total / (count * (count - 1))


def neighbour_distances(prototypes: Prototypes, grid: Grid) -> Float[Tensor, " k"]:
    """(K,), float64: each unit's mean distance to the prototypes of the units that touch it (Ultsch & Siemon 1990).

    In the units of the prototypes. Blocked: K x K never exists at once.
    """
    prototypes, places = prototypes.double(), grid.positions.to(prototypes.device)
    found = []
    for own, here in zip(prototypes.split(BLOCK), places.split(BLOCK), strict=True):
        apart = torch.cdist(own, prototypes, compute_mode="donot_use_mm_for_euclid_dist")
        steps = grid.distances_between(here, places)
        touching = (steps > 0) & (steps < grid.reach)
        found.append((apart * touching).sum(1) / touching.sum(1))
    return torch.cat(found)


def code_agreement(codes: Sequence[tuple[Units, Grid]]) -> float:
    """Whether maps of the same samples agree on who is neighbour of whom: 1 if they all do, 0 as by chance.

    The mean over pairs of maps of Cohen's kappa on all pairs of samples, each of which is near (on one unit, or on
    units that touch) on a map or not: the neighbourhood stability of de Bodt, Cottrell & Verleysen (2002, Neural
    Networks 15), corrected for chance. Turning or mirroring a map changes nothing. Counts samples per pair of units:
    K x K, never n x n.

    Args:
        codes: of each map, the samples' units, (n,), and the grid.

    Raises:
        ValueError: if there are fewer than two maps, or they are of different numbers of samples.
    """
    if len(codes) < 2 or len({len(units) for units, _ in codes}) != 1:
        raise ValueError(
            f"`codes` must be of two or more maps and the same samples; got {[len(units) for units, _ in codes]}."
        )
    found = [_kappa(*one, *other) for index, one in enumerate(codes) for other in codes[index + 1 :]]
    return sum(found) / len(found)


def _kappa(one: Units, one_grid: Grid, other: Units, other_grid: Grid) -> float:
    n = len(one)
    table = torch.zeros(len(one_grid), len(other_grid), dtype=torch.float64, device=one.device)
    table.index_put_((one, other), torch.ones(n, dtype=torch.float64, device=one.device), accumulate=True)
    near_one, near_other = _near(one_grid, one.device), _near(other_grid, one.device)
    pairs = n * (n - 1)
    both = (float((table * (near_one @ table @ near_other)).sum()) - n) / pairs
    first = (float(table.sum(1) @ near_one @ table.sum(1)) - n) / pairs
    second = (float(table.sum(0) @ near_other @ table.sum(0)) - n) / pairs
    agreed, chance = 1 - first - second + 2 * both, first * second + (1 - first) * (1 - second)
    return (agreed - chance) / (1 - chance) if chance < 1 else 1.0


def _near(grid: Grid, device: torch.device) -> Float[Tensor, "k k"]:
    """1 where units are the same or touch."""
    return (grid.neighbours.double() + torch.eye(len(grid), dtype=torch.float64)).to(device)
