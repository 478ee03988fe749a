"""Entropies by counting, one sample and one cell at a time."""

from collections import Counter
from math import log

import numpy as np
from scipy.special import digamma, gammaln
from scipy.stats import dirichlet


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


def conditional_entropy(table, concentrations, rounds):
    """H(column | row) in bits: a prior per row, its concentration learned from all rows, row by row.

    The posterior mean of an entropy by its closed form; `posterior_mean_by_sampling` is the witness of that.
    """
    table = np.asarray(table, dtype=float)
    share = table.sum(0) / table.sum()
    used = share > 0
    rows = [row[used] for row in table if row.sum() > 0]
    evidence = np.empty((len(rows), len(concentrations)))
    means = np.empty_like(evidence)
    for i, row in enumerate(rows):
        for j, b in enumerate(concentrations):
            a = b * share[used]
            evidence[i, j] = gammaln(b) - gammaln(b + row.sum()) + sum(gammaln(a + row) - gammaln(a))
            means[i, j] = posterior_mean(a + row)
    likelihood = np.exp(evidence - evidence.max(1, keepdims=True))
    weight = np.full(len(concentrations), 1 / len(concentrations))
    for _ in range(rounds):
        belief = likelihood * weight
        weight = (belief / belief.sum(1, keepdims=True)).mean(0)
    belief = likelihood * weight
    belief /= belief.sum(1, keepdims=True)
    return sum(row.sum() * (belief[i] @ means[i]) for i, row in enumerate(rows)) / table.sum()


def posterior_mean(a):
    """Of the entropy in bits, under a Dirichlet distribution (Wolpert & Wolf 1995, eq. 9)."""
    return (digamma(a.sum() + 1) - sum(a / a.sum() * digamma(a + 1))) / log(2)


def posterior_mean_by_sampling(a, draws=200_000):
    """The same, and its standard error, by drawing."""
    p = dirichlet(a).rvs(draws, random_state=0)
    bits = -np.sum(np.where(p > 0, p * np.log2(np.maximum(p, 1e-300)), 0), 1)
    return bits.mean(), bits.std() / draws**0.5
