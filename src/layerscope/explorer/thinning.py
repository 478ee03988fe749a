"""As many pictures as there is room for: of noise none, of samples every so many-th, of units all or none.

Where there is room for none, fewer samples.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from layerscope.attacks import is_control
from layerscope.errors import TooLargeError
from layerscope.explorer.arrays import Rows, chosen_rows
from layerscope.explorer.inversions import without_sheets
from layerscope.explorer.run import Run
from layerscope.explorer.sprites import Sheets, sample_sheets

MB = 1e6
"""Bytes."""
PROBED = 250
"""Samples whose pictures tell how large those of all will be."""
SURE = 1.2
"""How many times too large pictures must be expected to be for it not to be tried."""
FEWEST = 100
"""Samples, below which they are not thinned: so few show no map."""
FEWER = 0.95
"""Of the samples, where they were expected to fit and don't: texts are not all as long."""


@runtime_checkable
class Sized(Protocol):
    """What takes so many bytes."""

    @property
    def size(self) -> int:
        """Of all its files."""
        ...


Made = TypeVar("Made", bound=Sized)


def thinned(
    run: Run, rows: Rows, inverted: Sheets, max_mb: float, of_rows: Callable[[Rows], Callable[[Sheets, Sheets], Made]]
) -> Made:
    """A bundle that is no larger than asked.

    Pictures of noise go first. Then, where they would take more than half of the room for pictures, inversions; then
    all but every k-th sample's, with k as small as fits. Where there is room for none, samples are thinned.

    Args:
        run: the run.
        rows: places of the samples in the recordings.
        inverted: the units' pictures.
        max_mb: the most that all files may take, in millions of bytes.
        of_rows: for some samples, what makes the bundle of their pictures and the units'.

    Raises:
        TooLargeError: if it is too large even of `FEWEST` samples without pictures.
    """
    whole = of_rows(rows)
    conditions = run.settings["chosen"]["conditions"]
    every, noise = dict.fromkeys(conditions, 1), {name: 0 for name in conditions if is_control(name)}
    none = _no_sheets(run, rows)
    bare = whole(none, without_sheets(inverted))
    room = max_mb * MB - bare.size
    if room < 0:
        return _of_fewer(
            run, rows, bare, max_mb, lambda some: of_rows(some)(_no_sheets(run, some), without_sheets(inverted))
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


def left_out(told: Mapping[str, Any]) -> list[str]:
    """What a bundle does not show of its run, a sentence each, for whoever makes it and whoever reads it.

    Args:
        told: the contents of bundle.json.
    """
    found = []
    if told["samples"] < told["total"]:
        found.append(
            f"The explorer shows {told['samples']:,} of {told['total']:,} samples, of every class in proportion."
        )
    lacking = {name: one for name, one in told["pictures"].items() if one["thinned"]}
    if lacking:
        listed = "; ".join(
            f"{name}: {one['shown']:,} of {one['shown'] + one['thinned']:,}" for name, one in lacking.items()
        )
        found.append(
            f"For size, the explorer leaves out pictures; its codes and numbers are of all samples here ({listed})."
        )
    layers = [layer for reduction in told["decoding"].values() for layer in reduction.values()]
    if any(any(one["inverted"]) and one["sheet"] is None for one in layers):
        found.append("For size, the explorer shows no inversions.")
    return found


def _no_sheets(run: Run, rows: Rows) -> Sheets:
    """Of samples that have pictures: none."""
    return sample_sheets(run, rows, dict.fromkeys(run.settings["chosen"]["conditions"], 0))


def _of_fewer(run: Run, rows: Rows, every: Made, max_mb: float, bare: Callable[[Rows], Made]) -> Made:
    """A bundle without pictures of as many samples as there is room for, drawn from every class in proportion.

    Args:
        run: the run.
        rows: places of the samples.
        every: the bundle of all of them, which is too large.
        max_mb: the most that all files may take, in millions of bytes.
        bare: makes the bundle of some samples.

    Raises:
        TooLargeError: if it is too large even of `FEWEST` samples.
    """
    clean, example, bound = run.recordings["clean"], run.settings["example"], max_mb * MB
    few = min(FEWEST, len(rows))
    least = every if few == len(rows) else bare(chosen_rows(clean, few, keep=example))
    if least.size > bound:
        raise TooLargeError(
            f"`max_mb` is {max_mb:g}, and the files take {least.size / MB:.2g} MB even without pictures and of "
            f"{few:,} samples alone; allow more."
        )
    # all but a constant goes with the number of samples, whether these were all or chosen before
    count = few + int((bound - least.size) / (every.size - least.size) * (len(rows) - few))
    while count > few:
        found = bare(chosen_rows(clean, count, keep=example))
        if found.size <= bound:
            return found
        count = int(FEWER * count)
    return least


def _expected(run: Run, rows: Rows, every: Mapping[str, int]) -> float:
    """About how many bytes the pictures of all samples will take, from those of some."""
    step = max(1, len(rows) // PROBED)
    return step * sample_sheets(run, rows, {name: step * shown for name, shown in every.items()}).size
