"""How fast, how good: our map beside other libraries', measured in one run with one evaluator for everybody.

    python benchmarks/som.py speed --images FOLDER      # against the peers, at equal quality
    python benchmarks/som.py exact --images FOLDER      # fast against exact, eight data sets, three seeds
    python benchmarks/som.py cost                       # time against rows and units
    python benchmarks/som.py disk --images FOLDER       # 12 GB on disk, in how much memory

FOLDER holds the IDX files of Fashion-MNIST. Figures go to docs/images, tables to standard output.
"""

import argparse
import contextlib
import io
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from datasets import Rows, fashion, gaussian, patches, relu_features, shapes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from layerscope.som import SOM

Made = TypeVar("Made")

SEEDS = range(3)
TURNS = 7
"""Runs of each by turns, whose medians are compared."""
EXPLAINED, BROKEN = 0.002, 0.01
"""Equal quality: explained variance no lower by more than this, and topographic error no higher by more than that."""
PICTURES = Path(__file__).parents[1] / "docs" / "images"


@dataclass(frozen=True)
class Point:
    """One way to train, as it came out."""

    who: str
    setting: str
    seconds: float
    explained: float
    broken: float
    work: int = 0
    """Of ours: rows times units of the epochs in the map's history, which ranks settings and is no cost in full."""


