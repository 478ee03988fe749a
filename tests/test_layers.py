"""Which layers are picked, by name and by `auto`."""

import pytest
import torch
import torchvision
from torch import nn

from layerscope.layers import Layer, choose_layers, layer_table, plan_layers
from layerscope.network import Network


def picked(module, inputs, wanted="auto"):
    return choose_layers(Network(module.eval()), inputs, wanted)[0]


def test_a_layer_is_written_with_its_reduction():
    layer = Layer("blocks.0", "sketch:512")
    assert str(layer) == "blocks.0|sketch:512"


def test_auto_takes_the_blocks_of_the_bundled_network():
    from layerscope import demo

    names, why = choose_layers(demo.network(), torch.rand(2, 1, 28, 28))
    assert names == ("stem", *(f"blocks.{index}" for index in range(6)))
    assert why == "auto: blocks and lone layers, in the order in which they run"


def test_auto_takes_what_each_group_of_a_plain_sequence_puts_out_last():
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)
    )
    assert picked(module, torch.rand(3, 1, 3, 3)) == ("3", "5")


@pytest.mark.parametrize(
    ("name", "first", "some", "most"),
    [
        ("resnet18", "maxpool", "layer3.1", 9),
        ("vgg11_bn", "features.3", "features.24", 10),
        ("densenet121", "features.pool0", "features.denseblock3", 8),
        ("googlenet", "conv1", "inception4a", 12),
        ("mobilenet_v3_small", "features.0", "features.6", 14),
        ("convnext_tiny", "features.0", "features.5.4", 20),
        ("vit_b_16", "conv_proj", "encoder.layers.encoder_layer_5", 14),
    ],
)
def test_auto_on_architectures_that_everybody_uses(name, first, some, most):
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    module = torchvision.models.get_model(name, weights=None, **options)
    names = picked(module, torch.rand(2, 3, 224, 224))
    assert names[0] == first
    assert some in names
    assert len(names) <= most
    assert not {"fc", "classifier", "classifier.6", "heads"} & set(names)  # the logits


def test_auto_thins_out_what_is_too_deep():
    module = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(50)), nn.Linear(4, 2))
    names = picked(module, torch.rand(2, 4))
    assert len(names) == 20
    assert (names[0], names[-1]) == ("0", "49")


def test_patterns_pick_in_the_order_in_which_layers_run(module, pairs):
    assert picked(module, pairs[0][:2], ["middle*", "stem"]) == ("stem", "middle.0", "middle.1", "middle")


def test_an_unknown_layer_names_the_closest(module, pairs):
    with pytest.raises(
        ValueError, match=r"'midle' matches no layer that runs; did you mean 'middle'.*Layers are: stem.0, "
    ):
        picked(module, pairs[0][:2], "midle")


def test_own_modules_called_input_and_logits_keep_a_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.input, self.logits = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.logits(self.input(x).relu())

    module = Named().eval()
    assert picked(module, torch.rand(2, 4), "*") == ("input#0", "logits#0")
    seen = {}
    Network(module).watch(torch.rand(2, 4), ["input#0"], lambda name, output: seen.update({name: output.tensor.shape}))
    assert seen == {"input#0": (2, 5)}


def plan(module, samples, wanted="auto", reductions=("mean", "max"), **options):
    return list(map(str, plan_layers(Network(module.eval()), samples, wanted, reductions, **options)))


PLAIN = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def test_a_plan_has_both_ends_under_every_reduction():
    assert plan(PLAIN, torch.rand(2, 4), "0") == [
        "input|mean", "0|mean", "logits|mean", "input|max", "0|max", "logits|max",
    ]  # fmt: skip
    assert plan(PLAIN, torch.rand(2, 4), "0", logits=False) == ["input|mean", "0|mean", "input|max", "0|max"]
    assert plan(PLAIN, torch.rand(2, 4), []) == ["input|mean", "logits|mean", "input|max", "logits|max"]


def test_a_reduction_after_a_bar_is_that_patterns_own():
    assert plan(PLAIN, torch.rand(2, 4), ["0", "1|tokens", "auto|positions:2"], ["mean"]) == [
        "input|mean", "0|mean", "logits|mean", "1|tokens", "1|positions:2",
    ]  # fmt: skip


def test_tokens_have_no_input_row():
    module = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    assert plan(module, torch.ones(2, 5, dtype=torch.int64), "*", ["mean"]) == ["0|mean", "1|mean"]


def test_a_plan_names_an_unknown_reduction():
    with pytest.raises(ValueError, match="The reduction 'middle' is not known"):
        plan(PLAIN, torch.rand(2, 4), "0|middle")


def test_the_table_of_layers_says_what_each_would_take():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.act, self.head = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(4, 3)

        def forward(self, x):
            return self.act(self.head(self.act(self.stem(x)).mean((2, 3))))

    table = layer_table(Network(Net().eval()), torch.rand(2, 1, 6, 6), ["mean", "flatten", "cls", "positions:3"])
    assert table["layer"].tolist() == ["stem", "act#0", "head", "act#1"]
    assert table["type"].tolist() == ["Conv2d", "ReLU", "Linear", "ReLU"]
    assert table["shape"].tolist() == [(4, 4, 4), (4, 4, 4), (3,), (3,)]
    assert table["mean width"].tolist() == [4, 4, 3, 3]
    assert table["flatten width"].tolist() == [64, 64, 3, 3]
    assert table["flatten bytes"].tolist() == [256, 256, 12, 12]
    assert table["cls width"].isna().tolist() == [True, True, False, False]
    assert table["positions:3 width"].tolist() == [12, 12, 3, 3]
    assert table["auto"].tolist() == [False, True, False, True]
