"""The fast, honest baseline beside inversion: what a straight line reads of the input from a code or an activation."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from layerscope.decoding.layer_codes import LayerCodes
from layerscope.stats import interval, resample
from layerscope.types import Inputs, Vectors

PENALTIES = torch.logspace(-8, 2, 31, dtype=torch.float64)
"""Ridge penalties that are tried, in units of the vectors' mean variance per direction times the number of samples."""
KINDS = ("activation", "code")
DRAWS = 1000
"""Bootstrap draws."""
ENTRIES = 2**26
"""Of the inputs that are held at once; of large images, so many samples are drawn that they have no more."""


@dataclass(frozen=True)
class Readout:
    """A ridge regression from vectors to inputs, fitted on one half of the samples and measured on the other."""

    before: Float[Tensor, "d r"]
    """The first factor of the weights, whose rank is at most the number of samples that they were fitted on: their
    product would be as large as a vector times an input."""
    after: Float[Tensor, "r p"]
    centre: Float[Tensor, " d"]
    """Of the vectors."""
    mean: Float[Tensor, " p"]
    """Of the inputs."""
    shape: tuple[int, ...]
    """Of one input."""
    penalty: float
    """Of the squared weights, by generalised cross-validation."""
    explained: float
    """Share of the inputs' variance that it tells on the half it was not fitted on; below 0 where it is worse than the
    mean."""
    bounds: tuple[float, float]
    """95 % interval of that over samples."""
    n: int
    """Samples of that half."""

    def __call__(self, vectors: Vectors) -> Inputs:
        """(n, ...): the inputs that vectors tell of; they may leave the bounds a little."""
        return ((vectors.double() - self.centre) @ self.before @ self.after + self.mean).float().view(-1, *self.shape)

    def along(self, steps: Vectors) -> Inputs:
        """(n, ...): how the input changes along steps between vectors, such as from prototype to prototype."""
        return (steps.double() @ self.before @ self.after).float().view(-1, *self.shape)


def fit_readout(codes: LayerCodes, kind: str = "activation", *, seed: int = 0) -> Readout:
    """Ridge from what the layer says (in the map's scaled space), or from the code alone, to the input.

    From the code alone it is the mean input of each unit's samples, shrunk toward the mean of all where they are few.

    Args:
        codes: the layer's.
        kind: `activation` or `code`.
        seed: of the halves.

    Raises:
        ValueError: if the kind is neither, samples are no tensor of numbers, have several vectors, or are fewer than
            four.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}; got {kind!r}.")
    if not isinstance(codes.shown([0]), Tensor):
        raise ValueError(
            f"A read-out needs samples of one tensor of numbers each; those of {codes.data.source} are not."
        )
    vectors, count = codes.vectors, len(codes.recording)
    if len(vectors) != count or count < 4:
        raise ValueError(
            f"A read-out needs one vector for each of four samples or more; got {len(vectors)} for {count} of them."
        )
    entries = codes.mean_input.numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[: max(4, ENTRIES // entries)]
    vectors = vectors[order]
    if kind == "code":
        vectors = one_hot(codes.best.unit[order], len(codes.fitted.grid)).float()
    inputs = codes.shown(order)
    assert isinstance(inputs, Tensor)
    own, others = torch.arange(len(order)).chunk(2)
    flat = inputs.flatten(1).double()
    before, after, penalty = ridge(vectors[own].double(), flat[own])
    centre, mean = vectors[own].double().mean(0), flat[own].mean(0)
    told = (vectors[others].double() - centre) @ before @ after + mean
    lost, spread = ((values - flat[others]).square().sum(1) for values in (told, mean))
    explained = 1 - float(lost.sum() / spread.sum())
    draws = resample(len(others), DRAWS, seed=seed).double()
    bounds = interval(explained, 1 - (draws @ lost) / (draws @ spread))
    return Readout(before, after, centre, mean, tuple(inputs.shape[1:]), penalty, explained, bounds, len(others))


def ridge(
    vectors: Float[Tensor, "n d"], targets: Float[Tensor, "n p"]
) -> tuple[Float[Tensor, "d r"], Float[Tensor, "r p"], float]:
    """Weights between centred vectors and centred targets as two factors, and the penalty.

    The penalty is the best by generalised cross-validation; r is the lesser of n and d.

    Golub, Heath & Wahba 1979 (Technometrics 21): the penalty of the least |residual|^2 / (n - degrees of freedom)^2.
    """
    vectors, targets = vectors - vectors.mean(0), targets - targets.mean(0)
    left, sizes, right = torch.linalg.svd(vectors, full_matrices=False)
    along = left.T @ targets
    outside = targets.square().sum() - along.square().sum()
    best = (float("inf"), 0.0)
    for penalty in (PENALTIES * sizes.square().mean().clamp_min(1e-30)).tolist():
        kept = sizes.square() / (sizes.square() + penalty)
        lost = float(outside + ((1 - kept)[:, None] * along).square().sum())
        score = lost / max(len(vectors) - 1 - float(kept.sum()), 1e-9) ** 2
        best = min(best, (score, penalty))
    shrunk = sizes / (sizes.square() + best[1])
    return right.T, shrunk[:, None] * along, best[1]
