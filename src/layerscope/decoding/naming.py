"""The shortest label that describes a code: from its class mix, or from words where the user brings encoders."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from layerscope.types import Samples, Units, Vectors, size_of

COVERED, LISTED = 0.8, 3
"""The share of a code's samples that its name accounts for, and the most classes that it names."""
NOBODY = "no exemplars"
"""What a unit is called that no recorded sample has for its code."""
LEVEL = 0.95
"""Of the margins of shuffled exemplars, the share that a word's margin must be beyond."""


class Word(NamedTuple):
    """A word that fits a code's exemplars better than chance would have it."""

    word: str
    cosine: float
    """Between the mean of the exemplars' vectors and the word's."""
    margin: float
    """By how much it is above that of the second best word."""
    null: float
    """The margin that 95 % of as many samples drawn at random stay below."""


def class_mix_name(counts: Mapping[str, int]) -> str:
    """The shortest label that accounts for 80 % of a code's samples.

    `Sandal 92 %`; `Shirt 41 % / Coat 30 % / Dress 12 %` where up to three classes are enough; else `mixed (7 classes)`.

    Args:
        counts: samples of each class, by its name.
    """
    total = sum(counts.values())
    if not total:
        return NOBODY
    ranked = sorted(((count, name) for name, count in counts.items() if count), key=lambda one: (-one[0], one[1]))
    covered = 0
    for place, (count, _) in enumerate(ranked[:LISTED]):
        covered += count
        if covered >= COVERED * total:
            return " / ".join(f"{name} {100 * own / total:.0f} %" for own, name in ranked[: place + 1])
    return f"mixed ({len(ranked)} classes)"


def word_names(
    samples: Samples,
    units: Units,
    words: Sequence[str],
    encode_samples: Callable[[Samples], Vectors],
    encode_words: Callable[[Sequence[str]], Vectors],
    *,
    draws: int = 200,
    seed: int = 0,
) -> dict[int, Word | None]:
    """The word of a vocabulary that is nearest to each code's samples; None where it is no nearer than chance.

    A code's margin (best cosine less second best) is held against that of as many samples drawn from all codes: where
    95 % of these are not below it, no word is given.

    Args:
        samples: the exemplars.
        units: (n,), the code of each.
        words: the vocabulary, at least two different ones; a word that comes twice counts once.
        encode_samples: samples to vectors (n, d), such as a CLIP image encoder's.
        encode_words: words to vectors (k, d) of the same space.
        draws: of the null.
        seed: of the null.

    Raises:
        ValueError: if there are fewer than two words, or the encoders' vectors don't fit each other.
    """
    if len(set(words)) < 2:
        raise ValueError(f"`words` must be two different words at least, so that one can be nearer; got {list(words)}.")
    words = list(dict.fromkeys(words))  # a word would be the second best beside itself
    with torch.no_grad():
        shown, said = _lengths_one(encode_samples(samples)), _lengths_one(encode_words(words))
    if shown.shape != (size_of(samples), said.shape[1]) or len(said) != len(words):
        raise ValueError(
            f"`encode_samples` and `encode_words` must give vectors of one space, one for each of {size_of(samples)} "
            f"samples and {len(words)} words; got {tuple(shown.shape)} and {tuple(said.shape)}."
        )
    generator = torch.Generator().manual_seed(seed)
    nulls: dict[int, float] = {}
    found: dict[int, Word | None] = {}
    for unit in units.unique().tolist():
        own = shown[units == unit]
        if len(own) not in nulls:
            drawn = torch.stack([torch.randperm(len(shown), generator=generator)[: len(own)] for _ in range(draws)])
            margins = torch.stack([_best(shown[rows], said)[2] for rows in drawn])
            nulls[len(own)] = float(margins.quantile(LEVEL))
        place, cosine, margin = _best(own, said)
        word = Word(words[int(place)], float(cosine), float(margin), nulls[len(own)])
        found[unit] = word if word.margin > word.null else None
    return found


def _best(shown: Vectors, said: Float[Tensor, "k d"]) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest word to the mean of some vectors, its cosine, and its margin."""
    cosines = _lengths_one(shown.mean(0, keepdim=True))[0] @ said.T
    top = cosines.topk(2)
    return top.indices[0], top.values[0], top.values[0] - top.values[1]


def _lengths_one(vectors: Vectors) -> Vectors:
    return torch.nn.functional.normalize(vectors.detach().float().cpu(), dim=1)
