"""Colours of classes and units."""

import numpy as np
from matplotlib.colors import to_rgb

from layerscope.drawing import EMPTY, cell, mixed, palette


def test_a_unit_is_as_pale_as_its_classes_are_mixed():
    colours = palette(3)
    pure, blended, empty = mixed(np.array([[9.0, 0, 0], [5, 4, 0], [0, 0, 0]]), colours)
    np.testing.assert_allclose(pure, colours[0])
    assert np.all(blended >= pure)
    assert np.any(blended > pure + 0.1)
    np.testing.assert_allclose(empty, to_rgb(EMPTY))


def test_any_number_of_classes_has_colours_of_its_own():
    for count in (2, 10, 11, 60):
        assert len({tuple(colour.round(4)) for colour in palette(count)}) == count


def test_cells_one_step_apart_share_an_edge():
    for kind, corners, side in (("hexagonal", 6, 1 / 3**0.5), ("rectangular", 4, 1.0)):
        outline = cell(kind)
        assert outline.shape == (corners, 2)
        np.testing.assert_allclose(np.ptp(outline[:, 0]), 1)
        np.testing.assert_allclose(np.linalg.norm(outline - np.roll(outline, 1, axis=0), axis=1), side)
