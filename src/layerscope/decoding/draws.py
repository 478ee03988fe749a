"""Random numbers that belong to one thing, whatever else is drawn beside it."""

import hashlib

import torch


def seeded(*numbers: int) -> torch.Generator:
    """A generator of its own for some whole numbers, such as a seed and a unit.

    Close numbers give unrelated draws: their digest (SHA-256) is the seed.
    """
    digest = hashlib.sha256(" ".join(str(number) for number in numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