def evaluate(rows: Rows, prototypes: np.ndarray, side: int) -> tuple[float, float]:
    """Explained variance and topographic error (eight neighbours) on all rows, in float64 where it counts."""
    middle = rows.mean(0, dtype=np.float64).astype(np.float32)
    units = torch.as_tensor(np.asarray(prototypes, dtype=np.float32).reshape(side * side, -1) - middle)
    half = units.square().sum(1) / 2
    missed = total = 0.0
    broken = 0
    for start in range(0, len(rows), 1024):
        block = torch.as_tensor(rows[start : start + 1024] - middle)
        scores = (block @ units.T - half).numpy()
        first = torch.from_numpy(scores.argmax(1))
        np.put_along_axis(scores, first.numpy()[:, None], -np.inf, axis=1)
        second = torch.from_numpy(scores.argmax(1))
        missed += float((block - units[first]).double().square().sum())
        total += float(block.double().square().sum())
        apart = torch.maximum((first // side - second // side).abs(), (first % side - second % side).abs())
        broken += int((apart > 1).sum())
    return 1 - missed / total, broken / len(rows)


def timed(train: Callable[[], Made]) -> tuple[float, Made]:
    """Seconds, and what comes out."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        made = train()
    return time.perf_counter() - start, made


def ours(rows: Rows, side: int, epochs: int, end: float, seed: int) -> SOM:
    """Layerscope."""
    return SOM((side, side), radius=(max(side / 4, 1.0), end), epochs=epochs, random_state=seed).fit(rows)


def fastersom(rows: Rows, side: int, epochs: int) -> np.ndarray:
    """The fastest peer."""
    from fastersom import SOM as Peer

    return np.asarray(
        Peer(side, side, n_epochs=epochs, sigma_final=0.5, init="sample", random_state=0).fit(rows).weights_
    )


def xpysom(rows: Rows, side: int, epochs: int) -> np.ndarray:
    """A batch map in numpy."""
    from xpysom import XPySom

    som = XPySom(side, side, rows.shape[1], sigma=side / 4, sigmaN=0.5, random_seed=0)
    som.random_weights_init(rows)
    som.train(rows, epochs)
    return np.asarray(som._weights)  # noqa: SLF001 - its only way out


def torchsom(rows: Rows, side: int, epochs: int) -> np.ndarray:
    """Online training in PyTorch, at its own default schedule."""
    from torchsom import SOM as Peer

    som = Peer(side, side, rows.shape[1], epochs=epochs, batch_size=256, sigma=side / 4, initialization_mode="pca")
    data = torch.as_tensor(rows)
    som.initialize_weights(data=data, mode="pca")
    som.fit(data, verbose=False)
    return som.weights.detach().numpy()


def minisom(rows: Rows, side: int, epochs: int) -> np.ndarray:
    """The classic: its batch rule, in numpy, row by row."""
    from minisom import MiniSom

    som = MiniSom(side, side, rows.shape[1], sigma=side / 4, learning_rate=1, random_seed=0)
    som.pca_weights_init(rows)
    som.train_batch_offline(rows, epochs)
    return np.asarray(som.get_weights())


PEERS = {"fastersom": fastersom, "xpysom": xpysom, "torchsom": torchsom, "minisom": minisom}


def speed(images: Rows, only: str) -> None:
    """Quality over time, ours and the peers', and how many times faster we are at equal quality."""
    made = {"images": images, "ReLU": relu_features(images), "patches": patches(images)}
    plan = [
        ("images, 60,000 x 784", made["images"], 20, {"fastersom": (5, 10, 20), "xpysom": (10,)}),
        ("images, 60,000 x 784", made["images"], 40, {"fastersom": (10,)}),
        ("ReLU features, 60,000 x 512", made["ReLU"], 20, {"fastersom": (5, 10, 20), "xpysom": (10,)}),
        ("ReLU features, 60,000 x 512", made["ReLU"], 40, {"fastersom": (10,)}),
        ("patches, 480,000 x 36", made["patches"], 30, {"fastersom": (10,)}),
        (
            "normal, 5,000 x 10",
            gaussian(5000, 10),
            20,
            {"fastersom": (10, 20), "xpysom": (10,), "torchsom": (2,), "minisom": (2,)},
        ),
        (
            "images, 6,000 x 784",
            made["images"][:6000],
            20,
            {"fastersom": (10,), "xpysom": (10,), "torchsom": (2,), "minisom": (2,)},
        ),
    ]
    kept = PICTURES / "som-speed.json"
    found: dict[str, list[Point]] = {}
    if only and kept.exists():
        found = {title: [Point(**one) for one in points] for title, points in json.loads(kept.read_text()).items()}
    print(
        "| data | grid | peer | epochs | seconds | explained | topographic | ours, seconds | explained | topographic | times faster |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, rows, side, peers in plan:
        title = f"{name}, {side} x {side}"
        if only not in title:
            continue
        points = found[title] = []
        ours(rows, side, 10, 0.6, 0)
        for who, settings in peers.items():
            for epochs in settings:
                train = partial(PEERS[who], rows, side, epochs)
                seconds, prototypes = timed(train)
                peer = Point(who, f"{epochs}", seconds, *evaluate(rows, prototypes, side))
                if all(point.who != "layerscope" for point in points):
                    points += _curve(rows, side)
                points.append(_tell(title, peer, points, train, partial(ours, rows, side)))
        if "fastersom" in peers and len(rows) == len(images):
            som = SOM((side, side), epochs=10).fit(rows)
            print(f"{title}: labels_ of all rows on top: {timed(lambda som=som: som.labels_)[0]:.2f} s", flush=True)
    _draw_speed(found)
    kept.write_text(json.dumps({k: [vars(p) for p in v] for k, v in found.items()}, indent=1))


def _curve(rows: Rows, side: int) -> list[Point]:
    """Ours at several epochs and end radii: median time, most work, worst quality of either kind, over seeds."""
    points = []
    large = len(rows) * side > 60_000 * 20
    for epochs in (5, 6, 10, 20) if large else (5, 6, 8, 10, 18, 40):
        for end in (0.55, 0.6, 0.65, 0.7) if large else (0.5, 0.53, 0.55, 0.57, 0.6, 0.65, 0.7):
            runs = [
                timed(lambda seed=seed, epochs=epochs, end=end: ours(rows, side, epochs, end, seed)) for seed in SEEDS
            ]
            judged = [evaluate(rows, som.prototypes_, side) for _, som in runs]
            points.append(
                Point(
                    "layerscope",
                    f"{epochs} epochs to {end}",
                    statistics.median(seconds for seconds, _ in runs),
                    min(one for one, _ in judged),
                    max(other for _, other in judged),
                    max(sum(epoch.rows * epoch.units for epoch in som.history_) for _, som in runs),
                )
            )
    return points


def _tell(
    title: str, peer: Point, points: Sequence[Point], train: Callable[[], np.ndarray], own: Callable[..., SOM]
) -> Point:
    """A row of the table: the peer's point, and ours of the least work that is as good for every seed, timed by turns.

    Of equal work, of the least topographic error. The shortest time would pick what the machine's speed happened to
    favour, which varies from minute to minute; hence by turns. Returns the peer's point with its median.
    """
    equal = [
        point
        for point in points
        if point.who == "layerscope"
        and point.explained >= peer.explained - EXPLAINED
        and point.broken <= peer.broken + BROKEN
    ]
    best = min(equal, key=lambda point: (point.work, point.broken), default=None)
    theirs, our = [peer.seconds], []
    for turn in range(TURNS if best else 1):
        if best:
            epochs, end = best.setting.split(" epochs to ")
            our.append(timed(lambda e=int(epochs), r=float(end), s=turn: own(e, r, s % len(SEEDS)))[0])
        theirs.append(timed(train)[0])
    peer = replace(peer, seconds=statistics.median(theirs[1:]))
    name, grid = title.rsplit(", ", 1)
    line = f"| {name} | {grid} | {peer.who} | {peer.setting} | {peer.seconds:.2f}"
    line += f" | {peer.explained:.4f} | {peer.broken:.4f} |"
    if best is None:
        print(line, "none | | | |", flush=True)
        return peer
    seconds = statistics.median(our)
    print(
        line,
        f"{seconds:.3f} ({best.setting}) | {best.explained:.4f} | {best.broken:.4f} |",
        f"{peer.seconds / seconds:.1f} |",
        flush=True,
    )
    return peer


def _draw_speed(found: dict[str, list[Point]]) -> None:
    shown = {title: points for title, points in found.items() if "480" in title or "60,000" in title}
    figure = Figure(figsize=(3.1 * len(shown), 5.4), layout="constrained")
    axes = figure.subplots(2, len(shown), sharex="col", squeeze=False)
    colours = {"layerscope": "#dc2626", "fastersom": "#4477aa", "xpysom": "#228833"}
    for column, (title, points) in enumerate(shown.items()):
        for row, (what, label) in enumerate((("explained", "explained variance"), ("broken", "topographic error"))):
            for who, colour in colours.items():
                own = [point for point in points if point.who == who]
                axes[row, column].scatter(
                    [point.seconds for point in own],
                    [getattr(point, what) for point in own],
                    color=colour,
                    label=who,
                    s=18,
                )
            axes[row, column].set_xscale("log")
            axes[row, column].xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes[row, column].xaxis.set_major_formatter("{x:g}")
            axes[row, column].xaxis.set_minor_formatter(NullFormatter())
            axes[row, column].set_ylabel(label)
        axes[0, column].set_title(title.replace(", ", "\n", 1), fontsize=9)
        axes[1, column].set_xlabel("seconds")
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.savefig(PICTURES / "som-speed.png", dpi=110)


def exact(images: Rows) -> None:
    """The fast solver against the plain rule, same options, both judged on all rows."""
    print(
        "| data, 60,000 rows | exact, seconds | explained | topographic | fast, seconds | explained, difference by seed | topographic, difference by seed |"
    )
    print("|---|---|---|---|---|---|---|")
    for options in ({}, {"grid": "hexagonal"}, {"topology": "toroidal"}, {"grid": "hexagonal", "topology": "toroidal"}):
        print(f"| **{options.get('grid', 'rectangular')}, {options.get('topology', 'planar')}** | | | | | | |")
        for name, rows in shapes(images, 60_000).items():
            found = []
            for seed in SEEDS:
                pair = []
                for solver in ("exact", "fast"):
                    start = time.perf_counter()
                    som = SOM((20, 20), solver=solver, random_state=seed, **options).fit(rows)
                    seconds = time.perf_counter() - start
                    quality = som.quality(rows)
                    pair.append((seconds, quality.explained_variance, quality.topographic_error))
                found.append(pair)
            (plain, quick) = [statistics.median(pair[which][0] for pair in found) for which in (0, 1)]
            explained = ", ".join(f"{two[1] - one[1]:+.4f}" for one, two in found)
            broken = ", ".join(f"{two[2] - one[2]:+.4f}" for one, two in found)
            worse = any(two[1] < one[1] - EXPLAINED or two[2] > one[2] + BROKEN for one, two in found)
            print(
                f"| {name} | {plain:.2f} | {found[0][0][1]:.4f} | {found[0][0][2]:.4f} | {quick:.2f} | {explained} |",
                f"{broken}{' **worse**' if worse else ''} |",
                flush=True,
            )


class Stream:
    """Normal rows made as they are read, the same each time."""

    def __init__(self, rows: int, width: int) -> None:
        self.rows, self.width = rows, width

    def __iter__(self) -> Iterator[Rows]:
        for number, start in enumerate(range(0, self.rows, 16384)):
            rng = np.random.default_rng(number)
            block = rng.standard_normal((min(16384, self.rows - start), self.width), dtype=np.float32)
            yield block * np.float32(0.9) ** np.arange(self.width, dtype=np.float32)


def fitted(rows: Iterable[Rows] | Rows, side: int, solver: str) -> np.ndarray:
    """A map at default options."""
    return np.asarray(SOM((side, side), solver=solver).fit(rows).prototypes_)


def cost() -> None:
    """Seconds against rows, by streaming, and against units; the plain rule as far as a minute reaches."""
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    many, sides = [10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000], [10, 20, 32, 50, 71, 100]
    rows = np.concatenate(list(Stream(50_000, 64)))
    for solver, kept in (("fast", 6), ("exact", 4)):
        taken = [timed(partial(fitted, Stream(n, 64), 20, solver))[0] for n in many[:kept]]
        axes[0].loglog(many[:kept], taken, "o-", label=solver)
        print(f"{solver}, rows {many[:kept]}: {[round(one, 2) for one in taken]} s", flush=True)
        taken = [timed(partial(fitted, rows, side, solver))[0] for side in sides[:kept]]
        axes[1].loglog([side * side for side in sides[:kept]], taken, "o-", label=solver)
        print(
            f"{solver}, units {[side * side for side in sides[:kept]]}: {[round(one, 2) for one in taken]} s",
            flush=True,
        )
    axes[0].set_xlabel("rows of 64 features, streamed; 20 x 20 units")
    axes[1].set_xlabel("units; 50,000 rows of 64 features")
    for one in axes:
        one.set_ylabel("seconds")
        one.legend(frameon=False)
    figure.savefig(PICTURES / "som-cost.png", dpi=110)


class OnDisk:
    """Rows of a file of float32, read in blocks."""

    def __init__(self, path: Path, width: int) -> None:
        self.path, self.width = path, width

    def __iter__(self) -> Iterator[Rows]:
        with self.path.open("rb") as file:
            while (numbers := np.fromfile(file, np.float32, 4096 * self.width)).size:
                yield numbers.reshape(-1, self.width)


def write_images(folder: Path, path: Path, size: int) -> None:
    """Fill a file with noisy images, `size` bytes or a little more."""
    rng, written = np.random.default_rng(0), 0
    images = fashion(folder)
    with path.open("wb") as file:
        while written < size:
            block = images[rng.integers(0, len(images), 8192)]
            written += file.write(
                (block + rng.standard_normal(block.shape, dtype=np.float32) * np.float32(0.05)).tobytes()
            )


def disk(folder: Path) -> None:
    """A map of 12 GB of noisy images on disk, and the most memory that the process ever held."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "rows.f32"
        writer = get_context("spawn").Process(target=write_images, args=(folder, path, 12 * 10**9))
        writer.start()
        writer.join()
        if writer.exitcode:
            raise SystemExit(f"The rows could not be written to {place}; they take 12 GB.")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        start = time.perf_counter()
        som = SOM((20, 20)).fit(OnDisk(path, 784))
        seconds = time.perf_counter() - start
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        size = path.stat().st_size
        print(
            f"{size / 1e9:.1f} GB, {size // 784 // 4:,} rows: {seconds:.0f} s; most memory {most:.2f} GB ({before:.2f} before)"
        )
        print(f"explained variance before the last update: {som.history_[-1].explained_variance:.4f}")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("speed", "exact", "cost", "disk"))
    parser.add_argument("--images", type=Path, help="folder with the IDX files of Fashion-MNIST")
    parser.add_argument("--only", default="", help="of `speed`: data sets whose title holds this; others stay")
    given = parser.parse_args()
    if given.part == "cost":
        cost()
    elif given.images is None:
        parser.error("--images FOLDER is needed: the IDX files of Fashion-MNIST")
    elif given.part == "disk":
        disk(given.images)
    else:
        images = fashion(given.images)
        exact(images) if given.part == "exact" else speed(images, given.only)


if __name__ == "__main__":
    main()
