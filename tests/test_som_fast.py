"""The fast solver: as good a map as the exact one's, from less work."""

from math import log2

import numpy as np
import pytest
import torch
from handmade import few, gaussian, whole_numbers
from hypothesis import given
from hypothesis import strategies as st
from references import som as slow

from layerscope.som import SOM, Grid, fast, measure
from layerscope.som.fast import (
    COARSE_ROWS,
    _Coordinates,
    _halved,
    _resampled,
    _rows_needed,
    _steps,
    _worthwhile,
    geometric,
    solve_fast,
)
from layerscope.som.rows import held, rows_of

KINDS = ("hexagonal", "rectangular")
TOPOLOGIES = ("planar", "toroidal")


def clusters(n=4000, width=20):
    generator = np.random.default_rng(0)
    centres = 3 * generator.standard_normal((25, width))
    return (centres[generator.integers(25, size=n)] + generator.standard_normal((n, width))).astype(np.float32)


def sheet(n=4000, width=30):
    generator = np.random.default_rng(0)
    places = generator.uniform(-1, 1, (n, 2)) * [3, 2]
    folded = np.concatenate([np.sin(places @ generator.standard_normal((2, 6))), places], 1)
    noise = 0.2 * generator.standard_normal((n, width))
    return (folded @ generator.standard_normal((8, width)) + noise).astype(np.float32)


def rectified(n=5000, width=200):
    generator = np.random.default_rng(0)
    hidden = generator.standard_normal((n, 10)) * 0.8 ** np.arange(10)
    return np.maximum(hidden @ generator.standard_normal((10, width)), 0).astype(np.float32)


DATA = {"clusters": clusters, "sheet": sheet, "rectified": rectified}


@pytest.fixture
def always_fast(monkeypatch):
    monkeypatch.setattr(fast, "PLAIN", 0)


def quality(som, data):
    """Explained variance and topographic error."""
    rows = torch.cat(list(som._fitted_rows(data)[0]))
    fit = measure(rows, som._prototypes, som.grid_)
    return np.array([fit.explained_variance, fit.topographic_error])


def compared(data, options, seeds=3, **fast_options):
    """What the fast solver has more of than the exact one: explained variance, topographic error."""
    exact = quality(SOM(solver="exact", **options).fit(data), data)
    maps = [SOM(random_state=seed, **options, **fast_options).fit(data) for seed in range(seeds)]
    assert all(som.history_[0].rows < len(data) for som in maps)
    return np.mean([quality(som, data) for som in maps], axis=0) - exact


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clusters", {"shape": (10, 10)}),
        ("clusters", {"shape": (10, 10), "grid": "hexagonal"}),
        ("clusters", {"shape": (10, 10), "topology": "toroidal"}),
        ("clusters", {"shape": (16, 16), "grid": "hexagonal", "topology": "toroidal"}),
        ("clusters", {"shape": (10, 10), "metric": "cosine"}),
        ("sheet", {"shape": (16, 16)}),
        ("sheet", {"shape": (25, 23)}),
        ("sheet", {"shape": (16, 16), "metric": "cosine"}),
        ("rectified", {"shape": (16, 16)}),
        ("rectified", {"shape": (17, 15), "grid": "hexagonal"}),
        ("rectified", {"shape": (10, 10), "topology": "toroidal"}),
        ("rectified", {"shape": (3, 30)}),
    ],
    ids=str,
)
def test_the_fast_map_is_as_good_as_the_exact_one(name, options, always_fast):
    variance, error = compared(DATA[name](), options)
    assert variance > -0.002
    assert error < 0.01


def test_weights_take_the_plain_rule(always_fast):
    data, weights = clusters(3000), whole_numbers(4, 3000).numpy()
    weighted = SOM((6, 6)).fit(data, sample_weight=weights)
    plain = SOM((6, 6), solver="exact").fit(data, sample_weight=weights)
    np.testing.assert_array_equal(weighted.prototypes_, plain.prototypes_)
    assert {epoch.rows for epoch in weighted.history_} == {3000}
    np.testing.assert_allclose(weighted._counts.sum(), weights.sum())


def test_weights_decide_where_the_map_goes(always_fast):
    data = clusters()
    weights = np.where(data[:, 0] > 0, 1.0, 0.0)
    som = SOM((10, 10)).fit(data, sample_weight=weights)
    assert som.score(data[weights > 0]) > som.score(data[weights == 0]) + 1
    assert quality(som, data[weights > 0])[0] > 0.8


