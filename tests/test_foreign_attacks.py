"""Other libraries' attacks are held to the promises, and refused where they break one."""

import pytest
import torch
from peers import answers, art_pgd, foolbox_pgd, images, linear_network, small_module
from torch import nn

from layerscope import Network, robustness
from layerscope.attacks import Attacked, Budget, Foreign, Noise, attack


def twice(x):
    return 2 * x - 1


@pytest.fixture
def victim():
    network = Network(small_module(preprocess=twice), preprocess=twice)
    inputs = images(10)
    return network, inputs, answers(network, inputs)


def foreign(search, norm="linf", size=0.1):
    return Foreign(Budget(norm, size), search)


def test_any_callable_is_an_attack(victim):
    network, inputs, labels = victim
    seen = []

    def search(*given):
        seen.append(given)
        return (given[1] + 0.1).clamp(0, 1)

    found = attack(network, inputs, labels, foreign(search))
    assert isinstance(found, Attacked)
    assert len(seen) == 1
    assert seen[0][0] is network
    assert seen[0][1].equal(inputs)
    assert seen[0][2].equal(labels)
    assert found.inputs.equal((inputs + 0.1).clamp(0, 1))


def test_robustness_holds_them_against_ours_by_the_names_that_they_are_given(victim):
    network, inputs, labels = victim
    theirs = foreign(lambda network, inputs, labels: (inputs + 0.1).clamp(0, 1))
    found = robustness(network, (inputs, labels), {"up": theirs, "noise": "noise:linf=0.1"}, show_progress=False)
    answers_ = network((inputs + 0.1).clamp(0, 1)).argmax(1)
    assert found.samples["answer:up"].tolist() == answers_.tolist()
    rows = {row.condition: row.value for row in found.results}
    assert rows == {
        "clean": 1.0, "up": pytest.approx(float((answers_ == labels).double().mean())),
        "noise": pytest.approx(1 - found.samples["success:noise"].mean()),
    }  # fmt: skip
    assert list(found.checks) == ["up", "noise"]


@pytest.mark.parametrize(
    ("attacks", "told"),
    [
        ({"clean": Noise(Budget("linf", 0.1))}, "clean"),
        ({}, "none"),
        ([], "none"),
    ],
)
def test_attacks_without_a_name_of_their_own_are_refused(victim, attacks, told):
    network, inputs, labels = victim
    with pytest.raises(ValueError, match=rf"`attacks` must be specs, or perturbations by names .*; got {told}\."):
        robustness(network, (inputs, labels), attacks, show_progress=False)


def test_what_it_says_of_its_success_does_not_count(victim):
    found = attack(*victim, foreign(lambda network, inputs, labels: inputs))
    assert not found.success.any()
    assert found.sizes.eq(0).all()


def test_a_search_that_writes_into_what_it_is_given_changes_nothing(victim):
    network, inputs, labels = victim
    before, classes = inputs.clone(), labels.clone()

    def search(network, inputs, labels):
        labels.zero_()
        return inputs.add_(0.05).clamp_(0, 1)

    found = attack(network, inputs, labels, foreign(search))
    assert inputs.equal(before)
    assert labels.equal(classes)
    assert found.success.equal(answers(network, found.inputs) != classes)


def test_its_chance_is_seeded_and_put_back(victim):
    def search(network, inputs, labels):
        return (inputs + 0.1 * torch.rand_like(inputs)).clamp(0, 1)

    before = torch.get_rng_state()
    one, again, two = (attack(*victim, foreign(search), seed=seed).inputs for seed in (0, 0, 1))
    assert one.equal(again)
    assert not one.equal(two)
    assert torch.get_rng_state().equal(before)


def test_it_may_call_backward_and_leaves_no_gradients(victim):
    network, inputs, labels = victim

    def search(network, inputs, labels):
        inputs = inputs.requires_grad_()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        return (inputs + 0.1 * inputs.grad.sign()).clamp(0, 1)

    found = attack(network, inputs, labels, foreign(search))
    assert found.inputs.equal(attack(network, inputs, labels, "fgsm:linf=0.1").inputs)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.module.parameters())


def test_a_hair_over_the_budget_is_rounding_and_is_projected(victim):
    network, inputs, labels = victim
    found = attack(network, 0.2 + 0.5 * inputs, labels, foreign(lambda network, inputs, labels: inputs + 0.1 + 1.5e-6))
    assert found.sizes.max() <= 0.1 + 1e-7


@pytest.mark.parametrize(
    ("search", "told"),
    [
        (
            lambda n, x, y: x + 0.1,
            r"stay in the network's bounds \[0, 1\]; it returned values from .* Tell it the bounds",
        ),
        (lambda n, x, y: x - 0.1, r"stay in the network's bounds \[0, 1\]; it returned values from -0.0"),
        (
            lambda n, x, y: 1 - x,
            r"stay in its budget, `linf` 0.1; it changed an input by 0.9.*budget after normalisation",
        ),
        (lambda n, x, y: (x + 0.1002).clamp(0, 1), r"stay in its budget, `linf` 0.1; it changed an input by 0.1002"),
        (lambda n, x, y: x[:5], r"must return inputs of shape \(10, 1, 6, 6\); it returned \(5, 1, 6, 6\)"),
        (lambda n, x, y: x.flatten(1), r"must return inputs of shape \(10, 1, 6, 6\); it returned \(10, 36\)"),
        (lambda n, x, y: x.numpy(), r"must return inputs of shape \(10, 1, 6, 6\); it returned ndarray"),
        (lambda n, x, y: None, r"must return inputs of shape \(10, 1, 6, 6\); it returned NoneType"),
        (lambda n, x, y: x * torch.nan, r"must return finite inputs of shape .* with NaN or infinity in it"),
    ],
)
def test_what_breaks_the_promises_is_refused(victim, search, told):
    with pytest.raises(ValueError, match=told):
        attack(*victim, foreign(search))


