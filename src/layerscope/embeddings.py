"""Where samples are texts or tokens: the network as a function of their embeddings, which can change a little."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import inf
from typing import Any

from torch import Tensor

from layerscope.network import EMBEDDINGS, IDS, MASK, Network
from layerscope.types import Inputs, Samples


@dataclass(frozen=True)
class Embedded(Network):
    """A network that is given the word embeddings of a batch whose tokens are known."""

    tokens: Mapping[str, Tensor] = field(kw_only=True)
    """Token ids, their mask, and whatever else the network is told of each sample."""

    def rows(self, some: Tensor) -> Network:
        """The same, for some of the samples."""
        return replace(self, tokens={name: tensor[some.to(tensor.device)] for name, tensor in self.tokens.items()})

    def support(self, inputs: Inputs) -> Tensor | None:
        """The embeddings that are of tokens; padding has no say."""
        mask = self.tokens.get(MASK)
        return None if mask is None else mask.bool()[..., None].expand(inputs.shape).to(inputs.device)

    def samples(self, inputs: Inputs) -> Samples:
        """The tokens, with their embeddings put in."""
        return {**self.tokens, EMBEDDINGS: inputs}

    def _prepared(self, samples: Any) -> Any:
        return super()._prepared(self.samples(samples) if isinstance(samples, Tensor) else samples)


def attackable(network: Network, samples: Samples) -> tuple[Network, Tensor]:
    """The network and a batch as an attack wants them: one tensor of numbers that may change a little.

    Tensors of numbers stay as they are. Texts and tokens become the word embeddings of their tokens, without bounds,
    and the network one that takes these: what an attack makes of them is no text, and says how the network would answer
    if there were one. Padding is not changed.

    Raises:
        ValueError: if samples are neither, or the network looks up no embeddings of their tokens.
    """
    if isinstance(samples, Tensor):
        return network, samples
    tokens = network.tokens_of(samples)
    if tokens is None:
        raise ValueError(
            "An attack needs samples of one tensor of numbers each (images, tables), or texts or tokens (a mapping "
            f"with `{IDS}`) whose embeddings can be changed; got {type(samples).__name__}."
        )
    found = network.embeddings_of(tokens).float()
    own = {one.name: getattr(network, one.name) for one in fields(network)}
    return Embedded(**own | {"bounds": (-inf, inf), "tokens": tokens}), found