def test_an_array_to_start_from_keeps_the_map_where_it_is(always_fast):
    data = sheet()
    start = SOM((8, 8)).fit(data).prototypes_[::-1].copy()
    som = SOM((8, 8), init=start, radius=(0.8, 0.6)).fit(data)
    apart = np.linalg.norm(som.prototypes_ - start, axis=1)
    assert apart.max() < 0.5 * np.linalg.norm(start[:, None] - start[None], axis=2).mean()
    assert {epoch.units for epoch in som.history_} == {64}


@pytest.mark.parametrize("init", ["pca", "sample"])
def test_every_start_leads_to_a_map(init, always_fast):
    variance, error = compared(rectified(), {"shape": (12, 12)}, init=init)
    assert variance > -0.002
    assert error < 0.01


def test_rows_that_can_only_be_read_in_turn_give_as_good_a_map(always_fast):
    data = rectified()
    whole, blocks = (SOM((10, 10)).fit(given) for given in (data, np.array_split(data, 7)))
    assert (np.abs(quality(whole, data) - quality(blocks, data)) < [0.005, 0.03]).all()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("shape", [(10, 10), (16, 16)])
def test_prototypes_are_the_means_of_the_rows_themselves(metric, shape, always_fast):
    data = rectified(3000)
    som = SOM(shape, metric=metric).fit(data)
    rows = torch.cat(list(som._fitted_rows(data)[0])).double().numpy()
    counts, sums = som._counts.numpy(), som._sums.numpy()
    np.testing.assert_allclose(sums.sum(0), rows.sum(0), atol=1e-2)
    kernel = np.exp(-(slow.apart(*shape, "rectangular", "planar") ** 2) / (2 * 0.6**2))
    expected = (kernel @ sums) / (kernel @ counts)[:, None]
    if metric == "cosine":
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(som._prototypes, expected, atol=1e-5)
    assert counts.sum() == 3000


@pytest.mark.parametrize("shape", [(4, 5), (10, 10), (24, 26)])
def test_the_work_goes_from_coarse_to_fine_and_ends_with_all_rows(shape, always_fast):
    som = SOM(shape, epochs=20).fit(sheet(9000))
    radii = [epoch.radius for epoch in som.history_]
    units = [epoch.units for epoch in som.history_]
    assert units == sorted(units)
    assert units[-1] == len(som.grid_)
    assert units[0] <= 128
    assert radii[-1] == 0.6
    full = [epoch.rows for epoch in som.history_ if epoch.units == len(som.grid_)]
    assert full == sorted(full)
    assert full[-1] == 9000
    assert som.history_[0].rows <= 2048
    assert set(units) == {(4, 5): {20}, (10, 10): {100}, (24, 26): {42, 156, 624}}[shape]
    assert som.history_[-1].explained_variance == pytest.approx(quality(som, sheet(9000))[0], abs=0.01)


def test_history_is_told_in_shares_of_the_whole_variance(always_fast):
    generator = np.random.default_rng(1)
    few = generator.standard_normal((5000, 30)) @ generator.standard_normal((30, 300))
    data = (few + 2 * generator.standard_normal((5000, 300))).astype(np.float32)
    assert fast._directions(torch.from_numpy(data), 100, 0, centre=True)[1] == pytest.approx(0.9, abs=0.01)
    som = SOM((10, 10)).fit(data)
    reached = quality(som, data)[0]  # after the last update, which helps
    assert reached - 0.01 < som.history_[-1].explained_variance < reached


def test_four_pieces_of_work_are_told():
    ticks, rows = [], gaussian(3000, 5)

    def tick():
        ticks.append(None)

    solve_fast(held(rows), rows[:500], Grid(8, 8), initial=None, radius=(2.0, 0.6), epochs=20, seed=0, advance=tick)
    assert len(ticks) == 4


@pytest.mark.parametrize("epochs", [1, 2, 5, 50])
def test_any_number_of_epochs_ends_at_the_last_radius(epochs, always_fast):
    som = SOM((16, 16), epochs=epochs, radius=(9.0, 0.5)).fit(clusters(2500))
    assert som.history_[-1].radius == 0.5
    assert quality(som, clusters(2500))[0] > 0.85


@pytest.mark.parametrize("rows", [np.ones((2500, 6)), np.repeat(np.eye(4), 700, 0), np.zeros((2100, 200))])
def test_few_different_rows_are_found_again(rows, always_fast):
    som = SOM((12, 12)).fit(rows)
    assert np.isfinite(som.prototypes_).all()
    assert -som.score(rows) < 0.02


