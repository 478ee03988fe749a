"""How well the first layers of EfficientNet-Lite0 are inverted: a table for docs/decoding.md.

    python studies/telescope/inversion.py --images FOLDER [--out runs/telescope]

The study's own network, samples and grid; every unit of the first three `auto` layers under `mean`. Ten minutes on
two cores.
"""

import argparse
from pathlib import Path

import torch
from study import cases

import layerscope as ls
from layerscope.codes import Coded
from layerscope.decoding import LayerCodes, Recipe, invert
from layerscope.decoding.fidelity import inversion_rows
from layerscope.layers import Layer
from layerscope.results import Place
from layerscope.som import Grid

NETWORK, LAYERS, BATCH = "EfficientNet-Lite0", 3, 50


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/telescope"))
    options = parser.parse_args()
    (case,) = (one for one in cases(options.images, None, options.out) if one.name == NETWORK)
    network, data, fit_data = case.make()
    names = ls.choose_layers(network, data.take(data.rows[:2]).inputs)[0][:LAYERS]
    folder, grid = options.out / "inversion", Grid(*case.options["grid"])
    fitted, measured = (
        ls.record(network, some, names, folder / name, reductions=["mean"], condition=name, show_progress=False)
        for name, some in (("fit", fit_data), ("clean", data))
    )
    atlas = ls.fit_atlas(fitted, grid, show_progress=False)
    coded = Coded(measured, atlas, ls.encode(measured, atlas))
    print("| layer | re-encoded | or a neighbour | residual, inversion | residual, median exemplar |")
    print("|---|---|---|---|---|")
    for index, name in enumerate(names):
        codes = LayerCodes.of(coded, Layer(name, "mean"), network, data)
        units = torch.arange(len(grid))
        middle = [codes.median_member(unit) for unit in units.tolist()]
        typical = torch.tensor([torch.nan if one is None else float(codes.residuals([one])[0]) for one in middle])
        rows = inversion_rows(
            invert(codes, units, Recipe(batch_size=BATCH)), typical, Place(name, index, "clean", "mean")
        )
        cells = [f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})" for row in rows]
        print(f"| `{name}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
