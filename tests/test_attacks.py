"""What every perturbation promises, and that PGD is one."""

import pytest
import torch
from torch import nn

from layerscope.attacks import ATTACKS, attack, control_spec, parse_attack
from layerscope.network import Network

SPECS = ["pgd:linf=8/255", "pgd:linf=0.1,steps=3", "noise:linf=8/255", "pgd:linf=0", "noise:linf=0.3", "pgd:linf=1"]


def linear_network(seed=0):
    """Two classes decided by one direction, so that the worst perturbation is known."""
    torch.manual_seed(seed)
    return Network(nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).eval())


@pytest.mark.parametrize("spec", SPECS)
def test_every_perturbation_keeps_its_promises(spec, module, pairs):
    images, labels = pairs
    network = Network(module, preprocess=lambda x: 3 * (x - 0.5))
    budget = parse_attack(spec).epsilon
    before = network.fingerprint()
    found = attack(network, images, labels, spec, seed=5)
    assert (found.inputs - images).abs().max() <= budget + 1e-6
    assert found.inputs.min() >= 0
    assert found.inputs.max() <= 1
    assert found.success.equal(network(found.inputs).argmax(1) != labels)
    assert found.inputs.equal(attack(network, images, labels, spec, seed=5).inputs)
    assert network.fingerprint() == before
    assert not found.inputs.requires_grad
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not any(part.training or part._forward_hooks for part in module.modules())
    if budget == 0:
        assert found.inputs.equal(images)


def test_seeds_differ(module, pairs):
    network = Network(module)
    one, two = (attack(network, *pairs, "noise:linf=8/255", seed=seed).inputs for seed in (0, 1))
    assert not one.equal(two)


def test_a_sample_is_perturbed_alike_in_any_batch(module, pairs):
    images, labels = pairs
    network = Network(module)
    for spec in ("noise:linf=8/255", "pgd:linf=8/255"):
        perturb = parse_attack(spec)
        whole = perturb(network, images, labels, ids=range(120)).inputs
        part = perturb(network, images[50:60], labels[50:60], ids=range(50, 60)).inputs
        torch.testing.assert_close(whole[50:60], part, atol=1e-6, rtol=0)


def test_noise_moves_every_entry_by_the_budget_where_the_bounds_allow(module):
    images = torch.full((400, 1, 6, 6), 0.5)
    moved = attack(Network(module), images, torch.zeros(400, dtype=torch.int64), "noise:linf=0.1").inputs - images
    assert moved.abs().sub(0.1).abs().max() < 1e-6
    assert abs(moved.sign().mean()) < 4 / (400 * 36) ** 0.5  # as often up as down


def test_pgd_finds_the_worst_perturbation_of_a_linear_network():
    network = linear_network()
    weight, bias = network.module[1].weight, network.module[1].bias
    images = 0.3 + 0.4 * torch.rand(50, 1, 6, 6)
    labels = network(images).argmax(1)
    found = attack(network, images, labels, "pgd:linf=0.1,steps=20").inputs
    away = weight[1 - labels] - weight[labels]
    worst = ((images.flatten(1) + 0.1 * away.sign()) * away).sum(1) + bias[1 - labels] - bias[labels]
    reached = (found.flatten(1) * away).sum(1) + bias[1 - labels] - bias[labels]
    torch.testing.assert_close(reached, worst, atol=1e-5, rtol=0)


def test_pgd_does_more_than_noise_on_the_bundled_network_and_less_on_its_robust_twin():
    from layerscope import demo

    batch = next(demo.test_data().batches(250))
    right = {}
    for network in (demo.network(), demo.robust_network()):
        for spec in ("noise:linf=8/255", "pgd:linf=8/255"):
            right[network.name, spec] = 1 - attack(network, batch.inputs, batch.labels, spec).success.float().mean()
    standard, robust = demo.network().name, demo.robust_network().name
    assert right[standard, "noise:linf=8/255"] > 0.85
    assert right[standard, "pgd:linf=8/255"] < 0.2
    assert right[robust, "pgd:linf=8/255"] > 0.75


def test_inputs_outside_the_bounds_are_refused(module, pairs):
    with pytest.raises(
        ValueError, match=r"bounds \[0, 1\]; got values from .* attack before normalisation, never after"
    ):
        attack(Network(module), pairs[0] + 1, pairs[1], "pgd:linf=8/255")


def test_a_budget_wider_than_the_bounds_is_refused(module, pairs):
    with pytest.raises(ValueError, match=r"`linf` 8 is wider than the network's bounds \[0, 1\]"):
        attack(Network(module), *pairs, "pgd:linf=8")


def test_specs_are_read():
    assert parse_attack("pgd:linf=8/255").epsilon == pytest.approx(8 / 255)
    assert parse_attack("pgd:linf=0.03,steps=7").steps == 7
    assert parse_attack("pgd: linf = 0.03").steps == 10
    assert control_spec("pgd:linf=8/255,steps=7") == control_spec("noise:linf=8/255") == "noise:linf=8/255"
    assert set(ATTACKS) == {"pgd", "noise"}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("fgm:linf=1", "The attack 'fgm:linf=1' is not known; write `pgd:linf=8/255` or `noise:linf=8/255`"),
        ("pgd", "must give `linf`, and may give linf and steps; write `pgd:linf=8/255`"),
        ("noise:linf=1,steps=3", "must give `linf`, and may give linf; write `noise:linf=8/255`"),
        ("pgd:linf=big", "'big' is no number; write 0.03 or 8/255"),
        ("pgd:linf=8/0", "'8/0' is no number"),
        ("pgd:linf=-1", "`linf` must be a finite number, 0 or more; got -1"),
        ("pgd:linf=nan", "`linf` must be a finite number, 0 or more; got nan"),
        ("pgd:linf=1,steps=2.5", "`steps` must be a whole number; got 2.5"),
        ("pgd:linf=1,steps=0", "`steps` must be at least 1; got 0"),
    ],
)
def test_a_spec_that_cannot_be_read_is_refused(spec, told):
    with pytest.raises(ValueError, match=told):
        parse_attack(spec)
