"""What a run's network makes of an input of the reader's own: as the run itself measured it."""

import base64
import io
import os
import struct
import zlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TinyNet, tiny_data, tiny_module
from PIL import Image
from test_study import Letters, texts
from torch import nn

from layerscope import Network, Run, Study, load_run
from layerscope.errors import ProbeError, RunMismatchError
from layerscope.explorer import probe as probe_module
from layerscope.explorer.probe import LIKELIEST, NEAREST, Probe, probe_of
from layerscope.images import Resize

OPTIONS = {"grid": (2, 3), "draws": 50, "untrained": 0, "attack": None, "progress": False}
NETS = """
import sys
sys.path.insert(0, {tests!r})
from conftest import tiny_module
from layerscope import Network
from layerscope.images import Resize

def resized():
    return Network(tiny_module(), resize=Resize(6, 6, shorter=8, channels=1), class_names=("top", "middle", "bottom"))
"""


@pytest.fixture(scope="module", autouse=True)
def unreported():
    """Nobody looks at the reports of these runs, and they take most of the time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Run, "report", lambda *_, **__: None)
        yield


def encoded(pixels, kind="PNG", **options):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind, **options)
    return target.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with a network of the user's own, and images in a folder for each class."""
    folder = tmp_path_factory.mktemp("probed")
    (folder / "own_nets_of_a_probe.py").write_text(NETS.format(tests=os.path.dirname(__file__)))
    images, labels = tiny_data(60)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (folder / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        pixels = (image[0] * 255).round().to(torch.uint8).numpy()
        (folder / "images" / str(label) / f"{number:02d}.png").write_bytes(encoded(pixels))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def run(place):
    Study("runs/own", "py:own_nets_of_a_probe:tiny_module", "folder:images", **OPTIONS).run()
    return load_run("runs/own")


@pytest.fixture(scope="module")
def probe(run):
    return probe_of(run)


def files_of(run, place):
    """Of each sample of a run, the file."""
    names = pd.read_parquet(run.folder / "recordings" / "clean" / "samples.parquet")["source"]
    return [place / "images" / name for name in names]


def check_as_measured(found, run, row):
    """The answer to a sample of the run is what the run holds of it."""
    clean, codes = run.recordings["clean"], run.codes["clean"]
    for reduction in clean.reductions:
        path = clean.depth(reduction)
        assert found["codes"][reduction] == [codes[f"code:{layer}"][row] for layer in path]
        measured = [codes[f"distance:{layer}"][row] for layer in path]
        assert found["distances"][reduction] == pytest.approx(measured, rel=1e-4, abs=1e-5)
        for depth, nearest in enumerate(found["nearest"][reduction], start=1):
            assert nearest[0] == {"id": clean.ids[row], "shared": depth, "distance": pytest.approx(0, abs=1e-3)}
    sure = clean.logits().softmax(1)[row]
    assert [one["class"] for one in found["prediction"]] == sure.argsort(descending=True)[:LIKELIEST].tolist()
    told = [one["confidence"] for one in found["prediction"]]
    assert told == pytest.approx(sorted(sure.tolist(), reverse=True)[:LIKELIEST], rel=1e-4)


def test_samples_of_the_run_get_the_codes_that_they_have_there(run, probe, place):
    for row, file in enumerate(files_of(run, place)):
        found = probe.image(file.read_bytes())
        check_as_measured(found, run, row)
        picture = base64.b64decode(found["picture"].removeprefix("data:image/png;base64,"))
        assert (np.array(Image.open(io.BytesIO(picture))) == np.array(Image.open(file))).all()


def test_few_vectors_are_in_memory_at_a_time(probe, monkeypatch):
    content = encoded(np.random.default_rng(1).integers(0, 255, (6, 6), dtype=np.uint8))
    expected, read = probe.image(content), []
    vectors = Probe._vectors
    monkeypatch.setattr(Probe, "_vectors", lambda *given: read.append(len(given[2])) or vectors(*given))
    monkeypatch.setattr(probe_module, "BLOCK", 3)
    found = probe.image(content)
    assert max(read) == 3
    assert len(read) > 8
    for reduction, layers in expected["nearest"].items():
        for before, after in zip(layers, found["nearest"][reduction], strict=True):
            assert [one["id"] for one in after] == [one["id"] for one in before]
            far = [one["distance"] for one in before]
            assert [one["distance"] for one in after] == pytest.approx(far, rel=1e-5)


def test_the_nearest_share_most_codes_up_to_a_layer_and_lie_nearest_there(run, probe, place):
    content = encoded(np.random.default_rng(0).integers(0, 255, (6, 6), dtype=np.uint8))
    found, clean, codes = probe.image(content), run.recordings["clean"], run.codes["clean"]
    inputs = torch.from_numpy(np.array(Image.open(io.BytesIO(content)))).float()[None, None] / 255
    with torch.no_grad():
        logits = tiny_module()(inputs)[0]
    path, own = clean.depth("mean"), found["codes"]["mean"]
    ranked = []
    for row, sample in enumerate(clean.ids.tolist()):
        shared = sum(int(codes[f"code:{layer}"][row]) == unit for layer, unit in zip(path, own, strict=True))
        ranked.append((-shared, float((clean.logits()[row] - logits).norm()), sample))
    last = found["nearest"]["mean"][-1]
    assert [one["id"] for one in last] == [sample for _, _, sample in sorted(ranked)[:NEAREST]]
    assert [one["shared"] for one in last] == [-shared for shared, _, _ in sorted(ranked)[:NEAREST]]
    assert [one["distance"] for one in last] == pytest.approx([far for _, far, _ in sorted(ranked)[:NEAREST]], rel=1e-4)
    first = found["nearest"]["mean"][0]
    alike = [int(codes[f"code:{path[0]}"][codes["id"] == one["id"]].iloc[0] == own[0]) for one in first]
    assert [one["shared"] for one in first] == alike


@pytest.mark.parametrize(("kind", "options"), [("BMP", {}), ("GIF", {}), ("WEBP", {"lossless": True})])
def test_other_formats_give_the_same(probe, run, place, kind, options):
    file = files_of(run, place)[0]
    content = encoded(np.array(Image.open(file)), kind, **options)
    assert probe.image(content) == probe.image(file.read_bytes())


def test_a_jpeg_of_another_size_in_colour_comes_to_the_size_and_channel_of_the_run(probe):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 90, 3), dtype=np.uint8)
    content = encoded(pixels, "JPEG")
    seen = Image.open(io.BytesIO(content)).convert("L").resize((6, 6), Image.Resampling.BILINEAR)
    assert probe.image(content) == probe.image(encoded(np.array(seen)))


