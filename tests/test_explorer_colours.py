"""Colours of classes and amounts, as readers with the common colour deficiencies see them.

Simulated after G. Machado, M. Oliveira & L. Fernandes 2009 (table 1, severity 1.0, on linear RGB); told apart by the
distance in CIE L*a*b*.
"""

import re
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from layerscope.drawing import CLASSES, mixed, palette
from layerscope.explorer.assemble import static

MACHADO = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
NOTICED = 2.3
"""The distance in L*a*b* that is just noticed."""


def named(name):
    """A list of colours in colours.js."""
    block = re.search(rf"const {name} = \[(.*?)\]", static()["colours.js"], re.DOTALL)[1]
    return re.findall(r"#[0-9a-f]{6}", block)


def lab(colour, sight):
    """A colour as it is seen."""
    encoded = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    x, y, z = XYZ @ (np.array(MACHADO[sight]) @ linear).clip(0, 1) / XYZ.sum(1)
    f = [t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_page_s_colours_of_classes_are_those_of_the_figures():
    assert tuple(named("TEN")) == CLASSES


@pytest.mark.parametrize("sight", MACHADO)
def test_two_classes_are_told_apart(sight):
    nearest = min(np.linalg.norm(lab(one, sight) - lab(other, sight)) for one, other in combinations(CLASSES, 2))
    assert nearest > 2 * NOTICED


def nearest(colours, sight):
    """The smallest distance of two of some colours."""
    seen = [lab(to_hex(one), sight) for one in colours]
    return min(np.linalg.norm(one - other) for one, other in combinations(seen, 2))


def test_more_than_ten_classes_are_told_apart_by_some_readers_alone():
    # why the legend then says that colours lie close: common sight tells them apart, but red-blind readers do not
    smallest = {sight: min(nearest(palette(many), sight) for many in range(11, 21)) for sight in MACHADO}
    assert smallest["none"] > 16.5
    assert smallest["tritanopia"] > 2 * NOTICED
    assert max(smallest["protanopia"], smallest["deuteranopia"]) < 0.4


@pytest.mark.parametrize("sight", MACHADO)
@pytest.mark.parametrize(("purity", "least"), [(0.4, 4.4), (0.7, 7.1)])
def test_pale_cells_of_ten_classes_are_told_apart_less_well_and_by_more_than_is_just_noticed(purity, least, sight):
    counts = np.full((10, 10), (1 - purity) / 9) + np.eye(10) * (purity - (1 - purity) / 9)
    assert nearest(mixed(counts, palette(10)), sight) > least > 1.9 * NOTICED


@pytest.mark.parametrize("sight", MACHADO)
def test_more_is_lighter_in_even_steps(sight):
    lightness = [lab(colour, sight)[0] for colour in named("AMOUNT")]
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 3 * steps.min()
