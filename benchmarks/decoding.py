"""What inverting a map's prototypes costs: all units of a block together, and one by one.

    python benchmarks/decoding.py --run runs/demo [--layer blocks.3] [--alone 24]

Both ways in one run, taking turns, with the default recipe; a table goes to standard output.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import layerscope as ls
from layerscope.codes import Coded
from layerscope.decoding import LayerCodes, Recipe, invert
from layerscope.layers import Layer

ROUNDS = 3


def seconds(work: Callable[[], object]) -> float:
    """That a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--layer", default="blocks.3")
    parser.add_argument("--reduction", default="mean")
    parser.add_argument(
        "--alone", type=int, default=24, help="units that are inverted one by one, of which all is told"
    )
    options = parser.parse_args()
    run = ls.load_run(options.run)
    coded = Coded(run.recordings["clean"], run.atlas, run.codes["clean"])
    network = run.network
    codes = LayerCodes.of(coded, Layer(options.layer, options.reduction), network, run.data)
    units = torch.arange(len(codes.fitted.grid))
    assert codes.mean_input is not None
    some = units[torch.randperm(len(units), generator=torch.Generator().manual_seed(0))[: options.alone]]
    taken: dict[str, list[float]] = {"together": [], "alone": []}
    for _ in range(ROUNDS):
        taken["together"].append(seconds(lambda: invert(codes, units, Recipe())))
        alone = seconds(lambda: [invert(codes, unit[None], Recipe()) for unit in some])
        taken["alone"].append(alone * len(units) / len(some))
    ratios = sorted(alone / together for alone, together in zip(taken["alone"], taken["together"], strict=True))
    together, alone = (statistics.median(taken[way]) for way in ("together", "alone"))
    print(f"{codes.layer}, {len(units)} units, {torch.get_num_threads()} threads, median of {ROUNDS} rounds:\n")
    print("| | seconds |\n|---|---|")
    print(f"| all units together | {together:.1f} |")
    print(f"| one by one (from {len(some)} of them) | {alone:.1f} |")
    print(f"\nTogether is {statistics.median(ratios):.1f} times as fast ({ratios[0]:.1f} to {ratios[-1]:.1f}).")


if __name__ == "__main__":
    main()
