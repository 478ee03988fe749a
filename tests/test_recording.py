"""Recordings: right values, whole shards, resumed and checked."""

import json
import os
import re
import resource
import shutil
import signal
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from forks import ended, in_a_fork
from torch import nn

from layerscope import recording as recording_module
from layerscope.data import Data
from layerscope.errors import CorruptFileError, FolderInUseError, NonFiniteError, RunMismatchError, StorageError
from layerscope.estimate import Estimate
from layerscope.images import pictures
from layerscope.layers import Layer
from layerscope.layouts import Output
from layerscope.network import Network
from layerscope.recording import load_recording, record
from layerscope.reductions import parse_reduction
from layerscope.sources import load_data
from layerscope.store import load_table, load_tensors

LAYERS = ("stem", "middle")


def recorded(module, pairs, folder, **options):
    options = {"batch_size": 32, "show_progress": False} | options
    return record(Network(module), load_data(pairs), LAYERS, folder, **options)


def contents(folder):
    """Everything but the lock, which is nobody's result."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}


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
        told = Output(plain[layer.name], 1)
        torch.testing.assert_close(found.vectors(layer), reduce(told), atol=1e-6, rtol=1e-5)
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


def test_how_far_each_sample_was_changed_is_kept_in_both_norms(module, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    images, _ = pairs
    found = recorded(module, pairs, tmp_path / "dark", perturb=Darken(0.25))
    change = ((0.25 * images).double() - images.double()).flatten(1)
    assert len(found.shards) == 4
    expected = {"linf": change.abs().amax(1), "l2": change.square().sum(1).sqrt()}
    assert list(found.sizes) == ["linf", "l2"]
    for norm, sizes in expected.items():
        torch.testing.assert_close(found.sizes[norm], sizes, atol=1e-12, rtol=1e-9)
        assert load_table(tmp_path / "dark" / "samples.parquet")[norm].tolist() == found.sizes[norm].tolist()
    clean = recorded(module, pairs, tmp_path / "clean")
    assert clean.sizes == {}
    assert not {"linf", "l2"} & set(load_table(tmp_path / "clean" / "samples.parquet").columns)


def test_how_far_samples_of_several_tensors_were_changed_is_not_told(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, one, other):
            return self.head(one + other)

    data = load_data(((torch.rand(8, 3), torch.rand(8, 3)), torch.arange(8) % 2))
    found = record(
        Network(Two().eval()), data, ["head"], tmp_path, perturb=lambda _network, batch: batch.inputs[::-1],
        condition="turned", show_progress=False,
    )  # fmt: skip
    assert found.sizes == {}


def test_pictures_are_the_inputs_that_the_network_got_as_bytes(module, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    images, _ = pairs
    for name, options, given in (
        ("clean", {}, images),
        ("dark", {"perturb": Darken(0.37), "condition": "dark"}, images * 0.37),
    ):
        found = recorded(module, pairs, tmp_path / name, pictures=6, **options)
        assert len(found.shards) == 4
        assert found.pictures().dtype == torch.uint8
        assert found.pictures().equal((255 * given).round().to(torch.uint8))
        assert load_recording(tmp_path / name).pictures().equal(found.pictures())
        for rows in ([70, 3, 3, 119], [5], []):
            assert found.pictures(np.array(rows, dtype=np.int64)).equal(found.pictures()[rows])
        assert found.vectors("stem|mean").equal(
            recorded(module, pairs, tmp_path / f"{name}-not", **options).vectors("stem|mean")
        )
    assert recorded(module, pairs, tmp_path / "clean-not").pictures() is None
    assert recorded(module, pairs, tmp_path / "clean-not").pictures(np.array([0])) is None


def test_pictures_of_some_samples_read_their_own_shards_alone(module, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    found = recorded(module, pairs, tmp_path / "clean", pictures=6)
    expected = found.pictures()
    last = found.folder / found.shards[-1]
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)
    again = load_recording(found.folder)
    assert again.pictures(np.array([40, 2])).equal(expected[[40, 2]])
    for rows in (np.array([2, 119]), None):
        with pytest.raises(CorruptFileError, match=re.escape(last.name)):
            again.pictures(rows)
    for row in (-1, 120):
        with pytest.raises(IndexError, match=f"`rows` must lie from 0 to 119; got {min(row, 3)} to {max(row, 3)}"):
            load_recording(found.folder).pictures(np.array([3, row]))


@pytest.mark.parametrize(
    ("shape", "longest", "size"),
    [
        ((1, 6, 6), 4, (4, 4)),
        ((3, 7, 12), 5, (3, 5)),
        ((3, 12, 7), 5, (5, 3)),
        ((1, 40, 2), 4, (4, 1)),
        ((3, 5, 4), 9, (5, 4)),
    ],
)
def test_larger_images_are_averaged_over_areas_and_smaller_ones_stay(shape, longest, size):
    low, high = -2.0, 3.0
    images = low + (high - low) * torch.rand(5, *shape, generator=torch.Generator().manual_seed(1))
    found = pictures(images, (low, high), longest)
    assert found.shape == (5, shape[0], *size)
    for image, shown in zip(images.double(), found, strict=True):
        for row in range(size[0]):
            top, bottom = row * shape[1] // size[0], -(-(row + 1) * shape[1] // size[0])
            for column in range(size[1]):
                left, right = column * shape[2] // size[1], -(-(column + 1) * shape[2] // size[1])
                mean = image[:, top:bottom, left:right].mean((1, 2))
                told = 255 * (mean - low) / (high - low)
                assert (told - shown[:, row, column]).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    ("samples", "bounds"),
    [
        (torch.rand(4, 2, 6, 6), (0.0, 1.0)),
        (torch.rand(4, 6, 6), (0.0, 1.0)),
        (torch.rand(4, 1, 6, 6), (-torch.inf, torch.inf)),
        (torch.ones(4, 1, 6, 6, dtype=torch.int64), (0.0, 1.0)),
        (["a", "b"], (0.0, 1.0)),
        ({"pixels": torch.rand(4, 1, 6, 6)}, (0.0, 1.0)),
    ],
    ids=["two channels", "no channels", "no bounds", "whole numbers", "texts", "named"],
)
def test_what_is_no_image_has_no_picture(samples, bounds):
    assert pictures(samples, bounds, 6) is None


def test_texts_are_kept_where_they_are_to_be_shown(tmp_path):
    class Lengths(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(1, 2)

        def forward(self, texts):
            return self.head(torch.tensor([[float(len(text))] for text in texts]))

    texts = ["<b>bold</b>", "x" * 2500, "", "zwölf"]
    network = Network(Lengths().eval(), bounds=(-torch.inf, torch.inf))
    kept, other = (
        record(network, load_data(texts), ["head"], tmp_path / str(longest), pictures=longest, batch_size=3,
               show_progress=False)
        for longest in (64, 0)
    )  # fmt: skip
    assert kept.texts == ("<b>bold</b>", "x" * 2000, "", "zwölf")
    assert kept.pictures() is None
    assert other.texts is None
    assert "text" not in load_table(tmp_path / "0" / "samples.parquet")


def test_an_interrupted_recording_goes_on_and_ends_with_the_same_bytes(module, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    recorded(module, pairs, tmp_path / "uncut", perturb=Darken(0.5), pictures=4)
    written = recording_module.save_tensors

    def interrupt(path, tensors, header):
        if "00002" in path.name:
            raise KeyboardInterrupt
        written(path, tensors, header)

    monkeypatch.setattr(recording_module, "save_tensors", interrupt)
    with pytest.raises(KeyboardInterrupt):
        recorded(module, pairs, tmp_path / "cut", perturb=Darken(0.5), pictures=4)
    monkeypatch.setattr(recording_module, "save_tensors", written)
    assert list(contents(tmp_path / "cut")) == ["shard-00000.safetensors", "shard-00001.safetensors"]
    seen = []
    act = Darken.__call__

    def watch(self, network, batch):
        seen.append(int(batch.ids[0]))
        return act(self, network, batch)

    same = recording_module.callable_text(Darken(0.5))  # watching must not make it another perturbation
    monkeypatch.setattr(recording_module, "callable_text", lambda _: same)
    monkeypatch.setattr(Darken, "__call__", watch)
    recorded(module, pairs, tmp_path / "cut", perturb=Darken(0.5), pictures=4)
    assert seen == [64, 96]  # nothing recorded twice
    assert contents(tmp_path / "cut") == contents(tmp_path / "uncut")


def test_a_finished_recording_is_found_and_not_made_again(module, pairs, tmp_path):
    recorded(module, pairs, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    recorded(module, pairs, tmp_path)
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
@pytest.mark.parametrize("change", ["network", "data", "perturbation", "layers", "batch_size", "dtype", "pictures"])
def test_a_recording_of_something_else_is_left_alone(module, pairs, tmp_path, change, finished):
    images, labels = pairs
    recorded(module, pairs, tmp_path, perturb=Darken(0.5))
    if not finished:
        (tmp_path / "manifest.json").unlink()
        (tmp_path / "samples.parquet").unlink()
    before = contents(tmp_path)
    options, layers = {"perturb": Darken(0.5), "batch_size": 32, "show_progress": False}, LAYERS
    if change == "network":
        with torch.no_grad():
            module.head.bias += 1
    elif change == "data":
        images = images * 0.9
    elif change == "perturbation":
        options["perturb"] = Darken(0.4)
    elif change == "layers":
        layers = ("stem",)
    else:
        options[change] = {"batch_size": 16, "dtype": "float16", "pictures": 6}[change]
    network, data = Network(module), load_data((images, labels))
    with pytest.raises(RunMismatchError, match=rf"holds a recording made with another {change}; choose another folder"):
        record(network, data, layers, tmp_path, **options)
    assert contents(tmp_path) == before
    found = record(network, data, layers, tmp_path, overwrite=True, **options)
    factor = options["perturb"].factor
    torch.testing.assert_close(found.logits(), module(images * factor).detach(), atol=1e-6, rtol=1e-5)
    assert [layer.name for layer in found.depth("mean")] == ["input", *layers, "logits"]


def test_any_damaged_byte_of_a_finished_shard_is_found_when_it_is_read(module, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    recorded(module, pairs, tmp_path)
    shard = tmp_path / "shard-00002.safetensors"
    good = shard.read_bytes()
    places = torch.randint(len(good), (150,), generator=torch.Generator().manual_seed(0)).tolist()
    for place in (0, 5, 20, len(good) - 1, *places):
        content = bytearray(good)
        content[place] ^= 1 << place % 8
        shard.write_bytes(content)
        with pytest.raises(CorruptFileError, match=r"'.*shard-00002.safetensors' is (missing or damaged|damaged)"):
            read_all(load_recording(tmp_path))
    shard.write_bytes(good)
    read_all(load_recording(tmp_path))
    shard.unlink()
    with pytest.raises(CorruptFileError, match=r"'.*shard-00002.safetensors' is missing or damaged; delete"):
        load_recording(tmp_path)


def read_all(found):
    """Every tensor of every shard."""
    found.logits()
    for name in ("ids", "labels"):
        list(found._blocks(name))
    for layer in found.layers:
        found.vectors(layer)


def test_a_damaged_byte_of_an_unfinished_shard_is_found_and_the_shard_made_again(module, pairs, tmp_path):
    whole = recorded(module, pairs, tmp_path)
    shard = tmp_path / "shard-00000.safetensors"
    good = shard.read_bytes()
    content = bytearray(good)
    content[-5] ^= 1
    shard.write_bytes(content)
    (tmp_path / "manifest.json").unlink()
    recorded(module, pairs, tmp_path)
    assert shard.read_bytes() == good
    assert len(whole) == 120


def test_shards_that_say_nothing_are_left_alone(module, pairs, tmp_path):
    (tmp_path / "shard-00000.safetensors").write_bytes(b"somebody's")
    with pytest.raises(RunMismatchError, match="holds shards that can't be read; choose another folder, or delete it"):
        recorded(module, pairs, tmp_path)
    assert (tmp_path / "shard-00000.safetensors").read_bytes() == b"somebody's"
    assert len(recorded(module, pairs, tmp_path, overwrite=True)) == 120


def test_a_damaged_table_of_samples_is_found(module, pairs, tmp_path):
    recorded(module, pairs, tmp_path)
    table = tmp_path / "samples.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"'.*samples.parquet' is missing or damaged; delete"):
        load_recording(tmp_path)


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
    assert contents(tmp_path) == {}


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
        match=r"Layer 'stem' puts out NaN or infinity for 11 of 32 samples of a batch \(ids 70, 71.*74, \.\.\.\)",
    ):
        recorded(module, images, tmp_path)
    assert len(list(tmp_path.glob("shard-*"))) == 2  # what was recorded before is kept


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_that_are_no_class_of_the_network_are_refused(module, pairs, tmp_path, label):
    labels = pairs[1].clone()
    labels[7] = label
    with pytest.raises(ValueError, match="Labels must be classes of the network, 0 to 2; got labels from"):
        recorded(module, (pairs[0], labels), tmp_path)


class TokenNet(nn.Module):
    """Reads the tokens that are no padding; puts out a mapping."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(20, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, input_ids, attention_mask):
        hidden = self.mix(self.embed(input_ids))
        weight = attention_mask[..., None].float()
        return {"logits": self.head((hidden * weight).sum(1) / weight.sum(1))}


