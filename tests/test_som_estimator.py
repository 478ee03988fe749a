"""`SOM` as scikit-learn and its users meet it."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from handmade import few, gaussian, whole_numbers
from hypothesis import given
from hypothesis import strategies as st
from references import som as slow
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances
from sklearn.utils.estimator_checks import parametrize_with_checks

from layerscope.errors import CorruptFileError, StorageError
from layerscope.som import SOM, Grid, estimator, fast, initial_plane, measure, topographic_product, trustworthiness
from layerscope.store import save_tensors

OPTIONS = {
    "planar": {},
    "hexagonal torus": {"grid": "hexagonal", "topology": "toroidal"},
    "cosine": {"metric": "cosine"},
    "float64": {"dtype": "float64"},
    "exact": {"solver": "exact"},
    "sample": {"init": "sample"},
}
DIGITS = load_digits().data[:600]


def rows(n=300, width=4, seed=0):
    return np.random.default_rng(seed).standard_normal((n, width)) * [3, 2, 1, 0.5][:width] + 1


def fitted(data=None, /, **options):
    return SOM(**{"shape": (4, 6), **options}).fit(rows() if data is None else data)


@pytest.fixture
def always_fast(monkeypatch):
    monkeypatch.setattr(fast, "PLAIN", 0)
    monkeypatch.setattr(fast, "FEWEST", 200)


@parametrize_with_checks([SOM(), SOM(solver="exact", grid="hexagonal")])
def test_scikit_learn_takes_it_for_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", OPTIONS)
def test_rows_fall_on_the_unit_that_is_nearest(name):
    data, som = rows(), fitted(**OPTIONS[name])
    measured = cosine_distances if name == "cosine" else euclidean_distances
    distances = measured(data, som.prototypes_.astype(np.float64))
    found = som.transform(data)
    np.testing.assert_allclose(found, distances, atol=1e-5)
    assert som.predict(data).tolist() == som.labels_.tolist() == distances.argmin(1).tolist()
    assert som.best_units(data, 5).tolist() == distances.argsort(1, kind="stable")[:, :5].tolist()
    assert som.score(data) == pytest.approx(-distances.min(1).mean(), abs=1e-6)
    assert np.array_equal(SOM(**som.get_params()).fit_transform(data), found)


@pytest.mark.parametrize("name", OPTIONS)
def test_quality_is_that_of_the_measures(name):
    data, som = rows(), fitted(**OPTIONS[name])
    inside = torch.cat(list(som._fitted_rows(data)[0]))
    found, fit = som.quality(data), measure(inside, som._prototypes, som.grid_)
    units = torch.from_numpy(som.predict(data))
    assert found.quantization_error == -som.score(data)
    assert found.explained_variance == pytest.approx(fit.explained_variance)
    assert found.topographic_error == pytest.approx(fit.topographic_error)
    assert found.trustworthiness == pytest.approx(trustworthiness(inside, units, som.grid_), abs=1e-6)
    assert found.topographic_product == pytest.approx(topographic_product(som._prototypes, som.grid_))
    assert found.dead_units == 24 - len(set(som.labels_.tolist()))


def test_quality_of_many_rows_takes_trustworthiness_on_some():
    data = rows(2300)
    assert fitted(data).quality(data, neighbours=30).trustworthiness > 0.8


def test_tensors_go_in_and_come_out():
    data = gaussian(200, 4)
    som = fitted(data)
    results = (som.prototypes_, som.labels_, som.predict(data), som.transform(data), som.best_units(data))
    assert all(isinstance(result, torch.Tensor) for result in results)
    floats, whole = torch.float32, torch.int64
    assert [result.dtype for result in results] == [floats, whole, whole, floats, whole]
    assert isinstance(som.predict(data.numpy()), np.ndarray)
    again = fitted(data.numpy())
    assert np.array_equal(again.prototypes_, som.prototypes_)
    assert all(
        isinstance(result, np.ndarray) for result in (again.prototypes_, again.labels_, again.transform(data.numpy()))
    )


def test_a_tensor_with_a_gradient_is_only_read():
    data = gaussian(50, 3).requires_grad_()
    assert torch.equal(fitted(data).prototypes_, fitted(data.detach()).prototypes_)


def test_blocks_give_what_the_whole_gives():
    data = rows()
    blocks = [data[:7], data[7:200], data[200:]]
    whole, parts = fitted(data, init="pca"), fitted(blocks, init="pca")
    np.testing.assert_allclose(parts.prototypes_, whole.prototypes_, atol=1e-3)
    assert parts.labels_.shape == (300,)
    np.testing.assert_allclose(parts.transform(blocks), parts.transform(data))
    assert parts.score(blocks) == pytest.approx(parts.score(data))
    assert parts.quality(blocks).quantization_error == pytest.approx(-parts.score(data))


def test_frames_keep_their_names():
    frame = pd.DataFrame(rows(), columns=list("abcd"))
    som = SOM((2, 3)).set_output(transform="pandas").fit(frame)
    assert som.feature_names_in_.tolist() == list("abcd")
    assert som.transform(frame).columns.tolist() == [f"som{unit}" for unit in range(6)]
    with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
        som.predict(frame[list("dcba")])


@pytest.mark.parametrize("name", ["planar", "hexagonal torus", "cosine", "float64", "exact"])
def test_whole_weights_are_repeated_rows(name):
    data, weights = rows(150), whole_numbers(4, 150).numpy()
    weighted = SOM((4, 6), **OPTIONS[name]).fit(data, sample_weight=weights)
    repeated = SOM((4, 6), **OPTIONS[name]).fit(np.repeat(data, weights, 0))
    np.testing.assert_allclose(weighted.prototypes_, repeated.prototypes_, atol=2e-4)
    scaled = SOM((4, 6), **OPTIONS[name]).fit(data, sample_weight=torch.from_numpy(weights * 4.0))
    np.testing.assert_allclose(weighted.prototypes_, scaled.prototypes_, atol=2e-4)


def test_weights_count_toward_the_units():
    data = rows(100)
    assert len(SOM().fit(data, sample_weight=np.full(100, 16.0)).grid_) == pytest.approx(200, rel=0.05)
    assert len(SOM().fit(data).grid_) == pytest.approx(50, rel=0.1)


@pytest.mark.parametrize(
    ("deviations", "options", "expected"),
    [
        ([1, 1, 0.1], {}, (7, 7)),
        ([4, 1, 0.1], {}, (4, 12)),
        ([1e6, 1, 0], {}, (2, 25)),
        ([1, 0, 0], {}, (2, 25)),
        ([0, 0, 0], {}, (2, 25)),
        ([1, 1, 0], {"grid": "hexagonal", "topology": "toroidal"}, (8, 6)),
        ([4, 1, 0], {"grid": "hexagonal", "topology": "planar"}, (4, 12)),
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_grid_is_chosen_as_the_rows_lie(deviations, options, expected, weighted):
    data = np.random.default_rng(0).standard_normal((100, 3))
    data = np.linalg.qr(data - data.mean(0))[0] * np.array(deviations) + 5
    som = SOM(epochs=1, **options).fit(data, sample_weight=np.ones(100) if weighted else None)
    assert (som.grid_.rows, som.grid_.columns) == expected


def test_one_column_gets_a_grid():
    grid = SOM(epochs=1).fit(rows(100, 1)).grid_
    assert (grid.rows, grid.columns) == (2, 25)


def test_partial_fit_goes_on_with_all_rows_so_far():
    first, second = rows(200), rows(100, seed=1) + 0.5
    som = SOM((3, 4), dtype="float64").fit(first)
    sums, counts, before = som._sums.numpy().copy(), som._counts.numpy().copy(), som.prototypes_
    inside = second - som._space.offset.numpy()
    units = euclidean_distances(second, before).argmin(1)
    np.add.at(sums, units, inside / som._space.scale)
    np.add.at(counts, units, 1)
    kernel = np.exp(-(slow.apart(3, 4, "rectangular", "planar") ** 2) / (2 * 0.6**2))
    expected = (kernel @ sums) / (kernel @ counts)[:, None] * som._space.scale + som._space.offset.numpy()
    assert som.partial_fit(second) is som
    np.testing.assert_allclose(som.prototypes_, expected, rtol=1e-9)
    assert som.labels_.tolist() == som.predict(second).tolist()
    assert som._counts.sum() == 300


def test_the_first_partial_fit_is_fit():
    data, weights = rows(), whole_numbers(4, 300).numpy() + 1
    one = SOM((3, 4)).partial_fit(data, sample_weight=weights)
    assert np.array_equal(one.prototypes_, SOM((3, 4)).fit(data, sample_weight=weights).prototypes_)


def test_weights_count_in_partial_fit():
    one, other = (fitted(dtype="float64") for _ in range(2))
    one.partial_fit(rows(50, seed=1), sample_weight=np.full(50, 2))
    other.partial_fit(np.repeat(rows(50, seed=1), 2, 0))
    np.testing.assert_allclose(one.prototypes_, other.prototypes_, rtol=1e-9)


def test_partial_fit_needs_rows_of_the_same_width():
    with pytest.raises(ValueError, match="X has 3 features, but SOM is expecting 4 features as input"):
        fitted().partial_fit(rows(50, 3))


def same(one, other):
    """Whether two maps are equal to the bit, and go on alike."""
    data = rows(50, seed=5)
    assert one.grid_ == other.grid_
    assert one.history_ == other.history_
    assert one.n_features_in_ == other.n_features_in_
    assert type(one.prototypes_) is type(other.prototypes_)
    for method in ("predict", "transform", "best_units"):
        assert np.array_equal(getattr(one, method)(data), getattr(other, method)(data))
    for name in ("prototypes_", "labels_"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    mine, theirs = one.get_params(), other.get_params()
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert (
            np.array_equal(value, theirs[name])
            if name in ("init", "shape", "radius")
            else str(value) == str(theirs[name])
        )
    one.partial_fit(data)
    other.partial_fit(data)
    assert np.array_equal(one.prototypes_, other.prototypes_)


MAPS = {
    **{name: lambda name=name: fitted(**OPTIONS[name]) for name in OPTIONS},
    "init": lambda: fitted(init=rows(24, seed=2), radius=(2.0, 0.7), epochs=np.int64(4)),
    "tensors": lambda: fitted(gaussian(100, 4)),
    "torch.device": lambda: fitted(device=torch.device("cpu"), random_state=np.int64(7)),
    "auto": lambda: fitted(shape="auto"),
    "list": lambda: fitted(shape=[3, np.int64(5)], radius=[2, 1]),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_map_comes_back_from_its_file(name, tmp_path):
    som = MAPS[name]()
    som.save(tmp_path / "map.safetensors")
    same(SOM.load(str(tmp_path / "map.safetensors")), som)


def test_names_come_back_from_the_file(tmp_path):
    frame = pd.DataFrame(rows(), columns=list("abcd"))
    fitted(frame).save(tmp_path / "map")
    assert SOM.load(tmp_path / "map").feature_names_in_.tolist() == list("abcd")


@pytest.mark.parametrize("name", MAPS)
def test_a_map_can_be_pickled_and_copied(name, tmp_path):
    joblib.dump(MAPS[name](), tmp_path / "map")
    for copied in (
        pickle.loads(pickle.dumps(MAPS[name]())),  # noqa: S301
        copy.deepcopy(MAPS[name]()),
        joblib.load(tmp_path / "map"),
    ):
        same(copied, MAPS[name]())


def test_a_pickled_map_holds_no_rows():
    som = fitted(rows(5000))
    assert len(pickle.dumps(som)) < 60_000
    assert len(pickle.dumps(SOM())) < 1000


def test_a_generator_cannot_be_saved(tmp_path):
    som = fitted(random_state=np.random.RandomState(0))
    with pytest.raises(
        ValueError, match="A SOM can be saved where `random_state` is an integer or None; got a generator"
    ):
        som.save(tmp_path / "map")


def test_a_file_that_is_not_there_or_damaged_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        SOM.load(tmp_path / "none")
    (tmp_path / "map").write_bytes(b"nothing")
    with pytest.raises(CorruptFileError, match="map' is damaged"):
        SOM.load(tmp_path / "map")
    with pytest.raises(StorageError, match="Can't write"):
        fitted().save(tmp_path / "map" / "inside")


@pytest.mark.parametrize("use", ["predict", "transform", "score", "quality", "best_units", "save"])
def test_a_map_must_be_fitted_first(use):
    with pytest.raises(NotFittedError, match="This SOM instance is not fitted yet"):
        getattr(SOM(), use)("anywhere" if use == "save" else rows())
    assert not hasattr(SOM(), "labels_")
    with pytest.raises(AttributeError, match="This SOM has no `labels_` yet; call `fit` first"):
        _ = SOM().labels_


def test_rows_that_were_changed_have_no_labels():
    data = rows().astype(np.float32)
    som = fitted(data)
    data += 1
    for _ in range(2):
        with pytest.raises(
            RuntimeError, match="The rows given to `fit` have been changed since; call `predict` on rows"
        ):
            _ = som.labels_
    assert som.predict(data).shape == (300,)


def test_labels_once_found_stay():
    data = rows().astype(np.float32)
    som = fitted(data)
    labels = som.labels_.copy()
    data += 1
    assert np.array_equal(som.labels_, labels)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (np.full((30, 4), np.nan), {}),
        (rows(1), {}),
        (rows(40, 3), {"shape": (0, 3)}),
        (np.zeros((30, 3)), {"metric": "cosine"}),
        (rows(30, 2), {"init": np.zeros((3, 3))}),
        (pd.DataFrame(rows(30, 2), columns=["a", "b"]), {"epochs": 0}),
    ],
)
def test_a_failed_fit_leaves_a_map_as_it_was(data, options):
    som, untouched = fitted(), fitted()
    params = som.get_params()
    with pytest.raises(ValueError, match=r"."):
        som.set_params(**options).fit(data)
    som.set_params(**params)
    assert vars(som).keys() == vars(untouched).keys()
    same(som, untouched)


BAD_ROWS = [
    (np.array([[0.0, np.nan], [0, 1]]), ValueError, r"Input `X` contains NaN: row 0, column 1"),
    (torch.tensor([[0.0, 1], [torch.inf, 1]]), ValueError, r"Input `X` contains infinity: row 1, column 0"),
    (np.zeros((0, 3)), ValueError, r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required"),
    (torch.zeros(0, 3), ValueError, r"`X` has 0 samples \(rows\); at least one is needed"),
    (np.zeros((1, 3)), ValueError, r"`X` has 1 sample \(n_samples = 1\); a map needs at least 2 rows"),
    ([np.zeros((1, 3))], ValueError, r"`X` has 1 sample"),
    (torch.zeros(3), ValueError, "`X` must be two-dimensional"),
    (np.zeros(3), ValueError, "Expected 2D array, got 1D array instead"),
    (np.zeros((3, 0)), ValueError, "0 feature"),
    (scipy.sparse.csr_matrix(np.eye(3)), TypeError, "Sparse data was passed for X, but dense data is required"),
    (iter([np.eye(3)]), TypeError, "`X` is an iterator, which can be read only once"),
    ([["a", "b"], ["c", "d"]], ValueError, "could not convert string to float|dtype='numeric' is not compatible"),
]


@pytest.mark.parametrize(("data", "error", "text"), BAD_ROWS, ids=[text[:40] for _, _, text in BAD_ROWS])
def test_rows_that_cannot_be_mapped_are_refused(data, error, text):
    with pytest.raises(error, match=text):
        SOM((2, 2)).fit(data)


BAD_OPTIONS = [
    ({"shape": (3,)}, r"`shape` must be 'auto' or the grid's rows and columns, such as \(12, 12\); got \(3,\)"),
    ({"shape": (3, 0)}, r"`shape` must be .*; got \(3, 0\)"),
    ({"shape": (3, 2.0)}, r"`shape` must be .*; got \(3, 2\.0\)"),
    ({"shape": 5}, "`shape` must be 'auto' or the grid's rows and columns, such as .*; got 5"),
    ({"shape": "wide"}, "`shape` must be 'auto' or the grid's rows and columns; got 'wide'"),
    ({"shape": (1, 1)}, "A grid needs at least two units; got 1 x 1"),
    ({"grid": "triangular"}, "A grid's `kind` must be one of hexagonal, rectangular; got 'triangular'"),
    ({"topology": "klein"}, "A grid's `topology` must be one of planar, toroidal; got 'klein'"),
    ({"grid": "hexagonal", "topology": "toroidal", "shape": (3, 4)}, "needs an even number of rows"),
    ({"metric": "manhattan"}, "`metric` must be one of euclidean, cosine; got 'manhattan'"),
    ({"solver": "slow"}, "`solver` must be one of fast, exact; got 'slow'"),
    ({"dtype": "float16"}, "`dtype` must be one of float32, float64; got 'float16'"),
    ({"init": "random"}, "`init` must be pca, sample or an array of prototypes; got 'random'"),
    (
        {"init": np.zeros((3, 4))},
        r"`init` must have shape \(24, 4\) or \(4, 6, 4\), one prototype a unit; got \(3, 4\)",
    ),
    ({"init": np.full((24, 4), np.nan)}, "`init` must hold finite numbers; got NaN or infinity"),
    ({"epochs": 0}, "`epochs` must be an integer of at least 1; got 0"),
    ({"epochs": 2.0}, r"`epochs` must be an integer of at least 1; got 2\.0"),
    ({"epochs": True}, "`epochs` must be an integer of at least 1; got True"),
    ({"radius": 3.0}, r"`radius` must be the first and last radius, .* got 3\.0"),
    ({"radius": (3.0,)}, r"`radius` must be .* got \(3\.0,\)"),
    ({"radius": (3.0, 0.0)}, r"`radius` must be .* got \(3\.0, 0\.0\)"),
    ({"radius": (np.inf, 1.0)}, r"`radius` must be .* got \(inf, 1\.0\)"),
    ({"radius": ("a", 1.0)}, r"`radius` must be .* got \('a', 1\.0\)"),
    ({"random_state": "seed"}, "'seed' cannot be used to seed"),
]


@pytest.mark.parametrize(("options", "text"), BAD_OPTIONS, ids=[str(options) for options, _ in BAD_OPTIONS])
def test_options_that_do_not_exist_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        fitted(**options)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (np.ones(3), r"`sample_weight` must have shape \(300,\), one per row; got \(3,\)"),
        (np.ones((300, 1)), r"`sample_weight` must have shape \(300,\), .* got \(300, 1\)"),
        (np.full(300, -1.0), "`sample_weight` must be finite and not negative"),
        (np.full(300, np.nan), "`sample_weight` must be finite and not negative"),
        (np.zeros(300), "`sample_weight` is zero for every row; at least one row must count"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights, text):
    with pytest.raises(ValueError, match=text):
        SOM((2, 2)).fit(rows(), sample_weight=weights)


def test_weights_do_not_go_with_blocks():
    with pytest.raises(ValueError, match="`sample_weight` goes with rows in one array; got an iterable of blocks"):
        SOM((2, 2)).fit([rows()], sample_weight=np.ones(300))


@pytest.mark.parametrize("many", [0, 25, 2.0, True])
def test_there_are_only_so_many_best_units(many):
    with pytest.raises(ValueError, match=rf"`k` must be an integer in 1 \.\.\. 24, the number of units; got {many}"):
        fitted().best_units(rows(), k=many)


@pytest.mark.parametrize(
    "convert", [np.asarray, torch.from_numpy, lambda data: [data]], ids=["array", "tensor", "blocks"]
)
def test_rows_of_another_width_cannot_be_placed(convert):
    with pytest.raises(ValueError, match="X has 3 features, but SOM is expecting 4 features as input"):
        fitted().predict(convert(rows(5, 3)))


def test_a_row_of_zeros_has_no_direction():
    data = rows()
    data[7] = 0
    with pytest.raises(ValueError, match=r"`X` has a row of zeros, which has no direction: metric='cosine'"):
        fitted(data, metric="cosine")


SAME_ROWS = {
    "float32": lambda data: data.astype(np.float32),
    "float16": lambda data: data.astype(np.float16),
    "integers": lambda data: data.astype(np.int64),
    "bytes": lambda data: data.astype(np.uint8),
    "fortran": np.asfortranarray,
    "every second": lambda data: np.repeat(data, 2, 0)[::2],
    "lists": lambda data: data.tolist(),
    "frame": pd.DataFrame,
    "tensor": torch.from_numpy,
    "half tensor": lambda data: torch.from_numpy(data).half(),
    "large endian": lambda data: data.astype(">f8"),
}


@pytest.mark.parametrize("kind", SAME_ROWS)
def test_the_same_numbers_give_the_same_map(kind):
    som = fitted(SAME_ROWS[kind](DIGITS))
    np.testing.assert_allclose(som.prototypes_, fitted(DIGITS).prototypes_, atol=1e-2)
    assert som.predict(SAME_ROWS[kind](DIGITS)).tolist() == list(som.labels_)


@pytest.mark.parametrize("solver", ["exact", "fast"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e30, 1e-30, 1.0])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_data_of_any_size_fit(solver, dtype, scale, metric, always_fast):
    small = rows(400).astype(dtype)
    large = small * small.dtype.type(scale)
    one, other = (fitted(data, solver=solver, dtype=dtype, metric=metric) for data in (small, large))
    factor = scale if metric == "euclidean" else 1
    np.testing.assert_allclose(other.prototypes_ / factor, one.prototypes_, atol=5e-2 if solver == "fast" else 1e-3)
    assert other.score(large) == pytest.approx(one.score(small) * factor, rel=1e-2)
    assert np.isfinite(other.transform(large)).all()
    variance = one.quality(small).explained_variance
    assert other.quality(large).explained_variance == pytest.approx(variance, abs=0.01)


@pytest.mark.parametrize(("size", "scale"), [(1.0, 1.0), (20.0, 1.0), (1e-5, 1.0), (1e8, 2.0**28), (1e-8, 2.0**-25)])
def test_rows_are_scaled_by_a_power_of_two_where_their_squares_might_not_fit(size, scale):
    assert SOM((3, 4)).fit(np.random.default_rng(0).normal(size=(300, 5)) * size)._space.scale == scale


@pytest.mark.parametrize("offset", [1e4, 1e6, -1e6])
def test_large_offsets_cost_no_precision_in_float32(offset):
    data = (rows() * 64).astype(np.float32)
    shifted = data + np.float32(offset)
    plain, moved = fitted(shifted.astype(np.float64) - offset), fitted(shifted)
    np.testing.assert_allclose(moved.prototypes_ - np.float32(offset), plain.prototypes_, atol=0.3)
    assert np.mean(moved.labels_ == plain.labels_) > 0.98


@pytest.mark.parametrize(
    "data",
    [rows(300, 1), rows() * [1, 0, 1, 0] + 3, np.full((50, 3), 0.1), np.zeros((50, 2)), rows(2), rows(5), np.eye(2)],
    ids=["one column", "constant columns", "all equal", "all zero", "two rows", "fewer rows than units", "eye"],
)
@pytest.mark.parametrize("init", ["pca", "sample"])
@pytest.mark.parametrize("shape", [(4, 6), "auto"])
def test_poor_rows_still_get_a_map(data, init, shape):
    som = SOM(shape, init=init).fit(data)
    assert np.isfinite(som.prototypes_).all()
    assert som.prototypes_.shape == (len(som.grid_), data.shape[1])
    assert np.ptp(som.prototypes_, axis=0) == pytest.approx(0, abs=np.ptp(data, axis=0).max() + 1e-6)
    assert -som.score(data) <= np.linalg.norm(data - data.mean(0), axis=1).mean() + 1e-5
    assert len(som.labels_) == len(data)


@few
@given(st.integers(0, 10**6), st.sampled_from(list(OPTIONS)))
def test_a_prototype_is_its_own_best_unit(seed, name):
    som = SOM((2, 3), **OPTIONS[name]).fit(rows(60, seed=seed))
    assert som.predict(som.prototypes_).tolist() == list(range(6))
    assert som.score(som.prototypes_) == pytest.approx(0, abs=1e-5)


@few
@given(st.integers(0, 10**6))
def test_the_order_of_rows_does_not_matter(seed):
    data, start = rows(80, seed=seed), rows(24, seed=seed + 1)
    order = np.random.default_rng(seed).permutation(80)
    one, other = (fitted(given, solver="exact", dtype="float64", init=start) for given in (data, data[order]))
    np.testing.assert_allclose(one.prototypes_, other.prototypes_, atol=1e-9)
    assert one.labels_[order].tolist() == other.labels_.tolist()


@few
@given(st.integers(0, 10**6), st.floats(-100, 100), st.floats(0.01, 100), st.sampled_from(["pca", "sample"]))
def test_a_shift_and_a_scale_go_through(seed, shift, scale, init):
    data = rows(80, seed=seed)
    one, other = (fitted(given, solver="exact", dtype="float64", init=init) for given in (data, scale * data + shift))
    np.testing.assert_allclose(other.prototypes_, scale * one.prototypes_ + shift, rtol=1e-6, atol=1e-6 * scale)
    assert other.score(scale * data + shift) == pytest.approx(scale * one.score(data), rel=1e-6)


@pytest.mark.parametrize(("shift", "scale"), [(7.0, 1.0), (0.0, 4.0), (-30.0, 3.0)])
def test_a_shift_and_a_scale_go_through_the_fast_solver(shift, scale, always_fast):
    data = rows(2000)
    one, other = fitted(data, shape=(8, 8)), fitted(scale * data + shift, shape=(8, 8))
    assert other.score(scale * data + shift) == pytest.approx(scale * one.score(data), rel=0.02)
    np.testing.assert_allclose(other.prototypes_, scale * one.prototypes_ + shift, atol=0.5 * scale)


def test_clones_and_repeats_are_equal():
    som = fitted(random_state=3)
    assert np.array_equal(clone(som).fit(rows()).prototypes_, som.prototypes_)
    assert np.array_equal(som.fit(rows()).prototypes_, clone(som).fit(rows()).prototypes_)


def test_seeds_decide_what_is_drawn():
    one, again, other = (fitted(init="sample", epochs=2, random_state=seed).prototypes_ for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other, atol=1e-3)


def test_the_default_radius_falls_from_a_quarter_of_the_longer_side():
    for shape, start in [((4, 24), 6.0), ((2, 3), 1.0), ((20, 3), 5.0)]:
        history = fitted(shape=shape).history_
        assert history[0].radius == pytest.approx(start)
        assert history[-1].radius == pytest.approx(0.6)
        assert len(history) == 20
    assert [epoch.radius for epoch in fitted(radius=(4, 1), epochs=3).history_] == pytest.approx([4, 2, 1])


def test_an_array_to_start_from_may_have_the_grids_shape():
    start = rows(24, seed=3)
    flat, grid, nested = (
        fitted(init=given).prototypes_ for given in (start, start.reshape(4, 6, 4), torch.from_numpy(start))
    )
    assert np.array_equal(flat, grid)
    assert np.array_equal(flat, nested)
    assert not np.allclose(flat, fitted().prototypes_, atol=1e-3)


def test_the_first_prototypes_lie_on_the_principal_plane():
    data = rows(2000) @ np.linalg.qr(gaussian(4, 4).double().numpy())[0]
    first = initial_plane(estimator.rows_of(data), Grid(4, 6, "rectangular"), seed=0).numpy() - data.mean(0)
    values, axes = np.linalg.eigh(np.cov(data.T, bias=True))
    along = first @ axes[:, ::-1]
    np.testing.assert_allclose(np.abs(along[:, :2]).max(0), 2 * np.sqrt(values[:1:-1]), rtol=1e-3)
    np.testing.assert_allclose(along[:, 2:], 0, atol=1e-3)


@pytest.mark.parametrize("show", [True, False])
def test_progress_is_shown_where_it_is_asked_for(show, capsys):
    fitted(show_progress=show)
    assert ("training a map" in capsys.readouterr().err) == show


def test_unit_prototypes_have_length_one_for_cosine(always_fast):
    for solver in ("exact", "fast"):
        som = fitted(rows(400), metric="cosine", solver=solver)
        np.testing.assert_allclose(np.linalg.norm(som.prototypes_, axis=1), 1, atol=1e-5)
        assert np.array_equal(som.predict(rows(400) * 100), som.predict(rows(400)))


def test_another_fit_forgets_the_names_of_the_first():
    som = fitted(pd.DataFrame(rows(), columns=list("abcd"))).fit(gaussian(60, 5))
    assert not hasattr(som, "feature_names_in_")
    assert som.n_features_in_ == 5
    assert som.predict(gaussian(9, 5)).shape == (9,)


def test_columns_are_named_by_text_alone():
    som, untouched = fitted(), fitted()
    with pytest.raises(TypeError, match="Feature names are only supported if all input features have string names"):
        som.fit(pd.DataFrame(rows(50, 2), columns=["a", 1]))
    same(som, untouched)


@pytest.mark.parametrize("dump", [pickle.dumps, copy.deepcopy, None], ids=["pickle", "deepcopy", "save"])
def test_a_map_of_rows_that_have_changed_is_kept_without_labels(dump, tmp_path):
    data = rows(200)
    som = SOM((3, 4)).fit(data)
    expected = som.predict(data)
    data += 1
    if dump is None:
        som.save(tmp_path / "map.safetensors")
        kept = SOM.load(tmp_path / "map.safetensors")
    else:
        kept = pickle.loads(dump(som)) if dump is pickle.dumps else dump(som)  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(kept.predict(data - 1), expected)
    with pytest.raises(AttributeError, match=r"This SOM was saved without `labels_`: its rows had been changed"):
        _ = kept.labels_


def test_labels_after_partial_fit_are_those_of_the_rows_as_they_were():
    buffer = rows(100, seed=1)
    som = SOM((3, 4)).fit(rows(200)).partial_fit(buffer)
    expected = som.predict(buffer.copy())
    buffer[:] = 0
    np.testing.assert_array_equal(som.labels_, expected)


def test_another_file_of_ours_is_no_map(tmp_path):
    save_tensors(tmp_path / "other.safetensors", {"prototypes": torch.zeros(2, 2)}, {"grid": {}})
    with pytest.raises(CorruptFileError, match=r"is no SOM that this version saved; fit and save it again"):
        SOM.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize("radius", [(2.0, 3.0), (2.0,), (0.0, 0.0), "wide"])
def test_a_radius_that_grows_is_refused(radius):
    with pytest.raises(ValueError, match=r"`radius` must be the first and last radius, two numbers above 0"):
        SOM((3, 3), radius=radius).fit(rows(50))


@pytest.mark.parametrize("radius", [np.array([2, 0.5]), (np.int64(2), 0.5)], ids=["array", "numpy number"])
def test_a_radius_may_be_numpy_s(radius):
    np.testing.assert_array_equal(
        SOM((3, 3), radius=radius).fit(rows(50)).prototypes_, SOM((3, 3), radius=(2, 0.5)).fit(rows(50)).prototypes_
    )


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_rows_of_any_float64_size_are_mapped_alike(scale):
    data = np.random.default_rng(0).normal(size=(200, 4))
    one, other = SOM((3, 4)).fit(data), SOM((3, 4)).fit(data * scale)
    np.testing.assert_allclose(other.prototypes_ / scale, one.prototypes_, atol=1e-3)


def test_nan_is_named_with_its_own_row_where_rows_are_sampled(always_fast):
    data = np.random.default_rng(0).normal(size=(9000, 3)).astype(np.float32)
    data[8000, 1] = np.nan
    for seed in range(4):
        with pytest.raises(ValueError, match=r"contains NaN: row 8000, column 1"):
            SOM((20, 20), random_state=seed).fit(data)


def test_gradients_are_left_out():
    data = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    plain = SOM((3, 3)).fit(data.detach()).prototypes_
    assert torch.equal(SOM((3, 3)).fit(data).prototypes_, plain)
    assert torch.equal(SOM((3, 3)).fit([data[:30], data[30:]]).prototypes_, plain)
