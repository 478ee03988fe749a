"""Hooks: right values, and none left behind."""

import copy
import dataclasses
import functools
import warnings
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from layerscope.hooks import first_tensor
from layerscope.images import Resize
from layerscope.network import Network


def kept(network, inputs, layers):
    seen = {}
    logits = network.watch(inputs, layers, lambda name, output: seen.__setitem__(name, output.tensor.detach().clone()))
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
        (lambda x: {"scores": x}, "under `logits`; it returned dict. Say where they are"),
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


def test_untrained_normalises_by_the_batches_it_is_given_and_leaves_dropout_off():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    batches = [5 + 3 * torch.randn(50, 4) for _ in range(3)]
    fresh = Network(module).untrained(0, batches).module
    seen = [fresh[0](batch).detach() for batch in batches]
    torch.testing.assert_close(fresh[2].running_mean, torch.stack([one.mean(0) for one in seen]).mean(0))
    torch.testing.assert_close(fresh[2].running_var, torch.stack([one.var(0) for one in seen]).mean(0))
    assert not any(part.training for part in fresh.modules())
    assert fresh[2].momentum == module[2].momentum == 0.1
    assert module[2].running_mean.equal(torch.zeros(3))


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


@pytest.mark.parametrize("output", ["scores", 1, -1])
def test_where_the_logits_are_can_be_said(output):
    wrap = (lambda x: {"scores": x, "logits": 0 * x}) if output == "scores" else (lambda x: (0 * x, x))
    module = Answer(wrap).eval()
    inputs = torch.rand(2, 4)
    assert Network(module, output=output)(inputs).equal(module.linear(inputs))


@pytest.mark.parametrize(("output", "wrap"), [("scores", lambda x: (x,)), (3, lambda x: (x,)), (0, lambda x: {"a": x})])
def test_logits_that_are_not_where_they_should_be(output, wrap):
    network = Network(Answer(wrap).eval(), output=output)
    with pytest.raises(TypeError, match=rf"under `output` '?{output}'?; it returned (tuple|dict)"):
        network(torch.rand(2, 4))
    assert network.watch(torch.rand(2, 4), [], lambda *_: None) is None


class Found(NamedTuple):
    hidden: torch.Tensor


@dataclasses.dataclass
class Held:
    name: str
    hidden: torch.Tensor


@pytest.mark.parametrize(
    "wrap", [lambda x: (x, None), lambda x: {"h": x}, lambda x: [x], Found, lambda x: Held("a", x)],
    ids=["tuple", "dict", "list", "namedtuple", "dataclass"],
)  # fmt: skip
def test_a_layer_may_put_out_several_things(wrap):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.nothing = Answer(wrap), Answer(lambda _: None)

        def forward(self, x):
            self.nothing(x)
            self.inner(x)
            return x

    module, inputs = Outer().eval(), torch.rand(2, 4)
    _, seen = kept(Network(module), inputs, ["inner"])
    assert seen["inner"].equal(module.inner.linear(inputs))
    with pytest.raises(TypeError, match="Layer 'nothing' puts out NoneType, which holds no tensor"):
        kept(Network(module), inputs, ["nothing"])
    assert hooks(module) == 0


def test_one_activation_used_three_times_has_three_calls():
    class Thrice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.act(self.c(self.act(self.b(self.act(self.a(x))))))

    module, inputs = Thrice().eval(), torch.randn(6, 4)
    logits, seen = kept(Network(module, bounds=(-9.0, 9.0)), inputs, ["a", "b", "act#0", "act#1", "act#2"])
    assert seen["a"].equal(module.a(inputs))  # before the activation function overwrote it
    assert seen["act#0"].equal(relu(module.a(inputs)))
    assert seen["act#1"].equal(relu(module.b(seen["act#0"])))
    assert seen["act#2"].equal(logits)
    assert [call.name for call in Network(module).trace(inputs)[0]] == ["a", "act#0", "b", "act#1", "c", "act#2"]


def test_shared_weights_are_two_layers():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).eval()
    module[2].weight = module[0].weight
    _, seen = kept(Network(module), torch.rand(3, 4), ["0", "2"])
    assert not seen["0"].equal(seen["2"])


def test_hooks_of_the_users_own_are_heard_and_kept():
    module, inputs = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), torch.rand(2, 4)
    own = module[0].register_forward_hook(lambda _module, _inputs, output: output + 1)
    _, seen = kept(Network(module), inputs, ["0"])
    assert seen["0"].equal(module[0](inputs))  # what the next layer is given
    own.remove()
    assert not seen["0"].equal(module[0](inputs))
    assert hooks(module) == 0


