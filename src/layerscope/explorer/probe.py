"""What a run's network makes of an input of the reader's own: its answer, its codes, the samples that go the same way.

Network, reductions and maps are the run's own, so that a sample of the run gets the codes that it has there.
"""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from layerscope.codes import encode_vectors
from layerscope.data import Batch
from layerscope.errors import NonFiniteError, ProbeError
from layerscope.explorer.arrays import exact_id
from layerscope.explorer.run import Run
from layerscope.images import Resize, pictures
from layerscope.layers import INPUT, LOGITS, Layer
from layerscope.models import load_network
from layerscope.network import Network
from layerscope.pictures import UNREADABLE
from layerscope.recorder import PICTURE, Recorder
from layerscope.sources import load_data
from layerscope.store import load_tensor, tensor_names
from layerscope.types import Samples, Vectors

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
"""Of image files that are opened: each reader that stands open is one more to be broken into."""
MOST_PIXELS = 50_000_000
"""Of an image file, before it becomes pixels."""
LIKELIEST = 5
"""Classes that are told."""
NEAREST = 12
"""Samples that are told of each layer."""
BLOCK = 4096
"""Samples whose vectors are in memory at a time."""
Shape = tuple[int, int, int]
"""Channels, height, width."""


@dataclass(frozen=True)
class Probe:
    """A run's network, its maps, and the samples to compare with. Made by `probe_of`."""

    run: Run
    network: Network
    resize: Resize | None
    """How an image file becomes what the network takes; none where it takes texts."""
    _mapped: dict[Layer, tuple[Tensor, ...]] = field(default_factory=dict, repr=False, compare=False)
    """What layers said to the samples of the run, mapped into memory."""

    def image(self, content: bytes) -> dict[str, Any]:
        """What the network makes of an image file: PNG, JPEG, WebP, BMP or GIF.

        Black becomes the lowest value that the network takes, and white the highest.

        Returns:
            `prediction`: the likeliest classes, `[{class, name, confidence}]`, the likeliest first. `codes` and
            `distances`: by reduction, a number per layer, as `encode` gives them. `nearest`: by reduction and layer,
            samples of the run, `[{id, shared, distance}]`: those that share most codes on the path up to that layer,
            and of these the nearest there, in what the map sees. `picture`: what the network got, a PNG as an address.

        Raises:
            ProbeError: if the network takes texts; if it is no such file, has more than 50 million pixels, or makes the
                network answer NaN or infinity.
        """
        if self.resize is None:
            raise ProbeError("This network takes texts, not images.")
        pixels = torch.from_numpy(np.array(self.resize(_decoded(content))))
        channels_first = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        low, high = self.network.bounds
        inputs = (channels_first.float() / 255 * (high - low) + low)[None]
        return self._answer(inputs) | {"picture": _address(inputs, self.network.bounds)}

    def text(self, text: str) -> dict[str, Any]:
        """What the network makes of a text; see `image`. There is no picture of it.

        Raises:
            ProbeError: if the network takes images, or answers NaN or infinity.
        """
        if self.resize is not None:
            raise ProbeError("This network takes images, not texts.")
        return self._answer([text]) | {"picture": None}

    def _answer(self, samples: Samples) -> dict[str, Any]:
        clean = self.run.recordings["clean"]
        recorder = Recorder(self.network, clean.layers, "float32", logits=True, pictures=0)
        try:
            kept = recorder.batch(Batch(samples, None, torch.zeros(1, dtype=torch.int64)), None)
        except NonFiniteError as error:
            raise ProbeError("To this input, a layer of the network says NaN or infinity.") from error
        said = {layer: kept[str(layer)] for layer in clean.layers}
        codes = encode_vectors(kept["ids"], said.items(), self.run.atlas)
        paths = {reduction: clean.depth(reduction) for reduction in clean.reductions}
        return {
            "prediction": self._prediction(kept[LOGITS][0]),
            "codes": {name: [int(codes[f"code:{one}"][0]) for one in path] for name, path in paths.items()},
            "distances": {name: [float(codes[f"distance:{one}"][0]) for one in path] for name, path in paths.items()},
            "nearest": {name: list(self._nearest(path, said, codes)) for name, path in paths.items()},
        }

    def _prediction(self, logits: Tensor) -> list[dict[str, Any]]:
        names = self.run.class_names
        sure, classes = logits.softmax(0).topk(min(LIKELIEST, len(logits)))
        return [
            {"class": one, "name": names[one], "confidence": confidence}
            for one, confidence in zip(classes.tolist(), sure.tolist(), strict=True)
        ]

    def _nearest(
        self, path: tuple[Layer, ...], said: dict[Layer, Vectors], codes: pd.DataFrame
    ) -> Iterator[list[dict[str, Any]]]:
        """The nearest samples at each layer of a path."""
        own = self.run.codes["clean"]
        shared = np.zeros(len(own), np.int64)
        for layer in path:
            shared += own[f"code:{layer}"].to_numpy() == codes[f"code:{layer}"][0]
            told = min(NEAREST, len(own))
            rows = np.flatnonzero(shared >= np.partition(shared, -told)[-told])
            fitted = self.run.atlas.maps[layer]
            here = fitted.scaled(said[layer])
            # by blocks: where few samples share codes, all of them are compared, and need not be in memory together
            blocks = (self._vectors(layer, rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK))
            distances = np.concatenate([(fitted.scaled(block) - here).norm(dim=1).numpy() for block in blocks])
            order = np.lexsort((rows, distances, -shared[rows]))[:told]
            yield [
                {
                    "id": exact_id(int(own["id"][rows[one]])),
                    "shared": int(shared[rows[one]]),
                    "distance": float(distances[one]),
                }
                for one in order
            ]

    def _vectors(self, layer: Layer, rows: NDArray[np.int64]) -> Vectors:
        """What a layer said to some samples of the run."""
        if layer not in self._mapped:
            self._mapped[layer] = tuple(self.run.recordings["clean"].blocks(layer))
        parts = self._mapped[layer]
        starts = np.cumsum([0, *map(len, parts)])
        inside = [rows[(rows >= start) & (rows < end)] - start for start, end in pairwise(starts)]
        return torch.cat([part[torch.from_numpy(own)] for part, own in zip(parts, inside, strict=True)])


