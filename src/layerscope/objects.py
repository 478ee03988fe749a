"""What Python holds as data: arrays, tensors, texts, pairs with labels, Datasets, DataLoaders."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler, default_collate

from layerscope.data import Data, checked_ids, lengths
from layerscope.progress import bar
from layerscope.store import tensors_digest
from layerscope.types import Samples

PROBED = 8
"""Samples of a Dataset that are read twice, to see that they are the same."""
LABELS = ("labels", "label")
"""What labels are called among named parts."""
CONTENT = ("image", "text")
"""Names of inputs that are an input by themselves; others stay named, as arguments of the network."""


def open_object(source: Any, limit: int | None, *, show_progress: bool) -> Data:
    """Data from an object.

    Raises:
        TypeError: if it is of no kind that can be read.
        ValueError: if its parts don't fit together.
    """
    if isinstance(source, Mapping):
        inputs, labels = labelled(source, type(source).__name__)
        return open_arrays(inputs, labels, f"a {type(source).__name__} of arrays")
    if isinstance(source, (np.ndarray, Tensor)):
        return open_arrays(source, None, "an array")
    if isinstance(source, list) and _are_texts(source):
        return open_arrays(source, None, "a list of texts")
    if isinstance(source, tuple) and len(source) == 2:
        return open_arrays(*source, "a pair of arrays")
    if hasattr(source, "__getitem__") or hasattr(source, "__iter__"):
        return open_dataset(source, limit, show_progress=show_progress)
    raise TypeError(
        "`data` must be a spec, an array, texts, a dict of arrays, a pair (inputs, labels), a Dataset or a DataLoader; "
        f"got {type(source).__name__}."
    )


def open_arrays(inputs: Any, labels: Any, source: str, *, class_names: tuple[str, ...] = (), ids: Any = None) -> Data:
    """Data from inputs that are in memory.

    Raises:
        TypeError: if inputs, labels or ids are of a wrong kind.
        ValueError: if there are not as many of one as of the other.
    """
    x = _arrays(inputs)
    (first, count), *others = lengths(x).items()
    for name, length in others:
        if length != count:
            raise ValueError(
                f"`data`: the parts of the inputs must be of one length; {first} has {count} and {name} has {length}. "
                "Give one row of each for every sample (samples of one kind are stacked to one array)."
            )
    if labels is not None and not isinstance(labels, Tensor) and np.asarray(labels).dtype.kind in "USO":
        raise TypeError("`data`: labels must be whole numbers, the network's classes; got text. Number the classes.")
    y = None if labels is None else _array(labels, "labels")
    if y is not None and len(y) != count:
        raise ValueError(f"`data` must have one label for each input; got {count} inputs and {len(y)} labels.")
    own = None if ids is None else checked_ids(ids, count, source)
    parts = _named(x) | ({} if y is None else {"labels": y}) | ({} if own is None else {"ids": torch.tensor(own)})

    def read(rows: Sequence[int]) -> tuple[Samples, Tensor | None]:
        return _picked(x, list(rows)), None if y is None else y[list(rows)]

    return Data(source, np.arange(count), read, class_names, tensors_digest(parts), ids=own)


def open_dataset(source: Any, limit: int | None, *, show_progress: bool) -> Data:
    """Data from a Dataset, a DataLoader that doesn't shuffle, or anything that has items.

    Raises:
        ValueError: if the samples have no fixed places, are others when they are read twice, or can't be collated.
    """
    collate: Callable[[list[Any]], Any] = default_collate
    dataset, kind = source, type(source).__name__
    if isinstance(source, DataLoader):
        dataset = source.dataset
        kind = f"DataLoader over {type(dataset).__name__}"
        if not isinstance(dataset, IterableDataset) and not isinstance(source.sampler, SequentialSampler):
            raise ValueError(
                f"`data`: the {kind} draws samples by {type(source.sampler).__name__}, so that a sample has no "
                "fixed place; make it with shuffle=False and no sampler."
            )
        if source.batch_size is not None:  # else the loader collates nothing
            collate = source.collate_fn
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        dataset = list(islice(iter(dataset), limit))

    def read(rows: Sequence[int]) -> tuple[Any, Any]:
        samples = [dataset[row] for row in rows]
        try:
            made = collate(samples)
        except (RuntimeError, TypeError, ValueError, KeyError) as error:
            raise ValueError(
                f"`data`: samples {rows[0]} to {rows[-1]} of the {kind} can't be put into one batch ({error}); give "
                "tensors of one shape (pad tokens, turn images into tensors), or a DataLoader with a `collate_fn`."
            ) from error
        return _parts(made, kind)

    names = tuple(str(name) for name in getattr(dataset, "classes", ()))
    digest = hashlib.sha256()
    with bar("reading the data", len(dataset), show=show_progress) as progress:
        for row in range(len(dataset)):
            content = _content(read([row]))
            if row % max(1, len(dataset) // PROBED) == 0 and content != _content(read([row])):
                raise ValueError(
                    f"`data`: sample {row} of the {kind} is another when it is read twice; remove random transforms."
                )
            digest.update(content)
            progress.advance()
    return Data(kind, np.arange(len(dataset)), read, names, digest.hexdigest())


def labelled(parts: Mapping[str, Any], kind: str) -> tuple[Any, Any]:
    """Inputs and labels of named parts.

    Raises:
        ValueError: if there are no inputs, or labels under two names.
    """
    there = [name for name in LABELS if name in parts]
    inputs = {str(name): part for name, part in parts.items() if name not in LABELS}
    if len(there) > 1 or not inputs:
        raise ValueError(
            f"`data` must name inputs, and labels once ({' or '.join(map(repr, LABELS))}); the {kind} names "
            f"{', '.join(map(repr, parts)) or 'nothing'}."
        )
    name, *others = inputs
    alone = not others and name in CONTENT
    return inputs[name] if alone else inputs, parts[there[0]] if there else None


def _parts(made: Any, kind: str) -> tuple[Any, Any]:
    """Inputs and labels of a collated batch."""
    if isinstance(made, Mapping):
        return labelled(made, kind)
    if not isinstance(made, (tuple, list)) or _are_texts(made):
        return made, None
    if len(made) > 2:
        raise ValueError(
            f"`data` must give samples as inputs or as pairs (input, label); those of the {kind} have {len(made)} "
            "parts. Give several inputs as ((first, second), label) or as a dict."
        )
    return made[0], made[1] if len(made) == 2 else None


def _arrays(inputs: Any) -> Samples:
    """Inputs in memory: tensors, or a list of texts."""
    if isinstance(inputs, Mapping) and inputs:
        return {str(name): _array(part, f"`{name}`") for name, part in inputs.items()}
    if isinstance(inputs, tuple) and inputs and all(isinstance(part, (Tensor, np.ndarray)) for part in inputs):
        return tuple(_array(part, f"input {place}") for place, part in enumerate(inputs))
    if isinstance(inputs, (list, tuple)) and _are_texts(inputs):
        return list(inputs)
    if not isinstance(inputs, Tensor) and getattr(inputs, "ndim", 0) == 1 and _are_texts(listed := list(inputs)):
        return [str(text) for text in listed]
    return _array(inputs, "inputs")


def _array(given: Any, name: str) -> Tensor:
    """A tensor with a row for each sample."""
    try:
        if isinstance(given, Tensor):
            tensor = given.detach()
        else:
            array = np.asarray(given)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that it is read-only: it is only read
                tensor = torch.as_tensor(array if min(array.strides, default=0) >= 0 else array.copy())
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`data`: {name} must be an array or a tensor with a row for each sample; got {type(given).__name__}, "
            f"which is none ({error}). Pad rows of several lengths."
        ) from error
    if tensor.ndim == 0:
        raise TypeError(f"`data`: {name} must have a row for each sample; got {given!r}.")
    return tensor


def _are_texts(parts: Sequence[Any]) -> bool:
    return len(parts) > 0 and all(isinstance(part, str) for part in parts)


def _named(samples: Samples) -> dict[str, Tensor]:
    """Every part of inputs under a name of its own; texts as their bytes."""
    if isinstance(samples, Tensor):
        return {"inputs": samples}
    if isinstance(samples, Mapping):
        return {f"inputs.{name}": tensor for name, tensor in samples.items()}
    if isinstance(samples, tuple):
        return {f"inputs#{place}": tensor for place, tensor in enumerate(cast("tuple[Tensor, ...]", samples))}
    return {"texts": torch.frombuffer(bytearray(json.dumps(list(samples)).encode()), dtype=torch.uint8)}


def _picked(samples: Samples, rows: list[int]) -> Samples:
    if isinstance(samples, Tensor):
        return samples[rows]
    if isinstance(samples, Mapping):
        return {name: tensor[rows] for name, tensor in samples.items()}
    if isinstance(samples, tuple):
        return tuple(tensor[rows] for tensor in cast("tuple[Tensor, ...]", samples))
    return [samples[row] for row in rows]


def _content(sample: tuple[Any, Any]) -> bytes:
    """What a sample says, as bytes."""
    return b"|".join(_leaves(sample))


def _leaves(part: Any) -> Iterator[bytes]:
    if isinstance(part, Tensor):
        yield np.ascontiguousarray(part.cpu()).tobytes()
    elif isinstance(part, str):
        text = part.encode()
        yield f"{len(text)}:".encode() + text
    elif isinstance(part, Mapping):
        for name, value in part.items():
            yield str(name).encode()
            yield from _leaves(value)
    elif isinstance(part, (tuple, list)):
        for value in part:
            yield from _leaves(value)
