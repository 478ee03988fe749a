"""A run from end to end: what it writes, that it is the same twice, and what it refuses."""

import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_data, tiny_module
from forks import ended, in_a_fork
from torch import nn

from layerscope import Coded, Network, Study, load_data, load_recording, load_run, profile, report, table
from layerscope import recording as recording_module
from layerscope.data import Batch
from layerscope.decoding import decode, save_decoding
from layerscope.errors import CorruptFileError, FolderInUseError, NonFiniteError, RunMismatchError, StorageError
from layerscope.perturbing import Matching
from layerscope.results import COLUMNS, MEASURES
from layerscope.store import locked, save_table

pytestmark = pytest.mark.usefixtures("undrawn")  # of `tiny_run` alone, which is made first, the report is drawn
OPTIONS = {"grid": (3, 4), "draws": 50, "batch_size": 32, "untrained": 2, "progress": False}
NAMES = ("top", "middle", "bottom")
PGD = "pgd:linf=8/255"
WHOLE = {
    "accuracy", "robust_accuracy", "compression", "expansion", "compression_p", "expansion_p", "smallest_perturbation",
}  # fmt: skip
FLOW = {"flip_rate", "grid_shift", "shift_over_gap", "amplification", "wrong_class_log_odds"}
SMALLEST = {
    "smallest_perturbation", "vulnerability_homogeneity", "vulnerability_gap", "vulnerability_homogeneity_p",
    "vulnerability_gap_p",
}  # fmt: skip
OF_OTHER_STAGES = {name for name in MEASURES if name.startswith("causal_")} | {
    "reencoding_rate", "inversion_residual", "inversion_agreement", "readout_explained", "margin_drop",
}  # fmt: skip
"""What is measured of a finished run."""
HOMOGENEITY = {"vulnerability_homogeneity", "vulnerability_homogeneity_p"}
TOLD = SMALLEST | {
    "label_information", "class_entropy_given_code", "purity", "class_overlap", "class_area", "class_gap",
    "class_separation", "shift_over_gap", "wrong_class_log_odds", "accuracy", "robust_accuracy",
}  # fmt: skip
BESIDE = {"shuffled", "codebook", "reduction", "subsample:2"}
ESTIMATORS = {f"estimator:{name}" for name in ("plug-in", "Miller-Madow", "Grassberger", "Chao-Shen")}


def study(folder, data=None, **options):
    network = Network(tiny_module(), class_names=NAMES)
    return Study(folder, network, tiny_data() if data is None else data, **(OPTIONS | options))


def measured(run):
    """Every file whose bytes must be the same when a run is made again."""
    paths = [run.folder / "results.parquet", *sorted(run.folder.rglob("codes/*.parquet"))]
    paths += run.folder.glob("smallest.parquet")
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in paths}


def test_a_run_is_a_folder_as_the_design_has_it(tiny_run):
    assert sorted(path.name for path in tiny_run.folder.iterdir()) == [
        ".lock", "atlas", "codes", "nulls", "recordings", "report.html", "results.parquet",
        "smallest.parquet", "study.json",
    ]  # fmt: skip
    names = ["clean", "noise-pgd-linf-8of255", "pgd-linf-8of255"]
    recordings = [names[0], "fit", *names[1:], "step"]
    assert sorted(path.name for path in (tiny_run.folder / "recordings").iterdir()) == recordings
    nulls = ["reduction", "untrained-0", "untrained-1"]
    assert sorted(path.name for path in (tiny_run.folder / "nulls").iterdir()) == nulls
    assert sorted(path.stem for path in (tiny_run.folder / "codes").iterdir()) == names
    assert (tiny_run.folder / "atlas" / "sketch-512" / "stem.safetensors").is_file()
    assert not [path for path in tiny_run.folder.rglob("*") if path.suffix in (".pkl", ".pt", ".npy", ".part")]


def test_the_results_table_has_its_columns_and_every_measure_at_every_layer(tiny_run):
    results = tiny_run.results
    assert tuple(results.columns) == COLUMNS
    # every code holds one class alone, and of fewer than ten codes no p is told
    assert set(results["measure"]) == set(MEASURES) - OF_OTHER_STAGES - HOMOGENEITY - {"vulnerability_gap_p"}
    clean = results[(results["condition"] == "clean") & (results["layer"] != "")]
    counts = clean.pivot_table(index="measure", columns="reduction", values="value", aggfunc="size")
    assert set(counts.index) == set(MEASURES) - OF_OTHER_STAGES - WHOLE - FLOW - SMALLEST
    between = counts.index.isin(["drift", "fan_out", "fan_in", "local_stretch"])
    assert (counts[~between] == 4).all(axis=None)  # input, stem, middle, logits
    assert (counts[between] == 3).all(axis=None)
    told = results[results["low"].notna()]
    assert (told["low"] <= told["value"] + 1e-9).all()
    assert (told["value"] <= told["high"] + 1e-9).all()
    alone = clean["measure"].isin(["trustworthiness", "prediction_information"])  # fresh weights may answer one class
    assert clean.loc[~alone, "null_untrained"].notna().all()
    assert clean.loc[clean["measure"] == "label_information", "null_shuffled"].notna().all()
    assert results["n"].max() == 40
    network = results[results["layer_index"] == -1]
    assert set(network["measure"]) == WHOLE
    assert set(network["layer"]) == {""}


