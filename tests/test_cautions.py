"""Cautions stand where they are due, and nowhere else."""

import pytest
import torch
from handmade import gaussian, linear, recorded
from torch import nn

from layerscope import Network, load_data
from layerscope.cautions import cautions_of, shape_cautions
from layerscope.reductions import parse_reduction
from layerscope.results import Place, finding, table
from layerscope.som import Grid


def cautions(folder, module, inputs, rows=(), *, reductions=("mean",)):
    recording = recorded(folder / "clean", module, inputs, reductions=reductions)
    found = [*rows, finding("label_information", 0.5, (0.4, 0.6), 99, Place("0", 1), null_shuffled=0.0)]
    network = Network(module, bounds=(-100.0, 100.0))
    return cautions_of(recording, table(found), network, load_data(inputs), Grid(2, 2))


@pytest.mark.parametrize(("chance", "told"), [(0.09, False), (-0.09, False), (0.14, True), (-0.14, True)])
def test_label_information_that_is_mostly_bias_is_warned_of(tmp_path, chance, told):
    rows = [finding("label_information", 0.5, (0.4, 0.6), 99, Place("1", 2), null_shuffled=chance)]
    found = cautions(tmp_path, linear(gaussian(3, 4)), gaussian(60, 4), rows)
    warning = "With shuffled labels, label information is still up to 0.14 of H(label) from 0, the truth: 60 samples"
    assert any(one.startswith(warning) for one in found) is told


def spread(layer, value, reduction="sketch:16"):
    return finding("participation_ratio", value, (value, value), 99, Place(layer, 1, "clean", reduction))


def test_a_participation_ratio_near_the_size_of_the_sketch_is_told(tmp_path):
    module = linear(gaussian(40, 6), gaussian(16, 40), gaussian(30, 16))
    rows = [spread("0", 3.3), spread("1", 3.3), spread("2", 3.1), spread("2", 9.0, "mean"), spread("logits", 3.3)]
    told = [
        one
        for one in cautions(tmp_path, module, gaussian(60, 6), rows, reductions=("mean", "sketch:16"))
        if "PR" in one
    ]
    assert len(told) == 1
    assert told[0].startswith("Under sketch:16, the participation ratio of 0, logits is too low by a fifth or more")


def test_layers_that_a_sketch_keeps_whole_are_not_capped_by_it(tmp_path):
    module = linear(gaussian(16, 16), gaussian(12, 16))
    rows = [spread(layer, 9.0) for layer in ("input", "0", "1", "logits")]
    assert not [
        one for one in cautions(tmp_path, module, gaussian(60, 16), rows, reductions=("sketch:16",)) if "PR" in one
    ]


def test_a_sketch_shows_the_participation_ratio_that_the_caution_says():
    projection = parse_reduction("sketch:64")._projection(256).to_dense()
    values = torch.linalg.eigvalsh(projection @ projection.T)  # of vectors whose covariance is the identity: PR = 256
    assert float(values.sum() ** 2 / values.square().sum()) == pytest.approx(1 / (1 / 256 + 1 / 64), rel=0.05)


@pytest.mark.parametrize(("copies", "told"), [(0, False), (1, False), (2, True), (50, True)])
def test_samples_that_are_copies_are_told_where_they_are_more_than_one_in_a_hundred(tmp_path, copies, told):
    inputs = gaussian(100, 4)
    inputs[100 - copies :] = inputs[:copies]
    found = [one for one in cautions(tmp_path, linear(gaussian(3, 4)), inputs) if "equal to an earlier one" in one]
    assert [one.split(" are ")[0] for one in found] == [f"{copies} of 100 samples"] * told


@pytest.mark.parametrize(
    ("reductions", "told"),
    [(("mean", "sketch:512"), True), (("sketch:512", "mean", "flatten"), True), (("mean",), False), (("max",), False)],
)
def test_networks_of_vectors_alone_have_no_second_opinion(reductions, told):
    network = Network(linear(gaussian(5, 4), gaussian(3, 5)), bounds=(-100.0, 100.0))
    found = shape_cautions(network, load_data(gaussian(8, 4)), ["0", "1"], reductions)
    assert len(found) == told
    if told:
        assert found[0].startswith("All layers put out vectors, which have no positions to average over: ")
        assert ", ".join(reductions) in found[0]


def test_networks_of_vectors_and_feature_maps_are_told_of_the_difference_only():
    network = Network(nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)).eval(), bounds=(-100.0, 100.0))
    data = load_data(gaussian(8, 1, 6))
    (found,) = shape_cautions(network, data, ["0", "2"], ("mean", "sketch:512"))
    assert found.startswith("Under mean, 2 put out vectors and are taken whole")
    assert shape_cautions(network, data, ["0"], ("mean", "sketch:512")) == []
