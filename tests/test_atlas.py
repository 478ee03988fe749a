"""One map per layer: fitted as the recipe says, through the depth, and the same again from its folder."""

import numpy as np
import pytest
import torch
from handmade import gaussian, linear, recorded
from references import som as slow

from layerscope.atlas import Atlas, fit_atlas, load_atlas, random_codebook, save_atlas
from layerscope.errors import CorruptFileError, RunMismatchError
from layerscope.layers import Layer
from layerscope.som import Grid, initial_plane, measure

INPUT, FIRST, LAST = (Layer(name, "mean") for name in ("input", "0", "logits"))
SPREAD = torch.tensor([8.0, 3.0, 1.0])


def fitted(recording, grid, **options):
    return fit_atlas(recording, grid, show_progress=False, **options)


def same(one, other):
    """Whether two atlases are equal to the bit."""
    return list(one.maps) == list(other.maps) and all(
        mine.grid == yours.grid
        and mine.history == yours.history
        and all(torch.equal(getattr(mine, name), getattr(yours, name)) for name in ("prototypes", "offset", "scale"))
        for mine, yours in zip(one.maps.values(), other.maps.values(), strict=True)
    )


def radii(start):
    return [start * (0.6 / start) ** (epoch / 19) for epoch in range(20)]


@pytest.fixture
def recording(tmp_path):
    """Of a network whose first layer turns everything around."""
    return recorded(tmp_path / "clean", linear(-torch.eye(3)), gaussian(90, 3) * SPREAD)


def test_the_first_map_starts_wide_from_its_plane(recording):
    fitted_map = fitted(recording, Grid(3, 4)).maps[INPUT]
    vectors = recording.vectors(INPUT)
    centred = vectors - vectors.double().mean(0).float()
    plane = initial_plane(centred, Grid(3, 4), seed=0)
    expected, explained = slow.batch_rule(centred.tolist(), slow.positions(3, 4, "hexagonal"), plane, radii(2.0))
    np.testing.assert_allclose(fitted_map.prototypes, expected, atol=1e-3)
    np.testing.assert_allclose(fitted_map.history, explained, atol=1e-4)
    np.testing.assert_allclose(fitted_map.offset, vectors.double().mean(0), rtol=1e-6)
    assert fitted_map.scale.tolist() == [1.0, 1.0, 1.0]


def test_the_next_map_starts_from_the_means_of_the_units_before(recording):
    atlas, places = fitted(recording, Grid(3, 4)), slow.positions(3, 4, "hexagonal")
    before = atlas.maps[INPUT].best(recording.vectors(INPUT)).unit.tolist()
    vectors = recording.vectors(FIRST)
    centred = (vectors - vectors.double().mean(0).float()).tolist()
    start = slow.neighbourhood_means(centred, before, places, 1.0, np.zeros((12, 3)))
    expected, explained = slow.batch_rule(centred, places, start, radii(2.5))
    np.testing.assert_allclose(atlas.maps[FIRST].prototypes, expected, atol=1e-3)
    np.testing.assert_allclose(atlas.maps[FIRST].history, explained, atol=1e-4)


@pytest.mark.parametrize(("align", "least", "most"), [(True, 0.0, 0.3), (False, 1.0, 9.0)])
def test_aligned_samples_keep_their_place_where_a_layer_turns_them_around(recording, align, least, most):
    atlas = fitted(recording, Grid(4, 4), align=align)
    one, other = (atlas.maps[layer].best(recording.vectors(layer)).unit for layer in (INPUT, FIRST))
    assert least <= float(atlas.grid.distances[one, other].mean()) <= most


def test_free_maps_are_those_of_each_layer_alone(recording, tmp_path):
    atlas = fitted(recording, Grid(3, 3), align=False)
    alone = recorded(tmp_path / "alone", linear(torch.eye(3)), recording.vectors(FIRST))
    other = fitted(alone, Grid(3, 3)).maps[INPUT]
    assert torch.equal(atlas.maps[FIRST].prototypes, other.prototypes)
    assert not torch.equal(fitted(recording, Grid(3, 3)).maps[FIRST].prototypes, other.prototypes)


def test_a_shift_of_the_data_goes_into_the_offset(tmp_path):
    inputs = gaussian(60, 3) * SPREAD
    one, other = (
        fitted(recorded(tmp_path / str(shift), linear(torch.eye(3)), inputs + shift), Grid(3, 3)).maps[INPUT]
        for shift in (0, 32)
    )
    torch.testing.assert_close(other.offset, one.offset + 32, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other.prototypes, one.prototypes, rtol=1e-3, atol=1e-3)