def token_data(padding=0, n=12, width=7):
    """Token ids and masks, of several lengths; what stands in the padding says nothing."""
    lengths = torch.arange(n) % width + 1
    mask = (torch.arange(width) < lengths[:, None]).long()
    ids = torch.randint(1, 20, (n, width), generator=torch.Generator().manual_seed(0))
    return {"input_ids": torch.where(mask.bool(), ids, padding), "attention_mask": mask}


@dataclass(frozen=True)
class Given:
    """Data of mappings, one sample a row."""

    tensors: dict

    @property
    def data(self):
        n = len(self.tensors["input_ids"])

        def read(rows):
            return {name: tensor[list(rows)] for name, tensor in self.tensors.items()}, None

        return Data("tokens", np.arange(n), read, (), repr(self.tensors))


ALL = ("mean", "max", "cls", "last", "flatten", "sketch:8", "tokens", "positions:3")


def test_tokens_are_recorded_under_every_reduction_whatever_the_padding_says(tmp_path):
    torch.manual_seed(0)
    network = Network(TokenNet().eval())
    first, other = (
        record(network, Given(token_data(padding)).data, ["mix"], tmp_path / str(padding), reductions=ALL, batch_size=5)
        for padding in (0, 19)
    )
    assert [str(layer) for layer in first.layers[:4]] == ["mix|mean", "logits|mean", "mix|max", "logits|max"]
    assert [str(layer) for layer in first.layers[-2:]] == ["mix|tokens", "mix|positions:3"]
    for layer in first.layers:
        assert first.vectors(layer).equal(other.vectors(layer))
    tokens, plain = first.layers[-2], network.module.mix(network.module.embed(token_data()["input_ids"]))
    mask = token_data()["attention_mask"].bool()
    torch.testing.assert_close(first.vectors(tokens), plain[mask])
    assert first.parents(tokens).equal(mask.nonzero()[:, 0])
    assert first.places(tokens).equal(mask.nonzero()[:, 1])
    some = first.layers[-1]
    assert first.parents(some).bincount().tolist() == [min(3, int(one)) for one in mask.sum(1)]
    torch.testing.assert_close(first.vectors(some), plain[first.parents(some), first.places(some)])
    mean = Layer("mix", "mean")
    assert first.parents(mean).equal(first.ids)
    assert first.places(mean).equal(torch.zeros(12, dtype=torch.int64))


