"""How a perturbation travels, on samples in a lattice where every flip, step, shift and gap is known."""

import pytest
import torch
from handmade import Moved, linear, recorded
from references.stats import centred_interval, lower_median, repeated
from scipy.stats import binomtest

from layerscope.atlas import Atlas
from layerscope.codes import Coded, encode
from layerscope.flow import flow
from layerscope.results import select, table
from layerscope.som import Grid, Map
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


def test_nothing_moves_where_nothing_is_changed(tmp_path):
    results = followed(tmp_path, ((0.0, 0.0),) * 12)
    for measure in ("flip_rate", "grid_shift", "shift_over_gap"):
        assert select(results, measure=measure)["value"].tolist() == [0.0] * 4
    assert select(results, measure="grid_shift")["high"].tolist() == [0.0] * 4


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
    assert len(results) == 2 * (1 + 4 * 3)
    for condition in ("one", "other"):
        found = select(results, measure="flip_rate", condition=condition)
        assert found["layer"].tolist() == ["input", "0", "1", "logits"]
        assert found["layer_index"].tolist() == [0, 1, 2, 3]
        assert found["reduction"].tolist() == ["mean"] * 4
    assert set(results["n"]) == {12}


def test_without_labels_gaps_and_accuracy_are_not_measured(tmp_path):
    assert set(followed(tmp_path, UP, labels=None)["measure"]) == {"flip_rate", "grid_shift"}


def test_with_labels_of_one_class_gaps_are_not_measured(tmp_path):
    results = followed(tmp_path, UP, labels=torch.ones(12, dtype=torch.int64))
    assert set(results["measure"]) == {"flip_rate", "grid_shift", "robust_accuracy"}


def test_a_recording_of_other_samples_is_refused(tmp_path):
    clean = coded(tmp_path / "clean")
    network = linear(torch.diag(STRETCH), torch.diag(1 / STRETCH))
    fewer = recorded(tmp_path / "fewer", network, PLACES[:8], LABELS[:8], condition="fewer")
    with pytest.raises(ValueError, match="under 'fewer' must hold the samples of the clean one, in its order"):
        flow(clean, [(fewer, encode(fewer, clean.atlas))], show_progress=False)
