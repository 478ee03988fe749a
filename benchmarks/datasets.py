"""Data sets of different shape, real and made, for the studies of the SOM engine."""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]

IMAGES = "train-images-idx3-ubyte.gz"


def fashion(folder: Path) -> Rows:
    """60,000 images of clothes, 784 pixels in [0, 1] (Fashion-MNIST, Xiao et al. 2017; IDX files)."""
    with gzip.open(folder / IMAGES) as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    return (pixels.reshape(-1, 784) / 255).astype(np.float32)


def relu_features(images: Rows, width: int = 512) -> Rows:
    """What a layer of random weights and a ReLU says of images: (n, width), half of it zeros."""
    weights = np.random.default_rng(0).standard_normal((images.shape[1], width), dtype=np.float32)
    centred = images - images.mean(0)
    return np.maximum(centred @ weights * (2 / images.shape[1]) ** 0.5, 0).astype(np.float32)


def patches(images: Rows, side: int = 6, each: int = 8) -> Rows:
    """Square patches at random places, `each` per image: (n each, side^2)."""
    rng = np.random.default_rng(0)
    pictures = images.reshape(-1, 28, 28)
    which = np.repeat(np.arange(len(pictures)), each)
    row, column = rng.integers(0, 29 - side, (2, len(which)))
    squares = [pictures[which, row + down, column + right] for down in range(side) for right in range(side)]
    return np.stack(squares, 1)


def gaussian(n: int, width: int, seed: int = 0) -> Rows:
    """Independent normal features: no structure at all."""
    return np.random.default_rng(seed).standard_normal((n, width), dtype=np.float32)


def shapes(images: Rows, n: int) -> dict[str, Rows]:
    """Eight data sets of `n` rows: low and high dimension, clusters, manifold, heavy tails, ReLU, near-duplicates."""
    rng = np.random.default_rng(1)

    def normal(*size: int) -> Rows:
        return rng.standard_normal(size, dtype=np.float32)

    centres = normal(100, 256) * 1.5
    turns = rng.uniform(1.5 * np.pi, 4.5 * np.pi, n)
    roll = np.stack([turns * np.cos(turns), rng.uniform(0, 21, n), turns * np.sin(turns)], 1).astype(np.float32)
    tails = rng.standard_t(2.5, (n, 40)).astype(np.float32) @ (
        normal(40, 40) * np.linspace(2, 0.1, 40, dtype=np.float32)
    )
    few = images[rng.integers(0, 300, n)]
    return {
        "flat, 3 features": rng.uniform(0, 1, (n, 3)).astype(np.float32) * np.float32([3, 2, 0.5]),
        "normal, 10 features": normal(n, 10),
        "images, 784 features": images[:n],
        "100 clusters, 256 features": centres[rng.integers(0, 100, n)] + normal(n, 256),
        "rolled sheet in 64 features": roll @ np.linalg.qr(normal(64, 3))[0].T + 0.2 * normal(n, 64),
        "heavy tails, 40 features": tails,
        "ReLU, 512 features": relu_features(images[:n]),
        "near-duplicates, 784 features": few + np.float32(1e-3) * normal(n, 784),
    }