def test_any_number_of_threads_gives_the_same_map(threads, always_fast):
    data, found = rectified(2101, 187), []
    for many in (1, 2):
        threads(many)
        found.append(SOM((5, 7), epochs=4).fit(data).prototypes_)
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)


@pytest.mark.parametrize("name", ["sheet", "rectified"])
def test_the_same_seed_gives_the_same_map_and_another_another(name, always_fast):
    data = DATA[name](3000)
    one, again, other = (SOM((16, 16), random_state=seed).fit(data).prototypes_ for seed in (5, 5, 6))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other, atol=0.01)


def test_the_fast_solver_runs_where_it_saves_work(monkeypatch):
    data = clusters(2100)
    for plain, rows, quick in [(0, 2000, True), (0, 1999, False), (2000 * 36 * 20, 2000, False)]:
        monkeypatch.setattr(fast, "PLAIN", plain)
        history = SOM((6, 6)).fit(data[:rows]).history_
        assert (history[0].rows < rows) == quick


@few
@given(st.floats(0.01, 50), st.floats(0.01, 50), st.integers(1, 60))
def test_radii_fall_by_the_same_factor(start, end, count):
    radii = geometric(start, end, count)
    assert len(radii) == count
    assert radii[-1] == pytest.approx(end)
    if count > 1:
        assert radii[0] == pytest.approx(start)
        np.testing.assert_allclose(np.diff(np.log(radii)), np.log(end / start) / (count - 1), atol=1e-9)


@few
@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=30), st.integers(2, 5000))
def test_directions_are_worth_it_down_to_an_eighth_of_the_water_level(deviations, units):
    variances = sorted((deviation**2 for deviation in deviations), reverse=True)
    levels = []
    for many in range(1, len(variances) + 1):
        level = 2 ** ((sum(map(log2, variances[:many])) - 2 * log2(units)) / many)
        if variances[many - 1] >= level and (many == len(variances) or variances[many] <= level):
            levels.append(level)
    low, high = (sum(variance > factor * levels[0] / 8 for variance in variances) for factor in (1.0001, 0.9999))
    assert low <= _worthwhile(torch.tensor([variance**0.5 for variance in variances]).double(), units) <= high


@pytest.mark.parametrize(("count", "units"), [(1, 2), (10, 144), (96, 1024)])
def test_equal_directions_are_all_worth_it(count, units):
    assert _worthwhile(torch.full((count,), 0.7), units) == count


def test_a_direction_is_not_worth_it_where_a_code_spends_nothing_on_it():
    deviations = torch.tensor([8.0, (64 / 256 / 8 * 1.01) ** 0.5, (64 / 256 / 8 * 0.99) ** 0.5])
    assert _worthwhile(deviations, 16) == 2


def coordinates(n, width, tails=1.0):
    place = torch.arange(n)
    return _Coordinates(torch.zeros(1, 1).expand(n, width), place, share=1.0, tails=tails, sums=[])


@few
@given(st.floats(0.5, 9), st.floats(1.01, 2), st.integers(16, 256), st.floats(1, 20))
def test_more_rows_are_needed_the_narrower_the_radius_the_fewer_the_directions_the_heavier_the_tails(
    radius, factor, width, tails
):
    grid, n = Grid(20, 30), 10**6
    rows = _rows_needed(coordinates(n, width), grid, radius)
    assert COARSE_ROWS <= rows <= n
    assert rows >= _rows_needed(coordinates(n, width), grid, radius * factor)
    assert rows >= _rows_needed(coordinates(n, 2 * width), grid, radius)
    assert rows >= _rows_needed(coordinates(n, width), Grid(20, 20), radius)
    assert rows <= _rows_needed(coordinates(n, width, tails), grid, radius)
    assert _rows_needed(coordinates(3000, width), grid, radius) == 3000


def test_the_rows_needed_are_numbers_a_unit():
    assert _rows_needed(coordinates(10**6, 16, 2.0), Grid(40, 40), 2.0) == 2 * 1600 * 1600 // 16 // 4


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        (Grid(12, 12), (6, 6)),
        (Grid(13, 3), (7, 3)),
        (Grid(1, 9), (1, 5)),
        (Grid(3, 3), None),
        (Grid(10, 10, "hexagonal", "toroidal"), (6, 5)),
        (Grid(10, 10, "rectangular", "toroidal"), (5, 5)),
        (Grid(4, 2, "hexagonal", "toroidal"), (2, 2)),
    ],
    ids=str,
)
def test_a_coarser_grid_has_half_the_units_along_each_side(grid, expected):
    coarser = _halved(grid)
    assert (coarser and (coarser.rows, coarser.columns)) == expected
    if coarser:
        assert (coarser.kind, coarser.topology) == (grid.kind, grid.topology)
        assert _steps(grid, coarser) == max(grid.rows / coarser.rows, grid.columns / coarser.columns)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("shape", [(12, 12), (14, 9), (24, 31)])