def test_codes_are_the_table_of_the_design(tiny_run):
    codes = tiny_run.codes["clean"]
    assert list(codes.columns[:4]) == ["id", "code:input|mean", "distance:input|mean", "second:input|mean"]
    assert codes["id"].tolist() == tiny_run.recordings["clean"].ids.tolist()
    assert codes["code:stem|sketch:512"].between(0, 11).all()
    assert (codes["code:stem|mean"] != codes["second:stem|mean"]).all()


def test_what_was_fitted_was_not_measured(tiny_run):
    fitted, measured_ids = (set(tiny_run.recordings[name].ids.tolist()) for name in ("fit", "clean"))
    assert (len(fitted), len(measured_ids)) == (80, 40)
    assert not fitted & measured_ids


def test_a_run_that_is_loaded_is_the_run_that_was_made(tiny_run):
    loaded = load_run(tiny_run.folder)
    pd.testing.assert_frame_equal(loaded.results, tiny_run.results)
    pd.testing.assert_frame_equal(loaded.codes["pgd:linf=8/255"], tiny_run.codes["pgd:linf=8/255"])
    for layer, fitted in tiny_run.atlas.maps.items():
        assert loaded.atlas.maps[layer].prototypes.equal(fitted.prototypes)
    assert loaded.class_names == NAMES
    assert list(loaded.profile.columns[:4]) == ["reduction", "layer", "measure", "value"]
    with pytest.raises(ValueError, match=r"The run was made from an object \(TinyNet\), not from a spec"):
        _ = loaded.network


