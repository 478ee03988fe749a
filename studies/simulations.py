"""What estimators and tests do where the truth is known: bias, coverage, power, and p-values without an effect.

    python studies/simulations.py

About twenty minutes on two cores. Tables go to standard output, the figure to docs/images/bias.png.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, product
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import nn

import layerscope as ls
from layerscope.measures import geometry, information
from layerscope.som import Grid
from layerscope.stats import (
    Estimate,
    bootstrapped,
    interval,
    linear,
    rank_correlation,
    rank_sign_p,
    resample,
    resample_clusters,
    share_interval,
)
from layerscope.vulnerability import FEWEST

K, CLASSES = 144, 10
RATIOS = (1, 2, 3, 5, 10, 20, 30, 50, 100)
SETS = 500
PICTURES = Path(__file__).parents[1] / "docs" / "images"
Joint = np.ndarray


def bits(p: np.ndarray) -> float:
    """Entropy."""
    return float(stats.entropy(p.ravel(), base=2))


def truths() -> dict[str, Joint]:
    """Joint distributions of code and label, of several kinds."""
    rng = np.random.default_rng(0)
    shares = {
        "independent": np.full((K, CLASSES), 1 / CLASSES),
        "weak (Dirichlet 2)": rng.dirichlet(np.full(CLASSES, 2.0), K),
        "middling (Dirichlet 0.3)": rng.dirichlet(np.full(CLASSES, 0.3), K),
        "strong (Dirichlet 0.05)": rng.dirichlet(np.full(CLASSES, 0.05), K),
    }
    few, groups, noisy = np.zeros((K, CLASSES)), np.zeros((K, CLASSES)), np.full((K, CLASSES), 0.2 / 9)
    parts = [np.arange(0, 4), np.arange(4, 7), np.arange(7, 10)]
    for code in range(K):
        some = rng.choice(CLASSES, rng.integers(1, 4), replace=False)
        few[code, some] = rng.dirichlet(np.ones(len(some)))
        some = parts[rng.integers(3)]
        groups[code, some] = rng.dirichlet(np.full(len(some), 0.7))
        noisy[code, rng.integers(CLASSES)] = 0.8
    shares |= {"one to three classes a code": few, "classes in groups": groups, "one class at 80 %": noisy}
    use = rng.dirichlet(np.full(K, 3.0))[:, None]
    return {name: use * share for name, share in shares.items()}


def held_out() -> dict[str, Joint]:
    """Further joint distributions that the estimator was not chosen on; some are its own kinds in another size."""
    rng = np.random.default_rng(1)
    zipf = 1 / np.arange(1, CLASSES + 1)
    zipf /= zipf.sum()
    even = np.full(CLASSES, 1 / CLASSES)

    def dominated(shares: np.ndarray, dominance: float, count: int = 1, codes: int = K) -> np.ndarray:
        found = np.tile((1 - dominance) * shares, (codes, 1))
        for row in found:
            row[rng.choice(len(shares), count, replace=False, p=shares)] += dominance / count
        return found

    mixed = np.tile(even, (K, 1))
    mixed[::2] = np.eye(CLASSES)[rng.integers(CLASSES, size=(K + 1) // 2)]
    many = np.full(100, 1 / 100)
    shares = {
        "one class at 60 %": dominated(even, 0.6 - 0.4 / 9),
        "one class at 90 %": dominated(even, 0.9 - 0.1 / 9),
        "two classes at 45 %": dominated(even, 0.875, 2),
        "half pure, half uniform": mixed,
        "uneven classes, independent": np.tile(zipf, (K, 1)),
        "uneven classes, Dirichlet 3": rng.dirichlet(3 * zipf, K),
        "uneven classes, one dominant by 70 %": dominated(zipf, 0.7),
        "4 classes, Dirichlet 0.5": rng.dirichlet(np.full(4, 0.5), K),
        "100 classes, Dirichlet 0.03": rng.dirichlet(np.full(100, 0.03), K),
        "100 classes, one dominant by 80 %": dominated(many, 0.8),
        "100 codes, one class at 80 %": dominated(even, 0.8 - 0.2 / 9, codes=100),
        "400 codes, one class at 80 %": dominated(even, 0.8 - 0.2 / 9, codes=400),
        "400 codes, Dirichlet 0.3": rng.dirichlet(np.full(CLASSES, 0.3), 400),
    }
    return {name: rng.dirichlet(np.full(len(share), 3.0))[:, None] * share for name, share in shares.items()}


def told(joint: Joint) -> float:
    """I(code; label) in bits."""
    return bits(joint.sum(1)) + bits(joint.sum(0)) - bits(joint)


def bias() -> None:
    """Of I(code; label), in bits, over samples per unit, by every estimator; mean of 40 sets."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True).ravel()
    print("| truth | I, bits | plug-in | Miller-Madow | Grassberger | Chao-Shen | ours | its deviation |")
    print("|---|---|---|---|---|---|---|---|")
    for one, (name, joint) in zip(axes, truths().items(), strict=False):
        truth, found = told(joint), {ratio: off(joint, ratio) for ratio in RATIOS}
        print(_line(name, truth, found[10]), flush=True)
        for who in found[10]:
            one.plot(
                RATIOS, [found[ratio][who][0] for ratio in RATIOS], ".-", label=who, lw=2.4 if who == "ours" else 1
            )
        one.axhspan(-0.02, 0.02, color="#9ca3af", alpha=0.4, lw=0)
        one.set_title(f"{name}: {truth:.2f} bits", fontsize=9)
        one.set_xscale("log")
        one.set_ylim(-0.3, 1)
    axes[-1].set_axis_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower right", frameon=False)
    figure.supxlabel("samples per unit")
    figure.supylabel("bias of I(code; label), bits")
    figure.savefig(PICTURES / "bias.png", dpi=110)
    for name, joint in held_out().items():
        print(_line(name, told(joint), off(joint, 10)), flush=True)


