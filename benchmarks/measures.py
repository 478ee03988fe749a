"""What the profile costs: all measures from recorded activations, and one of them beside another library.

    python benchmarks/measures.py

All measures of 10 layers, 10,000 samples, 400 units, 200 bootstrap draws and permutations, with the four nulls (one
untrained draw, shuffled labels, a random codebook, the reduction alone), in a process of its own; then TwoNN on
10,000 x 512 beside scikit-dimension's, by turns.
"""

import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import nn

import layerscope as ls
from layerscope.atlas import random_codebook
from layerscope.measures.geometry import dimension_twonn, neighbours
from layerscope.som import Grid

SAMPLES, UNITS, LAYERS, DRAWS = 10_000, Grid(20, 20), 10, 200
TURNS = 3


def network(seed: int) -> ls.Network:
    """Ten layers 256 wide."""
    torch.manual_seed(seed)
    parts = [nn.Sequential(nn.Linear(64 if k == 0 else 256, 256), nn.ReLU()) for k in range(LAYERS)]
    return ls.Network(nn.Sequential(*parts, nn.Linear(256, 10)).eval(), bounds=(-100, 100))


def prepare(folder: Path) -> None:
    """Recordings and atlases of the network, an untrained draw and the inputs alone."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(10, 64, generator=generator)
    labels = torch.randint(10, (2 * SAMPLES,), generator=generator)
    inputs = centres[labels] + torch.randn(2 * SAMPLES, 64, generator=generator)
    parts = [ls.load_data((inputs[some], labels[some])) for some in (slice(0, SAMPLES), slice(SAMPLES, None))]
    names = [str(k) for k in range(LAYERS)]
    nothing = ls.Network(nn.Sequential(nn.Identity()).eval(), bounds=(-100, 100))
    for name, made, layers in (("own", network(1), names), ("null", network(2), names), ("alone", nothing, ["0"])):
        for part, condition in zip(parts, ("clean", "fit"), strict=True):
            ls.record(
                made, part, layers, folder / name / condition, reductions=["flatten"], condition=condition,
                show_progress=False,
            )  # fmt: skip
        atlas = ls.fit_atlas(ls.load_recording(folder / name / "fit"), UNITS, show_progress=False)
        ls.atlas.save_atlas(atlas, folder / name / "atlas")


def measured(folder: Path) -> tuple[float, int, float, float]:
    """Seconds of the profile, rows made, and the most memory beyond what the libraries take."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    begun = time.perf_counter()
    coded = {}
    for name in ("own", "null", "alone"):
        recording = ls.load_recording(folder / name / "clean")
        atlas = ls.atlas.load_atlas(folder / name / "atlas")
        coded[name] = ls.Coded(recording, atlas, ls.encode(recording, atlas))
    own = coded["own"]
    book = random_codebook(ls.load_recording(folder / "own" / "fit"), own.atlas)
    codebook = ls.Coded(own.recording, book, ls.encode(own.recording, book))
    rows = ls.profile(
        own, [coded["null"]], codebook=codebook, alone=coded["alone"], draws=DRAWS, permutations=DRAWS,
        show_progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    return seconds, len(rows), before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def twonn() -> None:
    """Ours and scikit-dimension's by turns."""
    from skdim.id import TwoNN

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((SAMPLES, 12)) @ rng.standard_normal((12, 512)) + 0.01 * rng.standard_normal(
        (SAMPLES, 512)
    )
    rows = rows.astype(np.float32)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(TURNS):
        begun = time.perf_counter()
        value = dimension_twonn(neighbours(torch.from_numpy(rows), None, 2)).value
        seconds["ours"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        other = TwoNN().fit(rows).dimension_
        seconds["theirs"].append(time.perf_counter() - begun)
    own, peer = (statistics.median(seconds[who]) for who in ("ours", "theirs"))
    print(
        f"TwoNN, {SAMPLES:,} x 512: ours {own:.2f} s ({value:.2f}), scikit-dimension {peer:.2f} s ({other:.2f}): "
        f"{peer / own:.1f} times faster"
    )


def main() -> None:
    """Both parts."""
    with tempfile.TemporaryDirectory() as place:
        context = get_context("spawn")
        # each in a process of its own: a parent that has computed leaves its threads, and its peak of memory, behind
        with ProcessPoolExecutor(1, context) as pool:
            pool.submit(prepare, Path(place)).result()
        with ProcessPoolExecutor(1, context) as pool:
            seconds, rows, before, peak = pool.submit(measured, Path(place)).result()
    print(
        f"profile of {LAYERS} layers, {SAMPLES:,} samples, {len(UNITS)} units, {DRAWS} draws, four nulls: "
        f"{seconds:.1f} s, {rows} rows, {peak:.0f} MB at most ({before:.0f} MB of it the libraries')"
    )
    twonn()


if __name__ == "__main__":
    main()
