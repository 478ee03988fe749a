"""The profile of a network whose codes are known by hand, of its nulls, and of layers that tell nothing."""

import importlib
from collections import Counter
from math import isnan, log2

import pandas as pd
import pytest
import torch
from handmade import Moved, gaussian, linear, recorded
from references import information as slow
from torch import nn

from layerscope import profile, table
from layerscope.atlas import Atlas, fit_atlas, random_codebook
from layerscope.codes import Coded, encode
from layerscope.measures.conditional import conditional_entropy
from layerscope.results import select
from layerscope.som import Grid, Map

CORNERS = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
"""The units of a rectangular 2 x 2 grid, and where samples lie."""
FAR = 1000.0
LABELS = [0, 0, 0, 1, 1, 1, 0, 2, 2, 2, 2, 0, 1, 2, 2, 2]
INPUT = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
FIRST = [0 if unit in (0, 2) else 1 for unit in INPUT]  # forgets the second number
SECOND = [3 if unit == 0 else 1 for unit in FIRST]  # names the codes anew
LABEL_FREE = {"participation_ratio", "code_entropy", "code_perplexity", "quantization_error", "explained_variance",
              "topographic_error", "fan_out", "fan_in", "drift"}  # fmt: skip
TOLD = {"label_information", "class_entropy_given_code", "purity", "class_overlap", "class_area"}


def atlas_of(recording, prototypes, grid):
    """Maps with these prototypes, which see vectors as they are."""
    return Atlas(
        {
            layer: Map(grid, rows, torch.zeros(rows.shape[1]), torch.ones(rows.shape[1]), ())
            for layer, rows in zip(recording.layers, prototypes, strict=True)
        }
    )


def coded(recording, atlas, stepped=None):
    return Coded(recording, atlas, encode(recording, atlas), stepped)


def fitted(recording, grid=None, stepped=None):
    return coded(recording, fit_atlas(recording, grid or Grid(2, 3), show_progress=False), stepped)


def profiled(trained, *nulls, draws=50, permutations=50, **options):
    return table(profile(trained, *nulls, draws=draws, permutations=permutations, show_progress=False, **options))


def values(results, measure, condition="clean"):
    rows = select(results, measure=measure, condition=condition)
    return dict(zip(rows["layer"], rows["value"], strict=True))


