"""Measure networks of your own: a perceptron, and a CNN whose forward returns a dict, on scikit-learn's digits.

    python examples/own_network.py --out runs/digits

Trains both in a few seconds, then measures them. Needs scikit-learn for the data.
"""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import layerscope as ls

CLASS_NAMES = tuple(str(digit) for digit in range(10))


class ConvNet(nn.Module):
    """Two convolutions; its answer is a dict, as many libraries give it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.classify = nn.Linear(32 * 4 * 4, 10)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.conv2(self.conv1(images)).flatten(1)
        return {"features": features, "logits": self.classify(features)}


def digits() -> tuple[Tensor, Tensor]:
    """1,797 images (1, 8, 8) with pixels in [0, 1], and their labels."""
    bunch = load_digits()
    return torch.tensor(bunch.images / 16).float()[:, None], torch.tensor(bunch.target)


def train(module: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            output = module(images[rows])
            logits = output["logits"] if isinstance(output, dict) else output
            optimiser.zero_grad()
            cross_entropy(logits, labels[rows]).backward()
            optimiser.step()
    return module.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/digits"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()

    torch.manual_seed(0)
    images, labels = digits()
    perceptron = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    for name, module in (("perceptron", perceptron), ("convnet", ConvNet())):
        train(module, images[:900], labels[:900], options.epochs)
        network = ls.Network(module, bounds=(0, 1), class_names=CLASS_NAMES, name=name)
        run = ls.Study(
            options.out / name,
            network,
            (images[900:], labels[900:]),
            fit_data=(images[:900], labels[:900]),
            attack="pgd:linf=16/255",
            draws=options.draws,
        ).run()
        print(f"\n{name}: accuracy {run.results.set_index('measure').value['accuracy']:.1%}")
        print(run.profile.pivot(index=["reduction", "layer"], columns="measure", values="value").round(2).to_string())
        print(*ls.summary(run.results), f"Report: {run.folder / 'report.html'}", sep="\n")


if __name__ == "__main__":
    main()
