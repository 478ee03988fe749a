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

    def spec(self, what: str) -> str:
        """The spec of its `network` or its `data`; raises ValueError where it was made from an object."""
        ...

    def check(self, what: str, fingerprint: str, why: str) -> None:
        """Raise RunMismatchError where its `network` or its `data` has another fingerprint."""
        ...
