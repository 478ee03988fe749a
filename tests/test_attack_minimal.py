"""Smallest perturbations beside the closed form of linear networks, and beside foolbox's."""

import pytest
import torch
from peers import answers, clothes, foolbox_fmn, images, linear_network, small_module
from torch import nn

from layerscope import Network, demo
from layerscope.attacks import attack

ORDERS = {"linf": 1, "l2": 2}
"""The norm of the slope that goes with the norm of the change."""
INFINITE = (-float("inf"), float("inf"))


def nearest_boundary(network, inputs, labels, norm):
    """The least of margin_k / |w_k - w_y| over the other classes k, class by class."""
    weight, logits = network.module[1].weight.detach(), network(inputs).detach()
    found = []
    for row, label in enumerate(labels.tolist()):
        found.append(
            min(
                float((logits[row, label] - logits[row, k]) / (weight[k] - weight[label]).norm(p=ORDERS[norm]))
                for k in range(len(weight))
                if k != label
            )
        )
    return torch.tensor(found)


@pytest.mark.parametrize("bounds", [(-3.0, 4.0), (-1e4, 1e4), INFINITE])
@pytest.mark.parametrize("classes", [2, 5, 30])
@pytest.mark.parametrize("spec", ["fmn:linf", "fmn:l2", "bisect:linf", "bisect:l2"])
def test_the_smallest_perturbation_of_a_linear_network_is_its_closed_form(spec, classes, bounds):
    network = linear_network(classes, bounds=bounds)
    inputs = images(60)
    labels = answers(network, inputs)
    found = attack(network, inputs, labels, spec)
    expected = nearest_boundary(network, inputs, labels, spec.partition(":")[2])
    assert found.success.all()
    # answers are wrong by a few roundings of the logits
    torch.testing.assert_close(found.sizes, expected, rtol=1e-3, atol=5e-6)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("spec", ["fmn:linf", "fmn:l2", "bisect:l2"])
def test_nothing_depends_on_the_scale_of_the_inputs(spec, scale):
    network, inputs = linear_network(bounds=(-3.0, 3.0)), images(20)
    labels = answers(network, inputs)
    scaled = Network(network.module, preprocess=lambda x: x / scale, bounds=(-3 * scale, 3 * scale))
    expected = attack(network, inputs, labels, spec).sizes
    torch.testing.assert_close(attack(scaled, inputs * scale, labels, spec).sizes / scale, expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("spec", "close"), [("fmn:linf", 0.02), ("fmn:l2", 0.02), ("bisect:linf", 0.02), ("bisect:l2", 0.1)]
)
def test_the_bounds_cut_steps_off_and_the_boundary_is_still_found(spec, close):
    """Pixels at 1 can't rise, so that more is asked of the others."""
    network = linear_network(2)
    inputs = images(80)
    inputs[inputs > 0.6] = 1
    inputs[inputs < 0.3] = 0
    labels = answers(network, inputs)
    weight, margin = network.module[1].weight.detach(), network(inputs).detach()
    away = (weight[1 - labels] - weight[labels]).view_as(inputs)
    margin = (margin.gather(1, labels[:, None]) - margin.gather(1, 1 - labels[:, None]))[:, 0]
    least, most = torch.zeros(80), torch.full((80,), 1e3)
    for _ in range(60):  # the best change is along the slope, as far as the bounds let each entry go
        middle = (least + most) / 2
        change = (inputs + middle.view(-1, 1, 1, 1) * (away.sign() if "linf" in spec else away)).clamp(0, 1) - inputs
        enough = (change * away).flatten(1).sum(1) >= margin
        least, most = torch.where(enough, least, middle), torch.where(enough, middle, most)
    expected = (change.abs().flatten(1).amax(1)) if "linf" in spec else change.flatten(1).norm(dim=1)
    possible = most < 999
    found = attack(network, inputs, labels, spec)
    assert possible.sum() > 40
    assert found.success.equal(possible)
    torch.testing.assert_close(found.sizes[possible], expected[possible], rtol=close, atol=1e-5)


@pytest.mark.parametrize("spec", ["fmn:linf", "fmn:l2", "bisect:linf", "bisect:l2"])
def test_where_there_is_none_the_original_comes_back(spec):
    class Stubborn(nn.Module):
        def forward(self, x):
            rise = x.flatten(1).mean(1)
            return torch.stack([torch.full_like(rise, 5.0), rise, -rise, 0 * rise], 1)

    network, inputs = Network(Stubborn().eval()), images(5)
    for bounds in ((0.0, 1.0), (-2.0, 2.0)):
        found = attack(Network(network.module, bounds=bounds), inputs, torch.zeros(5, dtype=torch.int64), spec)
        assert not found.success.any()
        assert found.inputs.equal(inputs)
        assert found.sizes.equal(torch.zeros(5))


