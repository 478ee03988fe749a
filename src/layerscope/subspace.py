"""The leading principal directions of many vectors, without ever forming their covariance."""

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.types import Vectors

OVERSAMPLED = 8
ITERATIONS = 5


def principal_axes(vectors: Vectors, rank: int, *, seed: int = 0) -> tuple[Float[Tensor, "r d"], Float[Tensor, " r"]]:
    """The `rank` leading principal directions, as rows, and the standard deviation along each.

    A randomised range finder with power iterations (Halko, Martinsson & Tropp 2011, SIAM Review 53, algorithm 4.4).
    Fewer come back where there are fewer samples or features. Each direction's largest entry is positive.
    """
    n, width = vectors.shape
    centred = vectors - vectors.double().mean(0).to(vectors.dtype)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(width, min(rank + OVERSAMPLED, n, width), generator=generator).to(vectors)
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    _, singular, directions = torch.linalg.svd(centred @ basis, full_matrices=False)
    axes = (directions @ basis.T)[:rank]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return axes * torch.where(largest < 0, -1.0, 1.0), singular[:rank] / n**0.5