def test_constants_stay_constant_on_a_finer_grid(kind, topology, shape):
    fine = Grid(*shape, kind, topology)
    coarse = _halved(fine)
    found = _resampled(torch.full((len(coarse), 2), 3.7), coarse, fine)
    assert found.shape == (len(fine), 2)
    np.testing.assert_allclose(found, 3.7, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(12, 12), (14, 9), (24, 31)])
def test_slopes_stay_slopes_inside_a_finer_grid(kind, shape):
    fine = Grid(*shape, kind)
    coarse = _halved(fine)
    found = _resampled(coarse.positions, coarse, fine)
    expected = fine.positions * coarse.positions.amax(0) / fine.positions.amax(0)
    inside = ((expected > 1.2) & (expected < expected.amax(0) - 1.2)).all(1)
    assert inside.sum() >= 4
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.09)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wave_around_a_torus_stays_a_wave(kind):
    fine, coarse = Grid(16, 20, kind, "toroidal"), Grid(8, 10, kind, "toroidal")

    def wave(grid):
        angle = 2 * torch.pi * grid.positions / torch.tensor([grid.columns, grid.rows * grid.row_height])
        return torch.cat([angle.sin(), angle.cos()], 1)

    found = _resampled(wave(coarse), coarse, fine)
    cosine = torch.nn.functional.cosine_similarity(found, wave(fine), dim=1)
    assert cosine.min() > 0.995
    assert found.norm(dim=1).min() > 1.2


def test_only_a_plane_has_borders_where_units_get_other_shares(always_fast):
    torus, square = [], []
    start = Grid(12, 12, "rectangular").positions.numpy() / 12
    for seed in range(12):
        places = np.random.default_rng(seed).uniform(0, 1, (3000, 2)).astype(np.float32)
        for data, topology, init, found in (
            (on_torus(places), "toroidal", on_torus(start), torus),
            (places, "planar", "pca", square),
        ):
            som = SOM((12, 12), topology=topology, init=init, random_state=seed).fit(data)
            hits = np.bincount(som.labels_, minlength=144).reshape(12, 12) / len(data) * 144
            found.append(hits.mean() - hits[2:-2, 2:-2].mean())
    error = np.std(torus, ddof=1) / 12**0.5
    assert abs(np.mean(torus)) < 3 * error < 0.06
    assert abs(np.mean(square)) > 3 * np.std(square, ddof=1) / 12**0.5


def on_torus(places):
    """Flat, in four dimensions."""
    angles = 2 * np.pi * places
    return np.concatenate([np.cos(angles), np.sin(angles)], 1)


def test_directions_are_taken_where_rows_are_wide(monkeypatch):
    data = torch.from_numpy(rectified())
    for width, expected in [(200, True), (128, False), (129, True)]:
        axes, share = fast._directions(data[:2560, :width], 100, 0, centre=True)
        assert (axes is not None) == expected
        if expected:
            assert axes.shape[0] % 16 == 0
            assert axes.shape[1] == width
            assert 0.9 < share <= 1
            np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-5)
        else:
            assert share == 1.0


def test_more_directions_are_looked_for_where_the_fewer_do_not_suffice():
    axes, share = fast._directions(gaussian(1000, 600), 10**6, 0, centre=True)
    assert axes.shape[0] == 256
    assert 0.4 < share < 0.9


def test_coordinates_stand_in_random_order():
    rows = rows_of(np.arange(3000.0)[:, None] * np.ones((1, 2)))
    found = fast._along(rows, None, torch.ones(1, dtype=torch.float64), 1.0, 0)
    assert torch.equal(found.vectors[found.place][:, 1], torch.arange(3000.0).double())
    assert abs(np.corrcoef(found.vectors[:, 0], np.arange(3000))[0, 1]) < 0.1
    assert found.sums == [2.0 * sum(range(start, min(start + 1024, 3000), 8)) for start in (0, 1024, 2048)]


