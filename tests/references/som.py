"""What a map is and how good it is, from the papers, one element at a time (the batch rule: Kohonen 2001, 3.6)."""

from math import exp, log, sqrt

import numpy as np


def positions(rows, columns, kind):
    """Place of each unit, row by row; odd rows of hexagons stand half a step to the right."""
    if kind == "rectangular":
        return [(float(column), float(row)) for row in range(rows) for column in range(columns)]
    return [(column + (0.5 if row % 2 else 0.0), row * sqrt(3) / 2) for row in range(rows) for column in range(columns)]


def distance(a, b):
    """Along a straight line."""
    return sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def touching(rows, columns, kind):
    """Pairs of units that touch, from the offsets of rows and columns alone: no distances."""
    eight = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
    even = [(-1, -1), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 0)]
    odd = [(-1, 0), (-1, 1), (0, -1), (0, 1), (1, 0), (1, 1)]
    pairs = set()
    for row in range(rows):
        for column in range(columns):
            offsets = eight if kind == "rectangular" else odd if row % 2 else even
            for down, right in offsets:
                if 0 <= row + down < rows and 0 <= column + right < columns:
                    pairs.add((row * columns + column, (row + down) * columns + column + right))
    return pairs


def best_units(vector, prototypes):
    """Units from the nearest to the farthest."""
    return sorted(range(len(prototypes)), key=lambda unit: distance(vector, prototypes[unit]))


def neighbourhood_means(vectors, units, places, radius, former):
    """Each unit's Gaussian-weighted mean of all vectors; where no vector weighs anything, what was there."""
    means = []
    for unit in range(len(places)):
        above, below = np.zeros(len(vectors[0])), 0.0
        for vector, own in zip(vectors, units, strict=True):
            weight = exp(-(distance(places[unit], places[own]) ** 2) / (2 * radius**2))
            above, below = above + weight * np.asarray(vector, dtype=float), below + weight
        means.append(above / below if below > 1e-12 else former[unit])
    return np.array(means)


def batch_rule(vectors, places, initial, radii):
    """The prototypes after one epoch a radius, and the explained variance (around the mean) before each."""
    prototypes, history, middle = np.asarray(initial, dtype=float), [], np.mean(np.asarray(vectors), axis=0)
    for radius in radii:
        units = [best_units(vector, prototypes)[0] for vector in vectors]
        missed = sum(distance(vector, prototypes[unit]) ** 2 for vector, unit in zip(vectors, units, strict=True))
        history.append(1 - missed / sum(distance(vector, middle) ** 2 for vector in vectors))
        prototypes = neighbourhood_means(vectors, units, places, radius, prototypes)
    return prototypes, history


def around(a, b, rows, columns, kind):
    """On a torus: the least distance from `a` to the nine copies of `b`, one lattice away in every direction."""
    height = rows * (sqrt(3) / 2 if kind == "hexagonal" else 1.0)
    shifts = [(x * columns, y * height) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    return min(distance(a, (b[0] + right, b[1] + up)) for right, up in shifts)


def apart(rows, columns, kind, topology):
    """Every unit's distance to every other."""
    places = positions(rows, columns, kind)
    measured = distance if topology == "planar" else lambda a, b: around(a, b, rows, columns, kind)
    return np.array([[measured(a, b) for b in places] for a in places])


def figures(vectors, prototypes, touches):
    """Quantization error, explained variance and topographic error; `touches` holds pairs of neighbours."""
    middle = [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]
    near, missed, spread, broken = 0.0, 0.0, 0.0, 0
    for vector in vectors:
        first, second = best_units(vector, prototypes)[:2]
        step = distance(vector, prototypes[first])
        near, missed, spread = near + step, missed + step**2, spread + distance(vector, middle) ** 2
        broken += (first, second) not in touches
    return near / len(vectors), 1 - missed / spread, broken / len(vectors)


def trustworthiness(vectors, places, neighbours):
    """Venna & Kaski 2001, equation 1; `places(i, j)` is the distance of two samples on the map, without ties."""
    n, penalty = len(vectors), 0
    for one in range(n):
        others = [other for other in range(n) if other != one]
        ranked = sorted(others, key=lambda other: distance(vectors[one], vectors[other]))
        nearest = sorted(others, key=lambda other: places(one, other))[:neighbours]
        penalty += sum(max(0, ranked.index(other) + 1 - neighbours) for other in nearest)
    return 1 - 2 * penalty / (n * neighbours * (2 * n - 3 * neighbours - 1))


def topographic_product(prototypes, steps):
    """Bauer & Pawelzik 1992, equations 4 to 12; `steps` are the distances on the grid."""
    count, total = len(prototypes), 0.0
    for unit in range(count):
        others = [other for other in range(count) if other != unit]
        apart_from = [distance(prototypes[unit], prototypes[other]) for other in range(count)]
        on_grid = sorted(others, key=lambda other: (round(steps[unit][other], 4), other))
        in_space = sorted(others, key=lambda other: (apart_from[other], other))
        for order in range(1, count):
            product = 1.0
            for grid_neighbour, space_neighbour in zip(on_grid[:order], in_space[:order], strict=True):
                product *= apart_from[grid_neighbour] / apart_from[space_neighbour]
                product *= steps[unit][grid_neighbour] / steps[unit][space_neighbour]
            total += log(product ** (1 / (2 * order)))
    return total / (count * (count - 1))


def near_pairs(units, touches):
    """For each pair of samples, whether they are on one unit or on two that touch."""
    pairs = [(a, b) for index, a in enumerate(units) for b in units[index + 1 :]]
    return [a == b or (a, b) in touches for a, b in pairs]
