"""Recordings: right values, whole shards, resumed and checked."""

import json
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from layerscope import recording as recording_module
from layerscope.data import load_data
from layerscope.errors import CorruptFileError, NonFiniteError
from layerscope.layers import Layer
from layerscope.network import Network
from layerscope.recording import load_recording, record
from layerscope.reductions import parse_reduction

LAYERS = ("stem", "middle")


def recorded(module, pairs, folder, **options):
    options = {"batch_size": 32, "show_progress": False} | options
    return record(Network(module), load_data(pairs), LAYERS, folder, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@dataclass(frozen=True)
class Darken:
    """A perturbation with a telling repr."""

    factor: float

    def __call__(self, _network, batch):
        return batch.inputs * self.factor


def test_vectors_equal_those_of_a_plain_forward_pass(module, pairs, tmp_path):
    found = recorded(module, pairs, tmp_path)
    images, labels = pairs
    stem = module.stem(images)
    middle = module.middle(stem)
    plain = {"input": images, "stem": stem, "middle": middle, "logits": module(images)}
    assert [layer.name for layer in found.depth("mean")] == ["input", "stem", "middle", "logits"]
    for layer in found.layers:
        reduce = parse_reduction("flatten" if layer.name == "input" else layer.reduction)
        torch.testing.assert_close(found.vectors(layer), reduce(plain[layer.name]), atol=1e-6, rtol=1e-5)
    assert found.ids.equal(torch.arange(120))
    assert found.labels.equal(labels)
    assert found.predictions.equal(plain["logits"].argmax(1))
    torch.testing.assert_close(found.logits(), plain["logits"].detach(), atol=1e-6, rtol=1e-5)


def test_wide_inputs_are_sketched_under_mean_too(tmp_path):
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(1, 2)

        def forward(self, x):
            return self.head(x.mean((2, 3)))

    data = load_data(torch.rand(4, 1, 70, 70))
    found = record(Network(Small().eval()), data, (), tmp_path, show_progress=False)
    assert found.vectors(Layer("input", "mean")).shape == (4, 512)
    assert found.vectors(Layer("input", "mean")).equal(found.vectors(Layer("input", "sketch:512")))


def test_many_small_shards_say_the_same_as_one(module, pairs, tmp_path, monkeypatch):
    one = recorded(module, pairs, tmp_path / "one")
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    many = recorded(module, pairs, tmp_path / "many")
    assert (len(one.shards), len(many.shards)) == (1, 4)
    for layer in one.layers:
        assert one.vectors(layer).equal(many.vectors(layer))


def test_an_interrupted_recording_goes_on_and_ends_with_the_same_bytes(module, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    recorded(module, pairs, tmp_path / "whole")
    calls = []

    def interrupt(_network, batch):
        calls.append(int(batch.ids[0]))
        if batch.ids[0] == 64:
            raise KeyboardInterrupt
        return batch.inputs

    class Through:
        def __init__(self, act):
            self.act = act

        def __repr__(self):
            return "Through()"

        def __call__(self, network, batch):
            return self.act(network, batch)

    with pytest.raises(KeyboardInterrupt):
        recorded(module, pairs, tmp_path / "cut", perturb=Through(interrupt))
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [
        "shard-00000.safetensors",
        "shard-00001.safetensors",
    ]
    seen = []

    def watch(_network, batch):
        seen.append(int(batch.ids[0]))
        return batch.inputs

    recorded(module, pairs, tmp_path / "cut", perturb=Through(watch))
    assert seen == [64, 96]  # nothing recorded twice
    recorded(module, pairs, tmp_path / "uncut", perturb=Through(watch))
    assert contents(tmp_path / "cut") == contents(tmp_path / "uncut")


def test_a_finished_recording_is_found_and_not_made_again(module, pairs, tmp_path):
    recorded(module, pairs, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    recorded(module, pairs, tmp_path)
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


@pytest.mark.parametrize("change", ["weights", "data", "perturbation", "layers"])
def test_a_recording_of_something_else_is_not_taken_for_this_one(module, pairs, tmp_path, change):
    images, labels = pairs
    recorded(module, pairs, tmp_path, perturb=Darken(0.5))
    options = {"perturb": Darken(0.5)}
    layers = LAYERS
    if change == "weights":
        with torch.no_grad():
            module.head.bias += 1
    elif change == "data":
        images = images * 0.9
    elif change == "perturbation":
        options = {"perturb": Darken(0.4)}
    else:
        layers = ("stem",)
    found = record(
        Network(module), load_data((images, labels)), layers, tmp_path, batch_size=32, show_progress=False, **options
    )
    factor = options["perturb"].factor
    torch.testing.assert_close(found.logits(), module(images * factor).detach(), atol=1e-6, rtol=1e-5)
    assert [layer.name for layer in found.depth("mean")] == ["input", *layers, "logits"]


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
def test_a_damaged_byte_is_found(module, pairs, tmp_path, finished):
    whole = recorded(module, pairs, tmp_path)
    shard = tmp_path / "shard-00000.safetensors"
    content = bytearray(shard.read_bytes())
    good = bytes(content)
    content[-5] ^= 1
    shard.write_bytes(content)
    if finished:
        with pytest.raises(CorruptFileError, match=r"'.*shard-00000.safetensors' is missing or damaged; delete"):
            recorded(module, pairs, tmp_path)
    else:
        (tmp_path / "manifest.json").unlink()
        recorded(module, pairs, tmp_path)
        assert shard.read_bytes() == good
        assert len(whole) == 120


def test_the_manifest_says_what_is_there(module, pairs, tmp_path):
    recorded(module, pairs, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["layers"][1] == {"name": "stem", "reduction": "mean", "width": 4, "dtype": "float32"}
    assert {key: manifest["shards"][0][key] for key in ("file", "start", "stop")} == {
        "file": "shard-00000.safetensors",
        "start": 0,
        "stop": 120,
    }


def test_recordings_without_labels(module, pairs, tmp_path):
    assert recorded(module, pairs[0], tmp_path).labels is None


def test_a_layer_that_was_not_recorded_is_named(module, pairs, tmp_path):
    with pytest.raises(KeyError, match=r"Layer 'head\|mean' was not recorded; layers are: input\|mean, stem\|mean"):
        recorded(module, pairs, tmp_path).vectors(Layer("head", "mean"))


def test_there_may_be_no_recording(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_recording(tmp_path)


def test_inputs_outside_the_bounds_are_refused_with_their_ids(module, pairs, tmp_path):
    images = pairs[0].clone()
    images[40, 0, 0, 0] = 3
    with pytest.raises(
        ValueError,
        match=r"bounds \[0, 1\]; 1 samples of a batch \(ids 40\) have values from .* to 3\. Give the data before",
    ):
        recorded(module, images, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_activations_that_are_not_finite_are_refused_with_layer_and_samples(module, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)

    class Blows(nn.Module):
        def forward(self, x):
            return torch.where(x.mean((1, 2, 3), keepdim=True) > 0.65, torch.inf, x)

    images = pairs[0].clone()
    images[70:81] = 0.9
    module.stem = nn.Sequential(Blows(), *module.stem).eval()
    with pytest.raises(
        NonFiniteError,
        match=r"Layer 'stem' puts out NaN or infinity for 11 of 32 samples of a batch \(ids 70, 71.*77, \.\.\.\)",
    ):
        recorded(module, images, tmp_path)
    assert len(list(tmp_path.glob("shard-*"))) == 2  # what was recorded before is kept


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_that_are_no_class_of_the_network_are_refused(module, pairs, tmp_path, label):
    labels = pairs[1].clone()
    labels[7] = label
    with pytest.raises(ValueError, match="Labels must be classes of the network, 0 to 2; got labels from"):
        recorded(module, (pairs[0], labels), tmp_path)
