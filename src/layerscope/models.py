"""Networks by name."""

import difflib
import hashlib
import math
import warnings
import zipfile
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from layerscope.images import Resize
from layerscope.models_hf import huggingface, repeatable
from layerscope.network import Network
from layerscope.preprocessing import Normalise
from layerscope.specs import call_factory, imported

FORMS = (
    "`torchvision:NAME` (untrained) or `torchvision:NAME@WEIGHTS`, `timm:NAME` (untrained) or `timm:NAME.TAG`, "
    "`hf:ORG/NAME`, `hf:ORG/NAME@REV` or `hf:FOLDER`, `onnx:FILE`, `file:PROGRAM.pt2`, `py:package.module:factory`"
)
IMAGENET = Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


def load_network(source: "str | nn.Module | Network", *, trust_remote_code: bool = False) -> Network:
    """A network from a spec, a module, or a network.

    Args:
        source: such an object itself, or one of

            - `torchvision:NAME@WEIGHTS`: an image classifier of torchvision, with the weights of this name (`DEFAULT`,
              `IMAGENET1K_V1`), which torchvision downloads;
            - `timm:NAME.TAG`: a network of timm with the weights of this tag, which timm downloads;
            - `torchvision:NAME`, `timm:NAME`: the architecture with random weights, the same each time;
            - `hf:ORG/NAME`, `hf:ORG/NAME@REV`: an image or text network of the Hugging Face hub, downloaded by
              transformers; `hf:FOLDER`: one that `save_pretrained` wrote. Without a head that classifies, it has no
              logits. Texts are cut and padded to 128 tokens, or fewer where network or tokenizer take fewer; another
              number is set with `dataclasses.replace(network, preprocess=dataclasses.replace(network.preprocess,
              max_length=...))`;
            - `onnx:FILE`: an ONNX graph, whose nodes are the layers;
            - `file:PROGRAM.pt2`: what `torch.export.save` wrote, of a module in evaluation mode and for any batch size;
            - `py:package.module:factory`, where calling the factory gives a `Network` or a module in evaluation mode
              (the working folder counts as importable).

            `onnx:` and `file:` take their inputs as they are: give preprocessing and class names with
            `dataclasses.replace`.
        trust_remote_code: whether code that comes with an `hf:` network may run; only what the network's maker wrote
            and you have read deserves it.

    Raises:
        ValueError: if the spec can't be read, names something that isn't there, or the module is in training mode.
        TypeError: if the factory gives something else.
        ImportError: if the spec needs a library that isn't installed.
        OSError: if weights can't be downloaded.
    """
    made = _from_spec(source, trust_remote_code) if isinstance(source, str) else source
    if isinstance(made, Network):
        return made
    if isinstance(made, nn.Module):
        return Network(made)
    raise TypeError(f"A network must be a layerscope.Network or a torch.nn.Module; got {type(made).__name__}.")


def _from_spec(spec: str, trust_remote_code: bool) -> Any:
    """What a spec names."""
    scheme, _, place = spec.partition(":")
    kinds: dict[str, Callable[[str, str], Any]] = {
        "torchvision": _torchvision,
        "timm": _timm,
        "hf": lambda spec, place: huggingface(spec, place, trust_remote_code=trust_remote_code),
        "onnx": _onnx,
        "file": _program,
        "py": lambda spec, _: call_factory(spec, "network"),
    }
    if scheme not in kinds or not place:
        raise ValueError(f"The network spec {spec!r} can't be read; write {FORMS}.")
    return kinds[scheme](spec, place)


