"""The explorer in a notebook: what is selected in it, Python reads and sets. The only module that needs anywidget."""

from collections.abc import Collection, Mapping
from operator import index
from typing import Any

import numpy as np

from layerscope.explorer.arrays import exact_id
from layerscope.explorer.assemble import script, style
from layerscope.explorer.bundle import DESCRIPTION, Bundle

try:
    import anywidget
    import traitlets
except ModuleNotFoundError as error:
    if error.name not in ("anywidget", "traitlets"):
        raise
    raise ImportError(
        "The explorer in a notebook needs anywidget, which is not installed: pip install 'layerscope[notebook]'"
    ) from error

ENTRY = "widget.js"
"""The module that begins it."""
COLOURS = ("class", "pies", "hits", "umatrix", "homogeneity", "flips", "shift", "found")
"""What maps may be coloured by."""
NUMBERS = ("unit", "sample")
"""Of a selection; they may be None, which is nothing selected."""


def to_page(selection: Mapping[str, Any], _: Any) -> dict[str, Any]:
    """A selection on its way to the page, whose numbers are exact up to 2^53."""
    sample = selection.get("sample")
    return dict(selection) if sample is None else {**selection, "sample": exact_id(sample)}


def from_page(selection: Mapping[str, Any], _: Any) -> dict[str, Any]:
    """A selection that comes from the page."""
    sample = selection.get("sample")
    return dict(selection) if sample is None else {**selection, "sample": int(sample)}


class Explorer(anywidget.AnyWidget):
    """A run's bundle, to be looked at in a notebook cell; what it shows needs no kernel, but the selection does.

    `selection` is a dict: `reduction`, `layer`, `unit`, `sample` (its id), `condition`, `measure` and `travel` (what
    the telescope and the flow draw; None where no flow was measured), `colour` (of the maps). It is empty until the
    widget is shown, follows what is clicked, and what is set to it, all or some of the names, is selected wherever the
    widget is shown.

    Args:
        bundle: from `bundle(run)` or `load_bundle(folder)`.
        selection: how it begins.

    Raises:
        ValueError: if a selection names what the bundle does not hold; also later, where `selection` is set.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    bundle = traitlets.Dict(read_only=True).tag(sync=True)
    """The contents of bundle.json."""
    files = traitlets.Dict(read_only=True).tag(sync=True)
    """By name, the bytes of the other files."""
    selection = traitlets.Dict().tag(sync=True, to_json=to_page, from_json=from_page)
    """What is selected."""

    def __init__(self, bundle: Bundle, **selection: Any) -> None:
        self.set_trait("bundle", dict(bundle.description))
        self.set_trait("files", {name: content for name, content in bundle.files.items() if name != DESCRIPTION})
        super().__init__(_esm=notebook_script(), _css=style())
        self.selection = selection

    @traitlets.validate("selection")
    def _checked(self, proposal: Any) -> dict[str, Any]:
        return settled(self.bundle, self.files, self.selection, proposal["value"])


def notebook_script() -> str:
    """The front end as the module that anywidget loads."""
    return script(ENTRY) + "\nexport default {render};\n"


def settled(
    bundle: Mapping[str, Any], files: Mapping[str, bytes], before: Mapping[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """The selection that comes of an earlier one where some or all of it is asked to be other.

    Raises:
        ValueError: if `asked` names what the bundle does not hold; says what it holds.
    """
    layers = {one["name"]: one["layers"] for one in bundle["reductions"]}
    named: dict[str, Collection[str | None]] = {
        "reduction": layers,
        "layer": layers.get(asked.get("reduction", before.get("reduction", next(iter(layers)))), ()),
        "condition": [one["name"] for one in bundle["conditions"]],
        "measure": bundle["measures"],
        "travel": (*bundle["measures"], None),
        "colour": COLOURS,
    }
    for name in asked:
        if name not in named and name not in NUMBERS:
            raise ValueError(f"A selection holds {', '.join((*named, *NUMBERS))}; got {name!r}.")
    for name, known in named.items():
        if name in asked and asked[name] not in known:
            raise ValueError(f"`{name}` must be one of {', '.join(map(str, known))}; got {asked[name]!r}.")
    numbers = {name: None if asked[name] is None else index(asked[name]) for name in NUMBERS if name in asked}
    units, unit, sample = bundle["grid"]["rows"] * bundle["grid"]["columns"], numbers.get("unit"), numbers.get("sample")
    if unit is not None and not 0 <= unit < units:
        raise ValueError(f"`unit` must lie from 0 to {units - 1}, or be None; got {unit}.")
    if sample is not None and not _shown(bundle, files, sample):
        raise ValueError(f"`sample` must be the id of a sample that is shown, or None; got {sample}.")
    kept = dict(before)
    if "layer" not in asked and kept.get("layer") not in named["layer"]:
        kept.pop("layer", None)
    return {**kept, **asked, **numbers}


def _shown(bundle: Mapping[str, Any], files: Mapping[str, bytes], sample: int) -> bool:
    """Whether a bundle shows the sample of this id."""
    if bundle["ids"] is not None:
        return str(sample) in bundle["ids"]
    return bool((np.frombuffer(files["arrays/id.bin"], "<f8") == sample).any())
