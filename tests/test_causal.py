"""Codes that tell and codes that act: a network whose codes are known to do either."""

import dataclasses
import functools
import shutil
from math import isnan, log

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tiny_data, tiny_module
from handmade import gaussian
from scipy.stats import norm, t
from torch import nn
from typer.testing import CliRunner

from layerscope import Data, Network, causal, causal_test, figures, fit_atlas, load_data, record
from layerscope.cli import app
from layerscope.decoding.moves import Plan, planned, steps_of
from layerscope.errors import RunMismatchError
from layerscope.layers import Layer
from layerscope.results import Place, finding, select, table
from layerscope.som import Grid
from layerscope.stats import clustered_share_interval, interval, resample_clusters
from layerscope.summary import acting_layers, causal_summary

CLASSES, WIDTH = 10, 64
FEW = {"show_progress": False, "doses": (1,)}


class Bypass(nn.Module):
    """`read` is all that the head hears of; `side` tells the class as well, and hardly reaches it."""

    def __init__(self):
        super().__init__()
        self.read, self.side, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        with torch.no_grad():
            for layer in (self.read, self.side, self.head):
                layer.weight.copy_(torch.eye(len(layer.weight), WIDTH))
                layer.bias.zero_()

    def forward(self, x):
        x = self.read(x)
        return self.head(x + 0.001 * self.side(x))


def blobs(n=400, seed=0):
    """Class k lies around 4 on axis k."""
    labels = torch.arange(n) % CLASSES
    centres = torch.eye(CLASSES, WIDTH) * 4
    return centres[labels] + 0.5 * gaussian(n, WIDTH, seed=seed), labels


@dataclasses.dataclass(frozen=True)
class Recorded:
    network: Network
    data: Data
    clean: object
    atlas: object

    def test(self, **options):
        return causal_test(self.network, self.data, self.clean, self.atlas, **FEW | options)


def recorded(folder, network, inputs, *, layers, reductions=("mean",), grid=(4, 4), **options):
    data = load_data(inputs, show_progress=False)
    clean = record(network, data, layers, folder, reductions=reductions, show_progress=False)
    return Recorded(network, data, clean, fit_atlas(clean, Grid(*grid), show_progress=False, **options))


@pytest.fixture(scope="module")
def bypassed(tmp_path_factory):
    network = Network(Bypass().eval(), bounds=(-100.0, 100.0))
    return recorded(tmp_path_factory.mktemp("bypassed"), network, blobs(), layers=["read", "side"], grid=(8, 8))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    network = Network(tiny_module())
    folder = tmp_path_factory.mktemp("tiny")
    several = ["stem|mean", "middle|mean", "stem|flatten", "middle|flatten", "middle|positions:5", "stem|max"]
    return recorded(folder, network, tiny_data(), layers=several, grid=(3, 4), align=False, scaling="standard")


def rate(found, measure, condition, layer, reduction="mean"):
    return select(found.results, measure=measure, condition=condition, layer=layer, reduction=reduction).iloc[0]


def wider(one, other):
    return one if one[1] - one[0] >= other[1] - other[0] else other


def bootstrapped_means(values, clusters):
    """Of the samples of the clusters drawn, written out."""
    return [np.average(values, weights=drawn) for drawn in resample_clusters(clusters, 200, seed=0).numpy()]


def test_a_code_that_is_read_acts_and_one_that_a_skip_connection_bypasses_does_not(bypassed):
    found = bypassed.test(limit=None)
    read = rate(found, "causal_target_rate", "clean", "read")
    side = rate(found, "causal_target_rate", "clean", "side")
    assert read["value"] > 0.95
    assert read["low"] > 0.6  # ten codes are moved to, and those of one are alike
    assert side["value"] == 0
    for layer in ("read", "side"):
        for control in ("random", "codes"):
            told = rate(found, "causal_control_rate", control, layer)
            assert told["value"] < 0.02
            assert told["high"] < 0.4
    assert acting_layers(found.results, "mean") == ["read"]
    # the bypassed layer's codes tell the class as well as the others do
    codes = [steps_of(Layer(name, "mean"), bypassed.clean, bypassed.atlas.maps[Layer(name, "mean")],
                      planned(bypassed.clean, None, 0), 0).between.own for name in ("read", "side")]  # fmt: skip
    for own in codes:
        mix = pd.crosstab(own.numpy(), bypassed.clean.labels.numpy())
        assert mix.max(axis=1).sum() / len(own) > 0.99