def test_the_pass_ends_with_the_last_wanted_layer_where_logits_are_not_wanted():
    ran = []

    class Tell(nn.Linear):
        def forward(self, x):
            ran.append(self.out_features)
            return super().forward(x)

    class Guarded(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(Tell(4, 5), Tell(5, 6), Tell(6, 3))

        def forward(self, x):
            try:
                return self.layers(x)
            except Exception:  # noqa: BLE001 - a network may catch what it likes
                return None

    module, seen = Guarded().eval(), []
    network = Network(module)
    keep = lambda name, _output: seen.append(name)  # noqa: E731
    assert network.watch(torch.rand(2, 4), ["layers.1", "layers.0"], keep, logits=False) is None
    assert ran == [5, 6]
    assert seen == ["layers.0", "layers.1"]
    assert hooks(module) == 0
    assert network.watch(torch.rand(2, 4), ["layers.1"], keep).shape == (2, 3)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrappers_are_looked_through(wrap, module, pairs):
    images = pairs[0][:3]
    wrapped = wrap(module).eval()
    network = Network(wrapped)
    assert network.module is module
    assert network.name == "TinyNet"
    _, seen = kept(network, images, ["stem"])
    assert seen["stem"].equal(module.stem(images))


def test_a_distributed_network_is_looked_through(module, pairs, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rank", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(module).eval()
        network = Network(wrapped)
    finally:
        torch.distributed.destroy_process_group()
    assert kept(network, pairs[0][:3], ["stem"])[1]["stem"].equal(module.stem(pairs[0][:3]))


def test_compiled_parts_are_recorded_through_their_original(module, pairs):
    images = pairs[0][:3]
    plain = {name: module.get_submodule(name)(images) for name in ("stem", "stem.0")}
    module.stem = torch.compile(module.stem, backend="eager")
    module(images)
    _, seen = kept(Network(module), images, ["stem", "stem._orig_mod.0"])
    assert seen["stem"].equal(plain["stem"])
    assert seen["stem._orig_mod.0"].equal(plain["stem.0"])


@pytest.mark.parametrize("make", ["script", "trace"])
def test_scripted_networks_are_refused_with_what_to_do(make, module, pairs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scripted = torch.jit.script(module) if make == "script" else torch.jit.trace(module, pairs[0][:2])
    with pytest.raises(TypeError, match=r"but it is scripted or traced .* and hooks don't see inside; give the module"):
        Network(scripted)
    module.middle = scripted
    with pytest.raises(TypeError, match="but part 'middle' of it is scripted"):
        Network(module)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_inputs_are_brought_to_the_type_of_the_weights(dtype, module, pairs):
    images = pairs[0][:3]
    network = Network(copy.deepcopy(module).to(dtype), preprocess=lambda x: 2 * x - 1)
    logits, seen = kept(network, images, ["stem"])
    assert logits.dtype == seen["stem"].dtype == dtype
    assert seen["stem"].equal(network.module.stem((2 * images - 1).to(dtype)))


def test_autocast_of_the_users_own_is_respected(module, pairs):
    images = pairs[0][:3]
    with torch.autocast("cpu", torch.bfloat16):
        _, seen = kept(Network(module), images, ["stem"])
        assert seen["stem"].dtype == torch.bfloat16
        assert seen["stem"].equal(module.stem(images))


def test_the_memory_format_of_inputs_changes_no_value():
    wide = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU()).eval()
    inputs = torch.rand(2, 4, 7, 7)
    _, one = kept(Network(wide), inputs, ["0"])
    _, other = kept(Network(wide), inputs.contiguous(memory_format=torch.channels_last), ["0"])
    torch.testing.assert_close(one["0"], other["0"])


def test_named_and_ordered_inputs_are_given_as_the_module_takes_them():
    class Two(nn.Module):
        def forward(self, left, right):
            return left - right

    left, right = torch.rand(2, 3), torch.rand(2, 3)
    network = Network(Two().eval())
    assert network((left, right)).equal(left - right)
    assert network({"right": right, "left": left}).equal(left - right)


def test_texts_are_preprocessed_into_what_the_module_takes():
    def count(texts):
        return torch.tensor([[float(len(text)), float(text.count("a"))] for text in texts])

    network = Network(nn.Linear(2, 3).eval(), preprocess=count)
    assert network(["a banana", "x"]).equal(network.module(torch.tensor([[8.0, 4.0], [1.0, 0.0]])))


def test_a_blank_sample_is_grey_of_the_size_that_the_network_takes():
    linear = nn.Linear(2, 3).eval()
    blank = Network(linear, resize=Resize(4, 5, channels=1), bounds=(-1.0, 3.0)).blank(2)
    assert blank.equal(torch.ones(2, 1, 4, 5))
    assert Network(linear).blank(3, (7,)).shape == (3, 7)
    with pytest.raises(ValueError, match="What this network takes isn't known from its name; give the shape of one"):
        Network(linear).blank(2)


class Holder(nn.Module):
    """Holds something that only its own code reads."""

    def __init__(self, held):
        super().__init__()
        self.linear, self.held = nn.Linear(2, 2), held
        nn.init.ones_(self.linear.weight)
        nn.init.ones_(self.linear.bias)

    def forward(self, x):
        return self.linear(x)


class Plain:
    def __init__(self, by):
        self.by = by


def scaled_by(by):
    return lambda x, by=by: x * by


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2), (1, 1.0), ("a", "b"), ((1, (2, 3)), (1, (2, 4))), ({"a": 1}, {"a": 2}), ({1, 2}, {1, 3}),
        (np.ones(2000), np.append(np.ones(1999), 2)), (np.ones(3), np.ones(3, dtype=np.float32)),
        ([torch.zeros(2000)], [torch.cat([torch.zeros(1999), torch.ones(1)])]),
        (Plain(1), Plain(2)), ([Plain(1)], [Plain(2)]), (Plain(Plain(1)), Plain(Plain(2))),
        (scaled_by(1), scaled_by(2)), (functools.partial(abs, torch.ones(1)), functools.partial(abs, torch.zeros(1))),
        (functools.partial(max, key=scaled_by(1)), functools.partial(max, key=scaled_by(2))), (torch.relu, torch.tanh),
    ],
)  # fmt: skip
def test_a_network_is_another_where_a_part_holds_something_else(one, other):
    assert Network(Holder(one).eval()).fingerprint() == Network(Holder(copy.deepcopy(one)).eval()).fingerprint()
    assert Network(Holder(one).eval()).fingerprint() != Network(Holder(other).eval()).fingerprint()
    bound = [Network(nn.Identity().eval(), preprocess=lambda x, held=held: x).fingerprint() for held in (one, other)]
    assert bound[0] != bound[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.linear.register_forward_hook(lambda _m, _i, output: output + 1),
        lambda module: module.linear.register_forward_pre_hook(lambda _m, inputs: (inputs[0] + 1,)),
        lambda module: setattr(module.linear, "forward", lambda x: x),
    ],
    ids=["hook", "pre-hook", "forward"],
)
def test_a_network_is_another_where_its_parts_were_made_to_do_something_else(change):
    module = Holder(1).eval()
    before = Network(module).fingerprint()
    change(module)
    assert Network(module).fingerprint() != before


