"""The command line as a user meets it."""

import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_data
from PIL import Image
from typer.testing import CliRunner

from layerscope.cli import app
from layerscope.recording import load_recording

FACTORY = """
import sys
sys.path.insert(0, {tests!r})
from conftest import tiny_module
"""


def furnished(folder):
    """A folder with a network and data of the user's own."""
    images, labels = tiny_data()
    np.savez(folder / "data.npz", inputs=images.numpy(), labels=labels.numpy())
    (folder / "own_nets.py").write_text(FACTORY.format(tests=os.path.dirname(__file__)))
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch, undrawn):
    """A working folder with a network and data of the user's own."""
    monkeypatch.chdir(furnished(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder in which a study was carried out, and what that said."""
    folder = furnished(tmp_path_factory.mktemp("first"))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        return folder, call(*ARGUMENTS)


@pytest.fixture
def studied(first, tmp_path, monkeypatch, undrawn):
    """A copy of that folder, as the working folder."""
    folder = shutil.copytree(first[0], tmp_path / "studied")
    monkeypatch.chdir(folder)
    return folder


ARGUMENTS = [
    "run", "--model", "py:own_nets:tiny_module", "--data", "npz:data.npz", "--out", "runs/mine",
    "--grid", "3x4", "--draws", "50", "--untrained", "1",
]  # fmt: skip


def call(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100"})


def test_run_prints_profile_flow_findings_and_where_the_report_lies(first):
    place, done = first
    assert done.exit_code == 0, done.output
    assert "Profile under mean: value, 95 % interval, (same network untrained)" in done.output
    assert "Flow under sketch:512: pgd:linf=8/255 against noise of its size" in done.output
    assert "Accuracy, clean: 100.0%" in done.output
    assert "Report: runs/mine/report.html" in done.output
    assert (place / "runs/mine/report.html").is_file()


@pytest.mark.usefixtures("drawn")
def test_report_prints_and_draws_the_same_again(studied, first):
    report = studied / "runs/mine/report.html"
    before = report.read_bytes()
    report.unlink()
    again = call("report", "runs/mine")
    assert again.exit_code == 0
    assert again.stdout == first[1].stdout
    assert report.read_bytes() == before


def test_report_says_what_it_leaves_out(studied):
    few = call("report", "runs/mine", "--max-samples", "10")
    assert few.exit_code == 0, few.output
    assert "Note: The explorer shows 10 of 40 samples, of every class in proportion.\n" in few.stderr
    size = (studied / "runs/mine/report.html").stat().st_size
    less = call("report", "runs/mine", "--max-samples", "10", "--max-mb", str((size - 1) / 1e6))
    assert less.exit_code == 0, less.output
    assert (
        "Note: For size, the explorer leaves out pictures; its codes and numbers are of all samples here ("
        in less.stderr
    )
    assert (studied / "runs/mine/report.html").stat().st_size < size
    none = call("report", "runs/mine", "--max-mb", "0.01")
    assert none.exit_code == 2
    told = " ".join(none.stderr.split())
    assert "Error: `max_mb` is 0.01, and figures, tables and script alone take" in told
    assert "allow more (`layerscope report runs/mine --max-mb ...`), or look at the run with `layerscope view" in told


def test_profile_prints_every_measure_and_writes_figure_and_table(studied):
    done = call("profile", "runs/mine")
    assert done.exit_code == 0, done.output
    for told in ("label_information", "fan_in", "trustworthiness", "octaves of class_gap", "Figure: runs/mine/telesc"):
        assert told in done.output
    assert (studied / "runs/mine/telescope.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_parquet(studied / "runs/mine/profile.parquet")
    assert {"value", "low", "high", "null_untrained", "null_shuffled"} <= set(table.columns)
    assert "fan_in" not in call("profile", "runs/mine", "--measure", "drift").output


def test_profile_says_which_measures_there_are(studied):
    done = call("profile", "runs/mine", "--measure", "beauty")
    assert done.exit_code == 2
    assert "`--measure` 'beauty' was not measured; the run holds: participation_ratio" in done.stderr


def test_layers_reductions_and_no_attack(place):
    done = call(*ARGUMENTS, "--layers", "stem", "--reduction", "mean", "--attack", "none", "--scaling", "standard")
    assert done.exit_code == 0, done.output
    assert "stem" in done.stdout
    assert "middle" not in done.stdout
    assert "Flow" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--layers", "steam"], "Error: `layers`: 'steam' matches no layer that runs; did you mean 'stem"),
        (["--grid", "big"], "Error: `--grid` must be ROWSxCOLUMNS, such as 12x12; got 'big'"),
        (["--attack", "magic"], "Error: The attack 'magic' is not known"),
        (["--model", "resnet18"], "Error: The network spec 'resnet18' can't be read"),
        (["--data", "folder:nowhere"], "Error: `data`: there is no folder 'nowhere'"),
    ],
)
def test_errors_are_told_without_a_traceback(place, arguments, told):
    done = call(*ARGUMENTS, *arguments)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.output
    assert not (place / "runs").exists()


def test_a_failure_of_the_user_s_own_code_keeps_its_traceback(place):
    (place / "broken_nets.py").write_text("def make():\n    return int('seven')\n")
    done = call(*ARGUMENTS, "--model", "py:broken_nets:make")
    assert isinstance(done.exception, ValueError)
    assert "int('seven')" in "".join(traceback.format_exception(done.exception))


def test_a_run_that_is_not_there_is_named(place):
    for command in ("report", "profile"):
        done = call(command, "runs/none")
        assert done.exit_code == 2
    assert "holds no finished run; make one with `layerscope run --out runs/none ...`" in " ".join(done.stderr.split())


def test_a_part_of_a_run_that_is_missing_is_named(studied):
    (studied / "runs/mine/atlas/atlas.json").unlink()
    done = call("report", "runs/mine")
    assert done.exit_code == 2
    assert "'runs/mine' lacks atlas; copy the whole folder, or run the same study" in " ".join(done.stderr.split())
    assert call(*ARGUMENTS).exit_code == 0
    assert call("report", "runs/mine").exit_code == 0


def test_other_options_on_the_same_folder_need_overwrite(studied):
    refused = call(*ARGUMENTS, "--seed", "3")
    assert refused.exit_code == 2
    assert "seed: the run has 0, you ask for 3" in refused.stderr
    assert call(*ARGUMENTS, "--seed", "3", "--overwrite").exit_code == 0


@pytest.mark.parametrize("command", ["demo", "run", "report"])
def test_help_shows_an_example(command):
    done = call(command, "--help")
    assert done.exit_code == 0
    assert f"Example: layerscope {command}" in " ".join(done.output.split())


def test_a_user_who_interrupts_is_told_how_to_go_on(place):
    command = [sys.executable, "-m", "layerscope", *ARGUMENTS, "--draws", "20000", "--batch-size", "1"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # a shell's background jobs ignore the interrupt, and would pass that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    with process.stderr as said:
        assert said.readline().startswith("Layers (auto: blocks and lone layers")
        while not (place / "runs/mine/study.json").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        told = said.read()
    assert process.wait() == 130
    assert "Interrupted. Everything that was finished is kept: run the same command again and it goes on." in told
    assert "Traceback" not in told


def test_the_installed_command_is_there():
    done = subprocess.run(
        [shutil.which("layerscope", path=os.path.dirname(sys.executable)), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(command in done.stdout for command in ("demo", "run", "report"))


def test_layers_lists_what_there_is(place):
    done = call("layers", "py:own_nets:tiny_module", "--shape", "1x6x6", "--reduction", "mean", "--reduction", "max")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["*", "stem", "Sequential", "4", "x", "6", "x", "6", "4", "16", "4", "16"] in lines
    assert ["head", "Linear", "3", "3", "12", "3", "12"] in lines
    assert "* picked by `auto`; bytes are of one sample in float32" in done.output
    assert call("layers", "py:own_nets:tiny_module", "--data", "npz:data.npz").exit_code == 0
    wide = [f"positions:{count}" for count in range(10, 20)]
    arguments = [word for name in wide for word in ("--reduction", name)]
    done = call("layers", "py:own_nets:tiny_module", "--shape", "1x6x6", *arguments)
    assert all(name in done.output for name in wide)  # nothing is cut off


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--shape", "1x6xsix"], "`--shape` must be sizes with x between them, such as 3x224x224; got '1x6xsix'"),
        ([], "What this network takes isn't known from its name; give the shape of one input"),
    ],
)
def test_layers_says_what_it_needs(place, arguments, told):
    done = call("layers", "py:own_nets:tiny_module", *arguments)
    assert done.exit_code == 2
    assert told in done.output


RECORD = ["record", "--model", "py:own_nets:tiny_module", "--data", "npz:data.npz", "--out", "recordings/mine"]


def test_record_keeps_what_was_asked_and_finds_it_again(place):
    arguments = [*RECORD, "--layers", "stem", "--layers", "middle|max", "--reduction", "mean", "--batch-size", "32"]
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    asked = "input|mean, stem|mean, logits|mean, input|max, middle|max, logits|max"
    assert f"120 samples x 6 layers: {asked}" in done.output
    assert "clean: 120 samples x 6 layers: " in done.output
    again = call(*arguments)
    assert "clean: 120 samples" not in again.output  # nothing is done twice
    other = call(*arguments, "--dtype", "float16")
    assert other.exit_code == 2
    assert "holds a recording made with another dtype" in other.output
    assert call(*arguments, "--dtype", "float16", "--pictures", "4", "--overwrite").exit_code == 0
    assert load_recording(place / "recordings" / "mine").pictures().shape == (120, 1, 4, 4)


def test_record_without_logits_of_some_samples(place):
    done = call(*RECORD, "--layers", "stem", "--limit", "50", "--no-logits")
    assert done.exit_code == 0, done.output
    assert "50 samples x 4 layers: input|mean, stem|mean, input|sketch:512, stem|sketch:512" in done.output


def test_record_leaves_out_images_that_cannot_be_read_where_asked(place):
    for label in ("a", "b"):
        (place / "images" / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 255, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "images" / label / f"{number}.png")
    (place / "images" / "b" / "3.png").write_bytes(b"no image")
    arguments = ["record", "--model", "py:own_nets:tiny_module", "--data", "folder:images", "--out", "recordings/all"]
    done = call(*arguments)
    assert done.exit_code == 2
    assert "3.png' is no readable image" in done.output
    with pytest.warns(UserWarning, match="3.png"):
        done = call(*arguments, "--skip-unreadable")
    assert done.exit_code == 0, done.output
    assert "7 samples x" in done.output