def measures(results, layer, condition="clean"):
    return set(select(results, layer=layer, condition=condition)["measure"])


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Sixteen samples, each half a step from its corner; `0` drops the second number, `1` keeps the first."""
    inputs = CORNERS[INPUT] + torch.tensor([0.5, 0.0]) * torch.tensor([1.0, -1.0] * 8)[:, None]
    drop = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    recording = recorded(
        tmp_path_factory.mktemp("hand") / "clean", linear(drop, torch.eye(3, 2)), inputs, torch.tensor(LABELS)
    )
    first = torch.tensor([[0.0, 0.0], [10.0, 0.0], [FAR, 0.0], [0.0, FAR]])
    second = torch.tensor([[FAR, 0.0, 0.0], [10.0, 0.0, 0.0], [0.0, FAR, 0.0], [0.0, 0.0, 0.0]])
    return coded(recording, atlas_of(recording, [CORNERS, first, second, second], Grid(2, 2, "rectangular")))


@pytest.fixture(scope="module")
def by_hand(network):
    return profiled(network)


UNITS = {"input": INPUT, "0": FIRST, "1": SECOND, "logits": SECOND}


def left_over(rows, columns):
    """H(column | row) in bits."""
    joint = torch.zeros(4, 4)
    for row, column in zip(rows, columns, strict=True):
        joint[row, column] += 1
    return float(conditional_entropy(joint[:, : max(columns) + 1].double()))


def test_the_codes_are_those_made_by_hand(network):
    for layer in network.recording.layers:
        assert network.codes[f"code:{layer}"].tolist() == UNITS[layer.name]


def test_what_codes_tell_of_the_label(by_hand):
    for layer, units in UNITS.items():
        left = left_over(units, LABELS)
        assert values(by_hand, "class_entropy_given_code")[layer] == pytest.approx(left)
        assert values(by_hand, "label_information")[layer] == pytest.approx(1 - left / slow.entropy(LABELS))


def test_purity_and_overlap_are_shares_that_can_be_counted(by_hand):
    for layer, units in UNITS.items():
        classes = {unit: Counter(y for c, y in zip(units, LABELS, strict=True) if c == unit) for unit in units}
        pure = sum(counted.most_common(1)[0][1] for counted in classes.values()) / 16
        shared = sum(len(counted) > 1 for counted in classes.values()) / len(classes)
        assert values(by_hand, "purity")[layer] == pytest.approx(pure)
        assert values(by_hand, "class_overlap")[layer] == pytest.approx(shared)
    assert values(by_hand, "purity") == {"input": 11 / 16, "0": 8 / 16, "1": 8 / 16, "logits": 8 / 16}
    assert values(by_hand, "class_overlap")["0"] == 1.0


def test_how_evenly_codes_are_used(by_hand):
    for layer, units in UNITS.items():
        bits = slow.entropy(units)
        assert values(by_hand, "code_entropy")[layer] == pytest.approx(bits)
        assert values(by_hand, "code_perplexity")[layer] == pytest.approx(2**bits)


def test_how_codes_divide_and_join_between_layers(by_hand):
    out, into = values(by_hand, "fan_out"), values(by_hand, "fan_in")
    for layer, (before, after) in {"0": (INPUT, FIRST), "1": (FIRST, SECOND), "logits": (SECOND, SECOND)}.items():
        assert out[layer] == pytest.approx(2 ** left_over(before, after))
        assert into[layer] == pytest.approx(2 ** left_over(after, before))
    assert out.keys() == into.keys() == {"0", "1", "logits"}
    assert into["0"] > 1.5  # two codes join
    assert into["1"] < 1.2  # a new name is no new code


def test_drift_is_the_mean_step_on_the_grid_and_its_null_that_of_all_pairs(by_hand):
    def apart(one, other):
        return ((one % 2 - other % 2) ** 2 + (one // 2 - other // 2) ** 2) ** 0.5

    steps, chance = values(by_hand, "drift"), values(by_hand, "drift", "shuffled")
    for layer, (before, after) in {"0": (INPUT, FIRST), "1": (FIRST, SECOND), "logits": (SECOND, SECOND)}.items():
        assert steps[layer] == pytest.approx(sum(map(apart, before, after)) / 16)
        paired = sum(apart(one, other) for one in before for other in after) / 256
        assert chance[layer] == pytest.approx(paired, rel=1e-6)
    assert steps == pytest.approx({"0": 0.5, "1": 8 / 16 * 2**0.5, "logits": 0.0})


def test_class_area_is_the_mean_share_of_the_map_that_a_class_uses(by_hand):
    for layer, units in UNITS.items():
        areas = [
            min(2 ** slow.entropy([c for c, y in zip(units, LABELS, strict=True) if y == label]) / 4, 1.0)
            for label in range(3)
        ]
        assert values(by_hand, "class_area")[layer] == pytest.approx(sum(areas) / 3)


def test_how_well_prototypes_stand_for_samples(by_hand):
    assert values(by_hand, "quantization_error") == pytest.approx(dict.fromkeys(UNITS, 0.5), rel=1e-6)
    assert values(by_hand, "explained_variance") == pytest.approx(
        {"input": 1 - 0.25 / 50.25, "0": 1 - 0.25 / 25.25, "1": 1 - 0.25 / 25.25, "logits": 1 - 0.25 / 25.25}
    )


def test_accuracy_comes_once(by_hand, network):
    right = (network.recording.predictions == network.recording.labels).double().mean()
    assert values(by_hand, "accuracy") == {"": float(right)}


def test_chance_is_the_mean_over_permutations(by_hand):
    shuffled = select(by_hand, condition="shuffled", layer="0")
    assert set(shuffled["measure"]) == {"label_information", "class_entropy_given_code", "purity", "class_overlap",
                                        "drift"}  # fmt: skip
    for row in shuffled.itertuples():
        clean = select(by_hand, measure=row.measure, condition="clean", layer="0")
        assert clean["null_shuffled"][0] == row.value
        assert row.low <= row.value <= row.high
    told = values(by_hand, "label_information", "shuffled")
    assert all(abs(value) < 0.2 for value in told.values())


INPUTS, CLASSES = gaussian(120, 3) + 2 * (torch.arange(120) % 3 == 0)[:, None], torch.arange(120) % 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A network of two layers beside every null, and the table of them."""
    folder = tmp_path_factory.mktemp("whole")
    module = linear(gaussian(4, 3, seed=1), gaussian(3, 4, seed=2))
    clean = recorded(folder / "clean", module, INPUTS, CLASSES)
    moved = Moved(tuple(map(tuple, (0.01 * gaussian(120, 3, seed=9)).tolist())))
    stepped = recorded(folder / "step", module, INPUTS, CLASSES, condition="step", perturb=moved)
    trained = fitted(clean, stepped=stepped)
    nulls = []
    for seed in (3, 5):
        other = linear(gaussian(4, 3, seed=seed), gaussian(3, 4, seed=seed + 1))
        nulls.append(
            fitted(
                recorded(folder / f"null-{seed}", other, INPUTS, CLASSES),
                stepped=recorded(folder / f"null-step-{seed}", other, INPUTS, CLASSES, condition="step", perturb=moved),
            )
        )
    book = coded(clean, random_codebook(clean, trained.atlas))
    alone = fitted(recorded(folder / "alone", nn.Sequential(nn.Identity()).eval(), INPUTS, CLASSES))
    options = {"codebook": book, "alone": alone}
    return trained, nulls, options, profiled(trained, nulls, **options)


