"""A data set's values: batches by row, ids, parts; what a source may give as a batch."""

from collections import UserDict

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from layerscope.data import Data, as_samples
from layerscope.sources import load_data
from layerscope.types import size_of

INPUTS, LABELS = torch.stack([torch.full((2,), index / 20) for index in range(10)]), torch.arange(10) % 2


class Listed(Dataset):
    """A map-style data set of (input, label) pairs."""

    def __init__(self, n=10, scale=1.0):
        self.n, self.scale = n, scale

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return torch.full((2,), index * self.scale / 20), index % 2


def save_images(folder):
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for place in range(2):
            Image.new("L", (6, 5), place).save(folder / name / f"{place}.png")


def named(ids, n=5):
    """Data whose samples have ids of their own."""
    numbers = torch.arange(n).float()
    own = np.array(ids)
    return Data("a source", np.arange(n), lambda rows: (numbers[list(rows), None], None), (), "made", ids=own)


def given(inputs, labels=None):
    """Data that gives the same batch whatever is asked for."""
    return Data("a source", np.arange(2), lambda _: (inputs, labels), (), "made")


@pytest.mark.parametrize(
    ("shape", "seen"), [((2, 4, 5), (2, 1, 4, 5)), ((2, 4, 5, 3), (2, 3, 4, 5)), ((2, 3, 4, 5), (2, 3, 4, 5))]
)
def test_bytes_are_pixels(shape, seen):
    batch = next(load_data(torch.full(shape, 51, dtype=torch.uint8)).batches(2))
    assert batch.inputs.shape == seen
    assert batch.inputs.unique().tolist() == pytest.approx([0.2])


@pytest.mark.parametrize("kind", [dict, UserDict], ids=["dict", "UserDict"])
def test_named_tensors_keep_whole_numbers_and_make_others_float32(kind):
    made = as_samples(
        kind(tokens=torch.tensor([[7, 8]]), mask=torch.tensor([[True, False]]), bytes=torch.tensor([9]).byte())
        | {"scores": torch.tensor([0.5], dtype=torch.float64)},
        "a source",
    )
    assert type(made) is dict
    assert {name: tensor.dtype for name, tensor in made.items()} == {
        "tokens": torch.int64,
        "mask": torch.bool,
        "bytes": torch.uint8,
        "scores": torch.float32,
    }
    assert made["bytes"].tolist() == [9]


def test_ordered_tensors_are_a_tuple_and_texts_a_list():
    made = as_samples([torch.ones(3, 2), torch.zeros(3, dtype=torch.int64)], "a source")
    assert isinstance(made, tuple)
    assert [tensor.dtype for tensor in made] == [torch.float32, torch.int64]
    assert as_samples(("one", "two", "three"), "a source") == ["one", "two", "three"]
    assert size_of(made) == size_of(as_samples(("one", "two", "three"), "a source")) == 3


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"question": ["a", "b"]}, "a source gives dict of list"),
        ([torch.ones(2), "b"], "a source gives list of Tensor, str"),
        (np.ones((2, 3)), "a source gives ndarray"),
        ("ab", "a source gives str"),
        ({}, "a source gives dict"),
    ],
)
def test_other_inputs_are_refused(inputs, told):
    with pytest.raises(TypeError, match=rf"one tensor, as named or ordered tensors, or as texts; {told}\.$"):
        given(inputs).take([0, 1])


@pytest.mark.parametrize("labels", [torch.tensor([0.5, 1.5]), torch.tensor([[0], [1]]), ["cat", "dog"]])
def test_labels_that_are_no_whole_numbers_are_refused(labels):
    with pytest.raises(TypeError, match="must give one whole number as each sample's label; a source does not"):
        given(torch.ones(2, 3), labels).take([0, 1])


@pytest.mark.parametrize(
    ("inputs", "labels", "told"),
    [
        (torch.ones(3, 2), None, "gives inputs of length 3 for 2 rows"),
        ({"a": torch.ones(2), "b": torch.ones(1)}, None, "gives `b` of length 1 for 2 rows"),
        ((torch.ones(2), torch.ones(4)), None, "gives input 1 of length 4 for 2 rows"),
        (["one"], None, "gives inputs of length 1 for 2 rows"),
        (torch.ones(2, 2), torch.tensor([1]), "gives labels of length 1 for 2 rows"),
    ],
)
def test_a_source_that_gives_more_or_less_than_was_asked_for_is_refused(inputs, labels, told):
    with pytest.raises(ValueError, match=told):
        given(inputs, labels).take([0, 1])


