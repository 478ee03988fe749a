"""Draws the pictures of the documentation from a finished demo run.

make demo && .venv/bin/python scripts/make_pictures.py
"""

from pathlib import Path
from typing import cast

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

import layerscope as ls

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Every picture of the demo in docs/images."""
    run = ls.load_run(ROOT / "runs/demo")
    sample = int(run.example["id"])
    both, (above, below) = plt.subplots(2, figsize=(11.7, 5), layout="constrained")
    ls.figures.vulnerability(run, reduction="mean", axes=above)
    ls.figures.vulnerability(run, "vulnerability_gap", reduction="sketch:512", axes=below)
    drawn = {
        "depth-mean": (ls.figures.depth(run, reduction="mean", sample=sample), 80),
        "depth-sketch": (ls.figures.depth(run, reduction="sketch:512", sample=sample), 80),
        "telescope": (ls.figures.telescopes(run), 70),
        "amplification": (ls.figures.flow(run, "amplification", reduction="mean").figure, 100),
        "odds": (ls.figures.flow(run, "wrong_class_log_odds", reduction="sketch:512").figure, 100),
        "vulnerability": (both, 100),
        "causal": (ls.figures.causals(ls.causal(run), run), 80),
    }
    for name, (figure, dpi) in drawn.items():
        path = ROOT / "docs/images" / f"{name}.png"
        cast("Figure", figure).savefig(path, dpi=dpi, metadata={"Software": None})


if __name__ == "__main__":
    main()
