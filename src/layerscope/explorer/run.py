"""What the explorer needs of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from layerscope import figures
from layerscope.atlas import Atlas


@runtime_checkable
class Run(figures.Run, Protocol):
    """A finished run: what figures need, its maps, and what study.json says."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """The contents of study.json."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know first."""
        ...

    @property
    def atlas(self) -> Atlas:
        """The maps."""
        ...
