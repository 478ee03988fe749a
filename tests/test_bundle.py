"""The bundle says what the run's tables say, and nothing that it names lies outside of it."""

import hashlib
import io
import json
import math
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import bundles
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_data
from PIL import Image

from layerscope import cli, load_run
from layerscope.errors import CorruptFileError, RunMismatchError, TooLargeError
from layerscope.explorer import arrays as arrays_module
from layerscope.explorer import bundle, load_bundle, sprites, thinning
from layerscope.explorer.arrays import chosen_rows, scaled
from layerscope.explorer.bundle import NAME, whole
from layerscope.explorer.description import description
from layerscope.store import load_table, load_tensors, save_tensors

PGD, NOISE = "pgd:linf=40/255", "noise:pgd:linf=40/255"
QUIET = {"show_progress": False}


def fixture_of(build):
    @pytest.fixture(scope="module", name=build.__name__)
    def run(tmp_path_factory):
        return build(tmp_path_factory.mktemp("bundles") / build.__name__)

    return run


plain, without_attack, without_labels, hostile_names, texts, many = map(
    fixture_of,
    (bundles.plain, bundles.without_attack, bundles.without_labels, bundles.hostile_names, bundles.texts, bundles.many),
)


@pytest.fixture(scope="module")
def made(plain):
    return bundle(plain, **QUIET)


def array(made, name):
    """An array's values, read as the page reads them."""
    told = made.description["arrays"][name]
    values = np.frombuffer(made.files[f"arrays/{name}.bin"], dtype=f"<{np.dtype(told['type']).str[1:]}")
    return values.reshape(told["shape"]) * told["scale"]


def cells(made, told):
    """The pictures of an entry, cut out of their sheets."""
    found = []
    for sheet in told["sheets"]:
        with Image.open(io.BytesIO(made.files[f"sheets/{sheet['name']}.png"])) as image:
            assert max(image.size) <= 4096
            pixels = np.asarray(image)
        assert sheet["first"] == len(found)
        for number in range(sheet["count"]):
            row, column = divmod(number, told["columns"])
            top, left = row * told["height"], column * told["width"]
            found.append(pixels[top : top + told["height"], left : left + told["width"]])
    return found


def test_every_array_is_that_of_the_runs_own_tables(plain, made):
    samples = {
        name: load_table(plain.folder / "recordings" / slug / "samples.parquet")
        for name, slug in (("clean", "clean"), (NOISE, "noise-pgd-linf-40of255"), (PGD, "pgd-linf-40of255"))
    }
    conditions = [one["name"] for one in made.description["conditions"]]
    assert conditions == ["clean", NOISE, PGD]
    assert array(made, "id").tolist() == samples["clean"]["id"].tolist()
    assert array(made, "label").tolist() == samples["clean"]["label"].tolist()
    assert made.description["samples"] == made.description["total"] == len(samples["clean"]) == 40
    seen = {"id", "label", "smallest"}
    for number, condition in enumerate(conditions):
        table = samples[condition]
        assert array(made, f"prediction/{number}").tolist() == table["prediction"].tolist()
        np.testing.assert_allclose(array(made, f"confidence/{number}"), table["confidence"], atol=1e-6)
        seen |= {f"prediction/{number}", f"confidence/{number}"}
        for place, reduction in enumerate(made.description["reductions"]):
            codes = array(made, f"code/{number}/{place}")
            assert codes.shape == (4, 40)
            for layer, own in zip(reduction["layers"], codes, strict=True):
                assert own.tolist() == plain.codes[condition][f"code:{layer}|{reduction['name']}"].tolist()
            seen |= {f"code/{number}/{place}", f"distance/0/{place}", f"umatrix/{place}"}
    assert set(made.description["arrays"]) == seen
    smallest = load_table(plain.folder / "smallest.parquet").set_index("id")["size"]
    assert 0 < len(smallest) <= 40
    for sample, size in zip(array(made, "id"), array(made, "smallest"), strict=True):
        assert sample not in smallest.index or size == np.float32(smallest[sample])


