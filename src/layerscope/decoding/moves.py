"""What is moved in a causal test, and by how much: samples with their targets, and each layer's steps between codes."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layerscope.decoding.shifts import Movable, movable
from layerscope.layers import Layer
from layerscope.recording import Recording
from layerscope.reductions import PerSampleReduction, Pieces
from layerscope.som import Map
from layerscope.types import Flags, Labels, Units, Vectors

Kind: TypeAlias = Literal["clean", "random", "codes"]
"""Toward the target class's code; in a random direction; by the difference between two other codes."""


class Plan(NamedTuple):
    """The samples that are moved, and whereto: the same at all layers."""

    rows: Units
    """(n,): their rows in the recording."""
    ids: Units
    """(n,)."""
    own: Labels
    """(n,): the class that they are answered."""
    target: Labels
    """(n,): the class whose code they are moved to."""
    classes: Labels
    """(N,): the class of each sample of the recording."""
    right: Flags
    """(N,): whether it is answered so."""


def planned(clean: Recording, limit: int | None, seed: int) -> Plan:
    """Samples that are answered right, drawn at random, and a target for each among the other classes.

    In each class the targets take turns, in an order drawn anew each time round, so that pairs of classes are as evenly
    covered as can be. Without labels, the network's answers are the classes.

    Raises:
        ValueError: if `limit` is below 1, there are no answers, or fewer than two classes are answered right.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be at least 1, or None for all; got {limit}.")
    answers = clean.predictions
    if answers is None:
        raise ValueError("The recording holds no answers to change, since the network has no logits or none were kept.")
    classes = answers if clean.labels is None else clean.labels
    right = answers == classes
    present = classes[right].unique()
    if len(present) < 2:
        raise ValueError(
            f"A causal test needs at least two classes that are answered right; {len(present)} of the "
            f"{len(classes.unique())} classes of the data is. Check that labels and preprocessing are the network's "
            "own."
        )
    generator = torch.Generator().manual_seed(seed)
    candidates = right.nonzero()[:, 0]
    rows = candidates[torch.randperm(len(candidates), generator=generator)[:limit]].sort().values
    own = classes[rows]
    target = torch.empty_like(own)
    for label in own.unique():
        mine = (own == label).nonzero()[:, 0]
        others = present[present != label]
        rounds = -(-len(mine) // len(others))
        turns = torch.cat([others[torch.randperm(len(others), generator=generator)] for _ in range(rounds)])
        target[mine] = turns[: len(mine)]
    return Plan(rows, clean.ids[rows], own, target, classes, right)


class Between(NamedTuple):
    """The codes that one vector's steps lead between."""

    own: Int[Tensor, " m"]
    target: Int[Tensor, " m"]
    """The target class's."""
    others: Int[Tensor, "m 2"]
    """Two that are neither at any of the sample's places, the same at all of these; -1 where there are no two."""


