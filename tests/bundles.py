"""Small finished runs of many kinds, for the explorer to show; each is made in a few seconds."""

from unittest import mock

import torch
from conftest import TinyNet, tiny_data, tiny_module
from torch import nn

from layerscope import Network, Study, profile

CLASSES = ("top", "middle", "bottom")
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert('2')</script>",
    "\"quoted\" & 'single' ../../etc/passwd",
)
OPTIONS = {"grid": (3, 4), "draws": 50, "batch_size": 32, "untrained": 1, "reductions": ("mean",), "progress": False}


def profiled(trained, nulls, *, codebook, alone, **options):
    """The measures beside untrained and shuffled nulls alone: of twenty layers the others take twice as long again."""
    return profile(trained, nulls, **options)


def made(folder, network, data, **options):
    """A study's run, without the report, whose figures take longer to draw than all else."""
    with (
        mock.patch("layerscope.run.write_report", lambda run, **_: run.folder / "report.html"),
        mock.patch("layerscope.study.profile", profiled),
    ):
        return Study(folder, network, data, **(OPTIONS | options)).run()


def network(**options):
    return Network(tiny_module(), **({"class_names": CLASSES, "name": "TinyNet"} | options))


def plain(folder):
    """Images, labels, an attack with its noise, two reductions, and the units of two layers inverted."""
    return made(
        folder, network(), tiny_data(), reductions=("mean", "sketch:16"), attack="pgd:linf=40/255",
        decode=("middle|mean", "stem|sketch:16"),
    )  # fmt: skip


def without_attack(folder):
    return made(folder, network(), tiny_data(), attack=None)


def without_labels(folder):
    return made(folder, network(), tiny_data()[0])


class Named(TinyNet):
    """The same three groups of layers, called what nobody would call them."""

    def __init__(self):
        super().__init__()
        for name, old in zip(HOSTILE, ("stem", "middle", "head"), strict=True):
            self.add_module(name.replace(".", "·"), getattr(self, old))
            delattr(self, old)

    def forward(self, x):
        stem, middle, head = self.children()
        return head(middle(stem(x)).mean((2, 3)))


def hostile_names(folder):
    """Network, layers, classes and the folder itself have names that hold markup, quotes and parts of paths."""
    torch.manual_seed(0)
    named = Network(Named().eval(), class_names=HOSTILE, name=HOSTILE[1])
    return made(folder / "a'b\"<i>&", named, tiny_data(), layers=["*"])


class Letters(nn.Module):
    """Takes texts: how often each of eight letters comes, through two layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, texts):
        counts = torch.tensor([[float(text.count(letter)) for letter in "abcdefgh"] for text in texts])
        return self.head(self.second(self.first(counts).relu()).relu())


def texts(folder, n=90):
    """Texts of two classes, with markup in some."""
    drawn = torch.randint(4, (n, 12), generator=torch.Generator().manual_seed(0))
    said = ["".join("abcdefgh"[4 * (row % 2) + int(one)] for one in letters) for row, letters in enumerate(drawn)]
    said = [f"{HOSTILE[row % 3]} {text}" if row % 5 == 0 else text for row, text in enumerate(said)]
    return made(folder, Network(Letters().eval(), name="Letters"), (said, torch.arange(n) % 2), attack=None)


class Deep(nn.Module):
    """Twenty layers and a thousand classes."""

    def __init__(self, width=24, depth=20, classes=1000):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(depth)))
        for layer in self.layers:
            nn.init.orthogonal_(layer[0].weight, 1.2)
        self.embed, self.head = nn.Linear(48, width), nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.layers(self.embed(x.flatten(1))))


def many(folder, n=480, classes=1000):
    """Twenty layers under one reduction, a thousand classes, images in colour, an attack."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(classes, (n,), generator=generator)
    means = torch.rand(classes, 3, 4, 4, generator=generator)
    images = (means[labels] + 0.1 * torch.randn(n, 3, 4, 4, generator=generator)).clamp(0, 1)
    deep = Network(
        Deep(classes=classes).eval(), class_names=tuple(f"class {one}" for one in range(classes)), name="Deep"
    )
    return made(
        folder, deep, (images, labels), layers=["layers.?", "layers.1?"], attack="fgsm:linf=8/255", smallest=None,
        grid=(8, 8), untrained=0, batch_size=160,
    )  # fmt: skip
