"""The leading principal directions of many vectors, without ever forming their covariance."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.products import product

OVERSAMPLED = 8
ITERATIONS = 5


def principal_axes(
    blocks: Iterable[Float[Tensor, "_ d"]],
    rank: int,
    *,
    seed: int = 0,
    iterations: int = ITERATIONS,
    centre: bool = True,
) -> tuple[Float[Tensor, "r d"], Float[Tensor, " r"]]:
    """The `rank` leading principal directions, as rows, and the standard deviation along each.

    A randomised range finder with power iterations (Halko, Martinsson & Tropp 2011, SIAM Review 53, algorithm 4.4).
    Fewer come back where there are fewer samples or features. Each direction's largest entry is positive. The result is
    the same for every number of threads.

    Args:
        blocks: the vectors, in blocks of rows; read once to find their mean, once in each iteration, and once more.
        rank: how many directions.
        seed: of the random directions to start from.
        iterations: 5 for the directions themselves; 1 or 2 suffice for the subspace that they span.
        centre: whether directions start from the mean; otherwise from 0.
    """
    n, total = 0, torch.zeros(())
    for block in blocks:
        n, total, like = n + len(block), total + block.sum(0, dtype=torch.float64), block
    width = len(total)
    mean = (total / n if centre else torch.zeros_like(total)).to(like.dtype)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(width, min(rank + OVERSAMPLED, n, width), generator=generator).to(like)
    if basis.shape[1] == width:  # it spans all there is
        basis, iterations = torch.eye(width).to(like), 0
    for _ in range(iterations):
        image = torch.zeros(basis.shape, dtype=torch.float64, device=like.device)
        for block in blocks:
            centred = block - mean
            image += product(centred.T, product(centred, basis))
        basis = torch.linalg.qr(image).Q.to(like.dtype)
    gram = torch.zeros(basis.shape[1], basis.shape[1], dtype=torch.float64, device=like.device)
    for block in blocks:
        along = product(block - mean, basis).double()
        gram += along.T @ along
    energies, directions = torch.linalg.eigh(gram)
    axes = (basis.double() @ directions.flip(1)).T[:rank]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    deviations = (energies.flip(0)[:rank].clamp_min(0) / n).sqrt()
    return axes.to(like.dtype).contiguous(), deviations.to(like.dtype)
