"""Entropies by counting (Miller 1955, Note on the bias of information estimates), one sample at a time."""

from collections import Counter
from math import log


def entropy(symbols):
    """Bits: plug-in entropy, and (symbols in use - 1) / (2 N) nats more."""
    n, counted = len(symbols), Counter(symbols)
    nats = 0.0
    for count in counted.values():
        nats -= count / n * log(count / n)
    return (nats + (len(counted) - 1) / (2 * n)) / log(2)


def mutual_information(codes, labels):
    """H(c) + H(y) - H(c, y) in bits, each corrected."""
    return entropy(codes) + entropy(labels) - entropy(list(zip(codes, labels, strict=True)))
