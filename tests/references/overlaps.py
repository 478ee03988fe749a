"""How much of their mass classes have on the same codes: by numpy, written from the documentation's words."""

from itertools import combinations

import numpy as np

MASK = 0xFFFFFFFF
HALVINGS, LEAST, MOST = 2, 30, 40


def drawn(value):
    """The last step of MurmurHash3, on Python's own whole numbers."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        value ^= value >> shift
        value = value * factor & MASK
    return value


def compared(labels):
    """The classes of enough samples, at most so many of them, in ascending order."""
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    commonest = np.argsort(-counts, kind="stable")[:MOST]
    return sorted(int(classes[one]) for one in commonest if counts[one] >= LEAST)


def halves(labels, label, halving):
    """The rows of a class in two halves, the first the smaller."""
    rows = sorted(np.flatnonzero(labels == label).tolist(), key=lambda row: drawn(row * HALVINGS + halving))
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


def overlap(codes, rows, others, units):
    """The sum over codes of the smaller of two groups' shares."""
    shares = [np.bincount(codes[group], minlength=units) / len(group) for group in (rows, others)]
    return float(np.minimum(*shares).sum())


def shared_mass(codes, labels, units):
    """Of every pair of classes: overlaps and ceilings by layer.

    Args:
        codes: by layer (layers x samples).
        labels: (samples), -1: none.
        units: of a map.
    """
    parts = {label: [halves(labels, label, one) for one in range(HALVINGS)] for label in compared(labels)}
    ceilings = {
        label: [np.mean([overlap(layer, *two, units) for two in own]) for layer in codes]
        for label, own in parts.items()
    }
    return {
        pair: (
            np.array([
                np.mean([
                    overlap(layer, one, other, units)
                    for some, others in zip(parts[pair[0]], parts[pair[1]], strict=True)
                    for one in some
                    for other in others
                ])
                for layer in codes
            ]),
            np.mean([ceilings[label] for label in pair], axis=0),
        )
        for pair in combinations(parts, 2)
    }  # fmt: skip


def shared_layers(overlaps, ceilings):
    """The places of the layers where a pair has at least half of what it could."""
    return [place for place in range(len(overlaps)) if 0 < overlaps[place] >= ceilings[place] / 2]


def longest(found):
    """The pair that shares in most layers; of equal ones, that of the largest mean overlap."""
    return max(found, key=lambda pair: (len(shared_layers(*found[pair])), found[pair][0].mean()))


def told(places, layers):
    """The layers in words, neighbours as one run."""
    runs = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    words = [layers[run[0]] if len(run) == 1 else f"{layers[run[0]]} to {layers[run[-1]]}" for run in runs]
    return f"in {len(places) or 'none'} of {len(layers)} layers" + (f" ({', '.join(words)})" if words else "")
