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
