"""Networks of the library transformers, from its hub or a folder."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import nn

from layerscope.images import Interpolation, Resize
from layerscope.network import Network
from layerscope.preprocessing import Normalise, Tokenise
from layerscope.specs import imported

LONGEST = 128
"""Tokens of a text, unless tokenizer or network take fewer: what is longer costs time and memory for every text."""
RESAMPLES: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""
TOKENIZERS = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")
"""The files of one: without any, the library makes a tokenizer that knows no words, and says nothing."""
PIXEL = 1 / 255


def huggingface(spec: str, place: str, *, trust_remote_code: bool) -> Network:
    """The network of a hub's repository `ORG/NAME[@REV]`, or of a folder.

    Raises:
        ValueError: if there is no such folder, it lacks a file, or its weights are pickled only.
        OSError: if the hub has no such network, or can't be reached.
    """
    transformers = imported("transformers", spec, "models")
    folder = Path(place).expanduser()
    local = folder.is_dir()
    where: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if local:
        _check_folder(folder, spec)
        source, where["local_files_only"] = str(folder), True
    else:
        source, _, revision = place.partition("@")
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", source):
            raise ValueError(f"The network spec {spec!r} must name a folder or a repository `ORG/NAME`; it is neither.")
        where["revision"] = revision or "main"
    with _quiet(transformers, progress=not local):
        try:
            network = _loaded(transformers, source, where)
        except OSError as error:
            told = f"The network spec {spec!r} can't be loaded: {error}"
            raise (ValueError if local else OSError)(told) from error
    name = folder.resolve().name if local else source.rpartition("/")[2]
    return replace(network, name=name)


@contextmanager
def repeatable() -> Iterator[None]:
    """Weights drawn inside are the same in every process; the caller's random numbers go on as if none were drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _check_folder(folder: Path, spec: str) -> None:
    """A folder that holds a network, and weights that can't run code."""
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"The network spec {spec!r} names a folder without `config.json`; give one that `save_pretrained` wrote."
        )
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickled:
        raise ValueError(
            f"The network spec {spec!r} names a folder whose weights are pickled only ({', '.join(pickled)}), and "
            "unpickling can run any code; if you trust the file, load it once with transformers "
            "(`use_safetensors=False`) and `save_pretrained` it: that writes `model.safetensors`."
        )
    raise ValueError(f"The network spec {spec!r} names a folder without weights; it must hold `model.safetensors`.")


def _loaded(transformers: Any, source: str, where: dict[str, Any]) -> Network:
    """Network and preprocessing as the configuration says."""
    config = transformers.AutoConfig.from_pretrained(source, **where)
    made_as = tuple(config.architectures or ())
    labelled = any(name.endswith(("ForImageClassification", "ForSequenceClassification")) for name in made_as)
    images = any(name.endswith("ForImageClassification") for name in made_as) or (
        not labelled and type(config) in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    )
    head = "ImageClassification" if images else "SequenceClassification"
    kind = getattr(transformers, f"AutoModelFor{head}" if labelled else "AutoModel")
    with repeatable():
        module, loading = kind.from_pretrained(source, use_safetensors=True, output_loading_info=True, **where)
    module = cast("nn.Module", module.eval())
    missing = sorted(loading["missing_keys"])
    if missing:
        warnings.warn(
            f"{type(module).__name__} has parameters that are not in the file and are drawn at random (the same each "
            f"time): {', '.join(missing)}. Leave the layers that they belong to out.",
            stacklevel=2,
        )
    names = _class_names(config) if labelled else ()
    if images:
        processor = transformers.AutoImageProcessor.from_pretrained(source, **where)
        normalise, resize = image_steps(processor, int(getattr(config, "num_channels", 3)))
        return Network(module, preprocess=normalise, resize=resize, class_names=names)
    if "local_files_only" in where and not any(path for kind in TOKENIZERS for path in Path(source).glob(kind)):
        raise FileNotFoundError(
            "the folder holds no tokenizer (`tokenizer.json`); save it there with `save_pretrained`."
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, **where)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if module.config.pad_token_id is None:  # type: ignore[union-attr]  # transformers' modules have one
        module.config.pad_token_id = tokenizer.pad_token_id  # type: ignore[union-attr]
    longest = min(LONGEST, tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or LONGEST)
    return Network(module, preprocess=Tokenise(tokenizer, longest), class_names=names)