def test_every_number_is_that_of_a_slow_loop(tiny):
    """By hand: the layer's vectors, counts of codes, prototypes in the layer's units, and the rest of the network."""
    module, limit, dose = tiny.network.module, 40, 0.5
    found = tiny.test(limit=limit, doses=(dose, 1), layers=["stem"], reductions=["mean"], batch_size=7)
    plan, layer = planned(tiny.clean, limit, 0), Layer("stem", "mean")
    fitted = tiny.atlas.maps[layer]
    prototypes = fitted.prototypes * fitted.scale + fitted.offset
    images, labels = tiny_data()
    vectors = module.stem(images).mean((2, 3))
    units = ((vectors - fitted.offset) / fitted.scale)[:, None].sub(fitted.prototypes).norm(dim=2).argmin(1)
    right = module(images).argmax(1) == labels
    became, changes, odds, moved_to = [], [], [], []
    for row, target in zip(plan.ids.tolist(), plan.target.tolist(), strict=True):
        assert right[row]
        assert labels[row] != target
        counts = pd.Series(units[right & (labels == target)].tolist()).value_counts()
        counts = counts[counts.index != int(units[row])]
        wanted = min(counts[counts == counts.max()].index)
        moved_to.append(wanted)
        step = dose * (prototypes[wanted] - prototypes[units[row]])
        rest = module.head(module.middle(module.stem(images[row : row + 1]) + step[None, :, None, None]).mean((2, 3)))
        became.append(int(rest.argmax()) == target)
        p, before = rest.softmax(1)[0, target].item(), module(images[row : row + 1]).softmax(1)[0, target].item()
        changes.append(p - before)
        odds.append((log(p / (1 - p)) - log(before / (1 - before))) / log(2))
    told = rate(found, "causal_target_rate", "clean:dose=0.5", "stem")
    assert told["value"] == np.mean(became)
    assert told["n"] == limit
    assert told["layer_index"] == 1
    alike = units[plan.rows], torch.tensor(moved_to)
    bounds = wider(*(clustered_share_interval(torch.tensor(became), codes) for codes in alike))
    assert (told["low"], told["high"]) == pytest.approx(bounds)
    for measure, values in (("probability", changes), ("log_odds", odds)):
        drawn = [torch.tensor(bootstrapped_means(values, codes)) for codes in alike]
        told = rate(found, f"causal_{measure}_shift", "clean:dose=0.5", "stem")
        each = []
        for codes, means in zip(alike, drawn, strict=True):
            groups = len(set(codes.tolist()))
            stretch = (groups / (groups - 1)) ** 0.5 * t.ppf(0.975, groups - 1) / norm.ppf(0.975)
            low, high = interval(np.mean(values), means)
            each.append(tuple(np.mean(values) + stretch * (bound - np.mean(values)) for bound in (low, high)))
        bounds = wider(*each)
        assert (told["low"], told["high"]) == pytest.approx(bounds, rel=1e-3, abs=1e-4)
    close = functools.partial(pytest.approx, rel=1e-3, abs=1e-5)
    assert rate(found, "causal_probability_shift", "clean:dose=0.5", "stem")["value"] == close(np.mean(changes))
    assert rate(found, "causal_log_odds_shift", "clean:dose=0.5", "stem")["value"] == close(np.mean(odds))


