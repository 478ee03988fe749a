"""A run in other tools' formats, read back by other means and held against the run's own tables."""

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from conftest import tiny_data, tiny_module
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

from layerscope import Network, Recording, Study, export, load_run
from layerscope.cli import app
from layerscope.explorer.description import description
from layerscope.export import TOOLS, images, rows

ATTACK, NOISE = "pgd:linf=8/255", "noise:pgd:linf=8/255"
NAMES = ("=1+1", '"top"\tof\nall', "bottom, ü")
"""Of classes, as nobody should call them."""
TEXT = r'"((?:[^"\\\n]|\\.)*)"'
TOKEN = re.compile(rf"\s*(?:([a-z_]+)\s*(?::\s*(?:{TEXT}|(\d+))|(\{{))|(\}}))")


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    """The finished study of the tiny network, with other names of its classes."""
    folder = shutil.copytree(tiny_run.folder, tmp_path_factory.mktemp("runs") / "odd")
    settings = json.loads((folder / "study.json").read_text())
    settings["chosen"]["class_names"] = NAMES
    (folder / "study.json").write_text(json.dumps(settings))
    return load_run(folder)


@pytest.fixture(scope="module")
def samples(run):
    """Its samples, without pictures."""
    return replace(rows.samples_of(run, rows.choose(run, None, None, None), 0), pictures=None)


@pytest.fixture(scope="module")
def shown(samples):
    """Its samples with pictures that are all different."""
    count = len(samples.table)
    pictures = torch.arange(count * 36).reshape(count, 1, 6, 6).remainder(251).to(torch.uint8)
    return replace(samples, pictures=pictures)


@pytest.fixture
def bare(monkeypatch):
    """Recordings keep no pictures."""
    monkeypatch.setattr(Recording, "pictures", lambda _: None)


def code_table(run, condition):
    """Straight from the run's folder."""
    return pd.read_parquet(run.folder / "codes" / f"{re.sub('[:=]', '-', condition).replace('/', 'of')}.parquet")


def told(recording, name):
    """A column of a recording's samples, straight from its folder."""
    return pd.read_parquet(recording.folder / "samples.parquet")[name].to_numpy()


def message(text):
    """A message of protocol buffers' text format as a list of names and values."""
    place, stack = 0, [[]]
    while text[place:].strip():
        token = TOKEN.match(text, place)
        assert token, text[place:]
        place = token.end()
        name, string, number, opens, closes = token.groups()
        if closes:
            stack.pop()
        elif opens:
            inner = []
            stack[-1].append((name, inner))
            stack.append(inner)
        elif number:
            stack[-1].append((name, int(number)))
        else:
            octal = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), string)
            stack[-1].append((name, octal.encode("latin-1").decode()))
    assert len(stack) == 1
    return stack[0]


def test_the_table_says_what_the_run_s_own_tables_say(run, samples):
    table = samples.table
    assert table["id"].tolist() == code_table(run, "clean")["id"].tolist()
    for condition, ending in (("clean", ""), (NOISE, f"@{NOISE}"), (ATTACK, f"@{ATTACK}")):
        recording, codes = run.recordings[condition], code_table(run, condition)
        assert table[f"prediction{ending}"].tolist() == [NAMES[number] for number in told(recording, "prediction")]
        assert table[f"confidence{ending}"].to_numpy() == pytest.approx(told(recording, "confidence"))
        for name in ("input", "stem", "middle", "logits"):
            assert table[f"code:{name}{ending}"].tolist() == codes[f"code:{name}|mean"].tolist()
            flips = codes[f"code:{name}|mean"] != code_table(run, "clean")[f"code:{name}|mean"]
            assert (f"flips:{name}{ending}" in table) == bool(ending)
            assert not ending or table[f"flips:{name}{ending}"].tolist() == flips.tolist()
    assert table[f"flips:middle@{ATTACK}"].nunique() == 2
    assert table["label"].tolist() == [NAMES[number] for number in told(run.recordings["clean"], "label")]
    assert table["distance:stem"].tolist() == code_table(run, "clean")["distance:stem|mean"].tolist()
    assert table["source"].tolist() == told(run.recordings["clean"], "source").tolist()


def test_the_smallest_perturbation_stands_with_its_sample(run, samples):
    found = pd.read_parquet(run.folder / "smallest.parquet")
    by_id = dict(zip(found["id"], found["size"], strict=True))
    for number, size in zip(samples.table["id"], samples.table["smallest"], strict=True):
        assert size == by_id[number] if number in by_id else np.isnan(size)
    assert samples.table["smallest"].notna().any()


