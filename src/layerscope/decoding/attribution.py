"""Which parts of an input hold it in its code: attribution of the margin by which it lies inside the unit's cell."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from math import isfinite
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from layerscope.decoding.coder import Coder, weights_held
from layerscope.embeddings import attackable
from layerscope.network import Network
from layerscope.types import Flags, Inputs, PerSample, Samples, Units

METHODS = ("integrated-gradients", "gradient-x-input", "occlusion")
STEPS = 32
"""Of the integral, by Gauss and Legendre."""
FORWARD = 250
"""Inputs a forward pass."""
WINDOWS = 7
"""Windows of an occlusion along an image's shorter side, about; they overlap by half."""

BLUR = 1 / 3
"""Side of the square that the blur takes the mean over, in the image's shorter side."""


@dataclass(frozen=True)
class Attributed:
    """How much each part of some inputs adds to the margin of their code."""

    method: str
    """One of `METHODS`."""
    parts: Float[Tensor, "n ..."]
    """(n, height, width) of images, channels summed; (n, tokens) of texts and tokens, their embeddings summed; else as
    the inputs. In spreads; what is positive holds the input in its code."""
    margins: PerSample
    """(n,): of the inputs, in spreads; below 0 where another unit is nearer than the one asked about."""
    baseline: Float[Tensor, "b ..."]
    """(1, ...) or (n, ...): what an input without the part is taken to be; the margins' reference."""
    there: Bool[Tensor, "n ..."]
    """Of the shape of `parts`: False where a token is padding."""

    def of(self, some: Flags) -> "Attributed":
        """That of some of the inputs."""
        baseline = self.baseline if len(self.baseline) == 1 else self.baseline[some]
        return replace(
            self, parts=self.parts[some], margins=self.margins[some], baseline=baseline, there=self.there[some]
        )


def attribute(
    coder: Coder,
    samples: Samples,
    units: Units,
    method: str = METHODS[0],
    *,
    baseline: Float[Tensor, "b ..."] | None = None,
) -> Attributed:
    """Attribute the BMU margin (distance to the second-best unit minus distance to the BMU) to the input.

    Integrated gradients (Sundararajan et al. 2017, ICML) along the straight line from the baseline, gradient x input
    (Shrikumar et al. 2016), with the input counted from the baseline, and occlusion (Zeiler & Fergus 2014, ECCV) by
    windows of the baseline, all as Captum computes them. Integrated gradients add up to the margin less the baseline's.

    Args:
        coder: the way from the input to the map.
        samples: a batch: images, other tensors of numbers, texts or tokens.
        units: (n,), whose margin is attributed; most often the samples' codes.
        method: one of `METHODS`.
        baseline: (1, ...) or (n, ...), inputs that stand for nothing. By default images blurred over a third of their
            side, so that what is removed leaves no edges (Fong & Vedaldi 2017, ICCV); embeddings of 0 for texts and
            tokens; for other numbers the lower bound, or 0 where there is none.

    Raises:
        ImportError: if captum is not installed; says the pip line.
        ValueError: if the method is not known, or the baseline is of another shape.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}; got {method!r}.")
    library = _captum(method)
    network, inputs = attackable(coder.network, samples)
    if baseline is None:
        baseline = blurred(inputs) if inputs.ndim == 4 else _lowest(network, inputs)
    if baseline.shape[1:] != inputs.shape[1:] or len(baseline) not in (1, len(inputs)):
        raise ValueError(
            f"`baseline` must be one input of shape {tuple(inputs.shape[1:])}, as (1, ...); got shape "
            f"{tuple(baseline.shape)}."
        )

    def margin(given: Tensor, wanted: Units, rows: Units) -> PerSample:
        own = network.rows(rows)
        return replace(coder, network=own).margins(own.samples(given), wanted)

    with weights_held(network), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*required_grads.*")  # it asks inputs for gradients, and says so
        chunks = torch.arange(len(inputs)).split(FORWARD)
        found = torch.cat([
            _computed(
                library, margin, method, inputs[some].detach(), units[some], some,
                baseline if len(baseline) == 1 else baseline[some],
            ) for some in chunks
        ])  # fmt: skip
        with torch.no_grad():
            margins = torch.cat([margin(inputs[some], units[some], some) for some in chunks])
    support = network.support(inputs)
    there = torch.ones_like(inputs, dtype=torch.bool) if support is None else support
    if network is not coder.network:
        return Attributed(method, found.sum(2), margins, baseline, there[..., 0])
    if inputs.ndim == 4:
        return Attributed(method, found.sum(1), margins, baseline, there[:, 0])
    return Attributed(method, found, margins, baseline, there)


def blurred(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Each pixel the mean of a square around it, cut at the border; its side is a third of the image's shorter one."""
    half = max(1, round(BLUR * min(images.shape[2:]) / 2))
    return avg_pool2d(images, 2 * half + 1, stride=1, padding=half, count_include_pad=False)


def _computed(
    library: Any,
    margin: Callable[..., Tensor],
    method: str,
    inputs: Inputs,
    units: Units,
    rows: Units,
    baseline: Tensor,
) -> Inputs:
    """The attribution of every entry of `FORWARD` inputs at most, as Captum has it; `rows` is where they stand."""
    told = (units, rows)
    if method == "integrated-gradients":
        return library.IntegratedGradients(margin).attribute(
            inputs, baseline.expand_as(inputs), additional_forward_args=told, n_steps=STEPS,
            internal_batch_size=FORWARD,
        ).detach().float()  # fmt: skip
    if method == "gradient-x-input":
        gradients = library.Saliency(margin).attribute(inputs, abs=False, additional_forward_args=told)
        return (gradients * (inputs - baseline)).detach().float()
    window, stride = _window(inputs)
    return library.Occlusion(margin).attribute(
        inputs, window, strides=stride, baselines=baseline.expand_as(inputs), additional_forward_args=told
    ).detach().float()  # fmt: skip


def _lowest(network: Network, inputs: Inputs) -> Float[Tensor, "1 ..."]:
    """(1, ...): the lower bound everywhere; 0 where there is none."""
    low = network.bounds[0]
    return torch.full_like(inputs[:1], low if isfinite(low) else 0.0)


def _window(inputs: Inputs) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of an occlusion, and how far it moves: squares of an image in all channels, whole tokens, or single entries."""
    if inputs.ndim == 4:
        side = max(1, round(min(inputs.shape[2:]) / WINDOWS))
        return (inputs.shape[1], side, side), (inputs.shape[1], max(1, side // 2), max(1, side // 2))
    if inputs.ndim == 3:
        return (1, inputs.shape[2]), (1, inputs.shape[2])
    return (1,) * (inputs.ndim - 1), (1,) * (inputs.ndim - 1)


def _captum(method: str) -> Any:
    """Captum's methods."""
    try:
        return import_module("captum.attr")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "captum":
            raise
        raise ImportError(
            f"The attribution {method!r} needs captum, which is not installed: pip install 'layerscope[captum]'"
        ) from error
