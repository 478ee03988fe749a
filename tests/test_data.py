"""Samples with stable ids, from every kind of source."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from layerscope.data import load_data


class Listed(Dataset):
    """A map-style data set of (input, label) pairs."""

    classes = ("even", "odd")

    def __init__(self, n=10, scale=1.0):
        self.n, self.scale = n, scale

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return torch.full((2,), index * self.scale / 20), index % 2


class Streamed(IterableDataset):
    def __iter__(self):
        return iter([(torch.full((2,), index / 20), index % 2) for index in range(10)])


class Unlabelled(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((2,), index / 4)


INPUTS, LABELS = torch.stack([torch.full((2,), index / 20) for index in range(10)]), torch.arange(10) % 2


def save_images(folder, sizes=((6, 5),), mode="L"):
    """Two images of each size for each of two classes; image k of all is of grey k."""
    count = 0
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for size in sizes:
            for _ in range(2):
                Image.new(mode, size, count if mode == "L" else (count, 0, 255)).save(folder / name / f"{count}.png")
                count += 1


@pytest.mark.parametrize(
    "source",
    [
        (INPUTS, LABELS),
        (INPUTS.numpy(), LABELS.numpy()),
        TensorDataset(INPUTS, LABELS),
        Listed(),
        Streamed(),
        [(INPUTS[index], int(LABELS[index])) for index in range(10)],
        DataLoader(Listed(), batch_size=3),
        DataLoader(Streamed(), batch_size=3),
    ],
    ids=["tensors", "arrays", "TensorDataset", "Dataset", "IterableDataset", "list", "DataLoader", "iterable loader"],
)
def test_every_source_gives_the_same_samples_twice(source):
    data = load_data(source)
    for _ in range(2):
        batches = list(data.batches(4))
        assert [len(batch.ids) for batch in batches] == [4, 4, 2]
        assert torch.cat([batch.inputs for batch in batches]).equal(INPUTS)
        assert torch.cat([batch.labels for batch in batches]).equal(LABELS)
        assert torch.cat([batch.ids for batch in batches]).equal(torch.arange(10))


@pytest.mark.parametrize("source", [INPUTS, Unlabelled()], ids=["array", "Dataset"])
def test_labels_may_be_missing(source):
    assert next(load_data(source).batches(3)).labels is None


def test_class_names_of_a_data_set_are_kept():
    assert load_data(Listed()).class_names == ("even", "odd")


def test_a_spec_may_name_a_factory():
    data = load_data("py:layerscope.demo:test_data")
    assert len(data) == 2000
    assert data.source == "py:layerscope.demo:test_data"
    assert data.class_names[9] == "Boot"


def test_a_folder_of_images(tmp_path):
    save_images(tmp_path)
    data = load_data(f"folder:{tmp_path}")
    batch = next(data.batches(10))
    assert batch.inputs.shape == (4, 1, 5, 6)
    assert batch.inputs[:, 0, 0, 0].mul(255).round().tolist() == [0, 1, 2, 3]
    assert batch.labels.tolist() == [0, 0, 1, 1]
    assert data.class_names == ("cat", "dog")


def test_a_folder_of_colour_images_puts_channels_first(tmp_path):
    save_images(tmp_path, mode="RGB")
    batch = next(load_data(f"folder:{tmp_path}").batches(10))
    assert batch.inputs.shape == (4, 3, 5, 6)
    assert batch.inputs[3, :, 0, 0].mul(255).round().tolist() == [3, 0, 255]


def test_an_npz_file(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=INPUTS.numpy(), labels=LABELS.numpy(), class_names=["even", "odd"])
    data = load_data(f"npz:{tmp_path / 'a.npz'}")
    assert next(data.batches(10)).inputs.equal(INPUTS)
    assert data.class_names == ("even", "odd")


@pytest.mark.parametrize(
    ("shape", "seen"), [((2, 4, 5), (2, 1, 4, 5)), ((2, 4, 5, 3), (2, 3, 4, 5)), ((2, 3, 4, 5), (2, 3, 4, 5))]
)
def test_bytes_are_pixels(shape, seen):
    batch = next(load_data(torch.full(shape, 51, dtype=torch.uint8)).batches(2))
    assert batch.inputs.shape == seen
    assert batch.inputs.unique().tolist() == pytest.approx([0.2])


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
    (tmp_path / "dog" / "2.png").unlink()
    assert load_data(f"folder:{tmp_path}").fingerprint != before


def test_every_label_of_a_dataset_counts_in_its_fingerprint():
    class Relabelled(Listed):
        def __getitem__(self, index):
            return super().__getitem__(index)[0], (index % 2) * (index != 333)

    assert load_data(Listed(600)).fingerprint != load_data(Relabelled(600)).fingerprint


def test_a_dataset_that_is_another_at_every_reading_is_refused():
    class Random(Listed):
        def __getitem__(self, index):
            return torch.rand(2), 0

    with pytest.raises(
        ValueError, match="sample 0 of the Random is another when it is read twice; remove random transforms"
    ):
        load_data(Random())


def test_subsets_know_what_they_share():
    whole = load_data((INPUTS, LABELS))
    one, two = whole.split(0.5, seed=0)
    assert one.shares(two) == 0
    assert one.shares(whole) == 5
    assert whole.shares(load_data((INPUTS + 0.001, LABELS))) == 0


def test_samples_say_where_they_come_from(tmp_path):
    save_images(tmp_path)
    data = load_data(f"folder:{tmp_path}")
    assert [data.origin(row) for row in (0, 3)] == ["cat/0.png", "dog/3.png"]
    assert load_data(INPUTS).origin(3) == "an array"


def test_hidden_folders_are_no_classes_and_empty_ones_are_named(tmp_path):
    save_images(tmp_path)
    (tmp_path / ".cache").mkdir()
    assert load_data(f"folder:{tmp_path}").class_names == ("cat", "dog")
    (tmp_path / "bird").mkdir()
    with pytest.raises(ValueError, match=r"is a class, but there is no image in 'bird'; remove it"):
        load_data(f"folder:{tmp_path}")


def test_a_colour_image_among_grey_ones_is_named(tmp_path):
    save_images(tmp_path)
    Image.new("RGB", (6, 5)).save(tmp_path / "dog" / "3.png")
    with pytest.raises(ValueError, match=r"3.png' is in colour \(mode RGB\) and the first image is grey"):
        next(load_data(f"folder:{tmp_path}").batches(4))


def test_a_file_that_is_no_npz_is_named(tmp_path):
    (tmp_path / "a.npz").write_text("no")
    with pytest.raises(ValueError, match=r"a.npz' is no npz file; write one with numpy.savez"):
        load_data(f"npz:{tmp_path / 'a.npz'}")


def test_a_loader_that_shuffles_is_refused():
    with pytest.raises(ValueError, match="draws samples by RandomSampler, so that a sample has no fixed place"):
        load_data(DataLoader(Listed(), shuffle=True))


def test_mixed_sizes_name_both_files(tmp_path):
    save_images(tmp_path, sizes=((6, 5), (4, 4)))
    with pytest.raises(ValueError, match=r"images must have one size; '.*2.png' is \(4, 4\), '.*0.png' is \(5, 6\)"):
        next(load_data(f"folder:{tmp_path}").batches(10))


def test_a_damaged_image_is_named(tmp_path):
    save_images(tmp_path)
    (tmp_path / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"'.*1.png' is no readable image"):
        next(load_data(f"folder:{tmp_path}").batches(10))


def test_an_npz_file_without_inputs_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "a.npz", images=INPUTS.numpy())
    with pytest.raises(ValueError, match="must hold an array `inputs`; it holds images"):
        load_data(f"npz:{tmp_path / 'a.npz'}")


def test_pickled_arrays_are_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_data(f"npz:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("npz:nowhere.npz", "there is no file 'nowhere.npz'"),
        ("folder:nowhere", "there is no folder 'nowhere'"),
        ("images/val", "can't be read; write `folder:PATH`, `npz:FILE` or `py:package.module:factory`"),
        (torch.zeros(0, 3), "`data` is empty: an array holds no samples"),
        ([], "`data` is empty: list holds no samples"),
        ((INPUTS, LABELS[:4]), "must have one label for each input; got 10 inputs and 4 labels"),
    ],
)
def test_what_is_no_data_is_refused(source, told):
    with pytest.raises(ValueError, match=told):
        load_data(source)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`data` is empty: folder:"):
        load_data(f"folder:{tmp_path}")


def test_objects_of_another_kind_are_refused():
    with pytest.raises(
        TypeError, match=r"must be a spec, an array, a pair \(inputs, labels\), a Dataset or a DataLoader; got int"
    ):
        load_data(3)
    with pytest.raises(TypeError, match="must give inputs as tensors; list gives dict"):
        next(load_data([({"text": torch.tensor(1)}, 0)]).batches(1))
    with pytest.raises(TypeError, match="must give one whole number as each sample's label"):
        next(load_data((INPUTS, LABELS / 2)).batches(1))


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="`limit` must be at least 1; got 0"):
        load_data(INPUTS, limit=0)
