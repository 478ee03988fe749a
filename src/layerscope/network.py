"""A trained network, seen as samples in, named activations and logits out. The only module that hooks.

A hook keeps what a layer put out *at the moment it put it out*: the caller's `keep` turns the output into something of
its own inside the hook, so that an in-place operation further on can't change it, and so that no full feature map
outlives its layer.
"""

import copy
import hashlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from layerscope.fingerprints import callable_text, module_text
from layerscope.images import Resize
from layerscope.layouts import Layout, Output, layout_of
from layerscope.preprocessing import Tokenise
from layerscope.types import Logits, Samples

UNTRAINED_SEED = 0x1A7E5C0B
"""Added to the seed of untrained draws: a user's own small seed would draw the weights that training began with."""
MASK = "attention_mask"
"""The name under which token networks are told which tokens are padding."""
IDS, EMBEDDINGS = "input_ids", "word_embeddings"
"""The names under which they are told the tokens, and, here, what stands in for the tokens' embeddings."""


Keep = Callable[[str, Output], None]
"""Called with a layer's name and what it put out."""


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
        answer = self._run(self._prepared(samples))
        logits = _logits(answer, self.output)
        if logits is None:
            shape = f" of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else ""
            place = "`logits`" if self.output is None else f"`output` {self.output!r}"
            raise TypeError(
                "`module` must return logits of shape (samples, classes), or something that holds them under "
                f"{place}; it returned {type(answer).__name__}{shape}. Say where they are with `Network(..., "
                "output=...)`, or wrap it in a module that returns them."
            )
        return logits

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
            call = counts[name] = counts.get(name, -1) + 1
            for key in ({name} if call == 0 else set()) | {f"{name}#{call}"}:
                if key in wanted:
                    keep(key, self._seen(first_tensor(output, name), module, mask, key))
                    missing.discard(key)
            if not missing and not logits:
                raise _EnoughError

        answer = None
        with _hooked(self.module, modules, seen):
            try:
                answer = self._run(prepared)
            except _EnoughError:
                return None
        for layer in layers:
            name, _, index = layer.partition("#")
            calls = counts.get(name, -1) + 1
            if calls == 0:
                raise ValueError(f"Layer {name!r} never ran in the forward pass; leave it out of `layers`.")
            if not index and calls > 1:
                raise ValueError(
                    f"Layer {name!r} runs {calls} times in one forward pass; say which call: "
                    f"{', '.join(f'{name}#{call}' for call in range(calls))}."
                )
            if index and int(index) >= calls:
                raise ValueError(f"Layer {name!r} runs {calls} times, so {layer!r} never comes; calls count from 0.")
        return _logits(answer, self.output) if logits else None

    def trace(self, samples: Samples) -> tuple[list[Call], Logits | None]:
        """Every call of every submodule in the order in which the calls end, and the logits, if there are any."""
        calls: list[tuple[str, tuple[int, ...]]] = []

        def seen(name: str, module: nn.Module, output: Any) -> None:
            try:
                calls.append((name, tuple(_turned(first_tensor(output, name), module, self.module)[0].shape)))
            except TypeError:
                calls.append((name, ()))

        modules = dict(self.module.named_modules())
        with torch.no_grad(), _hooked(self.module, [name for name in modules if name], seen):
            answer = self._run(self._prepared(samples))
        total: dict[str, int] = {}
        for name, _ in calls:
            total[name] = total.get(name, 0) + 1
        count: dict[str, int] = {}
        traced = []
        for name, shape in calls:
            call = count[name] = count.get(name, -1) + 1
            traced.append(Call(f"{name}#{call}" if total[name] > 1 else name, modules[name], shape))
        return traced, _logits(answer, self.output)

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
        with torch.no_grad(), _looked_up(self.module, tokens[IDS], found.append):
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
            with torch.enable_grad(), _hooked(self.module, leaves, seen):
                prepared = self._prepared(inputs)
                kept = [prepared] if isinstance(prepared, Tensor) else []
                answer = _logits(self._run(prepared), self.output)
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
        try:
            module = copy.deepcopy(self.module).cpu()
        except RuntimeError as error:
            raise ValueError(
                f"The untrained null of '{self.name}' can't be made, since its module can't be copied ({error}); "
                "do without it (`untrained=0`), or remove reparametrisations such as weight_norm."
            ) from error
        before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(UNTRAINED_SEED + seed)
            for part in module.modules():
                reset = getattr(part, "reset_parameters", None)
                if callable(reset):
                    reset()
            left = {
                name: parameter
                for name, parameter in module.named_parameters()
                if parameter.equal(before[name]) and bool((parameter != parameter.flatten()[0]).any())
            }
            for parameter in left.values():
                order = torch.randperm(parameter.numel())
                parameter.copy_(parameter.flatten()[order].reshape(parameter.shape))
        if left:
            warnings.warn(
                f"The untrained null of '{self.name}' shuffles the entries of {', '.join(left)}: "
                "no `reset_parameters` method draws them anew.",
                stacklevel=2,
            )
        fresh = replace(self, module=module.to(self.device), name=f"{self.name}, untrained")
        with _normalising(fresh.module), torch.no_grad():
            for samples in batches:
                fresh._run(fresh._prepared(samples))  # noqa: SLF001 - its own kind
        return fresh

    @property
    def statistics(self) -> dict[str, Tensor]:
        """The running statistics of batch normalisation, by name; empty where there is none."""
        return {
            f"{name}.{what}": buffer
            for name, part in _normalised(self.module).items()
            for what, buffer in part.named_buffers(recurse=False)
        }

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
            with _looked_up(self.module, given[IDS], lambda _: embeddings):
                return self.module(**given)
        return self.module(*prepared) if isinstance(prepared, tuple) else self.module(prepared)

    def _seen(self, output: Tensor, module: nn.Module, mask: Tensor | None, name: str) -> Output:
        """What a reduction needs to know of an output; warns where that can only be guessed."""
        values, layout = _turned(output, module, self.module)
        if not layout.sure:
            warnings.warn(
                f"Layer {name!r} puts out {tuple(values.shape)}, where features may be axis 1 or axis "
                f"{values.ndim - 1}: it is read as axis {layout.features % values.ndim}. `flatten` and `sketch` don't "
                "depend on it.",
                stacklevel=2,
            )
        if mask is None or bool(mask.all()) or values.ndim <= 2:
            return Output(values, layout.features)
        if values.ndim == 3 and layout.features == 1 and values.shape[::2] == mask.shape:
            values, layout = values.transpose(1, 2), Layout(0, -1)
        if values.ndim != 3 or values.shape[:2] != mask.shape:
            warnings.warn(
                f"Layer {name!r} puts out {tuple(values.shape)}, of which no axis is the {mask.shape[1]} tokens that "
                "the attention mask tells of: padding counts in what is recorded of it.",
                stacklevel=2,
            )
            return Output(values, layout.features)
        return Output(values, -1, mask.bool())


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