def test_a_sample_without_tokens_is_named(tmp_path):
    tensors = token_data()
    tensors["attention_mask"][7] = 0
    with pytest.raises(ValueError, match="the attention mask of ids 7 is all 0; leave them out"):
        record(Network(TokenNet().eval()), Given(tensors).data, ["mix"], tmp_path)


def test_inputs_of_several_lengths_are_refused_where_that_matters(tmp_path):
    class Growing(Data):
        def take(self, ids):
            batch = super().take(ids)
            width = 7 if max(ids) < 8 else 5
            return batch._replace(inputs={name: tensor[:, :width] for name, tensor in batch.inputs.items()})

    tensors = token_data()
    data = Growing(**vars(Given(tensors).data))
    tensors["attention_mask"][8:, 5:] = 0
    network = Network(TokenNet().eval())
    record(network, data, ["mix"], tmp_path / "mean", reductions=["mean"], batch_size=4, show_progress=False)
    for reduction in ("flatten", "sketch:8"):  # a sketch is as wide as before, and another projection
        with pytest.raises(
            ValueError, match=r"put out 42 numbers a sample before and 30 for ids 8, 9, 10, 11: the inputs"
        ):
            record(network, data, ["mix"], tmp_path / reduction, reductions=[reduction], batch_size=4)


