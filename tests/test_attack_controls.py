"""Noise of the size of an attack: its norms, its bounds, and that it has no intent."""

import pytest
import torch
from handmade import few
from hypothesis import given
from hypothesis import strategies as st
from peers import answers, images, linear_network, small_module

from layerscope import Network
from layerscope.attacks import Draws, attack, matched_noise

ATTACKS = ["fgsm:linf=8/255", "pgd:linf=8/255,steps=5", "pgd:linf=0.4,steps=5", "apgd-ce:linf=0.1,steps=5", "fmn:linf"]
LENGTHS = ["fgsm:l2=0.5", "pgd:l2=0.5,steps=5", "pgd:l2=2.5,steps=5", "fmn:l2"]


def norms(change):
    flat = change.double().flatten(1)
    return flat.abs().amax(1), flat.norm(dim=1)


def at_the_bounds(n, seed=0):
    """Images of which most pixels are 0 or 1, some wholly."""
    inputs = images(n, seed=seed)
    inputs = torch.where(images(n, seed=seed + 1) < 0.8, inputs.round(), inputs)
    inputs[0], inputs[1] = 0.0, 1.0
    inputs[2] = inputs[2].round()
    return inputs


def matched(inputs, found, norm, seed=3, bounds=(0.0, 1.0)):
    linf, l2 = norms(found - inputs)
    return matched_noise(inputs, linf, l2, norm, bounds, Draws(inputs, range(len(inputs)), seed))


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("spec", [*ATTACKS, *LENGTHS])
@pytest.mark.parametrize("made", [images, at_the_bounds])
def test_matched_noise_has_the_size_of_the_attack_in_every_sample(spec, made, double):
    inputs = made(30).double() if double else made(30)
    network = Network(small_module().double() if double else small_module())
    norm = "linf" if "linf" in spec else "l2"
    found = attack(network, inputs, answers(network, inputs), spec).inputs
    noise = matched(inputs, found, norm)
    assert noise.min() >= 0
    assert noise.max() <= 1
    assert noise.dtype == inputs.dtype
    # single precision holds pixels near 1 to 6e-8
    rounding = {"rtol": 1e-9, "atol": 1e-12} if double else {"rtol": 1e-6, "atol": 1e-7}
    (linf, l2), (own_linf, own_l2) = norms(found - inputs), norms(noise - inputs)
    torch.testing.assert_close(own_l2, l2, **rounding)
    if norm == "linf":
        torch.testing.assert_close(own_linf, linf, **rounding)
    moved = (found - inputs).flatten(1).any(1)
    assert not noise[moved].equal(found[moved])
    assert noise[~moved].equal(inputs[~moved])


