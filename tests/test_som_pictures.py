"""Pictures of a map draw what the map holds."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.datasets import load_iris

from layerscope.drawing import EMPTY, palette
from layerscope.som import SOM, pictures

IRIS = load_iris(as_frame=True)
ROWS, LABELS = IRIS.data, IRIS.target.to_numpy()
GRIDS = [("hexagonal", "planar"), ("rectangular", "planar"), ("hexagonal", "toroidal")]


def fitted(grid="hexagonal", topology="planar"):
    return SOM((6, 5), grid=grid, topology=topology).fit(ROWS)


def cells(axes):
    return axes.collections[0]


def test_a_cell_stands_where_its_unit_stands_and_has_its_shape():
    for grid, corners in (("hexagonal", 6), ("rectangular", 4)):
        drawn = cells(pictures.hit_map(fitted(grid), ROWS)).get_paths()
        assert len(drawn) == 30
        assert {len(path.vertices) - 1 for path in drawn} == {corners}
        middles = np.array([path.vertices[:-1].mean(0) for path in drawn])
        np.testing.assert_allclose(middles, fitted(grid).grid_.positions.numpy() * np.array([1, -1]), atol=1e-6)


@pytest.mark.parametrize(("grid", "topology"), GRIDS)
def test_the_u_matrix_is_the_mean_distance_to_the_units_that_touch(grid, topology):
    som = fitted(grid, topology)
    touching = som.grid_.neighbours.numpy()
    expected = [
        np.mean([np.linalg.norm(som.prototypes_[unit] - som.prototypes_[other]) for other in np.flatnonzero(near)])
        for unit, near in enumerate(touching)
    ]
    np.testing.assert_allclose(cells(pictures.u_matrix(som)).get_array(), expected, rtol=1e-5)


def test_hits_are_counted_and_units_without_any_are_blank():
    som = fitted()
    hits = np.bincount(som.labels_, minlength=30)
    drawn = cells(pictures.hit_map(som, ROWS)).get_array()
    assert (hits == 0).any()
    np.testing.assert_array_equal(drawn.mask, hits == 0)
    np.testing.assert_array_equal(drawn.compressed(), hits[hits > 0])


def test_a_component_plane_is_one_feature_by_number_or_name():
    som = fitted()
    for feature in (2, "petal length (cm)"):
        axes = pictures.component_plane(som, feature)
        np.testing.assert_allclose(cells(axes).get_array(), som.prototypes_[:, 2])
        assert [one.get_ylabel() for one in axes.figure.axes[1:]] == ["petal length (cm)"]


def test_a_class_map_has_the_colour_of_a_unit_s_only_class():
    som = fitted()
    axes = pictures.class_map(som, ROWS, LABELS, names=IRIS.target_names)
    colours = cells(axes).get_facecolors()[:, :3]
    for unit in range(30):
        own = set(LABELS[som.labels_ == unit])
        if len(own) == 1:
            np.testing.assert_allclose(colours[unit], palette(3)[own.pop()])
        elif not own:
            np.testing.assert_allclose(colours[unit], to_rgb(EMPTY))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["setosa", "versicolor", "virginica"]


def test_pies_share_their_angle_among_classes_and_their_area_among_units():
    som = fitted()
    axes = pictures.class_map(som, ROWS, LABELS, pies=True)
    pairs = {(unit, label) for unit, label in zip(som.labels_, LABELS, strict=True)}
    assert len(axes.collections[1].get_paths()) == len(pairs)
    highest = max(np.ptp(path.vertices[:, 1]) for path in axes.collections[1].get_paths())
    assert 0.4 < highest <= 0.92 + 1e-6


def test_the_history_shows_each_epoch_and_where_grids_were_coarse(monkeypatch):
    monkeypatch.setattr("layerscope.som.fast.PLAIN", 0)
    som = SOM((14, 14)).fit(np.random.default_rng(0).normal(size=(2500, 5)).astype(np.float32))
    axes = pictures.training_history(som)
    explained = axes.get_lines()[0].get_ydata()
    np.testing.assert_allclose(explained, [epoch.explained_variance for epoch in som.history_])
    assert "coarse grids" in [text.get_text() for text in axes.texts]
    assert "coarse grids" not in [text.get_text() for text in pictures.training_history(fitted()).texts]


def test_each_draws_on_the_axes_it_is_given_and_returns_them():
    som = fitted()
    for draw in (
        pictures.u_matrix,
        pictures.training_history,
        lambda som, axes: pictures.hit_map(som, ROWS, axes=axes),
        lambda som, axes: pictures.class_map(som, ROWS, LABELS, axes=axes),
        lambda som, axes: pictures.component_plane(som, 0, axes=axes),
    ):
        axes = Figure().subplots()
        assert isinstance(axes, Axes)
        assert draw(som, axes=axes) is axes


def test_what_can_t_be_drawn_is_said():
    som = fitted()
    with pytest.raises(ValueError, match=r"`feature` 'width' is not known; features are: sepal length"):
        pictures.component_plane(som, "width")
    with pytest.raises(ValueError, match=r"features are: without names"):
        pictures.component_plane(SOM((2, 2)).fit(ROWS.to_numpy()), "width")
    with pytest.raises(ValueError, match=r"`feature` must be in 0 ... 3; got 4"):
        pictures.component_plane(som, 4)
    with pytest.raises(ValueError, match=r"`labels` must have shape \(150,\), one per row of `X`; got \(3,\)"):
        pictures.class_map(som, ROWS, [0, 1, 2])
    with pytest.raises(ValueError, match=r"`names` must name every class, 0 ... 2; got 2 names"):
        pictures.class_map(som, ROWS, LABELS, names=["a", "b"])
    for labels in (np.full(150, 0.5), np.full(150, -1), pd.Series(["a"] * 150)):
        with pytest.raises(ValueError, match=r"`labels` must be whole numbers from 0; encode classes"):
            pictures.class_map(som, ROWS, labels)
