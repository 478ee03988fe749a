"""Samples with stable ids, from every kind of source."""

import gzip
import io
import struct
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from layerscope.images import Resize
from layerscope.sources import load_data


class Listed(Dataset):
    """A map-style data set of (input, label) pairs."""

    classes = ("even", "odd")

    def __init__(self, n=10):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return torch.full((2,), index / 20), index % 2


class Streamed(IterableDataset):
    def __iter__(self):
        return iter([(torch.full((2,), index / 20), index % 2) for index in range(10)])


class Unlabelled(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((2,), index / 4)


class Tokens(Dataset):
    """Dicts of tokens and mask, with the label among them or beside them."""

    def __init__(self, name):
        self.name = name

    def __len__(self):
        return 10

    def __getitem__(self, index):
        parts = {"input_ids": torch.full((3,), index), "attention_mask": torch.tensor([1, 1, index % 2])}
        return (parts, index % 2) if self.name is None else parts | {self.name: index % 2}


INPUTS, LABELS = torch.stack([torch.full((2,), index / 20) for index in range(10)]), torch.arange(10) % 2
TOKENS = {
    "input_ids": torch.arange(10)[:, None].expand(10, 3).clone(),
    "attention_mask": torch.tensor([[1, 1, index % 2] for index in range(10)]),
}
TEXTS = [f"text {index}" for index in range(10)]
NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def save_images(folder, sizes=((6, 5),), mode="L"):
    """Two images of each size for each of two classes; image k of all is of grey k."""
    count = 0
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for size in sizes:
            for _ in range(2):
                Image.new(mode, size, count if mode == "L" else (count, 0, 255)).save(folder / name / f"{count}.png")
                count += 1


def encoded(size=(6, 5), grey=0, kind="PNG"):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.new("L", size, grey).save(file, kind)
    return file.getvalue()


def noisy(kind):
    """The bytes of a large image file of noise, of which half is far from whole."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def save_table(path, row_group_size=2, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return f"parquet:{path}"


def save_idx(folder, images, labels, part="t10k"):
    """The two files of a part of Fashion-MNIST."""
    head = struct.pack(">4i", 2051, *images.shape)
    (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
    head = struct.pack(">2i", 2049, len(labels))
    (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + bytes(labels)))


def whole(data):
    return data.take(data.rows)


# objects


@pytest.mark.parametrize(
    "source",
    [
        (INPUTS, LABELS),
        (INPUTS.numpy(), LABELS.numpy()),
        (INPUTS.tolist(), LABELS.tolist()),
        TensorDataset(INPUTS, LABELS),
        Listed(),
        Streamed(),
        [(INPUTS[index], int(LABELS[index])) for index in range(10)],
        [{"image": INPUTS[index], "label": int(LABELS[index])} for index in range(10)],
        DataLoader(Listed(), batch_size=3),
        DataLoader(Streamed(), batch_size=3),
    ],
    ids=[
        "tensors",
        "arrays",
        "lists",
        "TensorDataset",
        "Dataset",
        "IterableDataset",
        "list",
        "list of dicts",
        "DataLoader",
        "iterable loader",
    ],
)
def test_every_source_gives_the_same_samples_twice(source):
    data = load_data(source)
    for _ in range(2):
        batches = list(data.batches(4))
        assert [len(batch.ids) for batch in batches] == [4, 4, 2]
        assert torch.cat([batch.inputs for batch in batches]).equal(INPUTS)
        assert torch.cat([batch.labels for batch in batches]).equal(LABELS)
        assert torch.cat([batch.ids for batch in batches]).equal(torch.arange(10))


@pytest.mark.parametrize(
    "source",
    [
        (TOKENS, LABELS),
        ({name: tensor.numpy() for name, tensor in TOKENS.items()}, LABELS),
        TOKENS | {"labels": LABELS},
        TOKENS | {"label": LABELS.tolist()},
        Tokens("labels"),
        Tokens("label"),
        Tokens(None),
        DataLoader(Tokens("labels"), batch_size=3),
    ],
    ids=["pair", "arrays", "labels", "label", "Dataset labels", "Dataset label", "Dataset of pairs", "DataLoader"],
)
def test_named_inputs_stay_named_and_whole(source):
    data = load_data(source)
    for start, batch in zip((0, 4, 8), data.batches(4), strict=True):
        assert list(batch.inputs) == ["input_ids", "attention_mask"]
        for name, tensor in batch.inputs.items():
            assert tensor.dtype == torch.int64
            assert tensor.equal(TOKENS[name][start : start + 4])
        assert batch.labels.equal(LABELS[start : start + 4])


def test_an_encoding_of_a_tokenizer_is_a_dict_of_tensors():
    transformers = pytest.importorskip("transformers")
    for lists in (TOKENS, {name: tensor.tolist() for name, tensor in TOKENS.items()}):
        batch = load_data((transformers.BatchEncoding(lists), LABELS)).take([2, 5])
        assert type(batch.inputs) is dict
        assert batch.inputs["input_ids"].equal(TOKENS["input_ids"][[2, 5]])
    assert load_data(transformers.BatchEncoding(TOKENS)).take([2]).labels is None
    listed = [transformers.BatchEncoding({name: row[index] for name, row in TOKENS.items()}) for index in range(10)]
    assert load_data(listed).take([7]).inputs["input_ids"].tolist() == [[7, 7, 7]]


def test_several_inputs_may_be_a_tuple():
    tokens, mask = TOKENS.values()
    pairs = TensorDataset(tokens, mask)
    nested = [((tokens[index], mask[index]), int(LABELS[index])) for index in range(10)]
    for data in (load_data(((tokens, mask), LABELS)), load_data(nested)):
        batch = data.take([3, 4])
        assert isinstance(batch.inputs, tuple)
        assert batch.inputs[0].equal(tokens[3:5])
        assert batch.inputs[1].equal(mask[3:5])
        assert batch.labels.tolist() == [1, 0]
    with pytest.raises(TypeError, match="one whole number as each sample's label"):
        load_data(pairs).take([0])  # two parts are an input and a label


@pytest.mark.parametrize(
    "source",
    [
        (TEXTS, LABELS),
        (tuple(TEXTS), LABELS),
        (np.array(TEXTS), LABELS),
        list(zip(TEXTS, LABELS.tolist(), strict=True)),
    ],
    ids=["list", "tuple", "array", "Dataset of pairs"],
)
def test_inputs_may_be_texts(source):
    data = load_data(source)
    batch = data.take([1, 6])
    assert batch.inputs == ["text 1", "text 6"]
    assert batch.labels.tolist() == [1, 0]


def test_texts_need_no_labels():
    class Plain(Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, index):
            return TEXTS[index]

    for source in (TEXTS, Plain(), [{"text": text} for text in TEXTS]):
        batch = load_data(source).take([8, 9])
        assert (batch.inputs, batch.labels) == (["text 8", "text 9"], None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([{"text": "ab"}, {"text": "c"}], [{"text": "a"}, {"text": "bc"}]),
        (TOKENS, {"attention_mask": TOKENS["input_ids"], "input_ids": TOKENS["attention_mask"]}),
        ([{"a": torch.ones(1)}], [{"b": torch.ones(1)}]),
        ((tuple(TOKENS.values()), LABELS), (tuple(TOKENS.values())[::-1], LABELS)),
    ],
)
def test_the_fingerprint_tells_texts_and_names_apart(one, other):
    assert load_data(one).fingerprint == load_data(one).fingerprint != load_data(other).fingerprint


@pytest.mark.parametrize(
    "source", [INPUTS, Unlabelled(), TensorDataset(INPUTS)], ids=["array", "Dataset", "TensorDataset"]
)
def test_labels_may_be_missing(source):
    assert next(load_data(source).batches(3)).labels is None


def test_class_names_of_a_data_set_are_kept():
    assert load_data(Listed()).class_names == ("even", "odd")


def test_arrays_that_can_not_be_written_to_are_read():
    fixed = INPUTS.numpy().copy()
    fixed.flags.writeable = False
    assert whole(load_data(fixed)).inputs.equal(INPUTS)
    assert whole(load_data(INPUTS.numpy()[::-1])).inputs.equal(INPUTS.flip(0))


def test_no_bar_is_drawn_where_none_is_wanted(capsys):
    load_data(Listed(), show_progress=False)
    assert capsys.readouterr().err == ""
    load_data(Listed())
    assert "reading the data" in capsys.readouterr().err


def test_a_dataset_that_is_another_at_every_reading_is_refused():
    class Random(Listed):
        def __getitem__(self, index):
            return torch.rand(2), 0

    with pytest.raises(
        ValueError, match="sample 0 of the Random is another when it is read twice; remove random transforms"
    ):
        load_data(Random())


def test_a_loader_that_shuffles_is_refused():
    with pytest.raises(ValueError, match="draws samples by RandomSampler, so that a sample has no fixed place"):
        load_data(DataLoader(Listed(), shuffle=True))


def test_samples_that_fit_in_no_batch_are_named():
    data = load_data([(torch.ones(2), 0), (torch.ones(3), 0)])
    with pytest.raises(ValueError, match=r"samples 0 to 1 of the list can't be put into one batch \(stack expects"):
        data.take([0, 1])
    with pytest.raises(ValueError, match="turn images into tensors"):
        load_data([(Image.new("L", (4, 4)), 0)])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("npz:nowhere.npz", "there is no file 'nowhere.npz'"),
        ("parquet:nowhere.parquet", "there is no file 'nowhere.parquet'"),
        ("folder:nowhere", "there is no folder 'nowhere'"),
        ("fashion-mnist:nowhere", "there is no file 'nowhere/t10k-images-idx3-ubyte.gz'"),
        ("images/val", "can't be read; write `folder:PATH`, `npz:FILE`, `parquet:FILE`, `hf:NAME:SPLIT`, `fashion-"),
        (torch.zeros(0, 3), "`data` is empty: an array holds no samples"),
        ([], "`data` is empty: list holds no samples"),
        ((INPUTS, LABELS[:4]), "must have one label for each input; got 10 inputs and 4 labels"),
        ((TEXTS, LABELS[:4]), "must have one label for each input; got 10 inputs and 4 labels"),
        (({"a": INPUTS, "b": INPUTS[:3]}, LABELS), "must be of one length; `a` has 10 and `b` has 3"),
        (((INPUTS, INPUTS[:3]), LABELS), "must be of one length; input 0 has 10 and input 1 has 3"),
        (TOKENS | {"label": LABELS, "labels": LABELS}, "labels once .'labels' or 'label'.; the dict names 'input_ids'"),
        ({"labels": LABELS}, "must name inputs, .* the dict names 'labels'"),
        ({}, "the dict names nothing"),
        (TensorDataset(INPUTS, INPUTS, LABELS), "those of the TensorDataset have 3 parts"),
    ],
)
def test_what_is_no_data_is_refused(source, told):
    with pytest.raises(ValueError, match=told):
        load_data(source)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (3, r"must be a spec, an array, texts, a dict of arrays, a pair \(inputs, labels\), a Dataset or a .* got int"),
        ((INPUTS, TEXTS), "labels must be whole numbers, the network's classes; got text. Number the classes"),
        (({"a": [[1, 2], [3]]}, [0, 1]), "`a` must be an array or a tensor with a row for each sample; got list"),
        ((3, 4), "inputs must have a row for each sample; got 3"),
        ((INPUTS, 4), "labels must have a row for each sample; got 4"),
        ((np.array([{}, {}]), [0, 1]), "inputs must be an array or a tensor with a row for each sample; got ndarray"),
    ],
)
def test_objects_of_another_kind_are_refused(source, told):
    with pytest.raises(TypeError, match=told):
        load_data(source)


def test_labels_that_are_no_whole_numbers_are_refused():
    with pytest.raises(TypeError, match="must give one whole number as each sample's label"):
        next(load_data((INPUTS, LABELS / 2)).batches(1))


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="`limit` must be at least 1; got 0"):
        load_data(INPUTS, limit=0)


def test_a_spec_may_name_a_factory():
    data = load_data("py:layerscope.demo:test_data")
    assert len(data) == 2000
    assert data.source == "py:layerscope.demo:test_data"
    assert data.class_names[9] == "Boot"


# folders of images


def test_a_folder_of_images(tmp_path):
    save_images(tmp_path)
    data = load_data(f"folder:{tmp_path}")
    batch = next(data.batches(10))
    assert batch.inputs.shape == (4, 1, 5, 6)
    assert batch.inputs[:, 0, 0, 0].mul(255).round().tolist() == [0, 1, 2, 3]
    assert batch.labels.tolist() == [0, 0, 1, 1]
    assert data.class_names == ("cat", "dog")
    assert data.skipped == ()


def test_a_folder_of_colour_images_puts_channels_first(tmp_path):
    save_images(tmp_path, mode="RGB")
    batch = next(load_data(f"folder:{tmp_path}").batches(10))
    assert batch.inputs.shape == (4, 3, 5, 6)
    assert batch.inputs[3, :, 0, 0].mul(255).round().tolist() == [3, 0, 255]


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


def test_mixed_sizes_name_both_files_and_say_what_to_do(tmp_path):
    save_images(tmp_path, sizes=((6, 5), (4, 4)))
    data = load_data(f"folder:{tmp_path}")
    told = r"images must have one size; '.*2.png' is \(4, 4\), '.*0.png' is \(5, 6\) .*loaded by name brings .*`resize="
    with pytest.raises(ValueError, match=told):
        next(data.batches(10))
    with pytest.raises(ValueError, match="images must have one size"):
        data.take([2])  # alone in its batch


@pytest.mark.parametrize(
    ("resize", "shape"),
    [(Resize(3, 4, channels=1), (1, 3, 4)), (Resize(3, 3, shorter=4), (3, 3, 3))],
    ids=["grey", "shorter side, then cut"],
)
def test_mixed_sizes_and_modes_are_brought_to_what_the_network_takes(tmp_path, resize, shape):
    save_images(tmp_path, sizes=((6, 5), (4, 4)))
    Image.new("RGB", (9, 8), (40, 40, 40)).save(tmp_path / "cat" / "0.png")
    data = load_data(f"folder:{tmp_path}", resize=resize)
    batch = whole(data)
    assert batch.inputs.shape == (8, *shape)
    assert batch.inputs[:, 0, 0, 0].mul(255).round().tolist() == [40, 1, 2, 3, 4, 5, 6, 7]
    assert batch.inputs[:, 0].flatten(1).std(1).max() == 0


def test_the_fingerprint_of_images_changes_with_their_size(tmp_path):
    save_images(tmp_path)
    plain, small, again, large = (
        load_data(f"folder:{tmp_path}", resize=resize)
        for resize in (None, Resize(3, 3), Resize(3, 3), Resize(3, 3, interpolation="bicubic"))
    )
    assert len({plain.fingerprint, small.fingerprint, large.fingerprint}) == 3
    assert small.fingerprint == again.fingerprint
    assert small.shares(again) == small.shares(plain) == 4  # the same images, whatever their size


DAMAGED = {
    "garbage.png": b"no image",
    "empty.png": b"",
    "truncated.png": noisy("PNG")[:-2000],
    "truncated.jpg": noisy("JPEG")[:-1000],
    "head.png": noisy("PNG")[:40],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_image_is_named_when_it_is_met(tmp_path, name):
    save_images(tmp_path)
    (tmp_path / "dog" / name).write_bytes(DAMAGED[name])
    for resize in (None, Resize(4, 4)):
        data = load_data(f"folder:{tmp_path}", resize=resize)
        assert len(data.take([0, 1]).ids) == 2
        with pytest.raises(ValueError, match=rf"dog/{name}' is no readable image .*repair.*`skip_unreadable=True`"):
            whole(data)


@pytest.mark.parametrize("resize", [None, Resize(5, 6, channels=1)], ids=["as they are", "resized"])
def test_damaged_images_are_left_out_if_wanted(tmp_path, resize):
    save_images(tmp_path)
    for name, content in DAMAGED.items():
        (tmp_path / "cat" / name).write_bytes(content)
    (tmp_path / "cat" / "00.png").symlink_to(tmp_path / "nowhere.png")  # the first of all
    with pytest.warns(UserWarning, match=r"6 of 10 images of folder:.* are left out: '.*cat/00.png', '.*, \.\.\.\.$"):
        data = load_data(f"folder:{tmp_path}", skip_unreadable=True, resize=resize, show_progress=False)
    assert len(data) == 4
    assert [name.rpartition("/")[2] for name in data.skipped] == ["00.png", *sorted(DAMAGED)]
    batch = whole(data)
    assert batch.inputs[:, 0, 0, 0].mul(255).round().tolist() == [0, 1, 2, 3]
    assert batch.labels.tolist() == [0, 0, 1, 1]
    assert [data.origin(sample) for sample in batch.ids.tolist()] == [
        "cat/0.png",
        "cat/1.png",
        "dog/2.png",
        "dog/3.png",
    ]


def test_ids_and_fingerprint_are_the_same_whenever_the_same_files_are_damaged(tmp_path):
    save_images(tmp_path)
    (tmp_path / "cat" / "1.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 4 images"):
        one = load_data(f"folder:{tmp_path}", skip_unreadable=True)
    with pytest.warns(UserWarning, match="1 of 4 images"):
        two = load_data(f"folder:{tmp_path}", skip_unreadable=True)
    every = load_data(f"folder:{tmp_path}")
    assert one.fingerprint == two.fingerprint != every.fingerprint
    assert one.rows.tolist() == [0, 2, 3]  # ids are those of the whole folder
    assert one.shares(every) == 3
    part = load_data(one, limit=2, skip_unreadable=True)  # told once
    assert (len(part), part.skipped) == (2, one.skipped)


def test_nothing_is_told_where_all_images_are_readable(tmp_path, capsys):
    save_images(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_data(f"folder:{tmp_path}", skip_unreadable=True)
    assert data.fingerprint == load_data(f"folder:{tmp_path}").fingerprint
    assert "looking for unreadable images" in capsys.readouterr().err


def test_a_folder_without_a_readable_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`data` is empty: folder:.* holds no samples"):
        load_data(f"folder:{tmp_path}")
    save_images(tmp_path)
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(ValueError, match="holds no samples; all of its 4 images are unreadable"):
        load_data(f"folder:{tmp_path}", skip_unreadable=True)
    with pytest.raises(ValueError, match=r"0.png' is no readable image"):
        load_data(f"folder:{tmp_path}")


# npz files


def test_an_npz_file(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=INPUTS.numpy(), labels=LABELS.numpy(), class_names=["even", "odd"])
    data = load_data(f"npz:{tmp_path / 'a.npz'}")
    assert next(data.batches(10)).inputs.equal(INPUTS)
    assert data.class_names == ("even", "odd")
    assert data.ids is None


def test_ids_of_an_npz_file_go_with_its_samples(tmp_path):
    own = np.arange(10)[::-1] * 7
    np.savez(tmp_path / "a.npz", inputs=INPUTS.numpy(), ids=own.astype(np.uint32))
    np.savez(tmp_path / "b.npz", inputs=INPUTS.numpy())
    data, plain = (load_data(f"npz:{tmp_path / name}", limit=6, seed=1) for name in ("a.npz", "b.npz"))
    batch = whole(data)
    assert batch.ids.tolist() == own[data.rows].tolist()
    assert batch.inputs.equal(INPUTS[data.rows])
    assert data.take(data.find([14])).inputs.equal(INPUTS[[7]])
    assert data.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("ids", "error", "told"),
    [
        ([0, 1, 2, 3, 4, 4, 3, 3, 8, 9], ValueError, r"ids must differ; in npz:.*, 2 of them come more .* \(3, 4\)"),
        ([0, 1], ValueError, "has 10 inputs and 2 ids"),
        (np.arange(10) / 2, TypeError, r"ids must be whole numbers, one for each sample; .*float64 of shape \(10,\)"),
        (TEXTS, TypeError, "ids must be whole numbers, one for each sample"),
        ([[row] for row in range(10)], TypeError, r"int64 of shape \(10, 1\)"),
    ],
)
def test_ids_that_are_none_are_refused(tmp_path, ids, error, told):
    np.savez(tmp_path / "a.npz", inputs=INPUTS.numpy(), ids=ids)
    with pytest.raises(error, match=told):
        load_data(f"npz:{tmp_path / 'a.npz'}")


def test_a_file_that_is_no_npz_is_named(tmp_path):
    (tmp_path / "a.npz").write_text("no")
    with pytest.raises(ValueError, match=r"a.npz' is no npz file; write one with numpy.savez"):
        load_data(f"npz:{tmp_path / 'a.npz'}")


def test_an_npz_file_without_inputs_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "a.npz", images=INPUTS.numpy())
    with pytest.raises(ValueError, match="must hold an array `inputs`; it holds images"):
        load_data(f"npz:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize("name", ["inputs", "ids"])
def test_pickled_arrays_are_not_read(tmp_path, name):
    np.savez(tmp_path / "a.npz", **({"inputs": INPUTS.numpy()} | {name: np.array([{"a": 1}], dtype=object)}))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_data(f"npz:{tmp_path / 'a.npz'}")


# Parquet files


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_a_parquet_file_of_images(tmp_path, form):
    images = [encoded(grey=row) for row in range(5)]
    column = images if form == "bytes" else [{"bytes": image, "path": f"{k}.png"} for k, image in enumerate(images)]
    data = load_data(save_table(tmp_path / "a.parquet", image=column, label=[2, 0, 1, 0, 2], other=TEXTS[:5]))
    batches = list(data.batches(3))
    assert torch.cat([batch.inputs for batch in batches]).shape == (5, 1, 5, 6)
    assert torch.cat([batch.inputs[:, 0, 0, 0] for batch in batches]).mul(255).round().tolist() == [0, 1, 2, 3, 4]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [2, 0, 1, 0, 2]
    assert data.take([4, 0]).inputs[:, 0, 0, 0].mul(255).round().tolist() == [4, 0]
    assert (data.class_names, data.origin(3)) == ((), f"parquet:{tmp_path / 'a.parquet'}")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_a_parquet_file_of_texts_with_named_labels_and_ids(tmp_path, kind):
    labels = pa.array(["dog", "cat", "dog", "bird", "cat"]).cast(kind)
    spec = save_table(tmp_path / "a.parquet", text=pa.array(TEXTS[:5]).cast(kind), label=labels, id=[9, 7, 5, 3, 1])
    data = load_data(spec)
    batch = data.take([1, 3, 4])
    assert batch.inputs == ["text 1", "text 3", "text 4"]
    assert batch.labels.tolist() == [1, 0, 1]
    assert batch.ids.tolist() == [7, 3, 1]
    assert data.class_names == ("bird", "cat", "dog")


def test_a_parquet_file_needs_no_labels_and_changes_with_its_content(tmp_path):
    one = load_data(save_table(tmp_path / "a.parquet", text=TEXTS))
    same = load_data(save_table(tmp_path / "b.parquet", text=TEXTS))
    other = load_data(save_table(tmp_path / "c.parquet", text=TEXTS[::-1]))
    assert whole(one).labels is None
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_class_names_that_the_hugging_face_library_writes_are_read(tmp_path):
    written = b'{"info": {"features": {"label": {"names": ["even", "odd"], "_type": "ClassLabel"}}}}'
    table = pa.table({"text": TEXTS, "label": LABELS.tolist()}).replace_schema_metadata({"huggingface": written})
    pq.write_table(table, tmp_path / "a.parquet")
    assert load_data(f"parquet:{tmp_path / 'a.parquet'}").class_names == ("even", "odd")


def test_images_of_a_parquet_file_are_resized_or_refused_as_files_are(tmp_path):
    spec = save_table(tmp_path / "a.parquet", image=[encoded((6, 5)), encoded((4, 4), 1), encoded((9, 7), 2)])
    with pytest.raises(ValueError, match=r"'parquet:.*, row 1' is \(4, 4\), 'parquet:.*, row 0' is \(5, 6\)"):
        whole(load_data(spec))
    data = load_data(spec, resize=Resize(3, 3, channels=1))
    assert whole(data).inputs[:, 0, 1, 1].mul(255).round().tolist() == [0, 1, 2]
    assert data.fingerprint != load_data(spec).fingerprint


def test_damaged_images_of_a_parquet_file_are_named_or_left_out(tmp_path):
    images = [encoded(), b"no image", None, noisy("PNG")[:-2000], encoded(grey=4)]
    spec = save_table(tmp_path / "a.parquet", image=images, id=[50, 40, 30, 20, 10])
    with pytest.raises(ValueError, match=r"row 1' is no readable image"):
        whole(load_data(spec))
    with pytest.raises(ValueError, match=r"row 2' is no readable image \(it is missing\)"):
        load_data(spec).take([2])
    with pytest.warns(UserWarning, match=r"3 of 5 images of parquet:.* left out: 'parquet:.*, row 1', "):
        data = load_data(spec, skip_unreadable=True)
    assert whole(data).ids.tolist() == [50, 10]
    assert whole(data).inputs[:, 0, 0, 0].mul(255).round().tolist() == [0, 4]


@pytest.mark.parametrize(
    ("columns", "error", "told"),
    [
        ({"picture": [b"a"], "label": [0]}, ValueError, "has neither among its columns 'picture', 'label'"),
        ({"image": [b"a"], "text": ["a"]}, ValueError, r"has several \('image', 'text'\) among its columns"),
        ({"image": ["a.png"]}, TypeError, "`image` of .* must be encoded images: bytes, or a struct .* it is string"),
        ({"image": [{"path": "a.png"}]}, TypeError, "`image` of .* must be encoded images"),
        ({"text": [1]}, TypeError, "the column `text` of .* must be text; it is int64"),
        ({"text": ["a"], "label": [0.5]}, TypeError, "labels must be whole numbers or text; those of .* are double"),
        ({"text": ["a", "b"], "label": [0, None]}, ValueError, "1 of 2 labels of .* are missing; leave these rows out"),
        ({"text": ["a", "b"], "id": [3, 3]}, ValueError, r"in the column `id` of .* more than once \(3\)"),
        ({"text": ["a", "b"], "id": ["x", "y"]}, TypeError, "ids must be whole numbers"),
        ({"text": ["a", "b"], "id": [1, None]}, TypeError, "ids must be whole numbers"),
    ],
)
def test_columns_that_are_missing_doubled_or_of_another_type_are_named(tmp_path, columns, error, told):
    with pytest.raises(error, match=told):
        load_data(save_table(tmp_path / "a.parquet", **columns))


def test_a_row_without_text_is_named(tmp_path):
    data = load_data(save_table(tmp_path / "a.parquet", text=["a", None, "c"]))
    assert data.take([0, 2]).inputs == ["a", "c"]
    with pytest.raises(ValueError, match="has no text in rows 1; fill them or leave them out"):
        whole(data)


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"a.parquet' is no readable Parquet file"):
        load_data(f"parquet:{tmp_path / 'a.parquet'}")


def test_a_parquet_file_that_is_damaged_later_on_is_named(tmp_path):
    spec = save_table(tmp_path / "a.parquet", text=TEXTS)
    data = load_data(spec)
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"row group 1 of '.*a.parquet' can't be read"):
        data.take([3])


# the Hugging Face library


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The library, kept from the net and from its own cache."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return datasets


def pictures(hub, **more):
    """Six images in the library's form."""
    images = [{"bytes": encoded(grey=row), "path": None} for row in range(6)]
    kinds = {"img": hub.Image(), "label": hub.ClassLabel(names=["even", "odd"])}
    return hub.Dataset.from_dict({"img": images, "label": [0, 1] * 3} | more, features=hub.Features(kinds))


def test_a_folder_of_parquet_files_in_the_hugging_face_form(tmp_path, hub):
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    pictures(hub).to_parquet(folder / "test-00000-of-00001.parquet")
    data = load_data(f"hf:{tmp_path / 'set'}:test", limit=4)
    batch = whole(data)
    assert batch.inputs[:, 0, 0, 0].mul(255).round().tolist() == data.rows.tolist()
    assert batch.labels.tolist() == [row % 2 for row in data.rows]
    assert data.class_names == ("even", "odd")
    assert data.source == f"hf:{tmp_path / 'set'}:test"
    assert load_data(f"hf:{tmp_path / 'set'}:test", limit=4).fingerprint == data.fingerprint
    with pytest.raises(ValueError, match=r"data spec 'hf:.*:train' can't be loaded \(.*Where more is to be said"):
        load_data(f"hf:{tmp_path / 'set'}:train")


def test_a_dataset_of_the_library_itself(hub):
    dataset = pictures(hub)
    data, picked = load_data(dataset), load_data(dataset.select([4, 1]))
    assert whole(data).inputs.shape == (6, 1, 5, 6)
    assert whole(picked).inputs[:, 0, 0, 0].mul(255).round().tolist() == [4, 1]
    assert whole(picked).labels.tolist() == [0, 1]
    assert whole(load_data(dataset, resize=Resize(2, 2))).inputs.shape == (6, 3, 2, 2)
    streamed = hub.Dataset.from_dict({"text": TEXTS, "label": LABELS.tolist()}).to_iterable_dataset()
    assert whole(load_data(streamed)).inputs == TEXTS
    texts = hub.Dataset.from_dict({"sentence": TEXTS, "label": ["odd", "even"] * 5})
    assert load_data(texts).take([3]).inputs == ["text 3"]
    assert load_data(texts).take([3]).labels.tolist() == [0]
    assert load_data(texts).class_names == ("even", "odd")
    changed = hub.Dataset.from_dict({"sentence": TEXTS[::-1], "label": ["odd", "even"] * 5})
    renamed = hub.Dataset.from_dict({"sentence": TEXTS, "label": ["even", "odd"] * 5})
    assert len({load_data(made).fingerprint for made in (texts, changed, renamed)}) == 3


def test_damaged_images_of_the_library_are_named_or_left_out(tmp_path, hub):
    Image.new("L", (6, 5), 3).save(tmp_path / "a.png")
    images = [
        {"bytes": encoded(), "path": None},
        {"bytes": b"no image", "path": None},
        None,
        {"bytes": None, "path": str(tmp_path / "a.png")},
        {"bytes": None, "path": str(tmp_path / "nowhere.png")},
    ]
    dataset = hub.Dataset.from_dict({"image": images}, features=hub.Features({"image": hub.Image()}))
    with pytest.raises(ValueError, match=r"row 1' is no readable image"):
        whole(load_data(dataset))
    with pytest.warns(UserWarning, match="3 of 5 images of a Dataset can't be read"):
        data = load_data(dataset, skip_unreadable=True)
    assert data.rows.tolist() == [0, 3]
    assert whole(data).inputs[:, 0, 0, 0].mul(255).round().tolist() == [0, 3]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"a": ["x"], "b": ["y"]}, r"has several \('a', 'b'\) among its columns 'a', 'b'"),
        ({"a": [1], "label": ["y"]}, "has neither among its columns 'a', 'label'"),
        ({"text": ["x"], "label": [0], "labels": [1]}, "must have one column of labels; .* has 'labels', 'label'"),
        ({"text": ["x", "y"], "label": [0, None]}, "1 of 2 labels of .* are missing"),
    ],
)
def test_columns_of_the_library_that_are_not_clear_are_named(hub, columns, told):
    with pytest.raises(ValueError, match=told):
        load_data(hub.Dataset.from_dict(columns))


