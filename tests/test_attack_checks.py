"""Attacks that can be believed, attacks and networks that can't, and where gradients end."""

from dataclasses import dataclass

import pytest
import torch
from peers import answers, foolbox_pgd, images, small_module
from scipy.stats import binomtest
from torch import nn

from layerscope import Network, demo
from layerscope.attacks import FGSM, PGD, Budget, Foreign, attack, check_attack, parse_attack
from layerscope.attacks.base import AbstractPerturbation, Found
from layerscope.attacks.selfchecks import UNLIKELY, _no_less

ALL = {
    "a budget of 0 changes nothing", "inside budget and bounds", "success is that of the returned inputs",
    "stands as images of 8 bits", "the loss rose", "gradients are not 0", "noise does no better",
    "a huge budget fools it", "more steps do not hurt", "transfer does no better",
}  # fmt: skip

FINITE = {"noise does no better", "a huge budget fools it", "more steps do not hurt"}
"""Those of attacks that have a budget."""


@pytest.fixture
def victim():
    """A network and images of 8 bits that it answers right, but for two."""
    network = Network(small_module(seed=3), name="small")
    inputs = (images(60) * 255).round() / 255
    labels = answers(network, inputs)
    labels[:2] = (labels[:2] + 1) % 5
    return network, inputs, labels


def checked(victim, one, **options):
    found = check_attack(*victim, parse_attack(one) if isinstance(one, str) else one, **options)
    assert len({check.name for check in found}) == len(found)
    return {check.name: check for check in found}


def failing(victim, one, **options):
    return {name for name, check in checked(victim, one, **options).items() if not check.passed}


# what passes


@pytest.mark.parametrize(
    "one",
    ["pgd:linf=16/255", "pgd:l2=0.5", "pgd:linf=16/255,restarts=2", "apgd-ce:linf=16/255,steps=20",
     "apgd-dlr:l2=0.5,steps=20"],
)  # fmt: skip
def test_every_check_passes_on_an_honest_attack(victim, one):
    other = Network(small_module(seed=8), name="other")
    found = checked(victim, one, surrogate=other)
    assert {name for name, check in found.items() if not check.passed} == set()
    assert found.keys() == ALL
    assert "'other'" in found["transfer does no better"].told


@pytest.mark.parametrize(
    ("one", "without", "more"),
    [
        ("fgsm:linf=4/255", {"a huge budget fools it", "more steps do not hurt"}, set()),
        ("fmn:linf", FINITE, {"a change is found for nearly every answer"}),
        ("bisect:l2,steps=5", FINITE, {"a change is found for nearly every answer"}),
        ("noise:linf=16/255", FINITE | {"the loss rose", "gradients are not 0"}, set()),
        ("uniform:l2=0.5", FINITE | {"the loss rose", "gradients are not 0"}, set()),
        (
            foolbox_pgd("linf", 16 / 255, steps=20, rel_stepsize=0.125),
            {
                "a budget of 0 changes nothing",
                "gradients are not 0",
                "a huge budget fools it",
                "more steps do not hurt",
            },
            {"a short PGD does no better"},
        ),
    ],
    ids=["fgsm", "fmn", "bisect", "noise", "uniform", "foreign"],
)
def test_checks_that_do_not_apply_are_left_out(victim, one, without, more):
    found = checked(victim, one)
    assert found.keys() == (ALL - without - {"transfer does no better"}) | more
    assert all(check.passed for check in found.values()), found


def test_checks_pass_on_the_bundled_networks():
    batch = next(demo.test_data().batches(60))
    for network, other in ((demo.network(), demo.robust_network()), (demo.robust_network(), demo.network())):
        assert failing((network, batch.inputs, batch.labels), "pgd:linf=8/255,steps=20", surrogate=other) == set()


def test_a_targeted_attack_is_asked_for_its_target(victim):
    found = checked(victim, "pgd:linf=0.2,target=1,steps=20")
    assert found["the loss rose"].passed
    assert found["success is that of the returned inputs"].passed
    assert found["noise does no better"].passed


def test_checks_tell_what_they_saw(victim):
    found = checked(victim, "pgd:linf=16/255")
    share = float(attack(*victim, "pgd:linf=16/255").success.float().mean())
    assert found["a budget of 0 changes nothing"].told == "96.7% right, clean 96.7%"
    assert found["inside budget and bounds"].told.startswith("largest change 0.062745 of 0.062745; values from 0")
    assert f"{round(60 * share)} of 60 succeed" in found["success is that of the returned inputs"].told
    assert f"{share:.1%} succeed, " in found["noise does no better"].told
    assert found["gradients are not 0"].told == "0 of 60 samples have a gradient of 0"
    assert found["stands as images of 8 bits"].told.startswith("largest change 16/255; ")