def test_a_reduction_after_a_bar_is_that_layers_own(module, pairs, tmp_path):
    found = record(
        Network(module),
        load_data(pairs),
        ["stem", "middle*|positions:2", "m*dle|max"],
        tmp_path,
        reductions=["mean"],
        show_progress=False,
    )
    assert list(map(str, found.layers)) == [
        "input|mean", "stem|mean", "logits|mean",
        "middle.0|positions:2", "middle.1|positions:2", "middle|positions:2",
        "input|max", "middle|max", "logits|max",
    ]  # fmt: skip


def test_a_network_without_logits_is_recorded_without_predictions(module, pairs, tmp_path):
    body = nn.Sequential(module.stem, module.middle).eval()
    found = record(Network(body), load_data(pairs), ["0", "1"], tmp_path, reductions=["mean"], show_progress=False)
    assert found.predictions is None
    assert [layer.name for layer in found.layers] == ["input", "0", "1"]
    assert found.labels.equal(pairs[1])
    with pytest.raises(KeyError, match="Logits were not recorded"):
        found.logits()
    assert load_table(tmp_path / "samples.parquet")["prediction"].isna().all()


def test_without_logits_a_pass_ends_with_the_last_wanted_layer(module, pairs, tmp_path):
    network = Network(module)
    plan = record(network, load_data(pairs), ["stem"], tmp_path / "all", reductions=["mean"], show_progress=False)
    seen = []
    module.head.register_forward_hook(lambda *_: seen.append(1))
    found = record(
        network, load_data(pairs), ["stem"], tmp_path / "some", reductions=["mean"], logits=False, show_progress=False
    )
    assert len(seen) == 1  # the one pass that tells what runs
    assert found.predictions is None
    assert [layer.name for layer in found.layers] == ["input", "stem"]
    assert found.vectors(found.layers[1]).equal(plan.vectors(plan.layers[1]))