def test_every_condition_has_rows(whole):
    *_, results = whole
    assert set(results["condition"]) == {
        "clean", "untrained", "beyond untrained", "shuffled", "codebook", "reduction", "subsample:2", "subsample:4",
        "estimator:plug-in", "estimator:Miller-Madow", "estimator:Grassberger", "estimator:Chao-Shen",
    }  # fmt: skip
    expected = LABEL_FREE | TOLD | {
        "dimension_twonn", "dimension_mle", "class_gap", "class_separation", "local_stretch", "trustworthiness",
        "prediction_information",
    }  # fmt: skip
    assert measures(results, "1") == expected
    assert measures(results, "input") == expected - {"fan_out", "fan_in", "drift", "local_stretch"}
    assert measures(results, "1", "untrained") == expected - {"trustworthiness"}


def test_every_interval_contains_its_value(whole):
    *_, results = whole
    told = results[results["low"].notna()]
    assert (told["low"] <= told["value"] + 1e-9).all()
    assert (told["value"] <= told["high"] + 1e-9).all()
    own = ~results["condition"].str.startswith("estimator:")
    without = set(results.loc[results["low"].isna() & own, "measure"])
    assert without == {"trustworthiness", "compression_p", "expansion_p"}


def test_the_untrained_null_is_the_mean_of_the_draws_own_profiles(whole):
    _, nulls, _, results = whole
    own = [profiled(null) for null in nulls]
    for measure in ("participation_ratio", "label_information", "class_gap", "drift", "local_stretch", "code_entropy"):
        draws = [values(one, measure) for one in own]
        expected = {layer: (draws[0][layer] + draws[1][layer]) / 2 for layer in draws[0]}
        assert values(results, measure, "untrained") == pytest.approx(expected)
        clean = select(results, measure=measure, condition="clean")
        assert dict(zip(clean["layer"], clean["null_untrained"], strict=True)) == pytest.approx(expected)


