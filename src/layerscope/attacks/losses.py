"""What attacks climb, and the slope of it."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as _cross_entropy

from layerscope.network import Network
from layerscope.types import Flags, Inputs, Labels, Logits, PerSample


def cross_entropy(logits: Logits, labels: Labels) -> PerSample:
    """-log softmax of the label."""
    return _cross_entropy(logits, labels, reduction="none")


def margin_loss(logits: Logits, labels: Labels) -> PerSample:
    """The best other logit minus the label's: positive where the answer is wrong (Carlini & Wagner 2017, f_6)."""
    own = logits.gather(1, labels[:, None])[:, 0]
    return logits.scatter(1, labels[:, None], -torch.inf).amax(1) - own


def dlr(logits: Logits, labels: Labels) -> PerSample:
    """Difference of logits ratio (Croce & Hein 2020, eq. 6): the margin over z_(1) - z_(3); scale plays no part.

    Raises:
        ValueError: if there are fewer than four classes.
    """
    if logits.shape[1] < 4:
        raise ValueError(f"The DLR loss needs at least four classes; the network has {logits.shape[1]}. Use `apgd-ce`.")
    ordered = logits.sort(dim=1, descending=True).values
    return margin_loss(logits, labels) / (ordered[:, 0] - ordered[:, 2] + 1e-12)


class Aim(NamedTuple):
    """What an ascent is after."""

    loss: Callable[[Logits, Tensor], PerSample]
    """What is climbed, from logits and aims, a row of them for each sample."""
    reached: Callable[[Labels, Tensor], Flags]
    """Whether answers are what is wanted."""


AWAY = Aim(cross_entropy, torch.ne)
"""From the labels: any other answer."""
TOWARD = Aim(lambda logits, aims: -cross_entropy(logits, aims), torch.eq)
"""To the classes that are the aims."""
SECOND = Aim(margin_loss, torch.ne)
"""From the labels, against whichever class comes second."""
PAST = Aim(
    lambda logits, aims: (logits.gather(1, aims[:, 1:]) - logits.gather(1, aims[:, :1]))[:, 0],
    lambda answers, aims: answers != aims[:, 0],
)
"""From the labels, the first of two aims, across the boundary to the second."""


class Slope(NamedTuple):
    """The loss at some inputs, and where it rises."""

    logits: Logits
    losses: PerSample
    gradient: Inputs


def slope(network: Network, inputs: Inputs, aims: Tensor, loss: Callable[[Logits, Tensor], PerSample]) -> Slope:
    """One forward and one backward pass.

    Raises:
        ValueError: if the answer does not depend on the inputs by operations that have gradients; names the layer.
    """
    inputs = inputs.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = network(inputs)
        losses = loss(logits.float() if logits.itemsize < 4 else logits, aims)
        whole = losses.sum()
    gradient = None
    if whole.requires_grad:
        (gradient,) = torch.autograd.grad(whole, inputs, allow_unused=True)
    if gradient is None:
        raise ValueError(
            f"An attack needs gradients from the answer to the inputs, and '{network.name}' has none: "
            f"{network.where_gradients_end(inputs)}. Give a network without operations such as argmax, rounding to "
            "integers, `.detach()` or `torch.no_grad()` on that way."
        )
    return Slope(logits.detach(), losses.detach(), gradient)
