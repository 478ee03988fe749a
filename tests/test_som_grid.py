"""The lattice of units, flat and on a torus, beside slow loops."""

import numpy as np
import pytest
import torch
from handmade import few, gaussian
from hypothesis import assume, given
from hypothesis import strategies as st
from references import som as slow

from layerscope.som import Grid

KINDS = ("hexagonal", "rectangular")
TOPOLOGIES = ("planar", "toroidal")
SHAPES = [(1, 2), (2, 1), (3, 4), (5, 3)]
TORI = [(2, 1), (2, 2), (4, 4), (4, 5), (6, 7)]
LATTICES = [(kind, topology) for kind in KINDS for topology in TOPOLOGIES]


@st.composite
def grids(draw):
    kind, topology = draw(st.sampled_from(LATTICES))
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    assume(rows * columns > 1 and not (rows % 2 and (kind, topology) == ("hexagonal", "toroidal")))
    return Grid(rows, columns, kind, topology)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_units_stand_where_the_lattice_puts_them(rows, columns, kind):
    grid = Grid(rows, columns, kind)
    assert len(grid) == rows * columns
    np.testing.assert_allclose(grid.positions, slow.positions(rows, columns, kind), rtol=1e-6)
    np.testing.assert_allclose(grid.distances, slow.apart(rows, columns, kind, "planar"), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), TORI)
def test_on_a_torus_the_shortest_way_counts(rows, columns, kind):
    grid = Grid(rows, columns, kind, "toroidal")
    np.testing.assert_allclose(grid.distances, slow.apart(rows, columns, kind, "toroidal"), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_between_any_places(kind):
    one, other = [
        torch.tensor([4.0, 3.4]) * torch.rand(n, 2, generator=torch.Generator().manual_seed(n)) for n in (5, 7)
    ]
    found = Grid(4, 4, kind, "toroidal").distances_between(one, other)
    expected = [[slow.around(a, b, 4, 4, kind) for b in other.tolist()] for a in one.tolist()]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), [*SHAPES, (12, 12)])
def test_neighbours_are_those_that_touch(rows, columns, kind):
    found = {(int(a), int(b)) for a, b in Grid(rows, columns, kind).neighbours.nonzero()}
    assert found == slow.touching(rows, columns, kind)


@pytest.mark.parametrize(("kind", "most"), [("hexagonal", 6), ("rectangular", 8)])
def test_a_unit_inside_has_all_its_neighbours(kind, most):
    counts = Grid(5, 5, kind).neighbours.sum(1).reshape(5, 5)
    assert (counts[1:-1, 1:-1] == most).all()
    assert (counts[0] < most).all()


@pytest.mark.parametrize(("kind", "all_around"), [("hexagonal", 6), ("rectangular", 8)])
@pytest.mark.parametrize("shape", [(4, 4), (4, 7), (6, 5), (8, 4)])
def test_a_unit_of_a_torus_has_neighbours_all_around(kind, all_around, shape):
    assert (Grid(*shape, kind, "toroidal").neighbours.sum(1) == all_around).all()


@few
@given(grids())
def test_grid_distance_is_a_distance(grid):
    distances = grid.distances
    torch.testing.assert_close(distances, distances.T, atol=1e-6, rtol=0)
    assert torch.equal(distances == 0, torch.eye(len(grid), dtype=torch.bool))
    assert (distances[:, :, None] + distances[None] >= distances[:, None] - 1e-5).all()
    assert torch.equal(grid.neighbours, grid.neighbours.T)


@few
@given(grids())
def test_pairs_touch_where_they_are_neighbours(grid):
    one, other = torch.cartesian_prod(torch.arange(len(grid)), torch.arange(len(grid))).unbind(1)
    assert torch.equal(grid.touch(one, other), grid.neighbours.flatten())


@few
@given(grids(), st.floats(0.1, 20))
def test_smoothing_weighs_every_unit_by_the_gaussian_of_its_distance(grid, radius):
    values = gaussian(len(grid), 3).double()
    distances = slow.apart(grid.rows, grid.columns, grid.kind, grid.topology)
    expected = np.exp(-(distances**2) / (2 * radius**2)) @ values.numpy()
    np.testing.assert_allclose(grid.smooth(values, radius), expected, atol=1e-10)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (0, 5), (5, 0), (-2, -3)])
def test_a_grid_of_fewer_than_two_units_is_refused(rows, columns):
    with pytest.raises(ValueError, match=f"A grid needs at least two units; got {rows} x {columns}"):
        Grid(rows, columns)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("triangular",), "A grid's `kind` must be one of hexagonal, rectangular; got 'triangular'"),
        (("hexagonal", "klein"), "A grid's `topology` must be one of planar, toroidal; got 'klein'"),
        (("hexagonal", "toroidal"), r"needs an even number of rows, so that its ends fit; got 5\. Take 6\."),
    ],
)
def test_a_grid_that_does_not_exist_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        Grid(5, 4, *options)
