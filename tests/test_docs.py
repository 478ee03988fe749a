"""Every Python block of the documentation runs, page by page, in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "study"], ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page, tmp_path):
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(page, "python")))
    assert script.read_text()
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readme_s_own_network_runs(tmp_path):
    prepare = (
        "import torch\nfrom layerscope import demo\nmodule = demo.network().module\nnormalise = demo.normalise\n"
        "batch = next(demo.test_data().batches(120))\nimages, labels = batch.inputs, batch.labels\n"
    )
    (tmp_path / "page.py").write_text(prepare + "\n".join(blocks(ROOT / "README.md", "python")))
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Under mean:" in done.stdout
    assert (tmp_path / "runs/mine/report.html").is_file()


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_links_and_pictures_are_there(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_example_runs_at_toy_size(tmp_path):
    script = ROOT / "examples" / "own_network.py"
    command = [sys.executable, script, "--out", tmp_path, "--epochs", "6", "--draws", "50"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("perceptron", "convnet"):
        accuracy = float(re.search(rf"{name}: accuracy ([\d.]+)%", done.stdout)[1])
        assert accuracy > 70
        assert (tmp_path / name / "report.html").is_file()
