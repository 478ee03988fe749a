"""A value and its file: the same again, whole or not at all, and damage told."""

import errno
import hashlib
import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from handmade import gaussian
from safetensors import safe_open
from safetensors.torch import save_file

from layerscope import store
from layerscope.errors import CorruptFileError, StorageError

TENSORS = {"b": gaussian(3, 4), "a": torch.arange(5), "flags": torch.tensor([True, False]), "none": torch.zeros(0, 3)}
TABLE = pd.DataFrame({"id": np.arange(300), "value": gaussian(300).numpy(), "name": ["ä"] * 300})
LABELS = pd.DataFrame({"label": pd.array([1, None, 3], dtype="Int64")})


def test_json_comes_back_as_it_was(tmp_path):
    value = {"name": "ünit", "numbers": [1, 2.5, None], "inner": {"flag": True}}
    store.save_json(tmp_path / "deep" / "down" / "value.json", value)
    path = tmp_path / "deep" / "down" / "value.json"
    assert store.load_json(path) == json.loads(path.read_text(encoding="utf-8")) == value
    assert "ünit" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1} and more', b"\xff\xfe"])
def test_what_is_no_json_is_told(tmp_path, content):
    (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"value\.json' is not readable JSON .*; delete it and run again"):
        store.load_json(tmp_path / "value.json")


@pytest.mark.parametrize("content", ["[]", "3", '"text"', "null"])
def test_json_that_is_no_object_is_told(tmp_path, content):
    (tmp_path / "value.json").write_text(content)
    with pytest.raises(CorruptFileError, match=r"value\.json' holds no JSON object; delete it and run again"):
        store.load_json(tmp_path / "value.json")


def test_tensors_and_header_come_back_as_they_were(tmp_path):
    path, header = tmp_path / "some.safetensors", {"grid": {"rows": 3}, "history": [0.1, 0.2]}
    store.save_tensors(path, TENSORS, header)
    found = store.load_tensors(path)
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
        assert torch.equal(store.load_tensor(path, name), tensor)
    assert store.load_header(path) == header
    with safe_open(path, framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("b"), TENSORS["b"])


def test_tensors_that_are_views_or_need_gradients_are_kept_by_value(tmp_path):
    whole = gaussian(4, 6).requires_grad_()
    store.save_tensors(tmp_path / "some.safetensors", {"part": whole[:, ::2].T}, {})
    assert torch.equal(store.load_tensors(tmp_path / "some.safetensors")["part"], whole[:, ::2].T)


def test_the_same_value_gives_the_same_bytes(tmp_path):
    header = {f"key{number}": number for number in range(9)}
    store.save_tensors(tmp_path / "one", TENSORS, header)
    store.save_tensors(tmp_path / "other", dict(reversed(TENSORS.items())), dict(reversed(header.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("size", [0, 5, 60, -1])
def test_a_shortened_file_of_tensors_is_told(tmp_path, size):
    store.save_tensors(tmp_path / "some.safetensors", TENSORS, {})
    content = (tmp_path / "some.safetensors").read_bytes()
    (tmp_path / "some.safetensors").write_bytes(content[:size])
    with pytest.raises(CorruptFileError, match=r"some\.safetensors' is damaged .*; delete it and run again"):
        store.load_tensors(tmp_path / "some.safetensors")


OTHER = r"some\.safetensors' was not written by this library, or its header is damaged; give the file that was saved"
DAMAGED = r"some\.safetensors' is damaged .*; delete it and run again"


@pytest.mark.parametrize(
    ("metadata", "told"),
    [(None, OTHER), ({"other": "{}"}, OTHER), ({store.ENTRY: "{}"}, OTHER), ({store.ENTRY: "{"}, DAMAGED)],
)
def test_tensors_of_another_program_are_told(tmp_path, metadata, told):
    save_file({"a": torch.zeros(2)}, tmp_path / "some.safetensors", metadata)
    with pytest.raises(CorruptFileError, match=told):
        store.load_header(tmp_path / "some.safetensors")


@pytest.mark.parametrize("value", [TABLE, TABLE[:0], LABELS])
def test_tables_come_back_as_they_were(tmp_path, value):
    store.save_table(tmp_path / "table.parquet", value)
    pd.testing.assert_frame_equal(store.load_table(tmp_path / "table.parquet"), value)


def test_a_table_can_be_read_by_other_programs(tmp_path):
    store.save_table(tmp_path / "table.parquet", TABLE)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), TABLE)


@pytest.mark.parametrize(("keep", "then"), [(0, 0), (40, 0), (-1, 0), (4, 60)])
def test_a_damaged_table_is_told(tmp_path, keep, then):
    store.save_table(tmp_path / "table.parquet", TABLE)
    content = (tmp_path / "table.parquet").read_bytes()
    rest = b"\xff" * then + content[keep + then :] if then else b""
    (tmp_path / "table.parquet").write_bytes(content[:keep] + rest)
    with pytest.raises(CorruptFileError, match=r"(?s)table\.parquet' is damaged .*; delete it and run again"):
        store.load_table(tmp_path / "table.parquet")


@pytest.mark.parametrize("load", [store.load_json, store.load_header, store.load_tensors, store.load_table])
def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path, load):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")


