"""`SOM`: a self-organizing map as a scikit-learn estimator."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from layerscope.errors import CorruptFileError
from layerscope.progress import bar
from layerscope.som.fast import SAMPLE, geometric, pays, solve_fast
from layerscope.som.grid import Grid
from layerscope.som.options import check_options, given_prototypes, plain
from layerscope.som.quality import Quality, code_agreement, measure, topographic_product, trustworthiness
from layerscope.som.rows import Rows, held, is_blocks, rows_of, weights_of
from layerscope.som.search import Search
from layerscope.som.shape import suitable_grid
from layerscope.som.space import Space
from layerscope.som.train import Epoch, initial_plane, means, tallied, train
from layerscope.store import load_header, load_tensors, save_tensors
from layerscope.threads import one_thread
from layerscope.types import Prototypes, Vectors

SMALL = 5 * 10**7
"""Multiplications of an epoch up to which two threads are hardly faster than one, and on a busy machine far slower."""
END_RADIUS = 0.6
"""In grid steps; smaller explains more variance at the cost of neighbourhoods."""
JUDGED = 2000
"""Rows that trustworthiness is taken on, at most: its cost grows with their square."""
SCHEMA = 1


class SOM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A self-organizing map (Kohonen 2001): a grid of units whose prototypes follow the data.

    Near units of the grid get similar prototypes, so that the grid is a map of the data; a row's best matching unit
    (BMU), the unit whose prototype is nearest, is its place on the map. Training follows the batch rule: each row goes
    to its BMU, and each prototype becomes the mean of all rows, weighted by a Gaussian of the grid distance between
    its unit and theirs, whose radius shrinks from epoch to epoch.

    Rows may be a numpy array, a memmap, a list of lists, a data frame, a tensor on any device, or an iterable of
    blocks (arrays or tensors of some rows each) that can be read again and again, such as a recording's shards. Arrays
    go in and come out as arrays, tensors as tensors on their device. Rows need not be scaled; features with larger
    numbers weigh more, as in every distance.

    Memory beyond the rows: `exact` holds some blocks of 1,024 rows and a few K x d tables; `fast` also what
    `layerscope.som.fast.solve_fast` says: mostly 4 bytes per row and direction that it compares distances along. With
    rows on disk that is all. Blocks must come with the same rows in the same order each time.

    Args:
        shape: rows and columns of the grid, or `auto`: about 5 sqrt(n) units, the sides as the rows' two largest
            principal deviations (Vesanto et al. 2000, SOM Toolbox).
        grid: `rectangular` (eight neighbours) or `hexagonal` (six).
        topology: `planar`, or `toroidal`: no borders.
        metric: `euclidean`, or `cosine`: rows and prototypes are brought to length one.
        init: `pca`: the plane of the two leading principal directions; `sample`: rows drawn by chance; or an array
            (K, d) or (h, w, d). The fast solver also tries other starts on a coarse grid, unless given an array.
        solver: `exact`: the plain rule, every epoch on all rows. `fast`: the same map or a better one from a fraction
            of the work (`layerscope.som.fast`); where an epoch of the plain rule costs next to nothing, and with
            `sample_weight`, it is that.
        radius: the Gaussian's standard deviation in the first and last epoch, in grid steps; by default a quarter of
            the grid's longer side (1 at least) and 0.6. The end trades explained variance against topographic error.
        epochs: in which the radius falls geometrically. The fast solver runs those with a radius up to 2.5 on the full
            grid, and trains coarser grids before in place of the others.
        random_state: of what is drawn by chance: an integer gives the same map each time, on a CPU for any number of
            threads (a GPU adds in no fixed order).
        device: where to compute; by default where the rows are; CPU or CUDA.
        dtype: what to compute in, `float32` or `float64`. Data of any size fit into float32: they are scaled where
            they need it.
        show_progress: whether to draw a progress bar.

    Attributes:
        prototypes_: (K, d), unit by unit along the grid's rows, in the units of the data.
        grid_: the grid.
        labels_: (n,), each training row's BMU.
        history_: radius, units, rows and explained variance of each epoch.
        n_features_in_: d.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X = load_digits().data
        >>> som = SOM(shape=(12, 12)).fit(X)
        >>> som.predict(X[:3]).shape, som.transform(X[:3]).shape
        ((3,), (3, 144))
    """

    def __init__(
        self,
        shape: Any = "auto",
        grid: Any = "rectangular",
        topology: Any = "planar",
        metric: Any = "euclidean",
        init: Any = "pca",
        solver: Any = "fast",
        radius: Any = None,
        epochs: Any = 20,
        random_state: Any = 0,
        device: Any = None,
        dtype: Any = "float32",
        show_progress: Any = False,
    ) -> None:
        self.shape = shape
        self.grid = grid
        self.topology = topology
        self.metric = metric
        self.init = init
        self.solver = solver
        self.radius = radius
        self.epochs = epochs
        self.random_state = random_state
        self.device = device
        self.dtype = dtype
        self.show_progress = show_progress

    def fit(self, X: Any, y: object = None, sample_weight: Any = None) -> "SOM":  # noqa: N803, ARG002 - scikit-learn's
        """Train a map on rows.

        Args:
            X: (n, d), n >= 2, or an iterable of such blocks.
            y: not used.
            sample_weight: (n,), how often each row counts, also toward the units of `auto`; not for
                iterables of blocks.

        Raises:
            ValueError: if an option or a row can't be used; the text says which, and what to do. A map that was fitted
                before stays.
            TypeError: if `X` is sparse or can be read only once.
        """
        rows, tensors = self._rows(X, sample_weight, reset=True)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        check_options(self.metric, self.solver, self.dtype, self.init, self.radius, self.epochs)
        sample = rows.sample(SAMPLE, seed=seed)
        count = rows.count
        assert count is not None
        if count < 2:
            raise ValueError("`X` has 1 sample (n_samples = 1); a map needs at least 2 rows.")
        grid = self._grid(rows, sample)
        initial = None if isinstance(self.init, str) else given_prototypes(self.init, grid, rows.width)
        start, end = self._radii(grid)
        dtype = getattr(torch, self.dtype)
        if self.metric == "cosine":
            space = Space.sphere(rows.width, dtype=dtype, device=sample.device)
        else:
            space = Space.around(held(sample), dtype=dtype)
        quick = self.solver == "fast" and rows.weights is None and pays(count, len(grid), space.enter(sample))
        if not quick and self.metric != "cosine":
            space = Space.around(rows, dtype=dtype)
        rows = rows.after(space.enter)
        initial = None if initial is None else space.enter(initial.to(sample.device))
        with (
            one_thread(where=count * len(grid) * rows.width <= SMALL),
            bar("training a map", 4 if quick else int(self.epochs), show=bool(self.show_progress)) as progress,
        ):
            if quick:
                solved = solve_fast(
                    rows,
                    space.enter(sample),
                    grid,
                    initial=initial,
                    radius=(start, end),
                    epochs=int(self.epochs),
                    seed=seed,
                    from_plane=isinstance(self.init, str) and self.init == "pca",
                    unit_length=space.unit_length,
                    advance=progress.advance,
                )
            else:
                near = rows.at_hand()
                if initial is None:
                    start_from = _drawn if self.init == "sample" else initial_plane
                    initial = start_from(near, grid, seed=seed)
                radii = geometric(start, end, int(self.epochs))
                solved = train(near, grid, initial, radii, unit_length=space.unit_length, advance=progress.advance)
        validate_data(self, X, reset=True, skip_check_array=True)
        self.n_features_in_ = rows.width
        self._tensors = tensors
        self._keep(solved.prototypes, grid, space)
        self._sums, self._counts = solved.tally.sums, solved.tally.counts
        self.history_ = list(solved.history)
        self._unlabel(rows, (seed, sample))
        return self

    def partial_fit(self, X: Any, y: object = None, sample_weight: Any = None) -> "SOM":  # noqa: N803, ARG002
        """Let more rows move the map: each counts as much as each row before, and the radius stays at its end.

        The first call is `fit` on its rows. Give it enough of them to shape the map: later rows move prototypes, but
        seldom unfold a map.

        Args:
            X: (n, d), or an iterable of such blocks.
            y: not used.
            sample_weight: (n,), how often each row counts.

        Raises:
            ValueError: as `fit`, and where `X` has another number of features than before.
        """
        if not hasattr(self, "prototypes_"):
            return self.fit(X, sample_weight=sample_weight)
        rows, _ = self._rows(X, sample_weight, reset=False)
        here = self._prototypes.device
        if rows.weights is not None:
            rows.weights = rows.weights.to(here)
        rows = rows.after(lambda block: self._space.enter(block.to(here)))
        tally, _, _ = tallied(rows, self._prototypes)
        tally.include(self._sums, self._counts)
        prototypes = means(
            tally, self.grid_, self._radii(self.grid_)[1], self._prototypes, unit_length=self._space.unit_length
        )
        self._keep(prototypes, self.grid_, self._space)
        self._sums, self._counts = tally.sums, tally.counts
        self._unlabel(rows, None)
        self._found_labels()
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803
        """(n,): each row's best matching unit."""
        return self.best_units(X, k=1)[:, 0]

    def best_units(self, X: Any, k: Any = 2) -> Any:  # noqa: N803
        """(n, k): each row's k nearest units, nearest first.

        Raises:
            ValueError: if `k` is not in 1 ... K, or `X` can't be placed.
        """
        rows, tensors, device = self._fitted_rows(X)
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= len(self.grid_):
            raise ValueError(f"`k` must be an integer in 1 ... {len(self.grid_)}, the number of units; got {k!r}.")
        search = Search(self._prototypes)
        units = torch.cat([search.best_few(block, int(k)) for block in rows])
        return units.to(device) if tensors else units.cpu().numpy()

    def transform(self, X: Any) -> Any:  # noqa: N803
        """(n, K): the distance from each row to every unit's prototype; for cosine 1 - cos, in [0, 2]."""
        rows, tensors, device = self._fitted_rows(X)
        dtype = torch.float64 if getattr(X, "dtype", None) in (torch.float64, np.float64) else None
        found = []
        for block in rows:
            apart = self._space.distances(block, self._prototypes)
            found.append(apart.to(dtype or self._space.leave(self._prototypes[:1]).dtype))
        distances = torch.cat(found)
        return distances.to(device) if tensors else distances.cpu().numpy()

    def score(self, X: Any, y: object = None) -> float:  # noqa: N803, ARG002
        """The negative quantization error: minus the mean distance from a row to its unit's prototype."""
        rows, _, _ = self._fitted_rows(X)
        search, total, count = Search(self._prototypes), 0.0, 0
        for block in rows:
            own = self._prototypes[search.best(block)]
            total, count = total + float(self._space.own_distances(block, own).sum()), count + len(block)
        return -total / count

    def quality(self, X: Any, *, neighbours: int = 5) -> Quality:  # noqa: N803
        """How well the map stands for these rows.

        Args:
            X: (n, d), or an iterable of such blocks; rows that the map wasn't trained on judge it best.
            neighbours: of trustworthiness, which is taken on up to 2,000 of the rows.

        Raises:
            ValueError: if `X` can't be placed, or `neighbours` is not less than half of its rows.
        """
        rows, _, _ = self._fitted_rows(X)
        fit = measure(rows, self._prototypes, self.grid_, distances=self._space.own_distances)
        some = rows.sample(JUDGED, seed=0)
        trust = trustworthiness(some, Search(self._prototypes).best(some), self.grid_, neighbours=neighbours)
        return Quality(
            quantization_error=fit.quantization_error,
            explained_variance=fit.explained_variance,
            topographic_error=fit.topographic_error,
            trustworthiness=trust,
            topographic_product=topographic_product(self._prototypes, self.grid_),
            dead_units=int((fit.hits == 0).sum()),
        )

    @property
    def labels_(self) -> Any:
        """(n,): the BMU of each row that the map was last given to learn from, as `predict` finds it.

        After `fit` they are found when first asked for; until then the map keeps a reference to the rows.

        Raises:
            AttributeError: if there is no map yet, or it was saved when the rows had been changed.
            RuntimeError: if the rows have been changed meanwhile, as far as a sample of 2,560 of them tells.
        """
        if "prototypes_" not in vars(self):
            raise AttributeError("This SOM has no `labels_` yet; call `fit` first.")
        if self._labels is None and self._unlabelled is None:
            raise AttributeError("This SOM was saved without `labels_`: its rows had been changed. Call `predict`.")
        labels = self._found_labels()
        return labels if self._tensors else labels.cpu().numpy()

    def save(self, path: Path | str) -> None:
        """Write the whole estimator to one safetensors file.

        Raises:
            ValueError: if `random_state` is a generator, which has no lasting form.
            StorageError: if the file can't be written.
        """
        check_is_fitted(self)
        labels = self._labels_if_any()
        options = {name: value for name, value in self.get_params().items() if name != "init"}
        if not isinstance(options["random_state"], int | np.integer | None):
            raise ValueError("A SOM can be saved where `random_state` is an integer or None; got a generator.")
        options["device"] = None if options["device"] is None else str(options["device"])
        tensors = {"prototypes": self._prototypes, "offset": self._space.offset}
        tensors |= {"sums": self._sums, "counts": self._counts} | ({} if labels is None else {"labels": labels})
        if isinstance(self.init, str):
            options["init"] = self.init
        else:
            tensors["init"] = torch.as_tensor(self.init)
        header = {
            "schema": SCHEMA,
            "kind": "som",
            "options": {name: plain(value) for name, value in options.items()},
            "grid": asdict(self.grid_),
            "scale": self._space.scale,
            "unit_length": self._space.unit_length,
            "history": self.history_,
            "tensors": self._tensors,
            "names": list(getattr(self, "feature_names_in_", [])),
        }
        save_tensors(Path(path), tensors, header)

    @classmethod
    def load(cls, path: Path | str) -> "SOM":
        """An estimator that `save` wrote.

        Raises:
            FileNotFoundError: if there is no file.
            CorruptFileError: if it is not what was written.
        """
        header, tensors = load_header(Path(path)), load_tensors(Path(path))
        if header.get("schema") != SCHEMA or header.get("kind") != "som":
            raise CorruptFileError(f"'{path}' is no SOM that this version saved; fit and save it again.")
        options = header["options"]
        for pair in ("shape", "radius"):
            options[pair] = tuple(options[pair]) if isinstance(options[pair], list) else options[pair]
        init = tensors["init"].numpy() if "init" in tensors else options.pop("init")
        som = cls(init=init, **options)
        dtype = getattr(torch, som.dtype)
        space = Space(tensors["offset"], header["scale"], unit_length=header["unit_length"], dtype=dtype)
        som.n_features_in_ = tensors["prototypes"].shape[1]
        if header["names"]:
            som.feature_names_in_ = np.array(header["names"], dtype=object)
        som._tensors = header["tensors"]
        som._keep(tensors["prototypes"], Grid(**header["grid"]), space)
        som._sums, som._counts = tensors["sums"], tensors["counts"]
        som._unlabel(None, None)
        som._labels = tensors.get("labels")
        som.history_ = [Epoch(*epoch) for epoch in header["history"]]
        return som

    def __getstate__(self) -> dict[str, Any]:
        """The whole state; labels are found first where they can be, and no rows go with it."""
        if "prototypes_" not in vars(self):
            return dict(super().__getstate__())
        labels = self._labels_if_any()
        return dict(super().__getstate__()) | {"_unlabelled": None, "_known": None, "_labels": labels}

    def __sklearn_tags__(self) -> Tags:
        """What scikit-learn should know."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.grid_)

    def _unlabel(self, rows: Rows | None, known: tuple[int, Tensor] | None) -> None:
        """Remember the rows to label when labels are asked for, and a sample of them as they are now."""
        self._unlabelled, self._known = rows, known
        self._labels: Tensor | None = None

    def _found_labels(self) -> Tensor:
        if self._labels is None:
            assert self._unlabelled is not None
            rows = self._unlabelled
            if self._known is not None:
                seed, sample = self._known
                if not torch.equal(rows.sample(SAMPLE, seed=seed), self._space.enter(sample)):
                    raise RuntimeError("The rows given to `fit` have been changed since; call `predict` on rows.")
                self._known = None
            search = Search(self._prototypes)
            self._labels, self._unlabelled = torch.cat([search.best(block) for block in rows]), None
        return self._labels

    def _labels_if_any(self) -> Tensor | None:
        """The labels, unless the rows are gone or have been changed."""
        if self._labels is None and self._unlabelled is not None:
            with suppress(RuntimeError, OSError):
                return self._found_labels()
        return self._labels

    def _keep(self, prototypes: Prototypes, grid: Grid, space: Space) -> None:
        self._prototypes, self._space, self.grid_ = prototypes, space, grid
        outside = space.leave(prototypes)
        self.prototypes_ = outside if self._tensors else outside.cpu().numpy()

    def _rows(self, source: Any, sample_weight: Any, *, reset: bool) -> tuple[Rows, bool]:
        """Rows of whatever was given, and whether tensors should come out."""
        if is_blocks(source):
            rows = rows_of(source, self.device)
            tensors = isinstance(next(iter(source)), Tensor)
        elif isinstance(source, Tensor):
            rows, tensors = rows_of(source.detach(), self.device), True
        else:
            if reset:
                source = check_array(source, ensure_all_finite=False, dtype="numeric", estimator=self, input_name="X")
            else:
                source = validate_data(self, source, reset=False, ensure_all_finite=False, dtype="numeric")
            rows, tensors = rows_of(source, self.device), False
        if not reset and rows.width != self.n_features_in_:
            raise ValueError(
                f"X has {rows.width} features, but SOM is expecting {self.n_features_in_} features as input."
            )
        if sample_weight is not None:
            device = self.device or (source.device if isinstance(source, Tensor) else "cpu")
            rows.weights = weights_of(sample_weight, rows).to(device)
        return rows, tensors

    def _fitted_rows(self, source: Any) -> tuple[Rows, bool, Any]:
        """Rows in the map's space, whether tensors should come out, and on which device."""
        check_is_fitted(self)
        rows, tensors = self._rows(source, None, reset=False)
        device = source.device if isinstance(source, Tensor) else self._prototypes.device
        here = self._prototypes.device
        return rows.after(lambda block: self._space.enter(block.to(here))), tensors, device

    def _radii(self, grid: Grid) -> tuple[float, float]:
        if self.radius is not None:
            first, last = self.radius
            return float(first), float(last)
        return max(grid.rows, grid.columns, 4) / 4, END_RADIUS

    def _grid(self, rows: Rows, sample: Vectors) -> Grid:
        """The grid asked for, or one that suits the rows."""
        if not isinstance(self.shape, str):
            sides = tuple(self.shape) if isinstance(self.shape, Iterable) else ()
            if len(sides) != 2 or not all(isinstance(side, int | np.integer) and side > 0 for side in sides):
                raise ValueError(
                    f"`shape` must be 'auto' or the grid's rows and columns, such as (12, 12); got {self.shape!r}."
                )
            return Grid(int(sides[0]), int(sides[1]), self.grid, self.topology)
        if self.shape != "auto":
            raise ValueError(f"`shape` must be 'auto' or the grid's rows and columns; got {self.shape!r}.")
        return suitable_grid(rows, sample, self.grid, self.topology)


def stability(maps: Sequence[SOM], X: Any) -> float:  # noqa: N803
    """Whether maps, say of several seeds, agree on which rows are neighbours: 1 if they all do, 0 as by chance.

    Args:
        maps: two or more fitted maps; their grids may differ.
        X: (n, d), rows.

    Raises:
        ValueError: if there are fewer than two maps.
    """
    return code_agreement([(torch.as_tensor(som.predict(X)), som.grid_) for som in maps])


def _drawn(rows: Rows, grid: Grid, seed: int) -> Prototypes:
    """Rows drawn by chance, one per unit, again from the first where there are fewer."""
    drawn = rows.sample(len(grid), seed=seed)
    drawn = drawn[torch.randperm(len(drawn), generator=torch.Generator().manual_seed(seed)).to(drawn.device)]
    return drawn[torch.arange(len(grid), device=drawn.device) % len(drawn)]
