"""Matrix products that round alike for every number of threads.

A library splits a product among threads by rows and columns. Where those don't divide evenly it takes other code for
what is left over, which may round differently; a sample near a tie then changes its unit, and the map with it. With
heights and widths that are multiples of the sizes below, one and the same result comes out of any number of threads.
"""

import torch
from jaxtyping import Float
from torch import Tensor

ROWS, COLUMNS = 64, 16


def product(left: Float[Tensor, "n d"], right: Float[Tensor, "d r"]) -> Float[Tensor, "n r"]:
    """`left` times `right`."""
    return (padded(left, ROWS) @ padded(right.T, COLUMNS).T)[: len(left), : right.shape[1]]


def padded(rows: Float[Tensor, "n d"], multiple: int) -> Float[Tensor, "m d"]:
    """With rows of zeros up to a multiple."""
    missing = -len(rows) % multiple
    return torch.cat([rows, rows.new_zeros(missing, rows.shape[1])]) if missing else rows