@few
@given(
    st.sampled_from(["linf", "l2"]),
    st.integers(1, 40),
    st.floats(1e-3, 1.0),
    st.floats(0.0, 1.0),
    st.integers(0, 10**6),
)
def test_any_change_inside_the_bounds_has_noise_of_its_size(norm, width, size, crowded, seed):
    generator = torch.Generator().manual_seed(seed)
    low, high = -2.0, 3.0
    inputs = torch.rand(8, width, generator=generator, dtype=torch.float64) * (high - low) + low
    ends = torch.where(torch.rand(8, width, generator=generator) < 0.5, low, high)
    inputs = torch.where(torch.rand(8, width, generator=generator) < crowded, ends, inputs)
    drawn = 2 * torch.rand(8, width, generator=generator, dtype=torch.float64) - 1
    change = drawn.sign() if seed % 2 else drawn
    found = (inputs + (high - low) * size * change * (1 if norm == "linf" else 0.5)).clamp(low, high)
    noise = matched(inputs, found, norm, seed=seed, bounds=(low, high))
    assert noise.min() >= low
    assert noise.max() <= high
    (linf, l2), (own_linf, own_l2) = norms(found - inputs), norms(noise - inputs)
    torch.testing.assert_close(own_l2, l2, rtol=1e-6, atol=1e-9)
    if norm == "linf":
        torch.testing.assert_close(own_linf, linf, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_matched_noise_goes_up_as_often_as_down_where_it_can_do_both(norm):
    n, inputs = 300, torch.full((300, 1, 6, 6), 0.5)
    sizes = torch.full((n,), 0.1)
    lengths = torch.full((n,), 0.4)
    change = matched_noise(inputs, sizes, lengths, norm, (0.0, 1.0), Draws(inputs, range(n), 0)) - 0.5
    moved = change[change != 0]
    assert abs(float(moved.sign().mean())) < 4 / len(moved) ** 0.5
    assert change.mean(0).abs().max() < 4 * 0.1 / n**0.5  # in every pixel
    across = torch.corrcoef(change.flatten(1).T)  # and in each by itself
    assert (across - across.diag().diag()).abs().max() < 5 / n**0.5


def test_matched_noise_under_linf_moves_random_entries_by_one_size_and_one_by_what_is_left():
    n, inputs = 400, torch.full((400, 1, 6, 6), 0.5)
    lengths = torch.full((n,), (10.5 * 0.1**2) ** 0.5)
    noise = matched_noise(inputs, torch.full((n,), 0.1), lengths, "linf", (0.0, 1.0), Draws(inputs, range(n), 0))
    change = (noise - 0.5).flatten(1).abs()
    whole, some = change.isclose(torch.tensor(0.1)), change > 1e-6
    assert whole.sum(1).eq(10).all()
    assert some.sum(1).eq(11).all()
    often = whole.float().mean(0)
    assert (often - 10 / 36).abs().max() < 4 * (10 / 36 * 26 / 36 / n) ** 0.5


def test_where_the_bounds_forbid_the_one_direction_noise_takes_the_other():
    inputs = torch.cat([torch.zeros(50, 1, 6, 6), torch.ones(50, 1, 6, 6)])
    for norm in ("linf", "l2"):
        lengths = torch.full((100,), 0.6)
        noise = matched_noise(inputs, torch.full((100,), 0.1), lengths, norm, (0.0, 1.0), Draws(inputs, range(100), 0))
        torch.testing.assert_close(norms(noise - inputs)[1].float(), lengths)
    assert (noise - inputs).flatten(1).ne(0).all()


def test_matched_noise_is_another_for_each_sample_and_each_seed():
    inputs = torch.full((5, 1, 6, 6), 0.5)
    found = inputs + 0.1
    one, two = (matched(inputs, found, "linf", seed=seed) for seed in (0, 1))
    assert len({tuple(row) for row in torch.cat([one, two]).flatten(1).tolist()}) == 10
    assert matched(inputs, found, "linf", seed=0).equal(one)


# noise by itself


def test_noise_is_the_whole_budget_where_the_bounds_allow_it():
    network, inputs = linear_network(), torch.full((300, 1, 6, 6), 0.5)
    labels = torch.zeros(300, dtype=torch.int64)
    linf = attack(network, inputs, labels, "noise:linf=0.1").inputs - inputs
    assert linf.abs().sub(0.1).abs().max() < 1e-6
    assert abs(linf.sign().mean()) < 4 / linf.numel() ** 0.5
    l2 = attack(network, inputs, labels, "noise:l2=0.5").inputs - inputs
    torch.testing.assert_close(l2.flatten(1).norm(dim=1), torch.full((300,), 0.5))
    assert l2.mean(0).abs().max() < 4 * 0.5 / 6 / 300**0.5


def test_noise_is_clipped_to_the_bounds():
    network, inputs = linear_network(), at_the_bounds(40)
    labels = answers(network, inputs)
    for spec in ("noise:linf=0.3", "uniform:linf=0.3", "noise:l2=2", "uniform:l2=2"):
        change = attack(network, inputs, labels, spec).inputs - inputs
        assert (change[inputs == 0] >= 0).all()
        assert (change[inputs == 1] <= 0).all()
        assert change.flatten(1).any(1).all()


def test_uniform_noise_fills_the_ball():
    network, inputs = linear_network(), torch.full((2000, 1, 6, 6), 0.5)
    labels = torch.zeros(2000, dtype=torch.int64)
    change = attack(network, inputs, labels, "uniform:linf=0.2").inputs - inputs
    assert abs(float(change.abs().mean()) - 0.1) < 1e-3
    lengths = (attack(network, inputs, labels, "uniform:l2=0.4").inputs - inputs).flatten(1).norm(dim=1)
    shares = (lengths / 0.4) ** 36
    assert abs(float(shares.mean()) - 0.5) < 4 * (1 / 12 / 2000) ** 0.5


@pytest.mark.parametrize("double", [True, False])
def test_a_largest_change_that_ended_at_the_bounds_is_matched(double):
    """One entry goes all the way to a bound, as few others can, and the others little."""
    inputs = images(60, shape=(3, 3)).pow(3)
    inputs = inputs.double() if double else inputs
    far = torch.where(inputs < 0.5, 1.0, 0.0) - inputs
    first = far.flatten(1).abs().argmax(1)
    change = 0.1 * far.flatten(1)
    change[torch.arange(60), first] = far.flatten(1)[torch.arange(60), first]
    found = (inputs + change.view_as(inputs)).clamp(0, 1)
    noise = matched(inputs, found, "linf")
    torch.testing.assert_close(norms(noise - inputs)[0], norms(found - inputs)[0], rtol=1e-6, atol=1e-7)


def test_a_change_longer_than_a_random_direction_has_room_for_is_matched():
    inputs = torch.full((20, 1, 6, 6), 0.02, dtype=torch.float64)
    found = inputs + 0.9
    noise = matched(inputs, found, "l2")
    torch.testing.assert_close(norms(noise - inputs)[1], norms(found - inputs)[1], rtol=1e-6, atol=0)