def test_several_splits_are_refused(hub):
    splits = hub.DatasetDict({"train": hub.Dataset.from_dict({"text": TEXTS})})
    with pytest.raises(ValueError, match=r"must be one split; got several \(train\)"):
        load_data(splits)


@pytest.mark.parametrize("spec", ["hf:mnist", "hf:mnist:", "hf::test"])
def test_a_hub_spec_without_name_or_split_is_refused(spec):
    with pytest.raises(ValueError, match="can't be read; write `hf:NAME:SPLIT`, `hf:NAME@REVISION:SPLIT` or `hf:FOLD"):
        load_data(spec)


def test_name_revision_and_split_of_a_hub_spec_reach_the_library(hub, monkeypatch):
    asked = []

    def load_dataset(name, *, revision, split):
        asked.append((name, revision, split))
        return hub.Dataset.from_dict({"text": TEXTS})

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    load_data("hf:org/name@abc123:test")
    load_data("hf:org/name:train[:10%]+test")
    assert asked == [("org/name", "abc123", "test"), ("org/name", None, "train[:10%]+test")]


# Fashion-MNIST


def test_the_files_of_fashion_mnist(tmp_path):
    images = np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8)
    save_idx(tmp_path, images, [9, 0, 4])
    save_idx(tmp_path, images[:2], [1, 2], part="train")
    data = load_data(f"fashion-mnist:{tmp_path}")
    batch = whole(data)
    assert batch.inputs.mul(255).round().byte().equal(torch.tensor(images)[:, None])
    assert batch.labels.tolist() == [9, 0, 4]
    assert data.class_names == NAMES
    assert whole(load_data(f"fashion-mnist:{tmp_path}:train")).labels.tolist() == [1, 2]
    assert load_data(f"fashion-mnist:{tmp_path}:test").fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no", r"t10k-images-idx3-ubyte.gz' is no readable gzip file"),
        (gzip.compress(noisy("PNG"))[:-500], "is no readable gzip file"),
        (gzip.compress(struct.pack(">4i", 2049, 2, 2, 2) + bytes(8)), "begins with 2051; it begins with 2049"),
        (gzip.compress(b"a"), "begins with 2051; it begins with 0"),
        (gzip.compress(struct.pack(">4i", 2051, 2, 2, 2) + bytes(7)), "it holds 2 x 2 x 2 bytes, and holds 7"),
    ],
    ids=["no gzip", "truncated", "wrong magic", "too short", "wrong count"],
)
def test_damaged_files_of_fashion_mnist_are_named(tmp_path, content, told):
    save_idx(tmp_path, np.zeros((2, 2, 2), np.uint8), [0, 1])
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=told):
        load_data(f"fashion-mnist:{tmp_path}")


def test_labels_of_fashion_mnist_that_do_not_fit_are_refused(tmp_path):
    images = np.zeros((2, 2, 2), np.uint8)
    save_idx(tmp_path, images, [0, 10])
    with pytest.raises(ValueError, match=r"labels of Fashion-MNIST must lie from 0 to 9; '.*' has 10"):
        load_data(f"fashion-mnist:{tmp_path}")
    save_idx(tmp_path, images, [0, 1, 2])
    with pytest.raises(ValueError, match="one label for each input; got 2 inputs and 3 labels"):
        load_data(f"fashion-mnist:{tmp_path}")
