"""What codes say, in bits: entropies of counts, corrected for the bias of small samples.

How often each code goes with each label is a table with few samples a cell, and the plug-in entropy of such a table is
far too small: the information that codes seem to carry is mostly that bias. Entropies of one variable, whose cells are
few, are corrected by Miller and Madow. What is left of the label once the code is known has one small sample per code;
there all codes are taken together (`measures.conditional`). `docs/telescope.md` has both biases from simulation.

Tables have any number of leading dimensions, so that permutations are computed in one go.
"""

from collections.abc import Callable, Iterator
from math import log, nan
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.measures.conditional import Joint, conditional_entropy
from layerscope.stats import dealt_groups, jackknife_influence
from layerscope.types import Labels, PerSample, Units

TABLED = 2**22
"""Cells of tables that are looked at together, about: 32 MB, and as much again while they are put together."""


def joint_counts(codes: Units, labels: Labels, k: int, classes: int) -> Joint:
    """How often each code goes with each class: (k, classes)."""
    return torch.bincount(codes * classes + labels, minlength=k * classes).reshape(k, classes).double()


def shuffled_counts(
    codes: Units, labels: Labels, k: int, classes: int, *, draws: int, seed: int
) -> Iterator[Float[Tensor, "codes classes"]]:
    """The joint counts after each of `draws` permutations of the labels, one at a time: (k, classes) each."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield joint_counts(codes, labels[torch.randperm(len(labels), generator=generator)], k, classes)


def plug_in_entropy(counts: Float[Tensor, "... cells"]) -> Float[Tensor, "..."]:
    """H = -sum p log2 p of the shares p counted: 0 to log2(cells) bits; too small by about (cells - 1) / (2 N ln 2)."""
    p = counts / counts.sum(-1, keepdim=True)
    return -torch.special.xlogy(p, p).sum(-1) / log(2)


def miller_madow_entropy(counts: Float[Tensor, "... cells"]) -> Float[Tensor, "..."]:
    """The plug-in entropy + (cells in use - 1) / (2 N ln 2) (Miller 1955, Note on the bias of information estimates).

    In bits, at least 0; the correction can lift it above log2(cells).
    """
    return plug_in_entropy(counts) + ((counts > 0).sum(-1) - 1) / (2 * log(2) * counts.sum(-1))


def grassberger_entropy(counts: Float[Tensor, "... cells"]) -> Float[Tensor, "..."]:
    """Log N - sum n G(n) / N over cells (Grassberger 2003, arXiv:physics/0307138, eq. 27 and 30), in bits.

    G(n) = psi(n) + (-1)^n (psi((n + 1) / 2) - psi(n / 2)) / 2. Less biased than Miller-Madow where cells hold few.
    """
    total = counts.sum(-1)
    n = counts.clamp_min(1)
    alternate = 1 - 2 * (n % 2)
    g = n.digamma() + alternate / 2 * (((n + 1) / 2).digamma() - (n / 2).digamma())
    return (total.log() - (counts * g).sum(-1) / total) / log(2)


def chao_shen_entropy(counts: Float[Tensor, "... cells"]) -> Float[Tensor, "..."]:
    """Horvitz-Thompson over the cells seen, their shares scaled by the coverage (Chao & Shen 2003, eq. 6 and 7).

    H = -sum C p log2(C p) / (1 - (1 - C p)^N), with C = 1 - (cells seen once) / N; in bits. Where every cell was seen
    once, C is 1 / N. Its variance is large where cells are few samples each.
    """
    total = counts.sum(-1, keepdim=True)
    once = torch.minimum((counts == 1).sum(-1, keepdim=True), total - 1)
    p = (1 - once / total) * counts / total
    seen = 1 - (1 - p).pow(total)
    return -torch.where(counts > 0, torch.special.xlogy(p, p) / seen, torch.zeros_like(p)).sum(-1) / log(2)


ENTROPIES: dict[str, Callable[[Float[Tensor, "... cells"]], Float[Tensor, "..."]]] = {
    "plug-in": plug_in_entropy,
    "Miller-Madow": miller_madow_entropy,
    "Grassberger": grassberger_entropy,
    "Chao-Shen": chao_shen_entropy,
}
"""Entropies of counts by name; of a table, I(code; label) is that of its two margins less that of its cells."""


def entropy(counts: Float[Tensor, "... cells"]) -> Float[Tensor, "..."]:
    """The entropy of one variable in bits, Miller-Madow corrected: what measures use for codes and for labels alone."""
    return miller_madow_entropy(counts)


class Told(NamedTuple):
    """An entropy in bits, and how much each sample pulls it."""

    bits: float
    influence: PerSample
    """(n,): times n; their mean is 0. Their standard deviation over sqrt(n) is the standard error."""


def code_entropy(codes: Units, k: int) -> Told:
    """H(code): 0 to log2(k) bits, up to the correction. A sample's pull is -log2 p(its code), less the mean."""
    counts = torch.bincount(codes, minlength=k).double()
    own = -(counts / len(codes)).clamp_min(1e-300).log2()[codes]
    return Told(float(entropy(counts)), own - own.mean())


def left_over(rows: Units, columns: Units, k: int, classes: int) -> Told:
    """`conditional_entropy` of a column given a row, and each sample's pull on it by the delete-group jackknife.

    The prior is learned anew without each group. A bootstrap would repeat samples, which makes codes purer than they
    are.
    """
    dealt = dealt_groups(len(rows))
    whole = joint_counts(rows, columns, k, classes)
    bits = float(conditional_entropy(whole))
    if len(rows) == 1:  # without which there is nothing
        return Told(bits, torch.full((1,), nan, dtype=torch.float64))

    def without(group: int) -> Float[Tensor, "codes classes"]:
        own = dealt == group
        return whole - joint_counts(rows[own], columns[own], k, classes)

    together = torch.arange(int(dealt.max()) + 1).split(max(1, TABLED // whole.numel()))
    left = [conditional_entropy(torch.stack([without(group) for group in some.tolist()])) for some in together]
    return Told(bits, jackknife_influence(torch.cat(left), dealt))


def mutual_information(joint: Joint) -> Float[Tensor, "..."]:
    """I(code; label) = H(label) - H(label | code) in bits; around 0 if they are independent."""
    return entropy(joint.sum(-2)) - conditional_entropy(joint)


def label_information(joint: Joint) -> Float[Tensor, "..."]:
    """I(code; label) / H(label): the share of the label's entropy that the code tells; 0 to 1 up to the correction."""
    return 1 - conditional_entropy(joint) / entropy(joint.sum(-2))


def purity(joint: Joint) -> Float[Tensor, "..."]:
    """The share of samples that have the commonest class of their code: largest class share to 1.

    Manning, Raghavan & Schütze 2008, Introduction to Information Retrieval, eq. 16.1. Not corrected: a code with one
    sample is pure. Compare it with shuffled labels, whose purity has the same bias.
    """
    return joint.amax(-1).sum(-1) / joint.sum((-2, -1))


def class_overlap(joint: Joint) -> Float[Tensor, "..."]:
    """The share of the codes in use that serve two or more classes, 0 to 1. Rises with the samples a code has."""
    served = (joint > 0).sum(-1)
    return (served > 1).sum(-1) / (served > 0).sum(-1)