def test_smallest_perturbations_go_to_their_samples_and_are_nan_and_infinite_as_they_were_found(plain, tmp_path):
    run = load_run(shutil.copytree(plain.folder, tmp_path / "run"))
    found = load_table(run.folder / "smallest.parquet").iloc[[7, 2, 5]]
    found["size"] = [0.25, math.inf, 0.5]
    found.to_parquet(run.folder / "smallest.parquet")
    sizes = dict(zip(found["id"], found["size"], strict=True))
    made = bundle(run, **QUIET)
    values = array(made, "smallest")
    assert math.inf in values.tolist()
    assert np.isnan(values).sum() == 37
    for sample, size in zip(array(made, "id"), values, strict=True):
        assert math.isnan(size) if sample not in sizes else size == sizes[sample]


def test_distances_and_ridges_are_in_the_layers_own_spread(plain, made):
    for place, reduction in enumerate(made.description["reductions"]):
        distances, ridges = array(made, f"distance/0/{place}"), array(made, f"umatrix/{place}")
        for depth, layer in enumerate(plain.recordings["clean"].depth(reduction["name"])):
            vectors = plain.recordings["clean"].vectors(layer).double().numpy()
            spread = math.sqrt(sum(float(((row - vectors.mean(0)) ** 2).sum()) for row in vectors) / len(vectors))
            fitted = plain.atlas.maps[layer]
            prototypes = fitted.prototypes.double().numpy()
            centred = vectors - fitted.offset.double().numpy()
            step = made.description["arrays"][f"distance/0/{place}"]["scale"]
            for row, unit in enumerate(plain.codes["clean"][f"code:{layer}"]):
                apart = np.linalg.norm(centred[row] - prototypes[unit]) / spread
                assert abs(distances[depth, row] - apart) <= step / 2 + 1e-5
            for unit in range(12):
                row, column = divmod(unit, 4)
                shift = 0 if row % 2 else -1
                around = [(row, column - 1), (row, column + 1)]
                around += [(row + up, column + shift + side) for up in (-1, 1) for side in (0, 1)]
                beside = [4 * r + c for r, c in around if 0 <= r < 3 and 0 <= c < 4]
                mean = np.mean([np.linalg.norm(prototypes[unit] - prototypes[one]) for one in beside]) / spread
                assert ridges[depth, unit] == pytest.approx(mean, rel=1e-5)


def test_the_grid_is_drawn_with_its_first_row_on_top(made):
    grid = made.description["grid"]
    assert (grid["kind"], grid["rows"], grid["columns"], grid["topology"]) == ("hexagonal", 3, 4, "planar")
    height = math.sqrt(3) / 2
    expected = [(column + 0.5 * (row % 2), (2 - row) * height) for row in range(3) for column in range(4)]
    np.testing.assert_allclose(grid["positions"], expected, atol=1e-6)


def test_results_are_the_table_with_nan_as_null_and_infinities_as_text(plain):
    results = plain.results.copy()
    results.loc[0, "value"], results.loc[1, "high"], results.loc[2, "low"] = math.inf, -math.inf, math.nan
    made = bundle(replace(plain, results=results), **QUIET)
    text = made.files["bundle.json"].decode()
    told = json.loads(text, parse_constant=pytest.fail)["results"]
    assert told["columns"] == list(results.columns)
    assert len(told["rows"]) == len(results)
    assert told["rows"][0][5] == "inf"
    assert told["rows"][1][7] == "-inf"
    assert told["rows"][2][6] is None
    numbers = {"inf": math.inf, "-inf": -math.inf, None: math.nan}
    for row, expected in zip(told["rows"], results.itertuples(index=False), strict=True):
        for value, wanted in zip(row, expected, strict=True):
            read = numbers.get(value, value) if not isinstance(wanted, str) else value
            assert read == wanted or (math.isnan(read) and math.isnan(wanted))


