"""The fast solver: the same map from a fraction of the work.

Each saving has its reason. Prototypes are averages of rows, so they lie near the rows' leading principal directions,
and distances are compared there. A wide neighbourhood blurs the map, so few units and few rows tell where it goes:
early epochs run on a coarse grid and on a sample, which grows as the radius falls. And what a coarse grid costs so
little can be tried from many starts: the fold that a map settles in, more than anything that comes later, decides its
topographic error, and the start whose coarse map explains most of rows that it hasn't seen leads to the better map.
The last epoch takes all rows, and the prototypes are means of the rows themselves, in full width.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice, pairwise
from math import ceil, exp, log2
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from layerscope.products import product
from layerscope.som.grid import Grid
from layerscope.som.quality import Fit, measure
from layerscope.som.rows import BLOCK, Rows
from layerscope.som.search import Search, argmax
from layerscope.som.train import Epoch, Solved, Tally, explained, initial_plane, means, train, weighted_means
from layerscope.subspace import principal_axes
from layerscope.types import PerSample, Prototypes, Units, Vectors

PLAIN = 5 * 10**8
"""Multiplications below which an epoch of the plain rule takes some milliseconds, and savings would cost more."""
FEWEST = 2000
"""Rows below which there is nothing to draw samples from."""
SAMPLE = 2560
"""Rows that the principal directions are found on."""
AXES = (96, 256)
"""Directions that are looked for, more of them only where the fewer don't suffice."""
WORTH = 8
"""How many times less variance than the least that an optimal code would spend bits on a direction may have."""
COARSE_UNITS = 128
"""Units of the coarsest grid, at most."""
COARSE_ROWS = 4096
COARSE_AXES = 16
START_ROWS, MOST_START_ROWS, MOST_TAILS = 1024, 32_768, 64.0
"""However heavy the tails."""
STARTS = 16
COARSE_EPOCHS, MIDDLE_EPOCHS = 8, 6
HALVED_AFTER = 4
"""Epochs after which the worse half of the starts is given up, and the others get twice the rows."""
JUDGED = 0.8
"""Radius at which coarse maps are compared, in steps of their own grid: tight enough to tell their folds."""
LEVEL_END, LEVEL_START = 1.25, 2.5
"""Radii in steps of a level's own grid; the end of one is the start of the next, twice as fine."""
NUMBERS_A_UNIT = 1600
"""Numbers (rows times directions) per unit and squared radius that an epoch before the last takes."""
FINALISTS, JUDGES = 2, 4096
"""Coarse maps that are refined on the full grid, and rows that judge them."""
EXCHANGE = 0.2
"""Of topographic error for explained variance, as the bounds of equal quality in the benchmark have it."""
EMPTY = 0.25
"""Share of units without a row, beyond those that few rows leave out, above which rows are clustered: chance then
settles which clusters share a unit, so that the other starts are refined, too, the plain rule makes its own map beside
them, and the best one is taken."""
TELLING_ROWS = 8
"""Rows for each unit, where there are as many, that tell a unit without a row: of fewer, chance leaves some out."""
RESAMPLED, RESAMPLED_AT_ONCE = 0.5, 1024
"""Radius of the averages that carry prototypes to a finer grid, in steps of the coarse one."""


class _Coordinates(NamedTuple):
    """All rows along few directions, in random order."""

    vectors: Vectors
    place: Tensor
    """(n,): where each row stands."""
    share: float
    """Of the rows' variance that lies along these directions."""
    tails: float
    """E|x|^4 / E^2|x|^2, 1 at least: how many times more rows a mean needs where few rows hold most of the variance."""
    sums: list[float]
    """Of each block, to tell whether the same rows come again."""


def pays(count: int, units: int, sample: Vectors) -> bool:
    """Whether the fast solver has anything to save on `count` rows like those of `sample`: (n, d), centred.

    The heavier their tails, the more rows an epoch takes, and the less is saved.
    """
    squares = torch.linalg.vector_norm(sample, dim=1).square_()
    return count >= FEWEST and count * units * sample.shape[1] > PLAIN * _tails(squares)


