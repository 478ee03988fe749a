"""A run's folder says what it lacks."""

import shutil

import pytest
from conftest import tiny_data, tiny_module

from layerscope import Network, Study, load_run


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