def test_what_was_found_is_told_as_the_summary_tells_it(plain, made):
    from layerscope import summary

    told = made.description
    assert [one["text"] for one in told["sentences"]] == summary(plain.results)
    under = [one["reduction"] for one in told["sentences"]]
    assert under[-1] == ""
    assert all(f"Under {one['reduction']}: " in one["text"] for one in told["sentences"][:-1])
    accuracy = plain.results[plain.results["measure"].isin(("accuracy", "robust_accuracy"))]
    assert [one["condition"] for one in told["headline"]] == ["clean", NOISE, PGD]
    assert [one["value"] for one in told["headline"]] == accuracy["value"].tolist()
    assert told["conditions"] == [
        {"name": "clean", "kind": "clean", "control": None},
        {"name": NOISE, "kind": "noise", "control": None},
        {"name": PGD, "kind": "attack", "control": NOISE},
    ]
    assert told["classes"] == list(bundles.CLASSES)
    assert (told["class_source"], told["title"], told["margin"], told["schema"]) == ("labels", "TinyNet", 0.1, 2)
    assert set(told["departure"]) == {"mean", "sketch:16"}
    for reduction, by_attack in told["departure"].items():
        rates = plain.results[(plain.results["measure"] == "flip_rate") & (plain.results["reduction"] == reduction)]
        attacked, noisy = (rates[rates["condition"] == one] for one in (PGD, NOISE))
        apart = [
            one.low > other.high and one.value - other.value >= 0.1 - 1e-9
            for one, other in zip(attacked.itertuples(), noisy.itertuples(), strict=True)
        ]
        first = next((place for place in range(4) if all(apart[place:])), None)
        assert by_attack == {PGD: None if first is None else attacked["layer"].iloc[first]}


