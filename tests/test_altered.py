"""One layer puts out something else, and the rest of the network runs."""

import dataclasses
from typing import NamedTuple

import pytest
import torch
from handmade import gaussian
from torch import nn
from torch.nn.functional import relu

from layerscope.decoding.shifts import movable, shifted
from layerscope.layouts import Output
from layerscope.network import Network
from layerscope.reductions import Pieces


def hooks(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def plus(number):
    return lambda output: output.tensor + number


def test_the_rest_of_the_network_runs_on_what_the_layer_was_changed_to_with_an_in_place_layer_after_it(module, pairs):
    images = pairs[0][:5]
    before = module.stem[0](images)
    told = {}

    def change(output):
        told["before"] = output.tensor.clone()
        told["after"] = output.tensor - 0.5
        return told["after"].clone()

    logits = Network(module).altered(images, "stem.0", change)
    assert told["before"].equal(before)
    rest = module.head(module.middle(relu(before - 0.5)).mean((2, 3)))
    torch.testing.assert_close(logits, rest)
    assert hooks(module) == 0
    assert Network(module).altered(images, "stem.0", plus(0)).equal(module(images))


def test_gradients_flow_and_preprocessing_is_inside(module, pairs):
    inputs = pairs[0][:3].requires_grad_(True)
    network = Network(module, preprocess=lambda x: 2 * x - 1)
    logits = network.altered(inputs, "middle", plus(1.0))
    torch.testing.assert_close(logits, module.head((module.middle(module.stem(2 * inputs - 1)) + 1).mean((2, 3))))
    assert torch.autograd.grad(logits.sum(), inputs)[0].abs().sum() > 0


class Reused(nn.Module):
    """One ReLU runs twice; one layer never runs; one says nothing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.idle = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(2, 2)
        self.act, self.mute = nn.ReLU(), Mute()

    def forward(self, x):
        self.mute(x)
        return self.act(self.second(self.act(self.first(x))))


class Mute(nn.Module):
    def forward(self, x):
        return "text"


def test_the_named_call_alone_is_changed():
    module, x = Reused().eval(), torch.rand(6, 4)
    network, first = Network(module), relu(Reused().first(x))
    torch.testing.assert_close(network.altered(x, "act#0", plus(1)), relu(module.second(first + 1)))
    torch.testing.assert_close(network.altered(x, "act#1", plus(1)), relu(module.second(first)) + 1)


@pytest.mark.parametrize(
    ("layer", "change", "error", "told"),
    [
        ("act", plus(1), ValueError, r"Layer 'act' runs 2 times in one forward pass; say which call: act#0, act#1"),
        ("act#2", plus(1), ValueError, r"Layer 'act' runs 2 times, so 'act#2' never comes"),
        ("idle", plus(1), ValueError, r"Layer 'idle' never ran in the forward pass"),
        ("mute", plus(1), TypeError, r"Layer 'mute' puts out str, which holds no tensor"),
        (
            "first", lambda output: output.tensor[:, :2], ValueError,
            r"`change` must give layer 'first' a tensor of the shape that it puts out, \(2, 5\); got \(2, 2\)",
        ),
        ("first", lambda _: 1 / 0, ZeroDivisionError, "division"),
    ],
)  # fmt: skip
def test_what_can_not_be_changed_is_refused_and_no_hook_is_left(layer, change, error, told):
    module = Reused().eval()
    with pytest.raises(error, match=told):
        Network(module).altered(torch.rand(2, 4), layer, change)
    assert hooks(module) == 0


def test_a_network_without_logits_is_refused():
    with pytest.raises(TypeError, match="`module` must return logits"):
        Network(nn.Sequential(nn.Linear(4, 3)).eval(), output=False).altered(torch.rand(2, 4), "0", plus(1))


class Pair(NamedTuple):
    note: str
    hidden: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Held:
    note: str
    hidden: torch.Tensor


class Wrapping(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(2 * x)


class Around(nn.Module):
    def __init__(self, wrap, unwrap):
        super().__init__()
        self.inner, self.unwrap = Wrapping(wrap), unwrap

    def forward(self, x):
        self.kept = self.inner(x)
        return self.unwrap(self.kept)


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda x: (None, x, x * 0), lambda found: found[1] + found[2]),
        (lambda x: [x, 3], lambda found: found[0]),
        (lambda x: {"n": 1, "hidden": x}, lambda found: found["hidden"]),
        (lambda x: Pair("a", x), lambda found: found.hidden),
        (lambda x: Held("a", x), lambda found: found.hidden),
    ],
    ids=["tuple", "list", "dict", "named tuple", "frozen dataclass"],
)
def test_the_first_tensor_of_several_parts_is_changed_and_the_kind_stays(wrap, unwrap):
    module, x = Around(wrap, unwrap).eval(), torch.rand(2, 3)
    assert Network(module).altered(x, "inner", plus(1)).equal(2 * x + 1)
    assert type(module.kept) is type(wrap(x))


def test_a_model_output_of_transformers_is_changed_by_name_and_by_attribute():
    from transformers.modeling_outputs import BaseModelOutput

    x = torch.rand(2, 3)
    for unwrap in (
        lambda found: found.last_hidden_state,
        lambda found: found["last_hidden_state"],
        lambda found: found[0],
    ):
        module = Around(lambda x: BaseModelOutput(last_hidden_state=x), unwrap).eval()
        assert Network(module).altered(x, "inner", plus(1)).equal(2 * x + 1)


class Reader(nn.Module):
    """Tokens to logits, by a layer whose parts are `axes` of (n, tokens, features)."""

    def __init__(self, axes=(0, 1, 2)):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.axes = nn.Embedding(20, 8), Permuted(axes)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids, attention_mask):
        states = self.axes(self.table(input_ids))
        states = states.permute(*(self.axes.axes.index(place) for place in range(3)))
        return self.head((states * attention_mask[..., None]).sum(1))


class Permuted(nn.Module):
    def __init__(self, axes):
        super().__init__()
        self.axes, self.norm = axes, nn.LayerNorm(8)

    def forward(self, x):
        return self.norm(x).permute(self.axes)


TOKENS = {
    "input_ids": torch.arange(15).reshape(3, 5),
    "attention_mask": torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]),
}


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1)], ids=["tokens first", "features first"])
@pytest.mark.parametrize("reduction", ["mean", "cls", "last", "tokens"])
def test_tokens_are_moved_and_padding_is_not_whatever_the_order_of_axes(axes, reduction):
    module, by = Reader(axes).eval(), gaussian(3, 8)
    mask = TOKENS["attention_mask"].bool()
    where = {
        "mean": mask, "tokens": mask,
        "cls": torch.tensor([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]).bool(),
        "last": torch.tensor([[0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]).bool(),
    }[reduction]  # fmt: skip
    sample, place = mask.nonzero(as_tuple=True)
    steps = Pieces(by[sample], sample, place) if reduction == "tokens" else by
    seen = {}

    def change(output):
        seen["moved"] = shifted(output, movable(reduction), steps)
        seen["before"] = output.tensor.clone()
        return seen["moved"]

    logits = Network(module).altered(TOKENS, "axes", change)
    plain = module.axes.norm(module.table(TOKENS["input_ids"]))
    expected = plain + by[:, None] * where[..., None]
    torch.testing.assert_close(seen["moved"], expected)
    torch.testing.assert_close(logits, module.head((expected * mask[..., None]).sum(1)))


def test_sequences_that_come_steps_first_are_turned_and_turned_back():
    torch.manual_seed(0)

    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.RNN(2, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.rnn(x.transpose(0, 1))[0].mean(0))

    module, x, by = Steps().eval(), torch.rand(3, 5, 2), gaussian(3, 4)
    logits = Network(module).altered(x, "rnn", lambda output: shifted(output, movable("mean"), by))
    states = module.rnn(x.transpose(0, 1))[0]
    torch.testing.assert_close(logits, module.head((states + by).mean(0)))


SHAPES = {
    "vectors": Output(gaussian(3, 6), -1),
    "channels first": Output(gaussian(3, 6, 2, 4), 1),
    "channels last": Output(gaussian(3, 2, 4, 6), -1),
    "tokens": Output(gaussian(3, 5, 6), -1),
    "masked tokens": Output(gaussian(3, 5, 6), -1, TOKENS["attention_mask"].bool()),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", ["mean", "cls", "last", "flatten", "tokens", "positions:3", "positions:99"])
def test_the_reduction_of_what_was_moved_is_moved_by_as_much_and_nothing_else_changes(shape, reduction):
    output, reduce = SHAPES[shape], movable(reduction)
    if reduction in ("cls", "last", "tokens") and output.tensor.ndim == 4:
        pytest.skip("takes tokens alone")
    several = reduction.startswith(("tokens", "positions"))
    before = reduce(output, [7, 8, 9]) if several else reduce(output)
    by = gaussian(*(before.vectors if several else before).shape, seed=1)
    kept = output.tensor.clone()
    moved = shifted(output, reduce, before._replace(vectors=by) if several else by)
    assert output.tensor.equal(kept)
    assert moved.shape == kept.shape
    again = output._replace(tensor=moved)
    if several:
        after = reduce(again, [7, 8, 9])
        assert after.place.equal(before.place)
        torch.testing.assert_close(after.vectors, before.vectors + by)
    elif reduction == "flatten" and output.mask is not None:
        real = output.mask[..., None].expand_as(moved).flatten(1)
        torch.testing.assert_close(reduce(again), before + by * real)
    else:
        torch.testing.assert_close(reduce(again), before + by)
    if output.mask is not None:
        assert moved[~output.mask].equal(kept[~output.mask])
    changed = (moved != kept).flatten(1).sum(1)
    positions = kept[0].numel() // 6
    if reduction in ("cls", "last") or shape == "vectors":
        assert changed.tolist() == [6, 6, 6]
    elif reduction == "positions:3":
        assert changed.tolist() == [18, 18, 18]
    elif output.mask is None:
        assert changed.tolist() == [6 * positions] * 3


def test_half_precision_stays_half():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)).eval().bfloat16()
    by = torch.ones(2, 4)
    logits = Network(module).altered(torch.rand(2, 4), "0", lambda output: output.tensor.float() + by)
    assert logits.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("reduction", "told"),
    [
        (
            "max",
            r"can't be moved under `max`: the largest value of a feature is one position's, and no prototype tells",
        ),
        (
            "sketch:512",
            r"under `sketch:512`: a sketch is a projection, and many activations have the same\. Use `mean`",
        ),
    ],
)
def test_reductions_that_can_not_be_undone_are_refused(reduction, told):
    with pytest.raises(ValueError, match=told):
        movable(reduction)