def test_standard_scaling_gives_every_feature_the_same_say(tmp_path):
    inputs = gaussian(80, 3) * SPREAD
    recording = recorded(tmp_path / "clean", linear(torch.diag(torch.tensor([0.1, 10.0, 0.0]))), inputs)
    atlas = fitted(recording, Grid(3, 3), scaling="standard")
    deviations = inputs.double().std(0, correction=0)
    torch.testing.assert_close(atlas.maps[INPUT].scale, deviations.float())
    expected = (deviations * torch.tensor([0.1, 10.0, 0.0])).float() + torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(atlas.maps[FIRST].scale, expected)
    scaled = atlas.maps[FIRST].scaled(recording.vectors(FIRST))
    torch.testing.assert_close(scaled.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]))


def test_every_reduction_starts_anew_and_has_maps_of_its_own(tmp_path):
    inputs = gaussian(60, 12)
    module = linear(gaussian(10, 12, seed=1))
    both = recorded(tmp_path / "both", module, inputs, reductions=("mean", "sketch:8"))
    sketch = recorded(tmp_path / "sketch", module, inputs, reductions=("sketch:8",))
    atlas = fitted(both, Grid(3, 3))
    assert tuple(atlas.maps) == both.layers
    assert [fitted_map.prototypes.shape[1] for fitted_map in atlas.maps.values()] == [12, 10, 10, 8, 8, 8]
    alone = fitted(sketch, Grid(3, 3))
    assert all(torch.equal(atlas.maps[layer].prototypes, alone.maps[layer].prototypes) for layer in sketch.layers)


def test_a_layer_that_never_changes_gets_a_map_of_one_place(tmp_path):
    recording = recorded(tmp_path / "clean", linear(torch.zeros(3, 3)), gaussian(30, 3))
    fitted_map = fitted(recording, Grid(3, 3)).maps[FIRST]
    assert fitted_map.prototypes.tolist() == [[0.0] * 3] * 9
    assert fitted_map.history == (0.0,) * 20


def test_the_same_atlas_comes_again(recording):
    assert same(fitted(recording, Grid(3, 3)), fitted(recording, Grid(3, 3)))


def test_a_map_needs_as_many_samples_as_units(recording):
    with pytest.raises(ValueError, match=r"A map of 10 x 10 = 100 units needs at least as many samples.* got 90\."):
        fitted(recording, Grid(10, 10))
    assert len(fitted(recording, Grid(9, 10)).grid) == 90


def test_an_unknown_scaling_is_refused(recording):
    with pytest.raises(ValueError, match="`scaling` must be one of own, standard; got 'whitened'"):
        fitted(recording, Grid(3, 3), scaling="whitened")


def drawn(recording, codebook, layer):
    """Which sample each prototype is."""
    found = codebook.maps[layer].scaled(recording.vectors(layer))
    equal = (codebook.maps[layer].prototypes[:, None] == found).all(-1)
    assert (equal.sum(1) == 1).all()
    return equal.int().argmax(1).tolist()


@pytest.mark.parametrize("scaling", ["own", "standard"])
def test_a_random_codebook_is_of_the_same_samples_at_every_layer(tmp_path, scaling):
    module, inputs = linear(gaussian(10, 12, seed=1)), gaussian(60, 12)
    recording = recorded(tmp_path / "clean", module, inputs, reductions=("mean", "sketch:8"))
    codebook = random_codebook(recording, fitted(recording, Grid(3, 4), scaling=scaling))
    first, *others = [drawn(recording, codebook, layer) for layer in recording.layers]
    assert len(set(first)) == 12
    assert others == [first] * 5


def test_a_random_codebook_keeps_all_of_the_atlas_but_its_prototypes(recording):
    atlas = fitted(recording, Grid(3, 4, "rectangular"), scaling="standard")
    codebook = random_codebook(recording, atlas)
    assert list(codebook.maps) == list(atlas.maps)
    for layer, own in codebook.maps.items():
        assert own.grid == atlas.grid
        assert torch.equal(own.offset, atlas.maps[layer].offset)
        assert torch.equal(own.scale, atlas.maps[layer].scale)
        assert own.prototypes.dtype == atlas.maps[layer].prototypes.dtype
        assert own.history == ()


def test_the_same_seed_draws_the_same_codebook(recording):
    atlas = fitted(recording, Grid(3, 3))
    assert same(random_codebook(recording, atlas, seed=3), random_codebook(recording, atlas, seed=3))
    assert not same(random_codebook(recording, atlas, seed=3), random_codebook(recording, atlas, seed=4))