def test_heads_of_attention_are_part_of_a_network():
    torch.manual_seed(0)
    one = nn.MultiheadAttention(8, 2).eval()
    other = nn.MultiheadAttention(8, 4).eval()
    other.load_state_dict(one.state_dict())
    assert Network(one).fingerprint() != Network(other).fingerprint()


SHIFT = 1.0


def shifted_by_global(x):
    return helped(x) + SHIFT


def helped(x):
    return x


def test_values_and_functions_of_its_own_module_are_part_of_a_function(monkeypatch):
    network = Network(nn.Identity().eval(), preprocess=shifted_by_global)
    prints = [network.fingerprint()]
    monkeypatch.setitem(globals(), "SHIFT", 2.0)
    prints.append(network.fingerprint())
    replacement = eval("lambda x: x * 2", globals())
    replacement.__module__ = __name__
    monkeypatch.setitem(globals(), "helped", replacement)
    prints.append(network.fingerprint())
    assert len(set(prints)) == 3


def test_things_that_hold_themselves_are_told_in_finite_text():
    loop = Plain(1)
    loop.by = [loop]
    assert len(Network(Holder(loop).eval()).fingerprint()) == 64


def test_a_fingerprint_is_the_same_after_a_pass_and_in_a_copy():
    module = Holder([1, Plain(torch.ones(3))]).eval()
    network = Network(module)
    before = network.fingerprint()
    network(torch.rand(2, 2))
    network.trace(torch.rand(2, 2))
    assert network.fingerprint() == before == Network(copy.deepcopy(module)).fingerprint()


def test_embeddings_can_be_told_from_logits():
    network = Network(nn.Linear(4, 3).eval(), output=False)
    assert network.watch(torch.rand(2, 4), [], lambda *_: None) is None
    with pytest.raises(TypeError, match="`module` must return logits"):
        network(torch.rand(2, 4))