def probe_of(run: Run, network: Network | nn.Module | str | None = None) -> Probe:
    """A probe of a run.

    Args:
        run: whose maps and samples are taken.
        network: what the run was made of; see `load_network`. None loads it from the run's spec, where it has one.

    Raises:
        ValueError: if the run was made from an object and no network is given; if its samples are neither images nor
            texts; or if nothing tells the size of its images.
        RunMismatchError: if the network is not what the run was made of.
    """
    found = load_network(run.spec("network") if network is None else network)
    run.check("network", found.fingerprint(), "its weights, its preprocessing or its code differ")
    clean = run.recordings["clean"]
    if clean.texts is not None:
        return Probe(run, found, None)
    if PICTURE not in tensor_names(clean.folder / clean.shards[0]):
        raise ValueError("Only images and texts can be sent to a network, and the samples of this run are neither.")
    return Probe(run, found, _resize(run, found.resize))


def _resize(run: Run, resize: Resize | None) -> Resize:
    """How an image file comes to the size of the run's inputs: as the network says, or stretched."""
    shape = _shape(run)
    if resize is not None and shape in (None, (resize.channels, resize.height, resize.width)):
        return resize
    if shape is None:
        data = load_data(run.spec("data"), show_progress=False)
        inputs = data.take(data.rows[:1]).inputs
        assert isinstance(inputs, Tensor)  # as they have pictures
        shape = (inputs.shape[1], inputs.shape[2], inputs.shape[3])
    channels, height, width = shape
    return Resize(height, width, channels=channels)


def _shape(run: Run) -> Shape | None:
    """Of the run's images, where it tells: where the pictures that it keeps are as wide as its recorded inputs are."""
    clean = run.recordings["clean"]
    _, *kept = load_tensor(clean.folder / clean.shards[0], PICTURE, check=False).shape
    widths = {next(iter(clean.blocks(layer))).shape[1] for layer in clean.layers if layer.name == INPUT}
    channels, height, width = kept
    return (channels, height, width) if channels * height * width in widths else None


def _decoded(content: bytes) -> Image.Image:
    """All of an image file."""
    told = f"An image may have {MOST_PIXELS:,} pixels at most; this one has more."
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            small = image.width * image.height <= MOST_PIXELS
            if small:
                image.load()
                return image.copy()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ProbeError(told) from error
    except UNREADABLE as error:
        raise ProbeError("This is no image file that can be read; send PNG, JPEG, WebP, BMP or GIF.") from error
    raise ProbeError(told)


def _address(inputs: Tensor, bounds: tuple[float, float]) -> str:
    """An image as a network gets it, as an address that is a picture."""
    shown = pictures(inputs, bounds, max(inputs.shape[2:]))
    assert shown is not None  # it was made of an image
    target = io.BytesIO()
    Image.fromarray(shown[0].movedim(0, 2).squeeze(2).numpy()).save(target, "PNG")
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"
