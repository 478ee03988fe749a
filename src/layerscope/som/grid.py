"""The lattice of units: where each stands, how far apart they are, which are neighbours."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Kind = Literal["hexagonal", "rectangular"]
NEIGHBOUR = {"hexagonal": 1.01, "rectangular": 1.42}
"""Largest distance between neighbours: the six around a hexagon; the eight around a square."""


@dataclass(frozen=True)
class Grid:
    """`rows` x `columns` units, numbered row by row; neighbours in a row stand one step apart.

    Raises:
        ValueError: if there are fewer than two units, or the kind is not known.
    """

    rows: int
    columns: int
    kind: str = "hexagonal"

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1 or self.rows * self.columns < 2:
            raise ValueError(f"A grid needs at least two units; got {self.rows} x {self.columns}.")
        if self.kind not in get_args(Kind):
            raise ValueError(f"A grid's `kind` must be one of {', '.join(get_args(Kind))}; got {self.kind!r}.")

    def __len__(self) -> int:
        return self.rows * self.columns

    @property
    def positions(self) -> Float[Tensor, "k 2"]:
        """Each unit's place (x, y), in grid steps; odd rows of hexagons stand half a step to the right."""
        row, column = torch.meshgrid(torch.arange(self.rows), torch.arange(self.columns), indexing="ij")
        x, y = column.float(), row.float()
        if self.kind == "hexagonal":
            x, y = x + 0.5 * (row % 2), y * 3**0.5 / 2
        return torch.stack([x.flatten(), y.flatten()], dim=1)

    @property
    def distances(self) -> Float[Tensor, "k k"]:
        """Between every two units, in grid steps along a straight line."""
        return (self.positions[:, None] - self.positions[None]).norm(dim=2)

    @property
    def neighbours(self) -> Bool[Tensor, "k k"]:
        """Whether two units touch; a unit is no neighbour of itself."""
        return (self.distances > 0) & (self.distances < NEIGHBOUR[self.kind])
