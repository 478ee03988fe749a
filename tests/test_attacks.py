"""What every perturbation promises, ours and other libraries', and the specs that name ours."""

import copy
import subprocess
import sys

import pytest
import torch
from peers import answers, art_apgd, art_pgd, foolbox_fmn, foolbox_pgd, images, linear_network, small_module
from torch import nn

from layerscope import Network, demo
from layerscope.attacks import ATTACKS, Budget, Noise, attack, is_control, parse_attack

SIZES = {"linf": 8 / 255, "l2": 0.5}
SPECS = [
    "fgsm:linf=8/255", "fgsm:l2=0.5",
    "pgd:linf=8/255,steps=4", "pgd:linf=8/255,steps=4,restarts=3", "pgd:linf=8/255,steps=6,stop=fooled,restarts=2",
    "pgd:linf=8/255,steps=4,target=1", "pgd:linf=0.25,steps=4,target=2,stop=fooled,restarts=2", "pgd:linf=0",
    "pgd:linf=1,steps=3", "pgd:l2=0.5,steps=4", "pgd:l2=0.5,steps=4,restarts=2,stop=fooled", "pgd:l2=3,steps=3",
    "apgd-ce:linf=8/255,steps=8", "apgd-ce:l2=0.5,steps=8,restarts=2",
    "apgd-dlr:linf=8/255,steps=8,restarts=2", "apgd-dlr:l2=0.5,steps=8",
    "fmn:linf,steps=10", "fmn:l2,steps=10", "fmn:linf=0.01,steps=10",
    "bisect:linf,steps=3,halvings=3", "bisect:l2,steps=3,halvings=3", "bisect:l2=0.1,steps=3,halvings=3",
    "noise:linf=8/255", "noise:linf=1", "noise:l2=0.5", "uniform:linf=8/255", "uniform:l2=0.5", "uniform:l2=4",
]  # fmt: skip
FOREIGN = {
    "foolbox LinfPGD": foolbox_pgd("linf", 8 / 255, steps=4),
    "foolbox L2PGD": foolbox_pgd("l2", 0.5, steps=4),
    "foolbox L2FMN": foolbox_fmn("l2", steps=10),
    "ART PGD": art_pgd("linf", 8 / 255, eps_step=2 / 255, max_iter=4, num_random_init=1),
    "ART AutoPGD": art_apgd("linf", 8 / 255, eps_step=16 / 255, max_iter=6, nb_random_init=1),
}


def scaled(x):
    return 3 * (x - 0.5)


def bundled():
    batch = next(demo.test_data().batches(6))
    return demo.network(), batch.inputs, batch.labels


def attacked(kind):
    """A network, some inputs in its bounds, and their labels, most of them its answers."""
    if kind == "bundled":
        return bundled()
    network = {
        "linear": linear_network,
        "convolutions": lambda: Network(small_module()),
        "normalised, other bounds": lambda: Network(
            small_module(seed=1, preprocess=scaled, bounds=(-1.0, 1.0)), preprocess=scaled, bounds=(-1.0, 1.0)
        ),
    }[kind]()
    inputs = images(12, bounds=network.bounds)
    inputs[0], inputs[1] = network.bounds
    labels = answers(network, inputs)
    labels[-2:] = (labels[-2:] + 1) % 5
    return network, inputs, labels


KINDS = ["linear", "convolutions", "normalised, other bounds", "bundled"]


def state(module):
    """All that an attack must leave alone."""
    hooks = [(part._forward_hooks, part._forward_pre_hooks, part._backward_hooks) for part in module.modules()]
    return (
        {name: tensor.clone() for name, tensor in module.state_dict().items()},
        [parameter.requires_grad for parameter in module.parameters()],
        [None if parameter.grad is None else parameter.grad.clone() for parameter in module.parameters()],
        [part.training for part in module.modules()],
        [[dict(kind) for kind in held] for held in hooks],
    )


