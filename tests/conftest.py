"""A tiny network and tiny data; a finished run of them; the bundled run."""

import copy
import functools
from types import SimpleNamespace

import pytest
import torch
from markupsafe import Markup
from matplotlib.figure import Figure
from torch import nn
from torch.nn.functional import cross_entropy

torch.set_num_threads(1)  # tiny operations are not worth a second thread, and wait long for it on a busy machine


class TinyNet(nn.Module):
    """Three groups of layers and a head, for images (1, 6, 6) of three classes."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.middle = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.middle(self.stem(x)).mean((2, 3)))


LONGEST = ("test_study", "test_demo", "test_docs")
"""Files that take minutes."""


def pytest_collection_modifyitems(items):
    """Begin with the longest files, so that no process is left alone with one of them in the end."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def tiny_data(n=120, seed=0):
    """Images whose class is which third of them is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    images = 0.3 * torch.rand(n, 1, 6, 6, generator=generator)
    for label in range(3):
        images[labels == label, :, 2 * label : 2 * label + 2] += 0.5
    return images, labels


def tiny_module():
    """The network, trained until it tells the classes apart."""
    return copy.deepcopy(_trained())


@functools.cache
def _trained():
    torch.manual_seed(0)
    module, (images, labels) = TinyNet(), tiny_data(seed=1)
    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(80):
        optimiser.zero_grad()
        cross_entropy(module(images), labels).backward()
        optimiser.step()
    module.zero_grad(set_to_none=True)
    return module.eval()


@pytest.fixture
def threads():
    """Sets the number of threads; as before afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def module():
    return tiny_module()


@pytest.fixture
def pairs():
    return tiny_data()


@pytest.fixture
def undrawn(monkeypatch):
    """Reports are written with blank figures: for tests of what a study measures, drawing takes most of the time."""
    from layerscope.report import page

    axes = Figure().add_subplot()
    alone = dict.fromkeys(("depth", "pictures"), axes.figure)
    drawn = alone | dict.fromkeys(("flow", "vulnerability", "robustness"), axes)
    blank = {name: lambda *_, one=one, **__: one for name, one in drawn.items()}
    monkeypatch.setattr(page, "figures", SimpleNamespace(**blank))
    monkeypatch.setattr(page, "svg", lambda _: Markup("<svg></svg>"))


@pytest.fixture
def drawn(undrawn, monkeypatch):
    """Takes `undrawn` back, where a module uses it: what is to be drawn is odd."""
    monkeypatch.undo()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished study of the tiny network."""
    from layerscope import Network, Study  # inside: the run-time shape checks are installed after collection starts

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    network = Network(tiny_module(), class_names=("top", "middle", "bottom"))
    return Study(folder, network, tiny_data(), grid=(3, 4), draws=50, batch_size=32, untrained=2, progress=False).run()


@pytest.fixture(scope="module")
def chromium():
    """A headless browser."""
    from browsing import browser  # inside: most tests start none

    with browser() as opened:
        yield opened