def test_a_sample_stands_in_its_own_cell_and_on_no_other_sample(run, samples):
    table, centres = samples.table, np.array(description(run)["grid"]["positions"])  # as the explorer draws them
    for name in ("stem", "middle", "logits"):
        places = table[[f"x:{name}", f"y:{name}"]].to_numpy()
        apart = np.linalg.norm(places[:, None] - centres[None], axis=2)
        assert apart.argmin(1).tolist() == table[f"code:{name}"].tolist()
        assert apart.min(1).max() < 0.4001
        assert apart.min(1).max() > 0.35  # the cell is used
        assert len(np.unique(places, axis=0)) == len(table)
    steps = [table[f"x:{name}"].to_numpy() - centres[table[f"code:{name}"], 0] for name in ("stem", "logits")]
    assert steps[0] == pytest.approx(steps[1], abs=2e-4)  # a sample keeps its corner from map to map


def test_the_step_is_drawn_evenly_over_a_disc_and_only_by_its_seed():
    steps = rows.spread(20_000, 3)
    assert np.array_equal(steps, rows.spread(20_000, 3))
    assert not np.array_equal(steps, rows.spread(20_000, 4))
    out = np.hypot(*steps.T)
    assert (out < 0.2).mean() == pytest.approx(1 / 4, abs=0.015)  # a quarter of the disc's area
    assert steps.mean(0) == pytest.approx([0, 0], abs=0.01)


def test_x_and_y_are_of_the_last_block_or_of_the_layer_asked_for(run, tmp_path):
    made = export(run, "embedding-atlas", tmp_path / "last")
    assert made.map == "middle|mean under clean"
    table = pd.read_parquet(tmp_path / "last/samples.parquet")
    assert table["x"].equals(table["x:middle"])
    made = export(
        run, "embedding-atlas", tmp_path / "stem", layer="stem", reduction="sketch:512", conditions=[ATTACK], seed=2
    )
    assert made.map == f"stem|sketch:512 under {ATTACK}"
    table = pd.read_parquet(tmp_path / "stem/samples.parquet")
    assert table["x"].equals(table["x:stem"])
    assert table["y"].equals(table["y:stem"])
    codes = code_table(run, ATTACK)["code:stem|sketch:512"]
    assert table[f"code:stem@{ATTACK}"].tolist() == codes.tolist()
    across = np.array(description(run)["grid"]["positions"])[codes, 0]
    assert np.abs(table["x"] - across).max() <= 0.4001
    assert "prediction" not in table
    assert not any(NOISE in name for name in table)


def test_csv_is_read_back_whole_and_holds_no_formula(run, samples, tmp_path):
    made = export(run, "csv", tmp_path / "out")
    assert made.files == (tmp_path / "out/samples.csv",)
    assert made.notes == ()
    assert made.command == ""
    assert made.rows == 40
    table = pd.read_csv(made.files[0])
    assert table.columns.tolist() == samples.table.columns.tolist()
    assert table["label"].str.removeprefix("'").tolist() == samples.table["label"].tolist()
    for name in ("id", f"flips:stem@{NOISE}", "code:middle"):
        assert table[name].tolist() == samples.table[name].tolist()
    for name in ("x", "confidence", "distance:input", "smallest"):
        assert table[name].to_numpy() == pytest.approx(samples.table[name].to_numpy(), nan_ok=True)
    assert "'=1+1" in set(table["label"])
    cells = list(csv.reader(io.StringIO(made.files[0].read_text())))
    assert {len(row) for row in cells} == {len(table.columns)}


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_name_that_a_spreadsheet_would_calculate_gets_an_apostrophe(samples, tmp_path, name):
    table = samples.table.assign(label=name, prediction="a=1").rename(columns={"code:stem": f"{name} stem"})
    path = TOOLS["csv"].write(replace(samples, table=table), tmp_path)[0]
    with path.open(newline="") as file:
        head, first = list(csv.reader(file))[:2]
    assert first[2] == "'" + name
    assert first[head.index("prediction")] == "a=1"
    assert f"'{name} stem" in head


