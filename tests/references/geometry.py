"""Participation ratio, neighbours, gaps and class scatter, by eigenvalues and by loops over samples."""

from itertools import permutations
from math import inf, sqrt

import numpy as np


def covariance(vectors):
    """Of the rows, with N in the denominator."""
    rows = np.asarray(vectors, dtype=float)
    centred = rows - rows.mean(0)
    return centred.T @ centred / len(rows)


def plug_in_participation_ratio(vectors):
    """Gao et al. 2017, eq. 5, of the sample covariance as it is."""
    eigenvalues = np.linalg.eigvalsh(covariance(vectors))
    return eigenvalues.sum() ** 2 / (eigenvalues**2).sum()


def squared_covariance_trace(vectors):
    """Unbiased tr(C^2): over all four different samples, half the products of two differences, squared.

    For independent samples E[((a - b) . (c - d))^2] = tr((2 C)(2 C)).
    """
    rows = np.asarray(vectors, dtype=float)
    total, count = 0.0, 0
    for a, b, c, d in permutations(range(len(rows)), 4):
        total += float((rows[a] - rows[b]) @ (rows[c] - rows[d])) ** 2 / 4
        count += 1
    return total / count


def unbiased_participation_ratio(vectors):
    """tr(C)^2 with N - 1 in the denominator, over the unbiased tr(C^2)."""
    n = len(vectors)
    return (np.trace(covariance(vectors)) * n / (n - 1)) ** 2 / squared_covariance_trace(vectors)


def gaps(vectors, labels):
    """Each row's distance to the nearest row of another class."""
    found = []
    for row, own in zip(vectors, labels, strict=True):
        nearest = inf
        for other, label in zip(vectors, labels, strict=True):
            if label != own:
                nearest = min(nearest, sqrt(sum((a - b) ** 2 for a, b in zip(row, other, strict=True))))
        found.append(nearest)
    return found


def others(vectors, labels):
    """For each row, its distance to every row of another class and which that is, nearest first."""
    found = []
    for one, own in enumerate(labels):
        apart = [
            (sqrt(sum((a - b) ** 2 for a, b in zip(vectors[one], vectors[other], strict=True))), other)
            for other, label in enumerate(labels)
            if label != own
        ]
        found.append(sorted(apart))
    return found


def class_gap(vectors, labels):
    """The lower median of gaps, over the root mean squared distance from the mean."""
    rows = np.asarray(vectors, dtype=float)
    spread = sqrt(sum(float((row - rows.mean(0)) @ (row - rows.mean(0))) for row in rows) / len(rows))
    return sorted(gaps(rows.tolist(), list(labels)))[(len(rows) - 1) // 2] / spread


def class_separation(vectors, labels):
    """One-way analysis of variance, all directions together: (SSB - (C - 1) MSW) / N over MSW."""
    rows, labels = np.asarray(vectors, dtype=float), list(labels)
    between = within = 0.0
    for label in set(labels):
        own = np.array([row for row, other in zip(rows, labels, strict=True) if other == label])
        between += len(own) * float(((own.mean(0) - rows.mean(0)) ** 2).sum())
        within += float(((own - own.mean(0)) ** 2).sum())
    freedom = len(set(labels)) - 1
    mean_within = within / (len(rows) - freedom - 1)
    return (between - freedom * mean_within) / len(rows) / mean_within
