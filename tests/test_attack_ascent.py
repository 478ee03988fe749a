"""Attacks that follow the loss, beside slow loops, closed forms of linear networks, and other libraries' attacks."""

import functools
from math import inf

import pytest
import torch
from peers import answers, art_apgd, art_pgd, clothes, foolbox_pgd, images, linear_network, small_module
from references import attacks as references

from layerscope import Network, demo
from layerscope.attacks import APGD, FGSM, PGD, Budget, Draws, attack, parse_attack
from layerscope.attacks import gradient as ascents
from layerscope.attacks.budget import NORMS, AbstractNorm
from layerscope.attacks.losses import cross_entropy, dlr, margin_loss

SIZES = {"linf": 0.06, "l2": 0.8}
BOUNDS = (0.0, 1.0)


def small():
    """A network, images that are near its boundaries, and their classes."""
    network = Network(small_module(seed=3))
    inputs = images(24, seed=1)
    inputs[:4] = inputs[:4].round()  # at the bounds
    return network, inputs, answers(network, inputs)


# what is climbed


def test_losses_are_those_of_the_papers():
    logits = 3 * torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 6
    for own, reference in ((cross_entropy, references.cross_entropy), (dlr, references.ratio)):
        expected = [reference(row, label) for row, label in zip(logits, labels.tolist(), strict=True)]
        torch.testing.assert_close(own(logits, labels), torch.stack(expected), atol=1e-5, rtol=1e-5)
    assert (margin_loss(logits, labels) > 0).equal(logits.argmax(1) != labels)
    torch.testing.assert_close(dlr(logits, labels), dlr(40 * logits + 7, labels), atol=1e-4, rtol=1e-4)


# geometry


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_change_of_size_1_climbs_by_the_dual_norm(norm):
    geometry, slopes = NORMS[norm], torch.randn(20, 2, 3, generator=torch.Generator().manual_seed(0))
    best = geometry.steepest(slopes)
    torch.testing.assert_close(geometry.of(best), torch.ones(20))
    torch.testing.assert_close((best * slopes).flatten(1).sum(1), geometry.dual(slopes))
    assert geometry.steepest(torch.zeros(2, 3)).equal(torch.zeros(2, 3))


def test_starts_are_uniform_in_the_ball_of_the_entries_that_are_drawn():
    n, radius = 4000, 2.0
    support = torch.tensor([False, True, True, False]).expand(n, 4)
    draws = Draws(torch.zeros(n, 4), range(n), seed=0, support=support)
    starts = NORMS["l2"].start(draws.uniform, draws.normal, torch.full((n,), radius))
    assert (starts[~support] == 0).all()
    inner = (starts.norm(dim=1) / radius).square().sort().values  # uniform in two dimensions
    assert (inner - torch.linspace(0, 1, n)).abs().max() < 1.63 / n**0.5  # Kolmogorov-Smirnov, at 1 %


def test_a_cube_s_starts_cost_no_normal_numbers():
    def never():
        raise AssertionError

    draws = Draws(torch.zeros(3, 2), range(3), seed=0)
    assert NORMS["linf"].start(draws.uniform, never, torch.ones(3)).equal(draws.uniform())
    assert NORMS["linf"].surface(draws.uniform, never).abs().amax(1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("norm", NORMS)
def test_starts_are_uniform_in_the_ball_or_on_its_surface(norm):
    geometry, n = NORMS[norm], 4000
    draws = Draws(torch.zeros(n, 3), range(n), seed=0)
    radius = torch.full((n,), 2.0)
    sizes = geometry.of(geometry.start(draws.uniform, draws.normal, radius))
    assert sizes.max() <= 2 + 1e-6
    for share in (0.3, 0.6, 0.9):  # of a ball in three dimensions, share^3 lies within share of its radius
        assert abs(float((sizes < 2 * share).float().mean()) - share**3) < 4 * (0.25 / n) ** 0.5
    surface = geometry.surface(draws.uniform, draws.normal)
    torch.testing.assert_close(geometry.of(surface), torch.ones(n))
    for change in (geometry.start(draws.uniform, draws.normal, radius), surface):
        assert change.mean(0).abs().max() < 4 * 2 / n**0.5
    again = geometry.surface(functools.partial(draws.uniform, 1), functools.partial(draws.normal, 1))
    assert not surface.isclose(again).all(1).any()


# one step


@pytest.mark.parametrize("norm", NORMS)
def test_fgsm_is_one_step_of_the_whole_budget_along_the_gradient(norm):
    network, inputs, labels = small()
    found = FGSM(Budget(norm, SIZES[norm]))(network, inputs, labels).inputs
    for one, label, reached in zip(inputs, labels.tolist(), found, strict=True):
        _, slope, _ = references.seen_at(network, label, references.cross_entropy)(one)
        expected = (one + SIZES[norm] * references.steepest(slope, norm)).clamp(0, 1)
        torch.testing.assert_close(reached, expected, atol=1e-5, rtol=0)


# many steps


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [1, 3, 12])
def test_pgd_is_the_plain_loop(norm, steps):
    network, inputs, labels = small()
    size = SIZES[norm] / 4
    draws = Draws(inputs, range(24), seed=4)
    starts = inputs + NORMS[norm].start(draws.uniform, draws.normal, torch.full((24,), size))
    ended = PGD(Budget(norm, size), steps=steps)(network, inputs, labels, seed=4)
    early = PGD(Budget(norm, size), steps=steps, stop="fooled")(network, inputs, labels, seed=4)
    kinds = set()
    for row, label in enumerate(labels.tolist()):
        look = references.seen_at(network, label, references.cross_entropy)
        places = references.pgd(look, inputs[row], starts[row], size, norm, *BOUNDS, steps)
        fooled = [place for place in places if look(place)[2]]
        torch.testing.assert_close(ended.inputs[row], fooled[-1] if fooled else places[-1], atol=2e-6, rtol=0)
        torch.testing.assert_close(early.inputs[row], fooled[0] if fooled else places[-1], atol=2e-6, rtol=0)
        assert bool(ended.success[row]) == bool(early.success[row]) == bool(fooled)
        kinds.add(bool(fooled))
    assert kinds == {True, False}