@pytest.mark.parametrize("spec", ["fmn:linf", "bisect:l2"])
def test_a_budget_divides_those_that_can_be_fooled_within_it(spec):
    network, inputs = linear_network(bounds=(-3.0, 3.0)), images(60)
    labels = answers(network, inputs)
    whole = attack(network, inputs, labels, spec)
    size = float(whole.sizes.median()) * 1.001
    within = attack(network, inputs, labels, f"{spec}={size}")
    assert within.success.equal(whole.sizes <= size)
    assert within.inputs[~within.success].equal(inputs[~within.success])
    torch.testing.assert_close(within.sizes[within.success], whole.sizes[within.success], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("spec", ["fmn:linf,steps=20", "fmn:l2,steps=20", "bisect:linf,steps=5", "bisect:l2,steps=5"])
def test_halfway_to_the_original_the_network_is_not_fooled(spec):
    """What was found is drawn back: a hundredth of it less is too little."""
    network, inputs = Network(small_module()), images(60)
    labels = answers(network, inputs)
    found = attack(network, inputs, labels, spec)
    assert found.success.float().mean() > 0.9
    for share in (0.5, 0.99):
        between = inputs + share * (found.inputs - inputs)
        assert answers(network, between)[found.success].equal(labels[found.success])


@pytest.mark.parametrize("spec", ["fmn:linf", "fmn:l2", "bisect:linf,steps=10", "bisect:l2,steps=10"])
def test_what_fools_the_network_does_so_in_other_batches(spec):
    """At the boundary itself, sums that round otherwise would turn answers around."""
    network = demo.network()
    batch = next(demo.test_data().batches(20))
    found = attack(network, batch.inputs, batch.labels, spec)
    assert found.success.all()
    for size in (1, 7, 16):
        parts = zip(found.inputs.split(size), batch.labels.split(size), strict=True)
        assert all((answers(network, some) != labels).all() for some, labels in parts)


@pytest.mark.parametrize("spec", ["fmn:linf", "bisect:l2"])
def test_two_classes_that_tie_are_told_apart_by_the_least_of_changes(spec):
    """The first of two equal logits is the answer: of label 1 it is wrong already, of label 0 nearly."""

    class Tie(nn.Module):
        def forward(self, x):
            rise = x.flatten(1)[:, 0] - 0.5
            return torch.stack([-rise, rise], 1)

    inputs = torch.full((2, 3), 0.5)
    found = attack(Network(Tie().eval()), inputs, torch.tensor([1, 0]), spec)
    assert found.success.all()
    assert found.sizes[0] < 1e-6
    assert 0 < found.sizes[1] < 1e-4


def test_both_starts_of_fmn_are_taken():
    """Class 1 comes second and is far; class 2 comes third and is near: its slope is steep."""

    class Steep(nn.Module):
        def forward(self, x):
            place = x.flatten(1)[:, 0] - 0.5
            return torch.stack([torch.zeros_like(place), -0.2 - place, 10 * place - 1], 1)

    network, inputs = Network(Steep().eval()), torch.full((4, 3), 0.5)
    for spec in ("fmn:linf", "fmn:l2", "bisect:linf", "bisect:l2"):
        found = attack(network, inputs, torch.zeros(4, dtype=torch.int64), spec)
        torch.testing.assert_close(found.sizes, torch.full((4,), 0.1), rtol=1e-3, atol=0)
        assert answers(network, found.inputs).eq(2).all()


# beside another library


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["standard", "robust", "linear"])
def test_the_median_is_no_larger_than_that_of_foolbox(name, norm):
    batch = next(demo.test_data().batches(50))
    network = {"standard": demo.network, "robust": demo.robust_network, "linear": clothes}[name]()
    right = answers(network, batch.inputs) == batch.labels
    inputs, labels = batch.inputs[right], batch.labels[right]
    found = attack(network, inputs, labels, f"fmn:{norm}")
    theirs = foolbox_fmn(norm, steps=100)(network, inputs, labels)
    sizes, others = (one.sizes.where(one.success, torch.inf) for one in (found, theirs))
    assert found.success.all()
    # foolbox spends length on entries that the bounds cut off
    share = 0.93 if (name, norm) == ("robust", "l2") else 1.03
    assert sizes.median() <= share * others.median()
    assert sizes.quantile(0.9) <= share * others.quantile(0.9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_both_searches_find_about_the_same(norm):
    batch = next(demo.test_data().batches(30))
    network = demo.network()
    one, two = (attack(network, batch.inputs, batch.labels, f"{kind}:{norm}") for kind in ("fmn", "bisect"))
    assert one.success.all()
    assert two.success.all()
    assert 0.94 < one.sizes.median() / two.sizes.median() < 1.01  # FMN is the stronger
