"""The networks of the study, none of them tuned: five architectures for 28 x 28 grey images, trained here.

Each has a stem, some blocks and a head, so that `auto` finds the blocks. Widths were chosen so that two epochs take
about a minute on two cores, and not otherwise.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import layerscope as ls
from layerscope.demo.model import ResidualNetwork
from layerscope.preprocessing import Normalise

MEAN, DEVIATION = 0.2860, 0.3530
EPSILON = 8 / 255
BATCH, PEAK = 128, {"residual": 0.2, "vgg": 0.1, "dense": 0.1, "transformer": 1e-3, "perceptron": 1e-3}
"""Samples a step, and the top of the one-cycle learning rate: SGD for convolutions, AdamW for the others."""
EPOCHS = {"residual": 2, "vgg": 2, "dense": 2, "transformer": 3, "perceptron": 5}


class Plain(nn.Module):
    """VGG-like (Simonyan & Zisserman 2015): 3 x 3 convolutions without shortcuts, halved twice by pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        blocks, width = [], 16
        for wider, pool in ((16, False), (32, True), (32, False), (64, True), (64, False)):
            parts = [nn.Conv2d(width, wider, 3, 1, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]
            blocks.append(nn.Sequential(*parts, *([nn.MaxPool2d(2)] if pool else [])))
            width = wider
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 28, 28) to logits."""
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Growth(nn.Module):
    """A dense block (Huang et al. 2017): each convolution sees all that came before it."""

    def __init__(self, width: int, layers: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(width + k * growth),
                nn.ReLU(),
                nn.Conv2d(width + k * growth, growth, 3, 1, 1, bias=False),
            )
            for k in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Channels are appended."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Dense(nn.Module):
    """Densely connected: three blocks of three convolutions, halved between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        blocks: list[nn.Module] = []
        width = 16
        for number in range(3):
            blocks.append(Growth(width, 3, 12))
            width += 36
            if number < 2:
                halved = nn.Conv2d(width, width // 2, 1, bias=False)
                blocks.append(nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), halved, nn.AvgPool2d(2)))
                width //= 2
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.head = nn.BatchNorm2d(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 28, 28) to logits."""
        return self.head(self.norm(self.blocks(self.stem(x))).relu().mean((2, 3)))


class Places(nn.Module):
    """What is added to each of 16 tokens, learned."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(16, 64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small normal numbers."""
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 16, 64) to the same."""
        return x + self.weight


class Transformer(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021): 16 patches of 7 x 7 pixels, six blocks 64 wide, their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 64, 7, 7)
        self.places = Places()
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(64, 4, 128, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(6))
        )
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 28, 28) to logits."""
        tokens = self.places(self.stem(x).flatten(2).transpose(1, 2))
        return self.head(self.norm(self.blocks(tokens)).mean(1))


class Perceptron(nn.Module):
    """Five hidden layers of 256."""

    def __init__(self) -> None:
        super().__init__()
        widths = [784, *[256] * 5]
        self.blocks = nn.Sequential(
            *(nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()) for a, b in pairwise(widths))
        )
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, 28, 28) to logits."""
        return self.head(self.blocks(x.flatten(1)))


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "residual": ResidualNetwork,
    "vgg": Plain,
    "dense": Dense,
    "transformer": Transformer,
    "perceptron": Perceptron,
}


def trained(
    kind: str, seed: int, images: Tensor, labels: Tensor, path: Path, *, adversarial: bool = False
) -> nn.Module:
    """A network of a kind with weights from `path`, or trained and kept there; in evaluation mode."""
    torch.manual_seed(1000 + seed)  # the untrained nulls start from other seeds
    module = ARCHITECTURES[kind]()
    if path.is_file():
        module.load_state_dict(load_file(path))
        return module.eval()
    begun = time.perf_counter()
    convolutions = kind in ("residual", "vgg", "dense")
    options = {"momentum": 0.9, "weight_decay": 5e-4, "nesterov": True} if convolutions else {"weight_decay": 0.05}
    optimiser = (torch.optim.SGD if convolutions else torch.optim.AdamW)(module.parameters(), PEAK[kind], **options)
    epochs = EPOCHS[kind] + (2 if adversarial else 0)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK[kind], total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for rows in order[: len(images) // BATCH * BATCH].split(BATCH):
            shown = images[rows]
            shown = torch.where(torch.rand(len(rows), 1, 1, 1, generator=generator) < 0.5, shown, shown.flip(3))
            if adversarial:
                shown = _attacked(module, shown, labels[rows], generator)
            module.train()
            loss = cross_entropy(module((shown - MEAN) / DEVIATION), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(module.state_dict(), path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
    print(f"{path.stem}: trained in {time.perf_counter() - begun:.0f} s", flush=True)
    return module.eval()


def _attacked(module: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Two steps of PGD at 8/255 (Madry et al. 2018) against the network as it trains."""
    module.eval()
    shown = images + EPSILON * (2 * torch.rand(images.shape, generator=generator) - 1)
    for _ in range(2):
        shown = shown.clamp(0, 1).requires_grad_(True)
        loss = cross_entropy(module((shown - MEAN) / DEVIATION), labels)
        (gradient,) = torch.autograd.grad(loss, shown)
        shown = shown.detach() + 0.75 * EPSILON * gradient.sign()
        shown = images + (shown - images).clamp(-EPSILON, EPSILON)
    return shown.clamp(0, 1)


def network(module: nn.Module, name: str) -> ls.Network:
    """With its normalisation bound in: inputs are pixels in [0, 1]."""
    return ls.Network(module, preprocess=Normalise((MEAN,), (DEVIATION,)), name=name)