def test_controls_are_as_long_as_the_step_to_the_target_and_lead_between_other_codes(tiny):
    plan, rows = planned(tiny.clean, 30, 3), torch.arange(4, 20)
    for name in ("middle|mean", "stem|flatten", "middle|positions:5"):
        layer = Layer(*name.split("|"))
        fitted = tiny.atlas.maps[layer]
        steps = steps_of(layer, tiny.clean, fitted, plan, 3)
        target, random, codes = (steps.by(kind, rows) for kind in ("clean", "random", "codes"))
        if layer.reduction.startswith("positions"):
            assert all(part.sample.equal(target.sample) and part.place.equal(target.place) for part in (random, codes))
            assert target.sample.bincount().tolist() == [5] * len(rows)
            mine = torch.isin(steps.owner, rows)
            target, random, codes = target.vectors, random.vectors, codes.vectors
        else:
            mine = rows
        own, wanted, others = (part[mine] for part in steps.between)
        assert (target.norm(dim=1) > 0).all()
        torch.testing.assert_close(target, (fitted.prototypes[wanted] - fitted.prototypes[own]) * fitted.scale)
        torch.testing.assert_close(random.norm(dim=1), target.norm(dim=1))
        there = others[:, 0] >= 0
        assert there.any()
        torch.testing.assert_close(codes[there].norm(dim=1), target[there].norm(dim=1))
        direction = (fitted.prototypes[others[there, 1]] - fitted.prototypes[others[there, 0]]) * fitted.scale
        cosine = torch.cosine_similarity(codes[there], direction)
        torch.testing.assert_close(cosine, torch.ones_like(cosine))
        assert not ((others[there] == own[there, None]) | (others[there] == wanted[there, None])).any()
        assert (others[there, 0] != others[there, 1]).all()
        assert random.var() > 0


@pytest.mark.parametrize("kind", ["random", "codes"])
def test_controls_of_a_sample_go_one_way_at_all_its_positions_and_do_not_cancel(tiny, kind):
    layer, plan = Layer("middle", "positions:5"), planned(tiny.clean, 40, 0)
    steps = steps_of(layer, tiny.clean, tiny.atlas.maps[layer], plan, 0)
    control, target = (steps.by(one, torch.arange(40)) for one in (kind, "clean"))
    ways = []
    for row in (steps.complete if kind == "codes" else torch.ones(40)).nonzero()[:, 0].tolist():
        mine = control.vectors[control.sample == row]
        lengths = target.vectors[target.sample == row].norm(dim=1)
        torch.testing.assert_close(mine.norm(dim=1), lengths)
        torch.testing.assert_close(mine.sum(0).norm(), lengths.sum())  # as far in the average as at each position
        ways.append(mine.sum(0) / lengths.sum())
        first, *others = steps.between.others[steps.owner == row].tolist()
        assert all(pair == first for pair in others)
        own, wanted = steps.between.own[steps.owner == row], steps.between.target[steps.owner == row]
        assert kind == "random" or not set(first) & {*own.tolist(), *wanted.tolist()}
    assert len(ways) > 5
    assert torch.stack(ways).unique(dim=0).shape[0] > 5  # another way for other samples


def test_samples_of_several_positions_are_alike_by_target_class(tiny):
    found, plan = tiny.test(limit=50, reductions=["positions:5"], doses=(1,)), planned(tiny.clean, 50, 0)
    layer = Layer("middle", "positions:5")
    steps = steps_of(layer, tiny.clean, tiny.atlas.maps[layer], plan, 0)
    assert steps.clusters[0].equal(torch.arange(50))
    assert steps.clusters[1].equal(plan.target)
    told = rate(found, "causal_target_rate", "clean", "middle", "positions:5")
    count = round(told["value"] * 50)
    alone = clustered_share_interval(torch.arange(50) < count, torch.arange(50))
    assert told["high"] - told["low"] > alone[1] - alone[0]
    pairs = found.pairs.iloc[0]
    counted = torch.arange(pairs["n"]) < round(pairs["rate"] * pairs["n"])
    bounds = clustered_share_interval(counted, torch.arange(pairs["n"]))
    assert (pairs["low"], pairs["high"]) == pytest.approx(bounds)


