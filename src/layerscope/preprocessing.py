"""What networks do to pixels and texts before their first layer, as values that say what they hold."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalise:
    """Pixels in [0, 1] to (pixels - mean) / std, channel by channel. Gradients flow.

    Raises:
        ValueError: if the means and deviations don't pair up, or a deviation isn't positive.
    """

    mean: tuple[float, ...]
    """Of each channel, in pixels of [0, 1]."""
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ValueError(
                f"`mean` and `std` must hold one number for each channel, and `std` positive ones; got {self.mean} "
                f"and {self.std}."
            )

    def __call__(self, inputs: Tensor) -> Tensor:
        """The normalised batch.

        Raises:
            ValueError: if the batch has another number of channels.
        """
        if inputs.ndim != 4 or inputs.shape[1] != len(self.mean):
            raise ValueError(
                f"`inputs` must be images of shape (n, {len(self.mean)}, height, width), pixels in [0, 1]; got shape "
                f"{tuple(inputs.shape)}."
            )
        mean, std = (inputs.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (inputs - mean) / std


@dataclass(frozen=True)
class Tokenise:
    """Texts to token ids of one width: cut after `max_length` tokens, padded up to it.

    Raises:
        ValueError: if `max_length` leaves no room for a word, or the tokenizer has no padding token.
    """

    tokenizer: Any = field(repr=False, compare=False)
    """Of the library transformers."""

    max_length: int = 128
    """Tokens of every text, special ones counted."""

    sha256: str = field(init=False)
    """Of the tokenizer: its vocabulary, its rules and its special tokens."""

    def __post_init__(self) -> None:
        special = self.tokenizer.num_special_tokens_to_add()
        if self.max_length <= special:
            raise ValueError(
                f"`max_length` must be at least {special + 1}: the {special} special tokens and one of the text; "
                f"got {self.max_length}."
            )
        if self.tokenizer.pad_token is None:
            raise ValueError(
                "`tokenizer` must have a padding token, so that the texts of a batch have one width, and has none; "
                "set one (`tokenizer.pad_token = tokenizer.eos_token`)."
            )
        object.__setattr__(self, "sha256", _digest(self.tokenizer))

    def __call__(self, texts: Any) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` and whatever else the network is told of some texts, each (n, max_length).

        Raises:
            TypeError: if the batch isn't a sequence of str.
        """
        if not isinstance(texts, Sequence) or isinstance(texts, str) or not all(isinstance(t, str) for t in texts):
            raise TypeError(
                f"`texts` must be a sequence of str, one for each sample; got {type(texts).__name__}. The network "
                "tokenises by itself."
            )
        told = self.tokenizer(
            list(texts), truncation=True, padding="max_length", max_length=self.max_length, return_tensors="pt"
        )
        return {name: torch.as_tensor(values) for name, values in told.items()}


def _digest(tokenizer: Any) -> str:
    """SHA-256 of what a tokenizer does; of neither its place on disk nor the width that it last padded to."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rules = {"kind": type(tokenizer).__qualname__, "vocabulary": tokenizer.get_vocab()}
    else:
        rules = json.loads(backend.to_str())
        rules["truncation"] = rules["padding"] = None
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    told = [rules, special, tokenizer.padding_side, tokenizer.truncation_side]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