def test_a_budget_of_length_is_watched_too(victim):
    network, inputs, labels = victim
    with pytest.raises(ValueError, match=r"stay in its budget, `l2` 0.5; it changed an input by 0.6"):
        attack(network, inputs / 2, labels, foreign(lambda n, x, y: x + 0.1, "l2", 0.5))


def test_infinite_values_are_refused():
    network = linear_network(bounds=(-float("inf"), float("inf")))
    inputs = images(3)
    with pytest.raises(ValueError, match=r"must return finite inputs .* with NaN or infinity in it"):
        attack(network, inputs, answers(network, inputs), foreign(lambda n, x, y: x / 0, size=float("inf")))


def weights(network):
    with torch.no_grad():
        network.module.head[1].weight.add_(1)


def hidden(network):
    network.module.head[1].weight.data.add_(1)


def replaced(network):
    network.module.head[1].weight = nn.Parameter(network.module.head[1].weight.detach().clone())


def statistics(network):
    network.module.stem[1].running_mean.mul_(2)


def loaded(network):
    network.module.load_state_dict({name: tensor + 0 for name, tensor in network.module.state_dict().items()})


def hook(network):
    network.module.middle.register_forward_hook(lambda *_: None)


def earlier_hook(network):
    network.module.register_forward_pre_hook(lambda *_: None)


def later_hook(network):
    network.module.register_full_backward_hook(lambda *_: None)


def training(network):
    network.module.middle.train()


def layer(network):
    network.module.extra = nn.Linear(2, 2).eval()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (weights, r"it changed the weights of 'head.1.weight'\. Give it a copy"),
        (replaced, r"it changed the weights of 'head.1.weight'\."),
        (statistics, r"it changed the weights of 'stem.1.running_mean'\."),
        (loaded, r"it changed the weights of .*, \.\.\.\. Give it a copy of the network to work on"),
        (hook, r"it changed the hooks of 'middle'\."),
        (earlier_hook, r"it changed the hooks of 'the module'"),
        (later_hook, r"it changed the hooks of 'the module'"),
        (hidden, r"it changed the weights of 'head.1.weight'"),
        (training, r"it changed the training flag of 'middle', the training flag of 'middle.0'"),
        (layer, r"it changed the weights of 'extra.weight'"),
    ],
)
def test_an_attack_that_changes_the_network_is_refused(victim, harm, told):
    def search(network, inputs, labels):
        harm(network)
        return inputs

    with pytest.raises(ValueError, match=rf"The attack must leave the network as it is, but {told}"):
        attack(*victim, foreign(search))


def test_a_network_that_needs_no_gradients_gets_none_back(victim):
    network, inputs, labels = victim
    network.module.requires_grad_(False)
    attack(network, inputs, labels, "pgd:linf=0.1,steps=2")
    attack(network, inputs, labels, foreign_pgd())
    assert not any(parameter.requires_grad for parameter in network.module.parameters())


def foreign_pgd():
    return foolbox_pgd("linf", 0.1, steps=2)


def test_an_error_inside_leaves_the_network_as_it_was(victim):
    def search(network, inputs, labels):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        attack(*victim, foreign(search))
    assert all(parameter.requires_grad for parameter in victim[0].module.parameters())


# the libraries themselves


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_foolbox_with_the_budget_of_another_space_is_refused(victim, norm):
    """Twice the budget, as if it were one of inputs that are normalised to [-1, 1]."""
    network, inputs, labels = victim
    wrong = Foreign(Budget(norm, 0.1), foolbox_pgd(norm, 0.2, steps=3, rel_stepsize=1.0).search)
    with pytest.raises(ValueError, match=rf"stay in its budget, `{norm}` 0.1; it changed an input by 0.2"):
        attack(network, 0.3 + 0.4 * inputs, labels, wrong)


def test_gradients_of_the_network_s_training_are_put_aside_and_back(victim):
    network, inputs, labels = victim
    held = torch.ones(5)
    network.module.head[1].bias.grad = held

    def search(network, inputs, labels):
        assert network.module.head[1].bias.grad is None
        network.module.head[1].weight.grad = torch.ones(5, 6)
        network.module.zero_grad(set_to_none=False)  # as ART does
        return inputs

    attack(network, inputs, labels, foreign(search))
    attack(network, inputs, labels, art_pgd("linf", 0.1, eps_step=0.05, max_iter=2))
    assert network.module.head[1].bias.grad is held
    assert held.equal(torch.ones(5))
    assert network.module.head[1].weight.grad is None


@pytest.mark.parametrize("made", [foolbox_pgd("linf", 0.1, steps=5), art_pgd("linf", 0.1, eps_step=0.05, max_iter=5)])
def test_the_preprocessing_is_inside_what_others_attack(victim, made):
    network, inputs, labels = victim

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network.module

        def forward(self, x):
            return self.body(twice(x))

    within = Network(Whole().eval())
    one, two = (attack(each, inputs, labels, made) for each in (network, within))
    torch.testing.assert_close(one.inputs, two.inputs, atol=1e-6, rtol=0)