def _class_names(config: Any) -> tuple[str, ...]:
    """What the configuration calls the classes; nothing where it only counts them."""
    names = tuple(str(name) for _, name in sorted(config.id2label.items()))
    return () if names == tuple(f"LABEL_{index}" for index in range(len(names))) else names


def image_steps(processor: Any, channels: int) -> tuple[Normalise, Resize | None]:
    """What an image processor does, in two steps: files to pixels, pixels to what the module takes.

    Processors differ in more than their settings say, so both are read off what the processor makes of plain images
    and of a picture, with the settings as first guess. The second step is None, with a warning, where the processor
    does something else than stretch, or scale the shorter side and cut the middle out. Where an odd number of pixels
    is cut off, transformers may cut one pixel beside the place where torchvision and `Resize` do.

    Raises:
        ValueError: if the processor does more to a pixel's values than shift and scale each channel.
    """
    settings = {**processor.to_dict()}
    mode = "L" if channels == 1 else "RGB"

    def processed(image: Image.Image) -> np.ndarray:
        return np.asarray(processor(images=image, return_tensors="np")["pixel_values"][0], np.float64)

    plain = [
        processed(Image.new(mode, (80, 64), (value,) * channels if channels > 1 else value)) for value in (0, 102, 255)
    ]
    black, grey, white = (image.mean((1, 2)) for image in plain)
    std = 1 / (white - black)
    mean = -black * std
    flat = max(float(np.ptp(image, axis=(1, 2)).max()) for image in plain) < 1e-4
    if not flat or not np.allclose((102 * PIXEL - mean) / std, grey, atol=1e-4):
        raise ValueError(
            f"The image processor {type(processor).__name__} does more to pixels than shift and scale each channel; "
            "load the network yourself and give `Network(module, preprocess=...)` that does the same."
        )
    if settings.get("do_normalize"):
        told = np.broadcast_to(
            np.asarray([settings["image_mean"], settings["image_std"]], np.float64).reshape(2, -1), (2, channels)
        )
        if np.allclose(told, [mean, std], atol=1e-5):
            mean, std = told
    normalise = Normalise(tuple(mean.tolist()), tuple(std.tolist()))
    _, height, width = plain[0].shape
    resize = _resize(processor, settings, normalise, Resize(height, width, None, "bilinear", channels))
    if resize is None:
        warnings.warn(
            f"The image processor {type(processor).__name__} sizes images in a way that Layerscope doesn't know; "
            "give images that have the network's size, or a `resize` of your own "
            "(`dataclasses.replace(network, resize=...)`).",
            stacklevel=2,
        )
    return normalise, resize


def _resize(processor: Any, settings: Mapping[str, Any], normalise: Normalise, base: Resize) -> Resize | None:
    """The way of sizing that makes of a picture what the processor makes of it."""
    how = RESAMPLES.get(int(settings.get("resample", -1)))
    if not settings.get("do_resize", True) or how is None:
        return None
    size = dict(settings.get("size") or {})
    side = size.get("shortest_edge") or base.height
    crop = settings.get("crop_pct") or 224 / 256
    picture = _picture(3 * base.height // 2, 2 * base.width)
    wanted = np.asarray(processor(images=picture, return_tensors="np")["pixel_values"][0], np.float64)
    for shorter in dict.fromkeys((None, side, int(side / crop), int(256 / 224 * side))):
        if shorter is not None and shorter < max(base.height, base.width):
            continue
        resize = replace(base, shorter=shorter, interpolation=how)
        pixels = np.asarray(resize(picture), np.float32) * PIXEL
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        got = normalise(torch.from_numpy(pixels)[None])[0].double().numpy()
        if (
            got.shape == wanted.shape
            and float((np.abs(got - wanted).mean((1, 2)) * np.asarray(normalise.std)).max()) < PIXEL
        ):
            return resize
    return None


def _picture(height: int, width: int) -> Image.Image:
    """A smooth picture without symmetry: its copies of other sizes and cuts are far from each other."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(7 * x + 3 * y), np.sin(5 * y - 2 * x + 1), np.sin(6 * x * y + 9 * y)]
    return Image.fromarray(np.stack([127.5 + 120 * wave for wave in waves], -1).astype(np.uint8))


@contextmanager
def _quiet(transformers: Any, *, progress: bool) -> Iterator[None]:
    """No reports of the library's own meanwhile; it is told otherwise afterwards as it was before."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not progress:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
