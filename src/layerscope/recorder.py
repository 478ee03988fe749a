"""One forward pass per batch: what every wanted layer says, reduced and checked; and the batches of a shard."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from layerscope.checks import check_inputs, check_labels
from layerscope.data import Batch, some
from layerscope.embeddings import attackable
from layerscope.errors import NonFiniteError
from layerscope.images import pictures
from layerscope.layers import INPUT, LOGITS, Layer
from layerscope.layouts import Output
from layerscope.network import EMBEDDINGS, Network
from layerscope.reductions import Flatten, PerSampleReduction, Reduction, Sketch, parse_reduction
from layerscope.types import Samples

WHOLE_INPUT = 4096
"""The widest input that is recorded whole under other reductions than `sketch`."""

SIZES = ("linf", "l2")
"""Names of the tensors that say how large the changes of a perturbed recording are."""

PICTURE = "picture"
"""Name of the tensor that holds the inputs as pictures."""

Perturb = Callable[[Network, Batch], Samples]
"""Makes the inputs of a perturbed condition from a clean batch."""


class Recorder:
    """One pass per batch: every layer under its reductions, checked."""

    def __init__(self, network: Network, plan: Sequence[Layer], dtype: str, *, logits: bool, pictures: int) -> None:
        self.network, self.plan, self.logits = network, tuple(plan), logits
        self._longest = pictures
        self._dtype = getattr(torch, dtype)
        known = {name: parse_reduction(name) for name in dict.fromkeys(layer.reduction for layer in plan)}
        self._reductions: dict[str, list[Reduction]] = {}
        for layer in plan:
            self._reductions.setdefault(layer.name, []).append(known[layer.reduction])
        self._sketch = next((one for one in known.values() if one == Sketch(512)), Sketch(512))
        self._names = [name for name in self._reductions if name not in (INPUT, LOGITS)]
        self._widths: dict[str, tuple[int, int]] = {}
        self._padding = False

    def probe(self, batch: Batch) -> dict[str, Tensor]:
        """The tensors of a batch with padding taken for tokens: the most that its samples may hold."""
        self._padding = True
        try:
            return self.batch(batch, None)
        finally:
            self._padding = False
            self._widths.clear()

    def batch(self, batch: Batch, perturb: Perturb | None) -> dict[str, Tensor]:
        """The tensors of a batch as they go into a shard."""
        check_inputs(batch, self.network)
        kept: dict[str, Tensor] = {"ids": batch.ids}
        if perturb:
            clean, batch = batch.inputs, batch._replace(inputs=perturb(self.network, batch))
            check_inputs(batch, self.network)
            kept |= _sizes(self.network, clean, batch.inputs)
        kept |= self._pictures(batch.inputs)

        def keep(name: str, output: Output) -> None:
            for reduction in self._reductions[name]:
                plain = name != INPUT or isinstance(reduction, Sketch)
                reduce = reduction if plain else self._reduction_of_input(output)
                self._keep(kept, Layer(name, reduction.name), reduce, output, batch.ids)

        with torch.no_grad():
            if INPUT in self._reductions and isinstance(batch.inputs, Tensor):
                keep(INPUT, Output(batch.inputs, 1))
            try:
                logits = self.network.watch(batch.inputs, self._names, keep, logits=self.logits)
            except Exception as error:
                error.add_note(f"This was while recording the samples with ids {some(batch.ids.tolist())}.")
                raise
            if logits is not None:
                kept[LOGITS] = logits.detach().float().cpu()
                if LOGITS in self._reductions:
                    keep(LOGITS, Output(logits, -1))
        if batch.labels is not None:
            if logits is not None:
                check_labels(batch.labels, logits.shape[1])
            kept["labels"] = batch.labels
        return kept

    def _pictures(self, inputs: Samples) -> dict[str, Tensor]:
        """The batch to be looked at, where that is wanted and it is one of images."""
        shown = pictures(inputs, self.network.bounds, self._longest) if self._longest else None
        return {} if shown is None else {PICTURE: shown.cpu()}

    def _reduction_of_input(self, output: Output) -> Reduction:
        """Whole, since its average would say nothing, or by a sketch where it is wide."""
        return Flatten() if output.tensor[0].numel() <= WHOLE_INPUT else self._sketch

    def _keep(self, kept: dict[str, Tensor], layer: Layer, reduce: Reduction, output: Output, ids: Tensor) -> None:
        """Reduce, check, and store what a layer put out."""
        tensor = output.tensor.detach()
        if len(tensor) != len(ids):
            raise ValueError(
                f"Layer {layer.name!r} puts out {len(tensor)} rows for {len(ids)} samples, so that they can't be told "
                "apart; leave it out of `layers`."
            )
        if tensor.is_complex():
            raise ValueError(
                f"Layer {layer.name!r} puts out complex numbers, of which there are no maps; leave it out."
            )
        if output.mask is not None and not (some_tokens := output.mask.any(1).cpu()).all():
            raise ValueError(
                "Every sample needs at least one token, but the attention mask of ids "
                f"{some(ids[~some_tokens].tolist())} is all 0; leave them out."
            )
        tensor = tensor if tensor.is_floating_point() else tensor.float()
        given = output._replace(tensor=tensor, mask=None if self._padding else output.mask)
        owners = ids
        try:
            if isinstance(reduce, PerSampleReduction):
                vectors = reduce(given)
            else:
                vectors, sample, place = reduce(given, ids.tolist())
                owners = ids[sample.cpu()]
                kept[f"{layer}|sample"], kept[f"{layer}|place"] = owners, place.cpu()
        except ValueError as error:
            raise ValueError(f"Layer {layer.name!r}: {error}") from error
        stored = vectors.to(device="cpu", dtype=self._dtype)
        finite = stored.isfinite().all(1)
        if not finite.all():
            bad = owners[~finite].unique().tolist()
            if self._dtype == torch.float16 and bool(vectors.isfinite().all()):
                raise NonFiniteError(
                    f"Layer {layer.name!r} puts out numbers up to {float(vectors.abs().max()):g}, more than float16 "
                    "holds (65,504); record with dtype 'bfloat16' or 'float32'."
                )
            raise NonFiniteError(
                f"Layer {layer.name!r} puts out NaN or infinity for {len(bad)} of {len(ids)} samples of a batch (ids "
                f"{some(bad)}). Look at these inputs and at the weights up to that layer; nothing of this batch was "
                "recorded."
            )
        # a sketch of another length is another projection, though as wide
        whole = tensor[0].numel() if isinstance(reduce, (Flatten, Sketch)) else 0
        before, whole_before = self._widths.setdefault(str(layer), (stored.shape[1], whole))
        if (stored.shape[1], whole) != (before, whole_before):
            raise ValueError(
                f"Layer '{layer}' put out {whole_before or before} numbers a sample before and "
                f"{whole or stored.shape[1]} for ids {some(ids.tolist())}: the inputs have several lengths. Pad them "
                "to one, or use `mean`, `max`, `cls` or `last`."
            )
        kept[str(layer)] = stored


def _sizes(network: Network, clean: Samples, changed: Samples) -> dict[str, Tensor]:
    """How large each sample's change is, in both norms, where it is one of numbers: of pixels, or of embeddings."""
    if isinstance(changed, Mapping) and EMBEDDINGS in changed:
        clean, changed = attackable(network, clean)[1], changed[EMBEDDINGS]
    if not isinstance(clean, Tensor) or not isinstance(changed, Tensor) or clean.shape != changed.shape:
        return {}
    change = (changed.cpu().double() - clean.cpu().double()).flatten(1)
    return {norm: change.norm(p, dim=1) for norm, p in zip(SIZES, (float("inf"), 2), strict=True)}