def test_the_codebook_s_rows_are_what_its_codes_say(whole):
    _, _, options, results = whole
    own = profiled(options["codebook"])
    assert measures(results, "0", "codebook") == TOLD | {"code_entropy", "code_perplexity", "prediction_information"}
    for measure in ("label_information", "code_entropy", "class_area"):
        assert values(results, measure, "codebook") == values(own, measure)
        assert values(results, measure, "codebook") != values(results, measure)


def test_the_reduction_alone_is_the_same_at_every_layer(whole):
    _, _, options, results = whole
    own = profiled(options["alone"])
    for measure in ("participation_ratio", "label_information", "class_gap", "dimension_mle"):
        told = values(results, measure, "reduction")
        assert told == dict.fromkeys(("input", "0", "1", "logits"), values(own, measure)["0"])
    assert "drift" not in measures(results, "1", "reduction")


def test_the_dimension_is_taken_on_fewer_and_fewer_samples(whole):
    *_, results = whole
    for step, count in ((2, 60), (4, 30)):  # every eighth would be 15, too few
        rows = select(results, condition=f"subsample:{step}")
        assert set(rows["measure"]) == {"dimension_twonn"}
        assert set(rows["n"]) == {count}
        assert set(rows["layer"]) == {"input", "0", "1", "logits"}


def test_the_telescope_comes_last(whole):
    *_, results = whole
    last = results[results["layer_index"] == -1].iloc[1:]
    assert set(last["measure"]) == {"compression", "expansion", "compression_p", "expansion_p"}
    assert last.index.tolist() == list(range(len(results) - len(last), len(results)))
    ratios = values(results, "participation_ratio")
    expected = log2(ratios["input"]) - min(log2(ratios["0"]), log2(ratios["1"]))
    rows = last[(last["measure"] == "compression") & (last["unit"] == "octaves of participation_ratio")]
    assert rows.loc[rows["condition"] == "clean", "value"].tolist() == [pytest.approx(expected)]
    assert "reduction" in set(rows["condition"])


def test_the_same_seed_gives_the_same_table_and_another_does_not(whole):
    trained, nulls, options, results = whole
    pd.testing.assert_frame_equal(profiled(trained, nulls, **options), results)
    other = profiled(trained, nulls, **options, seed=1)
    assert not other["high"].equals(results["high"])
    clean, again = (one[(one["condition"] == "clean") & one["layer"].ne("")] for one in (results, other))
    assert again["value"].equals(clean["value"])  # what was measured does not depend on it


def test_the_inputs_geometry_is_measured_once_and_is_every_draws_own(tmp_path, monkeypatch):
    module = importlib.import_module("layerscope.measures.profile")
    trained, null = (
        fitted(recorded(tmp_path / str(seed), linear(gaussian(3, 3, seed=seed)), INPUTS[:60], CLASSES[:60]))
        for seed in (0, 1)
    )
    seen, own = [], module._space
    monkeypatch.setattr(module, "_space", lambda vectors, *rest: seen.append(vectors) or own(vectors, *rest))
    rows = profiled(trained, [null])
    inputs = module._vectors(trained, trained.recording.layers[0])
    assert sum(torch.equal(one, inputs) for one in seen) == 1
    for measure in ("participation_ratio", "dimension_twonn", "class_gap"):
        row = select(rows, measure=measure, layer="input", condition="clean").iloc[0]
        assert row["null_untrained"] == row["value"]
        assert select(rows, measure=measure, layer="0", condition="clean").iloc[0]["null_untrained"] != row["value"]


@pytest.mark.parametrize("labels", [None, CLASSES[:30].roll(1)])
@pytest.mark.parametrize("which", ["untrained", "codebook", "alone"])
def test_a_null_with_other_labels_is_refused(tmp_path, which, labels):
    one, other = (
        fitted(recorded(tmp_path / name, linear(torch.eye(3)), INPUTS[:30], classes))
        for name, classes in (("own", CLASSES[:30]), ("other", labels))
    )
    given = {which: [other] if which == "untrained" else other}
    with pytest.raises(ValueError, match="`untrained`, `codebook` and `alone` must have the labels of `trained`"):
        profile(one, show_progress=False, **given)


