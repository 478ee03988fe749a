"""Which axis holds features is told by what a layer is made of."""

import pytest
import torch
from torch import nn

from layerscope.layouts import layout_of
from layerscope.network import Network

IMAGES, TOKENS = 1, -1


def axis(module, shape, whole=None):
    return layout_of(module, shape, whole or module).features


@pytest.mark.parametrize(
    ("module", "shape", "features"),
    [
        (nn.Conv2d(3, 8, 3), (2, 8, 5, 6), 1),
        (nn.BatchNorm2d(8), (2, 8, 5, 6), 1),
        (nn.GroupNorm(2, 8), (2, 8, 5, 6), 1),
        (nn.Conv1d(3, 8, 3), (2, 8, 6), 1),
        (nn.Sequential(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.ReLU()), (2, 8, 6), 1),
        (nn.Linear(4, 8), (2, 6, 8), -1),
        (nn.LayerNorm(8), (2, 5, 6, 8), -1),
        (nn.RMSNorm(8), (2, 6, 8), -1),
        (nn.Embedding(30, 8), (2, 6, 8), -1),
        (nn.GRU(4, 8, batch_first=True, bidirectional=True), (2, 6, 16), -1),
        (nn.Sequential(nn.Conv2d(3, 8, 2), nn.Identity()), (2, 5, 6, 8), -1),  # permuted after the convolution
        (nn.Sequential(nn.Linear(4, 8), nn.Identity()), (2, 8, 5, 6), 1),  # permuted after the linear layer
        (nn.Sequential(nn.Conv2d(8, 8, 3), nn.LayerNorm(8), nn.Linear(8, 32)), (2, 8, 5, 6), 1),  # ConvNeXt's block
        (nn.ReLU(), (2, 8, 5, 6), 1),
        (nn.ReLU(), (2, 6, 8), -1),
        (nn.ReLU(), (2, 8), -1),
        (nn.ReLU(), (2,), -1),
    ],
)
def test_parts_tell_where_features_are(module, shape, features):
    assert axis(module, shape) == features


def test_a_layer_without_widths_is_read_as_the_rest_of_the_network():
    blocks = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8), nn.Linear(8, 32), nn.GELU())
    assert axis(nn.GELU(), (2, 5, 6, 32), blocks) == -1
    assert axis(nn.GELU(), (2, 8, 5, 6), blocks) == 1


def test_sequences_that_come_first_are_turned():
    module = nn.Sequential(nn.LSTM(4, 8)).eval()
    inputs, seen = torch.randn(6, 3, 4), {}  # six steps of three samples
    Network(nn.Sequential(module[0], _Last()).eval(), bounds=(-9.0, 9.0)).watch(
        inputs, ["0"], lambda name, output: seen.update({name: output})
    )
    assert seen["0"].tensor.equal(module[0](inputs)[0].transpose(0, 1))
    assert seen["0"].features == -1


class _Last(nn.Module):
    def forward(self, found):
        return found[0][-1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.TransformerEncoderLayer(8, 2, 16),
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False),
    ],
    ids=["layer", "encoder"],
)
def test_transformers_that_take_steps_first_are_turned(make):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = make()

        def forward(self, x):
            return self.blocks(x.transpose(0, 1))[-1]

    module, inputs, seen = Net().eval(), torch.randn(3, 6, 8), {}
    Network(module, bounds=(-9.0, 9.0)).watch(inputs, ["blocks"], lambda name, output: seen.update({name: output}))
    with torch.no_grad():
        plain = module.blocks(inputs.transpose(0, 1)).transpose(0, 1)
    assert seen["blocks"].tensor.shape == (3, 6, 8)
    torch.testing.assert_close(seen["blocks"].tensor.detach(), plain)


def test_an_image_convolution_says_nothing_of_tokens_but_their_width():
    patches = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.Flatten(2), nn.Identity())
    assert axis(patches, (2, 16, 16)) == -1  # as many tokens as features


def test_what_could_be_either_is_read_by_dimensions_with_a_warning():
    class Even(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LayerNorm(8))

        def forward(self, x):
            return self.block(x).mean((2, 3))

    told = r"Layer 'block' puts out \(2, 8, 8, 8\), where features may be axis 1 or axis 3: it is read as axis 1"
    with pytest.warns(UserWarning, match=told):
        Network(Even().eval()).watch(torch.rand(2, 3, 8, 8), ["block"], lambda *_: None)


class Words(nn.Module):
    """Tokens through a layer of some kind."""

    def __init__(self, layer):
        super().__init__()
        self.embed, self.layer = nn.Embedding(9, 4), layer

    def forward(self, input_ids, attention_mask):
        return self.layer(self.embed(input_ids).transpose(1, 2))


TOKENS = {
    "input_ids": torch.tensor([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]),
}


def test_padding_is_seen_behind_channels_that_come_first():
    seen = {}
    module = Words(nn.Conv1d(4, 7, 1)).eval()
    Network(module).watch(TOKENS, ["layer"], lambda name, output: seen.update({name: output}))
    assert seen["layer"].tensor.shape == (2, 5, 7)
    assert seen["layer"].mask.equal(TOKENS["attention_mask"].bool())


def test_padding_that_cannot_be_told_is_warned_of():
    module = Words(nn.Conv1d(4, 7, 2)).eval()
    with pytest.warns(UserWarning, match=r"Layer 'layer' puts out \(2, 7, 4\), of which no axis is the 5 tokens"):
        Network(module).watch(TOKENS, ["layer"], lambda *_: None)
