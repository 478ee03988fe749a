"""Inputs whose activation at a layer matches a prototype, found by gradient descent in input space, many at once.

After Mahendran & Vedaldi 2015 (Understanding deep image representations by inverting them, CVPR): squared distance to
the wanted activation, total variation and jitter. Here the wanted activation is a prototype of the layer's map, and the
regularisers fade, so that the end is about the distance alone.
"""

from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.decoding.coder import Coder, weights_held
from layerscope.decoding.draws import seeded
from layerscope.decoding.layer_codes import BATCH, LayerCodes
from layerscope.types import Flags, Inputs, PerSample, Units

STARTS = ("mean", "exemplar", "grey", "noise")
FADED = 3e-3
"""What the regularisers' weights end at, of where they began."""
SETTLED = 0.1
"""What the step size falls to, of where it began, in the last part."""


@dataclass(frozen=True)
class Recipe:
    """How prototypes are inverted.

    Raises:
        ValueError: if an option is out of range.
    """

    start: str = "mean"
    """`mean`: the mean of the unit's samples; `exemplar`: that of middling distance; `grey`: the mean of all samples;
    `noise`: that with noise around it. Dead units start as `grey`."""
    steps: int = 80
    step_size: float = 0.05
    """Of Adam, in units of the inputs' range."""
    smooth: float = 0.05
    """Weight of the total variation (squared differences of neighbouring pixels, summed) where the squared residual has
    weight 1; for inputs without pixels it plays no part."""
    small: float = 0.001
    """Weight of the squared distance to the start, summed over the input."""
    jitter: int = 2
    """Images are shifted by up to so many pixels at random in the first half of the steps, all units alike."""
    restarts: int = 1
    """The best of so many, by residual; more than one needs jitter or noise to differ."""
    batch_size: int = 256
    """Units that are inverted together."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise ValueError(f"`start` must be one of {', '.join(STARTS)}; got {self.start!r}.")
        for name, least in (("steps", 2), ("jitter", 0), ("restarts", 1), ("batch_size", 1)):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                raise ValueError(f"`{name}` must be a whole number, at least {least}; got {getattr(self, name)!r}.")
        for name in ("smooth", "small", "step_size"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be a number of at least 0; got {getattr(self, name)!r}.")


@dataclass(frozen=True)
class Inverted:
    """Inputs that decode units, and how well they do."""

    units: Units
    """(k,)."""
    inputs: Inputs
    """(k, ...), inside the network's bounds."""
    residuals: PerSample
    """(k,): the distance of each input's activation to its prototype, in the layer's spreads."""
    codes: Units
    """(k,): what the inputs are encoded as."""
    near: Flags
    """(k,): whether that is the unit or touches it on the grid."""

    @property
    def same(self) -> Flags:
        """(k,): whether inputs are encoded back to their units."""
        return self.codes == self.units


def invert(codes: LayerCodes, units: Units, recipe: Recipe | None = None) -> Inverted:
    """The input of each unit whose activation lies nearest to the unit's prototype.

    Args:
        codes: the layer's.
        units: (k,), which to invert; dead ones too.
        recipe: how; the default is for images with pixels in [0, 1].

    Raises:
        ValueError: if the reduction gives several vectors per sample, or samples are no tensor of numbers.
    """
    recipe, coder = recipe or Recipe(), codes.coder
    begun = starts(codes, units, recipe)
    best = torch.full((len(units),), torch.inf)
    found, reach = begun.clone(), _range(codes)
    with weights_held(coder.network), torch.enable_grad():
        for restart in range(recipe.restarts):
            begun = starts(codes, units, recipe, restart) if restart and recipe.start == "noise" else begun
            for some in torch.arange(len(units)).split(recipe.batch_size):
                jitter = seeded(recipe.seed, restart)  # the same of every batch, so that none depends on its size
                inputs, residuals = _descend(coder, begun[some], units[some], recipe, reach, jitter)
                better = residuals < best[some]
                found[some[better]], best[some[better]] = inputs[better], residuals[better]
    again = torch.cat([coder.codes(some) for some in found.split(recipe.batch_size)])
    return Inverted(units, found, best, again, coder.near(again, units))