@pytest.mark.parametrize(("dtype", "precision"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_half_the_bytes_hold_nearly_the_same(module, pairs, tmp_path, dtype, precision):
    whole = recorded(module, pairs, tmp_path / "whole")
    half = recorded(module, pairs, tmp_path / "half", dtype=dtype)
    for layer in whole.layers:
        one, other = whole.vectors(layer), half.vectors(layer)
        assert other.dtype == torch.float32
        assert ((one - other).abs() <= precision * one.abs() + 1e-7).all()
    assert half.logits().equal(whole.logits())  # predictions don't change
    sizes = [(folder / "shard-00000.safetensors").stat().st_size for folder in (tmp_path / "half", tmp_path / "whole")]
    assert sizes[0] < 0.7 * sizes[1]


def test_numbers_that_float16_does_not_hold_are_told(module, pairs, tmp_path):
    with torch.no_grad():
        module.stem[0].weight *= 1e6
    with pytest.raises(
        NonFiniteError, match=r"Layer 'stem' puts out numbers up to .*, more than float16 holds \(65,504\)"
    ):
        recorded(module, pairs, tmp_path, dtype="float16")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dtype": "int8"}, "`dtype` must be one of float32, float16, bfloat16; got 'int8'"),
        ({"batch_size": 0}, "`batch_size` must be a whole number, at least 1; got 0"),
        ({"pictures": -1}, "`pictures` must be a whole number of pixels, or 0 for none; got -1"),
        ({"pictures": True}, "`pictures` must be a whole number of pixels, or 0 for none; got True"),
    ],
)
def test_options_out_of_range_are_refused(module, pairs, tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        recorded(module, pairs, tmp_path, **options)


def test_a_network_that_fails_says_at_which_samples_and_keeps_no_hook(module, pairs, tmp_path):
    class Fails(nn.Module):
        def forward(self, x):
            if bool((x > 0.99).any()) and len(x) > 2:
                raise RuntimeError("out of order")
            return x

    images = pairs[0].clone()
    images[65] = 0.995
    module.stem = nn.Sequential(Fails(), *module.stem).eval()
    with pytest.raises(RuntimeError, match="out of order") as failed:
        recorded(module, images, tmp_path)
    assert failed.value.__notes__ == ["This was while recording the samples with ids 64, 65, 66, 67, 68, ...."]
    assert all(not part._forward_hooks for part in module.modules())


def test_before_long_work_it_is_said_what_it_will_take(module, pairs, tmp_path, capfd):
    recorded(module, pairs, tmp_path, show_progress=True)
    said = capfd.readouterr().err
    assert re.search(
        r"clean: 120 samples x 8 layers: 218\.4 kB \(most of it, 103\.7 kB, middle\|sketch:512\), about \d+ s", said
    )
    assert re.search(r"recording clean .*120/120", said)
    assert "samples/s" in said


@pytest.mark.parametrize(
    ("rows", "seconds", "told"),
    [
        (10, 5.0, "10 samples x 1 layers: 800 bytes (most of it, 800 bytes, a|mean), about 5 s"),
        (10**6, 600.0, "1,000,000 samples x 1 layers: 80.0 MB (most of it, 80.0 MB, a|mean), about 10 min"),
        (10**9, 9000.0, "1,000,000,000 samples x 1 layers: 80.0 GB (most of it, 80.0 GB, a|mean), about 2.5 h"),
    ],
)
def test_an_estimate_is_read_at_a_glance(rows, seconds, told):
    assert str(Estimate(rows, {"a|mean": 80 * rows}, seconds)) == told


def test_a_disk_without_room_is_told_before_anything_is_written(module, pairs, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=2**24 + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    with pytest.raises(
        StorageError, match=r"still needs 218\.4 kB and '.*' has 16\.8 MB free; nothing more was written\. Choose"
    ):
        recorded(module, pairs, tmp_path)
    assert contents(tmp_path) == {}


def test_a_disk_that_fills_up_ends_with_a_clear_error_and_goes_on_later(module, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    recorded(module, pairs, tmp_path / "whole")
    size = (tmp_path / "whole" / "shard-00000.safetensors").stat().st_size
    told = tmp_path / "told"

    def act():
        written = recording_module.save_tensors

        def fill(path, tensors, header):
            if "00002" in path.name:  # no file may grow beyond half a shard from here on
                resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))
            written(path, tensors, header)

        recording_module.save_tensors = fill
        try:
            recorded(module, pairs, tmp_path / "cut")
        except StorageError as error:
            told.write_text(str(error))

    assert ended(in_a_fork(act)) == 0
    assert re.search(r"Can't write '.*shard-00002.safetensors': .*File too large.* free some space", told.read_text())
    assert list(contents(tmp_path / "cut")) == ["shard-00000.safetensors", "shard-00001.safetensors"]
    recorded(module, pairs, tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_second_process_is_refused_while_the_first_lives_and_not_after(module, pairs, tmp_path):
    begun = tmp_path / "begun"

    @dataclass(frozen=True)
    class Wait:
        def __call__(self, _network, batch):
            if batch.ids[0] >= 64:
                begun.touch()
                time.sleep(60)
            return batch.inputs

    child = in_a_fork(lambda: recorded(module, pairs, tmp_path / "run", perturb=Wait()))
    while not begun.exists():
        time.sleep(0.01)
    with pytest.raises(FolderInUseError, match=r"Another process is writing to '.*run'; wait until it has ended"):
        recorded(module, pairs, tmp_path / "run")
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    recorded(module, pairs, tmp_path / "run")


def test_runs_killed_at_random_moments_end_with_the_same_bytes(module, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    options = {"batch_size": 8, "pictures": 6}
    recorded(module, pairs, tmp_path / "whole", **options)
    begun = time.perf_counter()
    recorded(module, pairs, tmp_path / "timed", **options)
    whole = time.perf_counter() - begun
    moments = torch.rand(50, generator=torch.Generator().manual_seed(0)) * whole
    killed = 0
    for number, moment in enumerate(moments.tolist()):
        folder = tmp_path / f"cut-{number % 10}"  # five kills each
        child = in_a_fork(lambda folder=folder: recorded(module, pairs, folder, **options))
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        killed += ended(child) == -signal.SIGKILL
    assert killed > 25
    for number in range(10):
        found = recorded(module, pairs, tmp_path / f"cut-{number}", **options)
        assert contents(tmp_path / f"cut-{number}") == contents(tmp_path / "whole")
        assert found.ids.equal(torch.arange(120))


@dataclass(frozen=True)
class Beyond:
    """Leaves the bounds for one sample."""

    def __call__(self, _network, batch):
        return torch.where(batch.ids[:, None, None, None] == 40, batch.inputs + 3, batch.inputs)


def test_perturbed_inputs_are_checked_as_clean_ones_are(module, pairs, tmp_path):
    with pytest.raises(ValueError, match=r"bounds \[0, 1\]; 1 samples of a batch \(ids 40\) have values"):
        recorded(module, pairs, tmp_path, perturb=Beyond())


def test_perturbations_without_a_name_are_told_apart_by_what_they_do(module, pairs, tmp_path):
    def darker(by):
        return lambda _network, batch: batch.inputs * by

    recorded(module, pairs, tmp_path, perturb=darker(0.5))
    recorded(module, pairs, tmp_path, perturb=darker(0.5))
    with pytest.raises(RunMismatchError, match="made with another perturbation"):
        recorded(module, pairs, tmp_path, perturb=darker(0.4))


class Around(nn.Module):
    """A layer that does something odd, and the network that survives it."""

    def __init__(self, module, act):
        super().__init__()
        self.inner, self.odd = module, Acting(act)

    def forward(self, x):
        self.odd(x)
        return self.inner(x)


class Acting(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.act = act

    def forward(self, x):
        return self.act(x)


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda x: torch.complex(x, x), "Layer 'odd' puts out complex numbers"),
        (lambda x: x[:2], "Layer 'odd' puts out 2 rows for 32 samples"),
    ],
)
def test_layers_whose_outputs_are_no_rows_of_numbers_are_named(module, pairs, tmp_path, act, told):
    network = Network(Around(module, act).eval())
    with pytest.raises(ValueError, match=told):
        record(network, load_data(pairs), ["odd"], tmp_path, batch_size=32, show_progress=False)


def test_a_reduction_that_cannot_be_had_is_told_with_its_layer(module, pairs, tmp_path):
    with pytest.raises(ValueError, match="Layer 'stem': `cls` takes outputs of shape"):
        recorded(module, pairs, tmp_path, reductions=["cls"])


def test_whole_numbers_are_averaged_as_numbers(module, pairs, tmp_path):
    network = Network(Around(module, lambda x: (x * 10).long()).eval())
    found = record(network, load_data(pairs), ["odd"], tmp_path, reductions=["mean"], show_progress=False)
    torch.testing.assert_close(found.vectors(found.layers[1]), (pairs[0] * 10).long().float().mean((2, 3)))


def test_a_recording_of_another_format_is_told(module, pairs, tmp_path):
    recorded(module, pairs, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"schema": 1}))
    with pytest.raises(RunMismatchError, match="was recorded in format 1, and this program reads format 3; record it"):
        load_recording(tmp_path)


