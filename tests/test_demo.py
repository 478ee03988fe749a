"""The main job on the bundled network: what it must show, read from results.parquet."""

import signal
import subprocess
import sys
import time
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from browsing import browser, needs_browser, shown
from references.overlaps import longest, shared_layers, shared_mass, told

from layerscope import demo, encode, fit_atlas, load_run
from layerscope.codes import best_of
from layerscope.measures.topology import explained_variance, squared_errors
from layerscope.results import findings, select
from layerscope.store import load_tensors
from layerscope.summary import layer_of_departure

PGD, NOISE = "pgd:linf=8/255", "noise:pgd:linf=8/255"
BLOCKS = [f"blocks.{index}" for index in range(6)]


def start(folder):
    return subprocess.Popen([sys.executable, "-m", "layerscope", "demo", "--out", folder], stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "run"
    assert start(folder).wait() == 0
    return load_run(folder)


def depth(run, measure, reduction, condition="clean"):
    """The measure's rows by layer."""
    rows = findings(select(run.results, measure=measure, reduction=reduction, condition=condition))
    return {row.layer: row for row in rows}


def test_the_layers_are_the_blocks_between_input_and_logits(run):
    assert list(depth(run, "participation_ratio", "mean")) == ["input", "stem", *BLOCKS, "logits"]


@pytest.mark.parametrize("condition", ["clean", "untrained"])
def test_mean_compresses_in_the_first_block_trained_or_not(run, condition):
    rows = depth(run, "participation_ratio", "mean", condition)
    for first in ("stem", "blocks.0"):
        assert rows[first].high < rows["input"].low


@pytest.mark.parametrize(("reduction", "least"), [("mean", 0.2), ("sketch:512", 0.1)])
def test_label_information_rises_with_depth_and_does_not_untrained(run, reduction, least):
    trained = depth(run, "label_information", reduction)
    untrained = depth(run, "label_information", reduction, "untrained")
    for first in ("stem", "blocks.0"):
        assert trained["blocks.5"].value - trained[first].value >= least
        assert trained["blocks.5"].low > trained[first].high
        assert untrained["blocks.5"].low <= untrained[first].high
        assert untrained["blocks.5"].value - untrained[first].value < least / 2
        assert trained["blocks.5"].null_untrained == untrained["blocks.5"].value


def test_the_summary_says_what_differs_between_the_reductions(run):
    from layerscope import summary

    told = summary(run.results)[-1]
    assert "Under mean the network compresses, but less than it does untrained" in told
    assert "under sketch:512 every block is wider than the input, but less so than untrained" in told
    assert told.startswith("Verdicts that depend on the reduction: ")
    assert "codes become diverse with depth" not in told  # under both, and more than they do untrained


@pytest.mark.parametrize("reduction", ["mean", "sketch:512"])
def test_pgd_flips_more_codes_than_noise_in_the_last_layers(run, reduction):
    attacked, noisy = (depth(run, "flip_rate", reduction, condition) for condition in (PGD, NOISE))
    for layer in ("blocks.4", "blocks.5", "logits"):
        assert attacked[layer].low > noisy[layer].high


def test_under_mean_attack_and_noise_are_alike_in_stem_and_first_blocks(run):
    attacked, noisy = (depth(run, "flip_rate", "mean", condition) for condition in (PGD, NOISE))
    for layer in ("stem", "blocks.0", "blocks.1"):
        assert abs(attacked[layer].value - noisy[layer].value) < 0.1


def test_attack_and_noise_have_the_same_norms_sample_by_sample(run):
    attacked, noisy = (run.recordings[condition].sizes for condition in (PGD, NOISE))
    torch.testing.assert_close(attacked["linf"], torch.full((2000,), 8 / 255).double(), atol=1e-6, rtol=0)
    for norm in ("linf", "l2"):
        torch.testing.assert_close(noisy[norm], attacked[norm], atol=1e-6, rtol=0)


def test_homogeneous_codes_go_with_small_perturbations_and_do_not_given_the_margin(run):
    for reduction in ("mean", "sketch:512"):
        rows = select(run.results, measure="vulnerability_homogeneity", reduction=reduction)
        p = select(run.results, measure="vulnerability_homogeneity_p", reduction=reduction)
        for layer in BLOCKS:
            plain, given = (
                rows[(rows["layer"] == layer) & (rows["unit"] == unit)].iloc[0]
                for unit in ("Spearman", "Spearman given the margin")
            )
            assert plain["high"] < -0.05
            assert float(p.loc[(p["layer"] == layer) & (p["unit"] == "Spearman"), "value"].iloc[0]) < 0.01
            assert abs(given["value"]) < 0.15


def steps_and_variance(run, atlas):
    """By reduction: mean grid step of a sample between neighbouring maps; explained variance of each layer."""
    clean = run.recordings["clean"]
    codes = encode(clean, atlas)
    found = {}
    for reduction in clean.reductions:
        layers = clean.depth(reduction)
        units = [best_of(codes, layer).unit for layer in layers]
        steps = [run.grid.distances[one, two].mean() for one, two in pairwise(units)]
        variances = [
            explained_variance(
                vectors := atlas.maps[layer].scaled(clean.vectors(layer)),
                squared_errors(vectors, atlas.maps[layer], own),
            )
            for layer, own in zip(layers, units, strict=True)
        ]
        found[reduction] = float(torch.stack(steps).mean()), variances
    return found


def test_every_block_is_inverted_for_the_explorer(run):
    kept = {path.stem: load_tensors(path) for path in (run.folder / "decoding" / "mean").glob("*.safetensors")}
    assert sorted(kept) == BLOCKS
    for tensors in kept.values():
        assert tensors["units"].tolist() == list(range(144))
        assert tensors["inversion"].shape == (144, 1, 28, 28)


def test_the_aligned_atlas_fits_as_well_as_a_free_one_and_samples_stay_in_place(run):
    free = fit_atlas(run.recordings["fit"], run.grid, align=False, show_progress=False)
    aligned, freely = steps_and_variance(run, run.atlas), steps_and_variance(run, free)
    for reduction in ("mean", "sketch:512"):
        assert aligned[reduction][0] <= freely[reduction][0] / 2
        for own, other in zip(aligned[reduction][1], freely[reduction][1], strict=True):
            assert own >= other - 0.005


def test_a_second_run_of_the_network_that_is_killed_on_its_way_ends_with_the_same_bytes(tmp_path):
    batch = next(demo.test_data().batches(60))
    np.savez(tmp_path / "few.npz", inputs=batch.inputs.numpy(), labels=batch.labels.numpy())

    def small(folder):
        options = {
            "--model": "py:layerscope.demo:network", "--data": f"npz:{tmp_path / 'few.npz'}",
            "--attack": "pgd:linf=8/255,steps=3", "--smallest": "fmn:linf,steps=5",
            "--reduction": "mean", "--untrained": "1", "--draws": "50", "--out": str(folder),
        }  # fmt: skip
        line = [sys.executable, "-m", "layerscope", "run", *(part for pair in options.items() for part in pair)]
        return subprocess.Popen(line, stdout=subprocess.DEVNULL)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert small(whole).wait() == 0
    process = small(killed)
    while not (killed / "nulls").exists():
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert small(killed).wait() == 0
    for path in [whole / "results.parquet", *whole.rglob("codes/*.parquet")]:
        assert (killed / path.relative_to(whole)).read_bytes() == path.read_bytes(), path.name


def test_what_is_bundled_is_small_and_answers_as_its_page_says():
    sizes = {path.name: path.stat().st_size for path in demo.FILES.iterdir()}
    assert sizes["standard.safetensors"] == sizes["robust.safetensors"] < 1_500_000
    assert sizes["fashion-mnist-fit.npz"] + sizes["fashion-mnist-test.npz"] < 4_000_000
    assert (demo.FILES / "LICENSE.fashion-mnist").is_file()
    fitted, tested = demo.fit_data(), demo.test_data()
    assert (len(fitted), len(tested)) == (4000, 2000)
    batch = tested.take(tested.rows)
    for network, low, high in ((demo.network(), 0.91, 0.95), (demo.robust_network(), 0.87, 0.92)):
        with torch.no_grad():
            right = (network(batch.inputs).argmax(1) == batch.labels).float().mean()
        assert low < right < high


@needs_browser
def test_a_newcomer_is_led_to_five_answers_which_are_those_of_the_tables(run):
    """In the report alone: each question's button leads to the view that answers it."""
    clean, labels, depth_of = (
        run.codes["clean"],
        run.recordings["clean"].labels.numpy(),
        depth(run, "participation_ratio", "mean"),
    )
    layers = list(depth_of)
    blocks = [name for name in layers if name not in ("input", "logits")]
    compressed = min(blocks, key=lambda name: depth_of[name].value)
    steps = run.grid.distances.numpy()
    codes = {name: clean[f"code:{name}|mean"].to_numpy() for name in layers}
    moved = sum(steps[codes[name], run.codes[PGD][f"code:{name}|mean"].to_numpy()] for name in layers)
    overlaps = shared_mass(np.array([codes[name] for name in layers]), labels, 144)
    assert list(overlaps) == list(combinations(range(10), 2))
    pair = longest(overlaps)
    names = " and ".join(run.class_names[one] for one in pair)
    shared = f"{names}: at least half of the mass that they could share {told(shared_layers(*overlaps[pair]), layers)}"
    expected = {
        "compress": [compressed, "#title-map", f"Map of {compressed}"],
        "expand": ["blocks.5", "#title-map", "Map of blocks.5"],
        "depart": [layer_of_departure(run.results, "mean", PGD, NOISE), "#title-map", None],
        "share": [shared, "#panel-sharing", None],
        "change": [
            str(clean["id"].to_numpy()[moved.argmax()]),
            "#title-sample",
            f"Sample {clean['id'].to_numpy()[moved.argmax()]}",
        ],
    }
    with browser() as opened, shown(opened, (run.folder / "report.html").resolve().as_uri()) as page:
        for question, (answer, place, title) in expected.items():
            item = page.locator(f'[data-question="{question}"]')
            assert answer in item.locator(".glance-answer").inner_text()
            item.get_by_role("button").click()
            assert page.locator(place).is_visible()
            if title is not None:
                assert page.locator(place).inner_text() == title