class Striped(torch.nn.Module):
    """Answers 1 on a stripe of the mean pixel, and 0 on both sides of it, while the loss climbs across."""

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        margin = 1e-3 - 4 * (mean - 0.6).square()
        away = 50 * (mean - 0.6).relu()  # beyond the stripe, the gradient still leads away from it
        margin = margin + away - away.detach()
        return torch.stack([torch.zeros_like(mean), margin], 1)


def test_pgd_keeps_the_last_place_that_fooled_the_network_where_the_end_does_not():
    network = Network(Striped().eval())
    inputs = torch.full((6, 1, 4, 4), 0.5)
    labels = torch.zeros(6, dtype=torch.int64)
    found = PGD(Budget("linf", 0.3), steps=60)(network, inputs, labels)
    assert found.success.all()
    assert network.module(inputs + 0.3).argmax(1).eq(0).all()  # the end of the ascent
    assert found.inputs.mean((1, 2, 3)).sub(0.6).abs().max() < 0.02


@pytest.mark.parametrize("made", ["pgd:linf=0.02,steps=4", "pgd:l2=0.3,steps=4", "apgd-ce:l2=0.3,steps=3"])
def test_restarts_go_on_with_what_is_not_fooled_yet(made):
    network, inputs, labels = small()
    one, two, five = (attack(network, inputs, labels, f"{made},restarts={restarts}") for restarts in (1, 2, 5))
    assert 0 < one.success.sum() < 24
    assert (five.success >= two.success).all()
    assert (two.success >= one.success).all()
    for later in (two, five):
        assert later.inputs[one.success].equal(one.inputs[one.success])


def test_a_restart_finds_what_the_first_start_could_not():
    class Walled(torch.nn.Module):
        """Falls to the answer 1 only from starts on one side of a wall."""

        def forward(self, x):
            place = x.flatten(1)[:, 0] - 0.5
            return torch.stack([torch.zeros_like(place), torch.where(place > 0, 10 * place - 1, place.square() - 1)], 1)

    network = Network(Walled().eval())
    inputs, labels = torch.full((200, 1), 0.5), torch.zeros(200, dtype=torch.int64)
    one, three = (attack(network, inputs, labels, f"pgd:linf=0.2,restarts={k}").success.sum() for k in (1, 3))
    assert 70 < one < 130
    assert three > 160


