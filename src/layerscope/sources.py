"""Data by name, or from whatever holds samples."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from layerscope.data import TOLD, Data
from layerscope.files import open_fashion_mnist, open_folder, open_npz
from layerscope.images import Resize
from layerscope.objects import open_object
from layerscope.pictures import Decoding
from layerscope.specs import call_factory
from layerscope.tables import is_hf, open_hf, open_hub, open_parquet

SPECS = (
    "`folder:PATH`, `npz:FILE`, `parquet:FILE`, `hf:NAME:SPLIT`, `fashion-mnist:PATH` or `py:package.module:factory`"
)


def load_data(
    source: Any,
    *,
    limit: int | None = None,
    seed: int = 0,
    resize: Resize | None = None,
    skip_unreadable: bool = False,
    show_progress: bool = True,
) -> Data:
    """A data set from a spec or an object.

    Args:
        source: one of

            - `folder:PATH`, one subfolder of images per class (labels in the order of the names);
            - `npz:FILE` with arrays `inputs` and, where there are any, `labels`, `class_names` and `ids` (whole
              numbers, each once);
            - `parquet:FILE` with a column `image` (encoded: bytes, or a struct with `bytes`) or `text` and, where
              there are any, `label` (whole numbers, or text, whose sorted values are the classes) and `id`;
            - `hf:NAME:SPLIT`, `hf:NAME@REVISION:SPLIT` (of the Hugging Face hub) or `hf:FOLDER:SPLIT`: its images or
              texts, and its labels;
            - `fashion-mnist:PATH`, `fashion-mnist:PATH:train`: a folder with the four IDX files; the test part if
              none is said;
            - `py:package.module:factory`, where the factory gives any of the objects below;
            - inputs (an array or tensor, a dict of them, a list of texts), or a pair (inputs, labels), whose inputs
              may be a tuple of tensors as well; labels of a dict are called `labels` or `label`;
            - a Dataset of inputs, of (input, label) pairs or of dicts, or a DataLoader over one that does not shuffle
              (an iterable one is read into memory, once).

            Bytes (uint8) that are the only input are pixels: they are divided by 255, get a channel axis if they have
            none, and their channels are brought to the front.
        limit: keep this many samples, drawn at random; of an iterable, the first.
        seed: of that draw.
        resize: brings image files (of `folder:`, `parquet:` and `hf:`) to the size that the network takes. Without
            it they must have one size.
        skip_unreadable: look for image files that can't be decoded, and leave them out with a warning; they stand in
            `Data.skipped`. If not, such a file raises when it is met.
        show_progress: whether to draw progress bars, on standard error.

    Raises:
        ValueError: if the spec can't be read, the data set is empty, or its parts don't fit together.
        TypeError: if the object is none of these.
        ImportError: if the spec needs a library that is not installed; says the pip line.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be at least 1; got {limit}.")
    decode = Decoding(resize, skip_unreadable, show_progress)
    data = _open(source, limit, decode)
    if len(data) == 0:
        why = f"; all of its {len(data.skipped)} images are unreadable" if data.skipped else ""
        raise ValueError(f"`data` is empty: {data.source} holds no samples{why}.")
    if skip_unreadable and data.skipped and not isinstance(source, Data):
        told = ", ".join(map(repr, data.skipped[:TOLD])) + (", ..." if len(data.skipped) > TOLD else "")
        warnings.warn(
            f"{len(data.skipped)} of {len(data) + len(data.skipped)} images of {data.source} can't be read and are "
            f"left out: {told}.",
            stacklevel=2,
        )
    if limit is not None and limit < len(data):
        data = data.subset(np.random.default_rng(seed).permutation(len(data))[:limit])
    return data


def _open(source: Any, limit: int | None, decode: Decoding) -> Data:
    if isinstance(source, Data):
        return source
    if isinstance(source, str):
        return _open_spec(source, limit, decode)
    if is_hf(source):
        return open_hf(source, f"a {type(source).__name__}", decode)
    return open_object(source, limit, show_progress=decode.show_progress)


def _open_spec(spec: str, limit: int | None, decode: Decoding) -> Data:
    scheme, _, place = spec.partition(":")
    match scheme:
        case "folder":
            return open_folder(Path(place), decode)
        case "npz":
            return open_npz(Path(place))
        case "parquet":
            return open_parquet(Path(place), decode)
        case "hf":
            return open_hub(spec, decode)
        case "fashion-mnist":
            return open_fashion_mnist(place)
        case "py":
            return replace(_open(call_factory(spec, "data"), limit, decode), source=spec)
    raise ValueError(f"The data spec {spec!r} can't be read; write {SPECS}.")
