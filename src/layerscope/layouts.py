"""Which axis of a layer's output holds the samples, and which the features.

A tensor doesn't say. What a layer is made of does: convolutions put channels first, linear layers and layer norms put
features last, and the widths of these parts are those of its output.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

NORMS = (nn.LayerNorm, nn.RMSNorm)
RECURRENT = (nn.RNNBase, nn.MultiheadAttention)


class Layout(NamedTuple):
    """Where the axes of an output lie."""

    samples: int
    """0; 1 for sequences that come steps first, as layers give them that are not `batch_first`."""
    features: int
    """1 or -1, once samples come first."""
    sure: bool = True
    """False where a layer's parts would allow either, so that the number of dimensions has decided."""


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
    if len(shape) < 3:
        return Layout(0, -1)
    if len(shape) == 3 and _steps_first(module):
        return Layout(1, -1)
    for part in (module, whole):
        first, last, moved = _widths(part, len(shape))
        votes = {1: shape[1] in first, -1: shape[-1] in last}
        if part is module and not any(votes.values()):  # permuted after the layer that has the width
            votes = {1: shape[1] in last, -1: shape[-1] in first | moved}
        if votes[1] != votes[-1]:
            return Layout(0, 1 if votes[1] else -1)
        if votes[1]:
            return Layout(0, -1 if len(shape) == 3 else 1, sure=False)
    return Layout(0, -1 if len(shape) == 3 else 1)


def _steps_first(module: nn.Module) -> bool:
    """Whether a layer of sequences has time before samples."""
    if isinstance(module, (nn.TransformerEncoder, nn.TransformerDecoder)):
        return any(map(_steps_first, module.layers))
    if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        return not module.self_attn.batch_first
    return isinstance(module, RECURRENT) and not module.batch_first


def _widths(module: nn.Module, dimensions: int) -> tuple[set[int], set[int], set[int]]:
    """Widths of parts that put channels first, of parts that put features last, and of others.

    A convolution over images says nothing of three dimensions but that its output was rearranged on the way.
    """
    first: set[int] = set()
    last: set[int] = set()
    moved: set[int] = set()
    for part in module.modules():
        if isinstance(part, nn.modules.conv._ConvNd):  # noqa: SLF001 - the common base of all convolutions
            (first if len(part.kernel_size) + 2 == dimensions else moved).add(part.out_channels)
        elif isinstance(part, nn.modules.batchnorm._NormBase):  # noqa: SLF001 - of batch and instance normalisation
            first.add(part.num_features)
        elif isinstance(part, nn.GroupNorm):
            first.add(part.num_channels)
        elif isinstance(part, NORMS):
            last.add(part.normalized_shape[-1])
        elif isinstance(part, nn.Linear):
            last.add(part.out_features)
        elif isinstance(part, nn.Embedding):
            last.add(part.embedding_dim)
        elif isinstance(part, nn.RNNBase):
            last.add(part.hidden_size * (2 if part.bidirectional else 1))
    return first, last, moved