def same(one, two):
    if isinstance(one, torch.Tensor):
        return one.equal(two)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    return one == two


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("one", [*SPECS, *FOREIGN])
def test_every_perturbation_keeps_its_promises(one, kind):
    network, inputs, labels = attacked(kind)
    perturb = FOREIGN[one] if one in FOREIGN else parse_attack(one)
    first = next(network.module.parameters())
    first.requires_grad_(False)  # a network that is half frozen, with gradients of its training, and somebody's hook
    last = [*network.module.parameters()][-1]
    last.grad = torch.ones_like(last)
    network.module.register_forward_hook(lambda *_: None)
    given, before, digest, chance = inputs.clone(), state(network.module), network.fingerprint(), torch.get_rng_state()

    found = perturb(network, inputs, labels, seed=5)

    norm, size = perturb.budget.norm, perturb.budget.size
    change = (found.inputs.double() - inputs.double()).flatten(1)
    sizes = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert sizes.max() <= size + 1e-6
    torch.testing.assert_close(found.sizes.double(), sizes, atol=1e-6, rtol=1e-5)
    assert found.inputs.min() >= network.bounds[0]
    assert found.inputs.max() <= network.bounds[1]
    assert found.inputs.shape == inputs.shape
    assert found.inputs.dtype == inputs.dtype
    target = getattr(perturb, "target", None)
    reached = answers(network, found.inputs)
    assert found.success.equal(reached != labels if target is None else reached == target)
    assert not any(values.requires_grad for values in found)
    assert inputs.equal(given)
    if size == 0:
        assert found.inputs.equal(inputs)

    assert same(state(network.module), before)
    assert network.fingerprint() == digest
    assert torch.get_rng_state().equal(chance)

    torch.manual_seed(99)
    again = perturb(network, inputs, labels, seed=5)
    assert again.inputs.equal(found.inputs)


@pytest.mark.parametrize("spec", ["pgd:linf=8/255,steps=4", "pgd:linf=8/255,steps=4,target=3", "fgsm:l2=0.5"])
def test_a_sample_that_is_answered_wrong_is_still_attacked(spec):
    network, inputs, labels = attacked("convolutions")
    assert (parse_attack(spec)(network, inputs, labels).sizes[-2:] > 0.03).all()


@pytest.mark.parametrize("spec", ["fmn:linf", "bisect:l2"])
def test_the_smallest_change_of_a_sample_that_is_answered_wrong_is_none(spec):
    network, inputs, labels = attacked("convolutions")
    found = attack(network, inputs, labels, spec)
    assert found.success.all()
    assert (found.sizes == 0).equal(answers(network, inputs) != labels)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "=0" not in spec or "0.5" in spec])
def test_normalisation_before_the_module_and_inside_it_are_attacked_alike(spec):
    module = small_module(seed=2, preprocess=scaled)
    before = Network(module, preprocess=scaled)

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = copy.deepcopy(module)

        def forward(self, x):
            return self.body(scaled(x))

    within = Network(Whole().eval())
    inputs = images(12)
    labels = answers(before, inputs)
    one, two = (attack(network, inputs, labels, spec, seed=1) for network in (before, within))
    torch.testing.assert_close(one.inputs, two.inputs, atol=1e-6, rtol=0)
    assert one.success.equal(two.success)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "=0" not in spec or "0.5" in spec])
def test_a_sample_is_perturbed_alike_in_any_batch(spec):
    network, perturb = Network(small_module()), parse_attack(spec)
    inputs = images(40)
    labels = answers(network, inputs)
    whole = perturb(network, inputs, labels, ids=range(100, 140), seed=3).inputs
    some = torch.tensor([7, 31, 30, 9])
    part = perturb(network, inputs[some], labels[some], ids=(100 + some).tolist(), seed=3).inputs
    torch.testing.assert_close(whole[some], part, atol=1e-6, rtol=0)


RANDOM = ["noise:linf=8/255", "noise:l2=0.5", "uniform:linf=8/255", "uniform:l2=0.5", "pgd:l2=0.5,steps=2",
          "apgd-ce:l2=0.5,steps=1"]  # fmt: skip


@pytest.mark.parametrize("spec", RANDOM)
def test_seeds_and_samples_differ(spec):
    network = linear_network()
    inputs = images(1).expand(4, -1, -1, -1)
    labels = answers(network, inputs)
    one, two = (attack(network, inputs, labels, spec, seed=seed).inputs for seed in (0, 1))
    assert not one.isclose(two).flatten(1).all(1).any()
    assert len({tuple(row) for row in torch.cat([one, two]).flatten(1).tolist()}) == 8


def test_restarts_begin_elsewhere():
    network = linear_network()
    inputs = images(1)
    labels = answers(network, inputs)
    spec = "pgd:l2=0.001,steps=1,restarts="  # too little to fool it, so that the last start stands
    one, two = (attack(network, inputs, labels, f"{spec}{restarts}").inputs for restarts in (1, 2))
    assert not one.equal(two)


@pytest.mark.parametrize("spec", ["pgd:linf=0.05,steps=5", "apgd-ce:linf=0.05,steps=5", "fmn:linf"])
def test_attacks_of_double_precision_stay_so(spec):
    network = Network(small_module().double())
    inputs = images(6).double()
    assert attack(network, inputs, answers(network, inputs), spec).inputs.dtype == torch.float64


# what is refused


@pytest.fixture
def victim():
    return attacked("convolutions")