def test_embedding_atlas_gets_parquet_with_its_columns_and_pictures(shown, tmp_path):
    path = TOOLS["embedding-atlas"].write(shown, tmp_path)[0]
    table = pq.read_table(path)
    assert [str(table.schema.field(name).type) for name in ("x", "y")] == ["double", "double"]
    assert str(table.schema.field("image").type) == "struct<bytes: binary, path: string>"
    cells = table.column("image").to_pylist()
    assert [cell["path"] for cell in cells] == [f"{number}.png" for number in shown.table["id"]]
    for cell, picture in zip(cells, shown.pictures, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(cell["bytes"]))), picture[0].numpy())
    pd.testing.assert_frame_equal(table.drop_columns("image").to_pandas(), shown.table)


def test_fiftyone_gets_a_data_set_of_its_own_kind(shown, tmp_path):
    TOOLS["fiftyone"].write(shown, tmp_path)
    found = json.loads((tmp_path / "samples.json").read_text(), parse_constant=pytest.fail)["samples"]
    about = json.loads((tmp_path / "metadata.json").read_text())
    assert "version" not in about
    assert about["info"]["columns"]["code_stem_pgd_linf_8of255"] == f"code:stem@{ATTACK}"
    for sample, row, picture in zip(found, shown.table.to_dict("records"), shown.pictures, strict=True):
        assert sample["filepath"] == f"data/{row['id']}.png"
        assert np.array_equal(np.asarray(Image.open(tmp_path / sample["filepath"])), picture[0].numpy())
        assert sample["label"] == {"_cls": "Classification", "label": row["label"]}
        answer = sample["prediction_pgd_linf_8of255"]
        assert answer["label"] == row[f"prediction@{ATTACK}"]
        assert answer["confidence"] == pytest.approx(row[f"confidence@{ATTACK}"])
        for field, column in about["info"]["columns"].items():
            if not column.startswith(("label", "prediction")):
                assert sample[field] == row[column] if field in sample else pd.isna(row[column]), field
    fields = {field for sample in found for field in sample} - {"filepath", "tags"}
    assert fields == set(about["info"]["columns"]) - {"source"} or fields == set(about["info"]["columns"])
    assert all(re.fullmatch("[a-zA-Z0-9][a-zA-Z0-9_]*", field) for field in fields)
    assert "id" not in fields  # FiftyOne's own


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("=1+1", False), ("+1", False), ("-a", False), ("@a", False), ("\t=1", False), ("\r=1", False),
        ("\n=1", False), ("\uff1d1", False), ("\uff0b1", False), ("\uff0d1", False), ("\uff20a", False),
        ("-1+1", False), ("-1\n", False), ("-1", True), ("-1.5e-3", True), ("a=1", True), (" =1", True), ("'=1", True),
    ],
)  # fmt: skip
def test_no_spreadsheet_calculates_a_cell_and_the_page_agrees(samples, tmp_path, cell, kept):
    table = samples.table.assign(label=[cell, *samples.table["label"][1:]]).rename(columns={"source": cell})
    odd = replace(samples, table=table)
    for to in ("csv", "tensorboard"):
        TOOLS[to].write(odd, tmp_path)
    expected = cell if kept else f"'{cell}"
    with (tmp_path / "samples.csv").open(newline="") as file:
        head, first, *_ = csv.reader(file)
    assert first[head.index("label")] == expected
    assert expected in head
    lines = (tmp_path / "metadata.tsv").read_text().split("\n")
    head, first, *_ = (line.split("\t") for line in lines)
    assert first[head.index("label")] == re.sub(r"\s", " ", expected)
    script = files("layerscope.explorer").joinpath("static", "saving.js").read_text(encoding="utf-8")
    begins, plain = (re.search(rf"const {name} = /\^(.*?)\$?/i?;", script)[1] for name in ("FORMULA", "PLAIN_NUMBER"))
    calculated = re.match(begins, cell) and not re.fullmatch(plain, cell, re.ASCII | re.IGNORECASE)
    assert bool(calculated) != kept


def test_fiftyone_is_given_no_number_that_json_does_not_know(shown, tmp_path):
    table = shown.table.assign(smallest=[np.inf, np.nan, 0.5] + [0.25] * (len(shown.table) - 3))
    TOOLS["fiftyone"].write(replace(shown, table=table), tmp_path)
    found = json.loads((tmp_path / "samples.json").read_text(), parse_constant=pytest.fail)["samples"]
    assert [sample.get("smallest") for sample in found[:4]] == [None, None, 0.5, 0.25]


def test_two_columns_get_two_fields():
    from layerscope.export.formats import field_names

    names = field_names(["id", "code:a.b", "code:a_b", "code:a-b", "$", "_", "größe"])
    assert list(names.values()) == ["source_id", "code_a_b", "code_a_b_2", "code_a_b_3", "field", "field_2", "gr__e"]