def test_a_random_codebook_needs_a_sample_for_every_unit(recording, tmp_path):
    atlas = fitted(recording, Grid(3, 3))
    few, enough = (recorded(tmp_path / str(n), linear(-torch.eye(3)), gaussian(n, 3)) for n in (8, 9))
    with pytest.raises(ValueError, match=r"^`recording` must hold at least one sample per unit; got 8 for 9 units\.$"):
        random_codebook(few, atlas)
    assert sorted(drawn(enough, random_codebook(enough, atlas), FIRST)) == list(range(9))


def test_an_atlas_comes_back_from_its_folder_as_it_was(tmp_path):
    module = linear(gaussian(10, 12, seed=1))
    recording = recorded(tmp_path / "clean", module, gaussian(60, 12), reductions=("mean", "sketch:8"))
    atlas = fitted(recording, Grid(4, 3, "rectangular"), scaling="standard")
    save_atlas(atlas, tmp_path / "atlas")
    loaded = load_atlas(tmp_path / "atlas")
    assert isinstance(loaded, Atlas)
    assert same(atlas, loaded)
    assert loaded.grid == Grid(4, 3, "rectangular")
    files = sorted(str(path.relative_to(tmp_path / "atlas")) for path in (tmp_path / "atlas").rglob("*.*"))
    assert files == sorted(
        ["atlas.json"]
        + [f"{folder}/{name}.safetensors" for folder in ("mean", "sketch-8") for name in ("input", "0", "logits")]
    )


def test_a_folder_without_an_atlas_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*atlas\.json"):
        load_atlas(tmp_path)


def test_a_damaged_map_is_named(recording, tmp_path):
    save_atlas(fitted(recording, Grid(3, 3)), tmp_path / "atlas")
    path = tmp_path / "atlas" / "mean" / "0.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CorruptFileError, match=r"mean/0\.safetensors' is damaged .* delete it and run again"):
        load_atlas(tmp_path / "atlas")


def test_a_damaged_list_of_layers_is_named(recording, tmp_path):
    save_atlas(fitted(recording, Grid(3, 3)), tmp_path / "atlas")
    (tmp_path / "atlas" / "atlas.json").write_text('{"layers": [')
    with pytest.raises(CorruptFileError, match=r"atlas\.json' is not readable JSON .*; delete it and run again"):
        load_atlas(tmp_path / "atlas")


def test_an_atlas_of_another_format_is_refused(recording, tmp_path):
    save_atlas(fitted(recording, Grid(3, 3)), tmp_path)
    (tmp_path / "atlas.json").write_text('{"schema": 0, "layers": []}')
    with pytest.raises(
        RunMismatchError, match="holds an atlas of format 0, and this program reads format 1; fit it again"
    ):
        load_atlas(tmp_path)


@pytest.mark.parametrize("align", [True, False])
def test_large_recordings_take_the_fast_solver_and_are_mapped_as_well(tmp_path, monkeypatch, align):
    mixed = torch.randn(200, 40, generator=torch.Generator().manual_seed(0)) * 0.8 ** torch.arange(40)
    inputs = gaussian(9000, 40) * 0.9 ** torch.arange(40)
    recording = recorded(tmp_path / "run", linear(mixed), inputs)
    plain = fitted(recording, Grid(8, 8), align=align)
    monkeypatch.setattr("layerscope.som.fast.PLAIN", 0)
    quick = fitted(recording, Grid(8, 8), align=align)
    assert plain.maps[FIRST].history != quick.maps[FIRST].history  # 200 features, compared along fewer directions
    for layer in recording.layers:
        vectors = recording.vectors(layer)
        one, other = (
            measure(atlas.maps[layer].scaled(vectors), atlas.maps[layer].prototypes, atlas.grid)
            for atlas in (plain, quick)
        )
        assert other.explained_variance >= one.explained_variance - 0.002
        assert other.topographic_error <= one.topographic_error + 0.01


@pytest.mark.parametrize("name", ["/etc/passwd", "../../up", "a/b", 'a"b<i>', "relu#1", "blocks.0"])
def test_what_a_layer_is_called_is_no_path(name, tmp_path):
    layer = Layer(name, "sketch:16")
    folder, _, file = layer.stem.partition("/")
    assert folder == "sketch-16"
    assert "/" not in file
    assert (tmp_path / f"{layer.stem}.safetensors").resolve().parent == (tmp_path / "sketch-16").resolve()
    assert (file == name) == (name in ("relu#1", "blocks.0"))