def test_no_other_code_is_one_of_the_target_class(bypassed):
    plan = planned(bypassed.clean, None, 0)
    steps = steps_of(Layer("read", "mean"), bypassed.clean, bypassed.atlas.maps[Layer("read", "mean")], plan, 0)
    mix = pd.crosstab(steps.between.own.numpy(), bypassed.clean.labels.numpy())  # all samples are in the plan
    commonest = mix.idxmax(axis=1)
    for target, others in zip(plan.target.tolist(), steps.between.others.tolist(), strict=True):
        assert target not in commonest[others].tolist()
    assert steps.complete.all()


def test_targets_take_turns_and_samples_are_those_answered_right(bypassed):
    plan = planned(bypassed.clean, 240, 5)
    assert isinstance(plan, Plan)
    assert len(plan.ids) == len(set(plan.ids.tolist())) == 240
    assert bypassed.clean.labels[plan.rows].equal(plan.own)
    assert bypassed.clean.predictions[plan.rows].equal(plan.own)
    pairs = pd.crosstab(plan.own.numpy(), plan.target.numpy()).to_numpy()
    assert (np.diag(pairs) == 0).all()
    for row, counts in enumerate(pairs):
        others = np.delete(counts, row)
        assert others.max() - others.min() <= 1
    assert not planned(bypassed.clean, 240, 6).ids.equal(plan.ids)


def test_without_labels_the_answers_are_the_classes(bypassed):
    answered = planned(dataclasses.replace(bypassed.clean, labels=None), None, 0)
    assert answered.own.equal(bypassed.clean.predictions)


def test_nothing_depends_on_the_batches_and_all_on_the_seed(tiny):
    options = {"limit": 30, "doses": (0, 0.5, 1), "reductions": ["mean", "flatten", "positions:5"]}
    one, other = tiny.test(**options, batch_size=250), tiny.test(**options, batch_size=7)
    pd.testing.assert_frame_equal(one.results, other.results, rtol=1e-4, atol=1e-6)
    pd.testing.assert_frame_equal(one.pairs, other.pairs)
    assert not tiny.test(**options, seed=1).results["value"].equals(one.results["value"])


def test_no_dose_changes_nothing(tiny):
    found = tiny.test(limit=30, doses=(0, 1)).results
    nothing = found[found["condition"].str.endswith(":dose=0")]
    assert len(nothing) == 5 * 3 * 3
    assert (nothing["value"] == 0).all()
    assert (nothing.loc[nothing["measure"].str.endswith("rate"), "high"] > 0.05).all()


def test_positions_are_moved_each_from_its_own_code(tiny):
    """By hand, position by position."""
    module, layer, dose = tiny.network.module, Layer("middle", "positions:5"), 2.0
    found = tiny.test(limit=50, reductions=["positions:5"], doses=(1, dose))
    plan = planned(tiny.clean, 50, 0)
    fitted, images = tiny.atlas.maps[layer], tiny_data()[0]
    steps = steps_of(layer, tiny.clean, fitted, plan, 0)
    units = fitted.best(tiny.clean.vectors(layer)).unit
    parents, places = tiny.clean.parents(layer).tolist(), tiny.clean.places(layer).tolist()
    became = []
    for row, (sample, target) in enumerate(zip(plan.ids.tolist(), plan.target.tolist(), strict=True)):
        states = module.middle(module.stem(images[sample : sample + 1])).flatten(2)
        wanted = steps.between.target[steps.owner == row]
        here = [place for place, parent in enumerate(parents) if parent == sample]
        for vector, code in zip(here, wanted, strict=True):
            step = (fitted.prototypes[code] - fitted.prototypes[units[vector]]) * fitted.scale
            states[0, :, places[vector]] += dose * step
        became.append(int(module.head(states.mean(2)).argmax()) == target)
    told = rate(found, "causal_target_rate", "clean:dose=2", "middle", "positions:5")
    assert told["value"] == np.mean(became) > 0
    assert found.pairs["n"].sum() == 50


