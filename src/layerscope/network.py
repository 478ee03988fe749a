"""A trained network, seen as samples in, named activations and logits out.

What a layer puts out is kept *at the moment it is put out*: the caller's `keep` turns the output into something of its
own inside the hook, so that an in-place operation further on can't change it, and so that no full feature map outlives
its layer.
"""

import copy
import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from layerscope.answers import answered, logits_of
from layerscope.fingerprints import callable_text, module_text
from layerscope.hooks import check_calls, first_tensor, hooked, looked_up, with_first
from layerscope.images import Resize
from layerscope.layouts import Layout, Output, layout_of
from layerscope.preprocessing import Tokenise
from layerscope.types import Logits, Samples
from layerscope.untrained import fresh_module, normalising, statistics_of

MASK = "attention_mask"
"""The name under which token networks are told which tokens are padding."""
IDS, EMBEDDINGS = "input_ids", "word_embeddings"
"""The names under which they are told the tokens, and, here, what stands in for the tokens' embeddings."""


Keep = Callable[[str, Output], None]
"""Called with a layer's name and what it put out."""
Change = Callable[[Output], Tensor]
"""Called with what a layer put out; gives what it is to put out instead, in the shape of `Output.tensor`."""


class Call(NamedTuple):
    """One run of one submodule in a forward pass."""

    name: str
    """Its dotted name, with `#k` for call k of a module that runs more than once."""
    module: nn.Module
    shape: tuple[int, ...]
    """Of its output, samples first; empty where it put out no tensor."""


class _EnoughError(BaseException):
    """Every wanted layer has spoken. No `Exception`, so that a network's own handlers let it pass."""