class Shuffled:
    """Blocks whose order changes each time, or of which some go missing."""

    def __init__(self, rows, lost=0):
        self.rows, self.lost, self.reading = rows, lost, 0

    def __iter__(self):
        self.reading += 1
        order = np.random.default_rng(self.reading if self.lost == 0 else 0).permutation(len(self.rows))
        kept = len(self.rows) - 100 - self.lost * self.reading
        return iter(np.array_split(self.rows[order][:kept], 5))


@pytest.mark.parametrize("lost", [0, 1, -1])
def test_rows_that_change_from_one_reading_to_the_next_are_refused(lost, always_fast):
    source = Shuffled(clusters(4000), lost)
    with pytest.raises(ValueError, match=r"`X` gave other rows, or the same in another order, when it was read again"):
        SOM((8, 8)).fit(source)


def test_heavy_tails_are_told_from_light_ones():
    flat = fast._along(held(torch.eye(50)), None, torch.ones(1), 1.0, 0)
    heavy = fast._along(held(torch.cat([torch.eye(50), 100 * torch.eye(50)[:1]])), None, torch.ones(1), 1.0, 0)
    assert flat.tails == pytest.approx(1)
    assert heavy.tails == pytest.approx((50 + 1e8) / 51 / ((50 + 1e4) / 51) ** 2, rel=1e-5)
    outlier = torch.cat([torch.eye(50).repeat(10, 1), 1e6 * torch.eye(50)[:1]])
    assert fast._along(held(outlier), None, torch.ones(1), 1.0, 0).tails == 64


def coarse(vectors, share=1.0, seed=0, radii=(2.0, 1.0), **options):
    """The coarse maps that are left, best first, and the epochs."""
    given = _Coordinates(vectors, torch.arange(len(vectors)), share, 1.0, [])
    maps, history = fast._coarse_maps(
        given, Grid(5, 6), list(radii), 1.0, seed, **{"from_plane": True, "unit_length": False, **options}
    )
    return list(maps), history


def test_what_coarse_maps_explain_is_a_share_of_the_whole():
    vectors = torch.from_numpy(clusters(800, 5))
    (half, _), (whole, _) = (coarse(vectors, share=share)[1] for share in (0.5, 1.0))
    assert half.explained_variance == pytest.approx(whole.explained_variance / 2)


def test_coarse_maps_of_many_directions_explain_no_more_than_the_last(always_fast):
    history = SOM((10, 10)).fit(gaussian(3000, 120)).history_
    early = [epoch.explained_variance for epoch in history if epoch.rows < 3000]
    assert 0.02 < max(early) < history[-1].explained_variance + 0.005


def test_one_of_the_starts_is_the_plane_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(fast, "STARTS", 1)
    vectors = torch.from_numpy(clusters(800, 5)) * torch.tensor([5.0, 3.0, 1.0, 0.3, 0.1])
    one, other = (coarse(vectors, seed=seed)[0][0] for seed in (0, 1))
    torch.testing.assert_close(one, other, atol=1e-3, rtol=0)
    one, other = (coarse(vectors, seed=seed, from_plane=False)[0][0] for seed in (0, 1))
    assert (one - other).abs().max() > 1


def test_the_worse_half_of_the_starts_is_given_up(monkeypatch):
    seen = []
    search = fast._units_of_each
    monkeypatch.setattr(
        fast, "_units_of_each", lambda rows, maps: (seen.append((len(rows), len(maps))), search(rows, maps))[1]
    )
    maps, history = coarse(torch.from_numpy(clusters(8000, 5)), radii=[1.0] * 6)
    assert seen == [*[(1024, 16)] * 4, *[(2048, 8)] * 3, *[(2048, 1)] * 8]
    assert [epoch.rows for epoch in history] == [1024] * 4 + [2048] * 2
    assert len(maps) == 8


@pytest.mark.parametrize(("maps", "units", "n"), [(1, 3, 50), (7, 20, 300), (4, 5, 2500)])
def test_maps_tallied_together_have_the_sums_and_counts_of_each_alone(maps, units, n):
    vectors = gaussian(n, 4)
    found = torch.randint(units, (n, maps), generator=torch.Generator().manual_seed(1))
    sums, counts = fast._tallied_together(vectors, found, units)
    assert sums.dtype == counts.dtype == torch.float64
    for which in range(maps):
        for unit in range(units):
            own = vectors[found[:, which] == unit].double()
            assert counts[which, unit] == len(own)
            torch.testing.assert_close(sums[which, unit], own.sum(0))


