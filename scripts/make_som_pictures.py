"""Draws the picture of docs/som.md: a map of scikit-learn's digits, six ways.

.venv/bin/python scripts/make_som_pictures.py
"""

from pathlib import Path

from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from layerscope.som import SOM, pictures

TARGET = Path(__file__).parents[1] / "docs/images/som-digits.png"


def main() -> None:
    digits = load_digits()
    som = SOM(shape=(12, 16), grid="hexagonal").fit(digits.data)
    figure = Figure(figsize=(14.5, 7.2), layout="constrained")
    axes = figure.subplots(2, 3)
    pictures.u_matrix(som, axes=axes[0, 0])
    pictures.hit_map(som, digits.data, axes=axes[0, 1])
    pictures.class_map(som, digits.data, digits.target, axes=axes[0, 2])
    pictures.class_map(som, digits.data, digits.target, pies=True, axes=axes[1, 0])
    pictures.component_plane(som, 20, axes=axes[1, 1])
    pictures.training_history(som, axes=axes[1, 2])
    figure.savefig(TARGET, dpi=70, metadata={"Software": None})


if __name__ == "__main__":
    main()