def first_tensor(output: Any, name: str) -> Tensor:
    """What a layer says: its output, or the first tensor in it where it puts out several.

    Tuples, lists, mappings and dataclasses are looked into, one level deep.

    Raises:
        TypeError: if there is none.
    """
    if isinstance(output, Tensor):
        return output
    parts: Any = getattr(output, "__dataclass_fields__", None) and vars(output).values()
    if isinstance(output, Mapping):
        parts = output.values()
    elif isinstance(output, (tuple, list)):
        parts = output
    for part in parts or ():
        if isinstance(part, Tensor):
            return part
    raise TypeError(
        f"Layer {name!r} puts out {type(output).__name__}, which holds no tensor; leave it out of `layers`."
    )


def _logits(answer: Any, place: str | int | bool | None) -> Logits | None:
    """The logits in a module's answer; None where there are none."""
    if place is False:
        return None
    if place is None:
        found = answer
        if isinstance(answer, Mapping):
            found = answer.get("logits")
        elif not isinstance(answer, Tensor):
            found = getattr(answer, "logits", answer[0] if isinstance(answer, (tuple, list)) and answer else None)
    elif isinstance(place, int):
        found = answer[place] if isinstance(answer, (tuple, list)) and -len(answer) <= place < len(answer) else None
    else:
        found = answer.get(place) if isinstance(answer, Mapping) else getattr(answer, place, None)
    return found if isinstance(found, Tensor) and found.ndim == 2 and found.is_floating_point() else None


def _normalised(module: nn.Module) -> dict[str, Any]:
    """The parts that normalise by running statistics of batches, by name."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    return {name: part for name, part in module.named_modules() if isinstance(part, kinds) and part.track_running_stats}


@contextmanager
def _normalising(module: nn.Module) -> Iterator[None]:
    """Batch normalisation takes the mean over batches of each batch's statistics; all else is in evaluation mode."""
    parts = [*_normalised(module).values()]
    momenta = [part.momentum for part in parts]
    try:
        for part in parts:
            part.train()
            part.momentum = None  # a plain mean over all batches
        yield
    finally:
        for part, momentum in zip(parts, momenta, strict=True):
            part.eval()
            part.momentum = momentum


@contextmanager
def _looked_up(module: nn.Module, ids: Tensor, change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Hand what is looked up for token ids to `change`, and put what that gives in its place.

    Before anybody's other hooks, so that whoever watches the embedding sees what the network goes on with.
    """

    def observe(_module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        asked = bool(inputs) and inputs[0].shape == ids.shape and bool((inputs[0] == ids).all())
        return change(output) if asked else None

    tables = [part for part in module.modules() if isinstance(part, nn.Embedding)]
    handles = [table.register_forward_hook(observe, prepend=True) for table in tables]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _hooked(module: nn.Module, names: Sequence[str], seen: Callable[[str, nn.Module, Any], None]) -> Iterator[None]:
    """Call `seen` with name, module and output after each run of the submodules `names`; no hook outlives the block.

    Compiled parts run as they are written meanwhile: compiled code calls no hooks. Nor can transformers be hooked that
    turn masked batches into nested tensors; these run without their fused path.
    """

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def observe(module: nn.Module, _inputs: object, output: object) -> None:
            seen(name, module, output)

        return observe

    handles: list[RemovableHandle] = []
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        if any(isinstance(part, nn.TransformerEncoder) for part in module.modules()):
            torch.backends.mha.set_fastpath_enabled(False)
        for name in names:
            handles.append(module.get_submodule(name).register_forward_hook(hook(name)))  # noqa: PERF401 - see finally
        compiled = "torch._dynamo" in sys.modules  # nothing else compiles, and importing it takes seconds
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for handle in handles:
            handle.remove()