def test_the_example_is_fooled_and_its_path_changes_middlingly(made):
    places = np.array(made.description["grid"]["positions"])
    steps = places[array(made, "code/0/0").astype(int)] - places[array(made, "code/2/0").astype(int)]
    moved = np.hypot(steps[..., 0], steps[..., 1]).sum(0)
    right = array(made, "prediction/0") == array(made, "label")
    fooled = right & (array(made, "prediction/2") != array(made, "label"))
    assert 2 < fooled.sum() < 40
    row = array(made, "id").tolist().index(made.description["example"])
    assert fooled[row]
    assert moved[row] == pytest.approx(np.sort(moved[fooled])[fooled.sum() // 2], abs=1e-4)


@pytest.mark.parametrize("side", [4096, 30])
def test_sprites_hold_the_very_pixels(plain, monkeypatch, side):
    monkeypatch.setattr(sprites, "SIDE", side)
    made = bundle(plain, **QUIET)
    assert list(made.description["pictures"]) == ["clean", NOISE, PGD]
    images, _ = tiny_data()
    clean = plain.recordings["clean"]
    expected = {name: plain.recordings[name].pictures().numpy()[:, 0] for name in (NOISE, PGD)}
    expected["clean"] = (255 * images[clean.ids]).round().to(torch.uint8).numpy()[:, 0]
    for condition, told in made.description["pictures"].items():
        assert (told["width"], told["height"], told["shown"], told["thinned"], told["rows"]) == (6, 6, 40, 0, None)
        assert len(told["sheets"]) == (1 if side == 4096 else 2)
        np.testing.assert_array_equal(cells(made, told), expected[condition])


def test_no_more_pictures_are_read_at_a_time_than_a_sheet_holds(plain, monkeypatch):
    read = []
    pictures = type(plain.recordings["clean"]).pictures

    def counted(recording, rows):
        read.append((recording.condition, len(rows)))
        return pictures(recording, rows)

    monkeypatch.setattr(type(plain.recordings["clean"]), "pictures", counted)
    monkeypatch.setattr(sprites, "SIDE", 24)
    told = bundle(plain, **QUIET).description["pictures"]
    assert read == [(name, count) for name in ("clean", NOISE, PGD) for count in (0, 16, 16, 8)]
    assert [sheet["first"] for sheet in told["clean"]["sheets"]] == [0, 16, 32]


def test_pictures_in_colour_keep_their_channels(many):
    made = bundle(many, **QUIET)
    told = made.description["pictures"]["clean"]
    found = np.stack(cells(made, told)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found, many.recordings["clean"].pictures().numpy())
    assert len(made.description["classes"]) == 1000
    assert [len(one["layers"]) for one in made.description["reductions"]] == [22]


def test_inversions_lie_in_the_run_and_on_a_sheet(plain, made):
    found = made.description["decoding"]
    assert {name: list(layers) for name, layers in found.items()} == {"mean": ["middle"], "sketch:16": ["stem"]}
    for reduction, layers in found.items():
        for layer, told in layers.items():
            stem = plain.folder / "decoding" / reduction.replace(":", "-") / layer
            kept, table = load_tensors(stem.with_suffix(".safetensors")), load_table(stem.with_suffix(".parquet"))
            assert told["units"] == kept["units"].tolist() == list(range(12)) == table["unit"].tolist()
            assert told["names"] == table["name"].tolist()
            assert told["reencoded"] == table["reencoded"].tolist()
            assert told["residual"] == table["residual"].tolist()
            assert told["inverted"] == [True] * 12
            entry = told | {"sheets": [{"name": told["sheet"], "first": 0, "count": 12}]}
            np.testing.assert_array_equal(cells(made, entry), kept["inversion"].numpy()[:, 0])
            fidelity = load_table(stem.with_name(f"{layer}-fidelity.parquet"))
            assert {"reencoding_rate", "inversion_residual"} <= set(fidelity["measure"])
            assert set(fidelity["layer"]) == {layer}


def test_many_inversions_shrink_until_one_sheet_holds_them(plain, monkeypatch):
    from layerscope.explorer import inversions

    monkeypatch.setattr(inversions, "SIDE", 12)
    monkeypatch.setattr(sprites, "SIDE", 12)
    made = bundle(plain, **QUIET)
    told = made.description["decoding"]["mean"]["middle"]
    assert (told["width"], told["height"], told["columns"]) == (3, 3, 4)
    kept = load_tensors(plain.folder / "decoding" / "mean" / "middle.safetensors")["inversion"].double()
    means = kept.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    found = np.stack(cells(made, told | {"sheets": [{"name": told["sheet"], "first": 0, "count": 12}]}))
    assert np.abs(found - means.numpy()[:, 0]).max() <= 0.5 + 1e-4


def test_a_decoding_of_another_format_is_refused(plain, tmp_path):
    shutil.copytree(plain.folder, tmp_path / "run")
    path = tmp_path / "run" / "decoding" / "mean" / "middle.safetensors"
    save_tensors(path, load_tensors(path), {"schema": 7})
    with pytest.raises(
        RunMismatchError, match="holds a decoding of format 7, and this program reads format 1; a newer Layerscope"
    ):
        bundle(load_run(tmp_path / "run"), **QUIET)


def noisy_pictures(run, monkeypatch, side=40):
    """The run with large pictures that no file format makes smaller."""
    count = len(run.recordings["clean"])
    drawn = torch.randint(256, (count, 3, side, side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    monkeypatch.setattr(type(run.recordings["clean"]), "pictures", lambda _, rows: drawn[rows])
    return drawn


def test_thinning_obeys_the_bound_and_leaves_out_noise_first(plain, monkeypatch):
    drawn = noisy_pictures(plain, monkeypatch)
    whole, bare = bundle(plain, **QUIET).size, None
    shown = []
    for megabytes in np.linspace(whole / 1e6, 0.02, 14):
        try:
            made = bundle(plain, max_mb=megabytes, **QUIET)
        except ValueError as error:
            told = re.match(r"`max_mb` is [\d.]+, and the files take ([\d.]+) MB even without pictures", str(error))
            bare = float(told[1])
            assert bare + 0.05 >= megabytes
            continue
        assert bare is None
        assert made.size == sum(map(len, made.files.values())) <= megabytes * 1e6
        pictures = made.description["pictures"]
        kept = {name: told["shown"] for name, told in pictures.items()}
        for told in pictures.values():
            assert told["shown"] + told["thinned"] == 40
            rows = list(range(40)) if told["rows"] is None else told["rows"]
            assert len(rows) == told["shown"] == sum(sheet["count"] for sheet in told["sheets"])
            expected = drawn.numpy()[rows].transpose(0, 2, 3, 1)
            np.testing.assert_array_equal(np.reshape(cells(made, told), expected.shape), expected)
        assert kept["clean"] == kept[PGD]
        assert kept[NOISE] == 0 or kept["clean"] == 40
        shown.append((kept["clean"], kept[NOISE]))
    assert bare is not None
    assert shown[0] == (40, 40)
    assert (40, 0) in shown
    assert shown == sorted(shown, reverse=True)
    assert len({clean for clean, _ in shown}) > 3


@pytest.mark.parametrize(("name", "least"), [("plain", 10), ("texts", 5)])
def test_where_there_is_no_room_for_pictures_samples_are_thinned(request, name, least, monkeypatch):
    run = request.getfixturevalue(name)
    monkeypatch.setattr(thinning, "FEWEST", least)
    total = len(run.recordings["clean"])
    every, few = (bare_size(bundle(run, max_samples=most, **QUIET)) for most in (None, least))
    counts = []
    for share in (0.9, 0.5, 0.1):
        bound = int(few + share * (every - few))
        made = bundle(run, max_mb=bound / 1e6, **QUIET)
        assert made.size <= bound
        told = made.description
        counts.append(told["samples"])
        rows = chosen_rows(run.recordings["clean"], told["samples"], keep=run.settings["example"])
        assert array(made, "id").tolist() == run.recordings["clean"].ids.numpy()[rows].tolist()
        assert told["samples"] < told["total"] == total
        assert {(one["shown"], one["thinned"]) for one in told["pictures"].values()} <= {(0, told["samples"])}
        # as many as fit, but for what texts differ in, and for the sentence that says that there are fewer
        assert counts[-1] >= least + 0.7 * share * (total - least) - 3
    assert counts == sorted(counts, reverse=True)
    assert bundle(run, max_mb=few / 1e6, **QUIET).description["samples"] == least
    told = (
        rf"`max_mb` is [\d.e-]+, and the files take [\d.]+ MB even without pictures and of {least} samples alone; allow"
    )
    with pytest.raises(TooLargeError, match=told):
        bundle(run, max_mb=(few - 100) / 1e6, **QUIET)


def bare_size(made):
    """Bytes of a bundle without its pictures, whose names and places are a few hundred bytes of its description."""
    told = {
        "pictures": {
            name: one | {"shown": 0, "thinned": one["shown"], "rows": [], "sheets": []}
            for name, one in made.description["pictures"].items()
        },
        "decoding": {
            reduction: {layer: one | {"sheet": None} for layer, one in layers.items()}
            for reduction, layers in made.description["decoding"].items()
        },
    }
    told["left_out"] = thinning.left_out(made.description | told)
    files = {name: content for name, content in made.files.items() if name.startswith(("arrays", "texts"))}
    return whole(made.description | told, files).size


def test_inversions_make_room_for_samples_where_they_take_most_of_it(plain, tmp_path, monkeypatch):
    shutil.copytree(plain.folder, tmp_path / "run")
    path = tmp_path / "run" / "decoding" / "mean" / "middle.safetensors"
    shutil.rmtree(tmp_path / "run" / "decoding" / "sketch-16")
    run = load_run(tmp_path / "run")
    drawn = noisy_pictures(run, monkeypatch)
    save_tensors(path, {"units": torch.arange(12), "inversion": drawn[:12]}, {"schema": 1})
    whole = bundle(run, **QUIET)
    inverted = len(whole.files["sheets/decoding-0-2-0.png"])
    bare = whole.size - sum(len(content) for name, content in whole.files.items() if name.startswith("sheets/"))

    def shown(times):
        made = bundle(run, max_mb=(bare + times * inverted) / 1e6, **QUIET)
        told = made.description["decoding"]["mean"]["middle"]
        assert told["inverted"] == [True] * 12
        assert len(told["names"]) == 12
        assert (told["sheet"] is None) == ("sheets/decoding-0-2-0.png" not in made.files)
        return told["sheet"] is not None, made.description["pictures"]["clean"]["shown"]

    (kept, some), (left_out, more), (neither, fewer) = shown(2.2), shown(1.8), shown(0.9)
    assert (kept, left_out, neither) == (True, False, False)
    assert more > some > 0
    assert more > fewer > 0


def test_a_subset_has_every_class_in_proportion(plain, many):
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    recording = replace(plain.recordings["clean"], ids=torch.arange(100), labels=labels, predictions=labels)
    for most in (1, 7, 10, 33, 99):
        rows = chosen_rows(recording, most)
        assert len(rows) == len(set(rows.tolist())) == most
        assert rows.tolist() == sorted(rows.tolist())
        counts = labels[torch.from_numpy(rows)].bincount(minlength=3) / most
        assert (counts - torch.tensor([0.6, 0.3, 0.1])).abs().max() <= 1 / most
    assert chosen_rows(recording, 33).tolist() == chosen_rows(recording, 33).tolist()
    assert chosen_rows(recording, 33, seed=1).tolist() != chosen_rows(recording, 33).tolist()
    assert chosen_rows(recording, 100).tolist() == chosen_rows(recording, None).tolist() == list(range(100))
    for kept in (0, 65, 99):
        assert chosen_rows(recording, 1, keep=kept).tolist() == [kept]
        rows = chosen_rows(recording, 33, keep=kept)
        assert kept in rows
        counts = labels[torch.from_numpy(rows)].bincount(minlength=3) / 33
        assert (counts - torch.tensor([0.6, 0.3, 0.1])).abs().max() <= 1.5 / 33
    made = bundle(many, max_samples=50, **QUIET)
    assert (made.description["samples"], made.description["total"]) == (50, 160)
    rows = chosen_rows(many.recordings["clean"], 50, keep=many.settings["example"])
    assert array(made, "id").tolist() == many.recordings["clean"].ids.numpy()[rows].tolist()
    table = many.codes["clean"].iloc[rows]
    layers = made.description["reductions"][0]["layers"]
    assert array(made, "code/0/0").tolist() == [table[f"code:{layer}|mean"].tolist() for layer in layers]
    told = made.description["pictures"]["clean"]
    expected = many.recordings["clean"].pictures().numpy()[rows].transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(cells(made, told), expected)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_samples": 0}, "`max_samples` must be a whole number, at least 1, or None for all; got 0"),
        ({"max_samples": True}, "`max_samples` must be a whole number, at least 1, or None for all; got True"),
        ({"max_mb": 0}, "`max_mb` must be a number above 0, or None for no bound; got 0"),
        ({"max_mb": math.nan}, "`max_mb` must be a number above 0, or None for no bound; got nan"),
    ],
)
def test_options_out_of_range_are_refused(plain, options, told):
    with pytest.raises(ValueError, match=told):
        bundle(plain, **options, **QUIET)


def read(made):
    return np.frombuffer(made.content, "<u2") * made.scale


def test_scaled_values_are_at_most_half_a_step_off():
    values = np.random.default_rng(0).gamma(0.3, 7, (5, 200))
    made = scaled(values)
    assert made.type == "uint16"
    assert np.abs(read(made) - values.ravel()).max() <= values.max() / 65535 / 2 * 1.0001
    assert read(scaled(np.zeros((2, 3)))).tolist() == [0.0] * 6


def test_a_map_of_more_units_than_sixteen_bits_hold_has_wider_codes(plain, monkeypatch):
    monkeypatch.setattr(arrays_module, "STEPS", 10)
    assert bundle(plain, **QUIET).description["arrays"]["code/0/0"]["type"] == "int32"


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("plain", ["causal"]),
        ("without_attack", ["attack", "decoding", "smallest", "causal"]),
        ("without_labels", ["labels", "decoding", "causal"]),
        ("texts", ["attack", "smallest", "causal"]),
    ],
)
def test_what_a_run_lacks_is_told_with_the_command_that_makes_it(request, name, lacks, monkeypatch):
    made = bundle(request.getfixturevalue(name), **QUIET)
    assert [one["what"] for one in made.description["missing"]] == lacks
    for one in made.description["missing"]:
        assert one["told"].endswith(".")
        words = shlex.split(one["command"])
        assert words[0] == "layerscope"
        context = parsed(words[1:])
        assert context["out"].name == f"{name}-2" if words[1] == "run" else context["folder"].name == name
    told = {one["what"]: shlex.split(one["command"]) for one in made.description["missing"]}
    if "attack" in lacks:
        asked = parsed(told["attack"][1:])
        known = ["KIND:NORM=SIZE"] if name == "texts" else ["pgd:linf=8/255"]
        assert (asked["attack"], asked["smallest"]) == (known, "auto")
        minimal = "KIND:NORM" if name == "texts" else "fmn:linf,steps=50"
        assert (parsed(told["smallest"][1:])["attack"], parsed(told["smallest"][1:])["smallest"]) == (["none"], minimal)


