"""One layer's codes beside all that is needed to show what they stand for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from layerscope.codes import Coded, best_of
from layerscope.data import Data
from layerscope.decoding.coder import Coder, spread_of
from layerscope.errors import RunMismatchError
from layerscope.layers import Layer
from layerscope.network import Network
from layerscope.recording import Recording
from layerscope.reductions import PerSampleReduction, parse_reduction
from layerscope.som import Map
from layerscope.som.train import Best
from layerscope.store import load_json
from layerscope.types import Labels, Samples, Units, Vectors

BATCH = 250
"""Samples that are read together."""


@dataclass(frozen=True)
class LayerCodes:
    """What a layer said to the recorded samples, where that lies on its map, and the samples themselves."""

    layer: Layer
    fitted: Map
    recording: Recording
    network: Network
    data: Data
    best: Best
    """Of each recorded vector, of which a sample has several under `tokens` and `positions:N`."""
    parents: Units
    """(m,): the id of the sample that each vector belongs to."""
    places: Units
    """(m,): which token or position of the sample it is; 0 without any."""
    spread: float
    """Root mean square distance of the vectors to their mean, in the map's scaled space."""
    class_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, coded: Coded, layer: Layer, network: Network, data: Data) -> "LayerCodes":
        """A layer of a recording with its atlas.

        Raises:
            ValueError: if the layer was not recorded, or has no map.
            RunMismatchError: if the recording is of another network or of other data.
        """
        recording, atlas, codes, _ = coded
        if layer not in recording.layers or layer not in atlas.maps:
            known = [str(one) for one in recording.layers if one in atlas.maps]
            raise ValueError(f"`layer` '{layer}' was not recorded; layers are: {', '.join(known)}.")
        check_same(recording, network, data)
        vectors, fitted = recording.vectors(layer), atlas.maps[layer]
        classes = 0 if recording.predictions is None else recording.logits().shape[1]
        names = network.class_names or data.class_names
        single = isinstance(parse_reduction(layer.reduction), PerSampleReduction)
        best = best_of(codes, layer) if single and f"code:{layer}" in codes else fitted.best(vectors)
        return cls(
            layer, fitted, recording, network, data, best, recording.parents(layer), recording.places(layer),
            spread_of(vectors, fitted), (*names, *(str(number) for number in range(len(names), classes))),
        )  # fmt: skip

    @cached_property
    def coder(self) -> Coder:
        """The way from an input to this map.

        Raises:
            ValueError: if the reduction gives several vectors per sample.
        """
        return Coder(self.network, self.layer, self.fitted, self.spread)

    @cached_property
    def vectors(self) -> Vectors:
        """(m, d): the recorded vectors in the map's scaled space."""
        return self.fitted.scaled(self.recording.vectors(self.layer))

    @property
    def units(self) -> tuple[int, ...]:
        """All of the map's."""
        return tuple(range(len(self.fitted.grid)))

    def members(self, unit: int) -> Units:
        """The vectors with this code, nearest to the prototype first: places in `best`."""
        rows = (self.best.unit == unit).nonzero()[:, 0]
        return rows[self.best.distance[rows].argsort(stable=True)]

    def median_member(self, unit: int) -> int | None:
        """The vector of middling distance among those with this code; None where there is none."""
        rows = self.members(unit)
        return int(rows[len(rows) // 2]) if len(rows) else None

    def residuals(self, rows: Units | Sequence[int]) -> Tensor:
        """(k,): the distance of recorded vectors to their prototype, in spreads."""
        return self.best.distance[torch.as_tensor(rows)] / self.spread

    def labels(self, rows: Units) -> Labels | None:
        """(k,): the labels of the samples that vectors belong to."""
        own = self.recording.labels
        return None if own is None else own[self._samples(rows)]

    def predictions(self, rows: Units) -> Labels | None:
        """(k,): what the network answers to them."""
        own = self.recording.predictions
        return None if own is None else own[self._samples(rows)]

    def shown(self, rows: Units | Sequence[int]) -> Samples:
        """The samples that vectors belong to, as the network takes them."""
        return self.data.take(self.data.find(self.parents[torch.as_tensor(rows)].tolist())).inputs

    @cached_property
    def mean_input(self) -> Tensor:
        """The mean of all samples, where they are one tensor of numbers each."""
        total, count = torch.zeros(()), 0
        for batch in self.data.batches(BATCH):
            assert isinstance(batch.inputs, Tensor)
            total, count = total + batch.inputs.sum(0), count + len(batch.inputs)
        return total / count

    def class_name(self, label: int) -> str:
        """What a class is called; its number where it has no name."""
        return self.class_names[label] if label < len(self.class_names) else str(label)

    def _samples(self, rows: Units) -> Units:
        return torch.tensor([self._place_of[sample] for sample in self.parents[rows].tolist()], dtype=torch.int64)

    @cached_property
    def _place_of(self) -> dict[int, int]:
        return {sample: place for place, sample in enumerate(self.recording.ids.tolist())}


def check_same(recording: Recording, network: Network, data: Data) -> None:
    """Raise RunMismatchError unless a recording is of this very network and of these very samples."""
    made_of = load_json(recording.folder / "manifest.json")["made_of"]
    given = ("network", "another network", network.fingerprint()), ("data", "other samples", data.fingerprint)
    for name, what, found in given:
        if made_of[name] != found:
            raise RunMismatchError(
                f"`{name}` is not what '{recording.folder}' was recorded from, and codes of {what} would be "
                f"shown as its own; give the {name} that the run was made with."
            )


def image_shape(samples: Samples) -> tuple[int, int, int] | None:
    """(channels, height, width) where samples can be drawn: one tensor of images, grey or in colour; else None."""
    if isinstance(samples, Tensor) and samples.ndim == 4 and samples.shape[1] in (1, 3):
        return (samples.shape[1], samples.shape[2], samples.shape[3])
    return None