@pytest.mark.parametrize("norm", NORMS)
def test_a_target_is_what_every_answer_becomes(norm):
    network = linear_network()
    inputs = images(30)
    labels = answers(network, inputs)
    found = PGD(Budget(norm, {"linf": 0.9, "l2": 4.0}[norm]), steps=20, target=2)(network, inputs, labels)
    assert found.success.all()
    assert answers(network, found.inputs).eq(2).all()
    little = PGD(Budget(norm, {"linf": 0.05, "l2": 0.3}[norm]), steps=20, target=2)(network, inputs, labels)
    before, after = (cross_entropy(network(some), torch.full((30,), 2)) for some in (inputs, little.inputs))
    assert (after < before).all()
    assert 0 < little.success.sum() < 30


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [1, 7, 30])
def test_apgd_is_the_plain_loop_of_the_paper(norm, loss, steps, monkeypatch):
    network, inputs, labels = small()
    network = Network(network.module.double())
    inputs, size = inputs[:10].double(), SIZES[norm] / 6
    draws = Draws(inputs, range(10), seed=2)
    starts = inputs + size * NORMS[norm].surface(draws.uniform, draws.normal)
    found = APGD(Budget(norm, size), loss=loss, steps=steps)(network, inputs, labels[:10], seed=2)
    visited = []
    plain = ascents.slope

    def watched(*given):
        visited.append(given[1])
        return plain(*given)

    monkeypatch.setattr(ascents, "slope", watched)
    turned = set()
    for row in range(10):
        visited.clear()
        rule = {"ce": references.cross_entropy, "dlr": references.ratio}[loss]
        look = references.seen_at(network, int(labels[row]), rule)
        start = references.project(starts[row], inputs[row], size, norm, *BOUNDS)
        trail, strides, best, _ = references.auto_pgd(look, inputs[row], start, size, norm, *BOUNDS, steps)
        hit = next((place for place in trail if look(place)[2]), None)
        expected = best if hit is None else hit
        torch.testing.assert_close(found.inputs[row], expected, atol=1e-7, rtol=0)
        assert bool(found.success[row]) == (hit is not None)
        alone = APGD(Budget(norm, size), loss=loss, steps=steps)
        alone(network, inputs[row : row + 1], labels[row : row + 1], ids=[row], seed=2)
        for place, other in zip(visited, trail, strict=False):
            torch.testing.assert_close(place[0], other, atol=1e-7, rtol=0)
        assert len(visited) == (steps + 1 if hit is None else len(visited))
        turned.add(strides[-1] < strides[0])
    assert steps < 30 or True in turned  # strides were halved on the way


def test_apgd_looks_at_its_strides_where_the_paper_does():
    assert sorted(ascents._checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(ascents._checkpoints(50)) == [11, 21, 29, 35, 40, 44, 47, 50]
    assert sorted(ascents._checkpoints(1)) == [1]


@pytest.mark.parametrize(
    ("climbed", "halved", "better", "halves"),
    [
        (8, False, True, False),
        (8, False, False, True),  # nothing gained with the stride that it had before, too
        (8, True, False, False),  # the stride is new: it gets its time
        (7, False, True, True),  # fewer than three of four steps climbed
        (7, True, False, True),
        (7.5, False, True, False),  # three of four are enough
    ],
)
def test_a_stride_is_halved_where_it_stalls(climbed, halved, better, halves):
    rows = [torch.full((1, 2), float(value)) for value in range(5)]
    place, before, best, slope, best_slope = rows
    loss, best_loss, stride = (torch.tensor([value]) for value in (1.0, 2.0, 0.5))
    state = ascents._Climb(
        place, before, best, slope, best_slope, loss, best_loss, stride, torch.tensor([float(climbed)]),
        torch.tensor([halved]), best_loss - float(better),
    ).checked(10)  # fmt: skip
    assert state.stride.item() == (0.25 if halves else 0.5)
    assert state.halved.item() == halves
    assert state.place.equal(best if halves else place)
    assert state.gradient.equal(best_slope if halves else slope)
    assert state.loss.equal(best_loss if halves else loss)
    assert state.before.equal(before)
    assert state.climbed.item() == 0
    assert state.best_then.equal(best_loss)


# the worst case of linear networks


def two_classes(norm, bounds):
    """A linear network, inputs of the class 0 or 1, and the least margin that a budget leaves each."""
    network = linear_network(2, bounds=bounds)
    weight, bias = network.module[1].weight.detach(), network.module[1].bias.detach()
    inputs = 0.3 + 0.4 * images(40)
    labels = answers(network, inputs)
    away = weight[1 - labels] - weight[labels]
    size = {"linf": 0.1, "l2": 0.5}[norm]
    step = away.sign() if norm == "linf" else away / away.norm(dim=1, keepdim=True)
    worst = ((inputs.flatten(1) + size * step) * away).sum(1) + bias[1 - labels] - bias[labels]

    def reached(found):
        return (found.flatten(1) * away).sum(1) + bias[1 - labels] - bias[labels]

    return network, inputs, labels, size, worst, reached


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["fgsm", "pgd", "pgd:restarts=2", "apgd-ce"])
def test_the_worst_case_of_a_linear_network_is_reached(norm, kind):
    network, inputs, labels, size, worst, reached = two_classes(norm, (-3.0, 3.0))
    name, _, options = kind.partition(":")
    found = attack(network, inputs, labels, f"{name}:{norm}={size}" + (f",{options}" if options else ""))
    assert 0 < found.success.sum() < 40
    if (name, norm) == ("pgd", "l2"):  # turns toward the gradient step by step, and ends a little beside it
        clean = reached(inputs)
        assert ((reached(found.inputs) - clean) / (worst - clean)).min() > 0.95
        return
    assert found.success.equal(worst > 0)
    whole = torch.ones(40, dtype=torch.bool) if name != "apgd-ce" else ~found.success  # which ends where it is fooled
    torch.testing.assert_close(reached(found.inputs)[whole], worst[whole], atol=2e-5, rtol=0)


