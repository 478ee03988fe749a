"""What recording costs beside the forward pass that it rides on, and beside other libraries' ways.

    python benchmarks/recording.py overhead     # resnet18 and vit_b_16 at 224 pixels, all `auto` layers under `mean`
    python benchmarks/recording.py memory       # 2,000 and 50,000 samples of 20 layers
    python benchmarks/recording.py reading      # a map trained from shards, and from a memory-mapped array
    python benchmarks/recording.py kills        # 50 runs killed at random moments, compared byte by byte

Everything is measured in one run, taking turns. Tables go to standard output.
"""

import argparse
import contextlib
import hashlib
import io
import os
import random
import resource
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

import layerscope as ls
from layerscope.layers import Layer
from layerscope.preprocessing import Normalise
from layerscope.som import SOM

ROUNDS = 3


def imagenet(name: str) -> ls.Network:
    """An architecture with its usual normalisation."""
    torch.manual_seed(0)
    module = torchvision.models.get_model(name).eval()
    return ls.Network(module, preprocess=Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def overhead() -> None:
    """Seconds of the plain forward pass over some batches, and of the same with recording, in turn."""
    for name, batch, batches in (("resnet18", 64, 12), ("vit_b_16", 16, 8)):
        network = imagenet(name)
        images = torch.rand(batch * batches, 3, 224, 224)
        data = ls.load_data(images)
        names, _ = ls.choose_layers(network, images[:2])

        def plain(network: ls.Network = network, images: torch.Tensor = images, batch: int = batch) -> None:
            with torch.no_grad():
                for some in images.split(batch):
                    network(some)

        def recorded(network: ls.Network = network, data: ls.Data = data, batch: int = batch) -> None:
            with tempfile.TemporaryDirectory() as folder:
                ls.record(network, data, "auto", folder, reductions=["mean"], batch_size=batch, show_progress=False)

        ways: dict[str, Callable[[], object]] = {"plain": plain, "layerscope, mean": recorded}
        ways |= _peers(network, names, images, batch)
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, run in ways.items():
                begun = time.perf_counter()
                with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    run()
                taken[way].append(time.perf_counter() - begun)
        base = taken["plain"]
        print(f"\n{name}, {len(names)} layers, {batches} batches of {batch}:\n")
        print("| | seconds, median | times the plain pass, median of rounds (least to most) |\n|---|---|---|")
        for way, seconds in taken.items():
            ratios = sorted(one / other for one, other in zip(seconds, base, strict=True))
            middle = statistics.median(ratios)
            print(f"| {way} | {statistics.median(seconds):.2f} | {middle:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) |")


def _peers(
    network: ls.Network, names: tuple[str, ...], images: torch.Tensor, batch: int
) -> dict[str, Callable[[], object]]:
    """Other libraries' ways to the same layers' outputs, averaged over positions as they come, kept in memory."""
    module, prepare = network.module, network.preprocess
    assert prepare is not None

    def mean(output: torch.Tensor) -> torch.Tensor:
        return output.flatten(2).mean(2) if output.ndim > 3 else output.mean(1)

    ways: dict[str, Callable[[], object]] = {}
    with contextlib.suppress(ImportError):
        from captum.attr import LayerActivation

        activation = LayerActivation(module, [module.get_submodule(name) for name in names])

        def captum() -> object:
            with torch.no_grad():
                return [[mean(one) for one in activation.attribute(prepare(some))] for some in images.split(batch)]

        ways["captum, LayerActivation"] = captum
    with contextlib.suppress(ImportError):
        import torchlens

        def lens() -> object:
            with torch.no_grad():
                found = [torchlens.extract(module, prepare(some), list(names)) for some in images.split(batch)]
            return [[mean(one) for one in each.values()] for each in found]

        ways["torchlens, extract"] = lens
    if find_spec("thingsvision"):
        np.AxisError = np.exceptions.AxisError  # type: ignore[attr-defined]  # noqa: NPY201 - where thingsvision wants it
        from thingsvision import get_extractor_from_model

        with contextlib.redirect_stdout(io.StringIO()):
            extractor = get_extractor_from_model(module, device="cpu", backend="pt")

        def things() -> object:
            with extractor.batch_extraction(module_names=list(names), output_type="tensor") as taking:
                found = [taking.extract_batch(prepare(some), flatten_acts=False) for some in images.split(batch)]
            return [[mean(one) for one in each.values()] for each in found]

        ways["thingsvision, batch_extraction"] = things
    return ways


class Wide(nn.Module):
    """Twenty layers, a little work each."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()) for _ in range(20)])
        self.stem, self.head = nn.Conv2d(1, 16, 3, padding=1), nn.Linear(16, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class Made(torch.utils.data.Dataset[torch.Tensor]):
    """Images made as they are read."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> torch.Tensor:
        if row >= self.count:
            raise IndexError
        return torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(row))


