"""As many pictures as there is room for: of noise none, of samples every so many-th, of units all or none."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, runtime_checkable

from layerscope.explorer.arrays import Rows
from layerscope.explorer.description import CONTROL
from layerscope.explorer.inversions import without_sheets
from layerscope.explorer.run import Run
from layerscope.explorer.sprites import Sheets, sample_sheets

MB = 1e6
"""Bytes."""
PROBED = 250
"""Samples whose pictures tell how large those of all will be."""
SURE = 1.2
"""How many times too large pictures must be expected to be for it not to be tried."""


@runtime_checkable
class Sized(Protocol):
    """What takes so many bytes."""

    @property
    def size(self) -> int:
        """Of all its files."""
        ...


Made = TypeVar("Made", bound=Sized)


def thinned(run: Run, rows: Rows, inverted: Sheets, max_mb: float, whole: Callable[[Sheets, Sheets], Made]) -> Made:
    """A bundle that is no larger than asked.

    Pictures of noise go first. Then, where they would take more than half of the room for pictures, inversions; then
    all but every k-th sample's, with k as small as fits.

    Args:
        run: the run.
        rows: places of the samples in the recordings.
        inverted: the units' pictures.
        max_mb: the most that all files may take, in millions of bytes.
        whole: makes the bundle of the samples' pictures and the units'.

    Raises:
        ValueError: if it is too large even without pictures.
    """
    conditions = run.settings["chosen"]["conditions"]
    every, noise = dict.fromkeys(conditions, 1), {name: 0 for name in conditions if name.startswith(CONTROL)}
    none = sample_sheets(run, rows, dict.fromkeys(conditions, 0))
    bare = whole(none, without_sheets(inverted))
    room = max_mb * MB - bare.size
    if room < 0:
        raise ValueError(
            f"`max_mb` is {max_mb:g}, and the files take {bare.size / MB:.1f} MB even without pictures; allow more, or "
            "show fewer samples (`max_samples`)."
        )

    def fitting(shown: Sheets) -> Made | None:
        found = whole(shown, inverted)
        return found if found.size <= max_mb * MB else None

    for wanted in (every, every | noise):
        if _expected(run, rows, wanted) + inverted.size < SURE * room:
            found = fitting(sample_sheets(run, rows, wanted))
            if found is not None:
                return found
    if inverted.size > room / 2:
        inverted = without_sheets(inverted)
    left = max(room - inverted.size, 1.0)
    step = max(2, int(_expected(run, rows, every | noise) / SURE / left))
    while step < len(rows):
        shown = sample_sheets(run, rows, dict.fromkeys(conditions, step) | noise)
        found = fitting(shown)
        if found is not None:
            return found
        step = max(step + 1, int(step * shown.size / left))
    return fitting(none) or bare


def _expected(run: Run, rows: Rows, every: Mapping[str, int]) -> float:
    """About how many bytes the pictures of all samples will take, from those of some."""
    step = max(1, len(rows) // PROBED)
    return step * sample_sheets(run, rows, {name: step * shown for name, shown in every.items()}).size