def test_the_example_is_a_sample_that_the_attack_fools_of_middling_displacement(tiny_run):
    clean, attacked = (tiny_run.recordings[name] for name in ("clean", PGD))
    places = tiny_run.grid.positions.tolist()
    moved, fooled = {}, set()
    for row, sample in enumerate(clean.ids.tolist()):
        moved[sample] = 0.0
        for layer in clean.depth("mean"):
            one, other = (tiny_run.codes[name][f"code:{layer}"][row] for name in ("clean", PGD))
            moved[sample] += math.dist(places[one], places[other])
        if clean.predictions[row] == clean.labels[row] != attacked.predictions[row]:
            fooled.add(sample)
    example, among = tiny_run.settings["example"], fooled or set(moved)
    assert example in among
    ranks = sorted(moved[sample] for sample in among)
    assert moved[example] == pytest.approx(ranks[len(ranks) // 2], abs=1e-4)


def test_what_is_looked_at_has_pictures_and_what_is_not_has_none(tiny_run):
    images, _ = tiny_data()
    clean = tiny_run.recordings["clean"]
    assert clean.pictures().equal((255 * images[clean.ids]).round().to(torch.uint8))
    for name in ("pgd:linf=8/255", "noise:pgd:linf=8/255"):
        shown, sizes = tiny_run.recordings[name].pictures().int(), tiny_run.recordings[name].sizes["linf"]
        change = (shown - clean.pictures().int()).abs().flatten(1).amax(1)
        assert ((change - 255 * sizes).abs() <= 1).all()
        assert change.min() > 0
    unseen = [tiny_run.recordings["fit"], load_recording(tiny_run.folder / "recordings" / "step")]
    unseen += [load_recording(path.parent) for path in tiny_run.folder.glob("nulls/*/recordings/*/manifest.json")]
    assert len(unseen) > 8
    assert [one for one in unseen if one.pictures() is not None] == []


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tiny_run, tmp_path):
    assert measured(study(tmp_path / "again").run()) == measured(tiny_run)
    other = measured(study(tmp_path / "other", seed=1).run())
    assert other["results.parquet"] != measured(tiny_run)["results.parquet"]


def test_a_study_whose_explorer_is_too_large_ends_with_a_report_without_it(tiny_run, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    whole = report.write_report
    monkeypatch.setattr("layerscope.run.write_report", lambda run, **options: whole(run, **options | {"max_mb": 0.05}))
    run = study(folder, progress=True).run()
    assert "Warning: The report is without the explorer: `max_mb` is 0.05, and figures" in capsys.readouterr().err
    page = (folder / "report.html").read_text()
    assert "This file is without the explorer: `max_mb` is 0.05, and figures" in page
    assert "<script" not in page
    assert run.results.equals(tiny_run.results)


def test_asking_again_changes_nothing(tiny_run):
    before = {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*.safetensors")}
    results = measured(tiny_run)
    study(tiny_run.folder).run()
    assert before == {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*.safetensors")}
    assert measured(tiny_run) == results


@pytest.mark.parametrize(
    "stage",
    [
        "recordings/noise-pgd-linf-8of255", "recordings/clean/samples.parquet", "recordings/fit/manifest.json", "atlas",
        "atlas/mean/stem.safetensors", "atlas/atlas.json", "codes/clean.parquet", "nulls/untrained-1",
        "results.parquet", "smallest.parquet", "report.html",
    ],
)  # fmt: skip
def test_what_is_missing_is_made_again_alike(tiny_run, tmp_path, stage):
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    path = tmp_path / "run" / stage
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = study(tmp_path / "run").run()
    assert measured(again) == measured(tiny_run)
    assert path.exists()


def test_a_run_that_is_killed_at_any_moment_goes_on_and_ends_with_the_same_bytes(tmp_path):
    started = time.monotonic()
    assert ended(in_a_fork(lambda: study(tmp_path / "whole").run())) == 0
    duration = time.monotonic() - started
    killed = 0
    for share in (0.15, 0.4, 0.65, 0.85):
        child = in_a_fork(lambda: study(tmp_path / "killed").run())
        time.sleep(share * duration)
        os.kill(child, signal.SIGKILL)
        killed += ended(child) == -signal.SIGKILL
    assert killed >= 1
    assert ended(in_a_fork(lambda: study(tmp_path / "killed").run())) == 0
    assert measured(load_run(tmp_path / "killed")) == measured(load_run(tmp_path / "whole"))


@pytest.mark.usefixtures("drawn")
def test_without_an_attack_only_clean_inputs_are_measured(tmp_path):
    run = study(tmp_path / "run", attack=None, untrained=0).run()
    assert set(run.results["condition"]) == {"clean"} | BESIDE | ESTIMATORS
    assert run.results["null_untrained"].isna().all()
    assert run.settings["example"] is None
    assert "no untrained draws to judge it by" in (run.folder / "report.html").read_text()


def norms(run, attack):
    """How large each sample's change is under an attack and under its noise, counted from the samples themselves."""
    for name in (attack, f"noise:{attack}"):
        clean, changed = run.recordings["clean"], run.recordings[name]
        layer = clean.depth("mean")[0]
        change = (changed.vectors(layer).double() - clean.vectors(layer).double()).abs()
        yield changed.sizes, {"linf": change.amax(1), "l2": change.square().sum(1).sqrt()}


@pytest.mark.parametrize(
    ("attack", "kept"), [(PGD, ("linf", "l2")), ("pgd:l2=0.5", ("l2",)), ("fgsm:linf=0.6", ("linf", "l2"))]
)
def test_the_noise_beside_an_attack_changes_every_sample_by_as_much(tmp_path, attack, kept):
    options = {"untrained": 0, "smallest": None, "draws": 50}
    run = study(tmp_path / "run", attack=attack, **options).run()
    (told, attacked), (told_of_noise, noisy) = norms(run, attack)
    for norm in ("linf", "l2"):
        for sizes, counted in ((told, attacked), (told_of_noise, noisy)):
            torch.testing.assert_close(sizes[norm], counted[norm], atol=1e-7, rtol=0)
    for norm in kept:
        torch.testing.assert_close(told_of_noise[norm], told[norm], atol=1e-6, rtol=0)
    assert told["l2"].unique().numel() > 10  # what bounds cut off differs from sample to sample
    images = run.recordings[f"noise:{attack}"]
    assert not images.vectors(images.depth("mean")[0]).equal(run.recordings[attack].vectors(images.depth("mean")[0]))


def test_noise_is_matched_to_each_sample_by_its_id_whatever_the_batch():
    images, _ = tiny_data(30)
    ids = torch.arange(30) + 100
    linf = torch.linspace(0.01, 0.1, 30, dtype=torch.float64)
    sizes, order = {"linf": linf, "l2": 3 * linf}, torch.randperm(30, generator=torch.Generator().manual_seed(0))
    shuffled = {norm: values[order] for norm, values in sizes.items()}
    network = Network(tiny_module())
    whole = Matching("linf", ids[order], shuffled, 0)(network, Batch(images, None, ids))
    change = (whole.double() - images.double()).flatten(1)
    torch.testing.assert_close(change.abs().amax(1), linf, atol=1e-6, rtol=0)
    torch.testing.assert_close(change.norm(dim=1), 3 * linf, atol=1e-6, rtol=0)
    part = Matching("linf", ids, sizes, 0)(network, Batch(images[10:14], None, ids[10:14]))
    assert part.equal(whole[10:14])
    assert not Matching("linf", ids, sizes, 1)(network, Batch(images, None, ids)).equal(whole)
    assert whole.min() >= 0


def test_several_attacks_have_their_noise_each(tmp_path):
    attacks = ("pgd:linf=4/255,steps=3", "fgsm:l2=0.5")
    run = study(tmp_path / "run", attack=attacks, untrained=0).run()
    expected = ["clean", *(name for attack in attacks for name in (f"noise:{attack}", attack))]
    assert run.settings["chosen"]["conditions"] == list(run.codes) == expected
    assert run.settings["asked"]["attack"] == list(attacks)
    assert run.settings["asked"]["smallest"] == "fmn:linf,steps=50"
    flips = run.results[run.results["measure"] == "flip_rate"]
    assert set(flips["condition"]) == set(expected) - {"clean"}
    assert (flips.groupby("condition").size() == 8).all()
    assert set(run.settings["checks"]) == {*attacks, "fmn:linf,steps=50"}


def test_smallest_perturbations_are_kept_and_told_of(tmp_path):
    images, labels = tiny_data()
    mixed = torch.where(torch.arange(120) % 5 == 0, (labels + 1) % 3, labels)
    run = study(tmp_path / "run", (images, mixed), untrained=0).run()
    clean, found = run.recordings["clean"], pd.read_parquet(run.folder / "smallest.parquet")
    right = clean.ids[clean.predictions == clean.labels]
    assert list(found.columns) == ["id", "label", "size", "margin"]
    assert found["id"].tolist() == right.tolist()
    assert 10 < len(right) < 40
    rows = run.results[run.results["measure"].isin(SMALLEST)]
    whole = rows[~rows["condition"].str.startswith("class ")]
    assert set(whole["measure"]) == {name for name in SMALLEST if not name.endswith("_p")}  # on fewer than ten codes
    assert set(whole["condition"]) == {"fmn:linf,steps=50"}
    assert set(whole["n"]) == {len(right)}
    middle = whole[whole["measure"] == "smallest_perturbation"]
    assert middle["value"].tolist() == [pytest.approx(found["size"].quantile(0.5, interpolation="lower"))]
    assert middle["unit"].tolist() == ["linf"]
    kinds = whole[whole["measure"] == "vulnerability_homogeneity"].groupby(["reduction", "unit"]).size()
    assert len(kinds) == 2 * 3
    assert kinds.max() == 4


@pytest.mark.parametrize(
    ("options", "smallest"),
    [
        ({"attack": None}, None),
        ({"attack": "fgsm:l2=0.5"}, "fmn:l2,steps=50"),
        ({"attack": PGD, "smallest": None}, None),
        ({"attack": None, "smallest": "bisect:linf,steps=2,halvings=2"}, "bisect:linf,steps=2,halvings=2"),
    ],
)
def test_what_looks_for_the_smallest_follows_the_attack_unless_it_is_said(tmp_path, options, smallest):
    run = study(tmp_path / "run", untrained=0, **options).run()
    assert run.settings["asked"]["smallest"] == smallest
    assert (run.folder / "smallest.parquet").is_file() == (smallest is not None)
    rows = run.results[run.results["measure"].isin(SMALLEST) & ~run.results["condition"].str.startswith("class ")]
    assert set(rows["condition"]) == ({smallest} if smallest else set())


@pytest.mark.usefixtures("drawn")
def test_where_every_answer_is_wrong_or_few_are_right_nothing_is_said_to_go_with_the_smallest(tmp_path):
    images, labels = tiny_data()
    wrong = (labels + 1) % 3
    run = study(tmp_path / "wrong", (images, wrong), untrained=0).run()
    assert not (run.folder / "smallest.parquet").exists()
    assert not SMALLEST & set(run.results["measure"])
    few = torch.where(torch.arange(120) < 9, labels, wrong)
    run = study(tmp_path / "few", (images, few), untrained=0).run()
    found = pd.read_parquet(run.folder / "smallest.parquet")
    assert 0 < len(found) < 10
    assert SMALLEST & set(run.results["measure"]) == {"smallest_perturbation"}
    middle = run.results[run.results["measure"] == "smallest_perturbation"]
    assert middle["n"].tolist() == [len(found)]
    told = f"Only {len(found)} samples are answered right, too few to hold smallest perturbations against codes"
    assert any(told in warning for warning in run.warnings)


@pytest.mark.usefixtures("drawn")
def test_without_labels_what_needs_none_is_measured_and_a_warning_says_what_is_not(tmp_path):
    run = study(tmp_path / "run", tiny_data()[0]).run()
    assert set(run.results["measure"]) == set(MEASURES) - OF_OTHER_STAGES - TOLD
    assert any("The data have no labels: label information" in warning for warning in run.warnings)
    assert "The data have no labels" in (run.folder / "report.html").read_text()


@pytest.mark.usefixtures("drawn")
def test_one_class_alone_is_measured_with_a_warning(tmp_path):
    images, _ = tiny_data()
    run = study(tmp_path / "run", (images, torch.ones(120, dtype=torch.int64))).run()
    measures = set(run.results["measure"])
    assert not {"label_information", "shift_over_gap"} & measures
    assert SMALLEST & measures <= {"smallest_perturbation"}
    assert any("All samples have one label" in warning for warning in run.warnings)


def test_too_few_samples_for_the_units_are_warned_of(tmp_path):
    run = study(tmp_path / "run", grid=(5, 8), untrained=0, attack=None).run()
    assert any("40 samples on maps of 40 units are 1.0 samples a unit" in warning for warning in run.warnings)


def test_labels_of_another_network_are_warned_of(tmp_path):
    images, labels = tiny_data()
    run = study(tmp_path / "run", (images, (labels + 1) % 3), untrained=0, attack=None).run()
    assert any("check that labels and preprocessing are the network's own" in warning for warning in run.warnings)


def test_classes_that_are_called_otherwise_are_warned_of(tmp_path):
    images, labels = tiny_data()
    np.savez(tmp_path / "a.npz", inputs=images.numpy(), labels=labels.numpy(), class_names=["a", "b", "c"])
    run = study(tmp_path / "run", f"npz:{tmp_path / 'a.npz'}", untrained=0, attack=None).run()
    assert any(r"are not called as the data's (a, b, c, ...)" in warning for warning in run.warnings)


def test_fewer_samples_than_units_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(
        ValueError, match=r"A map of 7 x 7 = 49 units needs at least as many samples .* there are 80 and 40"
    ):
        study(tmp_path / "run", grid=(7, 7)).run()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"layers": "steam"}, r"'steam' matches no layer that runs; did you mean 'stem"),
        ({"fit_data": tiny_data()}, "`fit_data` must be other samples than `data`.*; 120 samples are in both"),
        ({"fit_data": load_data(tiny_data(), limit=90)}, "; 90 samples are in both"),
        ({"fit_data": (torch.rand(90, 1, 5, 5), torch.arange(90) % 3)}, r"of shape \(1, 6, 6\); got \(1, 5, 5\)"),
        (
            {"data": (torch.rand(90, 2, 6, 6), torch.arange(90) % 3)},
            r"The network can't take `data`, samples of shape \(2, 6",
        ),
        ({"data": (tiny_data()[0] / 0, tiny_data()[1])}, r"Inputs must be finite; 2 samples of a batch \(ids"),
        ({"data": (torch.zeros(0, 1, 6, 6), torch.zeros(0, dtype=torch.int64))}, "`data` is empty"),
        ({"data": tiny_data(1)}, "`data` leaves no samples for measuring"),
        ({"data": (tiny_data()[0] - 2, tiny_data()[1])}, "Inputs must lie in the network's bounds"),
        ({"scaling": "other"}, "`scaling` must be one of own, standard; got 'other'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        study(tmp_path / "run", **options).run()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"untrained": -1}, "`untrained` must be a whole number, at least 0; got -1"),
        ({"draws": 3}, "`draws` must be a whole number, at least 50; got 3"),
        ({"batch_size": 0}, "`batch_size` must be a whole number, at least 1; got 0"),
        ({"seed": -1}, "`seed` must be a whole number, at least 0; got -1"),
        ({"reductions": ()}, r"`reductions` must be a list of different reductions; got \(\)"),
        ({"reductions": "mean"}, "`reductions` must be a list of different reductions; got 'mean'"),
        ({"reductions": ("mean", "mean")}, "`reductions` must be a list of different reductions"),
        ({"attack": "magic"}, "The attack 'magic' is not known"),
        ({"attack": ("pgd:linf=0.1", "pgd:linf=0.1")}, "or several different ones, or None; got .'pgd:linf=0.1', 'pgd"),
        ({"attack": "noise:linf=8/255"}, "`attack` 'noise:linf=8/255' must have a budget and an aim.*noise comes with"),
        (
            {"attack": ("pgd:linf=0.1", "fmn:l2")},
            "`attack` 'fmn:l2' must have a budget and an aim.*asked for by `small",
        ),
        ({"smallest": "pgd:linf=8/255"}, "`smallest` must be one of fmn, bisect, as 'fmn:linf'; got 'pgd:linf=8/255'"),
        ({"smallest": "fmn:l1"}, "The attack 'fmn:l1' must give `linf` or `l2`"),
        ({"reductions": ("median",)}, "The reduction 'median' is not known"),
    ],
)
def test_options_out_of_range_are_refused_at_once(tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        study(tmp_path, **options)


def test_activations_that_are_not_finite_stop_the_run_and_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "SHARD_BYTES", 1)
    module = tiny_module()
    with torch.no_grad():
        module.middle[0].weight[0] = torch.inf
    with pytest.raises(NonFiniteError, match=r"Layer 'middle.*' puts out NaN or infinity for"):
        Study(tmp_path / "run", Network(module), tiny_data(), **OPTIONS).run()
    assert (tmp_path / "run" / "study.json").is_file()


def test_a_folder_with_another_run_is_left_alone_and_shows_the_difference(tiny_run):
    before = measured(tiny_run)
    with pytest.raises(
        RunMismatchError,
        match=r"attack: the run has \['pgd:linf=8/255'\], you ask for \['pgd:linf=4/255'\]\n.*--overwrite",
    ):
        study(tiny_run.folder, attack="pgd:linf=4/255").run()
    images, labels = tiny_data()
    with pytest.raises(RunMismatchError, match="data: its contents have changed since the run was made"):
        study(tiny_run.folder, (images * 0.9, labels)).run()
    assert measured(tiny_run) == before


@pytest.mark.parametrize("options", [{"attack": ("pgd:linf=8/255", "pgd:linf=8")}, {"smallest": "fmn:linf=8"}])
def test_a_budget_wider_than_the_bounds_is_refused_before_anything_is_recorded(tmp_path, options):
    with pytest.raises(ValueError, match=r"`linf` 8 is wider than the network's bounds \[0, 1\]"):
        study(tmp_path / "run", **options).run()
    assert not (tmp_path / "run").exists()


def test_overwrite_deletes_the_other_run_and_nothing_else(tmp_path):
    study(tmp_path / "run", untrained=1).run()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    run = study(tmp_path / "run", untrained=0, attack=None, overwrite=True).run()
    assert set(run.results["condition"]) == {"clean"} | BESIDE | ESTIMATORS
    assert [path.name for path in (tmp_path / "run" / "nulls").iterdir()] == ["reduction"]
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_run_of_another_format_is_refused(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(RunMismatchError, match="format: the run has version 99, this program writes version 3"):
        study(tmp_path).run()


def test_what_is_left_of_a_run_without_its_study_is_deleted_on_request_alone(tiny_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.folder, folder)
    (folder / "study.json").write_text("{")
    with pytest.raises(RunMismatchError, match=r"study\.json: it is damaged, so that nothing says what the run was"):
        study(folder).run()
    (folder / "study.json").unlink()
    with pytest.raises(RunMismatchError, match=r"holds other files and no study.json; choose an empty folder"):
        study(folder).run()
    assert (folder / "results.parquet").is_file()
    assert measured(study(folder, overwrite=True).run()) == measured(tiny_run)


def test_an_unfinished_run_of_other_versions_is_not_mixed_with_these_and_a_finished_one_keeps_its_own(
    tiny_run, tmp_path
):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.folder, folder)
    settings = json.loads((folder / "study.json").read_text())
    settings["versions"]["torch"] = "1.0"
    (folder / "study.json").write_text(json.dumps(settings))
    assert study(folder).run().settings["versions"]["torch"] == "1.0"
    (folder / "results.parquet").unlink()
    with pytest.raises(RunMismatchError, match=r"versions: the run was begun under .*'torch': '1.0'"):
        study(folder).run()


def test_names_of_classes_that_the_network_does_not_know_are_refused_and_missing_ones_are_numbers(tmp_path):
    network = Network(tiny_module(), class_names=("a", "b", "c", "d"))
    with pytest.raises(
        ValueError, match=r"The network's 4 class names \(a, b, c, ...\) are more than the network's 3 answers"
    ):
        Study(tmp_path / "run", network, tiny_data(), **OPTIONS).run()
    network = Network(tiny_module(), class_names=("a",))
    run = Study(tmp_path / "run", network, tiny_data(), **OPTIONS | {"untrained": 0}).run()
    assert run.class_names == ("a", "1", "2")


def test_layers_that_are_not_averaged_are_warned_of_under_mean(tmp_path):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.wide, self.head = nn.Conv1d(6, 4, 3), nn.Linear(16, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.wide(self.conv(x.flatten(1, 2)).flatten(1)))

    run = Study(
        tmp_path / "run", Network(Flat().eval()), tiny_data(), **OPTIONS | {"untrained": 0, "attack": None}
    ).run()
    assert any(warning.startswith("Under mean, wide put out vectors and are taken whole") for warning in run.warnings)
    conv = run.recordings["clean"].depth("mean")[1]
    assert run.recordings["clean"].vectors(conv).shape[1] == 4  # channels, not what is left of the length


UNTYPED = """
import sys
sys.path.insert(0, {tests!r})
from conftest import tiny_data, tiny_module
import torch
from layerscope import Network, Study, attack, load_data, robustness, smallest_perturbations
for make in (
    lambda: Study("run", tiny_module(), tiny_data(), grid=5),
    lambda: Study("run", tiny_module(), tiny_data(), grid="6x6"),
    lambda: Study("run", tiny_module(), tiny_data(), untrained=1.5),
    lambda: Study("run", tiny_module(), tiny_data(), attack=("pgd:linf=0.1", 5)),
    lambda: Study("run", tiny_module(), tiny_data(), attack=5),
    lambda: Study("run", tiny_module(), tiny_data(), smallest=5),
    lambda: attack(tiny_module(), torch.ones(3, 2), torch.ones(3).long(), "pgd:l2=1"),
    lambda: attack(Network(tiny_module()), torch.ones(3, 2), torch.ones(3).long(), print),
    lambda: robustness(tiny_module(), tiny_data(), {{"mine": 5}}),
    lambda: smallest_perturbations(tiny_module(), tiny_data(), 5),
    lambda: attack(Network(tiny_module()), torch.ones(3, 2, dtype=torch.int64), torch.ones(3).long(), "pgd:l2=1"),
    lambda: Network(tiny_module().state_dict()),
    lambda: load_data((tiny_data()[0], ["cat"] * 120)),
):
    try:
        make()
    except (TypeError, ValueError) as error:
        print(type(error).__name__, error)
"""


def test_arguments_of_another_type_are_told_where_nothing_else_checks_types():
    script = UNTYPED.format(tests=os.path.dirname(__file__))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    for line, told in zip(
        done.stdout.splitlines(),
        [
            "ValueError `grid` must be two whole numbers, (rows, columns); got 5.",
            "ValueError `grid` must be two whole numbers, (rows, columns); got '6x6'.",
            "ValueError `untrained` must be a whole number, at least 0; got 1.5.",
            "ValueError `attack` must be one spec, such as 'pgd:linf=8/255', or several different ones, or None; ",
            "ValueError `attack` must be one spec, such as 'pgd:linf=8/255', or several different ones, or None; ",
            "ValueError `smallest` must be one of fmn, bisect, as 'fmn:linf'; got 5.",
            "TypeError `network` must be a layerscope.Network; got TinyNet. Wrap it: Network(module).",
            "TypeError `attack` must be a spec, such as 'pgd:linf=8/255', or a perturbation; got builtin",
            "ValueError `attacks` must be specs, or perturbations by names other than 'clean', such as {'foolbox': ",
            "ValueError `attack` must be one of fmn, bisect, as 'fmn:linf'; got 5.",
            "ValueError `inputs` must be numbers that can change a little, in float32 or float64; got torch.int64. ",
            "TypeError `module` must be a torch.nn.Module; got OrderedDict.",
            "TypeError `data`: labels must be whole numbers, the network's classes; got text.",
        ],
        strict=True,
    ):
        assert line.startswith(told)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunMismatchError, match=r"holds other files and no study\.json"):
        study(tmp_path, overwrite=True).run()
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(StorageError, match="is a file; choose a folder for the run"):
        study(tmp_path / "run").run()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"Can't write to '.*file/run': Not a directory; choose"):
        study(tmp_path / "file" / "run").run()


