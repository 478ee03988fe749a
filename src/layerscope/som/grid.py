"""The lattice of units: where each stands, how far apart they are, which are neighbours, and how they are smoothed."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Kind = Literal["hexagonal", "rectangular"]
Topology = Literal["planar", "toroidal"]
NEIGHBOUR = {"hexagonal": 1.01, "rectangular": 1.42}
"""Largest distance between neighbours: the six around a hexagon; the eight around a square."""


@dataclass(frozen=True)
class Grid:
    """`rows` x `columns` units, numbered row by row; neighbours in a row stand one step apart.

    On a toroidal grid the last row touches the first and the last column the first: no unit stands at a border.

    Raises:
        ValueError: if there are fewer than two units, the kind or the topology is not known, or a torus of hexagons
            has an odd number of rows (its odd rows stand half a step to the right, so the ends would not fit).
    """

    rows: int
    columns: int
    kind: str = "hexagonal"
    topology: str = "planar"

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1 or self.rows * self.columns < 2:
            raise ValueError(f"A grid needs at least two units; got {self.rows} x {self.columns}.")
        if self.kind not in get_args(Kind):
            raise ValueError(f"A grid's `kind` must be one of {', '.join(get_args(Kind))}; got {self.kind!r}.")
        if self.topology not in get_args(Topology):
            raise ValueError(
                f"A grid's `topology` must be one of {', '.join(get_args(Topology))}; got {self.topology!r}."
            )
        if self.kind == "hexagonal" and self.topology == "toroidal" and self.rows % 2:
            raise ValueError(
                f"A toroidal grid of hexagons needs an even number of rows, so that its ends fit; got {self.rows}. "
                f"Take {self.rows + 1}."
            )

    def __len__(self) -> int:
        return self.rows * self.columns

    @property
    def row_height(self) -> float:
        """From one row to the next, in grid steps."""
        return 3**0.5 / 2 if self.kind == "hexagonal" else 1.0

    @property
    def reach(self) -> float:
        """A distance that units which touch stay below, and others don't."""
        return NEIGHBOUR[self.kind]

    @property
    def positions(self) -> Float[Tensor, "k 2"]:
        """Each unit's place (x, y), in grid steps; odd rows of hexagons stand half a step to the right."""
        row, column = torch.meshgrid(torch.arange(self.rows), torch.arange(self.columns), indexing="ij")
        x, y = column.float(), row.float() * self.row_height
        if self.kind == "hexagonal":
            x = x + 0.5 * (row % 2)
        return torch.stack([x.flatten(), y.flatten()], dim=1)

    @property
    def distances(self) -> Float[Tensor, "k k"]:
        """Between every two units, in grid steps along a straight line; on a torus the shortest one."""
        return self.distances_between(self.positions, self.positions)

    @property
    def neighbours(self) -> Bool[Tensor, "k k"]:
        """Whether two units touch; a unit is no neighbour of itself."""
        return (self.distances > 0) & (self.distances < self.reach)

    def distances_between(self, one: Float[Tensor, "a 2"], other: Float[Tensor, "b 2"]) -> Float[Tensor, "a b"]:
        """From each place (x, y) of `one` to each of `other`, in grid steps; they need not be units' places."""
        return self._length(one[:, None] - other[None])

    def touch(self, one: Int[Tensor, " n"], other: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Whether two units are neighbours, for each pair of two equally long lists; never K x K."""
        apart = self.steps(one, other)
        return (apart > 0) & (apart < self.reach)

    def steps(self, one: Int[Tensor, " n"], other: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """From unit to unit in grid steps, for each pair of two equally long lists; never K x K."""
        places = self.positions.to(one.device)
        return self._length(places[one] - places[other])

    def smooth(self, values: Float[Tensor, "k f"], radius: float) -> Float[Tensor, "k f"]:
        """The sum over all units of `values`, weighted by the Gaussian of the grid distance: exp(-d^2 / 2 radius^2).

        A Gaussian of a distance is the product of one along the rows and one along the columns, also between rows of
        hexagons that stand half a step apart: the cost is K (rows + columns), not K^2.
        """
        values = values.reshape(self.rows, self.columns, -1)
        row = torch.arange(self.rows, dtype=values.dtype, device=values.device)
        down = self._gaussian((row[:, None] - row).abs() * self.row_height, self.rows * self.row_height, radius)
        column = torch.arange(self.columns, dtype=values.dtype, device=values.device)
        parities = 2 if self.kind == "hexagonal" and self.rows > 1 else 1
        apart = (column[:, None] - column).to(values.dtype)
        smoothed = torch.empty_like(values)
        for parity in range(parities):
            along = torch.empty_like(values)
            for other in range(parities):
                across = self._gaussian((apart + (parity - other) / 2).abs(), self.columns, radius)
                along[other::parities] = torch.matmul(across, values[other::parities])
            smoothed[parity::parities] = (down[parity::parities] @ along.reshape(self.rows, -1)).reshape(
                -1, self.columns, values.shape[2]
            )
        return smoothed.reshape(len(self), -1)

    def _length(self, steps: Float[Tensor, "... 2"]) -> Float[Tensor, "..."]:
        x, y = steps.abs().unbind(-1)
        return torch.hypot(self._wrapped(x, self.columns), self._wrapped(y, self.rows * self.row_height))

    def _wrapped(self, apart: Tensor, period: float) -> Tensor:
        """The shorter way around, on a torus."""
        return torch.minimum(apart, period - apart) if self.topology == "toroidal" else apart

    def _gaussian(self, apart: Tensor, period: float, radius: float) -> Tensor:
        return torch.exp(-self._wrapped(apart, period).square() / (2 * radius**2))
