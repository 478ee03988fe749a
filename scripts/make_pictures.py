"""Draws the pictures of the documentation from a finished demo run.

make demo && .venv/bin/python scripts/make_pictures.py
"""

from pathlib import Path

import layerscope as ls

ROOT = Path(__file__).parents[1]


def main() -> None:
    run = ls.load_run(ROOT / "runs/demo")
    sample = int(run.example["id"])
    for reduction in ("mean", "sketch:512"):
        figure = ls.figures.depth(run, reduction=reduction, sample=sample)
        figure.savefig(
            ROOT / "docs/images" / f"depth-{reduction.partition(':')[0]}.png", dpi=80, metadata={"Software": None}
        )
    ls.figures.telescopes(run).savefig(ROOT / "docs/images/telescope.png", dpi=70, metadata={"Software": None})


if __name__ == "__main__":
    main()