@pytest.mark.parametrize("shift", [-0.5, 0.5])
def test_inputs_outside_the_bounds_are_refused(victim, shift):
    network, inputs, labels = victim
    with pytest.raises(
        ValueError, match=r"bounds \[0, 1\]; got values from .* attack before normalisation, never after"
    ):
        attack(network, inputs + shift, labels, "pgd:linf=8/255")


def test_inputs_that_are_not_a_number_are_refused(victim):
    network, inputs, labels = victim
    inputs[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"`inputs` must be finite; got NaN or infinity"):
        attack(network, inputs, labels, "pgd:linf=8/255")


def test_inputs_that_can_not_change_a_little_are_refused(victim):
    network, inputs, labels = victim
    with pytest.raises(ValueError, match=r"`inputs` must be .* in float32 or float64; got torch.float16"):
        attack(network, inputs.half(), labels, "pgd:linf=8/255")


WHOLE = """
import torch
from layerscope import Network
from layerscope.attacks import attack
network = Network(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).eval())
attack(network, torch.ones(2, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]), "pgd:linf=8/255")
"""


def test_whole_numbers_are_refused():
    """In a process of its own: here, the shape checks refuse them before."""
    ended = subprocess.run([sys.executable, "-c", WHOLE], capture_output=True, text=True, check=False)
    assert "ValueError: `inputs` must be numbers that can change a little" in ended.stderr
    assert "got torch.uint8" in ended.stderr


def test_no_inputs_are_refused(victim):
    network, inputs, labels = victim
    with pytest.raises(ValueError, match=r"one class for each of `inputs`, at least one; got 0 inputs and 0 labels"):
        attack(network, inputs[:0], labels[:0], "pgd:linf=8/255")


@pytest.mark.parametrize("label", [-1, 5])
@pytest.mark.parametrize(
    "way",
    [*(f"{kind}:linf=8/255" for kind in ATTACKS), "pgd:linf=8/255,target=1", FOREIGN["foolbox LinfPGD"]],
    ids=lambda way: way if isinstance(way, str) else "foreign",
)
def test_labels_that_are_no_classes_are_refused(victim, way, label):
    network, inputs, labels = victim
    labels[4] = label
    with pytest.raises(ValueError, match=r"Labels must be classes of the network, 0 to 4; got labels from"):
        attack(network, inputs, labels, way)


def test_a_target_that_is_no_class_is_refused(victim):
    with pytest.raises(ValueError, match=r"`target` must be a class of the network, 0 to 4; got 5"):
        attack(*victim, "pgd:linf=8/255,target=5")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("pgd:linf=8", r"`linf` 8 is wider than the network's bounds \[0, 1\] \(1\)"),
        ("noise:l2=6.1", r"`l2` 6.1 is wider than the network's bounds \[0, 1\] \(6\)"),
        ("fmn:linf=1.01", r"`linf` 1.01 is wider .* give a budget in input space, such as 8/255"),
    ],
)
def test_a_budget_wider_than_the_bounds_is_refused(victim, spec, told):
    with pytest.raises(ValueError, match=told):
        attack(*victim, spec)


@pytest.mark.parametrize("spec", ["pgd:l2=6", "noise:linf=1", "fmn:linf=1,steps=3", "bisect:l2=6,steps=2"])
def test_a_budget_as_wide_as_the_bounds_is_none_too_wide(victim, spec):
    assert attack(*victim, spec).inputs.shape == victim[1].shape


@pytest.mark.parametrize("spec", ["apgd-dlr:linf=8/255", "apgd-dlr:l2=0.5"])
def test_fewer_than_four_classes_have_no_dlr(spec, module, pairs):
    with pytest.raises(ValueError, match=r"needs at least four classes; the network has 3. Use `apgd-ce`"):
        attack(Network(module), *pairs, spec)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("size", [-0.1, float("nan")])
def test_a_budget_is_a_number_no_less_than_0(norm, size):
    with pytest.raises(ValueError, match=rf"`{norm}` must be a number, 0 or more; got (-0.1|nan)"):
        Budget(norm, size)


def test_a_budget_has_a_norm():
    with pytest.raises(ValueError, match=r"`norm` must be one of linf, l2; got 'l1'"):
        Budget("l1", 1.0)


# specs