def test_images_that_are_not_of_8_bits_are_not_rounded(victim):
    network, inputs, labels = victim
    assert "stands as images of 8 bits" not in checked((network, inputs * 0.999, labels), "pgd:linf=16/255")
    wide = Network(network.module, bounds=(-1.0, 1.0))
    assert "stands as images of 8 bits" not in checked((wide, inputs, labels), "pgd:linf=16/255")


# what fails: networks whose gradients are masked


class Rounded(nn.Module):
    """Logits in whole steps, passed on as they are: a gradient of 0 nearly everywhere."""

    def __init__(self, body, step):
        super().__init__()
        self.body, self.step = body, step

    def forward(self, x):
        logits = self.body(x)
        return (logits / self.step).round() * self.step + 0 * logits


class Sure(nn.Module):
    """Logits so far apart that float32 knows no loss, and no gradient, of most answers."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return 1e4 * self.body(x)


def masked(victim, wrapped, **options):
    network, inputs, labels = victim
    return Network(wrapped(network.module, **options).eval(), name="masked"), inputs, labels


@pytest.mark.parametrize("one", ["pgd:linf=16/255,steps=10", "apgd-ce:l2=0.5,steps=10", "fgsm:linf=16/255"])
def test_rounded_logits_are_found_out(victim, one):
    case = masked(victim, Rounded, step=1.0)
    found = failing(case, one, surrogate=victim[0])
    assert {"gradients are not 0", "transfer does no better"} <= found
    told = checked(case, one)
    assert told["gradients are not 0"].told.startswith("60 of 60 samples have a gradient of 0: they end")
    if "steps" in one:
        assert "masking, not robustness" in told["a huge budget fools it"].told
        assert not told["a huge budget fools it"].passed


def test_answers_too_sure_for_float32_are_found_out(victim):
    case = masked(victim, Sure)
    found = checked(case, "pgd:linf=16/255", surrogate=victim[0])
    assert not found["gradients are not 0"].passed
    assert not found["transfer does no better"].passed
    assert "robustness it shows is not there" in found["transfer does no better"].told
    assert "too sure for float32" in found["gradients are not 0"].told
    dlr = checked(case, "apgd-dlr:linf=16/255", surrogate=victim[0])
    assert dlr["transfer does no better"].passed
    assert dlr["gradients are not 0"].passed


def test_noise_that_does_better_than_the_attack_is_found_out():
    """A loss whose gradient leads away from the only boundary."""

    class Lure(nn.Module):
        def forward(self, x):
            mean = x.flatten(1).mean(1)
            rough = (x.flatten(1) - mean[:, None]).square().mean(1)
            lure = mean - mean.detach()
            return torch.stack([torch.zeros_like(mean), 200 * rough.detach() - 0.5 + lure], 1)

    inputs = torch.full((60, 1, 6, 6), 102 / 255)
    case = Network(Lure().eval()), inputs, torch.zeros(60, dtype=torch.int64)
    found = checked(case, "pgd:linf=16/255,steps=20")
    assert not found["noise does no better"].passed
    assert "0.0% succeed, 100.0% by noise of this budget" in found["noise does no better"].told


# what fails: attacks that are broken


def test_an_attack_that_does_nothing_is_found_out(victim):
    found = failing(victim, Foreign(Budget("linf", 16 / 255), lambda network, inputs, labels: inputs))
    assert "the loss rose" in found


def test_an_attack_that_goes_the_wrong_way_is_found_out(victim):
    def helping(network, inputs, labels):
        raised = attack(network, inputs, labels, "fgsm:linf=16/255").inputs
        return (2 * inputs - raised).clamp(0, 1)

    assert {"the loss rose", "noise does no better"} <= failing(victim, Foreign(Budget("linf", 16 / 255), helping))


def test_a_projection_that_does_nothing_is_found_out(victim, monkeypatch):
    monkeypatch.setattr(AbstractPerturbation, "_inside", lambda self, found, inputs, network: found)
    found = checked(victim, "fgsm:linf=200/255")
    assert not found["inside budget and bounds"].passed
    assert "values from -0.7" in found["inside budget and bounds"].told


@pytest.mark.parametrize("only", [0, 1, 4, 9, 15])
@pytest.mark.parametrize("gone", [0, 1, 4, 9])
def test_a_rival_does_better_by_the_sign_test_of_scipy(only, gone):
    success = torch.arange(40) < gone
    rival = torch.arange(40) >= 40 - only
    p = binomtest(only, only + gone, alternative="greater").pvalue if only + gone else 1.0
    assert _no_less("name", "other", success, rival).passed == (p >= UNLIKELY)


@dataclass(frozen=True)
class Boastful(AbstractPerturbation):
    """Asks about inputs that lie far outside its budget, but for the last, which it leaves alone."""

    def run(self, network, inputs, labels, draws):
        far = 1 - inputs
        far[-1] = inputs[-1]
        fooled = network(far).argmax(1) != labels
        assert fooled[:-1].any()
        return Found(far, torch.cat([fooled[:-1], torch.tensor([True])]))


def test_where_a_search_oversteps_its_budget_the_network_is_asked_again(victim):
    network, inputs, labels = victim
    found = Boastful(Budget("linf", 1e-4))(network, inputs, labels)
    assert found.sizes.max() <= 1.001e-4
    assert found.success[:-1].equal(answers(network, found.inputs)[:-1] != labels[:-1])
    assert found.success[-1]  # not moved, so not asked again


@dataclass(frozen=True)
class Pushed(AbstractPerturbation):
    """Goes beyond its budget by less than the rounding of a long input."""

    def run(self, network, inputs, labels, draws):
        return Found(inputs + torch.tensor([0.0, 0.04]), torch.ones(len(inputs), dtype=torch.bool))


def test_long_inputs_are_held_to_the_budget_all_the_same():
    network = Network(nn.Linear(2, 3).eval(), bounds=(-float("inf"), float("inf")))
    inputs = torch.tensor([[1e5, 0.0], [0.0, 1.0]])
    found = Pushed(Budget("l2", 0.001))(network, inputs, answers(network, inputs))
    assert found.sizes.max() <= 0.00101


@dataclass(frozen=True)
class Bare(AbstractPerturbation):
    """Returns a tensor."""

    def run(self, network, inputs, labels, draws):
        return inputs


def test_a_search_that_returns_anything_but_found_is_refused(victim):
    with pytest.raises(TypeError, match=r"`run` must return Found\(inputs, success\); got Tensor"):
        Bare(Budget("linf", 0.1))(*victim)


@dataclass(frozen=True)
class Worse(AbstractPerturbation):
    """The more steps, the less it does."""

    steps: int = 4

    def run(self, network, inputs, labels, draws):
        smaller = FGSM(Budget("linf", self.budget.size if self.steps <= 4 else 0.0))
        return Found(smaller(network, inputs, labels).inputs)


def test_more_steps_that_do_less_are_found_out(victim):
    found = checked(victim, Worse(Budget("linf", 16 / 255)))
    assert not found["more steps do not hurt"].passed
    assert "by the first steps alone" in found["more steps do not hurt"].told


class Moody(nn.Module):
    """Answers by where a sample stands in the batch."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x) + 20 * nn.functional.one_hot(torch.arange(len(x)) % 5, 5)