def test_rates_of_pairs_are_those_of_the_whole(bypassed):
    found, plan = bypassed.test(limit=200), planned(bypassed.clean, 200, 0)
    for layer in ("read", "side"):
        fitted = bypassed.atlas.maps[Layer(layer, "mean")]
        codes = steps_of(Layer(layer, "mean"), bypassed.clean, fitted, plan, 0).between.own
        moved_from = pd.Series(codes.numpy()).groupby([plan.own.numpy(), plan.target.numpy()]).nunique()
        pairs = found.pairs[found.pairs["layer"] == layer]
        assert len(pairs) == CLASSES * (CLASSES - 1)
        assert pairs["n"].sum() == 200
        for column, measure, condition in (
            ("rate", "causal_target_rate", "clean"),
            ("random", "causal_control_rate", "random"),
            ("codes", "causal_control_rate", "codes"),
        ):
            whole = (pairs[column] * pairs["n"]).sum() / 200
            assert whole == pytest.approx(rate(found, measure, condition, layer)["value"])
        told = pairs[pairs["low"].notna()]
        assert (pairs["low"].notna() == (moved_from.to_numpy() > 1)).all()  # one code says nothing of others
        assert len(told) > 10
        assert (told["low"] <= told["rate"]).all()
        assert (told["rate"] <= told["high"]).all()


def test_where_there_are_no_other_codes_there_is_no_control_and_where_all_have_one_code_no_step(tmp_path):
    images, labels = blobs(80)
    module = Bypass().eval()
    with torch.no_grad():
        module.side.weight.zero_()
    network = Network(module, bounds=(-100.0, 100.0))
    inputs = (images[labels < 2], labels[labels < 2])
    found = recorded(tmp_path, network, inputs, layers=["read", "side"], grid=(1, 2)).test(limit=20)
    assert set(found.results["condition"]) == {"clean", "random"}
    assert rate(found, "causal_target_rate", "clean", "read")["value"] > 0.8
    assert found.pairs["codes"].isna().all()
    still = found.results[found.results["layer"] == "side"]
    assert (still["value"] == 0).all()
    assert all(isnan(low) for low in still["low"])


def test_what_is_found_is_saved_as_it_is(bypassed, tmp_path):
    found = bypassed.test(limit=50)
    for path, frame in zip(found.save(tmp_path), (found.results, found.pairs), strict=True):
        pd.testing.assert_frame_equal(pd.read_parquet(path), frame, check_dtype=False)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"doses": (0, 0.5)}, r"`doses` must be different numbers of at least 0, 1 among them; got \(0.0, 0.5\)"),
        ({"doses": (1, 1)}, "`doses` must be different numbers"),
        ({"doses": (1, -1)}, "`doses` must be different numbers"),
        ({"doses": (1, float("inf"))}, "`doses` must be different numbers"),
        ({"limit": 0}, "`limit` must be at least 1, or None for all; got 0"),
        ({"batch_size": 0}, "`batch_size` must be a whole number, at least 1; got 0"),
        ({"reductions": ["max"]}, "A layer can't be moved under `max`: the largest value of a feature is one"),
        ({"reductions": ["cls"]}, "`reductions`: 'cls' was not recorded; it is one of mean, flatten, posi"),
        ({"layers": ["steam"]}, "`layers`: 'steam' was not recorded under mean, flatten, positions:5; layers are"),
        ({"layers": ["logits"]}, "`layers`: 'logits' can't be moved: it is where the network begins"),
    ],
)  # fmt: skip
def test_what_can_not_be_asked_is_refused(tiny, options, told):
    with pytest.raises(ValueError, match=told):
        tiny.test(**options)


