"""Image files to pixels of the size that a network takes."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

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