def test_a_full_disk_leaves_what_stood_there_before(tmp_path, monkeypatch):
    path = tmp_path / "value.json"
    store.save_json(path, {"old": 1})

    def full(_file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"Can't write '.*value\.json': No space left on device\. Every"):
        store.save_json(path, {"new": 2})
    assert store.load_json(path) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(
        StorageError, match="free some space or make the folder writable, then run the same command again"
    ):
        store.write(tmp_path / "run" / "value.json", b"content")
    assert (tmp_path / "run").read_text() == "mine"


def test_a_written_file_is_whole_and_alone(tmp_path):
    store.write(tmp_path / "a" / "file", b"first, and longer")
    store.write(tmp_path / "a" / "file", b"second")
    assert (tmp_path / "a" / "file").read_bytes() == b"second"
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["file"]


def test_who_reads_a_file_while_it_is_written_anew_reads_the_old_one_whole(tmp_path):
    store.write(tmp_path / "file", b"first, and longer")
    with (tmp_path / "file").open("rb") as reader:
        store.write(tmp_path / "file", b"second")
        assert reader.read() == b"first, and longer"


def test_a_files_digest_is_that_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert store.file_digest(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_digest_of_tensors_is_that_of_names_types_shapes_and_bytes():
    expected = hashlib.sha256()
    for name in ("a", "b"):
        array = TENSORS[name].numpy()
        expected.update(f"{name}:torch.{array.dtype}:{array.shape};".encode() + array.tobytes())
    assert store.tensors_digest({name: TENSORS[name] for name in "ba"}) == expected.hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        {"x": torch.tensor([[1, 2], [3, 5]])},
        {"x": torch.tensor([[1, 2, 3, 4]])},
        {"x": torch.tensor([[1, 2], [3, 4]], dtype=torch.int32)},
        {"y": torch.tensor([[1, 2], [3, 4]])},
        {"x": torch.tensor([[1, 2], [3, 4]]), "y": torch.zeros(0)},
    ],
)
def test_another_value_has_another_digest(other):
    assert store.tensors_digest(other) != store.tensors_digest({"x": torch.tensor([[1, 2], [3, 4]])})


def test_tensors_of_no_and_of_half_precision_have_a_digest_that_order_does_not_change():
    tensors = {"scalar": torch.tensor(3.0), "half": gaussian(4).bfloat16(), "view": gaussian(3, 3).T}
    contiguous = {name: tensor.contiguous() for name, tensor in reversed(tensors.items())}
    assert store.tensors_digest(tensors) == store.tensors_digest(contiguous)


def test_a_changed_byte_of_a_tensor_is_told(tmp_path):
    path = tmp_path / "some.safetensors"
    store.save_tensors(path, TENSORS, {})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"damaged \(the contents of .flags. have changed\); delete it and run"):
        store.load_tensors(path)