def test_specs_are_read():
    assert parse_attack("pgd:linf=8/255") == ATTACKS["pgd"][0](Budget("linf", 8 / 255))
    pgd = parse_attack("pgd: l2 = 0.5, steps=7 ,restarts=2,stop=fooled,target=0")
    assert pgd.budget == Budget("l2", 0.5)
    assert (pgd.steps, pgd.restarts, pgd.stop, pgd.target) == (7, 2, "fooled", 0)
    assert parse_attack("apgd-ce:linf=0.1").loss == "ce"
    assert parse_attack("apgd-dlr:linf=0.1,steps=3").loss == "dlr"
    assert parse_attack("fmn:l2").budget == Budget("l2", float("inf"))
    assert parse_attack("fmn:l2=3,steps=20").budget == Budget("l2", 3.0)
    assert parse_attack("bisect:linf,halvings=4").halvings == 4
    assert parse_attack("noise:l2=1e-3") == Noise(Budget("l2", 1e-3))


@pytest.mark.parametrize("kind", ATTACKS)
def test_every_kind_can_be_named(kind):
    assert type(parse_attack(f"{kind}:linf=8/255")) is ATTACKS[kind][0]
    assert is_control(f"{kind}:linf=8/255") == (kind in ("noise", "uniform"))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("fgm:linf=1", r"The attack 'fgm:linf=1' is not known; kinds are fgsm, pgd, .*: write `pgd:linf=8/255`"),
        ("pgd", r"must give `linf` or `l2`, and may give steps, restarts, stop, target; write `pgd:linf=8/255`"),
        ("pgd:l1=3", r"must give `linf` or `l2`, and may give"),
        ("pgd:linf=0.1,l2=1", r"must give `linf` or `l2`, and may give"),
        ("fmn:linf,size=3", r"must give `linf` or `l2`, and may give steps; write `fmn:linf`"),
        ("apgd-ce:linf=0.1,loss=dlr", r"must give `linf` or `l2`, and may give steps, restarts; write `apgd-ce:linf"),
        ("noise:linf=1,steps=3", r"must give `linf` or `l2`; write `noise:linf=8/255`"),
        ("pgd:linf", r"must say how large `linf` may be; write `pgd:linf=8/255`"),
        ("uniform:l2=", r"must say how large `l2` may be"),
        ("pgd:linf=inf", r"`linf` must be a finite number; write `pgd:linf=8/255`"),
        ("pgd:linf=big", r"'big' is no number; write 0.03 or 8/255"),
        ("pgd:linf=8/0", r"'8/0' is no number"),
        ("pgd:linf=-1", r"`linf` must be a number, 0 or more; got -1"),
        ("pgd:linf=nan", r"`linf` must be a number, 0 or more; got nan"),
        ("pgd:linf=1,steps=2.5", r"`steps` must be a whole number; got 2.5"),
        ("pgd:linf=1,steps=inf", r"`steps` must be a whole number; got inf"),
        ("pgd:linf=1,steps=nan", r"`steps` must be a whole number; got nan"),
        ("pgd:linf=1,linf=0.5", r"names an option twice; give each once"),
        ("pgd:linf=1,step=4", r"write `pgd:linf=8/255`. It does not know 'step'"),
        ("pgd:linf=1,steps=", r"'' is no number"),
        ("pgd:linf=1,steps=0", r"`steps` must be at least 1; got 0"),
        ("pgd:linf=1,restarts=-2", r"`restarts` must be at least 1; got -2"),
        ("pgd:linf=1,stop=soon", r"`stop` must be one of end, fooled; got 'soon'"),
        ("pgd:linf=1,target=-1", r"`target` must be a class of the network, 0 or more; got -1"),
        ("apgd-dlr:l2=1,steps=-5", r"`steps` must be at least 1; got -5"),
        ("apgd-ce:l2=1,restarts=0", r"`restarts` must be at least 1; got 0"),
        ("fmn:l2,steps=0", r"`steps` must be at least 1; got 0"),
        ("bisect:l2,steps=0", r"`steps` must be at least 1; got 0"),
        ("bisect:l2,halvings=0", r"`halvings` must be at least 1; got 0"),
    ],
)
def test_a_spec_that_cannot_be_read_is_refused(spec, told):
    with pytest.raises(ValueError, match=told):
        parse_attack(spec)


def test_a_loss_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match=r"`loss` must be one of ce, dlr; got 'mse'"):
        ATTACKS["apgd-ce"][0](Budget("linf", 0.1), loss="mse")


@pytest.mark.parametrize("spec", ["fgsm:linf=8/255", "fmn:l2", "bisect:linf", "apgd-dlr:l2=0.5"])
def test_who_attacks_under_no_grad_gets_the_same(victim, spec):
    expected = attack(*victim, spec).inputs
    with torch.no_grad():
        assert attack(*victim, spec).inputs.equal(expected)


def test_inputs_that_need_a_gradient_get_none_from_an_attack(victim):
    network, inputs, labels = victim
    found = attack(network, inputs.clone().requires_grad_(), labels, "pgd:linf=8/255")
    assert not found.inputs.requires_grad