@dataclass(frozen=True)
class Network:
    """A module in evaluation mode with its preprocessing, and the range its inputs live in.

    Inputs are always in input space (images: pixels in [0, 1]); `preprocess` (normalisation, tokenisation) is part of
    the network, so that an attack's budget means what it says. Wrappers (`DataParallel`, `DistributedDataParallel`,
    `torch.compile`) are looked through: it is the module inside that runs.

    Raises:
        TypeError: if the module is none, or scripted or traced.
        ValueError: if a part of it is in training mode, or the bounds are not a range.
    """

    module: nn.Module
    """Maps a preprocessed batch to logits, or to something that holds them (see `output`)."""

    preprocess: Callable[[Any], Samples] | None = None
    """Applied to every batch before the module; differentiable if the network is to be attacked."""

    bounds: tuple[float, float] = (0.0, 1.0)
    """Smallest and largest legal value of an input entry; of inputs that are one tensor of numbers."""

    class_names: tuple[str, ...] = ()
    """What the classes are called, in the order of the logits; empty if they have numbers only."""

    name: str = ""
    """What reports call the network."""

    output: str | int | bool | None = None
    """Where in the module's answer the logits are: a key or attribute, or a place in a tuple; False where it has none
    (embeddings, say). None takes a tensor itself, else what is called `logits`, else the first of a tuple."""

    resize: Resize | None = None
    """How image files become pixels of the size that the network takes; None leaves them as they are."""

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise TypeError(
                f"`module` must be a torch.nn.Module; got {type(self.module).__name__}. "
                "Weights alone (a state dict) are loaded into a module first."
            )
        object.__setattr__(self, "module", _unwrapped(self.module))
        for name, module in self.module.named_modules():
            part = f"part {name!r} of it" if name else "it"
            if isinstance(module, torch.jit.ScriptModule):
                raise TypeError(
                    f"`module` must run as Python, but {part} is scripted or traced ({type(module).__name__}), and "
                    "hooks don't see inside; give the module that it was made from, or export it with torch.export "
                    "and give `file:PROGRAM.pt2`."
                )
            if module.training:
                raise ValueError(
                    f"`module` must be in evaluation mode, but {part} is in training mode, where dropout and batch "
                    "normalisation change the answers; call `module.eval()` first."
                )
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"`bounds` must be (low, high) with low < high; got ({low:g}, {high:g}).")
        if not self.name:
            object.__setattr__(self, "name", type(self.module).__name__)

    @property
    def device(self) -> torch.device:
        """Where the weights are; inputs are brought there."""
        held = chain(self.module.parameters(), self.module.buffers())
        return next((tensor.device for tensor in held), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights; inputs of numbers are brought to it after preprocessing."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    def __call__(self, samples: Samples) -> Logits:
        """The logits of a batch in input space; gradients flow.

        Raises:
            TypeError: if the module's answer holds no logits.
        """
        return answered(self._run(self._prepared(samples)), self.output)

    def blank(self, count: int, shape: Sequence[int] | None = None) -> Samples:
        """Samples that say nothing, to see what runs: texts, grey images of `resize`'s size, or grey of `shape`.

        Raises:
            ValueError: if neither says what the network takes.
        """
        if isinstance(self.preprocess, Tokenise):
            return ["A text."] * count
        if shape is None and self.resize is not None:
            shape = (self.resize.channels, self.resize.height, self.resize.width)
        if shape is None:
            raise ValueError(
                "What this network takes isn't known from its name; give the shape of one input (`--shape 3x224x224` "
                "on the command line), or data."
            )
        low, high = self.bounds
        return torch.full((count, *shape), (low + high) / 2)

    def watch(self, samples: Samples, layers: Sequence[str], keep: Keep, *, logits: bool = True) -> Logits | None:
        """One forward pass that hands what each of `layers` puts out to `keep`, at that moment.

        Gradients flow unless the caller is inside `torch.no_grad()`: recording and attacking share this pass.

        Args:
            samples: a batch in input space.
            layers: names as in `trace`: a submodule's dotted name, with `#k` for one call of several.
            keep: receives name and output; what it stores must be its own (a reduction, or a clone).
            logits: whether they are wanted; if not, the pass ends with the last of the layers, and a name without
                `#k` is that module's first call.

        Returns:
            The logits; None where the module's answer holds none, or they are not wanted.

        Raises:
            ValueError: if a layer never runs, or runs more than once and no call was named.
            TypeError: if a layer puts out something that holds no tensor.
        """
        counts: dict[str, int] = {}
        modules = list(dict.fromkeys(name.partition("#")[0] for name in layers))
        wanted, missing = set(layers), set(layers)
        prepared = self._prepared(samples)
        mask = prepared.get(MASK) if isinstance(prepared, Mapping) else None

        def seen(name: str, module: nn.Module, output: Any) -> None:
            call = counts[name] = counts.get(name, 0) + 1
            for key in ({name} if call == 1 else set()) | {f"{name}#{call - 1}"}:
                if key in wanted:
                    keep(key, self._seen(first_tensor(output, name), module, mask, key).output)
                    missing.discard(key)
            if not missing and not logits:
                raise _EnoughError

        answer = None
        with hooked(self.module, modules, seen):
            try:
                answer = self._run(prepared)
            except _EnoughError:
                return None
        check_calls(layers, counts)
        return logits_of(answer, self.output) if logits else None

    def altered(self, samples: Samples, layer: str, change: Change) -> Logits:
        """The logits of a forward pass in which one layer puts out something else; gradients flow.

        Args:
            samples: a batch in input space.
            layer: a name as in `watch`.
            change: makes what the layer puts out from what it would have put out, samples first: a new tensor of the
                same shape, which the layers after it may write into.

        Returns:
            The logits that the rest of the network gives.

        Raises:
            ValueError: if the layer never runs, or runs more than once and no call was named, or `change` gives a
                tensor of another shape.
            TypeError: if the layer puts out something that holds no tensor, or the module's answer holds no logits.
        """
        name, _, index = layer.partition("#")
        counts = {name: 0}
        prepared = self._prepared(samples)
        mask = prepared.get(MASK) if isinstance(prepared, Mapping) else None

        def seen(name: str, module: nn.Module, output: Any) -> Any:
            counts[name] += 1
            if counts[name] - 1 != int(index or 0):
                return None
            before = first_tensor(output, name)
            read = self._seen(before, module, mask, layer)
            changed = change(read.output)
            if changed.shape != read.output.tensor.shape:
                raise ValueError(
                    f"`change` must give layer {layer!r} a tensor of the shape that it puts out, "
                    f"{tuple(read.output.tensor.shape)}; got {tuple(changed.shape)}."
                )
            for one, other in reversed(read.swapped):
                changed = changed.transpose(one, other)
            return with_first(output, changed.to(before.dtype))

        with hooked(self.module, [name], seen):
            answer = self._run(prepared)
        check_calls([layer], counts)
        return answered(answer, self.output)

    def trace(self, samples: Samples) -> tuple[list[Call], Logits | None]:
        """Every call of every submodule in the order in which the calls end, and the logits, if there are any."""
        calls: list[tuple[str, tuple[int, ...]]] = []

        def seen(name: str, module: nn.Module, output: Any) -> None:
            try:
                calls.append((name, tuple(_turned(first_tensor(output, name), module, self.module)[0].shape)))
            except TypeError:
                calls.append((name, ()))

        modules = dict(self.module.named_modules())
        with torch.no_grad(), hooked(self.module, [name for name in modules if name], seen):
            answer = self._run(self._prepared(samples))
        total: dict[str, int] = {}
        for name, _ in calls:
            total[name] = total.get(name, 0) + 1
        count: dict[str, int] = {}
        traced = []
        for name, shape in calls:
            call = count[name] = count.get(name, -1) + 1
            traced.append(Call(f"{name}#{call}" if total[name] > 1 else name, modules[name], shape))
        return traced, logits_of(answer, self.output)

    def rows(self, some: Tensor) -> "Network":  # noqa: ARG002 - see `embeddings.Embedded`
        """The network for some samples of a batch: itself, as its answer depends on nothing but the input."""
        return self

    def support(self, inputs: Tensor) -> Tensor | None:  # noqa: ARG002 - see `embeddings.Embedded`
        """Which entries of the inputs have a say; None for all."""
        return None

    def samples(self, inputs: Tensor) -> Samples:
        """What `watch` and a call take for these inputs: themselves."""
        return inputs

    def tokens_of(self, samples: Samples) -> Mapping[str, Tensor] | None:
        """The tokens of texts, or of samples that are tokens; None of others."""
        prepared = None if isinstance(samples, Tensor) else self._prepared(samples)
        return prepared if isinstance(prepared, Mapping) and IDS in prepared else None

    def embeddings_of(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """(n, tokens, width): what the network looks up for token ids.

        Raises:
            ValueError: if it has no `nn.Embedding` that it asks for them.
        """
        found: list[Tensor] = []
        with torch.no_grad(), looked_up(self.module, tokens[IDS], found.append):
            self._run(tokens)
        if not found:
            raise ValueError(
                f"An attack on texts changes the embeddings of their tokens, and '{self.name}' has no `nn.Embedding` "
                f"that is asked for `{IDS}`."
            )
        return found[0].clone()

    def as_module(self) -> nn.Module:
        """A module from input space to logits, preprocessing inside, for libraries that want one."""
        return _Whole(self).eval()

    def where_gradients_end(self, samples: Tensor) -> str:
        """Between which layers the way from the logits back to the inputs has no gradients, in words."""
        outputs: list[tuple[str, nn.Module, Tensor]] = []

        def seen(name: str, module: nn.Module, output: Any) -> None:
            with suppress(TypeError):
                outputs.append((name, module, first_tensor(output, name)))

        leaves = [name for name, part in self.module.named_modules() if name and not [*part.children()]]
        inputs = samples.detach().requires_grad_(True)
        frozen = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        try:
            for parameter in frozen:
                parameter.requires_grad_(False)
            with torch.enable_grad(), hooked(self.module, leaves, seen):
                prepared = self._prepared(inputs)
                kept = [prepared] if isinstance(prepared, Tensor) else []
                answer = logits_of(self._run(prepared), self.output)
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
        if kept and not kept[0].requires_grad:
            return "they end in its preprocessing"
        if answer is not None and answer.requires_grad:
            reached = [
                torch.autograd.grad(answer.sum(), output, retain_graph=True, allow_unused=True)[0]
                if output.requires_grad else None for _, _, output in outputs
            ]  # fmt: skip
            flat = [place for place, slope in enumerate(reached) if slope is None or not slope.any()]
            if not flat:
                return "they end before its first layer"
            return _between(outputs, flat[-1])
        alive = [place for place, (_, _, output) in enumerate(outputs) if output.requires_grad]
        return _between(outputs, alive[-1] if alive else -1)

    def untrained(self, seed: int, batches: Iterable[Samples] = ()) -> "Network":
        """The same architecture with fresh weights: the null model of everything that training could have done.

        Every submodule that has `reset_parameters` draws its weights anew. Parameters that no such method owns keep
        their values in a shuffled order, with a warning. Batch normalisation takes its means and variances from
        `batches`, as it would in the first steps of training: without any, they go back to 0 and 1, so that fresh
        layers are not normalised at all and are another architecture than the trained one.

        Args:
            seed: of the weights.
            batches: samples, for batch normalisation.
        """
        module = fresh_module(self.module, seed, self.name)
        fresh = replace(self, module=module.to(self.device), name=f"{self.name}, untrained")
        with normalising(fresh.module), torch.no_grad():
            for samples in batches:
                fresh._run(fresh._prepared(samples))  # noqa: SLF001 - its own kind
        return fresh

    @property
    def statistics(self) -> dict[str, Tensor]:
        """The running statistics of batch normalisation, by name; empty where there is none."""
        return statistics_of(self.module)

    def with_statistics(self, statistics: Mapping[str, Tensor]) -> "Network":
        """The same network with these running statistics; see `statistics`."""
        module = copy.deepcopy(self.module)
        module.load_state_dict(dict(statistics), strict=False)
        return replace(self, module=module)

    def fingerprint(self) -> str:
        """SHA-256 over weights, buffers, architecture, bounds, and the source of what computes.

        Source is that of each `forward` and of the preprocessing, with the values that it is bound to (closures,
        `functools.partial`, attributes). What these call in turn is not looked into.
        """
        parts = [module_text(self.module), str(self.bounds), str(self.output), str(self.resize)]
        if self.preprocess is not None:
            parts.append(callable_text(self.preprocess))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _prepared(self, samples: Samples) -> Any:
        """Preprocessed, where the weights are, numbers in the weights' own type."""
        device, dtype = self.device, self.dtype
        given = _mapped(samples, lambda tensor: tensor.to(device))
        if self.preprocess is not None and not (isinstance(given, Mapping) and EMBEDDINGS in given):
            given = self.preprocess(given)

        def fitted(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

        return _mapped(given, fitted)

    def _run(self, prepared: Any) -> Any:
        """The module's answer."""
        if isinstance(prepared, Mapping):
            given = {name: value for name, value in prepared.items() if name != EMBEDDINGS}
            embeddings = prepared.get(EMBEDDINGS)
            if embeddings is None:
                return self.module(**given)
            with looked_up(self.module, given[IDS], lambda _: embeddings):
                return self.module(**given)
        return self.module(*prepared) if isinstance(prepared, tuple) else self.module(prepared)

    def _seen(self, output: Tensor, module: nn.Module, mask: Tensor | None, name: str) -> "_Read":
        """What a reduction needs to know of an output; warns where that can only be guessed."""
        values, layout = _turned(output, module, self.module)
        swapped = ((0, 1),) if layout.samples else ()
        if not layout.sure:
            warnings.warn(
                f"Layer {name!r} puts out {tuple(values.shape)}, where features may be axis 1 or axis "
                f"{values.ndim - 1}: it is read as axis {layout.features % values.ndim}. `flatten` and `sketch` don't "
                "depend on it.",
                stacklevel=2,
            )
        if mask is None or bool(mask.all()) or values.ndim <= 2:
            return _Read(Output(values, layout.features), swapped)
        if values.ndim == 3 and layout.features == 1 and values.shape[::2] == mask.shape:
            values, layout, swapped = values.transpose(1, 2), Layout(0, -1), (*swapped, (1, 2))
        if values.ndim != 3 or values.shape[:2] != mask.shape:
            warnings.warn(
                f"Layer {name!r} puts out {tuple(values.shape)}, of which no axis is the {mask.shape[1]} tokens that "
                "the attention mask tells of: padding counts in what is recorded of it.",
                stacklevel=2,
            )
            return _Read(Output(values, layout.features), swapped)
        return _Read(Output(values, -1, mask.bool()), swapped)


class _Read(NamedTuple):
    """An output as reductions need it."""

    output: Output
    swapped: tuple[tuple[int, int], ...]
    """Pairs of axes that were swapped for that, in order."""


class _Whole(nn.Module):
    """A network as a module."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module, self._network = network.module, network

    def forward(self, samples: Tensor) -> Logits:
        """The logits."""
        return self._network(samples)


def _between(outputs: Sequence[tuple[str, nn.Module, Tensor]], place: int) -> str:
    """After one layer and before the next, in words."""
    names = [f"'{name}' ({type(module).__name__})" for name, module, _ in outputs]
    after = f"after {names[place]}" if place >= 0 else "after the inputs"
    before = f"before {names[place + 1]}" if place + 1 < len(names) else "before the logits"
    return f"they end {after} and {before} or in it" if place + 1 < len(names) else f"they end {after} and {before}"


def _turned(output: Tensor, module: nn.Module, whole: nn.Module) -> tuple[Tensor, Layout]:
    """An output with samples first, and where its features are then."""
    layout = layout_of(module, output.shape, whole)
    return output.transpose(0, 1) if layout.samples else output, layout


def _mapped(samples: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Every tensor of a batch changed; texts as they are."""
    if isinstance(samples, Tensor):
        return change(samples)
    if isinstance(samples, Mapping):
        return {name: change(value) if isinstance(value, Tensor) else value for name, value in samples.items()}
    if isinstance(samples, tuple):
        return tuple(change(value) if isinstance(value, Tensor) else value for value in samples)
    return samples


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module that does the work, without what compiles or distributes it."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(getattr(module, "_orig_mod", None), nn.Module):  # what torch.compile returns
            module = cast("nn.Module", module._orig_mod)  # noqa: SLF001 - it has no other way in
        else:
            return module