def test_a_recording_under_reductions_that_can_not_be_moved_alone_says_why(tiny):
    alone = dataclasses.replace(tiny.clean, layers=(Layer("stem", "max"), Layer("stem", "sketch:512")))
    with pytest.raises(ValueError, match="can't be moved under `max`"):
        dataclasses.replace(tiny, clean=alone).test()


def test_a_recording_without_two_classes_that_are_answered_right_is_refused(bypassed):
    with pytest.raises(
        ValueError, match="The recording holds no answers to change, since the network has no logits or"
    ):
        planned(dataclasses.replace(bypassed.clean, predictions=None), None, 0)
    wrong = dataclasses.replace(bypassed.clean, predictions=torch.zeros_like(bypassed.clean.labels))
    with pytest.raises(
        ValueError, match="needs at least two classes that are answered right; 1 of the 10 classes of the"
    ):
        planned(wrong, None, 0)


def test_another_network_than_was_recorded_is_refused(bypassed):
    module = Bypass().eval()
    with torch.no_grad():
        module.head.bias[0] = 10
    other = dataclasses.replace(bypassed, network=Network(module, bounds=(-100.0, 100.0)))
    with pytest.raises(
        RunMismatchError, match=r"`network` answers \d+ of 50 samples otherwise than was recorded of them"
    ):
        other.test(limit=50)


def test_a_run_is_tested_as_its_recording_is(tiny_run):
    given = {"network": Network(tiny_module(), class_names=("top", "middle", "bottom")), "data": tiny_data()}
    found = causal(tiny_run, **given, limit=20, **FEW)
    assert set(found.results["reduction"]) == {"mean"}  # the sketch can't be moved
    assert list(found.results["layer"].unique()) == ["stem", "middle"]
    alone = causal(tiny_run, **given, limit=20, layers="stem", reductions="mean", **FEW)
    assert alone.results["value"].tolist() == found.results.loc[found.results["layer"] == "stem", "value"].tolist()
    data = load_data(tiny_data(), show_progress=False)
    again = causal_test(given["network"], data, tiny_run.recordings["clean"], tiny_run.atlas, limit=20, **FEW)
    pd.testing.assert_frame_equal(found.results, again.results)
    with pytest.raises(ValueError, match="under `sketch:512`: a sketch is a projection, and many"):
        causal(tiny_run, **given, reductions=["sketch:512"], **FEW)
    with pytest.raises(RunMismatchError, match="`data` must be what the run in"):
        causal(tiny_run, network=given["network"], data=tiny_data(seed=9), **FEW)


@pytest.fixture(scope="module")
def found(tiny):
    return tiny.test(limit=40, doses=(0, 0.5, 1, 2), reductions=["mean", "flatten"])


def drawn(axes):
    return {line.get_label(): line.get_xydata().T.tolist() for line in axes.get_lines()}


def test_the_figure_over_depth_draws_the_rates_of_dose_one_and_what_the_codes_tell(found, tiny_run):
    axes = figures.causal(found, tiny_run)
    lines = drawn(axes)
    for label, measure, condition in (
        ("moved to the target's code", "causal_target_rate", "clean"),
        ("a random direction, as far", "causal_control_rate", "random"),
        ("between two other codes, as far", "causal_control_rate", "codes"),
    ):
        rows = select(found.results, measure=measure, condition=condition, reduction="mean")
        assert lines[label] == [[0, 1], rows["value"].tolist()]
    told = select(tiny_run.results, measure="label_information", condition="clean", reduction="mean")
    expected = told[told["layer"].isin(("stem", "middle"))]["value"].tolist()
    assert lines["what the code tells: I(code; label) / H(label)"] == [[0, 1], expected]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["stem", "middle"]
    assert len(drawn(figures.causal(found))) == 3