@pytest.mark.parametrize("which", ["untrained", "codebook", "alone"])
def test_a_null_with_other_samples_is_refused(tmp_path, which):
    one, other = (
        fitted(recorded(tmp_path / str(count), linear(torch.eye(3)), INPUTS[:count], CLASSES[:count]))
        for count in (30, 29)
    )
    given = {which: [other] if which == "untrained" else other}
    with pytest.raises(
        ValueError, match="`untrained`, `codebook` and `alone` must hold the samples of `trained`, in its order"
    ):
        profile(one, show_progress=False, **given)


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_a_layer_that_never_changes_has_no_dimension_gap_separation_or_stretch(tmp_path, bias):
    module = linear(torch.zeros(3, 3), torch.eye(3))
    module[0].bias = nn.Parameter(torch.full((3,), bias))
    clean = recorded(tmp_path / "clean", module, INPUTS, CLASSES)
    stepped = recorded(tmp_path / "step", module, INPUTS, CLASSES, condition="step", perturb=Moved(((0.1,) * 3,) * 120))
    results = profiled(fitted(clean, stepped=stepped))
    gone = {"dimension_twonn", "dimension_mle", "class_gap", "class_separation", "local_stretch"}
    assert not gone & measures(results, "0")
    assert gone - {"local_stretch"} < measures(results, "input")
    assert values(results, "participation_ratio")["0"] == 0.0
    assert values(results, "code_perplexity")["0"] == pytest.approx(1.0)
    assert values(results, "label_information")["0"] == pytest.approx(0.0, abs=0.01)
    assert not len(select(results, condition="subsample:2", layer="0"))
    assert not results["value"].isna().any()


def test_duplicates_are_counted_once_by_dimensions_alone(tmp_path):
    once = profiled(fitted(recorded(tmp_path / "once", linear(torch.eye(3)), INPUTS[:60], CLASSES[:60])))
    rows = torch.arange(60).repeat(2)
    twice = profiled(fitted(recorded(tmp_path / "twice", linear(torch.eye(3)), INPUTS[rows], CLASSES[rows])))
    for measure in ("dimension_twonn", "dimension_mle"):
        assert values(twice, measure) == pytest.approx(values(once, measure))
        assert set(select(twice, measure=measure, condition="clean")["n"]) == {60}
    assert values(twice, "class_gap")["input"] == pytest.approx(values(once, "class_gap")["input"], rel=1e-5)
    assert set(select(twice, measure="purity", condition="clean")["n"]) == {120}


@pytest.mark.parametrize("labels", [None, torch.ones(120, dtype=torch.int64)])
def test_without_classes_what_needs_none_is_measured(tmp_path, labels):
    results = profiled(fitted(recorded(tmp_path / "clean", linear(torch.eye(3)), INPUTS, labels)))
    free = LABEL_FREE | {"dimension_twonn", "dimension_mle", "trustworthiness", "prediction_information"}
    assert measures(results, "0") == free
    assert ("accuracy" in set(results["measure"])) == (labels is not None)
    assert set(select(results, condition="shuffled")["measure"]) == {"drift"}


def test_classes_of_one_sample_each_have_no_separation_and_everything_else(tmp_path):
    results = profiled(fitted(recorded(tmp_path / "clean", linear(torch.eye(30, 3)), INPUTS[:30], torch.arange(30))))
    assert "class_separation" not in set(results["measure"])
    assert measures(results, "0") >= TOLD | {"class_gap"}
    assert not results["value"].isna().any()


