"""A bundle whose every number is drawn by a test: no run behind it, names as nobody should give them."""

import json

import numpy as np

CLASSES = ["<img src=x onerror=alert(1)>", "=1+1", '"quoted", ../name']
CONDITIONS = ["clean", "noise:pgd:linf=8/255", "pgd:linf=8/255"]
LAYERS = ["input", "<script>alert(2)</script>", "logits"]
ROWS, COLUMNS, SAMPLES = 3, 4, 300


def written(folder, change=None, **options):
    """The page of a planted bundle in which something may be changed, and its arrays."""
    from layerscope.explorer import inline  # inside: the run-time shape checks are installed after collection starts
    from layerscope.explorer.bundle import whole

    description, files, arrays = planted(**options)
    if change is not None:
        change(description, arrays)
        for name, its in description["arrays"].items():
            files[f"arrays/{name}.bin"], its["shape"] = arrays[name].tobytes(), list(arrays[name].shape)
    made = inline(whole(description, files))
    rules = f"default-src 'none'; script-src {made.scripts}; style-src 'unsafe-inline'; img-src data: blob:"
    policy = f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>planted</title>{policy}</head>'
    file = folder / "page.html"
    file.write_text(f"{head}<body>{made.html}</body></html>", encoding="utf-8")
    return file.as_uri(), arrays


def planted(*, texts=True, smallest=True):
    """The description, its files, and the arrays by name."""
    drawn = np.random.default_rng(1)
    units = ROWS * COLUMNS
    arrays = {
        "id": (1000 + 3 * np.arange(SAMPLES)).astype("float64"),
        "label": drawn.integers(0, len(CLASSES), SAMPLES).astype("int32"),
        "umatrix/0": drawn.random((len(LAYERS), units), dtype="float32"),
        "distance/0/0": drawn.integers(0, 60000, (len(LAYERS), SAMPLES)).astype("uint16"),
    }
    for place in range(len(CONDITIONS)):
        wrong = drawn.random(SAMPLES) < (0.1, 0.2, 0.7)[place]
        guessed = drawn.integers(0, len(CLASSES), SAMPLES)
        arrays[f"prediction/{place}"] = np.where(wrong, guessed, arrays["label"]).astype("int32")
        arrays[f"confidence/{place}"] = drawn.random(SAMPLES, dtype="float32")
        arrays[f"code/{place}/0"] = drawn.integers(0, units, (len(LAYERS), SAMPLES)).astype("uint16")
    if smallest:
        arrays["smallest"] = drawn.random(SAMPLES, dtype="float32")
        arrays["smallest"][:40], arrays["smallest"][40:60] = np.nan, np.inf
    words = [f"text {row} of {'apples' if row % 7 else 'Pears'}" for row in range(SAMPLES)]
    files = {f"arrays/{name}.bin": array.tobytes() for name, array in arrays.items()}
    if texts:
        files["texts.json"] = json.dumps(words).encode()
    return _told(arrays, texts, smallest), files, arrays | {"texts": np.array(words)}


def _told(arrays, texts, smallest):
    kinds = ("clean", "noise", "attack")
    lacking = {"what": "smallest", "told": "Smallest perturbations were not looked for.", "command": "layerscope run"}
    return {
        "schema": 2, "layerscope": "0", "title": CLASSES[0], "run": {"folder": "planted"}, "sentences": [],
        "warnings": [], "headline": [], "classes": CLASSES, "class_source": "labels",
        "conditions": [
            {"name": name, "kind": kind, "control": CONDITIONS[1] if kind == "attack" else None}
            for name, kind in zip(CONDITIONS, kinds, strict=True)
        ],
        "reductions": [{"name": "mean", "layers": LAYERS}],
        "grid": {
            "kind": "rectangular", "rows": ROWS, "columns": COLUMNS, "topology": "planar",
            "positions": [[unit % COLUMNS, unit // COLUMNS] for unit in range(ROWS * COLUMNS)],
        },
        "departure": {"mean": {CONDITIONS[2]: None}}, "margin": 0.1,
        "measures": {"label_information": {"title": "label information", "unit": "share", "meaning": "of the label"}},
        "results": {"columns": ["measure", "layer", "layer_index", "condition", "reduction", "value", "low", "high",
                                "null_untrained", "null_shuffled", "n", "unit"], "rows": []},
        "samples": SAMPLES, "total": SAMPLES, "example": 1000, "ids": None,
        "pictures": {}, "decoding": {}, "texts": texts,
        "arrays": {
            name: {"type": str(array.dtype), "shape": list(array.shape), "scale": 1.0} for name, array in arrays.items()
        },
        "missing": [] if smallest else [lacking],
        "left_out": [],
    }  # fmt: skip
