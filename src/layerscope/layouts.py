"""Which axis of a layer's output holds the samples, and which the features.

A tensor doesn't say. What a layer is made of does: convolutions put channels first, linear layers and layer norms put
features last, and the widths of these parts are those of its output.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

FIRST = (nn.modules.batchnorm._NormBase,)  # noqa: SLF001 - the common base of batch and instance normalisation
LAST = (nn.LayerNorm, nn.RMSNorm)


class Layout(NamedTuple):
    """Where the axes of an output lie."""

    samples: int
    """0; 1 for the sequences of a recurrent layer that is not `batch_first`."""
    features: int
    """1 or -1, once samples come first."""


class Output(NamedTuple):
    """What a layer put out for a batch, as a reduction needs it."""

    tensor: Tensor
    """(n, ...): samples first, whatever the layer's own order."""
    features: int
    """The axis of features: 1 (channels first) or -1."""
    mask: Tensor | None = None
    """(n, tokens), bool: False where a token is padding; None where nothing is."""


def layout_of(module: nn.Module, shape: Sequence[int], whole: nn.Module) -> Layout:
    """The layout of what `module`, a part of `whole`, puts out in this shape (samples counted as they come).

    The widths of the module's own parts decide; where they say nothing (an activation function, say), those of the
    whole network's. If these say nothing either, or both: (samples, tokens, features) and (samples, channels, ...).
    """
    samples = int(isinstance(module, nn.RNNBase) and not module.batch_first and len(shape) == 3)
    if samples or len(shape) < 3:
        return Layout(samples, -1)
    for part in (module, whole):
        first, last = _widths(part)
        votes = {1: shape[1] in first, -1: shape[-1] in last}
        if not any(votes.values()):  # a convolution's output, permuted, or a linear layer's
            votes = {1: shape[1] in last, -1: shape[-1] in first}
        if votes[1] != votes[-1]:
            return Layout(0, 1 if votes[1] else -1)
        if votes[1]:
            break
    return Layout(0, -1 if len(shape) == 3 else 1)


def _widths(module: nn.Module) -> tuple[set[int], set[int]]:
    """The widths of parts that put channels first, and of parts that put features last."""
    first, last = set(), set()
    for part in module.modules():
        if isinstance(part, nn.modules.conv._ConvNd):  # noqa: SLF001 - the common base of all convolutions
            first.add(part.out_channels)
        elif isinstance(part, FIRST):
            first.add(part.num_features)
        elif isinstance(part, nn.GroupNorm):
            first.add(part.num_channels)
        elif isinstance(part, LAST):
            last.add(part.normalized_shape[-1])
        elif isinstance(part, nn.Linear):
            last.add(part.out_features)
        elif isinstance(part, nn.Embedding):
            last.add(part.embedding_dim)
        elif isinstance(part, nn.RNNBase):
            last.add(part.hidden_size * (2 if part.bidirectional else 1))
    return first, last
