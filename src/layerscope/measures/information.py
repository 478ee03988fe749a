"""What codes say: entropies of counts, corrected for the bias of small samples.

The plug-in entropy of N samples is too small by about (cells in use - 1) / (2 N) nats; Miller and Madow's correction
adds that (Miller 1955, Note on the bias of information estimates). Everything here takes counts with any number of
leading dimensions, so that bootstrap draws and permutations are computed in one go.
"""

from collections.abc import Iterator
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.types import Labels, Units, Weights

Joint = Float[Tensor, "... codes classes"]


def joint_counts(codes: Units, labels: Labels, k: int, classes: int, weights: Weights | None = None) -> Joint:
    """How often each code goes with each class: (k, classes), or (draws, k, classes) under bootstrap weights."""
    cell = codes * classes + labels
    if weights is None:
        return torch.bincount(cell, minlength=k * classes).reshape(k, classes).double()
    counts = torch.zeros(len(weights), k * classes).index_add_(1, cell, weights)
    return counts.reshape(-1, k, classes).double()


def shuffled_counts(
    codes: Units, labels: Labels, k: int, classes: int, *, draws: int, seed: int
) -> Iterator[Float[Tensor, "codes classes"]]:
    """The joint counts after each of `draws` permutations of the labels, one at a time: (k, classes) each."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield joint_counts(codes, labels[torch.randperm(len(labels), generator=generator)], k, classes)


def entropy(counts: Float[Tensor, "... cells"]) -> Float[Tensor, "..."]:
    """Entropy in bits of what was counted, Miller-Madow corrected.

    H = -sum p log2 p + (cells in use - 1) / (2 N ln 2). At least 0; the correction can lift it above log2(cells).
    """
    n = counts.sum(-1, keepdim=True)
    p = counts / n
    plug_in = -torch.special.xlogy(p, p).sum(-1) / log(2)
    return plug_in + ((counts > 0).sum(-1) - 1) / (2 * log(2) * n[..., 0])


def mutual_information(joint: Joint) -> Float[Tensor, "..."]:
    """I(code; label) = H(code) + H(label) - H(code, label) in bits, each term corrected. Around 0 if independent."""
    return entropy(joint.sum(-1)) + entropy(joint.sum(-2)) - entropy(joint.flatten(-2))


def label_information(joint: Joint) -> Float[Tensor, "..."]:
    """I(code; label) / H(label): the share of the label's entropy that the code tells; 0 to 1 up to the correction."""
    return mutual_information(joint) / entropy(joint.sum(-2))


def class_entropy_given_code(joint: Joint) -> Float[Tensor, "..."]:
    """H(label | code) = H(label) - I(code; label) in bits: high where many classes share codes (homogeneous)."""
    return entropy(joint.sum(-2)) - mutual_information(joint)


def code_perplexity(joint: Joint) -> Float[Tensor, "..."]:
    """2^H(code): how many codes are in use, each counted by how evenly it is used."""
    return torch.exp2(entropy(joint.sum(-1)))
