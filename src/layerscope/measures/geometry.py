"""How the activations lie in their own space."""

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.subspace import principal_axes
from layerscope.types import Labels, PerSample, Replicates, Vectors, Weights

BLOCK = 1024
LEADING = 64
"""Principal directions whose spread the bootstrap of the participation ratio redraws."""


def participation_ratio(vectors: Vectors) -> float:
    """(sum of eigenvalues)^2 / (sum of their squares), of the covariance: 1 to d; how many directions are in use.

    Gao et al. 2017 (bioRxiv 214262), eq. 5. The sum of squares is corrected for finite samples: of all pairs of
    samples, those of a sample with itself are left out, since they alone make tr(C^2) too large, by about
    (tr C)^2 / N. What few samples would take above d is d. A layer that never changes has participation ratio 0 by
    convention.
    """
    trace, squared = _moments(vectors)
    width = vectors.shape[1]
    return trace**2 / max(squared, trace**2 / width) if trace > 0 else 0.0


def _moments(vectors: Vectors) -> tuple[float, float]:
    """tr(C), and tr(C^2) without its finite-sample bias, for the covariance C.

    With S = X'X for centred rows x_i: E[tr(S^2) - sum |x_i|^4] counts pairs i != j only; the two terms that the
    estimated mean leaves are those of Himeno & Yamada 2014 (J. Multivariate Anal. 130), eq. 2.1, which is unbiased.
    Never below 0, where few samples can take it.
    """
    n = len(vectors)
    centred = vectors.double() - vectors.double().mean(0)
    lengths = centred.square().sum(1)
    total, quartic = float(lengths.sum()), float(lengths.square().sum())
    if n < 4 or total == 0:
        return total / max(n - 1, 1), (total / max(n - 1, 1)) ** 2
    other = centred.T if centred.shape[1] <= n else centred  # tr((X'X)^2) = tr((XX')^2): the smaller of the two
    covariance_squared = sum(float((rows @ other.T).square().sum()) for rows in other.split(BLOCK)) / (n - 1) ** 2
    trace = total / (n - 1)
    mean_quartic = quartic / (n - 1)
    unbiased = (
        (n - 1) / (n * (n - 2) * (n - 3)) * ((n - 1) * (n - 2) * covariance_squared + trace**2 - n * mean_quartic)
    )
    return trace, max(unbiased, 0.0)


def participation_ratio_draws(vectors: Vectors, weights: Weights) -> Replicates:
    """The participation ratio on each bootstrap draw, for its spread (see `stats.interval`).

    tr(C) is redrawn exactly. tr(C^2) is redrawn within the leading 64 principal directions; what the others add to it,
    the sum of the squares of the smallest eigenvalues, is kept as it is.
    """
    n = len(vectors)
    centred = vectors - vectors.double().mean(0).to(vectors.dtype)
    if float(centred.abs().max()) == 0:
        return torch.zeros(len(weights))
    centred = centred / centred.square().sum(1).mean().sqrt()
    axes, deviations = principal_axes(centred.split(BLOCK), LEADING)
    leading = centred @ axes.T
    rest = max(_moments(centred)[1] - float(deviations.double().pow(4).sum()), 0.0)
    means = weights @ leading / n
    trace = weights @ centred.square().sum(1) / n - (weights @ centred / n).square().sum(1)
    width = leading.shape[1]
    first, second = torch.triu_indices(width, width)
    products = torch.zeros(len(weights), len(first))
    for rows, counts in zip(leading.split(BLOCK), weights.split(BLOCK, dim=1), strict=True):
        products += counts @ (rows[:, first] * rows[:, second])
    covariances = products / n - means[:, first] * means[:, second]
    twice = torch.where(first == second, 1.0, 2.0)
    return trace.square() / ((covariances.square() * twice).sum(1) + rest)


def class_gaps(vectors: Vectors, labels: Labels) -> PerSample:
    """Each sample's distance to the nearest sample of another class; infinite where there is no other class.

    Falls as samples are added: compare layers and conditions on the same samples only.
    """
    gaps = []
    for rows, own in zip(vectors.split(BLOCK), labels.split(BLOCK), strict=True):
        nearest = torch.full((len(rows),), torch.inf, dtype=torch.float64)
        which = torch.zeros(len(rows), dtype=torch.int64)
        for start, (others, theirs) in enumerate(zip(vectors.split(BLOCK), labels.split(BLOCK), strict=True)):
            distances = torch.cdist(rows.double(), others.double())
            distances[own[:, None] == theirs[None]] = torch.inf
            closest, place = distances.min(1)
            which = torch.where(closest < nearest, place + start * BLOCK, which)
            nearest = torch.minimum(nearest, closest)
        # the nearest is found by products, whose rounding would drown a small gap; its distance is taken directly
        gaps.append(torch.where(nearest < torch.inf, (rows - vectors[which]).norm(dim=1), torch.inf))
    return torch.cat(gaps)


def shifts_over_gaps(clean: Vectors, perturbed: Vectors, gaps: Float[Tensor, " n"]) -> PerSample:
    """How far each sample moved, in gaps; infinite where the gap is 0 and it moved, 0 where it did not."""
    shifts = (perturbed - clean).norm(dim=1)
    return torch.where(shifts > 0, shifts / gaps, torch.zeros_like(shifts))
