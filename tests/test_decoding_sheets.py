"""Sheets draw what was decoded, and the command writes them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_data
from matplotlib.axes import Axes
from test_cli import ARGUMENTS, call, place  # noqa: F401 - a fixture
from test_decoding import tiny_network

from layerscope import Network, fit_atlas, load_data, load_run, record
from layerscope.codes import Coded, encode
from layerscope.decoding import Recipe, contact_sheet, decode, left_to_decode, save_decoding, unit_sheet
from layerscope.decoding.pages import write_decoding
from layerscope.errors import RunMismatchError
from layerscope.explorer.inversions import decoded
from layerscope.layers import Layer
from layerscope.som import Grid
from layerscope.store import load_tensors, save_table, save_tensors

MIDDLE = Layer("middle", "mean")


@pytest.fixture(scope="module")
def decoding(tiny_run):
    return decode(
        tiny_run, "middle", network=tiny_network(), data=tiny_data(), recipe=Recipe(steps=10), count=3, attributed=2,
        show_progress=False,
    )  # fmt: skip


def drawn(axes):
    """Pictures by the unit that they stand in."""
    places = {}
    for image in axes.get_images():
        left, right, low, high = image.get_extent()
        places[round((left + right) / 2, 3), round((low + high) / 2, 3)] = np.asarray(image.get_array())
    return places


@pytest.mark.parametrize("what", ["inversion", "nearest", "mean", "readout"])
def test_a_contact_sheet_draws_each_unit_in_its_place(decoding, what):
    axes = contact_sheet(decoding, what)
    assert isinstance(axes, Axes)
    codes, pictures = decoding.codes[MIDDLE], drawn(axes)
    positions = codes.fitted.grid.positions.double().numpy() * (1, -1)
    shown = 0
    for one in decoding.units:
        members = codes.members(one.unit)
        wanted = {
            "inversion": one.inverted, "readout": one.read,
            "nearest": codes.shown(members[:1])[0] if len(members) else None,
            "mean": codes.shown(members).mean(0) if len(members) else None,
        }[what]  # fmt: skip
        key = tuple(round(float(number), 3) for number in positions[one.unit])
        if wanted is None:
            assert key not in pictures
            continue
        shown += 1
        np.testing.assert_allclose(pictures[key], wanted[0].clamp(0, 1).numpy(), atol=1e-6)
    assert len(pictures) == shown
    assert axes.get_title(loc="left").startswith("middle under mean: each unit by")
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend[:3] == ["top", "middle", "bottom"]


def test_inversions_that_are_encoded_elsewhere_are_outlined(decoding):
    away = sum(not one.fidelity.reencoded for one in decoding.units)
    outlines = contact_sheet(decoding, "inversion").collections[1]
    assert len(outlines.get_paths()) == away
    same = len(decoding.units) - away
    assert f"{same} of 12 are encoded back to their unit" in contact_sheet(decoding).get_title(loc="left")


def test_a_unit_sheet_says_what_it_shows(decoding):
    one = max(decoding.units, key=lambda one: one.exemplars.count)
    figure = unit_sheet(decoding, one.unit)
    told = " ".join(text.get_text() for text in figure.texts)
    for part in (
        f"unit {one.unit}: {one.name}", "Nearest to its prototype", "Spread over its cell", "What holds it there",
        "To each neighbour", f"{one.fidelity.residual:.2f} spreads from the prototype",
    ):  # fmt: skip
        assert part in told
    assert len(figure.axes) == 3 + 3 + 3 + 2 + len(one.contrasts)


def test_dead_units_have_a_sheet_too(decoding):
    dead = next(one for one in decoding.units if not one.exemplars.count)
    told = " ".join(text.get_text() for text in unit_sheet(decoding, dead.unit).texts)
    assert "no exemplars" in told
    assert "Nearest" not in told


def test_sheets_that_cannot_be_drawn_are_refused(decoding, tiny_run):
    with pytest.raises(ValueError, match=r"`what` must be one of inversion, nearest, mean, readout; got 'soul'\."):
        contact_sheet(decoding, "soul")
    with pytest.raises(ValueError, match=r"`layer` 'stem\|mean' was not decoded; layers are: middle\|mean\."):
        contact_sheet(decoding, layer=Layer("stem", "mean"))
    with pytest.raises(ValueError, match=r"`unit` 99 of 'middle\|mean' was not decoded; decode it first\."):
        unit_sheet(decoding, 99)
    bare = decode(
        tiny_run, "middle", 0, network=tiny_network(), data=tiny_data(), recipe=None, attribution=None,
        show_progress=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"`decoding` holds no inversion of 'middle\|mean'; decode it with one\."):
        contact_sheet(bare)


def test_samples_that_are_no_images_have_no_sheets(tmp_path):
    network, data = Network(torch.nn.Sequential(torch.nn.Linear(5, 2)).eval()), load_data(torch.rand(20, 5))
    recording = record(network, data, ["0"], tmp_path, reductions=["flatten"], show_progress=False)
    atlas = fit_atlas(recording, Grid(2, 2), show_progress=False)
    found = decode(
        Coded(recording, atlas, encode(recording, atlas)), "0", network=network, data=data, recipe=None,
        attribution=None, show_progress=False,
    )  # fmt: skip
    for draw in (contact_sheet, lambda decoding: unit_sheet(decoding, 0)):
        with pytest.raises(
            ValueError, match=r"There are no images to show: samples of .* are not \(channels, height, "
        ):
            draw(found)


def test_a_decoding_is_written_as_sheets_and_tables(decoding, tmp_path):
    written = write_decoding(decoding, tmp_path)
    names = [path.name for path in written]
    assert names[:4] == [f"middle-mean-{what}.png" for what in ("inversion", "nearest", "mean", "readout")]
    assert names[4:-2] == [f"middle-mean-unit-{unit}.png" for unit in range(12)]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written[:-2])
    table = pd.read_parquet(tmp_path / "units.parquet")
    assert list(table["name"]) == [one.name for one in decoding.units]
    assert pd.read_parquet(tmp_path / "fidelity.parquet").equals(decoding.results)


def test_the_command_writes_sheets_and_says_how_far_they_can_be_trusted(place):  # noqa: F811
    assert call(*ARGUMENTS).exit_code == 0
    done = call("decode", "runs/mine", "--layer", "middle", "--unit", "3", "--out", "shown")
    assert done.exit_code == 0, done.output
    for told in ("re-encoding rate", "inversion residual", "fall of the BMU margin", "Written: shown/units.parquet"):
        assert told in done.output
    assert (place / "shown/middle-mean-unit-3.png").is_file()
    wrong = call("decode", "runs/mine", "--layer", "middle", "--unit", "three", "--out", "shown")
    assert wrong.exit_code == 2
    assert "`--unit` must be the number of a unit, or `all`; got three." in wrong.output
    bare = call(
        "decode", "runs/mine", "--layer", "middle|sketch:512", "--attribution", "none", "--no-inversion", "--out", "b"
    )
    assert bare.exit_code == 0, bare.output
    assert "re-encoding" not in bare.output
    assert torch.tensor(pd.read_parquet("b/units.parquet")["count"].to_numpy()).sum() == 40


def test_without_a_folder_the_command_keeps_a_decoding_in_the_run(place):  # noqa: F811
    assert call(*ARGUMENTS).exit_code == 0
    done = call("decode", "runs/mine", "--layer", "*|mean", "--attribution", "none")
    assert done.exit_code == 0, done.output
    assert "Written: runs/mine/decoding/mean/middle.safetensors" in done.output
    folder = place / "runs" / "mine" / "decoding" / "mean"
    wanted = {f"{layer}{end}" for layer in ("input", "stem", "middle", "logits") for end in
              (".parquet", "-fidelity.parquet", ".safetensors")}  # fmt: skip
    assert {path.name for path in folder.iterdir()} == wanted
    run = load_run(place / "runs" / "mine")
    made = decode(run, "middle", attribution=None, show_progress=False)
    kept = load_tensors(folder / "middle.safetensors")
    assert kept["units"].tolist() == [one.unit for one in made.units]
    assert kept["inversion"].equal((255 * torch.stack([one.inverted for one in made.units])).round().to(torch.uint8))
    assert pd.read_parquet(folder / "middle.parquet")["name"].tolist() == [one.name for one in made.units]
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "middle-fidelity.parquet"), made.results)
    assert "To have it in the report, too: layerscope report runs/mine\n" in done.output


def test_a_unit_that_is_decoded_alone_leaves_the_others_as_they_are(decoding, tiny_run, tmp_path):
    path = tmp_path / "mean" / "middle.safetensors"
    alone = {"network": tiny_network(), "data": tiny_data(), "attribution": None, "count": 2, "show_progress": False}
    save_decoding(decode(tiny_run, "middle", 11, recipe=Recipe(steps=10), **alone), tmp_path)
    assert len(save_decoding(decode(tiny_run, "middle", [3, 0], recipe=None, **alone), tmp_path)) == 3
    some = load_tensors(path)
    assert some["units"].tolist() == [0, 3, 11]
    assert [bool(one.any()) for one in some["inversion"]] == [False, False, True]
    fidelity = pd.read_parquet(tmp_path / "mean" / "middle-fidelity.parquet")
    assert "reencoding_rate" not in set(fidelity["measure"])  # of the two, since the other was one
    save_decoding(decoding, tmp_path)
    every, table = load_tensors(path), pd.read_parquet(tmp_path / "mean" / "middle.parquet")
    assert every["units"].tolist() == table["unit"].tolist() == list(range(12))
    assert every["inversion"].equal(
        (255 * torch.stack([one.inverted for one in decoding.units])).round().to(torch.uint8)
    )
    assert table["nearest"].map(len).max() == 3
    written = save_decoding(decode(tiny_run, "middle", 5, recipe=None, **alone), tmp_path)
    assert [one.name for one in written] == ["middle.parquet", "middle.safetensors"]
    again, rows = load_tensors(path), pd.read_parquet(tmp_path / "mean" / "middle.parquet")
    others = [unit for unit in range(12) if unit != 5]
    assert again["units"].equal(every["units"])
    assert again["inversion"][others].equal(every["inversion"][others])
    assert not again["inversion"][5].any()
    assert rows["reencoded"].isna().tolist() == [unit == 5 for unit in range(12)]
    assert len(rows["nearest"][5]) <= 2
    pd.testing.assert_frame_equal(rows.drop(index=5), table.drop(index=5), check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "mean" / "middle-fidelity.parquet"), decoding.results)
    told = decoded(replace(tiny_run, folder=with_decoding(tmp_path))).told["mean"]["middle"]
    assert told["inverted"] == [unit != 5 for unit in range(12)]


def with_decoding(kept):
    """A folder in which the explorer finds a decoding."""
    (kept / "run" / "decoding").mkdir(parents=True)
    (kept / "mean").rename(kept / "run" / "decoding" / "mean")
    return kept / "run"


@pytest.mark.parametrize("damage", ["format", "bytes", "table", "no table"])
def test_what_can_not_be_read_is_decoded_anew(decoding, tmp_path, damage):
    save_decoding(decoding, tmp_path)
    path, table = tmp_path / "mean" / "middle.safetensors", tmp_path / "mean" / "middle.parquet"
    if damage == "format":
        save_tensors(path, load_tensors(path), {"schema": 0})
    elif damage == "bytes":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "table":
        save_table(table, pd.read_parquet(table)[:-1])
    else:
        table.unlink()
    few = replace(decoding, units=decoding.units[3:5])
    save_decoding(few, tmp_path)
    assert load_tensors(path)["units"].tolist() == pd.read_parquet(table)["unit"].tolist() == [3, 4]
    assert left_to_decode(tmp_path, decoding.units[0].layer, 6) == [0, 1, 2, 5]


def test_what_a_newer_version_wrote_stays_as_it_is(decoding, tmp_path):
    save_decoding(decoding, tmp_path)
    path = tmp_path / "mean" / "middle.safetensors"
    save_tensors(path, load_tensors(path), {"schema": 7})
    before = path.read_bytes()
    for act in (
        lambda: save_decoding(decoding, tmp_path),
        lambda: left_to_decode(tmp_path, decoding.units[0].layer, 3),
    ):
        with pytest.raises(
            RunMismatchError, match=r"holds a decoding of format 7, .* a newer Layerscope wrote it: inst"
        ):
            act()
    assert path.read_bytes() == before
