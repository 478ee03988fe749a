"""The bootstrap as it is told: draw samples, compute again."""

import numpy as np


def repeated(rows, counts):
    """The rows of one bootstrap draw, written out."""
    return [row for row, count in zip(rows, counts, strict=True) for _ in range(int(count))]


def lower_median(values):
    """The middle value, or the lower of the two in the middle."""
    return sorted(values)[(len(values) - 1) // 2]


def centred_interval(value, replicates):
    """Where the middle 95 % of the replicates lie, moved so that their mean is the value."""
    replicates = np.asarray(replicates, dtype=float)
    low, high = np.quantile(replicates, [0.025, 0.975])
    return value + low - replicates.mean(), value + high - replicates.mean()