def test_shards_of_another_version_are_not_gone_on_with(module, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    recorded(module, pairs, tmp_path)
    before = contents(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(recording_module, "version", lambda _: "9.9")
        recorded(module, pairs, tmp_path)
    assert all(before[name] != content for name, content in contents(tmp_path).items() if name.startswith("shard"))


def test_nothing_of_others_is_deleted(module, pairs, tmp_path):
    (tmp_path / "deep").mkdir()
    for name in (".mine.part", "deep/.other.part", ".tmpABCDEF"):
        (tmp_path / name).write_text("mine")
    recorded(module, pairs, tmp_path)
    assert (tmp_path / "deep" / ".other.part").read_text() == (tmp_path / ".mine.part").read_text() == "mine"
    assert (tmp_path / ".tmpABCDEF").read_text() == "mine"


def test_an_empty_plan_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`layers` \[\] leaves nothing to record; name layers, or `auto`"):
        record(Network(TokenNet().eval()), Given(token_data()).data, [], tmp_path, logits=False)


def test_samples_that_the_network_cannot_take_are_described(module, tmp_path):
    with pytest.raises(RuntimeError) as failed:
        record(Network(module), load_data(torch.rand(5, 7)), "auto", tmp_path)
    assert failed.value.__notes__ == [
        "This was while showing two samples to the network: a tensor of shape (2, 7), torch.float32."
    ]


def test_an_estimate_counts_everything_that_is_written(module, pairs, tmp_path):
    estimates = []
    check = recording_module.check_room
    recording_module.check_room = lambda folder, needs: estimates.append(sum(needs.bytes.values()))
    try:
        recorded(module, pairs, tmp_path, reductions=["mean", "positions:5"])
    finally:
        recording_module.check_room = check
    tensors = load_tensors(tmp_path / "shard-00000.safetensors").values()
    assert estimates == [sum(tensor.numel() * tensor.element_size() for tensor in tensors)]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_a_masked_transformer_of_pytorch_is_recorded(tmp_path):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(20, 8)
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True)

        def forward(self, input_ids, attention_mask):
            return self.encoder(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)

    torch.manual_seed(0)
    module, tensors = Encoder().eval(), token_data()
    mask = tensors["attention_mask"].bool()
    found = record(
        Network(module), Given(tensors).data, "encoder.layers.*", tmp_path, reductions=["tokens"], show_progress=False
    )
    assert [layer.name for layer in found.layers if layer.name.count(".") == 2] == [
        "encoder.layers.0",
        "encoder.layers.1",
    ]
    last = next(layer for layer in found.layers if layer.name == "encoder.layers.1")
    with torch.no_grad():
        plain = module.encoder(module.embed(tensors["input_ids"]), src_key_padding_mask=~mask)
    torch.testing.assert_close(found.vectors(last), plain[:, : mask.shape[1]][mask])
    assert torch.backends.mha.get_fastpath_enabled()


def test_modules_and_arrays_are_taken_as_they_are(module, pairs, tmp_path):
    found = record(module, pairs, ["stem"], tmp_path / "one", reductions=["mean"], show_progress=False)
    assert found.vectors("stem|mean").equal(found.vectors(Layer("stem", "mean")))
    tokens = token_data()
    text = record(TokenNet().eval(), tokens, ["mix"], tmp_path / "two", reductions=["tokens"], show_progress=False)
    assert len(text.vectors("mix|tokens")) == int(tokens["attention_mask"].sum())
