"""A run's folder says what it lacks."""

import os
import shutil

import numpy as np
import pytest
from conftest import tiny_data, tiny_module

from layerscope import Network, Study, decode, load_data, load_run
from layerscope.decoding import Recipe


@pytest.mark.parametrize(
    "lost", ["recordings/clean", "recordings/noise-pgd-linf-8of255", "codes/clean.parquet", "recordings/fit", "atlas"]
)
def test_a_run_that_lacks_a_part_names_it_and_says_what_to_do(tiny_run, tmp_path, lost):
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    path = folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if lost == "recordings/fit":
        path.mkdir()  # begun, but not finished
    with pytest.raises(FileNotFoundError) as told:
        load_run(folder)
    what_to_do = "copy the whole folder, or run the same study there again, which makes what is missing."
    assert str(told.value) == f"'{folder}' lacks {lost}; {what_to_do}"


@pytest.mark.usefixtures("undrawn")
def test_the_same_study_makes_what_a_run_lacks(tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    shutil.rmtree(folder / "recordings" / "clean")
    (folder / "codes" / "clean.parquet").unlink()
    network = Network(tiny_module(), class_names=("top", "middle", "bottom"))
    options = {"grid": (3, 4), "draws": 50, "batch_size": 32, "untrained": 2, "progress": False}
    made = Study(folder, network, tiny_data(), **options).run()
    assert made.codes["clean"].equals(tiny_run.codes["clean"])


def test_a_folder_without_its_settings_holds_no_finished_run(tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    (folder / "study.json").unlink()
    with pytest.raises(FileNotFoundError, match="holds no finished run; make one with `layerscope run --out"):
        load_run(folder)


def test_a_run_of_specs_loads_its_network_and_its_samples_again(tmp_path, monkeypatch):
    images, labels = tiny_data(60)
    np.savez(tmp_path / "data.npz", inputs=images.numpy(), labels=labels.numpy())
    (tmp_path / "own_nets_of_a_run.py").write_text(
        f"import sys\nsys.path.insert(0, {os.path.dirname(__file__)!r})\nfrom conftest import tiny_module\n"
    )
    monkeypatch.chdir(tmp_path)
    options = {"grid": (2, 3), "draws": 50, "untrained": 0, "attack": None, "progress": False}
    run = Study("runs/own", "py:own_nets_of_a_run:tiny_module", "npz:data.npz", **options).run()
    assert run.network.fingerprint() == run.settings["fingerprints"]["network"]
    assert run.data.fingerprint == run.settings["fingerprints"]["data"]
    assert run.data.rows.tolist() == run.recordings["clean"].ids.tolist()
    found = decode(run, "middle", 0, recipe=Recipe(steps=4), attribution=None, show_progress=False)
    assert found.units[0].inverted.shape == (1, 6, 6)


def test_of_the_data_given_to_a_run_the_measured_part_is_taken_once(tiny_run):
    whole = load_data(tiny_data())
    part = tiny_run.measured(whole)
    assert part.rows.tolist() == tiny_run.recordings["clean"].ids.tolist()
    assert tiny_run.measured(part) is part
