"""Every sample's code at every layer, and the table that holds them."""

import pandas as pd
import pytest
import torch
from handmade import gaussian, linear, recorded
from sklearn.neighbors import NearestNeighbors

from layerscope.atlas import Atlas, fit_atlas
from layerscope.codes import best_of, encode, load_codes, save_codes
from layerscope.layers import Layer
from layerscope.som import Grid, Map

INPUT, FIRST = Layer("input", "mean"), Layer("0", "mean")


@pytest.fixture
def recording(tmp_path):
    return recorded(tmp_path / "clean", linear(gaussian(4, 3)), gaussian(60, 3, seed=1))


@pytest.fixture
def atlas(recording):
    return fit_atlas(recording, Grid(3, 3), scaling="standard", show_progress=False)


def test_codes_are_those_of_a_nearest_neighbour_search_at_every_layer(recording, atlas):
    codes = encode(recording, atlas)
    for layer, fitted in atlas.maps.items():
        scaled = (recording.vectors(layer) - fitted.offset) / fitted.scale
        distances, units = NearestNeighbors(n_neighbors=2).fit(fitted.prototypes).kneighbors(scaled)
        assert codes[f"code:{layer}"].tolist() == units[:, 0].tolist()
        assert codes[f"second:{layer}"].tolist() == units[:, 1].tolist()
        assert codes[f"distance:{layer}"].to_numpy() == pytest.approx(distances[:, 0], rel=1e-4)


def test_one_row_a_sample_and_three_columns_a_layer(recording, atlas):
    codes = encode(recording, atlas)
    layers = ["input|mean", "0|mean", "logits|mean"]
    assert list(codes) == ["id"] + [f"{kind}:{layer}" for layer in layers for kind in ("code", "distance", "second")]
    assert codes["id"].tolist() == list(range(60))
    assert [str(codes[f"{kind}:0|mean"].dtype) for kind in ("code", "distance", "second")] == [
        "int32",
        "float32",
        "int32",
    ]


def test_samples_on_a_prototype_get_its_unit_at_distance_0(tmp_path):
    places = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    recording = recorded(tmp_path, linear(torch.eye(2)), places)
    fitted = Map(Grid(2, 2), places, torch.zeros(2), torch.ones(2), ())
    codes = encode(recording, Atlas(dict.fromkeys(recording.layers, fitted)))
    assert codes["code:0|mean"].tolist() == [0, 1, 2, 3]
    assert codes["distance:0|mean"].tolist() == [0.0] * 4


def test_a_layer_without_a_map_is_told(recording, atlas):
    with pytest.raises(ValueError, match=r"The atlas has no map of '0\|mean'; it has: input\|mean\."):
        encode(recording, Atlas({INPUT: atlas.maps[INPUT]}))


def test_a_map_of_another_width_is_told(recording, atlas):
    maps = dict(atlas.maps) | {FIRST: atlas.maps[INPUT]}
    with pytest.raises(ValueError, match=r"The map of '0\|mean' was fitted on vectors 3 wide; these are 4 wide"):
        encode(recording, Atlas(maps))


def test_codes_come_back_from_their_file_as_they_were(recording, atlas, tmp_path):
    codes = encode(recording, atlas)
    save_codes(codes, tmp_path / "codes" / "clean.parquet")
    pd.testing.assert_frame_equal(load_codes(tmp_path / "codes" / "clean.parquet"), codes)


def test_a_layers_columns_are_what_its_map_said(recording, atlas):
    found, expected = best_of(encode(recording, atlas), FIRST), atlas.maps[FIRST].best(recording.vectors(FIRST))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def test_a_layer_that_the_codes_lack_is_told(recording, atlas):
    with pytest.raises(KeyError, match=r"The codes hold no layer '7\|mean'\."):
        best_of(encode(recording, atlas), Layer("7", "mean"))