def test_samples_that_are_neither_images_nor_texts_are_not_seen_and_that_is_told(without_attack, monkeypatch):
    monkeypatch.setattr(type(without_attack.recordings["clean"]), "pictures", lambda *_: None)
    made = bundle(without_attack, max_mb=1, **QUIET)
    assert made.description["pictures"] == {}
    told = {one["what"]: one for one in made.description["missing"]}
    assert list(told) == ["attack", "pictures", "smallest", "causal"]
    assert told["pictures"]["command"] is None
    assert "neither images nor texts" in told["pictures"]["told"]


@pytest.mark.parametrize(
    ("given", "told"), [("runs/x", "runs/x"), ("x", "x"), ("../../else/x", "x"), ("/else/x", "x"), (".", "here")]
)
def test_a_page_tells_of_the_folder_no_more_than_leads_down_to_it(plain, given, told, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert description(replace(plain, folder=Path(given)))["run"]["folder"] == told


def parsed(words):
    """What the command line makes of some words."""
    import typer

    command = typer.main.get_command(cli.app)
    name, own, rest = command.resolve_command(command.make_context("layerscope", [], resilient_parsing=True), words)
    return own.make_context(name, list(rest)).params


def test_without_attack_labels_or_images_there_is_what_there_is(without_attack, without_labels, texts):
    clean = bundle(without_attack, **QUIET).description
    assert [one["name"] for one in clean["conditions"]] == ["clean"]
    assert clean["departure"] == {"mean": {}}
    assert list(clean["pictures"]) == ["clean"]
    made = bundle(without_labels, **QUIET)
    assert made.description["class_source"] == "predictions"
    assert set(array(made, "label")) == {-1}
    assert made.description["run"]["command"] is None
    made = bundle(texts, max_samples=20, **QUIET)
    assert made.description["texts"] is True
    assert made.description["pictures"] == {}
    rows = chosen_rows(texts.recordings["clean"], 20, keep=texts.settings["example"])
    assert json.loads(made.files["texts.json"]) == [texts.recordings["clean"].texts[row] for row in rows]
    assert [said for said in json.loads(made.files["texts.json"]) if "<" in said]


def test_the_command_asks_for_the_very_same_run(plain, monkeypatch, tmp_path):
    asked = plain.settings["asked"] | {
        "network": "py:own nets:make", "data": "folder:a b", "fit_data": "npz:c.npz", "layers": ["stem", "mi*"],
        "align": False, "scaling": "standard", "smallest": None, "seed": 3,
    }  # fmt: skip
    run = replace(plain, settings=plain.settings | {"asked": asked})
    command = bundle(run, **QUIET).description["run"]["command"]
    seen = {}

    class Caught:
        def __init__(self, folder, network, data, **options):
            seen.update(options, folder=folder, network=network, data=data)

        def run(self):
            raise ValueError("enough")

    from typer.testing import CliRunner

    monkeypatch.setattr(cli, "Study", Caught)
    CliRunner().invoke(cli.app, shlex.split(command)[1:])
    assert str(seen.pop("folder")) == "plain"
    assert seen.pop("overwrite") is False
    seen = {name: list(value) if isinstance(value, tuple) else value for name, value in seen.items()}
    assert seen == asked


def test_names_of_a_users_are_text_and_never_paths(hostile_names, tmp_path):
    made = bundle(hostile_names, **QUIET)
    told = made.description
    assert told["classes"] == list(bundles.HOSTILE)
    assert told["title"] == bundles.HOSTILE[1]
    named = [name.replace(".", "·") for name in bundles.HOSTILE]
    assert [name for name in told["reductions"][0]["layers"] if name in named] == named
    assert all(NAME.fullmatch(name) for name in made.files if name != "bundle.json")
    made.save(tmp_path / "bundle")
    files = {str(path.relative_to(tmp_path / "bundle")) for path in (tmp_path / "bundle").rglob("*") if path.is_file()}
    assert files == set(made.files)
    inside = {path.parts[len(hostile_names.folder.parts)] for path in hostile_names.folder.rglob("*")}
    assert inside <= {
        ".lock",
        "atlas",
        "codes",
        "nulls",
        "recordings",
        "results.parquet",
        "smallest.parquet",
        "study.json",
    }


def test_a_bundle_is_saved_and_loaded(made, tmp_path):
    made.save(tmp_path / "bundle")
    again = load_bundle(tmp_path / "bundle")
    assert again.files == made.files
    assert again.description == made.description
    for name, digest in made.description["files"].items():
        assert hashlib.sha256((tmp_path / "bundle" / name).read_bytes()).hexdigest() == digest


def test_the_same_run_gives_the_same_bytes(plain, made):
    assert bundle(load_run(plain.folder), **QUIET).files == made.files


def damaged(folder, change):
    """A saved bundle with one thing wrong."""
    path = folder / "bundle.json"
    told = json.loads(path.read_text())
    if change == "json":
        path.write_text(path.read_text()[:-20])
    elif change == "schema":
        path.write_text(json.dumps(told | {"schema": 3}))
    elif change == "no files":
        path.write_text(json.dumps({name: value for name, value in told.items() if name != "files"}))
    elif change == "outside":
        path.write_text(json.dumps(told | {"files": told["files"] | {"arrays/../../secret.bin": "0"}}))
    elif change == "missing":
        (folder / "arrays" / "code" / "0" / "0.bin").unlink()
    elif change == "byte":
        content = bytearray((folder / "sheets" / "picture-0-0.png").read_bytes())
        content[-20] ^= 1
        (folder / "sheets" / "picture-0-0.png").write_bytes(content)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ("json", CorruptFileError, "bundle.json' is not readable JSON"),
        (
            "schema",
            RunMismatchError,
            "holds a bundle of format 3, and this program reads format 2; a newer Layerscope wrote it: install",
        ),
        ("no files", CorruptFileError, "names no files, or other files than a bundle's; make it again"),
        ("outside", CorruptFileError, "names no files, or other files than a bundle's; make it again"),
        ("missing", CorruptFileError, r"0.bin' is missing or damaged; make the bundle again from the run"),
        ("byte", CorruptFileError, "picture-0-0.png' is missing or damaged; make the bundle again from the run"),
    ],
)
def test_a_damaged_bundle_is_refused_and_named(made, tmp_path, change, error, told):
    made.save(tmp_path)
    damaged(tmp_path, change)
    with pytest.raises(error, match=told):
        load_bundle(tmp_path)


def test_there_may_be_no_bundle(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no bundle\.json; make a bundle there with `bundle"):
        load_bundle(tmp_path)


def test_the_table_of_causes_is_not_missing_where_it_was_made(plain, tmp_path):
    shutil.copytree(plain.folder, tmp_path / "run")
    pd.DataFrame({"measure": []}).to_parquet(tmp_path / "run" / "causal.parquet")
    assert bundle(load_run(tmp_path / "run"), **QUIET).description["missing"] == []
