"""How a perturbation travels, on samples in a lattice where every flip, step, shift and gap is known."""

from math import hypot, log2, sqrt

import pytest
import torch
from handmade import Moved, gaussian, linear, recorded, whole_numbers
from references.stats import centred_interval, lower_median, repeated
from scipy.stats import binomtest

from layerscope.atlas import Atlas
from layerscope.codes import Coded, encode
from layerscope.flow import flow
from layerscope.network import Network
from layerscope.recording import record
from layerscope.results import select, table
from layerscope.som import Grid, Map
from layerscope.sources import load_data
from layerscope.stats import resample

ROWS, DRAWS = 6, 60
PLACES = torch.tensor([[3.0 * column, float(row)] for row in range(ROWS) for column in range(2)])
LABELS = torch.arange(2 * ROWS) % 2
"""Class 0 in the left column, class 1 three to the right: every gap is 3."""
STEPS = [0, 0, 1, 1, 2, 2, 0, 1, -1, 1, -4, 0]
"""How many rows each sample is moved up."""
STRETCH = torch.tensor([0.5, 2.0])
"""The first layer halves the gaps and doubles the moves."""


def lattice_map(stretch, scale=(1.0, 1.0)):
    """A unit for each sample, in its place: codes are places."""
    scale = torch.tensor(scale)
    return Map(Grid(ROWS, 2, "rectangular"), PLACES * stretch / scale, torch.zeros(2), scale, ())


def coded(folder, labels=LABELS, by=None, condition="clean", scale=(1.0, 1.0)):
    """The lattice's samples, moved, with the first layer's map in units of `scale`."""
    network = linear(torch.diag(STRETCH), torch.diag(1 / STRETCH))
    recording = recorded(
        folder, network, PLACES, labels, condition=condition, perturb=None if by is None else Moved(by)
    )
    stretches = (torch.ones(2), STRETCH, torch.ones(2), torch.ones(2))
    scales = ((1.0, 1.0), scale, (1.0, 1.0), (1.0, 1.0))
    maps = {layer: lattice_map(*both) for layer, *both in zip(recording.layers, stretches, scales, strict=True)}
    atlas = Atlas(maps)
    return Coded(recording, atlas, encode(recording, atlas))


def followed(tmp_path, by, **options):
    clean = coded(tmp_path / "clean", **options)
    moved = coded(tmp_path / "moved", by=by, condition="moved", **options)
    found = flow(clean, [(moved.recording, moved.codes)], draws=DRAWS, show_progress=False)
    return table(found)


def row(results, measure, layer):
    found = select(results, measure=measure, layer=layer)
    assert len(found) == 1
    return found.iloc[0]