@dataclass(frozen=True)
class Steps:
    """What each of n samples is moved by at one layer: it has one vector there, or several."""

    layer: Layer
    reduction: Movable
    fitted: Map
    ids: Units
    """(n,)."""
    wanted: Labels
    """(n,): the target classes."""
    owner: Int[Tensor, " m"]
    """Which of the samples each vector belongs to, in order."""
    place: Int[Tensor, " m"]
    """At which position of the sample it is."""
    between: Between
    seed: int

    @property
    def clusters(self) -> tuple[Units, Units]:
        """Twice (n,): samples that are moved alike have one number, those moved from one code, and those moved to one.

        Where a sample has several codes, it is alone in the first, and with all that have its target class in the
        second.
        """
        if isinstance(self.reduction, PerSampleReduction):
            return self.between.own, self.between.target
        return torch.arange(len(self.ids)), self.wanted

    @property
    def complete(self) -> Flags:
        """(n,): whether each of the sample's vectors has two other codes, for a control."""
        lacking = self.owner[(self.between.others < 0).any(1)]
        return ~torch.isin(torch.arange(len(self.ids)), lacking)

    def by(self, kind: Kind, rows: Units) -> Vectors | Pieces:
        """The steps of some of the samples, in the layer's own units; for controls, as long as those to the target.

        Those to the target hardly differ between a sample's places, and a control that went another way at each would
        cancel in any average over them: a control goes one way at all places of a sample.

        Args:
            kind: where to.
            rows: which samples, in order; pieces are numbered by place in these.
        """
        mine = torch.isin(self.owner, rows)
        own, target, others = (part[mine] for part in self.between)
        steps = self._step(own, target)
        if kind != "clean":
            another = self._random(self.owner[mine]) if kind == "random" else self._step(others[:, 0], others[:, 1])
            another[(others < 0).any(1) & (kind == "codes")] = 0
            length = another.norm(dim=1, keepdim=True)
            steps = another * (steps.norm(dim=1, keepdim=True) / torch.where(length > 0, length, 1))
        if isinstance(self.reduction, PerSampleReduction):
            return steps
        return Pieces(steps, torch.searchsorted(rows, self.owner[mine]), self.place[mine])

    def _step(self, start: Units, end: Units) -> Vectors:
        """From one code's prototype to another's, with the map's scaling undone."""
        return (self.fitted.prototypes[end] - self.fitted.prototypes[start]) * self.fitted.scale

    def _random(self, owner: Int[Tensor, " some"]) -> Float[Tensor, "some d"]:
        """A direction for each sample, from its own stream, once for each of its vectors."""
        width = self.fitted.prototypes.shape[1]
        rows, which = owner.unique(return_inverse=True)
        streams = _streams(self.seed, self.layer, self.ids[rows], "random")
        return torch.stack([torch.randn(width, generator=stream) for stream in streams])[which]


def steps_of(layer: Layer, clean: Recording, fitted: Map, plan: Plan, seed: int) -> Steps:
    """The steps of a plan's samples at a layer, on its map."""
    reduction = movable(layer.reduction)
    units = fitted.best(clean.vectors(layer)).unit
    order = clean.ids.argsort()
    parent = order[torch.searchsorted(clean.ids[order], clean.parents(layer))]
    kept = plan.right[parent]
    counts = torch.zeros(len(fitted.prototypes), int(plan.classes.max()) + 1)
    counts.index_put_((units[kept], plan.classes[parent[kept]]), torch.ones(()), accumulate=True)
    mine = torch.isin(parent, plan.rows)
    owner, place = torch.searchsorted(plan.rows, parent[mine]), clean.places(layer)[mine]
    own, wanted = units[mine], plan.target[owner]
    target = _target_codes(counts, own, wanted)
    others = _other_codes(counts, owner, torch.stack([own, target], 1), plan, _streams(seed, layer, plan.ids, "codes"))
    between = Between(own, target, others[owner])
    return Steps(layer, reduction, fitted, plan.ids, plan.target, owner, place, between, seed)


def _target_codes(counts: Float[Tensor, "k classes"], own: Units, wanted: Labels) -> Units:
    """The wanted class's commonest code but the own one; the own one, where the class has no other."""
    best = counts.argsort(dim=0, descending=True, stable=True)
    first, second = best[0, wanted], best[1, wanted]
    return torch.where(first != own, first, torch.where(counts[second, wanted] > 0, second, own))


def _other_codes(
    counts: Float[Tensor, "k classes"], owner: Int[Tensor, " m"], taken: Int[Tensor, "m 2"], plan: Plan,
    streams: Iterable[torch.Generator],
) -> Int[Tensor, "n 2"]:  # fmt: skip
    """Two codes in use for each sample, not of the target class, nor taken at any of its places; -1 where too few."""
    allowed = (counts.sum(1) > 0) & (counts.argmax(1)[None] != plan.target[:, None])
    allowed[owner[:, None], taken] = False
    scores = torch.stack([torch.rand(len(counts), generator=stream) for stream in streams])
    drawn = scores.masked_fill(~allowed, -1).topk(2)
    return torch.where((drawn.values < 0).any(1, keepdim=True), -1, drawn.indices)


def _streams(seed: int, layer: Layer, samples: Units, what: str) -> Iterator[torch.Generator]:
    """Random numbers for each sample, that depend on nothing but these."""
    for sample in samples.tolist():
        digest = hashlib.sha256(f"{seed}:{layer}:{sample}:{what}".encode()).digest()
        yield torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