def test_the_projector_gets_vectors_metadata_sheet_and_what_names_them(run, shown, tmp_path):
    files = TOOLS["tensorboard"].write(shown, tmp_path)
    assert [path.name for path in files] == ["tensors.tsv", "metadata.tsv", "sprite.png", "projector_config.pbtxt"]
    [(kind, embedding)] = message((tmp_path / "projector_config.pbtxt").read_text())
    assert kind == "embeddings"
    assert dict(embedding[:3]) == {
        "tensor_name": "middle|mean under clean", "tensor_path": "tensors.tsv", "metadata_path": "metadata.tsv",
    }  # fmt: skip
    assert embedding[3:] == [
        ("sprite", [("image_path", "sprite.png"), ("single_image_dim", 6), ("single_image_dim", 6)])
    ]
    with safe_open(run.recordings["clean"].folder / "shard-00000.safetensors", "np") as shard:
        assert np.array_equal(
            np.loadtxt(tmp_path / "tensors.tsv", delimiter="\t").astype("f4"), shard.get_tensor("middle|mean")
        )
    sheet = np.asarray(Image.open(tmp_path / "sprite.png"))
    across = sheet.shape[1] // 6
    for place, picture in enumerate(shown.pictures):
        top, left = place // across * 6, place % across * 6
        assert np.array_equal(sheet[top : top + 6, left : left + 6], picture[0].numpy())


def test_a_row_of_metadata_stays_a_row_whatever_names_hold(samples, tmp_path):
    TOOLS["tensorboard"].write(samples, tmp_path)
    assert not (tmp_path / "sprite.png").exists()
    assert "sprite" not in (tmp_path / "projector_config.pbtxt").read_text()
    lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    cells = [line.split("\t") for line in lines]
    assert len(cells) == len(samples.table) + 1
    assert {len(row) for row in cells} == {samples.table.shape[1]}
    assert cells[0] == samples.table.columns.tolist()
    assert {row[2] for row in cells[1:]} == {"'=1+1", '"top" of all', "bottom, ü"}
    column = cells[0].index("smallest")
    expected = ["" if pd.isna(size) else str(size) for size in samples.table["smallest"]]
    assert [row[column] for row in cells[1:]] == expected


def test_the_name_of_a_tensor_is_quoted(samples, tmp_path):
    odd = 'a"b\\c\n}é'
    TOOLS["tensorboard"].write(replace(samples, map=odd), tmp_path)
    [(_, embedding)] = message((tmp_path / "projector_config.pbtxt").read_text())
    assert embedding[0] == ("tensor_name", odd)


