"""Image files to pixels of the size that a network takes; what a network takes to small pictures."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True)
class Resize:
    """Bring an image's shorter side to a length, then cut the middle out: what most ImageNet networks were trained to.

    It works on files, before pixels: networks take pixels in [0, 1] that have their size.
    """

    height: int
    """Of what is cut out, in pixels."""
    width: int
    shorter: int | None = None
    """Length of the shorter side before the cut; None stretches the whole image to height x width."""
    interpolation: Interpolation = "bilinear"
    channels: int = 3
    """1 for grey."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image in the network's size and mode."""
        image = image.convert("L" if self.channels == 1 else "RGB")
        how = Image.Resampling[self.interpolation.upper()]
        if self.shorter is None:
            return image.resize((self.width, self.height), how)
        width, height = image.size
        # the longer side as torchvision and timm round it
        if width <= height:
            size = (self.shorter, int(self.shorter * height / width))
        else:
            size = (int(self.shorter * width / height), self.shorter)
        image = image.resize(size, how)
        left, top = round((size[0] - self.width) / 2), round((size[1] - self.height) / 2)
        return image.crop((left, top, left + self.width, top + self.height))


def pictures(
    samples: Any, bounds: tuple[float, float], longest: int
) -> UInt8[Tensor, "n channels height width"] | None:
    """(n, c, h, w), uint8: samples as pictures to look at, bounds at 0 and 255; None where they are no images.

    Images are floating-point tensors (n, 1 or 3, height, width) within finite bounds.

    Args:
        samples: a batch.
        bounds: least and largest legal value of an input.
        longest: the most pixels of the longer side; larger images shrink, each pixel the average of an area.
    """
    low, high = bounds
    if not isinstance(samples, Tensor) or not samples.is_floating_point() or not isfinite(high - low):
        return None
    if samples.ndim != 4 or samples.shape[1] not in (1, 3):
        return None
    height, width = samples.shape[2:]
    shrunk = longest / max(height, width)
    if shrunk < 1:
        size = max(1, round(height * shrunk)), max(1, round(width * shrunk))
        samples = interpolate(samples.float(), size, mode="area")
    return ((samples.float() - low) / (high - low) * 255).round().clamp(0, 255).to(torch.uint8)