def test_the_coarse_maps_come_in_the_order_of_what_they_explain_of_unseen_rows():
    data = torch.from_numpy(clusters(8000, 5))
    maps, _ = coarse(data, radii=[2.0, 1.0, 0.8])
    missed = [float(torch.cdist(data[2048:4096], one).amin(1).square().sum()) for one in maps]
    assert missed[0] < np.median(missed)
    assert missed[0] < missed[-1]


def test_where_rows_are_clustered_the_best_of_all_starts_and_the_plain_rule_is_taken(monkeypatch, always_fast):
    data, worth, of = clusters(6000), [], fast._worth
    monkeypatch.setattr(fast, "_worth", lambda fit: (worth.append(of(fit)), worth[-1])[1])
    best = quality(SOM((16, 16)).fit(data), data)
    assert len(worth) == 9
    assert best[0] - best[1] / 5 == pytest.approx(max(worth), abs=2e-3)


@pytest.mark.parametrize("topology", ["planar", "toroidal"])
def test_where_rows_are_clustered_and_all_starts_are_poor_the_map_is_the_plain_rule_s(
    monkeypatch, always_fast, topology
):
    def poor(_, grid, __, start, **___):
        return fast._Refined(start.prototypes[torch.randperm(len(grid))], [])

    monkeypatch.setattr(fast, "_refined", poor)
    data = clusters(6000)
    plain, quick = (
        quality(SOM((16, 16), topology=topology, solver=solver).fit(data), data) for solver in ("exact", "fast")
    )
    np.testing.assert_allclose(quick, plain, atol=2e-3)


def test_smooth_rows_are_refined_from_two_starts(monkeypatch, always_fast):
    worth, of = [], fast._worth
    monkeypatch.setattr(fast, "_worth", lambda fit: (worth.append(of(fit)), worth[-1])[1])
    SOM((16, 16)).fit(sheet())
    assert len(worth) == 2


def test_units_that_few_rows_leave_out_are_no_sign_of_clusters(monkeypatch, always_fast):
    worth, of = [], fast._worth
    monkeypatch.setattr(fast, "_worth", lambda fit: (worth.append(of(fit)), worth[-1])[1])
    monkeypatch.setattr(fast, "JUDGES", 512)  # of 900 units most are without one of these rows
    asked, told = [], fast._clustered
    monkeypatch.setattr(fast, "_clustered", lambda *given: (asked.append(told(*given)), asked[-1])[1])
    SOM((30, 30)).fit(gaussian(4000, 20))
    assert asked == [False]
    assert len(worth) == 2


@pytest.mark.parametrize("rows", [300, 1000, 20_000])
@pytest.mark.parametrize("dead", [0, 0.15, 0.45])
def test_rows_are_clustered_where_units_are_idle_beyond_chance(rows, dead):
    generator = torch.Generator().manual_seed(0)
    units = torch.arange(1000.0)[:, None]
    used = torch.randint(int((1 - dead) * 1000), (rows,), generator=generator)
    given = _Coordinates(units[used], torch.arange(rows), 1.0, 1.0, [])
    assert fast._clustered(given, units) == (dead > fast.EMPTY and rows > 300)


@pytest.mark.parametrize("better", [0, 1])
@pytest.mark.parametrize("spoilt", ["explained variance", "topographic error"])
def test_the_better_of_two_maps_is_taken(better, spoilt):
    som = SOM((8, 8), solver="exact").fit(sheet())
    vectors = torch.cat(list(som._fitted_rows(sheet())[0]))
    good = som._prototypes
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    bad = (
        good[order] if spoilt == "topographic error" else 0.7 * good
    )  # the same units in other places, or a shrunken map
    maps = [fast._Refined(one, []) for one in ((good, bad) if better == 0 else (bad, good))]
    given = _Coordinates(vectors, torch.arange(len(vectors)), 1.0, 1.0, [])
    found = fast._best_of(iter(maps), given, som.grid_, 0.6, unit_length=False)
    assert found.prototypes is good


def test_heavy_tails_pay_less():
    light, heavy = torch.randn(2000, 50), torch.randn(2000, 50)
    heavy[:20] *= 30
    count = int(2 * fast.PLAIN / (400 * 50))
    assert fast.pays(count, 400, light)
    assert not fast.pays(count, 400, heavy)
    assert fast.pays(100 * count, 400, heavy)
    assert not fast.pays(fast.FEWEST - 1, 10**9, light)