UP = tuple((0.0, float(step)) for step in STEPS)
ENDS = [min(max(index // 2 + step, 0), ROWS - 1) for index, step in enumerate(STEPS)]
TRAVELLED = [abs(end - index // 2) for index, end in enumerate(ENDS)]


@pytest.mark.parametrize("layer", ["input", "0", "1", "logits"])
def test_flips_are_counted(tmp_path, layer):
    found = row(followed(tmp_path, UP), "flip_rate", layer)
    flips = sum(step > 0 for step in TRAVELLED)
    expected = binomtest(flips, 12).proportion_ci(method="wilson")
    assert 0 < flips < 12
    assert (found["value"], found["low"], found["high"]) == pytest.approx((flips / 12, expected.low, expected.high))


@pytest.mark.parametrize("layer", ["input", "0", "1", "logits"])
def test_steps_on_the_map_are_averaged(tmp_path, layer):
    found = row(followed(tmp_path, UP), "grid_shift", layer)
    value = sum(TRAVELLED) / 12
    drawn = [sum(repeated(TRAVELLED, counts)) / 12 for counts in resample(12, DRAWS, seed=0)]
    low, high = centred_interval(value, drawn)
    assert low < value < high
    assert (found["value"], found["low"], found["high"]) == pytest.approx((value, low, high), abs=1e-6)


@pytest.mark.parametrize(("layer", "gap", "stretch"), [("input", 3.0, 1.0), ("0", 1.5, 2.0), ("logits", 3.0, 1.0)])
def test_the_shift_over_the_gap_is_the_median_over_samples(tmp_path, layer, gap, stretch):
    found = row(followed(tmp_path, UP), "shift_over_gap", layer)
    ratios = [abs(step) * stretch / gap for step in STEPS]
    value = lower_median(ratios)
    drawn = [lower_median(repeated(ratios, counts)) for counts in resample(12, DRAWS, seed=0)]
    low, high = centred_interval(value, drawn)
    assert value > 0
    assert (found["value"], found["low"], found["high"]) == pytest.approx((value, low, high), abs=1e-6)


def test_shifts_and_gaps_are_taken_as_the_map_sees_the_layer(tmp_path):
    found = row(followed(tmp_path, ((0.0, 1.0),) * 12, scale=(0.25, 8.0)), "shift_over_gap", "0")
    # the gap of 1.5 becomes 6, but the nearest sample of the other class stays in the row; the shift of 2 becomes 0.25
    assert found["value"] == pytest.approx(0.25 / 6)


ASIDE = (
    (3.0, 0.0), (0.0, 0.0), (1.0, 1.0), (0.0, 2.0), (2.0, -1.0), (0.0, 0.0),
    (-1.0, 0.5), (0.0, -1.0), (4.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1.0, 2.0),
)  # fmt: skip
"""How far each sample is moved to the right and up; three are not."""


def spread_of(right, up):
    """Of the lattice, whose columns stand 3 apart and whose six rows 1, when stretched."""
    return sqrt((3 * right) ** 2 / 4 + up**2 * 35 / 12)


@pytest.mark.parametrize(
    ("layer", "right", "up", "scale"),
    [
        ("input", 1.0, 1.0, (1.0, 1.0)),
        ("0", 0.5, 2.0, (1.0, 1.0)),
        ("0", 2.0, 0.25, (0.25, 8.0)),
        ("1", 1.0, 1.0, (1.0, 1.0)),
        ("logits", 1.0, 1.0, (1.0, 1.0)),
    ],
)
def test_amplification_is_the_shift_over_that_at_the_input_each_in_its_layers_spread(tmp_path, layer, right, up, scale):
    found = row(followed(tmp_path, ASIDE, scale=scale), "amplification", layer)
    moved = [step != (0.0, 0.0) for step in ASIDE]
    growth = spread_of(1, 1) / spread_of(right, up)
    ratios = [hypot(right * x, up * y) / hypot(x, y) * growth for x, y in ASIDE if (x, y) != (0.0, 0.0)]
    value = lower_median(ratios)
    drawn = [lower_median(repeated(ratios, counts[moved])) for counts in resample(12, DRAWS, seed=0)]
    low, high = centred_interval(value, drawn)
    assert (found["value"], found["low"], found["high"]) == pytest.approx((value, low, high), abs=1e-6)
    assert found["n"] == 9
    assert low < high or layer != "0"


def test_draws_in_which_no_sample_was_changed_tell_no_amplification(tmp_path):
    found = row(followed(tmp_path, ((0.0, 1.0),) + ((0.0, 0.0),) * 11), "amplification", "0")
    value = 2 * spread_of(1, 1) / spread_of(0.5, 2)
    assert (resample(12, DRAWS, seed=0)[:, 0] == 0).any()
    assert (found["value"], found["low"], found["high"]) == pytest.approx((value, value, value))
    assert found["n"] == 1


def test_a_layer_that_never_varies_amplifies_nothing(tmp_path):
    network = linear(torch.eye(2), torch.zeros(2, 2))
    clean, moved = (
        recorded(tmp_path / name, network, PLACES, LABELS, condition=name, perturb=perturb)
        for name, perturb in (("clean", None), ("moved", Moved(UP)))
    )
    atlas = Atlas({layer: lattice_map(torch.ones(2)) for layer in clean.layers})
    results = table(flow(Coded(clean, atlas, encode(clean, atlas)), [(moved, encode(moved, atlas))], draws=50))
    assert select(results, measure="amplification")["layer"].tolist() == ["input", "0"]
    assert select(results, measure="wrong_class_log_odds")["layer"].tolist() == ["input", "0", "1", "logits"]


def coded_on(folder, places, labels, matrix, prototypes, by=None):
    """Samples at `places` whose logits are their product with `matrix`; units of both layers' map at `prototypes`."""
    perturb = None if by is None else Moved(by)
    recording = recorded(folder, linear(matrix), places, labels, condition=folder.name, perturb=perturb)
    maps = {}
    for layer in recording.layers:
        own = prototypes if layer.name == "input" else prototypes @ matrix.T
        maps[layer] = Map(
            Grid(1, len(own), "rectangular"), own, torch.zeros(own.shape[1]), torch.ones(own.shape[1]), ()
        )
    return Coded(recording, Atlas(maps), encode(recording, Atlas(maps)))


def test_odds_of_the_wrong_class_by_hand(tmp_path):
    """Five samples on the left, one of them of class 1, and three of class 1 on the right; the first goes right."""
    places = torch.tensor([[0.0, 1.0]] * 5 + [[9.0, 1.0]] * 3)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    matrix, prototypes = torch.tensor([[-1.0, 5.0], [1.0, -5.0]]), torch.tensor([[0.0, 1.0], [9.0, 1.0]])
    clean = coded_on(tmp_path / "clean", places, labels, matrix, prototypes)
    moved = coded_on(tmp_path / "moved", places, labels, matrix, prototypes, ((9.0, 0.0),) + ((0.0, 0.0),) * 7)
    results = table(flow(clean, [(moved.recording, moved.codes)], draws=DRAWS, show_progress=False))
    # it leaves one of class 1 among three others of its own, and reaches three of class 1 and none of its own
    first = log2(3.5 / 0.5) - log2(1.5 / 3.5)
    drawn = [first * float(counts[0]) / 8 for counts in resample(8, DRAWS, seed=0)]
    expected = (first / 8, *centred_interval(first / 8, drawn))
    for layer in ("input", "0", "logits"):
        found = row(results, "wrong_class_log_odds", layer)
        assert (found["value"], found["low"], found["high"]) == pytest.approx(expected, abs=1e-6)
        assert (found["n"], found["unit"]) == (8, "bits")


def odds_by_counting(before, after, labels, wrong):
    """Each sample's log-odds of the wrong class among the others on the unit reached, less those on the unit left."""
    found = []
    for sample, (own, other) in enumerate(zip(labels, wrong, strict=True)):
        told = []
        for unit in (after[sample], before[sample]):
            there = [labels[i] for i in range(len(labels)) if i != sample and before[i] == unit]
            told.append(log2((there.count(other) + 0.5) / (there.count(own) + 0.5)))
        found.append(told[0] - told[1])
    return found


@pytest.mark.parametrize("seed", range(3))
def test_odds_of_the_wrong_class_are_those_of_a_count_over_the_other_samples(tmp_path, seed):
    places, labels = gaussian(60, 2, seed=seed) * 2, whole_numbers(4, 60, seed=seed)
    matrix, prototypes = gaussian(4, 2, seed=seed + 10), gaussian(6, 2, seed=seed + 20) * 2
    by = gaussian(60, 2, seed=seed + 30) * 2
    clean = coded_on(tmp_path / "clean", places, labels, matrix, prototypes)
    moved = coded_on(tmp_path / "moved", places, labels, matrix, prototypes, tuple(map(tuple, by.tolist())))
    results = table(flow(clean, [(moved.recording, moved.codes)], draws=DRAWS, show_progress=False))

    def rivals(at):
        logits = (at.double() @ matrix.T.double()).tolist()
        return [
            max((rival for rival in range(4) if rival != own), key=line.__getitem__)
            for line, own in zip(logits, labels.tolist(), strict=True)
        ]

    wrong = rivals(places + by)
    assert wrong != rivals(places)  # it is the perturbed answer that tells which class is the wrong one
    for layer in ("input", "0"):
        before, after = (one.codes[f"code:{layer}|mean"].tolist() for one in (clean, moved))
        odds = odds_by_counting(before, after, labels.tolist(), wrong)
        value = sum(odds) / 60
        drawn = [sum(repeated(odds, counts)) / 60 for counts in resample(60, DRAWS, seed=0)]
        found = row(results, "wrong_class_log_odds", layer)
        expected = (value, *centred_interval(value, drawn))
        assert value != 0
        assert (found["value"], found["low"], found["high"]) == pytest.approx(expected, abs=1e-5)


def test_without_logits_odds_are_not_measured(tmp_path):
    network = Network(linear(torch.eye(2)), bounds=(-100.0, 100.0))
    data = load_data((PLACES, LABELS))
    clean, moved = (
        record(
            network, data, "0", tmp_path / name, reductions=["mean"], condition=name, perturb=perturb, logits=False,
            show_progress=False,
        )
        for name, perturb in (("clean", None), ("moved", Moved(UP)))
    )  # fmt: skip
    atlas = Atlas({layer: lattice_map(torch.ones(2)) for layer in clean.layers})
    results = table(flow(Coded(clean, atlas, encode(clean, atlas)), [(moved, encode(moved, atlas))], draws=50))
    assert set(results["measure"]) == {*WITHOUT_LABELS, "shift_over_gap"}


def test_nothing_moves_where_nothing_is_changed(tmp_path):
    results = followed(tmp_path, ((0.0, 0.0),) * 12)
    for measure in ("flip_rate", "grid_shift", "shift_over_gap", "wrong_class_log_odds"):
        assert select(results, measure=measure)["value"].tolist() == [0.0] * 4
    for measure in ("grid_shift", "wrong_class_log_odds"):
        assert select(results, measure=measure)["high"].tolist() == [0.0] * 4
    assert not len(select(results, measure="amplification"))


def test_right_answers_to_perturbed_inputs_are_counted(tmp_path):
    clean = coded(tmp_path / "clean")
    right = [
        int(place[1] + up > place[0]) == int(label) for place, (_, up), label in zip(PLACES, UP, LABELS, strict=True)
    ]
    found = row(followed(tmp_path, UP), "robust_accuracy", "")
    expected = binomtest(sum(right), 12).proportion_ci(method="wilson")
    assert 0 < sum(right) != int((clean.recording.predictions == LABELS).sum())
    assert (found["value"], found["low"], found["high"]) == pytest.approx(
        (sum(right) / 12, expected.low, expected.high)
    )
    assert (found["layer_index"], found["reduction"]) == (-1, "")


def test_every_layer_of_every_condition_has_its_rows(tmp_path):
    clean = coded(tmp_path / "clean")
    others = [coded(tmp_path / name, by=UP[::turn], condition=name) for name, turn in (("one", 1), ("other", -1))]
    results = table(flow(clean, [(other.recording, other.codes) for other in others], draws=50, show_progress=False))
    assert len(results) == 2 * (1 + 4 * 5)
    for condition in ("one", "other"):
        found = select(results, measure="flip_rate", condition=condition)
        assert found["layer"].tolist() == ["input", "0", "1", "logits"]
        assert found["layer_index"].tolist() == [0, 1, 2, 3]
        assert found["reduction"].tolist() == ["mean"] * 4
    assert set(results.loc[results["measure"] != "amplification", "n"]) == {12}


WITHOUT_LABELS = {"flip_rate", "grid_shift", "amplification"}


def test_without_labels_gaps_odds_and_accuracy_are_not_measured(tmp_path):
    assert set(followed(tmp_path, UP, labels=None)["measure"]) == WITHOUT_LABELS


def test_with_labels_of_one_class_gaps_and_odds_are_not_measured(tmp_path):
    results = followed(tmp_path, UP, labels=torch.ones(12, dtype=torch.int64))
    assert set(results["measure"]) == {*WITHOUT_LABELS, "robust_accuracy"}


def test_a_recording_of_other_samples_is_refused(tmp_path):
    clean = coded(tmp_path / "clean")
    network = linear(torch.diag(STRETCH), torch.diag(1 / STRETCH))
    fewer = recorded(tmp_path / "fewer", network, PLACES[:8], LABELS[:8], condition="fewer")
    with pytest.raises(ValueError, match="under 'fewer' must hold the samples of the clean one, in its order"):
        flow(clean, [(fewer, encode(fewer, clean.atlas))], show_progress=False)