def several_rows(plan: Sequence[Layer]) -> frozenset[str]:
    """Names of the tensors that have several rows a sample."""
    layers = [str(one) for one in plan if not isinstance(parse_reduction(one.reduction), PerSampleReduction)]
    return frozenset(name for layer in layers for name in (layer, f"{layer}|sample", f"{layer}|place"))


class Gathered:
    """The batches of a shard, in memory that the next shard uses again, so that none is left in pieces."""

    def __init__(self, rows: int, several: frozenset[str]) -> None:
        """`several` are the names of tensors that have several rows a sample."""
        self._rows, self._several, self._filled = rows, several, 0
        self._whole: dict[str, Tensor] = {}
        self._parts: dict[str, list[Tensor]] = {}

    def add(self, part: dict[str, Tensor]) -> None:
        """Copy a batch's tensors in; of those that have several rows a sample, keep them."""
        count = len(part["ids"])
        for name, tensor in part.items():
            if name in self._several:
                self._parts.setdefault(name, []).append(tensor)
            else:
                if name not in self._whole:
                    self._whole[name] = tensor.new_empty(self._rows, *tensor.shape[1:])
                self._whole[name][self._filled : self._filled + count] = tensor
        self._filled += count

    def taken(self) -> dict[str, Tensor]:
        """Everything since it was last taken; of use until the next batch comes."""
        found = {name: tensor[: self._filled] for name, tensor in self._whole.items()}
        found |= {name: torch.cat(parts) for name, parts in self._parts.items()}
        self._filled, self._parts = 0, {}
        return found