def off(joint: Joint, ratio: int) -> dict[str, tuple[float, float]]:
    """By how much each estimator misses I(code; label), and its deviation: 40 sets of so many samples a code."""
    rng = np.random.default_rng(ratio)
    tables = torch.tensor(rng.multinomial(len(joint) * ratio, joint.ravel() / joint.sum(), 40)).double()
    tables = tables.reshape(-1, *joint.shape)
    values = {
        who: of(tables.sum(1)) + of(tables.sum(2)) - of(tables.flatten(1)) for who, of in information.ENTROPIES.items()
    }
    values["ours"] = information.mutual_information(tables)
    return {who: (float(v.mean()) - told(joint), float(v.std())) for who, v in values.items()}


def _line(name: str, truth: float, found: dict[str, tuple[float, float]]) -> str:
    """A row of the table."""
    line = " | ".join(f"{mean:+.3f}" for mean, _ in found.values())
    return f"| {name} | {truth:.3f} | {line} | {found['ours'][1]:.3f} |"


Drawn = tuple[str, Callable[[int], Estimate], float | None]
"""A measure's name, its estimate on the set of a seed, and its truth; none where that is the mean over all sets."""


def of_codes() -> Iterator[Drawn]:
    """Label information and code entropy."""
    for name in ("weak (Dirichlet 2)", "middling (Dirichlet 0.3)", "strong (Dirichlet 0.05)"):
        joint = truths()[name]

        def label(seed: int, joint: Joint = joint) -> Estimate:
            cells = np.random.default_rng(seed).choice(joint.size, 20 * K, p=joint.ravel() / joint.sum())
            units, labels = torch.tensor(cells // CLASSES), torch.tensor(cells % CLASSES)
            left = information.left_over(units, labels, K, CLASSES)
            whole = float(information.entropy(torch.bincount(labels).double()))
            return linear(1 - left.bits / whole, -left.influence / whole, resample(20 * K, 50, seed=seed))

        yield f"label_information, {name}, 2,880 samples", label, told(joint) / bits(joint.sum(0))
    use = np.random.default_rng(0).dirichlet(np.full(K, 2.0))

    def entropy(seed: int) -> Estimate:
        units = torch.tensor(np.random.default_rng(seed).choice(K, 2000, p=use))
        return linear(*information.code_entropy(units, K), resample(2000, 50, seed=seed))

    yield "code_entropy, 144 units, 2,000 samples", entropy, bits(use)


def of_space() -> Iterator[Drawn]:
    """Participation ratio, intrinsic dimension, gap and separation."""
    for name, scale in (
        ("0.9^i, 100 directions", 0.9 ** torch.arange(100.0)),
        ("i^-1/2, 200 directions", torch.arange(1.0, 201) ** -0.5),
    ):

        def ratio(seed: int, scale: torch.Tensor = scale) -> Estimate:
            rows = torch.randn(500, len(scale), generator=torch.Generator().manual_seed(seed)) * scale
            value, pull = geometry.participation_ratio(rows)
            return linear(value, pull, resample(500, 50, seed=seed))

        true = float(scale.square().sum() ** 2 / scale.pow(4).sum())
        yield f"participation_ratio, deviations {name}, 500 samples", ratio, true
    for width in (2, 5, 10):

        def twonn(seed: int, width: int = width) -> Estimate:
            near = geometry.neighbours(torch.rand(800, width, generator=torch.Generator().manual_seed(seed)), None, 2)
            found = geometry.dimension_twonn(near)
            error = geometry.dependent_error(found.influence, near.indices)
            return linear(*found, resample(800, 50, seed=seed), error=error)

        yield f"dimension_twonn, cube of {width} dimensions, 800 samples (its own mean)", twonn, None
    for apart in (0.5, 2.0):
        centres = torch.randn(5, 20, generator=torch.Generator().manual_seed(7)) * apart

        def both(seed: int, centres: torch.Tensor = centres) -> tuple[torch.Tensor, torch.Tensor]:
            generator = torch.Generator().manual_seed(seed)
            labels = torch.randint(5, (800,), generator=generator)
            return centres[labels] + torch.randn(800, 20, generator=generator), labels

        def gap(seed: int, both: Callable = both) -> Estimate:
            rows, labels = both(seed)
            near = geometry.neighbours(rows, labels, 3)
            return linear(*geometry.class_gap(near, rows), resample(800, 50, seed=seed))

        def separation(seed: int, both: Callable = both) -> Estimate:
            draws = resample(800, 200, seed=seed)
            rows, labels = both(seed)
            drawn = geometry.class_separation_draws(rows, labels, draws)
            return bootstrapped(geometry.class_separation(rows, labels), drawn, 800)

        yield f"class_gap, five classes {apart} deviations apart, 800 samples (its own mean)", gap, None
        yield "class_separation, the same (its own mean)", separation, None


def coverage() -> None:
    """How often 95 % intervals hold the truth."""
    print("\n| measure | truth | mean | deviation | standard error told | covers |\n|---|---|---|---|---|---|")
    for name, draw, truth in chain(of_codes(), of_space()):
        found = [draw(seed) for seed in range(SETS)]
        values = [one.value for one in found]
        print(f"| {name} | {_covered(found, float(np.mean(values)) if truth is None else truth)}", flush=True)


def nulls() -> None:
    """p-values of the telescope where nothing was learned: networks with fresh weights against five like them."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 12, generator=generator)
    found: dict[str, list[float]] = {}
    held: dict[str, list[bool]] = {}
    shuffled: dict[str, list[float]] = {}
    for number in range(200):
        labels = torch.randint(4, (300,), generator=generator)
        data = ls.load_data((centres[labels] + torch.randn(300, 12, generator=generator), labels))
        with tempfile.TemporaryDirectory() as place:
            coded = [_untrained(data, 10 * number + draw, Path(place) / str(draw)) for draw in range(6)]
            options = {"draws": 50, "seed": number, "show_progress": False}
            rows = ls.table(ls.profile(coded[0], coded[1:], permutations=1, **options))
            mixed = replace(coded[0].recording, labels=labels[torch.randperm(300, generator=generator)])
            others = ls.table(ls.profile(coded[0]._replace(recording=mixed), permutations=99, **options))
        for which, table, condition in ((found, rows, "untrained"), (shuffled, others, "shuffled")):
            some = table[table["measure"].str.endswith("_p") & (table["condition"] == condition)]
            for measure, unit, value in some[["measure", "unit", "value"]].itertuples(index=False):
                which.setdefault(f"{measure}, {unit}, {condition}", []).append(value)
        beyond = rows[rows["condition"] == "beyond untrained"]
        for measure, unit, low, high in beyond[["measure", "unit", "low", "high"]].itertuples(index=False):
            held.setdefault(f"{measure}_p, {unit}, untrained", []).append(low <= 0 <= high)
    print(
        "\n| p-value | networks | Kolmogorov-Smirnov p | below 0.05 | beyond untrained holds 0 |\n|---|---|---|---|---|"
    )
    for name, values in {**found, **shuffled}.items():
        uniform = stats.kstest(_smeared(values) if name in shuffled else values, "uniform").pvalue
        inside = f"{np.mean(held[name]):.1%}" if name in held else ""
        print(
            f"| {name} | {len(values)} | {uniform:.2f} | {np.mean(np.array(values) < 0.05):.1%} | {inside} |",
            flush=True,
        )


def _smeared(values: list[float]) -> np.ndarray:
    """Permutation p-values, which are multiples of 1/100, spread over their steps."""
    return np.array(values) - np.random.default_rng(0).random(len(values)) / 100


def _untrained(data: ls.Data, seed: int, folder: Path) -> ls.Coded:
    """A small perceptron with fresh weights, recorded, mapped and encoded."""
    torch.manual_seed(seed)
    parts = [nn.Sequential(nn.Linear(12 if k == 0 else 16, 16), nn.ReLU()) for k in range(3)]
    network = ls.Network(nn.Sequential(*parts, nn.Linear(16, 4)).eval(), bounds=(-100, 100))
    recording = ls.record(network, data, ["0", "1", "2"], folder, reductions=["flatten"], show_progress=False)
    atlas = ls.fit_atlas(recording, Grid(4, 4), show_progress=False)
    return ls.Coded(recording, atlas, ls.encode(recording, atlas))


PLANTED = {
    ("homogeneity", "as it is"): -0.36,
    ("homogeneity", "given the margin"): -0.49,
    ("homogeneity", "within classes"): -0.46,
    ("gap", "as it is"): -0.335,
    ("gap", "given the margin"): -0.34,
    ("gap", "within classes"): -0.335,
}
"""What makes each of the vulnerability test's correlations about -0.3."""


class Vulnerable(NamedTuple):
    """Samples of the vulnerability test: smallest perturbations, homogeneities or gaps, and codes."""

    sizes: torch.Tensor
    values: torch.Tensor
    codes: torch.Tensor
    options: dict[str, torch.Tensor]
    """What a correlation of a kind is given beside them."""


def vulnerable(kind: str, measure: str, rho: float, n: int, seed: int, *, alike: float, count: int) -> Vulnerable:
    """Samples whose smallest perturbation goes with a measure as strongly as `rho`, where the kind looks.

    Codes are of very different sizes (log-normal, a standard deviation of 1). Homogeneity is one number a code, and
    half of the samples lie on codes of one class alone; of a gap, 30 % of the variance is the code's. Three of a
    hundred samples are never changed. Margins push both, in part by the code; classes differ in both, and most of a
    code's samples have one class. `alike` is the share of the perturbation's variance, but for what goes with the
    measure, that is the code's; `count`, how many codes there are.
    """
    generator = torch.Generator().manual_seed(seed)
    of_code = torch.randn(4, count, generator=generator, dtype=torch.float64)
    codes = torch.multinomial(of_code[0].exp(), n, replacement=True, generator=generator)
    mine, own, margin = torch.randn(3, n, generator=generator, dtype=torch.float64)
    whole = measure == "homogeneity"
    values = of_code[1][codes] if whole else 0.3**0.5 * of_code[1][codes] + 0.7**0.5 * mine
    sizes = rho * values + (1 - rho**2) ** 0.5 * (alike**0.5 * of_code[2][codes] + (1 - alike) ** 0.5 * own)
    options: dict[str, torch.Tensor] = {}
    if kind == "given the margin":
        margin = 0.3**0.5 * of_code[3][codes] + 0.7**0.5 * margin
        sizes, values, options = sizes + margin, values - (of_code[3][codes] if whole else margin), {"given": margin}
    if kind == "within classes":
        most = torch.randint(10, (count,), generator=generator)
        strays = torch.rand(n, generator=generator) < 0.2
        labels = torch.where(strays, torch.randint(10, (n,), generator=generator), most[codes])
        shift = torch.linspace(-2, 2, 10, dtype=torch.float64)
        sizes, values, options = (
            sizes + shift[labels],
            values - shift[most[codes] if whole else labels],
            {"groups": labels},
        )
    values = values.clamp_min(values.median()) if whole else values
    return Vulnerable(
        torch.where(torch.rand(n, generator=generator) < 0.03, torch.inf, sizes.exp()), values, codes, options
    )


def vulnerability() -> None:
    """Spearman's correlations: power, p-values without an effect, and intervals."""
    print(
        "\n| correlation with | kind | codes | alike | truth | samples | p below 0.05 | intervals hold the truth |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    cases = [(0.0, 500, *one) for one in ((400, 0.3), (100, 0.0), (100, 0.1), (100, 0.3), (30, 0.1), (12, 0.1))]
    cases += [(1.0, 1000, *one) for one in ((400, 0.3), (100, 0.1), (30, 0.1), (12, 0.1))]
    for (measure, kind), (strength, n, count, alike) in product(PLANTED, cases):
        rho = strength * PLANTED[measure, kind]
        large = vulnerable(kind, measure, rho, 400_000, SETS, alike=alike, count=20_000)
        truth = (
            float(rank_correlation(large.sizes, large.values, torch.ones(1, 400_000), **large.options)) if rho else 0.0
        )
        below = held = sets = 0
        for seed in range(SETS):
            sizes, values, codes, options = vulnerable(kind, measure, rho, n, seed, alike=alike, count=count)
            value = float(rank_correlation(sizes, values, torch.ones(1, n), **options))
            if not isfinite(value) or len(codes.unique()) < FEWEST:  # no such correlation is told
                continue
            drawn = rank_correlation(sizes, values, resample_clusters(codes, 200, seed=seed), **options)
            low, high = interval(value, drawn[drawn.isfinite()])
            sets += 1
            held += low <= truth <= high
            below += rank_sign_p(sizes, values, codes, draws=199, seed=seed, **options) <= 0.05
        cells = [measure, kind, str(count), f"{alike:.0%}", f"{truth:.2f}", f"{n:,}", _share(below, sets)]
        print(f"| {' | '.join(cells)} | {_share(held, sets)} |", flush=True)


def _share(successes: int, n: int) -> str:
    least, most = share_interval(successes, n)
    return f"{successes / n:.1%} ({least:.1%} to {most:.1%})"


def _covered(found: list[Estimate], truth: float) -> str:
    """The rest of a row: the truth, what was found, and how often the intervals hold the truth."""
    values = np.array([one.value for one in found])
    low, high = np.array([one.bounds for one in found]).T
    held = int(((low <= truth) & (truth <= high)).sum())
    least, most = share_interval(held, len(found))
    error = float(((high - low) / 2).mean()) / 1.96
    return (
        f"{truth:.3f} | {values.mean():.3f} | {values.std():.4f} | {error:.4f} | "
        f"{held / len(found):.1%} ({least:.1%} to {most:.1%}) |"
    )


if __name__ == "__main__":
    bias()
    coverage()
    nulls()
    vulnerability()
