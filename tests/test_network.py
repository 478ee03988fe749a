"""Hooks: right values, and none left behind."""

import functools

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from layerscope.network import Network, first_tensor, load_network


def kept(network, inputs, layers):
    seen = {}
    logits = network.watch(inputs, layers, lambda name, output: seen.__setitem__(name, output.detach().clone()))
    return logits, seen


def hooks(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


class Reused(nn.Module):
    """One ReLU runs twice; one layer never runs."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.idle = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(2, 2)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.second(self.act(self.first(x))))


class Answer(nn.Module):
    """Puts its logits into whatever `wrap` makes of them."""

    def __init__(self, wrap):
        super().__init__()
        self.linear, self.wrap = nn.Linear(4, 3), wrap

    def forward(self, x):
        return self.wrap(self.linear(x))


def test_a_module_in_training_mode_is_refused(module):
    with pytest.raises(ValueError, match=r"but it is in training mode.*call `module.eval\(\)` first"):
        Network(module.train())
    module.eval()
    module.middle.train()
    with pytest.raises(ValueError, match="part 'middle' of it is in training mode"):
        Network(module)


def test_bounds_must_be_a_range(module):
    with pytest.raises(ValueError, match=r"`bounds` must be \(low, high\) with low < high; got \(1, 0\)"):
        Network(module, bounds=(1.0, 0.0))


def test_what_a_layer_says_is_kept_before_an_in_place_operation_changes_it(module, pairs):
    images = pairs[0][:5]
    _, seen = kept(Network(module), images, ["stem.0", "stem.1"])
    convolved = module.stem[0](images)
    assert seen["stem.0"].equal(convolved)  # stem.1 overwrites this very tensor
    assert seen["stem.1"].equal(relu(convolved))


def test_preprocessing_is_part_of_the_network_and_gradients_flow_through_it(module, pairs):
    inputs = pairs[0][:3].requires_grad_(True)
    network = Network(module, preprocess=lambda x: 2 * x - 1)
    assert network(inputs).equal(module(2 * inputs - 1))
    (gradient,) = torch.autograd.grad(network(inputs).sum(), inputs)
    assert gradient.abs().sum() > 0


def test_each_call_of_a_reused_module_has_a_name():
    module = Reused().eval()
    inputs = torch.rand(6, 4)
    logits, seen = kept(Network(module), inputs, ["act#0", "act#1", "first"])
    assert seen["first"].equal(module.first(inputs))
    assert seen["act#0"].equal(relu(module.first(inputs)))
    assert seen["act#1"].equal(logits)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ("act", r"Layer 'act' runs 2 times in one forward pass; say which call: act#0, act#1"),
        ("act#2", r"Layer 'act' runs 2 times, so 'act#2' never comes"),
        ("idle", r"Layer 'idle' never ran in the forward pass"),
    ],
)
def test_a_layer_that_does_not_come_once_is_named(layer, told):
    module = Reused().eval()
    with pytest.raises(ValueError, match=told):
        kept(Network(module), torch.rand(2, 4), [layer])
    assert hooks(module) == 0


def test_no_hook_outlives_a_pass_that_fails(module, pairs):
    own = module.stem.register_forward_hook(lambda *_: None)

    def fail(name, output):
        raise RuntimeError(name)

    with pytest.raises(RuntimeError, match="stem"):
        Network(module).watch(pairs[0][:2], ["stem", "middle"], fail)
    assert hooks(module) == 1  # the user's own
    own.remove()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: {"features": x.mean(1), "logits": x},
        lambda x: (x, None),
        lambda x: type("Output", (), {"logits": x})(),
    ],
    ids=["tensor", "dict", "tuple", "object"],
)
def test_logits_are_found_in_any_answer(wrap):
    module = Answer(wrap).eval()
    inputs = torch.rand(2, 4)
    assert Network(module)(inputs).equal(module.linear(inputs))


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda x: {"scores": x}, "it returned dict. Wrap it"),
        (lambda x: x.sum(1), r"it returned Tensor of shape \(2,\)"),
        (lambda _: (), "it returned tuple"),
    ],
)
def test_an_answer_without_logits_is_refused(wrap, told):
    with pytest.raises(TypeError, match=told):
        Network(Answer(wrap).eval())(torch.rand(2, 4))


def test_the_first_tensor_of_a_layer_that_puts_out_several():
    x = torch.rand(2)
    assert first_tensor((None, x), "a") is x
    assert first_tensor({"h": x}, "a") is x
    with pytest.raises(TypeError, match="Layer 'a' puts out NoneType, which holds no tensor"):
        first_tensor(None, "a")


def test_trace_lists_calls_in_the_order_in_which_they_end_with_shapes(module, pairs):
    calls, logits = Network(module).trace(pairs[0][:2])
    names = [call.name for call in calls]
    assert names == ["stem.0", "stem.1", "stem", "middle.0", "middle.1", "middle", "head"]
    assert [call.shape for call in calls][-1] == tuple(logits.shape) == (2, 3)
    assert hooks(module) == 0


def test_trace_notes_a_layer_that_puts_out_no_tensor():
    class Says(nn.Module):
        def forward(self, x):
            return "text"

    class Uses(nn.Module):
        def __init__(self):
            super().__init__()
            self.says, self.head = Says(), nn.Linear(4, 3)

        def forward(self, x):
            self.says(x)
            return self.head(x)

    calls, _ = Network(Uses().eval()).trace(torch.rand(2, 4))
    assert [(call.name, call.shape) for call in calls] == [("says", ()), ("head", (2, 3))]


def test_untrained_draws_every_weight_anew_by_seed_and_leaves_the_network_alone(module, pairs):
    network = Network(module)
    before = network.fingerprint()
    state = torch.get_rng_state()
    drawn, again, other = network.untrained(0), network.untrained(0), network.untrained(1)
    assert drawn.fingerprint() == again.fingerprint()
    assert len({before, drawn.fingerprint(), other.fingerprint(), network.fingerprint()}) == 3
    for name, weight in drawn.module.named_parameters():
        assert not weight.equal(module.get_parameter(name)), name
    assert torch.get_rng_state().equal(state)


def test_untrained_is_not_what_the_same_seed_began_with():
    torch.manual_seed(0)
    begun = nn.Linear(5, 4).eval()
    assert not Network(begun).untrained(0).module.weight.equal(begun.weight)


def test_untrained_resets_running_statistics():
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    module(torch.rand(50, 3) + 7)
    fresh = Network(module.eval()).untrained(0).module[0]
    assert fresh.running_mean.equal(torch.zeros(3))
    assert fresh.running_var.equal(torch.ones(3))


def test_untrained_shuffles_what_nothing_resets_and_says_so():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.arange(40.0).reshape(10, 4))
            self.linear = nn.Linear(4, 3)

        def forward(self, x):
            return self.linear(x + self.scale[0])

    network = Network(Scaled().eval(), name="scaled")
    with pytest.warns(UserWarning, match="untrained null of 'scaled' shuffles the entries of scale"):
        scale = network.untrained(0).module.scale
    assert not scale.equal(network.module.scale)
    assert scale.flatten().sort().values.equal(torch.arange(40.0))


def test_the_fingerprint_sees_weights_bounds_and_preprocessing(module):
    base = Network(module)
    others = [
        Network(module, bounds=(0, 2)),
        Network(module, preprocess=nn.Identity().eval()),
        Network(module, preprocess=torch.sqrt),
    ]
    prints = {network.fingerprint() for network in (base, *others)}
    assert len(prints) == 4
    with torch.no_grad():
        module.head.bias[0] += 1e-3
    assert base.fingerprint() not in prints


class Squashes(nn.Module):
    """Two networks of one layout and one set of weights that compute other things."""

    def __init__(self, how):
        super().__init__()
        self.linear, self.how = nn.Linear(4, 3), how

    def forward(self, x):
        return self.linear(x)


class SquashesOtherwise(Squashes):
    def forward(self, x):
        return self.linear(x).tanh()


SquashesOtherwise.__name__ = SquashesOtherwise.__qualname__ = "Squashes"


def test_the_fingerprint_sees_what_computes():
    torch.manual_seed(0)
    one = Squashes(0).eval()
    other = SquashesOtherwise(0).eval()
    other.load_state_dict(one.state_dict())
    assert str(one) == str(other)
    assert Network(one).fingerprint() != Network(other).fingerprint()

    def scaled(by):
        return lambda x: x * by

    def shifted(x, by):
        return x + by

    kinds = [
        lambda x: x,
        lambda x: 1 - x,
        scaled(1), scaled(2), scaled(torch.ones(1)), scaled(nn.Linear(1, 1).eval()), scaled(abs),
        functools.partial(shifted, by=1), functools.partial(shifted, by=2),
        eval("lambda x: x + 3"), eval("lambda x: x + 4"),
        torch.sqrt, nn.Identity().eval(),
    ]  # fmt: skip
    prints = [Network(one, preprocess=kind).fingerprint() for kind in kinds]
    assert len(set(prints)) == len(kinds)
    assert prints == [Network(one, preprocess=kind).fingerprint() for kind in kinds]


def test_untrained_shuffles_what_a_reset_does_not_reach():
    module = nn.Sequential(nn.utils.spectral_norm(nn.Linear(6, 5)), nn.ReLU()).eval()
    with pytest.warns(UserWarning, match="shuffles the entries of 0.weight_orig"):
        fresh = Network(module).untrained(0)
    assert not fresh.module[0].weight_orig.equal(module[0].weight_orig)


def test_a_module_that_cannot_be_copied_is_told():
    class Holds(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.product = self.linear.weight * 2

        def forward(self, x):
            return self.linear(x)

    with pytest.raises(ValueError, match=r"can't be made, since its module can't be copied .*`untrained=0`"):
        Network(Holds().eval()).untrained(0)


def test_a_network_comes_from_a_spec_a_module_or_itself(module):
    network = load_network("py:layerscope.demo:network")
    assert network.class_names[1] == "Trouser"
    assert load_network(network) is network
    assert load_network(module).module is module


def test_factories_of_the_working_folder_are_found(tmp_path, monkeypatch):
    (tmp_path / "factory_for_test.py").write_text(
        "from torch import nn\n\ndef make():\n    return nn.Linear(2, 2).eval()\n\n"
        "nothing = 3\n\ndef wrong():\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    assert isinstance(load_network("py:factory_for_test:make").module, nn.Linear)
    with pytest.raises(ValueError, match="module 'factory_for_test' has no function 'nothing'"):
        load_network("py:factory_for_test:nothing")
    with pytest.raises(TypeError, match=r"must be a layerscope.Network or a torch.nn.Module; got int"):
        load_network("py:factory_for_test:wrong")


@pytest.mark.parametrize("spec", ["resnet18", "py:only", "timm:resnet18", "py::make"])
def test_a_spec_that_cannot_be_read_is_refused(spec):
    with pytest.raises(ValueError, match=r"can't be read; write `py:package.module:factory`"):
        load_network(spec)


def test_a_module_that_cannot_be_imported_is_named():
    with pytest.raises(ValueError, match=r"names a module that can't be imported \(No module named 'no_such_module'\)"):
        load_network("py:no_such_module:make")