@pytest.mark.parametrize(
    ("shape", "columns", "cell"),
    [((5, 3, 4, 8), 3, (8, 4)), ((1, 1, 6, 6), 1, (6, 6)), ((4100, 1, 64, 200), 65, (126, 40))],
)
def test_a_sheet_holds_whole_cells_and_never_more_than_a_texture(shape, columns, cell):
    pictures = torch.arange(shape[0])[:, None, None, None].expand(shape).remainder(200).to(torch.uint8)
    content, width, height = images.sheet(pictures)
    page = np.asarray(Image.open(io.BytesIO(content)))
    assert (width, height) == cell
    assert page.shape[1] == columns * width <= 8192
    assert page.shape[0] == -(-shape[0] // columns) * height <= 8192
    assert page.ndim == (3 if shape[1] == 3 else 2)
    last = shape[0] - 1
    assert (page[last // columns * height, last % columns * width] == last % 200).all()


def test_the_pictures_are_the_run_s_own_under_the_condition_asked_for(run, tmp_path, monkeypatch):
    shades = {"clean": 10, ATTACK: 200}

    def pictures(recording):
        return torch.full((len(recording), 3, 4, 5), shades[recording.condition], dtype=torch.uint8)

    monkeypatch.setattr(Recording, "pictures", pictures)
    for condition, shade in shades.items():
        out = tmp_path / str(shade)
        made = export(run, "embedding-atlas", out, conditions=[condition])
        assert made.notes == ()
        assert made.command.endswith(" --x x --y y --image image")
        content = pq.read_table(out / "samples.parquet").column("image")[7].as_py()["bytes"]
        image = np.asarray(Image.open(io.BytesIO(content)))
        assert image.shape == (4, 5, 3)
        assert (image == shade).all()


def test_texts_are_a_column_that_embedding_atlas_is_told_of(run, tmp_path):
    told = [f"text {number}" for number in range(40)]
    clean = replace(run.recordings["clean"], texts=tuple(told))
    made = export(replace(run, recordings={**run.recordings, "clean": clean}), "embedding-atlas", tmp_path / "atlas")
    assert pd.read_parquet(tmp_path / "atlas/samples.parquet")["text"].tolist() == told
    assert " --text text" in made.command


@pytest.mark.usefixtures("bare")
def test_without_pictures_the_rest_is_written_and_told(run, tmp_path):
    for to in ("embedding-atlas", "fiftyone", "tensorboard"):
        made = export(run, to, tmp_path / to)
        assert made.notes == (f"The run holds no pictures of its samples, so that {to} gets everything but images.",)
        assert all(path.is_file() for path in made.files)
        assert not list(tmp_path.glob(f"{to}/**/*.png"))


@pytest.mark.parametrize(
    ("to", "command"),
    [
        ("embedding-atlas", "embedding-atlas '{out}/samples.parquet' --x x --y y --image image"),
        (
            "fiftyone",
            (
                "fiftyone datasets create --name 'layerscope-an out' --dataset-dir '{out}' "
                "--type fiftyone.types.LegacyFiftyOneDataset && fiftyone app launch 'layerscope-an out'"
            ),
        ),
        ("tensorboard", "tensorboard --logdir '{out}'"),
    ],
)
def test_the_command_that_opens_it_is_told(shown, tmp_path, to, command):
    out = tmp_path / "an out"
    assert TOOLS[to].command(shown, out) == command.format(out=out)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"to": "excel"}, "`to` must be one of csv, embedding-atlas, fiftyone, tensorboard; got 'excel'."),
        ({"layer": "steam"}, "`layer` must be one of input, stem, middle, logits; got 'steam'."),
        ({"reduction": "max"}, "`reduction` must be one of mean, sketch:512; got 'max'."),
        ({"conditions": ["clean", "fit"]}, f"`condition` must be one of clean, {NOISE}, {ATTACK}; got 'fit'."),
    ],
)
def test_what_the_run_does_not_have_is_refused(run, tmp_path, options, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        export(run, **{"to": "csv", "out": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    export(run, "csv", out)
    mine = out / "mine.txt"
    mine.write_text("mine")
    (out / "samples.csv").write_text("old")
    with pytest.raises(ValueError, match="is not empty; choose a new folder, or replace files of the same names with"):
        export(run, "csv", out)
    assert (out / "samples.csv").read_text() == "old"
    export(run, "csv", out, overwrite=True)
    assert len(pd.read_csv(out / "samples.csv")) == 40
    assert mine.read_text() == "mine"
    with pytest.raises(ValueError, match=r"`out` must be a folder; '.*mine\.txt' is a file"):
        export(run, "csv", mine)


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_labels_attacks_or_files_is_exported_too(tmp_path):
    options = {"grid": (2, 3), "draws": 50, "untrained": 0, "attack": None, "smallest": None, "progress": False}
    folder = Study(tmp_path / "run", Network(tiny_module()), tiny_data(60)[0], **options).run().folder
    for to in TOOLS:
        assert export(load_run(folder), to, tmp_path / to).rows == 20
    table = pd.read_csv(tmp_path / "csv/samples.csv")
    assert not {"label", "smallest"} & set(table)
    assert set(table["prediction"]) <= {0, 1, 2}


@pytest.mark.usefixtures("bare")
def test_the_command_line_writes_and_says_what(run, tmp_path):
    arguments = ["export", str(run.folder), "--out", str(tmp_path / "out"), "--to"]
    done = CliRunner().invoke(app, [*arguments, "tensorboard", "--layer", "stem", "--condition", ATTACK])
    assert done.exit_code == 0, done.output
    assert "Note: The run holds no pictures of its samples" in done.output
    assert f"Written: {tmp_path}/out/metadata.tsv" in done.output
    assert f"40 samples; x and y: the map of stem|mean under {ATTACK}" in done.output
    assert f"Open with: tensorboard --logdir {tmp_path}/out" in done.output
    again = CliRunner().invoke(app, [*arguments, "csv"])
    assert again.exit_code == 2
    assert "is not empty; choose a new folder" in " ".join(again.output.split())
    done = CliRunner().invoke(app, [*arguments, "csv", "--overwrite", "--reduction", "sketch:512", "--seed", "1"])
    assert done.exit_code == 0, done.output
    assert "Open with" not in done.output
    assert "logits|sketch" not in done.output
    assert "middle|sketch:512 under clean" in done.output