def starts(codes: LayerCodes, units: Units, recipe: Recipe, restart: int = 0) -> Inputs:
    """(k, ...): where each unit's inversion starts. Noise is each unit's own, and another at every restart.

    Raises:
        ValueError: if samples are no tensor of numbers.
    """
    given = codes.shown([0])
    if not isinstance(given, Tensor):
        raise ValueError(
            "Prototypes can be inverted where samples are one tensor of numbers each (images, tables), which can be "
            f"changed a little; those of {codes.data.source} are not. Look at exemplars and attribution instead."
        )
    whole = codes.mean_input
    if recipe.start == "noise":
        noise = torch.stack([
            torch.randn(whole.shape, generator=seeded(recipe.seed, restart, unit)) for unit in units.tolist()
        ])  # fmt: skip
        return _inside(whole + 0.2 * _range(codes) * noise, codes.coder)
    begun = whole.expand(len(units), *whole.shape).clone()
    for place, unit in enumerate(units.tolist() if recipe.start != "grey" else ()):
        middle = codes.median_member(unit)
        if middle is not None:
            own = codes.shown(codes.members(unit) if recipe.start == "mean" else [middle])
            assert isinstance(own, Tensor)
            begun[place] = own.mean(0)
    return begun


def _descend(
    coder: Coder, begun: Inputs, units: Units, recipe: Recipe, reach: float, generator: torch.Generator
) -> tuple[Inputs, PerSample]:
    """Adam from the start: the inputs of the least residuals on the way, and these."""
    size = recipe.step_size * reach
    inputs = begun.clone().requires_grad_(True)
    adam = torch.optim.Adam([inputs], lr=size)
    best, found = torch.full((len(units),), torch.inf), begun.clone()
    images = begun.ndim == 4
    for step in range(recipe.steps + 1):
        done = step / recipe.steps
        early = done < 0.5 and recipe.jitter > 0 and images
        residuals = coder.residuals(_shifted(inputs, recipe.jitter, generator) if early else inputs, units)
        if not early:
            better = residuals.detach() < best
            found = torch.where(better.view(-1, *[1] * (inputs.ndim - 1)), inputs.detach(), found)
            best = torch.minimum(best, residuals.detach())
        if step == recipe.steps:
            break
        faded = FADED**done
        loss = residuals.square() + faded * recipe.small * (inputs - begun).square().flatten(1).sum(1)
        loss = loss + faded * recipe.smooth * total_variation(inputs) if images else loss
        adam.zero_grad()
        loss.sum().backward()
        for group in adam.param_groups:
            group["lr"] = size * SETTLED ** max(0.0, 2 * done - 1)
        adam.step()
        with torch.no_grad():
            inputs.copy_(_inside(inputs, coder))
    return found, best


def total_variation(images: Float[Tensor, "n c h w"]) -> PerSample:
    """(n,): squared differences of pixels that touch along rows and columns, summed."""
    down, across = images.diff(dim=2), images.diff(dim=3)
    return down.square().flatten(1).sum(1) + across.square().flatten(1).sum(1)


def _shifted(images: Inputs, most: int, generator: torch.Generator) -> Inputs:
    """All images moved by the same random number of pixels; what leaves on one side comes in on the other."""
    down, across = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
    return images.roll((down, across), (2, 3))


def _inside(inputs: Inputs, coder: Coder) -> Inputs:
    low, high = coder.network.bounds
    return inputs.detach().clamp(low, high)


def _range(codes: LayerCodes) -> float:
    """From the least to the largest legal input; where they have no bounds, four deviations of the first samples."""
    low, high = codes.network.bounds
    if isfinite(high - low):
        return high - low
    inputs = codes.shown(range(min(BATCH, len(codes.parents))))
    assert isinstance(inputs, Tensor)
    return 4 * float(inputs.double().std()) or 1.0