def _torchvision(spec: str, place: str) -> Network:
    """An image classifier of torchvision."""
    imported("torchvision", spec, "models")
    models = imported("torchvision.models", spec, "models")
    name, _, weights_name = place.partition("@")
    _check_name(name, models.list_models(module=models), spec, "image classifier of torchvision")
    if not weights_name:
        # without auxiliary heads, which run in training only
        options = {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
        with repeatable():
            module = models.get_model(name, weights=None, **options)
        side = 299 if name == "inception_v3" else 224
        return Network(module.eval(), preprocess=IMAGENET, name=name, resize=Resize(side, side, side * 256 // 224))
    members = models.get_model_weights(name).__members__
    if weights_name not in members:
        raise ValueError(
            f"The network spec {spec!r} names weights that torchvision doesn't have for {name}; it has "
            f"{', '.join(members)}."
        )
    weights = members[weights_name]
    steps = weights.transforms()
    return Network(
        models.get_model(name, weights=weights).eval(),
        preprocess=Normalise(tuple(steps.mean), tuple(steps.std)),
        class_names=tuple(weights.meta["categories"]),
        name=name,
        resize=Resize(steps.crop_size[0], steps.crop_size[0], steps.resize_size[0], steps.interpolation.value),
    )


def _timm(spec: str, name: str) -> Network:
    """A network of timm."""
    timm = imported("timm", spec, "models")
    architecture, _, tag = name.partition(".")
    _check_name(architecture, timm.list_models(), spec, "network of timm")
    tags = [tagged.partition(".")[2] for tagged in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        has = f"it has {', '.join(tags)}" if tags else f"it has none; `timm:{architecture}` is the untrained network"
        raise ValueError(f"The network spec {spec!r} names weights that timm doesn't have for {architecture}; {has}.")
    with repeatable():
        module = timm.create_model(name, pretrained=bool(tag)).eval()
    settings = timm.data.resolve_model_data_config(module)
    subset = timm.data.infer_imagenet_subset(module) if tag else None
    return Network(
        module,
        preprocess=Normalise(tuple(settings["mean"]), tuple(settings["std"])),
        class_names=tuple(timm.data.ImageNetInfo(subset).label_descriptions()) if subset else (),
        name=name,
        resize=_timm_resize(settings, name),
    )


def _timm_resize(settings: dict[str, Any], name: str) -> Resize | None:
    """How timm sizes images in evaluation; None, with a warning, where `Resize` has no way to do the same."""
    channels, height, width = settings["input_size"]
    how, scale = settings["interpolation"], settings["crop_pct"]
    squashes = settings["crop_mode"] == "squash" and scale == 1
    cuts = settings["crop_mode"] == "center" and height == width
    if how not in INTERPOLATIONS or not (squashes or cuts):
        warnings.warn(
            f"timm sizes images for {name} in a way that Layerscope doesn't know (mode {settings['crop_mode']!r}, "
            f"{how}, to {height} x {width} of {scale:g}); give images that have the network's size, or a `resize` of "
            "your own (`dataclasses.replace(network, resize=...)`).",
            stacklevel=2,
        )
        return None
    return Resize(height, width, None if squashes else math.floor(height / scale), how, channels)


def _onnx(spec: str, place: str) -> Network:
    """An ONNX graph as a module of modules."""
    onnx, converter = imported("onnx", spec, "models"), imported("onnx2torch", spec, "models")
    path = _existing(place, spec)
    try:
        module = converter.convert(onnx.load(path))
    except NotImplementedError as error:
        raise ValueError(
            f"The network spec {spec!r} names a graph that onnx2torch can't turn into a module: {error}; export the "
            "network from its own framework with torch.export and give `file:PROGRAM.pt2`, or write a factory (`py:`)."
        ) from error
    except Exception as error:
        raise ValueError(f"The network spec {spec!r} names a file that can't be read as ONNX: {error}") from error
    return Network(module.eval(), name=path.stem)


def _program(spec: str, place: str) -> Network:
    """A program of torch.export, with its submodules as they were named."""
    path = _existing(place, spec)
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"The network spec {spec!r} names a file that is no program of torch.export; write one with "
            "torch.export.save."
        )
    try:
        program = torch.export.load(path)
    except Exception as error:
        raise ValueError(
            f"The network spec {spec!r} names a file that torch.export.load can't read ({error}); save it anew with "
            "this PyTorch's torch.export.save."
        ) from error
    _check_program(program, spec)
    return Network(_unflattened(program), name=path.stem)


def _check_program(program: Any, spec: str) -> None:
    """A program of evaluation mode, for any batch size."""
    graphs = [part.graph for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    nodes = [node for graph in graphs for node in graph.nodes]
    training = [node.name for node in nodes if _trains(node)]
    if training:
        raise ValueError(
            f"The network spec {spec!r} names a program that was exported in training mode ({', '.join(training)} "
            "behave otherwise then); call `module.eval()` and export it again."
        )
    inputs = program.graph_signature.user_inputs
    given = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    sizes = [value.shape[0] for value in given if isinstance(value, Tensor) and value.ndim]
    if sizes and all(isinstance(size, int) for size in sizes):
        raise ValueError(
            f"The network spec {spec!r} names a program for batches of exactly {sizes[0]}; export it for any size: "
            "torch.export.export(module, inputs, dynamic_shapes=({0: torch.export.Dim('batch')},))."
        )


def _trains(node: torch.fx.Node) -> bool:
    """Whether an operation is one of training mode: dropout that drops, normalisation by the batch's own statistics."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return False
    given = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False)) | node.kwargs
    by_nature = "running_mean" in given and given["running_mean"] is None  # it keeps no statistics to use instead
    flagged = given.get("train") is True or (given.get("training") is True and not by_nature)
    return flagged or given.get("dropout_p", 0) != 0


def _unflattened(program: Any) -> nn.Module:
    """A module of modules that run the program."""
    module = torch.export.unflatten(program).eval()
    graph = hashlib.sha256(str(program.graph).encode()).hexdigest()
    vars(module)["extra_repr"] = lambda: f"graph={graph}"  # the parts' own text says nothing of what they compute
    return _copyable(module)


def _copyable(module: nn.Module) -> nn.Module:
    """Lets an unflattened program be copied: copies share the shapes that inputs are checked against.

    These are tensors without values, and `copy.deepcopy` fails on them.
    """
    nodes = [node for part in module.modules() for node in getattr(getattr(part, "graph", None), "nodes", ())]
    shapes = [leaf for node in nodes for leaf in tree_leaves(node.meta.get("val")) if isinstance(leaf, Tensor)]
    own = vars(module)

    def copied(memo: dict[int, Any]) -> nn.Module:
        memo.update({id(shape): shape for shape in shapes})
        del own["__deepcopy__"]
        try:
            return _copyable(deepcopy(module, memo))
        finally:
            own["__deepcopy__"] = copied

    own["__deepcopy__"] = copied
    return module


def _existing(place: str, spec: str) -> Path:
    """The file that a spec names."""
    path = Path(place).expanduser()
    if not path.is_file():
        raise ValueError(f"The network spec {spec!r} names a file that isn't there: {path.absolute()}.")
    return path


def _check_name(name: str, names: Iterable[str], spec: str, kind: str) -> None:
    """A name of a library's list."""
    known = list(names)
    if name in known:
        return
    close = difflib.get_close_matches(name.lower(), known, n=5)
    hint = f"close to it: {', '.join(close)}" if close else "no name is close to it"
    raise ValueError(f"The network spec {spec!r} names no {kind}; {hint}.")