def test_ids_of_their_own_go_with_the_samples():
    data = named([30, 10, 50, 20, 40])
    batch = data.take([1, 3])
    assert batch.ids.tolist() == [10, 20]
    assert batch.inputs[:, 0].tolist() == [1, 3]
    part = data.subset(np.array([4, 0]))
    assert part.rows.tolist() == [0, 4]
    assert torch.cat([batch.ids for batch in part.batches(1)]).tolist() == [30, 40]
    assert part.shares(data.subset(np.array([0, 1]))) == 1


def test_rows_are_found_by_ids():
    data = named([30, 10, 50, 20, 40])
    assert data.find([20, 30]).tolist() == [3, 0]
    assert data.take(data.find([50])).ids.tolist() == [50]
    assert load_data(INPUTS).find([3, 1]).tolist() == [3, 1]


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        (named([30, 10, 50, 20, 40]), [10, 11]),
        (named([30, 10, 50, 20, 40]).subset(np.array([1])), [11, 30]),
        (load_data(INPUTS).subset(np.array([1])), [1, 2]),
    ],
    ids=["no such id", "id of another part", "row of another part"],
)
def test_ids_that_are_not_there_are_named(data, ids):
    missing = ", ".join(str(sample) for sample in ids if sample not in (1, 10))
    with pytest.raises(ValueError, match=f"`ids` must be ids of samples of .*; it holds none with {missing}"):
        data.find(ids)


def test_an_origin_is_found_by_id():
    files = tuple(f"{row}.png" for row in range(3))
    numbered = Data("a source", np.arange(3), lambda _: (None, None), (), "made", files=files)
    own = Data("a source", np.arange(3), lambda _: (None, None), (), "made", files=files, ids=np.array([9, 7, 8]))
    assert [numbered.origin(sample) for sample in (0, 2)] == ["0.png", "2.png"]
    assert [own.origin(sample) for sample in (9, 8)] == ["0.png", "2.png"]
    assert named([3, 4, 5, 6, 7]).origin(3) == "a source"


def test_samples_say_where_they_come_from(tmp_path):
    save_images(tmp_path)
    data = load_data(f"folder:{tmp_path}")
    assert [data.origin(row) for row in (0, 3)] == ["cat/0.png", "dog/1.png"]
    assert load_data(INPUTS).origin(3) == "an array"


def test_a_limit_draws_at_random_by_seed_and_keeps_ids():
    first, again, other = (load_data((INPUTS, LABELS), limit=5, seed=seed) for seed in (0, 0, 1))
    assert first.rows.tolist() == again.rows.tolist() == sorted(first.rows.tolist())
    assert first.rows.tolist() != other.rows.tolist()
    assert first.fingerprint == again.fingerprint != other.fingerprint
    batch = next(first.batches(5))
    assert batch.ids.tolist() == first.rows.tolist()
    assert batch.inputs.equal(INPUTS[first.rows])


def test_a_split_is_disjoint_and_complete():
    one, two = load_data((INPUTS, LABELS)).split(0.7, seed=3)
    assert (len(one), len(two)) == (7, 3)
    assert sorted([*one.rows, *two.rows]) == list(range(10))


def test_the_fingerprint_changes_with_the_data(tmp_path):
    changed = INPUTS.clone()
    changed[7, 1] += 1e-4
    assert load_data(INPUTS).fingerprint != load_data(changed).fingerprint
    assert load_data((INPUTS, LABELS)).fingerprint != load_data(INPUTS).fingerprint
    assert (
        load_data(Listed()).fingerprint == load_data(Listed()).fingerprint != load_data(Listed(scale=0.5)).fingerprint
    )
    save_images(tmp_path)
    before = load_data(f"folder:{tmp_path}").fingerprint
    (tmp_path / "dog" / "1.png").unlink()
    assert load_data(f"folder:{tmp_path}").fingerprint != before


def test_every_label_of_a_dataset_counts_in_its_fingerprint():
    class Relabelled(Listed):
        def __getitem__(self, index):
            return super().__getitem__(index)[0], (index % 2) * (index != 333)

    assert load_data(Listed(600)).fingerprint != load_data(Relabelled(600)).fingerprint


def test_subsets_know_what_they_share():
    whole = load_data((INPUTS, LABELS))
    one, two = whole.split(0.5, seed=0)
    assert one.shares(two) == 0
    assert one.shares(whole) == 5
    assert whole.shares(load_data((INPUTS + 0.001, LABELS))) == 0
