"""A network that was built so that one hidden channel detects a known patch: its codes decode to that patch."""

import pytest
import torch
from torch import nn

from layerscope import Network, fit_atlas, load_data, record
from layerscope.codes import Coded, encode
from layerscope.decoding.attribution import METHODS, attribute
from layerscope.decoding.decoded import decode
from layerscope.decoding.exemplars import exemplars, receptive_field
from layerscope.decoding.fidelity import correlations, margin_drops
from layerscope.decoding.inversion import Recipe, invert
from layerscope.decoding.layer_codes import LayerCodes
from layerscope.layers import Layer
from layerscope.som import Grid

SIDE, CELLS = 4, 3
"""Of the patch, in pixels, and of the image, in patches."""
PATCH = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]])
OTHER = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
PLACES = 300


class Detector(nn.Module):
    """Channel 0 answers to the patch, channel 1 to another, channel 2 to brightness; cell by cell."""

    def __init__(self):
        super().__init__()
        self.seen = nn.Sequential(nn.Conv2d(1, 3, SIDE, stride=SIDE), nn.Softplus(25))  # a slope everywhere
        self.head = nn.Linear(3, 2)
        with torch.no_grad():
            for channel, patch in enumerate((PATCH, OTHER)):
                self.seen[0].weight[channel, 0] = (patch - patch.mean()) / 4
            self.seen[0].weight[2] = 0.2 / SIDE**2
            self.seen[0].bias.copy_(torch.tensor([-0.2, -0.2, 0.0]))

    def forward(self, x):
        return self.head(self.seen(x).mean((2, 3)))


def images(n=PLACES, seed=0):
    """Noise; in every third image the patch stands in a cell, in every third the other, in the rest none."""
    generator = torch.Generator().manual_seed(seed)
    shown = 0.3 * torch.rand(n, 1, CELLS * SIDE, CELLS * SIDE, generator=generator)
    labels = torch.arange(n) % 3
    places = torch.randint(CELLS**2, (n,), generator=generator)
    strengths = torch.rand(n, generator=generator)
    for image, label, place, strength in zip(shown, labels.tolist(), places.tolist(), strengths, strict=True):
        if label < 2:
            y, x = SIDE * (place // CELLS), SIDE * (place % CELLS)
            image[0, y : y + SIDE, x : x + SIDE] = 0.1 + (0.6 + 0.3 * float(strength)) * (PATCH, OTHER)[label]
    return shown, labels, places


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Codes of the detecting layer, cells averaged."""
    torch.manual_seed(0)
    network, (shown, _, _) = Network(Detector().eval()), images()
    data = load_data(shown)
    folder = tmp_path_factory.mktemp("planted")
    recording = record(network, data, "seen", folder, reductions=["mean"], show_progress=False)
    atlas = fit_atlas(recording, Grid(4, 4), show_progress=False)
    return LayerCodes.of(Coded(recording, atlas, encode(recording, atlas)), Layer("seen", "mean"), network, data)


def using(codes):
    """The units most of whose samples hold the patch."""
    labels = images()[1]
    shares = [float((labels[codes.best.unit == unit] == 0).float().mean()) for unit in codes.units]
    return torch.tensor([unit for unit, share in enumerate(shares) if share > 0.9])


def cells(shown):
    """(n, cells, pixels)."""
    parts = shown[:, 0].unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE)
    return parts.reshape(len(shown), CELLS**2, SIDE**2)


@pytest.mark.parametrize("start", ["grey", "noise", "exemplar"])
def test_the_codes_that_use_the_channel_decode_to_the_patch(planted, start):
    units = using(planted)
    assert len(units) >= 2
    found = invert(planted, units, Recipe(start=start, steps=120, jitter=0))  # it sees whole cells alone
    assert found.same.all()
    parts = cells(found.inputs)
    answers = planted.network.module.seen(found.inputs)[:, 0].flatten(1)
    strongest = parts[torch.arange(len(units)), answers.argmax(1)]
    assert correlations(strongest, PATCH.flatten().expand_as(strongest)).min() > 0.8
    assert correlations(strongest, OTHER.flatten().expand_as(strongest)).max() < 0.5


@pytest.mark.parametrize("method", METHODS)
def test_what_holds_an_image_in_such_a_code_is_the_patch(planted, method):
    labels, places = images()[1:]
    rows = ((labels == 0) & torch.isin(planted.best.unit, using(planted))).nonzero()[:40, 0]
    units = planted.best.unit[rows]
    black = torch.full((1, 1, CELLS * SIDE, CELLS * SIDE), 0.15)  # the noise's mean
    found = attribute(planted.coder, planted.shown(rows), units, method, baseline=black)
    mass = cells(found.parts[:, None]).abs().sum(2)
    share = mass[torch.arange(len(rows)), places[rows]] / mass.sum(1)
    assert share.mean() >= 0.8
    top, random, _ = margin_drops(planted.coder, planted.shown(rows), units, found)
    assert top.mean() > 2 * random.mean()


def test_its_exemplars_hold_it_and_the_crop_of_a_position_shows_it(tmp_path):
    torch.manual_seed(0)
    network, (shown, labels, places) = Network(Detector().eval()), images()
    data = load_data((shown, (labels == 0).long()))
    recording = record(network, data, "seen", tmp_path, reductions=["positions:9"], show_progress=False)
    atlas = fit_atlas(recording, Grid(4, 4), show_progress=False)
    layer = Layer("seen", "positions:9")
    coded = Coded(recording, atlas, encode_nothing(recording))
    found = decode(coded, layer, network=network, data=data, show_progress=False)
    codes = found.codes[layer]
    assert [one.inverted for one in found.units] == [None] * 16
    strongest = max(codes.units, key=lambda unit: float((codes.fitted.prototypes + codes.fitted.offset)[unit, 0]))
    own = exemplars(codes, strongest)
    assert all(labels[one.sample] == 0 and places[one.sample] == one.place for one in own.nearest)
    one = own.nearest[0]
    across, down = receptive_field(network, "seen", shown[one.sample : one.sample + 1], one.place)
    crop = shown[one.sample, 0, across, down]
    torch.testing.assert_close((crop - 0.1) / float(crop.max() - 0.1), PATCH)
    with pytest.raises(ValueError, match=r"`layer` 'seen\|positions:9' has several vectors per sample"):
        decode(coded, layer, network=network, data=data, recipe=Recipe(), show_progress=False)


def encode_nothing(recording):
    """Layers of several vectors per sample have no table of codes."""
    import pandas as pd

    return pd.DataFrame({"id": recording.ids.numpy()})
