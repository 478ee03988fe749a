"""Which layers of the study's networks act through their codes: causal.parquet, and the page anew.

    python studies/telescope/causal.py --images FOLDER [--mails FOLDER] [--out runs/telescope]

Takes the networks whose weights `study.py` has trained into OUT/weights, and those with weights of their own. Each is
recorded again under `mean` (MiniLM under `cls` as well), its maps are fitted with the study's options, and 300 samples
that it answers right are moved at every layer. A network that was measured is not measured again.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from acting import SAMPLES
from page import write_page
from study import Case, cases

import layerscope as ls
from layerscope.results import Place, finding
from layerscope.som import Grid
from layerscope.stats import share_interval

HERE = Path(__file__).parent


def measured(case: Case, out: Path) -> pd.DataFrame:
    """A network's rows, and its accuracy."""
    network, data, fit_data = case.make()
    given: dict[str, Any] = {
        "layers": case.options.get("layers", "auto"),
        "reductions": ("mean", "cls") if case.kind == "MiniLM" else ("mean",),
        "show_progress": False,
    }
    fitted = ls.record(network, fit_data, folder=out / "fit", condition="fit", **given)
    clean = ls.record(network, data, folder=out / "clean", **given)
    atlas = ls.fit_atlas(fitted, Grid(*case.options.get("grid", (12, 12))), show_progress=False)
    found = ls.causal_test(network, data, clean, atlas, limit=SAMPLES, doses=(1,), show_progress=False).results
    right = int((clean.labels == clean.predictions).sum())
    accuracy = finding("accuracy", right / len(clean), share_interval(right, len(clean)), len(clean), Place())
    return pd.concat([ls.table([accuracy]), found], ignore_index=True)


def main() -> None:
    """Every network that is ready, then the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--mails", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/telescope"))
    options = parser.parse_args()
    tables = []
    for case in cases(options.images, options.mails, options.out):
        kept = options.out / "causal" / f"{case.name}.parquet"
        ready = case.training == "given" or (options.out / "weights" / f"{case.name}.safetensors").is_file()
        if not kept.is_file() and ready:
            print(f"{case.name} ...", flush=True)
            rows = measured(case, options.out / "causal" / case.name)
            rows.assign(network=case.name, kind=case.kind, training=case.training).to_parquet(kept, index=False)
        if kept.is_file():
            tables.append(pd.read_parquet(kept))
    found = pd.concat(tables, ignore_index=True)
    found.to_parquet(HERE / "causal.parquet", index=False)
    write_page(pd.read_parquet(HERE / "results.parquet"), found)


if __name__ == "__main__":
    main()