def _peak(count: int, results: object) -> None:
    """Record `count` samples; the most memory that the process ever held, in megabytes."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        network = ls.Network(Wide().eval())
        layers = [f"blocks.{k}" for k in range(20)]
        reductions = ["mean", "sketch:512"]
        data = ls.load_data(Made(count))
        ls.record(network, data, layers, folder, reductions=reductions, show_progress=False)
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    results.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, size))  # type: ignore[attr-defined]


def memory() -> None:
    """The most memory for few and for many samples, each in a process of its own."""
    context = get_context("spawn")
    found = {}
    for count in (2_000, 50_000):
        results = context.Queue()
        process = context.Process(target=_peak, args=(count, results))
        process.start()
        found[count], size = results.get()
        process.join()
        print(f"{count:,} samples of 20 layers under mean and sketch:512, {size:.0f} MB: {found[count]:.0f} MB at most")
    print(f"ratio {found[50_000] / found[2_000]:.3f}")


def reading() -> None:
    """A map fitted to a layer from shards, and to the same rows from a memory-mapped array."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        module = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)).eval()
        data = ls.load_data(torch.rand(200_000, 32))
        made = ls.record(
            ls.Network(module), data, ["1", "3"], folder, reductions=["flatten"], batch_size=2000, show_progress=False
        )
        layer = Layer("3", "flatten")
        np.save(folder / "rows.npy", made.vectors(layer).numpy())
        mapped = np.load(folder / "rows.npy", mmap_mode="r")
        ways: dict[str, Callable[[], object]] = {
            "memmap, read": lambda: sum(float(mapped[start : start + 4096].sum()) for start in range(0, 200_000, 4096)),
            "shards, read and checked": lambda: sum(
                float(block.sum()) for block in ls.load_recording(folder).blocks(layer)
            ),
            "shards, read again": lambda: sum(float(block.sum()) for block in made.blocks(layer)),
            "memmap, SOM 20 x 20": lambda: SOM((20, 20)).fit(mapped),
            "shards, SOM 20 x 20": lambda: SOM((20, 20)).fit(made.blocks(layer)),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, run in ways.items():
                begun = time.perf_counter()
                run()
                taken[way].append(time.perf_counter() - begun)
        print("| 200,000 x 256, 205 MB | seconds, median |\n|---|---|")
        for way, seconds in taken.items():
            print(f"| {way} | {statistics.median(seconds):.3f} |")


def kills() -> None:
    """Fifty runs of a study killed at random moments until each ends; every file compared with an unkilled run's."""
    rng = random.Random(0)  # noqa: S311 - moments, not secrets
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        begun = time.perf_counter()
        assert _ended(_forked(folder / "whole")) == 0
        whole, killed, rounds = time.perf_counter() - begun, 0, 0
        for number in range(50):
            while True:
                child = _forked(folder / f"run-{number}")
                time.sleep(rng.uniform(0, 1.2 * whole))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                rounds += 1
                if _ended(child) == 0:
                    break
                killed += 1
            for path in sorted((folder / "whole").rglob("*")):
                other = folder / f"run-{number}" / path.relative_to(folder / "whole")
                if path.suffix in (".safetensors", ".parquet") or path.name == "manifest.json":
                    assert _digest(path) == _digest(other), path
        print(f"50 runs, {killed} kills in {rounds} starts, {whole:.1f} s unkilled: all files the same")


def _forked(folder: Path) -> int:
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        try:
            images = ls.load_data("py:layerscope.demo:test_data", limit=300)
            options = {"attack": None, "grid": (4, 4), "untrained": 0, "draws": 50, "batch_size": 20, "progress": False}
            ls.recording.SHARD_BYTES = 2**17
            ls.Study(folder, "py:layerscope.demo:network", images, **options).run()
        except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return child


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"overhead": overhead, "memory": memory, "reading": reading, "kills": kills}
    parser.add_argument("part", choices=parts)
    parts[parser.parse_args().part]()


if __name__ == "__main__":
    main()
