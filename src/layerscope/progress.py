"""One progress bar for everything that takes time; it writes to standard error, so that output can be piped."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import TimeRemainingColumn as Remaining
from rich.text import Text


class Bar:
    """A line on the terminal that says how far a piece of work is."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: int = 1) -> None:
        """Say that `steps` more are done."""
        self._progress.advance(self._task, steps)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if not self._progress.disable:
            self._progress.console.print(text, soft_wrap=True, highlight=False, markup=False)


class _Rate(ProgressColumn):
    """Steps per second since the start, so that the last line says what the whole took."""

    def __init__(self, unit: str, done: int) -> None:
        super().__init__()
        self._unit, self._done = unit, done

    def render(self, task: Task) -> Text:
        """The column's text."""
        rate = (task.completed - self._done) / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:,.0f} {self._unit}/s" if rate >= 10 else f"{rate:.1f} {self._unit}/s")


@contextmanager
def bar(title: str, total: int, *, done: int = 0, unit: str = "", show: bool = True) -> Iterator[Bar]:
    """A bar of `total` steps under `title`; where there is no terminal, one line when the work has ended.

    Where a step has a name, `unit`, the bar says how many come in a second; of those that were `done` before it began,
    none.
    """
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Remaining(),
        *([_Rate(unit, done)] if unit else []),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show) as progress:
        yield Bar(progress, progress.add_task(title, total=total, completed=done))