def test_a_class_of_one_sample_beside_others_is_measured(tmp_path):
    labels = torch.tensor([2] + [0, 1] * 20)
    results = profiled(fitted(recorded(tmp_path / "clean", linear(torch.eye(3)), INPUTS[:41], labels)))
    assert measures(results, "0") >= TOLD | {"class_gap", "class_separation"}
    told = results[results["low"].notna()]
    assert ((told["low"] <= told["value"] + 1e-9) & (told["value"] <= told["high"] + 1e-9)).all()


def test_fewer_samples_than_units_are_measured(tmp_path):
    many = recorded(tmp_path / "many", linear(torch.eye(3)), INPUTS)
    atlas = fit_atlas(many, Grid(5, 5), show_progress=False)
    few = recorded(tmp_path / "few", linear(torch.eye(3)), INPUTS[:8], CLASSES[:8])
    results = profiled(coded(few, atlas))
    assert measures(results, "0") == LABEL_FREE | TOLD | {"class_gap", "class_separation", "prediction_information"}
    assert values(results, "code_entropy")["0"] <= log2(8) + 1
    assert not results["value"].isna().any()


def stretched(folder, matrix, inputs, step):
    clean = recorded(folder / "clean", linear(matrix), inputs)
    by = Moved(((*step,),) * len(inputs))
    stepped = recorded(folder / "step", linear(matrix), inputs, condition="step", perturb=by)
    return values(profiled(fitted(clean, Grid(2, 2), stepped=stepped)), "local_stretch")


def test_a_network_that_only_enlarges_stretches_nothing(tmp_path):
    found = stretched(tmp_path, 3 * torch.eye(3), INPUTS, (0.25, -0.5, 0.25))
    assert found == pytest.approx({"0": 1.0, "logits": 1.0}, rel=1e-5)


@pytest.mark.parametrize(
    ("step", "stretch"), [((0.5, 0.0), 5 / 3), ((0.0, 0.5), 0.0), ((0.375, 0.5), 1.0)]  # of (3, 4), kept: 3
)  # fmt: skip
def test_a_network_that_drops_a_direction_stretches_steps_along_the_other(tmp_path, step, stretch):
    corners = torch.tensor([[3.0, 4.0], [3.0, -4.0], [-3.0, 4.0], [-3.0, -4.0]]).repeat(5, 1)
    found = stretched(tmp_path, torch.tensor([[1.0, 0.0]]), corners, step)
    assert found == pytest.approx({"0": stretch, "logits": stretch}, rel=1e-5)


def test_without_a_step_there_is_no_stretch(by_hand):
    assert "local_stretch" not in set(by_hand["measure"])
    assert isnan(by_hand["null_untrained"].iloc[1])


def test_samples_whose_step_is_clipped_away_do_not_count(tmp_path):
    clean = recorded(tmp_path / "clean", linear(torch.eye(3)), INPUTS)
    moves = [(0.25, 0.0, 0.0) if row % 3 == 0 else (0.0, 0.0, 0.0) for row in range(len(INPUTS))]
    stepped = recorded(tmp_path / "step", linear(torch.eye(3)), INPUTS, condition="step", perturb=Moved(tuple(moves)))
    rows = select(profiled(fitted(clean, Grid(2, 2), stepped=stepped)), measure="local_stretch", condition="clean")
    assert rows["value"].tolist() == pytest.approx([1.0, 1.0], rel=1e-5)
    assert set(rows["n"]) == {len(moves[::3])}


def test_label_information_that_permutations_reach_has_0_in_its_interval(tmp_path):
    labels = torch.arange(len(INPUTS)) % 2
    clean = recorded(tmp_path / "clean", linear(torch.eye(3)), gaussian(len(INPUTS), 3, seed=5), labels)
    rows = select(profiled(fitted(clean, Grid(2, 2))), measure="label_information", condition="clean")
    for row in rows.itertuples():
        assert row.low <= 0 <= row.high or row.value > row.null_shuffled
    assert (rows["low"] <= 0).any()
