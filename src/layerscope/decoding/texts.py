"""What a code stands for where samples are texts: its exemplars, each token coloured by what it adds to the margin."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from layerscope.decoding.decoded import Decoded, Decoding
from layerscope.decoding.exemplars import Exemplar
from layerscope.decoding.layer_codes import LayerCodes
from layerscope.drawing import STYLE
from layerscope.layers import Layer
from layerscope.network import IDS, MASK
from layerscope.types import Samples

LETTER, LINE, WIDTH = 0.07, 0.26, 7.6
"""Inches: a letter's width, a line's height, and a page's width."""
AROUND = 6
"""Tokens shown before and after one in its context."""


def words_of(codes: LayerCodes, samples: Samples, tokenizer: Any = None) -> list[list[str]]:
    """Each sample's tokens as written, padding left out.

    Args:
        codes: whose network takes the samples.
        samples: texts or tokens.
        tokenizer: turns ids into written tokens (`convert_ids_to_tokens`); by default that of the network's own
            preprocessing.

    Raises:
        ValueError: if samples are neither texts nor tokens, or there is no tokenizer.
    """
    tokens = codes.network.tokens_of(samples)
    if tokens is None:
        raise ValueError(
            f"There are no texts to show: samples of {codes.data.source} have no tokens. Images are drawn by "
            "`contact_sheet` and `unit_sheet`."
        )
    tokenizer = getattr(codes.network.preprocess, "tokenizer", None) if tokenizer is None else tokenizer
    if tokenizer is None:
        raise ValueError(
            "`tokenizer` must be given where samples are tokens: the network's preprocessing has none that could write "
            "them out."
        )
    mask = tokens.get(MASK, torch.ones_like(tokens[IDS])).bool()
    return [tokenizer.convert_ids_to_tokens(ids[own].tolist()) for ids, own in zip(tokens[IDS], mask, strict=True)]


def in_context(words: Sequence[str], place: int, *, around: int = AROUND) -> str:
    """A token in brackets among its neighbours: `… the cat [sat] on the mat …`; `##` joins a piece to the word before.

    Raises:
        ValueError: if there is no such token.
    """
    if not 0 <= place < len(words):
        raise ValueError(f"`place` must be a token's, 0 to {len(words) - 1}; got {place}.")
    start, end = max(0, place - around), min(len(words), place + around + 1)
    text = ""
    for at in range(start, end):
        piece = words[at].startswith("##")
        written = words[at].removeprefix("##")
        text += ("" if piece or at == start else " ") + (f"[{written}]" if at == place else written)
    return ("… " if start else "") + text + (" …" if end < len(words) else "")


def contexts(codes: LayerCodes, shown: Sequence[Exemplar], *, tokenizer: Any = None) -> list[str]:
    """Exemplars of a `tokens` layer, each token in its context.

    Raises:
        ValueError: if samples have no tokens that can be written out.
    """
    samples = codes.data.take(codes.data.find([one.sample for one in shown])).inputs
    tokens = codes.network.tokens_of(samples)
    written = words_of(codes, samples, tokenizer)
    assert tokens is not None
    mask = tokens.get(MASK, torch.ones_like(tokens[IDS])).bool()
    places = [int(own[: one.place].sum()) for one, own in zip(shown, mask, strict=True)]
    return [in_context(words, place) for words, place in zip(written, places, strict=True)]


def text_sheet(
    decoding: Decoding, units: Sequence[int], *, layer: Layer | None = None, tokenizer: Any = None, most: int = 24
) -> Figure:
    """Units by their attributed exemplars, a text a line: red tokens hold it in its code, blue ones pull it out.

    Args:
        decoding: with attribution.
        units: which, one below the other.
        layer: which, where several were decoded; by default the first.
        tokenizer: see `words_of`.
        most: tokens shown of each text.

    Raises:
        ValueError: if a unit was not attributed, or samples have no tokens that can be written out.
    """
    layer = next(iter(decoding.codes)) if layer is None else layer
    codes = decoding.codes[layer]
    found: Mapping[int, Decoded] = {one.unit: one for one in decoding.units if one.layer == layer}
    missing = [unit for unit in units if unit not in found or found[unit].attribution is None]
    if missing:
        raise ValueError(f"`units` must have attributed exemplars; of '{layer}', {missing[0]} has none.")
    lines: list[tuple[str, Tensor | None, list[str]]] = []
    for unit in units:
        one = found[unit]
        lines.append((f"unit {unit}: {one.name}  ({one.exemplars.count} texts)", None, []))
        samples = codes.data.take(codes.data.find(one.attributed)).inputs
        assert one.attribution is not None
        for words, parts, there in zip(
            words_of(codes, samples, tokenizer), one.attribution.parts, one.attribution.there, strict=True
        ):
            lines.append(("", parts[there][:most], words[:most]))
    return _drawn(f"{layer.name} under {layer.reduction}: red tokens hold a text in its code, blue pull it out", lines)


def _drawn(title: str, lines: Sequence[tuple[str, Tensor | None, list[str]]]) -> Figure:
    """Headings and coloured texts, broken at the page's width."""
    rows: list[list[tuple[str, float | None]]] = []
    for heading, parts, words in lines:
        if parts is None:
            rows.append([(heading, None)])
            continue
        largest = float(parts.abs().max()) or 1.0
        rows.append([])
        for word, value in zip(words, (parts / largest).tolist(), strict=True):
            if rows[-1] and sum(len(told) + 1 for told, _ in rows[-1]) + len(word) > WIDTH / LETTER - 4:
                rows.append([])
            rows[-1].append((word, value))
    height = LINE * (len(rows) + 1.6)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        figure.text(0.1 / WIDTH, 1 - 0.7 * LINE / height, title, fontsize=9, fontweight="bold", va="center")
        for line, row in enumerate(rows):
            at, y = 0.1, 1 - LINE * (line + 1.9) / height
            for told, value in row:
                if value is None:
                    figure.text(at / WIDTH, y, told, fontsize=8.5, fontweight="bold", va="center")
                    continue
                colour = colormaps["RdBu_r"](0.5 + 0.3 * value)
                figure.text(
                    (at + 0.1) / WIDTH, y, told, fontsize=8, family="monospace", va="center",
                    bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2},
                )  # fmt: skip
                at += LETTER * (len(told) + 1)
    return figure