def test_a_network_that_says_how_files_are_resized_is_asked(place):
    run = Study("runs/resized", "py:own_nets_of_a_probe:resized", "folder:images", **OPTIONS).run()
    probe = probe_of(run)
    assert probe.resize == Resize(6, 6, shorter=8, channels=1)
    for row in (0, 5):
        found = probe.image(files_of(run, place)[row].read_bytes())
        check_as_measured(found, run, row)
    assert {one["name"] for one in found["prediction"]} == {"top", "middle", "bottom"}


def test_inputs_of_other_bounds_are_black_at_the_lowest_and_white_at_the_highest(tiny_run):
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()
    images, labels = tiny_data(60)
    network = Network(module, bounds=(-1.0, 3.0))
    run = Study(tiny_run.folder / ".." / "bounds", network, (images * 4 - 1, labels), **OPTIONS).run()
    kept = run.recordings["clean"].pictures()
    found = probe_of(run, network).image(encoded(kept[3, 0].numpy()))
    assert found["codes"]["mean"] == [
        run.codes["clean"][f"code:{layer}"][3] for layer in run.recordings["clean"].depth("mean")
    ]


def test_the_size_comes_from_the_data_where_the_run_keeps_smaller_pictures(place):
    images = torch.rand(30, 1, 70, 66, generator=torch.Generator().manual_seed(0))
    np.savez("large.npz", inputs=(images * 255).to(torch.uint8).numpy())
    run = Study("runs/large", "py:own_nets_of_a_probe:tiny_module", "npz:large.npz", **OPTIONS).run()
    probe = probe_of(run)
    assert probe.resize == Resize(70, 66, channels=1)
    pixels = np.load("large.npz")["inputs"][int(run.recordings["clean"].ids[2]), 0]
    check_as_measured(probe.image(encoded(pixels)), run, 2)