def test_the_figure_over_the_dose_draws_a_line_for_each_layer_in_order_of_the_dose(found):
    lines = drawn(figures.causal_doses(found, reduction="flatten"))
    for layer in ("stem", "middle"):
        rows = found.results[(found.results["layer"] == layer) & (found.results["reduction"] == "flatten")]
        rows = rows[(rows["measure"] == "causal_target_rate")].set_index("condition")["value"]
        doses = ["clean:dose=0", "clean:dose=0.5", "clean", "clean:dose=2"]
        assert lines[layer] == [[0, 0.5, 1, 2], rows[doses].tolist()]


def test_both_figures_stand_in_one_picture_and_what_was_not_moved_is_named(found):
    picture = figures.causals(found)
    assert len(picture.axes) == 4
    picture.draw_without_rendering()
    with pytest.raises(ValueError, match="No layer was moved under 'cls'; layers were under: mean, flatten"):
        figures.causal(found, reduction="cls")


def row(layer, measure, condition, value, low, high):
    return finding(measure, value, (low, high), 50, Place(layer, int(layer[-1]), condition, "mean"))


def test_layers_that_act_are_those_beyond_both_controls_and_the_summary_names_them():
    rows = [
        row("b0", "causal_target_rate", "clean", 0.1, 0.04, 0.2),
        row("b0", "causal_control_rate", "random", 0, 0, 0.05),
        row("b1", "causal_target_rate", "clean", 0.9, 0.85, 0.95),
        row("b1", "causal_control_rate", "random", 0, 0, 0.05),
        row("b1", "causal_control_rate", "codes", 0.86, 0.8, 0.9),
        row("b2", "causal_target_rate", "clean", 0.9, 0.85, 0.95),
        row("b2", "causal_control_rate", "random", 0.1, 0, 0.2),
        row("b2", "causal_control_rate", "codes", 0.1, 0, 0.84),
        row("b2", "causal_control_rate", "codes:dose=2", 0.9, 0.8, 1.0),
    ]
    assert acting_layers(table(rows), "mean") == ["b2"]
    (told,) = causal_summary(table(rows))
    assert told == (
        "Under mean: codes act in 1 of 3 layers, b2 (in b2 90% of the answers become the target (85% to 95%), and "
        "under the controls at most 86% in any layer); those of the other 2 are not shown to."
    )
    assert causal_summary(table(rows[5:]))[0].endswith("in any layer).")
    assert causal_summary(table(rows[:2]))[0].startswith("Under mean: no layer's codes are shown to act (in b0 10%")


def test_the_command_prints_what_it_found_and_writes_it_into_the_run(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    images, labels = tiny_data()
    np.savez("all.npz", inputs=images.numpy(), labels=labels.numpy())
    (tmp_path / "causal_nets.py").write_text("import conftest\n\n\ndef make():\n    return conftest.tiny_module()\n")
    arguments = ["causal", "run", "--model", "py:causal_nets:make", "--data", "npz:all.npz", "--limit", "20"]
    done = CliRunner().invoke(app, [*arguments, "--dose", "1", "--layer", "stem"], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    assert "Answers that become the target class, layers moved under mean" in done.stdout
    assert "middle" not in done.stdout
    for told in (
        "- Under mean: ",
        "Figure: run/causal.png",
        "Numbers: run/causal.parquet",
        "Pairs of classes: run/caus",
    ):
        assert told in done.stdout
    assert (folder / "causal.png").read_bytes().startswith(b"\x89PNG")
    assert set(pd.read_parquet(folder / "causal.parquet")["n"]) <= {20} | set(range(20))
    assert pd.read_parquet(folder / "causal_pairs.parquet")["n"].sum() == 20
    done = CliRunner().invoke(app, ["causal", "run"])
    assert done.exit_code == 2
    assert "Error: The run was made from an object (TinyNet), not from a spec" in " ".join(done.stderr.split())