def test_a_disk_that_takes_no_more_stops_the_run_which_goes_on_when_it_does(tmp_path, tiny_run):
    def act():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
        told = "Can't write .*free some space or make the folder writable, then run the same command again"
        with pytest.raises(StorageError, match=told):
            study(tmp_path / "run").run()

    assert ended(in_a_fork(act)) == 0
    assert not list((tmp_path / "run").rglob("*.part"))
    assert measured(study(tmp_path / "run").run()) == measured(tiny_run)


def test_an_interruption_by_the_user_loses_nothing(tmp_path, monkeypatch, tiny_run):
    written = []

    def interrupt(path, table):
        written.append(path)
        if "pgd" in path.name:
            raise KeyboardInterrupt
        save_table(path, table)

    monkeypatch.setattr("layerscope.codes.save_table", interrupt)
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "run").run()
    monkeypatch.undo()
    assert (tmp_path / "run" / "codes" / "clean.parquet").is_file()
    assert measured(study(tmp_path / "run").run()) == measured(tiny_run)


def test_there_may_be_no_finished_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no finished run; make one with `layerscope run --out"):
        load_run(tmp_path)


def test_a_damaged_results_table_is_named(tiny_run, tmp_path):
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    (tmp_path / "run" / "results.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CorruptFileError, match=r"results.parquet' is damaged"):
        load_run(tmp_path / "run")


def test_the_network_of_a_run_from_a_spec_is_loaded_again(tiny_run):
    settings = dict(tiny_run.settings) | {
        "asked": tiny_run.settings["asked"] | {"network": "py:layerscope.demo:network"}
    }
    assert replace(tiny_run, settings=settings).network.name == "residual network (standard)"


def test_the_maps_of_a_run_are_as_large_as_the_samples_allow(tmp_path):
    chosen = study(tmp_path, grid=None)._grid(4000, 2000)
    assert (chosen.rows, chosen.columns) == (14, 14)
    assert len(study(tmp_path, grid=None)._grid(60, 30)) == 4


@pytest.mark.usefixtures("drawn")
def test_a_layer_that_never_changes_is_warned_of(tmp_path):
    module = tiny_module()
    with torch.no_grad():
        module.middle[0].weight.zero_()
        module.middle[0].bias.zero_()
    run = Study(tmp_path, Network(module), tiny_data(), **(OPTIONS | {"untrained": 0, "attack": None})).run()
    assert any(warning.startswith("middle, logits never changes, and has a particip") for warning in run.warnings)
    assert not (run.results["measure"] == "compression").any() or "octaves of participation_ratio" not in set(
        run.results["unit"]
    )


def test_what_is_to_be_decoded_is_decoded_once_and_checked_before_all_else(tmp_path, monkeypatch):
    options = {"attack": None, "untrained": 0, "reductions": ("mean",)}
    with pytest.raises(ValueError, match="`layer` 'blocks' was not recorded; layers are input, stem, middle, logits"):
        study(tmp_path / "run", decode=["middle", "blocks"], **options).run()
    assert not (tmp_path / "run").exists()
    run = study(tmp_path / "run", decode=["middle", "stem|mean"], **options).run()
    files = {path: path.stat().st_mtime_ns for path in (run.folder / "decoding").rglob("*.safetensors")}
    assert sorted(path.name for path in files) == ["middle.safetensors", "stem.safetensors"]
    assert run.settings["asked"]["decode"] == ["middle", "stem|mean"]
    before = (run.folder / "decoding" / "mean" / "middle.safetensors").read_bytes()
    for file in (run.folder / "decoding" / "mean").glob("middle*"):
        file.unlink()
    some = decode(run, "middle", [3], network=tiny_module(), data=tiny_data(), attribution=None, show_progress=False)
    save_decoding(some, run.folder / "decoding")  # of one unit: the others are left to do
    study(tmp_path / "run", decode=["middle", "stem|mean"], **options).run()
    again = {path: path.stat().st_mtime_ns for path in (run.folder / "decoding").rglob("*.safetensors")}
    assert [path.stem for path in files if again[path] == files[path]] == ["stem"]
    assert (run.folder / "decoding" / "mean" / "middle.safetensors").read_bytes() == before
    study(tmp_path / "run", overwrite=True, **options).run()
    assert not (run.folder / "decoding").exists()


def test_a_spec_with_spaces_is_the_same_attack(tiny_run):
    assert study(tiny_run.folder, attack="pgd: linf = 8/255").run().settings == tiny_run.settings


def test_many_classes_are_counted_a_few_draws_at_a_time_with_the_same_result(tiny_run, monkeypatch):
    coded = Coded(tiny_run.recordings["clean"], tiny_run.atlas, tiny_run.codes["clean"])
    whole = table(profile(coded, draws=50, permutations=50, show_progress=False))
    monkeypatch.setattr(sys.modules["layerscope.measures.profile"], "CELLS", 1)
    pd.testing.assert_frame_equal(table(profile(coded, draws=50, permutations=50, show_progress=False)), whole)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reductions": ("mean", "tokens")}, "`reductions` of a study must give one vector per sample; tokens gives"),
        ({"reductions": ("positions:4",)}, "positions:4 gives several. Record those with `layerscope.record`"),
        ({"layers": ["stem|max"]}, r"`layers` of a study have no reductions of their own.*got \['stem\|max'\]"),
    ],
)
def test_what_can_only_be_recorded_is_refused(tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        study(tmp_path / "run", **options)


class Letters(nn.Module):
    """Takes texts: how often each of eight letters comes, through two layers."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.second, self.head = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, texts):
        counts = torch.tensor([[float(text.count(letter)) for letter in "abcdefgh"] for text in texts])
        return self.head(self.second(self.first(counts).relu()).relu())


def texts(n=90):
    """Different texts of two classes: one has more of the first letters, the other of the last."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(4, (n, 12), generator=generator) + 4 * (torch.arange(n) % 2)[:, None]
    return ["".join("abcdefgh"[letter] for letter in row) for row in drawn.tolist()], torch.arange(n) % 2


@pytest.mark.usefixtures("drawn")
def test_texts_are_studied_without_an_attack(tmp_path):
    options = OPTIONS | {"attack": None, "grid": (2, 3), "reductions": ("mean",)}
    run = Study(tmp_path / "run", Network(Letters().eval()), texts(), **options).run()
    assert {"first", "second", "logits"} <= set(run.results["layer"])
    assert "label_information" in set(run.results["measure"])
    assert "local_stretch" not in set(run.results["measure"])  # a text has no small step
    assert "reduction" not in set(run.results["condition"])  # and nothing that could be reduced as it is
    assert not (run.folder / "recordings" / "step").exists()


def test_an_attack_on_texts_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"An attack needs samples of one tensor of numbers each \(images, tables\), or texts .*; got list",
    ):
        Study(tmp_path / "run", Network(Letters().eval()), texts(), **OPTIONS | {"grid": (2, 3)}).run()
    assert not (tmp_path / "run").exists()


def test_a_run_in_use_is_left_alone(tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(FolderInUseError, match=r"Another process is writing to '.*run'; wait until it has ended"),
    ):
        study(tmp_path / "run").run()
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