def test_answers_that_depend_on_the_batch_are_found_out(victim):
    network, inputs, labels = victim
    case = Network(Moody(network.module).eval()), inputs, labels
    assert "success is that of the returned inputs" in failing(case, "pgd:linf=4/255")


class Noisy(nn.Module):
    """Answers by chance."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        logits = self.body(x)
        return logits + 20 * torch.randn_like(logits)


def test_answers_by_chance_are_found_out(victim):
    network, inputs, labels = victim
    found = failing((Network(Noisy(network.module).eval()), inputs, labels), "pgd:linf=4/255")
    assert {"a budget of 0 changes nothing", "success is that of the returned inputs"} <= found


def test_success_that_rounding_takes_away_is_found_out():
    """The boundary lies between two steps of 8 bits, and any whole step on crosses another."""

    class Comb(nn.Module):
        def forward(self, x):
            steps = x.flatten(1)[:, 0] * 255
            between = 0.25 - (steps - steps.detach().round()).abs() + (steps - steps.detach()) * 0
            return torch.stack([torch.zeros_like(steps), -between], 1)

    network = Network(Comb().eval())
    inputs, labels = torch.full((40, 1), 100 / 255), torch.zeros(40, dtype=torch.int64)

    def search(network, inputs, labels):
        return inputs + 0.45 / 255

    found = checked((network, inputs, labels), Foreign(Budget("linf", 0.45 / 255), search))
    assert not found["stands as images of 8 bits"].passed
    assert "0.0% succeed, 100.0% before rounding" in found["stands as images of 8 bits"].told


def test_a_budget_of_0_has_no_loss_to_raise(victim):
    assert "the loss rose" not in checked(victim, "pgd:linf=0")


def test_the_loss_of_those_that_are_answered_wrong_does_not_count(victim):
    network, inputs, labels = victim
    found = checked((network, inputs[:2], labels[:2]), "pgd:linf=16/255")
    assert "the loss rose" not in found


def test_a_network_that_no_change_fools_is_found_out(victim):
    class Stubborn(nn.Module):
        def forward(self, x):
            rise = x.flatten(1).mean(1)
            return torch.stack([torch.full_like(rise, 5.0), rise, -rise, 0 * rise], 1)

    inputs = victim[1]
    case = Network(Stubborn().eval()), inputs, torch.zeros(60, dtype=torch.int64)
    found = checked(case, "fmn:linf,steps=10")
    assert not found["a change is found for nearly every answer"].passed
    assert found["a change is found for nearly every answer"].told.startswith("for 0.0%: gradients lead nowhere")


def test_a_foreign_attack_that_does_less_than_a_short_pgd_is_found_out(victim):
    lazy = Foreign(Budget("linf", 16 / 255), foolbox_pgd("linf", 2 / 255, steps=10).search)
    found = checked(victim, lazy)
    assert not found["a short PGD does no better"].passed
    assert "by ten steps of PGD" in found["a short PGD does no better"].told


# where gradients end


class Cut(nn.Module):
    def forward(self, x):
        return x.detach()


class Argmax(nn.Module):
    def forward(self, x):
        return nn.functional.one_hot(x.argmax(1), x.shape[1]).float()


class Step(nn.Module):
    def forward(self, x):
        return x.round() + 0 * x


def chain(middle, **options):
    parts = {"first": nn.Linear(4, 6), "middle": middle, "act": nn.ReLU(), "last": nn.Linear(6, 5)}
    torch.manual_seed(0)
    module = nn.Sequential()
    for name, part in parts.items():
        module.add_module(name, part)
    return Network(module.eval(), name="chain", **options)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (chain(Cut()), "they end after 'first' (Linear) and before 'middle' (Cut) or in it"),
        (chain(Argmax()), "they end after 'first' (Linear) and before 'middle' (Argmax) or in it"),
        (chain(nn.Identity(), preprocess=torch.round), "they end before its first layer"),
        (chain(nn.Identity(), preprocess=lambda x: x.detach()), "they end in its preprocessing"),
    ],
    ids=["detach", "argmax", "rounded pixels", "preprocessing"],
)
def test_where_gradients_end_is_told(network, told):
    inputs = images(6, (4,))
    assert network.where_gradients_end(inputs) == told
    assert all(parameter.requires_grad for parameter in network.module.parameters())
    assert not any(part._forward_hooks for part in network.module.modules())


@pytest.mark.parametrize("spec", ["fgsm:linf=0.1", "pgd:l2=0.1", "apgd-ce:linf=0.1", "fmn:linf", "bisect:l2"])
@pytest.mark.parametrize("middle", [Cut(), Argmax()])
def test_a_network_without_gradients_is_refused_and_the_layer_is_named(middle, spec):
    network, inputs = chain(middle), images(6, (4,))
    told = (
        rf"'chain' has none: they end after 'first' \(Linear\) and before 'middle' \({type(middle).__name__}\) or in it"
    )
    with pytest.raises(ValueError, match=told):
        attack(network, inputs, answers(network, inputs), spec)


def test_preprocessing_without_gradients_is_refused():
    network, inputs = chain(nn.Identity(), preprocess=lambda x: x.detach()), images(6, (4,))
    with pytest.raises(ValueError, match=r"'chain' has none: they end in its preprocessing. Give a network without"):
        attack(network, inputs, answers(network, inputs), "pgd:linf=0.1")


def test_noise_needs_no_gradients():
    network, inputs = chain(Cut()), images(6, (4,))
    assert attack(network, inputs, answers(network, inputs), "noise:linf=0.1").sizes.min() > 0


def test_a_step_function_has_gradients_of_0_and_the_layer_is_named():
    network, inputs = chain(nn.Sequential(Step())), images(6, (4,))
    labels = answers(network, inputs)
    told = next(
        check.told
        for check in check_attack(network, inputs, labels, PGD(Budget("linf", 0.1)))
        if check.name == "gradients are not 0"
    )
    assert "6 of 6" in told
    assert "'middle.0' (Step)" in told