def solve_fast(
    rows: Rows,
    sample: Vectors,
    grid: Grid,
    *,
    initial: Prototypes | None,
    radius: tuple[float, float],
    epochs: int,
    seed: int,
    from_plane: bool = True,
    unit_length: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Solved:
    """Train a map coarse to fine.

    Holds the rows' coordinates (4 bytes per row and direction; all features where they are 128 or fewer, else 16 to
    256 directions, or all where those don't suffice), about 40 bytes per row, and some blocks of rows. Reads the rows
    twice, once for the coordinates and once for the final means, and they must come in the same order.

    Args:
        rows: centred, of a size whose squares fit into their precision; without weights.
        sample: some of them.
        grid: the lattice.
        initial: (K, d), where to start; then there is no coarse grid, and every epoch takes all rows: a sample would
            carry the map away from where it was put. None: coarse maps are started from rows drawn by chance, and the
            best of them is taken.
        radius: the first and the last, in grid steps.
        epochs: of the plain rule's schedule; those with wide radii run on coarse grids.
        seed: of the samples.
        from_plane: whether one of the coarse maps starts on the principal plane.
        unit_length: bring prototypes to length one after each epoch (for cosine).
        advance: called after each piece of work; there are four.

    Raises:
        ValueError: if the rows are others, or in another order, at the second reading.
    """
    axes, share = _directions(sample, len(grid), seed, centre=not unit_length)
    advance()
    coordinates = _along(rows, axes, sample, share, seed)
    advance()
    schedule = radii = geometric(*radius, epochs)
    if initial is None:
        starts, history = _starts(coordinates, grid, radius, seed, from_plane=from_plane, unit_length=unit_length)
        radii = [sigma for sigma in schedule if sigma <= LEVEL_START] or [radius[1]]
    else:
        history = []
        starts = iter([_Refined(initial if axes is None else product(initial, axes.T), [])])
    refine = partial(_refined, coordinates, grid, radii[:-1], sampled=initial is None, unit_length=unit_length)
    maps: Iterator[_Refined] = map(refine, starts)
    if from_plane and initial is None:
        maps = chain(maps, _plain(coordinates, grid, schedule[:-1], seed, unit_length=unit_length))
    prototypes, fine = _best_of(maps, coordinates, grid, radius[1], unit_length=unit_length)
    units = Search(prototypes).best(coordinates.vectors)[coordinates.place]
    sums, share, energy = coordinates.sums, coordinates.share, _energy(coordinates.vectors)
    del coordinates, refine, starts, maps
    advance()
    tally, start_row = Tally(len(grid), rows.width, like=prototypes), 0
    for number, block in enumerate(rows):
        if number >= len(sums) or _sum(block) != sums[number]:
            raise other_rows()
        tally.add(block, units[start_row : start_row + len(block)])
        start_row += len(block)
    if start_row < len(units):
        raise other_rows()
    former = prototypes if axes is None else product(prototypes, axes)
    along = tally.sums if axes is None else product(tally.sums, axes.T.double())
    told = float(explained(along, tally.counts, prototypes, energy)) * share
    history += [*fine, Epoch(radius[1], len(grid), len(units), told)]
    full = means(tally, grid, radius[1], former, unit_length=unit_length)
    advance()
    return Solved(full, tuple(history), tally)


def geometric(start: float, end: float, count: int) -> list[float]:
    """`count` numbers from `start` to `end`, each the same multiple of the one before; the last alone if one."""
    return [end if count == 1 else start * (end / start) ** (step / (count - 1)) for step in range(count)]


def _directions(sample: Vectors, units: int, seed: int, *, centre: bool) -> tuple[Float[Tensor, "r d"] | None, float]:
    """The directions worth comparing distances along, and their share of the variance.

    None where most directions are. A Gaussian source with variances v_j, coded with log2(K) bits at the least error,
    gets bits along those directions alone whose v_j exceeds the water level t: sum of log2(v_j / t) / 2 = log2(K)
    (Cover & Thomas 2006, Elements of Information Theory, section 10.3.3). A map does worse than that code; directions
    down to an eighth of the level are kept to be safe.
    """
    width = sample.shape[1]
    around = sample - sample.mean(0) if centre else sample
    total = _energy(around) / len(sample)
    if width > COARSE_AXES and total > 0:
        for rank in AXES:
            if rank >= 0.75 * width:
                break
            axes, deviations = principal_axes([around], rank, seed=seed, iterations=1, centre=False)
            enough = _worthwhile(deviations, units)
            enough = ceil(max(enough, COARSE_AXES) / COARSE_AXES) * COARSE_AXES
            if enough < rank or rank == AXES[-1]:
                return axes[:enough].contiguous(), float(deviations[:enough].double().square().sum()) / total
    return None, 1.0


def _worthwhile(deviations: Float[Tensor, " r"], units: int) -> int:
    """How many directions have more than an eighth of the water level's variance."""
    variances = deviations.double().square()
    low, high = 0.0, float(variances[0])
    for _ in range(50):
        level = (low + high) / 2
        bits = float((variances / level).clamp_min(1).log2().sum()) / 2
        low, high = (level, high) if bits > log2(units) else (low, level)
    return int((variances > level / WORTH).sum())


def _along(rows: Rows, axes: Tensor | None, like: Tensor, share: float, seed: int) -> _Coordinates:
    """All rows' coordinates, each row at a place drawn by chance, so that any first part is a random sample."""
    assert rows.count is not None
    order = torch.randperm(rows.count, generator=torch.Generator().manual_seed(seed))
    place = torch.empty_like(order)
    place[order] = torch.arange(rows.count)
    vectors, sums, start = like.new_empty(rows.count, rows.width if axes is None else len(axes)), [], 0
    for block in rows:
        here = place[start : start + len(block)].to(vectors.device)
        if len(here) < len(block):
            raise other_rows()
        vectors.index_copy_(0, here, block if axes is None else product(block, axes.T))
        sums.append(_sum(block))
        start += len(block)
    if start < rows.count:
        raise other_rows()
    squares = torch.linalg.vector_norm(vectors, dim=1).square_()
    return _Coordinates(vectors, place.to(vectors.device), share, _tails(squares), sums)


def _tails(squares: PerSample) -> float:
    """E|x|^4 / E^2|x|^2 of the |x|^2 given, which are overwritten; 1 at least, and no more than 64."""
    middle = float(squares.mean(dtype=torch.float64))
    tails = float(squares.square_().mean(dtype=torch.float64)) / max(middle, 1e-150) ** 2
    return min(max(tails, 1.0), MOST_TAILS)


def other_rows() -> ValueError:
    """The error of blocks that change from one reading to the next."""
    return ValueError(
        "`X` gave other rows, or the same in another order, when it was read again; fitting needs the same each time. "
        "Switch shuffling and random transforms off."
    )


def _sum(block: Vectors) -> float:
    """Of every eighth row: enough to tell a block from another."""
    return float(block[::8].sum())


def _starts(
    coordinates: _Coordinates,
    grid: Grid,
    radius: tuple[float, float],
    seed: int,
    *,
    from_plane: bool,
    unit_length: bool,
) -> tuple["Iterator[_Refined]", list[Epoch]]:
    """Maps on the full grid from the coarse maps that were left in the end, best first, each when asked for.

    And the epochs of the coarse maps.
    """
    levels = [grid]
    while len(levels[-1]) > COARSE_UNITS and (coarser := _halved(levels[-1])) is not None:
        levels.append(coarser)
    levels.reverse()
    scale = _steps(grid, levels[0])
    start, end = radius
    last = max(JUDGED, end / scale)
    radii = geometric(max(start / scale, last), last, COARSE_EPOCHS)
    maps, history = _coarse_maps(
        coordinates, levels[0], radii, scale, seed, from_plane=from_plane, unit_length=unit_length
    )
    return (_carried(coordinates, levels, end, one, unit_length=unit_length) for one in maps), history


def _carried(
    coordinates: _Coordinates, levels: Sequence[Grid], end: float, prototypes: Prototypes, *, unit_length: bool
) -> "_Refined":
    """A coarse map on the full grid, refined on each level between the two."""
    epochs = []
    for coarse, level in pairwise(levels):
        prototypes = _resampled(prototypes, coarse, level)
        if level is not levels[-1]:
            scale = _steps(levels[-1], level)
            for sigma in geometric(max(LEVEL_START, end / scale), max(LEVEL_END, end / scale), MIDDLE_EPOCHS):
                vectors = coordinates.vectors[: _rows_needed(coordinates, level, sigma)]
                _, tally = _assigned(vectors, prototypes)
                epochs.append(_epoch(coordinates, level, sigma * scale, prototypes, tally))
                prototypes = means(tally, level, sigma, prototypes, unit_length=unit_length)
    return _Refined(prototypes, epochs)


class _Refined(NamedTuple):
    """A map on the full grid after some epochs."""

    prototypes: Prototypes
    """Along the directions of the coordinates."""
    epochs: list[Epoch]


def _refined(
    coordinates: _Coordinates,
    grid: Grid,
    radii: Sequence[float],
    start: _Refined,
    *,
    sampled: bool,
    unit_length: bool,
) -> _Refined:
    """Train on the full grid, each epoch on as many rows as it needs, or on all."""
    prototypes, epochs = start.prototypes, [*start.epochs]
    for sigma in radii:
        many = _rows_needed(coordinates, grid, sigma) if sampled else len(coordinates.vectors)
        vectors = coordinates.vectors[:many]
        _, tally = _assigned(vectors, prototypes)
        epochs.append(_epoch(coordinates, grid, sigma, prototypes, tally))
        prototypes = means(tally, grid, sigma, prototypes, unit_length=unit_length)
    return _Refined(prototypes, epochs)


def _plain(
    coordinates: _Coordinates, grid: Grid, radii: Sequence[float], seed: int, *, unit_length: bool
) -> Iterator[_Refined]:
    """The plain rule's own map, from the principal plane on all rows; made when it is asked for."""
    initial = initial_plane(coordinates.vectors, grid, seed=seed)
    if not radii:
        yield _Refined(initial, [])
        return
    solved = train(coordinates.vectors, grid, initial, radii, unit_length=unit_length)
    epochs = [one._replace(explained_variance=one.explained_variance * coordinates.share) for one in solved.history]
    yield _Refined(solved.prototypes, epochs)


def _best_of(
    maps: Iterator[_Refined], coordinates: _Coordinates, grid: Grid, end: float, *, unit_length: bool
) -> _Refined:
    """The best of the first few maps; where rows are clustered, of all, each judged after its last update."""
    few = [*islice(maps, FINALISTS)]
    if len(few) == 1:
        return few[0]
    vectors = coordinates.vectors[-JUDGES:]
    fits = [measure(vectors, one.prototypes, grid) for one in few]
    if _idle(fits[0].hits) <= EMPTY or not _clustered(coordinates, few[0].prototypes):
        return few[max(range(len(few)), key=lambda one: _worth(fits[one]))]

    def settled(one: _Refined) -> float:
        _, tally = _assigned(coordinates.vectors, one.prototypes)
        prototypes = means(tally, grid, end, one.prototypes, unit_length=unit_length)
        return _worth(measure(coordinates.vectors, prototypes, grid))

    return max([*few, *maps], key=settled)


def _idle(hits: Tensor) -> float:
    """Share of the units that no row has, of the rows of each: (K,)."""
    return float((hits == 0).double().mean())


def _clustered(coordinates: _Coordinates, prototypes: Prototypes) -> bool:
    """Whether more units are without a row than chance leaves out where rows are spread evenly, and few."""
    vectors = coordinates.vectors[-TELLING_ROWS * len(prototypes) :]
    _, tally = _assigned(vectors, prototypes)
    chance = exp(-len(vectors) / len(prototypes))
    return (_idle(tally.counts) - chance) / (1 - chance) > EMPTY


def _worth(fit: Fit) -> float:
    """Explained variance, less the topographic error at its exchange rate."""
    return fit.explained_variance - EXCHANGE * fit.topographic_error


def _epoch(coordinates: _Coordinates, grid: Grid, radius: float, prototypes: Prototypes, tally: Tally) -> Epoch:
    """What an epoch was, from the tally of its rows; `radius` in steps of the full grid."""
    many = round(float(tally.counts.sum()))
    told = tally.explained(prototypes, _energy(coordinates.vectors[:many]))
    return Epoch(radius, len(grid), many, told * coordinates.share)


def _coarse_maps(
    coordinates: _Coordinates,
    grid: Grid,
    radii: Sequence[float],
    scale: float,
    seed: int,
    *,
    from_plane: bool,
    unit_length: bool,
) -> tuple[Iterator[Prototypes], list[Epoch]]:
    """Of many coarse maps, trained together, the better half; first that which leaves least of unseen rows unexplained.

    By halving (Jamieson & Talwalkar 2016, AISTATS): the worse half is given up on the way, and what that saves goes
    into twice the rows for the others, as the radius falls and means need them.
    """
    n, width = coordinates.vectors.shape
    few = int(min(coordinates.tails * START_ROWS, MOST_START_ROWS, n // 2))
    most = min(2 * few, n // 2)
    rows = coordinates.vectors[: 2 * most]
    axes, _ = principal_axes([rows[:few]], COARSE_AXES, seed=seed, iterations=2, centre=not unit_length)
    seen, unseen = product(rows, axes.T).split([most, len(rows) - most])
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(few, (STARTS, len(grid)), generator=generator)
    prototypes = seen[drawn.to(seen.device)]  # (starts, K, leading)
    if from_plane:
        prototypes[0] = initial_plane(seen[:few], grid, seed=seed)
    history = []
    for epoch, sigma in enumerate(radii, 1):
        taken = seen[: few if epoch <= HALVED_AFTER else most]
        sums, counts = _tallied_together(taken, _units_of_each(taken, prototypes), len(grid))
        energy = _energy(rows[: len(taken)])  # in all directions, not those of coarse maps alone
        told = explained(sums, counts, prototypes, energy)
        history.append(Epoch(sigma * scale, len(grid), len(taken), float(told.mean()) * coordinates.share))
        if epoch == HALVED_AFTER:
            better = told.sort(descending=True, stable=True).indices[: ceil(len(told) / 2)]
            sums, counts, prototypes = sums[better], counts[better], prototypes[better]
        prototypes = weighted_means(sums, counts, grid, sigma, prototypes, unit_length=unit_length)
    units = _units_of_each(unseen, prototypes)
    missed = torch.stack([(unseen - one[own]).square().sum(1) for one, own in zip(prototypes, units.T, strict=True)])

    def in_all_directions(which: int) -> Prototypes:
        """A map's units say where its prototypes stand in the directions that coarse maps leave out."""
        tally = Tally(len(grid), width, like=seen)
        tally.add(coordinates.vectors[:most], _units_of_each(seen, prototypes[which : which + 1])[:, 0])
        former = product(prototypes[which], axes)
        return means(tally, grid, max(LEVEL_END, radii[-1]), former, unit_length=unit_length)

    return map(in_all_directions, missed.double().sum(1).argsort(stable=True).tolist()), history


def _units_of_each(vectors: Vectors, prototypes: Float[Tensor, "m k r"]) -> Tensor:
    """(n, m): the best matching unit in each of several maps."""
    count, units, _ = prototypes.shape
    found = [
        argmax(scores[:, : count * units].unflatten(1, (count, units)))
        for _, scores in Search(prototypes.flatten(0, 1)).blocks(vectors)
    ]
    return torch.cat(found)


def _tallied_together(
    vectors: Vectors, found: Int[Tensor, "n m"], units: int
) -> tuple[Float[Tensor, "m k r"], Float[Tensor, "m k"]]:
    """Each map's sums and counts of the rows of each of its units, in float64."""
    maps = found.shape[1]
    place = found + units * torch.arange(maps, device=found.device)
    sums = torch.zeros(maps * units, vectors.shape[1], dtype=torch.float64, device=vectors.device)
    for some, own in zip(vectors.split(BLOCK), place.split(BLOCK), strict=True):
        sums.index_add_(0, own.flatten(), some.double().repeat_interleave(maps, 0))
    counts = torch.bincount(place.flatten(), minlength=maps * units).double()
    return sums.unflatten(0, (maps, units)), counts.unflatten(0, (maps, units))


def _assigned(vectors: Vectors, prototypes: Prototypes) -> tuple[Units, Tally]:
    """The rows' units, and their sums and counts."""
    units, tally = Search(prototypes).best(vectors), Tally(len(prototypes), vectors.shape[1], like=vectors)
    tally.add(vectors, units)
    return units, tally


def _energy(vectors: Vectors) -> float:
    """The sum of |x|^2, without a copy of the vectors."""
    return float(torch.linalg.vector_norm(vectors, dim=1).square_().sum(dtype=torch.float64))


def _rows_needed(coordinates: _Coordinates, grid: Grid, radius: float) -> int:
    """A prototype averages the rows of about radius^2 units: the narrower, the more rows for the same precision.

    Few directions make rows cheap, so more are taken; and the heavier the tails, the more are needed.
    """
    rows = NUMBERS_A_UNIT / coordinates.vectors.shape[1] * len(grid) / radius**2
    rows = coordinates.tails * max(COARSE_ROWS, rows)
    return int(min(len(coordinates.vectors), rows))


def _halved(grid: Grid) -> Grid | None:
    """A grid of the same shape with half as many units along each side that is not short already."""
    rows = grid.rows if grid.rows < 4 else ceil(grid.rows / 2)
    columns = grid.columns if grid.columns < 4 else ceil(grid.columns / 2)
    if grid.kind == "hexagonal" and grid.topology == "toroidal":
        rows += rows % 2
    smaller = Grid(rows, columns, grid.kind, grid.topology)
    return smaller if len(smaller) < len(grid) else None


def _steps(grid: Grid, coarse: Grid) -> float:
    """How many steps of `grid` one of `coarse` is."""
    return max(grid.rows / coarse.rows, grid.columns / coarse.columns)


def _resampled(prototypes: Prototypes, coarse: Grid, fine: Grid) -> Float[Tensor, "fine d"]:
    """Prototypes on a finer grid: Gaussian averages of the coarse ones around each unit's place."""
    places, ends = fine.positions, fine.positions.amax(0).clamp_min(1)
    if fine.topology == "toroidal":
        stretch = torch.tensor(
            [coarse.columns / fine.columns, coarse.rows * coarse.row_height / (fine.rows * fine.row_height)]
        )
    else:
        stretch = coarse.positions.amax(0) / ends
    found = []
    for some in (places * stretch).split(RESAMPLED_AT_ONCE):
        weight = torch.exp(-coarse.distances_between(some, coarse.positions).square() / (2 * RESAMPLED**2))
        found.append(product((weight / weight.sum(1, keepdim=True)).to(prototypes), prototypes))
    return torch.cat(found)
