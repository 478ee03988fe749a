"""One progress bar for everything that takes time; it writes to standard error, so that output can be piped."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining


class Bar:
    """A line on the terminal that says how far a piece of work is."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: int = 1) -> None:
        """Say that `steps` more are done."""
        self._progress.advance(self._task, steps)


@contextmanager
def bar(title: str, total: int, *, show: bool = True) -> Iterator[Bar]:
    """A bar of `total` steps under `title`; where there is no terminal, one line when the work has ended."""
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Remaining(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show) as progress:
        yield Bar(progress, progress.add_task(title, total=total))
