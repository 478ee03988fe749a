"""Where the logits are in what a module answers."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from layerscope.types import Logits


def answered(answer: Any, place: str | int | bool | None) -> Logits:
    """The logits in a module's answer; `place` as in `Network.output`.

    Raises:
        TypeError: if it holds none there.
    """
    logits = logits_of(answer, place)
    if logits is None:
        shape = f" of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else ""
        told = "`logits`" if place is None else f"`output` {place!r}"
        raise TypeError(
            "`module` must return logits of shape (samples, classes), or something that holds them under "
            f"{told}; it returned {type(answer).__name__}{shape}. Say where they are with `Network(..., "
            "output=...)`, or wrap it in a module that returns them."
        )
    return logits


def logits_of(answer: Any, place: str | int | bool | None) -> Logits | None:
    """The logits in a module's answer; None where there are none."""
    if place is False:
        return None
    if place is None:
        found = answer
        if isinstance(answer, Mapping):
            found = answer.get("logits")
        elif not isinstance(answer, Tensor):
            found = getattr(answer, "logits", answer[0] if isinstance(answer, (tuple, list)) and answer else None)
    elif isinstance(place, int):
        found = answer[place] if isinstance(answer, (tuple, list)) and -len(answer) <= place < len(answer) else None
    else:
        found = answer.get(place) if isinstance(answer, Mapping) else getattr(answer, place, None)
    return found if isinstance(found, Tensor) and found.ndim == 2 and found.is_floating_point() else None
