"""Kohonen 2001, Self-Organizing Maps, section 3.6: grid, batch rule and topographic error, one element at a time."""

from math import exp, sqrt

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
    """The prototypes after one epoch a radius, and the explained variance (around 0) before each."""
    prototypes, history = np.asarray(initial, dtype=float), []
    for radius in radii:
        units = [best_units(vector, prototypes)[0] for vector in vectors]
        missed = sum(distance(vector, prototypes[unit]) ** 2 for vector, unit in zip(vectors, units, strict=True))
        history.append(1 - missed / sum(distance(vector, [0.0] * len(vector)) ** 2 for vector in vectors))
        prototypes = neighbourhood_means(vectors, units, places, radius, prototypes)
    return prototypes, history