def test_the_worst_case_of_a_linear_network_is_reached_within_the_bounds():
    network = linear_network(2)
    inputs = images(60)
    labels = answers(network, inputs)
    away = network.module[1].weight.detach()[1 - labels] - network.module[1].weight.detach()[labels]
    worst = (inputs + 0.3 * away.sign().view_as(inputs)).clamp(0, 1)
    for spec in ("fgsm:linf=0.3", "pgd:linf=0.3,steps=20"):
        torch.testing.assert_close(attack(network, inputs, labels, spec).inputs, worst, atol=1e-6, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_no_length_is_spent_on_what_the_bounds_cut_off(norm):
    """Half of what black and white images are moved by leads out of them; the rest gets the whole radius."""
    inputs = images(40).round()
    moved = inputs + torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0))
    radius = torch.linspace(0.01, 0.5, 40)
    found = NORMS[norm].region(inputs, radius, BOUNDS)(moved)
    assert found.min() >= 0
    assert found.max() <= 1
    torch.testing.assert_close(NORMS[norm].of(found - inputs), radius)
    near = inputs + 0.5 * (found - inputs)
    assert NORMS[norm].region(inputs, radius, BOUNDS)(near).allclose(near)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-inf, inf)])
@pytest.mark.parametrize("size", [0.0, 0.03, 5.0])
def test_the_box_of_linf_is_ball_and_bounds_one_after_the_other(bounds, size):
    inputs = torch.rand(20, 3, 5, generator=torch.Generator().manual_seed(0))
    moved = inputs + torch.randn(20, 3, 5, generator=torch.Generator().manual_seed(1))
    radius = torch.full((20,), size)
    found = NORMS["linf"].region(inputs, radius, bounds)(moved)
    torch.testing.assert_close(found, AbstractNorm.region(NORMS["linf"], inputs, radius, bounds)(moved))


# beside other libraries

COUNT = 100
ONE = 100 / COUNT
"""One image, in percent. Many images and seeds are the benchmark's business (`benchmarks/attacks.py strength`)."""
BUDGETS = [
    ("standard", "linf", 3 / 255), ("standard", "l2", 0.4), ("robust", "linf", 8 / 255), ("robust", "l2", 1.5),
    ("linear", "linf", 3 / 255), ("linear", "l2", 0.5),
]  # fmt: skip


@functools.cache
def victim(name):
    batch = next(demo.test_data().batches(COUNT))
    network = {"standard": demo.network, "robust": demo.robust_network, "linear": clothes}[name]()
    return network, batch.inputs, batch.labels


@functools.cache
def fooled(name, one):
    """In percent."""
    found = (parse_attack(one) if isinstance(one, str) else one)(*victim(name))
    return 100 * float(found.success.float().mean())


@pytest.mark.parametrize(("name", "norm", "size"), BUDGETS)
def test_pgd_fools_as_many_as_foolbox_and_art_do(name, norm, size):
    ours = fooled(name, f"pgd:{norm}={size},steps=50,restarts=2,stop=fooled")
    assert 5 < ours < 98
    assert ours >= fooled(name, foolbox_pgd(norm, size, steps=50)) - ONE
    assert ours >= fooled(name, art_pgd(norm, size, eps_step=size / 20, max_iter=50, num_random_init=1)) - ONE


@pytest.mark.parametrize(("name", "norm", "size"), BUDGETS)
def test_apgd_fools_as_many_as_art_does(name, norm, size):
    ours = fooled(name, f"apgd-ce:{norm}={size},steps=30")
    theirs = art_apgd(norm, size, eps_step=2 * size, max_iter=30, nb_random_init=1, loss_type="cross_entropy")
    assert ours >= fooled(name, theirs) - ONE


def test_attacks_do_more_than_noise_on_the_bundled_network_and_less_on_its_robust_twin():
    assert fooled("standard", "noise:linf=8/255") < 15
    assert fooled("standard", "uniform:linf=8/255") < 15
    assert fooled("standard", "fgsm:linf=8/255") > 35
    assert fooled("standard", "pgd:linf=8/255") > 80
    assert fooled("robust", "pgd:linf=8/255") < 25
