"""What codes stand for: against a planted truth, closed forms and slow loops; and what is refused, by its text."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny_data, tiny_module
from torch import nn

import layerscope as ls
from layerscope import Network, fit_atlas, load_data, record
from layerscope.codes import Coded, encode
from layerscope.decoding import attribution
from layerscope.decoding.attribution import METHODS, attribute, blurred
from layerscope.decoding.coder import spread_of, weights_held
from layerscope.decoding.decoded import _units, code_path, decode
from layerscope.decoding.exemplars import contrasts, exemplars, receptive_field
from layerscope.decoding.fidelity import agreement_rows, correlations, margin_drops, random_scores
from layerscope.decoding.inversion import Inverted, Recipe, invert, starts, total_variation
from layerscope.decoding.layer_codes import LayerCodes
from layerscope.decoding.readout import fit_readout, ridge
from layerscope.layers import Layer
from layerscope.results import Place
from layerscope.som import Grid

NAMES = ("top", "middle", "bottom")
QUIET = {"show_progress": False}


def tiny_network():
    return Network(tiny_module(), class_names=NAMES)


@pytest.fixture(scope="module")
def measured(tiny_run):
    return tiny_run.measured(load_data(tiny_data()))


@pytest.fixture(scope="module")
def codes(tiny_run, measured):
    coded = Coded(tiny_run.recordings["clean"], tiny_run.atlas, tiny_run.codes["clean"])
    return LayerCodes.of(coded, Layer("middle", "mean"), tiny_network(), measured)


def living(codes, k=0):
    """The unit with the k-th most samples."""
    return int(torch.bincount(codes.best.unit, minlength=12).argsort(descending=True, stable=True)[k])


# the way from input to map


@pytest.mark.parametrize("name", ["input", "stem", "middle", "logits"])
@pytest.mark.parametrize("reduction", ["mean", "sketch:512"])
def test_the_coder_gives_the_recorded_codes_and_distances(tiny_run, measured, name, reduction):
    coded = Coded(tiny_run.recordings["clean"], tiny_run.atlas, tiny_run.codes["clean"])
    codes = LayerCodes.of(coded, Layer(name, reduction), tiny_network(), measured)
    inputs = measured.take(measured.rows).inputs
    assert codes.coder.codes(inputs).equal(codes.best.unit)
    apart = codes.coder.distances(inputs) * codes.spread
    torch.testing.assert_close(apart.amin(1), codes.best.distance, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(codes.coder.residuals(inputs, codes.best.unit) * codes.spread, codes.best.distance,
                               atol=1e-4, rtol=1e-4)  # fmt: skip
    ranked = apart.sort(1).values
    torch.testing.assert_close(
        codes.coder.margins(inputs, codes.best.unit) * codes.spread, ranked[:, 1] - ranked[:, 0], atol=1e-5, rtol=1e-4
    )


def test_the_spread_is_the_root_mean_square_distance_to_the_mean(codes):
    vectors = codes.recording.vectors(codes.layer).double()
    slow = sum(float((row - vectors.mean(0)).square().sum()) for row in vectors) / len(vectors)
    assert spread_of(vectors.float(), codes.fitted) == pytest.approx(slow**0.5, rel=1e-5)
    assert spread_of(vectors[:1].float().expand(5, -1), codes.fitted) == 1.0


def test_margins_fall_below_zero_where_another_unit_is_nearer(codes):
    inputs = codes.shown(range(20))
    others = (codes.best.unit[:20] + 1) % 12
    assert (codes.coder.margins(inputs, others) < 0).all()


def test_weights_ask_for_gradients_again_afterwards():
    network = tiny_network()
    with pytest.raises(KeyError), weights_held(network):
        raise KeyError
    with weights_held(network):
        assert not any(p.requires_grad for p in network.module.parameters())
    assert all(p.requires_grad for p in network.module.parameters())


# exemplars


def test_exemplars_are_the_nearest_of_the_cell_by_a_slow_loop(codes):
    unit = living(codes)
    table = [
        (float(d), int(i)) for c, d, i in zip(codes.best.unit, codes.best.distance, codes.recording.ids, strict=True)
        if c == unit
    ]  # fmt: skip
    own = exemplars(codes, unit, count=5)
    assert [one.sample for one in own.nearest] == [sample for _, sample in sorted(table)[:5]]
    assert own.count == len(table) == sum(own.classes.values())
    assert own.nearest[0].residual == pytest.approx(min(table)[0] / codes.spread)
    labels = dict(zip(codes.recording.ids.tolist(), codes.recording.labels.tolist(), strict=True))
    assert all(one.label == labels[one.sample] for one in own.nearest)
    assert own.commonest == max(own.classes, key=own.classes.get)


def test_typical_samples_are_spread_over_the_cell_without_its_strays(codes):
    unit = living(codes)
    members = codes.members(unit)
    own = exemplars(codes, unit, count=4)
    kept = codes.parents[members[: round(0.9 * len(members))]].tolist()
    taken = [one.sample for one in own.typical]
    assert taken[0] == own.nearest[0].sample
    assert len(set(taken)) == 4
    assert set(taken) <= set(kept)
    at = {sample: row for row, sample in enumerate(codes.parents.tolist())}
    vectors = codes.vectors
    for k in range(1, 4):  # each is the farthest from those before it
        reach = {s: min(float((vectors[at[s]] - vectors[at[t]]).norm()) for t in taken[:k]) for s in kept}
        assert reach[taken[k]] == pytest.approx(max(reach.values()), rel=1e-5)


def test_mistakes_are_those_answered_otherwise(codes):
    recording = codes.recording
    wrong = set(recording.ids[recording.labels != recording.predictions].tolist())
    found = {one.sample for unit in codes.units for one in exemplars(codes, unit).mistakes}
    assert found == wrong
    changed = LayerCodes(**{**vars_of(codes), "recording": with_predictions(recording, (recording.labels + 1) % 3)})
    unit = living(codes)
    assert len(exemplars(changed, unit).mistakes) == exemplars(changed, unit).count


def vars_of(codes):
    return {name: getattr(codes, name) for name in codes.__dataclass_fields__}


def with_predictions(recording, predictions):
    return replace(recording, predictions=predictions)


def test_a_dead_unit_says_that_it_has_no_exemplars_and_can_be_inverted(codes):
    dead = living(codes, 11)
    best = codes.best
    moved = best._replace(unit=torch.where(best.unit == dead, living(codes), best.unit))
    emptied = LayerCodes(**{**vars_of(codes), "best": moved})
    own = exemplars(emptied, dead)
    assert (own.name, own.count, own.nearest, own.typical, own.commonest) == ("no exemplars", 0, (), (), None)
    found = invert(emptied, torch.tensor([dead]), Recipe(steps=60))
    assert found.same.all()


def test_contrast_ranks_both_sides_along_the_line_between_the_prototypes(codes):
    unit = living(codes)
    found = contrasts(codes, unit, count=2)
    counts = torch.bincount(codes.best.unit, minlength=12)
    around = codes.fitted.grid.neighbours[unit].nonzero()[:, 0].tolist()
    assert [one.neighbour for one in found] == [other for other in around if counts[other]]
    prototypes = codes.fitted.prototypes
    at = {sample: row for row, sample in enumerate(codes.parents.tolist())}
    for one in found:
        torch.testing.assert_close(one.step[0], prototypes[one.neighbour] - prototypes[unit])
        heights = codes.vectors @ one.step[0]
        own, theirs = (codes.best.unit == unit), (codes.best.unit == one.neighbour)
        assert at[one.own[0].sample] == int(torch.where(own, heights, torch.inf).argmin())
        assert at[one.others[0].sample] == int(torch.where(theirs, heights, -torch.inf).argmax())


def test_neither_dead_units_nor_dead_neighbours_are_contrasted(codes):
    unit = living(codes)
    gone = contrasts(codes, unit)[0].neighbour
    moved = codes.best._replace(unit=torch.where(codes.best.unit == gone, unit, codes.best.unit))
    emptied = replace(codes, best=moved)
    assert gone not in [one.neighbour for one in contrasts(emptied, unit)]
    assert contrasts(emptied, gone) == ()


@pytest.mark.parametrize("unit", [-1, 12])
def test_units_that_are_not_there_are_refused(codes, unit):
    with pytest.raises(ValueError, match=rf"`unit` must be one of the map's, 0 to 11; got {unit}\."):
        exemplars(codes, unit)
    with pytest.raises(ValueError, match=r"`unit` must be one of the map's"):
        contrasts(codes, unit)


def test_a_count_below_one_is_refused(codes):
    with pytest.raises(ValueError, match=r"`count` must be at least 1; got 0\."):
        exemplars(codes, 0, count=0)


def test_the_receptive_field_of_two_convolutions():
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1, stride=2)).eval()
    network = Network(module)
    image = torch.rand(1, 1, 9, 9)
    assert receptive_field(network, "0", image, 4 * 9 + 3) == (slice(3, 6), slice(2, 5))
    assert receptive_field(network, "1", image, 2 * 5 + 2) == (slice(2, 7), slice(2, 7))
    assert receptive_field(network, "1", image, 0) == (slice(0, 3), slice(0, 3))
    with pytest.raises(ValueError, match=r"Layer '1' puts out \(1, 2, 5, 5\)|has no position 25"):
        receptive_field(network, "1", image, 25)
    nn.init.zeros_(module[0].weight)
    with pytest.raises(ValueError, match=r"Position 0 of layer '0' depends on no pixel of this image\."):
        receptive_field(network, "0", image, 0)


# inversion


def test_inversions_in_a_batch_are_those_one_by_one(codes):
    units = torch.arange(12)
    recipe = Recipe(steps=20, jitter=0)
    together = invert(codes, units, recipe)
    alone = [invert(codes, units[k : k + 1], recipe) for k in range(12)]
    torch.testing.assert_close(together.inputs, torch.cat([one.inputs for one in alone]), atol=1e-3, rtol=0)
    few = invert(codes, units, Recipe(steps=20, jitter=0, batch_size=5))
    torch.testing.assert_close(together.inputs, few.inputs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("start", ["mean", "noise"])
def test_an_inversion_depends_on_neither_the_batch_size_nor_the_other_units(codes, start):
    units, recipe = torch.arange(12), Recipe(start=start, steps=10, jitter=2)
    together = invert(codes, units, recipe).inputs
    few = invert(codes, units, replace(recipe, batch_size=5)).inputs
    torch.testing.assert_close(together, few, atol=1e-3, rtol=0)
    alone = invert(codes, units[[9, 7]], recipe).inputs
    torch.testing.assert_close(together[[9, 7]], alone, atol=1e-3, rtol=0)


def test_the_step_where_inputs_have_no_bounds_depends_on_no_unit(tmp_path):
    inputs = 3 * torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    network = Network(nn.Sequential(nn.Linear(5, 2)).eval(), bounds=(-torch.inf, torch.inf))
    data = load_data(inputs)
    recording = record(network, data, ["0"], tmp_path, reductions=["flatten"], show_progress=False)
    atlas = fit_atlas(recording, Grid(2, 3), show_progress=False)
    codes = LayerCodes.of(Coded(recording, atlas, encode(recording, atlas)), Layer("0", "flatten"), network, data)
    together, alone = (invert(codes, units, Recipe(steps=10)).inputs for units in (torch.arange(6), torch.arange(3, 4)))
    torch.testing.assert_close(together[3:4], alone, atol=1e-3, rtol=0)


def test_every_restart_from_noise_is_another_start(codes):
    units = torch.arange(12)
    recipe = Recipe(start="noise", steps=4, jitter=0)
    once, often = (invert(codes, units, replace(recipe, restarts=k)).residuals for k in (1, 4))
    assert (often <= once).all()
    assert (often < once).any()
    assert not starts(codes, units[:2], recipe)[0].equal(starts(codes, units[:2], recipe)[1])
    assert starts(codes, units[1:2], recipe)[0].equal(starts(codes, units[:2], recipe)[1])


@pytest.mark.parametrize("start", ["mean", "exemplar", "grey", "noise"])
def test_inverted_inputs_lie_in_the_bounds_and_say_how_well_they_do(codes, start):
    units = torch.arange(12)
    found = invert(codes, units, Recipe(start=start, steps=60, jitter=0))
    assert found.inputs.min() >= 0
    assert found.inputs.max() <= 1
    with torch.no_grad():
        torch.testing.assert_close(codes.coder.residuals(found.inputs, units), found.residuals, atol=1e-4, rtol=1e-3)
    assert found.codes.equal(codes.coder.codes(found.inputs))
    lives = torch.bincount(codes.best.unit, minlength=12) > 0  # dead units lie between the classes, where no image is
    assert found.same[lives].all()
    assert found.near.equal(found.same | codes.fitted.grid.touch(found.codes, units))
    middle = torch.tensor([codes.median_member(u) for u in range(12) if codes.median_member(u) is not None])
    assert found.residuals[lives].mean() < codes.residuals(middle).mean()


def test_more_steps_and_restarts_come_nearer(codes):
    units = torch.arange(12)
    short, long = (invert(codes, units, Recipe(steps=steps, start="grey")).residuals for steps in (4, 60))
    assert long.mean() < short.mean()
    once, thrice = (invert(codes, units, Recipe(steps=10, start="grey", restarts=k)).residuals for k in (1, 3))
    assert (thrice <= once).all()
    assert (thrice < once).any()


def test_a_linear_layer_is_inverted_exactly(tmp_path):
    """Where the layer is the input itself, the nearest input is the prototype cut to the bounds."""
    inputs = torch.rand(60, 5, generator=torch.Generator().manual_seed(0))
    network = Network(nn.Sequential(nn.Linear(5, 2)).eval())
    data = load_data(inputs)
    recording = record(network, data, ["0"], tmp_path, reductions=["flatten"], show_progress=False)
    atlas = fit_atlas(recording, Grid(2, 3), show_progress=False)
    codes = LayerCodes.of(Coded(recording, atlas, encode(recording, atlas)), Layer("input", "flatten"), network, data)
    found = invert(codes, torch.arange(6), Recipe(steps=150, small=0, start="grey"))
    torch.testing.assert_close(
        found.inputs, (codes.fitted.prototypes + codes.fitted.offset).clamp(0, 1), atol=5e-3, rtol=0
    )


def test_total_variation_by_a_slow_loop():
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    slow = [
        sum(
            float((image[c, y, x] - image[c, y2, x2]) ** 2)
            for c in range(3) for y in range(4) for x in range(5) for y2, x2 in ((y + 1, x), (y, x + 1))
            if y2 < 4 and x2 < 5
        )
        for image in images
    ]  # fmt: skip
    assert total_variation(images).tolist() == pytest.approx(slow)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"start": "mud"}, r"`start` must be one of mean, exemplar, grey, noise; got 'mud'\."),
        ({"steps": 1}, r"`steps` must be a whole number, at least 2; got 1\."),
        ({"jitter": -1}, r"`jitter` must be a whole number, at least 0; got -1\."),
        ({"restarts": 0}, r"`restarts` must be a whole number, at least 1; got 0\."),
        ({"batch_size": 0}, r"`batch_size` must be a whole number, at least 1; got 0\."),
        ({"step_size": -0.1}, r"`step_size` must be a number of at least 0; got -0\.1\."),
        ({"step_size": float("inf")}, r"`step_size` must be a number of at least 0; got inf\."),
        ({"smooth": -1.0}, r"`smooth` must be a number of at least 0; got -1\.0\."),
    ],
)
def test_recipes_out_of_range_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        Recipe(**options)


# the read-out


def test_ridge_is_the_closed_form_and_its_penalty_the_best_by_leaving_out():
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(40, k, generator=generator, dtype=torch.float64) for k in (6, 3))
    y = x @ torch.randn(6, 3, generator=generator, dtype=torch.float64) + noise
    before, after, penalty = ridge(x, y)
    weights = before @ after
    a, b = x - x.mean(0), y - y.mean(0)
    torch.testing.assert_close(weights, torch.linalg.solve(a.T @ a + penalty * torch.eye(6, dtype=a.dtype), a.T @ b))

    def score(size):
        hat = a @ torch.linalg.solve(a.T @ a + size * torch.eye(6, dtype=a.dtype), a.T)
        return float((b - hat @ b).square().sum() / (39 - hat.trace()) ** 2)

    assert score(penalty) <= min(score(penalty * factor) for factor in (0.3, 0.5, 2, 3))


def test_a_readout_of_the_input_itself_tells_all_of_it_and_less_from_codes(tiny_run, measured):
    coded = Coded(tiny_run.recordings["clean"], tiny_run.atlas, tiny_run.codes["clean"])
    # 40 samples of 36 pixels: half of them cannot tell a line through 36, but middle's 6 features can be read
    codes = LayerCodes.of(coded, Layer("middle", "mean"), tiny_network(), measured)
    activation, code = fit_readout(codes), fit_readout(codes, "code")
    assert 0 < code.explained < activation.explained < 1
    assert activation.bounds[0] < activation.explained < activation.bounds[1]
    prototypes = codes.fitted.prototypes
    step = activation(prototypes[1:2]) - activation(prototypes[:1])
    torch.testing.assert_close(activation.along(prototypes[1:2] - prototypes[:1]), step, atol=1e-5, rtol=1e-4)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    others = order[20:]
    told, true = activation(codes.vectors[others]), codes.shown(others)
    lost = (told - true).square().sum() / (true - codes.shown(order[:20]).mean(0)).square().sum()
    assert activation.explained == pytest.approx(1 - float(lost), abs=1e-5)


def test_a_readout_of_wide_layers_and_large_inputs_keeps_no_product_of_both():
    x, y = (torch.rand(6, wide, generator=torch.Generator().manual_seed(0)).double() for wide in (300, 500))
    before, after, _ = ridge(x, y)
    assert (before.shape, after.shape) == ((300, 6), (6, 500))


def test_a_readout_of_few_samples_is_refused(tmp_path):
    network, data = Network(nn.Sequential(nn.Linear(5, 2)).eval()), load_data(torch.rand(3, 5))
    recording = record(network, data, ["0"], tmp_path, reductions=["flatten"], show_progress=False)
    atlas = fit_atlas(recording, Grid(1, 2), show_progress=False)
    codes = LayerCodes.of(Coded(recording, atlas, encode(recording, atlas)), Layer("0", "flatten"), network, data)
    with pytest.raises(ValueError, match=r"one vector for each of four samples or more; got 3 for 3 of them\."):
        fit_readout(codes)


def test_readouts_that_cannot_be_are_refused(codes):
    with pytest.raises(ValueError, match=r"`kind` must be one of activation, code; got 'soul'\."):
        fit_readout(codes, "soul")


# attribution


def test_integrated_gradients_add_up_to_the_margin_less_the_baselines(codes):
    inputs, units = codes.shown(range(20)), codes.best.unit[:20]
    found = attribute(codes.coder, inputs, units, "integrated-gradients")
    with torch.no_grad():
        ends = [codes.coder.margins(one, units) for one in (inputs, blurred(inputs))]
    torch.testing.assert_close(found.margins, ends[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.parts.flatten(1).sum(1), ends[0] - ends[1], atol=0.05, rtol=0.1)
    assert found.parts.shape == (20, 6, 6)


def test_gradient_times_input_and_occlusion_by_slow_loops(codes):
    inputs, units = codes.shown(range(3)), codes.best.unit[:3]
    black = torch.zeros(1, 1, 6, 6)
    shown = inputs.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(codes.coder.margins(shown, units).sum(), shown)
    found = attribute(codes.coder, inputs, units, "gradient-x-input", baseline=black)
    torch.testing.assert_close(found.parts, (slope * inputs)[:, 0])
    occluded = attribute(codes.coder, inputs, units, "occlusion", baseline=black).parts
    slow = torch.zeros(3, 6, 6)
    with torch.no_grad():
        for y in range(6):
            for x in range(6):
                gone = inputs.clone()
                gone[:, :, y, x] = 0
                slow[:, y, x] = codes.coder.margins(inputs, units) - codes.coder.margins(gone, units)
    torch.testing.assert_close(occluded, slow, atol=1e-5, rtol=1e-3)


def test_the_parts_of_images_in_colour_are_pixels_with_their_channels_summed(tmp_path):
    network = Network(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh()).eval())
    data = load_data(torch.rand(30, 3, 5, 5, generator=torch.Generator().manual_seed(0)))
    recording = record(network, data, "1", tmp_path, reductions=["flatten"], show_progress=False)
    atlas = fit_atlas(recording, Grid(2, 2), show_progress=False)
    codes = LayerCodes.of(Coded(recording, atlas, encode(recording, atlas)), Layer("1", "flatten"), network, data)
    inputs, units = codes.shown(range(4)), codes.best.unit[:4]
    shown = inputs.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(codes.coder.margins(shown, units).sum(), shown)
    found = attribute(codes.coder, inputs, units, "gradient-x-input", baseline=torch.zeros(1, 3, 5, 5))
    torch.testing.assert_close(found.parts, (slope * inputs).sum(1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("each", [False, True])
def test_no_forward_pass_of_an_attribution_takes_more_than_its_share(codes, monkeypatch, method, each):
    inputs, units = codes.shown(range(8)), codes.best.unit[:8]
    baseline = 0.1 * torch.arange(8.0).view(8, 1, 1, 1).expand_as(inputs) if each else None
    whole = attribute(codes.coder, inputs, units, method, baseline=baseline)
    seen = []
    handle = codes.network.module.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    monkeypatch.setattr(attribution, "FORWARD", 3)
    parts = attribute(codes.coder, inputs, units, method, baseline=baseline)
    handle.remove()
    assert max(seen) == 3
    torch.testing.assert_close(parts.parts, whole.parts, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(parts.margins, whole.margins, atol=1e-5, rtol=1e-3)


def test_margin_drops_by_a_slow_loop(codes):
    inputs, units = codes.shown(range(5)), codes.best.unit[:5]
    found = attribute(codes.coder, inputs, units)
    top, random, changed = margin_drops(codes.coder, inputs, units, found, share=0.25)
    for row in range(5):
        whole, base = inputs[row].flatten(), found.baseline[row].flatten()
        for falls, scores in ((top, found.parts[row].flatten()), (changed, (whole - base).abs())):
            flat, ranks = whole.clone(), scores.tolist()
            gone = sorted(range(36), key=lambda place, ranks=ranks: -ranks[place])[:9]
            flat[gone] = base[gone]
            with torch.no_grad():
                left = float(codes.coder.margins(flat.view(1, 1, 6, 6), units[row : row + 1]))
            assert float(falls[row]) == pytest.approx(float(found.margins[row]) - left, abs=1e-5)
    assert top.mean() > random.mean()
    assert random.equal(margin_drops(codes.coder, inputs, units, found, share=0.25)[1])


def test_a_samples_random_parts_are_its_own(codes):
    inputs, units, ids = codes.shown(range(5)), codes.best.unit[:5], torch.arange(100, 105)
    found = attribute(codes.coder, inputs, units)
    together = margin_drops(codes.coder, inputs, units, found, ids=ids).random
    some = torch.tensor([3, 1])
    mine = replace(found, **{name: getattr(found, name)[some] for name in ("parts", "margins", "baseline", "there")})
    alone = margin_drops(codes.coder, inputs[some], units[some], mine, ids=ids[some]).random
    torch.testing.assert_close(together[some], alone, atol=1e-5, rtol=1e-4)
    other = margin_drops(codes.coder, inputs, units, found, ids=ids, seed=1).random
    assert not together.equal(other)
    padded = torch.tensor([[True] * 3 + [False] * 2])
    assert random_scores(padded, [(0, 7)])[:, :3].equal(random_scores(padded[:, :3], [(0, 7)]))


def test_what_is_drawn_goes_where_the_inputs_are():
    """Another default device stands in for a graphics card."""
    assert random_scores(torch.ones(2, 3, dtype=torch.bool), [(0,), (1,)]).device.type == "cpu"
    network, image = Network(nn.Sequential(nn.Conv2d(1, 2, 3)).eval()), torch.rand(1, 1, 4, 4)
    with torch.device("meta"):
        assert receptive_field(network, "0", image, 0) == (slice(0, 3), slice(0, 3))


def test_attributions_that_cannot_be_are_refused(codes, monkeypatch):
    inputs, units = codes.shown(range(2)), codes.best.unit[:2]
    with pytest.raises(ValueError, match=r"`method` must be one of integrated-gradients, .*; got 'guess'\."):
        attribute(codes.coder, inputs, units, "guess")
    with pytest.raises(ValueError, match=r"`baseline` must be one input of shape \(1, 6, 6\), .* got shape \(1, 4\)\."):
        attribute(codes.coder, inputs, units, baseline=torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"`share` must be between 0 and 1; got 1\."):
        margin_drops(codes.coder, inputs, units, attribute(codes.coder, inputs, units), share=1)
    import sys

    monkeypatch.setitem(sys.modules, "captum.attr", None)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(ImportError, match=r"needs captum, which is not installed: pip install 'layerscope\[captum\]'"):
        attribute(codes.coder, inputs, units)


def test_what_fails_inside_captum_is_not_taken_for_its_absence(codes, monkeypatch):
    def broken(name):
        raise ModuleNotFoundError("No module named 'matplotlob'", name="matplotlob")

    monkeypatch.setattr(attribution, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'matplotlob'"):
        attribute(codes.coder, codes.shown(range(2)), codes.best.unit[:2])


def test_correlations_are_numpys():
    one, other = (torch.rand(4, 9, generator=torch.Generator().manual_seed(seed)) for seed in range(2))
    slow = [np.corrcoef(a, b)[0, 1] for a, b in zip(one.numpy(), other.numpy(), strict=True)]
    assert correlations(one, other).tolist() == pytest.approx(slow, abs=1e-5)
    assert correlations(torch.ones(1, 9), other[:1]).item() == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_null_of_agreement_never_pairs_a_unit_with_itself(seed):
    units = torch.arange(3)
    inputs = torch.eye(3)  # any two of them correlate by -1/2, each with itself by 1
    run = Inverted(units, inputs, torch.zeros(3), units, torch.ones(3, dtype=torch.bool))
    (row,) = agreement_rows([run, run], torch.zeros(3), Place("middle", 2, "clean", "mean"), seed=seed)
    assert row.value == pytest.approx(1)
    assert row.null_shuffled == pytest.approx(-0.5, abs=1e-6)


def test_agreement_of_one_seed_or_of_one_unit_is_refused():
    one = torch.arange(1)
    run = Inverted(one, torch.eye(3)[:1], torch.zeros(1), one, torch.ones(1, dtype=torch.bool))
    place = Place("middle", 2, "clean", "mean")
    for runs in ([run], [run, run]):
        with pytest.raises(
            ValueError, match=rf"`runs` must be two seeds of two units at least; got {len(runs)} of 1\."
        ):
            agreement_rows(runs, torch.zeros(3), place)


def test_agreement_of_no_inversions_is_refused(tiny_run):
    told = "`agreement` holds inversions beside one another, and there are none of 'middle|mean': `recipe` is None, or"
    with pytest.raises(ValueError, match=re.escape(told)):
        decode(tiny_run, "middle", network=tiny_network(), data=tiny_data(), recipe=None, agreement=True, **QUIET)


# the door


def test_decode_gives_every_unit_with_its_fidelity(tiny_run):
    found = decode(tiny_run, "middle", network=tiny_network(), data=tiny_data(), count=3, attributed=2, **QUIET)
    assert [one.unit for one in found.units] == list(range(12))
    rows = found.results.set_index(["measure", "condition", "unit"])["value"]
    same = np.mean([one.fidelity.reencoded for one in found.units])
    assert rows["reencoding_rate", "clean", "share of units"] == pytest.approx(same)
    assert rows["reencoding_rate", "clean", "share, or a neighbour"] >= same
    residuals = [one.fidelity.residual for one in found.units]
    assert rows["inversion_residual", "clean", "spreads"] == pytest.approx(np.mean(residuals), rel=1e-5)
    typical = [one.fidelity.typical_residual for one in found.units]
    assert rows["inversion_residual", "exemplar", "spreads"] == pytest.approx(np.nanmean(typical), rel=1e-5)
    conditions = ("clean", "random", "largest change")
    top, random, changed = (rows["margin_drop", condition, "spreads"] for condition in conditions)
    falls = torch.tensor([one.fidelity.change_drop for one in found.units]).double()
    shares = torch.tensor([len(one.attributed) for one in found.units]).double()
    assert changed == pytest.approx(float((falls.nan_to_num() * shares).sum() / shares.sum()), rel=1e-4)
    assert rows["margin_drop", "clean", "times random"] == pytest.approx(top / random, rel=1e-4)
    places = found.results[["layer", "layer_index", "reduction"]].drop_duplicates().values.tolist()
    assert places == [["middle", 2, "mean"]]
    one = found.units[living(found.codes[Layer("middle", "mean")])]
    assert one.attribution.parts.shape == (2, 6, 6)
    assert one.attributed == tuple(shown.sample for shown in one.exemplars.typical[:2])
    assert one.inverted.shape == one.read.shape == (1, 6, 6)
    assert found.table.loc[one.unit, "name"] == one.name == one.exemplars.name
    bounds = found.results[["low", "value", "high"]].dropna()
    assert len(bounds) >= 8
    assert bounds.apply(lambda row: row["low"] <= row["value"] <= row["high"], axis=1).all()


def test_the_mean_fall_of_a_unit_is_that_of_its_exemplars(tiny_run):
    found = decode(tiny_run, "middle", network=tiny_network(), data=tiny_data(), recipe=None, attributed=2, **QUIET)
    codes = found.codes[Layer("middle", "mean")]
    shown = [(one.unit, sample) for one in found.units for sample in one.attributed]
    units = torch.tensor([unit for unit, _ in shown])
    samples = codes.data.take(codes.data.find([sample for _, sample in shown])).inputs
    ids = torch.tensor([sample for _, sample in shown])
    drops = margin_drops(codes.coder, samples, units, attribute(codes.coder, samples, units), ids=ids)
    for one in found.units:
        if one.attributed:
            assert one.fidelity.margin_drop == pytest.approx(float(drops[0][units == one.unit].mean()), abs=1e-5)
            assert one.fidelity.random_drop == pytest.approx(float(drops[1][units == one.unit].mean()), abs=1e-5)


def test_a_code_path_is_a_samples_unit_at_every_layer(tiny_run):
    sample = int(tiny_run.recordings["clean"].ids[3])
    path = code_path(tiny_run, sample, "sketch:512")
    row = tiny_run.codes["clean"].iloc[3]
    assert [str(layer) for layer in path] == [f"{name}|sketch:512" for name in ("input", "stem", "middle", "logits")]
    assert all(unit == row[f"code:{layer}"] for layer, unit in path.items())
    found = decode(
        tiny_run, "*|sketch:512", path, network=tiny_network(), data=tiny_data(), recipe=Recipe(steps=4),
        attribution=None, **QUIET,
    )  # fmt: skip
    assert {one.layer: one.unit for one in found.units} == path
    with pytest.raises(ValueError, match=r"`sample` must be the id of a recorded sample; there is none with id 9999\."):
        code_path(tiny_run, 9999)
    with pytest.raises(ValueError, match=r"`reduction` must be one of mean, sketch:512; got 'max'\."):
        code_path(tiny_run, sample, "max")


def test_agreement_of_two_starts_from_noise_beside_other_units(tiny_run):
    found = decode(
        tiny_run, "input", np.arange(12), network=tiny_network(), data=tiny_data(), recipe=Recipe(steps=60),
        attribution=None, agreement=True, **QUIET,
    )  # fmt: skip
    row = found.results[found.results["measure"] == "inversion_agreement"].iloc[0]
    assert row["value"] > 0.9  # the input's own prototypes are inverted by themselves
    assert row["null_shuffled"] < 0.5


@pytest.mark.parametrize(
    ("layer", "unit", "told"),
    [
        (
            "nothing",
            0,
            r"`layer` 'nothing' was not recorded; layers are input, stem, middle, logits, under mean, ",
        ),
        ("middle|max", 0, r"`layer` 'middle\|max' was not recorded"),
        ("middle", 12, r"`unit` must be one of the map's, 0 to 11; got 12\."),
        ("middle", "some", r"`unit` must be a unit's number, several, 'all', or a code path; got 'some'\."),
        ("middle", [], r"`unit` must be a unit's number, several, 'all', or a code path; got \[\]\."),
    ],
)
def test_layers_and_units_that_are_not_there_are_refused(tiny_run, layer, unit, told):
    with pytest.raises(ValueError, match=told):
        decode(tiny_run, layer, unit, network=tiny_network(), data=tiny_data(), **QUIET)


@pytest.mark.parametrize(
    ("unit", "units"),
    [
        (np.int32(5), [5]),
        (np.array([5, 3]), [5, 3]),
        (np.array(5), [5]),
        ([np.int32(5), torch.tensor(3)], [5, 3]),
        (torch.tensor([5, 3]), [5, 3]),
        (torch.tensor(5), [5]),
        (range(2), [0, 1]),
    ],
)
def test_units_are_whole_numbers_of_any_kind(codes, unit, units):
    found = _units(codes, unit)
    assert found == units
    assert {type(one) for one in found} == {int}


@pytest.mark.parametrize(
    "unit", [1.0, [1.5], None, np.array([0.5]), torch.tensor([True, False]), [[1, 2]], np.array([])]
)
def test_units_that_are_no_whole_numbers_are_refused(codes, unit):
    with pytest.raises(ValueError, match=r"`unit` must be a unit's number, several, 'all', or a code path; got "):
        _units(codes, unit)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"recipe": "mean"}, r"`recipe` must be a Recipe, 'auto', or None for no inversions; got 'mean'\."),
        ({"attribution": "guess"}, r"`attribution` must be one of integrated-gradients, .*'auto', .*; got 'guess'\."),
        ({"count": 0}, r"`count` must be a whole number, at least 1; got 0\."),
        ({"attributed": -1}, r"`attributed` must be a whole number, at least 0; got -1\."),
        ({"agreement": True}, r"needs two units of a layer at least; `unit` gives \[0\] of 'middle\|mean'\."),
        ({"unit": {}}, r"`unit` is a code path of no layer, and `layer` 'middle' means middle\|mean, none of which is"),
        (
            {"unit": {Layer("middle", "sketch:512"): 3}},
            r"a code path of middle\|sketch:512, and `layer` 'middle' means",
        ),
    ],
)
def test_what_decode_is_asked_must_be_there(tiny_run, options, told):
    with pytest.raises(ValueError, match=told):
        decode(tiny_run, "middle", **{"unit": 0, "network": tiny_network(), "data": tiny_data(), **QUIET, **options})


def test_another_network_and_other_data_are_refused(tiny_run):
    other = tiny_network()
    with torch.no_grad():
        other.module.head.bias += 1
    with pytest.raises(ls.errors.RunMismatchError, match=r"`network` must be what the run in .* was made of"):
        decode(tiny_run, "middle", 0, network=other, data=tiny_data(), **QUIET)
    with pytest.raises(ls.errors.RunMismatchError, match=r"`data` must be what the run in .* was made of"):
        decode(tiny_run, "middle", 0, network=tiny_network(), data=tiny_data(seed=5), **QUIET)
    coded = Coded(tiny_run.recordings["clean"], tiny_run.atlas, tiny_run.codes["clean"])
    measured = tiny_run.measured(load_data(tiny_data()))
    with pytest.raises(ls.errors.RunMismatchError, match=r"`network` is not what .* codes of another network would"):
        decode(coded, "middle", 0, network=other, data=measured, **QUIET)
    with pytest.raises(ls.errors.RunMismatchError, match=r"`data` is not what .* codes of other samples would"):
        decode(coded, "middle", 0, network=tiny_network(), data=tiny_data(seed=5), **QUIET)


def test_a_run_of_objects_asks_for_them(tiny_run):
    with pytest.raises(ValueError, match=r"The run was made from an object \(.*load the network yourself"):
        decode(tiny_run, "middle", 0, **QUIET)
    with pytest.raises(ValueError, match=r"The run was made from an object .*load the data yourself"):
        decode(tiny_run, "middle", 0, network=tiny_network(), **QUIET)
    coded = Coded(tiny_run.recordings["clean"], tiny_run.atlas, tiny_run.codes["clean"])
    with pytest.raises(ValueError, match=r"`network` and `data` must be given with a recording"):
        decode(coded, "middle", 0, network=tiny_network(), **QUIET)
