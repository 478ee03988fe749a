"""Rank correlations with every sample written out, p-values by going through all signs, and Holm's procedure."""

from itertools import product

import numpy as np
from scipy.stats import rankdata


def pearson(one, other):
    """Correlation as it is defined."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    return np.mean((one - one.mean()) * (other - other.mean())) / (one.std() * other.std())


def left_over(values, given):
    """What a straight line in `given`, by least squares, leaves of the values."""
    line = np.column_stack([np.ones(len(given)), given])
    return values - line @ np.linalg.lstsq(line, np.asarray(values, dtype=float), rcond=None)[0]


def partial(one, other, given):
    """Correlation of what the rank of `given` leaves of two ranks."""
    one, other, given = (rankdata(values) for values in (one, other, given))
    return pearson(left_over(one, given), left_over(other, given))


def ranks_within(values, groups):
    """Ranks within each group, over its size, less their mean; one group after the other."""
    found = np.zeros(len(values))
    for group in sorted(set(groups)):
        own = [place for place, other in enumerate(groups) if other == group]
        ranks = rankdata([values[place] for place in own])
        for place, rank in zip(own, ranks, strict=True):
            found[place] = (rank - ranks.mean()) / len(own)
    return found


def within(one, other, groups):
    """Correlation of ranks within groups, all groups together."""
    one, other = ranks_within(one, groups), ranks_within(other, groups)
    return (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())


def exact_p(one, other, clusters, groups=None, given=None):
    """The share of all ways to turn clusters round, or leave them, that go as far from 0 as they are.

    Each is made larger for the part that it has in its group's mean.
    """
    groups = [0] * len(one) if groups is None else list(groups)
    one, other = ranks_within(one, groups), ranks_within(other, groups)
    if given is not None:
        given = ranks_within(given, groups)
        one, other = left_over(one, given), left_over(other, given)
    parts = dict.fromkeys(clusters, 0.0)
    cells = list(zip(clusters, groups, strict=True))
    for (cluster, group), a, b in zip(cells, one, other, strict=True):
        share = cells.count((cluster, group)) / groups.count(group)
        parts[cluster] += a * b / np.sqrt(max(1 - share, 0.25))
    ways = list(product((1, -1), repeat=len(parts)))
    sums = [sum(sign * part for sign, part in zip(way, parts.values(), strict=True)) for way in ways]
    return sum(abs(turned) >= abs(one @ other) - 1e-9 for turned in sums) / len(ways)


def rejected(p, level):
    """Which hypotheses Holm's procedure (1979) rejects at a level: from the smallest p, until one is too large."""
    found = [False] * len(p)
    for step, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[place] > level / (len(p) - step):
            break
        found[place] = True
    return found
