"""Numbers of docs/causal.md and its design note that no run holds.

    python studies/causal.py

Whole feature maps against averages in the bundled network, and how often the interval of a share of samples that come
in clusters, of one kind or of two, holds the truth. A few minutes on two cores.
"""

from itertools import product
from pathlib import Path
from statistics import NormalDist
from tempfile import TemporaryDirectory

import numpy as np
import torch

import layerscope as ls
from layerscope.results import select
from layerscope.som import Grid
from layerscope.stats import clustered_mean_interval, clustered_share_interval, resample_clusters, widest

LAYERS = ("stem", "blocks.1", "blocks.3", "blocks.4", "blocks.5")


def whole_maps() -> None:
    """Target and control rates under `mean` and `flatten`: 1,000 images, maps of 9 x 9 on 2,000 others, 200 moved."""
    network = ls.load_network("py:layerscope.demo:network")
    fit_data = ls.load_data("py:layerscope.demo:fit_data", limit=2000)
    data = ls.load_data("py:layerscope.demo:test_data", limit=1000)
    reductions = ("mean", "flatten")
    with TemporaryDirectory() as folder:
        fitted = ls.record(network, fit_data, LAYERS, Path(folder) / "fit", reductions=reductions)
        clean = ls.record(network, data, LAYERS, Path(folder) / "clean", reductions=reductions)
        found = ls.causal_test(network, data, clean, ls.fit_atlas(fitted, Grid(9, 9)), limit=200, doses=(1,)).results
    for reduction in reductions:
        for layer in LAYERS:
            rows = select(found, reduction=reduction, layer=layer, unit="share")
            told = (f"{row['condition']} {row['value']:.2f} ({row['low']:.2f}-{row['high']:.2f})"
                    for row in rows.to_dict("records"))  # fmt: skip
            print(f"{reduction} {layer}: {', '.join(told)}")


def coverage_of_two(draws: int = 400) -> None:
    """How often three intervals hold a share: by codes moved from, by codes moved to, and the wider of the two.

    300 samples in codes of both kinds. The outcome is whether a normal number is below the share's quantile, and its
    variance is set by the codes moved from, by those moved to, by both alike, or by both and each sample's own part.
    """
    generator = np.random.default_rng(0)
    parts = {"from": (1, 0), "to": (0, 1), "both": (1 / 2, 1 / 2), "both and samples": (1 / 3, 1 / 3)}
    for counts in ((60, 10), (125, 10), (20, 10), (20, 20)):
        for share, (how, shares) in product((0.05, 0.3, 0.7, 0.95), parts.items()):
            held = np.zeros(3)
            for _ in range(draws):
                clusters = [generator.integers(many, size=300) for many in counts]
                score = max(0.0, 1 - sum(shares)) ** 0.5 * generator.normal(size=300)
                for many, which, part in zip(counts, clusters, shares, strict=True):
                    score += part**0.5 * generator.normal(size=many)[which]
                counted = torch.tensor(score < NormalDist().inv_cdf(share))
                bounds = [clustered_share_interval(counted, torch.tensor(which)) for which in clusters]
                held += [low <= share <= high for low, high in (*bounds, widest(bounds))]
            one, other, wider = held / draws
            where = f"{counts[0]} codes moved from, {counts[1]} moved to, share {share}, set by {how}"
            print(f"{where}: {one:.3f}, {other:.3f}, wider {wider:.3f}")


def coverage_of_means(draws: int = 400) -> None:
    """The same of a mean's intervals: normal samples, a part of whose variance is set by codes moved from and to."""
    generator = np.random.default_rng(0)
    parts = {
        "from": (1 / 2, 0),
        "to": (0, 1 / 2),
        "both": (1 / 4, 1 / 4),
        "to alone": (0, 1),
        "both alone": (1 / 2, 1 / 2),
    }
    for counts, (how, shares) in product(((60, 10), (20, 20)), parts.items()):
        held = np.zeros(3)
        for seed in range(draws):
            clusters = [torch.from_numpy(generator.integers(many, size=300)) for many in counts]
            values = torch.from_numpy(max(0.0, 1 - sum(shares)) ** 0.5 * generator.normal(size=300))
            for many, which, part in zip(counts, clusters, shares, strict=True):
                values += part**0.5 * torch.from_numpy(generator.normal(size=many))[which]
            bounds = [
                clustered_mean_interval(values, resample_clusters(which, 200, seed=seed), which) for which in clusters
            ]
            held += [low <= 0 <= high for low, high in (*bounds, widest(bounds))]
        one, other, wider = held / draws
        print(f"mean, {counts[0]} from, {counts[1]} to, set by {how}: {one:.3f}, {other:.3f}, wider {wider:.3f}")


def coverage(draws: int = 400) -> None:
    """How often the interval holds a share, by clusters, samples, the share, and the part of its variance shared."""
    generator = np.random.default_rng(0)
    for groups, n in ((20, 100), (60, 300), (125, 300), (300, 300)):
        for share in (0.01, 0.05, 0.3, 0.7):
            for alike in (0.0, 0.3, 1.0):
                held = 0
                for _ in range(draws):
                    clusters = generator.integers(groups, size=n)
                    own = np.full(groups, share)
                    if alike == 1:
                        own = (generator.random(groups) < share).astype(float)
                    elif alike > 0:
                        left = (1 - alike) / alike
                        own = generator.beta(share * left, (1 - share) * left, groups)
                    counted = generator.random(n) < own[clusters]
                    low, high = clustered_share_interval(torch.tensor(counted), torch.tensor(clusters))
                    held += low <= share <= high
                print(f"{groups} clusters, {n} samples, share {share}, {alike} shared: {held / draws:.3f}")


if __name__ == "__main__":
    coverage()
    coverage_of_two()
    coverage_of_means()
    whole_maps()