def test_texts_get_the_codes_that_they_have_in_the_run(tmp_path):
    network = Network(Letters().eval())
    run = Study(tmp_path / "run", network, texts(60), **OPTIONS | {"reductions": ("mean",)}).run()
    probe = probe_of(run, network)
    for row in (0, 7):
        found = probe.text(run.recordings["clean"].texts[row])
        check_as_measured(found, run, row)
        assert found["picture"] is None
    with pytest.raises(ProbeError, match="This network takes texts, not images"):
        probe.image(b"")


def header(width, height):
    """A PNG file that says how large it is, begins its pixels, and ends."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(bytes(100)))
    told = [struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks]
    return b"".join([b"\x89PNG\r\n\x1a\n", *told])


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", header(6000, 6000), "tiff", "cut off"],
    ids=["nothing", "words", "svg", "header", "tiff", "cut off"],
)
def test_what_is_no_image_is_told(probe, content):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 60), dtype=np.uint8)
    made = {"tiff": encoded(pixels, "TIFF"), "cut off": encoded(pixels, "JPEG")[:-300]}
    with pytest.raises(
        ProbeError, match=r"^This is no image file that can be read; send PNG, JPEG, WebP, BMP or GIF\.$"
    ):
        probe.image(made.get(content, content))


@pytest.mark.parametrize("size", [(8000, 6251), (10_000, 10_000), (50_000, 50_000)])
def test_images_that_would_fill_the_memory_are_not_opened(probe, size):
    with pytest.raises(ProbeError, match="An image may have 50,000,000 pixels at most; this one has more"):
        probe.image(header(*size))


def test_an_image_of_the_most_pixels_is_taken(probe):
    target = io.BytesIO()
    Image.new("1", (8000, 6250)).save(target, "PNG")
    assert probe.image(target.getvalue())["codes"] == probe.image(encoded(np.zeros((6, 6), np.uint8)))["codes"]


def test_texts_are_none_of_a_network_for_images(probe):
    with pytest.raises(ProbeError, match="This network takes images, not texts"):
        probe.text("a text")


def test_an_answer_that_is_no_number_is_told(probe, run, place):
    module = tiny_module()
    module.middle[0].bias.data[:] = torch.nan
    broken = replace(probe, network=Network(module))
    with pytest.raises(ProbeError, match="To this input, a layer of the network says NaN or infinity"):
        broken.image(files_of(run, place)[0].read_bytes())


def test_a_run_of_objects_needs_its_network(tiny_run):
    with pytest.raises(
        ValueError, match=r"The run was made from an object .*; load the network yourself, and .* `--model SPEC`\)"
    ):
        probe_of(tiny_run)
    with pytest.raises(
        RunMismatchError, match=r"`network` must be what the run in .* was made of, and is another: its weig"
    ):
        probe_of(tiny_run, TinyNet().eval())
    network = Network(tiny_module(), class_names=("top", "middle", "bottom"))
    assert probe_of(tiny_run, network).resize == Resize(6, 6, channels=1)


def test_a_run_of_neither_images_nor_texts_has_none(tmp_path):
    network = Network(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval())
    points = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
    run = Study(tmp_path / "run", network, (points, torch.arange(60) % 2), **OPTIONS).run()
    with pytest.raises(
        ValueError, match="Only images and texts can be sent to a network, and the samples of this run are"
    ):
        probe_of(run, network)
