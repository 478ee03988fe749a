"""Entropies by counting, one sample and one cell at a time."""

from collections import Counter
from math import comb, log

import numpy as np
from scipy.special import betaln, digamma, gammaln, logsumexp


def plug_in(symbols):
    """Bits."""
    n = len(symbols)
    return -sum(count / n * log(count / n) for count in Counter(symbols).values()) / log(2)


def entropy(symbols):
    """Bits: plug-in entropy, and (symbols in use - 1) / (2 N) nats more (Miller 1955)."""
    return plug_in(symbols) + (len(Counter(symbols)) - 1) / (2 * len(symbols) * log(2))


def grassberger(symbols):
    """Bits: log N - sum n G(n) / N with G by its recursion (Grassberger 2003, eq. 28 to 30)."""

    def g(n):
        if n <= 2:
            return -np.euler_gamma - log(2) + 2 * (n == 2)
        return g(n - 1) if n % 2 else g(n - 2) + 2 / (n - 1)

    n = len(symbols)
    return (log(n) - sum(count * g(count) for count in Counter(symbols).values()) / n) / log(2)


def chao_shen(symbols):
    """Bits (Chao & Shen 2003), a cell at a time."""
    n, counts = len(symbols), Counter(symbols).values()
    once = min(sum(count == 1 for count in counts), n - 1)
    total = 0.0
    for count in counts:
        share = (1 - once / n) * count / n
        total -= share * log(share) / (1 - (1 - share) ** n)
    return total / log(2)


def conditional_entropy(table, concentrations, dominances, dominant, rounds, degree, ridge):
    """H(column | row) in bits: Zhang's series of each cell, and its tail by a linear rule, count by count.

    Expectations over counts are sums over all counts of a row's size with their probabilities, and those over shares
    are Beta functions or two points.
    """
    table = np.asarray(table, dtype=float)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    share, total = table.sum(0) / table.sum(), 0.0
    weight = learned(table, share, concentrations, dominances, dominant, rounds)
    for size in np.unique(table.sum(1)).astype(int):
        c = rule(size, table.size, share, weight, (concentrations, dominances), min(degree, size), ridge)
        for row in table[table.sum(1) == size]:
            for n in row.astype(int):
                total += size * (zhang(n, size) + sum(c[k] * chosen(n, size, k) for k in range(len(c))))
    return total / table.sum() / log(2)


def zhang(n, size):
    """What a cell with n of `size` samples adds to the entropy, in nats (Zhang 2012): the series without its tail."""
    if n == 0:
        return 0.0
    total, product = 0.0, n / size
    for j in range(1, size - n + 1):
        product *= 1 - (n - 1) / (size - j)
        total += product / j
    return total


def chosen(n, size, k):
    """The chance that k samples drawn without replacement all lie in the cell; its mean is p^k."""
    return comb(n, k) / comb(size, k)


def learned(table, share, concentrations, dominances, dominant, rounds):
    """The weights of the priors: Dirichlet ones, and those with one dominant class, summed over all classes."""
    evidence = np.empty((len(table), len(concentrations) + len(dominances)))
    for i, row in enumerate(table):
        for j, b in enumerate(concentrations):
            a = b * share
            evidence[i, j] = gammaln(b) - gammaln(b + row.sum()) + sum(gammaln(a + row) - gammaln(a))
        for j, w in enumerate(dominances):
            each = [
                np.log(share[k]) + row @ np.log((1 - w) * share + w * (np.arange(len(share)) == k))
                for k in range(len(share))
            ]
            evidence[i, len(concentrations) + j] = logsumexp(each)
    likelihood = np.exp(evidence - evidence.max(1, keepdims=True))
    counts = len(concentrations), len(dominances)
    weight = np.repeat([(1 - dominant) / counts[0], dominant / counts[1]], counts)
    for _ in range(rounds):
        belief = likelihood * weight
        weight = (belief / belief.sum(1, keepdims=True)).mean(0)
    return weight


def rule(size, cells, share, weight, priors, degree, ridge):
    """The coefficients of the rule for rows of a size: least mean square of the error's sum over the cells."""
    concentrations, dominances = priors

    def mean(of_beta, of_point):
        """Over the columns and the priors."""
        total = 0.0
        for m in share:
            for w, b in zip(weight, concentrations, strict=False):
                total += w * of_beta(b * m, b * (1 - m))
            for w, d in zip(weight[len(concentrations) :], dominances, strict=True):
                total += w * (m * of_point((1 - d) * m + d) + (1 - m) * of_point((1 - d) * m))
        return total / len(share)

    def power(k, j=0):
        """E[p^k (1 - p)^j]."""
        return mean(
            lambda a, b: np.exp(betaln(a + k, b + j) - betaln(a, b)) if b else float(j == 0),
            lambda p: p**k * (1 - p) ** j,
        )

    def tail(k):
        """E[p^k (-p ln p)] without what the series has."""
        whole = mean(
            lambda a, b: (
                np.exp(betaln(a + k + 1, b) - betaln(a, b)) * (digamma(a + b + k + 1) - digamma(a + k + 1))
                if b
                else 0.0
            ),
            lambda p: -(p ** (k + 1)) * np.log(p),
        )
        return whole - sum(power(k + 1, j) / j for j in range(1, size))

    seen = [comb(size, n) * power(n, size - n) for n in range(size + 1)]
    powers = range(degree + 1)
    second = np.array(
        [[sum(f * chosen(n, size, k) * chosen(n, size, i) for n, f in enumerate(seen)) for i in powers] for k in powers]
    )
    left = (cells - 1) * np.array([[power(k + i) for i in powers] for k in powers]) + second
    unit = 1 / np.sqrt(np.diag(left))
    right = cells * np.array([tail(k) for k in powers]) * unit
    return unit * np.linalg.solve(left * unit * unit[:, None] + ridge * np.eye(degree + 1), right)
