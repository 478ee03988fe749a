"""Whether an attack can be believed: checks that every run makes of its own (Carlini et al. 2019, arXiv:1902.06705)."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, replace
from math import isfinite
from typing import NamedTuple

import torch
from scipy.special import bdtrc

from layerscope.attacks.base import AbstractPerturbation, Attacked
from layerscope.attacks.budget import Budget, slack, wide
from layerscope.attacks.controls import Noise
from layerscope.attacks.gradient import PGD
from layerscope.attacks.losses import cross_entropy, slope
from layerscope.embeddings import attackable
from layerscope.network import Network
from layerscope.types import Flags, Inputs, Labels, Samples

PIXELS = 255
"""Steps of an 8-bit image."""
LOST = 0.1
"""Share of successes that rounding to 8 bits may cost."""
HALF = 0.5
"""Of the bounds: a budget with which any input can be made grey, so that an attack that fails is no attack."""
UNLIKELY, MOST = 0.01, 0.95


class Check(NamedTuple):
    """One check of one attack."""

    name: str
    passed: bool
    told: str
    """What was seen, with numbers."""


def check_attack(
    network: Network, inputs: Samples, labels: Labels, attack: AbstractPerturbation, *,
    surrogate: Network | None = None, seed: int = 0,
) -> list[Check]:  # fmt: skip
    """Run an attack on some samples, and look whether it can be believed.

    Args:
        network: the network.
        inputs: (n, ...), in its bounds; a hundred samples tell enough. Or texts or tokens (see `attackable`).
        labels: (n,).
        attack: what is checked.
        surrogate: another network that answers the same classes; what fools it must not fool `network` more often than
            the attack does.
        seed: of the attack.

    Returns:
        The checks that apply to it. One that fails says what that suggests.
    """
    network, inputs = attackable(network, inputs)
    inputs, labels = inputs.to(network.device), labels.to(network.device)
    with torch.no_grad():
        clean = network(inputs)
    found = attack(network, inputs, labels, seed=seed)
    checks = [_inside(network, inputs, attack, found), _recomputed(network, labels, attack, found)]
    checks += _rounded(network, inputs, labels, attack, found)
    if not attack.foreign:
        checks.insert(0, _without_budget(network, inputs, labels, attack, clean.argmax(1) != labels, seed))
    if attack.aimless:
        return checks
    checks += _rose(network, clean, labels, attack, found)
    if not attack.foreign:
        checks.append(_slopes(network, inputs, labels, attack))
    if not isfinite(attack.budget.size):
        share = float(found.success.float().mean())
        told = f"for {share:.1%}" + (
            "" if share >= MOST else ": gradients lead nowhere, which is masking, not robustness"
        )
        checks.append(Check("a change is found for nearly every answer", share >= MOST, told))
    else:
        checks += _beside_others(network, inputs, labels, attack, found, seed)
    if surrogate is not None and isfinite(attack.budget.size):
        moved = attack(surrogate, inputs, labels, seed=seed).inputs
        told = f"what was made for '{surrogate.name}'"
        fooled = _succeeds(network, moved, labels, attack)
        checks.append(_no_less("transfer does no better", told, found.success, fooled))
    return checks


def _beside_others(
    network: Network, inputs: Inputs, labels: Labels, attack: AbstractPerturbation, found: Attacked, seed: int
) -> Iterator[Check]:
    """An attack within a budget beside noise, a huge budget, more steps; another library's beside a short PGD."""
    noise = Noise(attack.budget)(network, inputs, labels, seed=seed).inputs
    fooled = _succeeds(network, noise, labels, attack)
    yield _no_less("noise does no better", "noise of this budget", found.success, fooled)
    if attack.foreign:
        with suppress(ValueError):  # a network without gradients leaves nothing to compare with
            short = PGD(attack.budget)(network, inputs, labels, seed=seed).success
            yield _no_less("a short PGD does no better", "ten steps of PGD", found.success, short)
        return
    steps = {one.name: getattr(attack, one.name) for one in fields(attack)}.get("steps")
    if steps is not None:  # one step alone promises neither
        yield _with_huge_budget(network, inputs, labels, attack, seed)
        longer = replace(attack, steps=2 * steps)  # type: ignore[call-arg] # those that have steps
        more = longer(network, inputs, labels, seed=seed).success
        yield _no_less("more steps do not hurt", "the first steps alone", more, found.success)


def _succeeds(network: Network, found: Inputs, labels: Labels, attack: AbstractPerturbation) -> Flags:
    with torch.no_grad():
        return attack.succeeds(network(found).argmax(1), labels)


def _without_budget(
    network: Network, inputs: Inputs, labels: Labels, attack: AbstractPerturbation, wrong: Flags, seed: int
) -> Check:
    nothing = replace(attack, budget=Budget(attack.budget.norm, 0.0))(network, inputs, labels, seed=seed)
    with torch.no_grad():
        still = network(nothing.inputs).argmax(1) != labels
    same = bool((still == wrong).all()) and bool((nothing.inputs == inputs).all())
    return Check(
        "a budget of 0 changes nothing", same,
        f"{1 - float(still.float().mean()):.1%} right, clean {1 - float(wrong.float().mean()):.1%}",
    )  # fmt: skip


def _inside(network: Network, inputs: Inputs, attack: AbstractPerturbation, found: Attacked) -> Check:
    (low, high), change = network.bounds, found.inputs.double() - inputs.double()
    size = float(attack.budget.geometry.of(change).max())
    limit = attack.budget.size + slack(attack.budget.size, network.bounds)
    kept = size <= limit and float(found.inputs.min()) >= low and float(found.inputs.max()) <= high
    return Check(
        "inside budget and bounds", kept,
        f"largest change {size:.5g} of {attack.budget.size:.5g}; values from {found.inputs.min():.4g} to "
        f"{found.inputs.max():.4g}",
    )  # fmt: skip


def _recomputed(network: Network, labels: Labels, attack: AbstractPerturbation, found: Attacked) -> Check:
    """In batches of another size and order, so that nothing of the attack's own pass is used."""
    order = torch.arange(len(labels) - 1, -1, -1, device=labels.device)
    with torch.no_grad():
        parts = order.split(max(1, len(labels) // 3))
        answers = torch.cat([network.rows(some)(found.inputs[some]).argmax(1) for some in parts])
    again = attack.succeeds(answers, labels[order])[order]
    differ = int((again != found.success).sum())
    return Check(
        "success is that of the returned inputs", differ <= len(labels) * UNLIKELY,
        f"{int(found.success.sum())} of {len(labels)} succeed, {int(again.sum())} when asked again in other batches",
    )  # fmt: skip


def _rounded(
    network: Network, inputs: Inputs, labels: Labels, attack: AbstractPerturbation, found: Attacked
) -> list[Check]:
    """Of images of 8 bits: whether the attack stands when its result is one, too: the nearest that is in the budget."""
    steps = inputs.double() * PIXELS
    if network.bounds != (0.0, 1.0) or bool(((steps - steps.round()).abs() > 1e-3).any()):
        return []
    moved = (found.inputs.double() - inputs.double()) * PIXELS
    norm, budget = attack.budget.geometry, attack.budget.size
    over = norm.of(moved.round() / PIXELS) > budget + slack(budget, network.bounds)
    within = torch.where(wide(over.to(moved.dtype), moved) > 0, moved.trunc(), moved.round())
    whole = ((steps.round() + within) / PIXELS).clamp(0, 1)
    size = float(attack.budget.geometry.of(whole - inputs.double()).max())
    with torch.no_grad():
        stands = attack.succeeds(network(whole.to(inputs.dtype)).argmax(1), labels)
    kept = size <= attack.budget.size + slack(attack.budget.size, network.bounds)
    lost = float(found.success.float().mean() - stands.float().mean())
    # the smallest change that is enough is no longer enough when it is made smaller: then it is only told
    return [
        Check(
            "stands as images of 8 bits", kept and (lost <= LOST or not isfinite(attack.budget.size)),
            f"largest change {size * PIXELS:.4g}/255; {float(stands.float().mean()):.1%} succeed, "
            f"{float(found.success.float().mean()):.1%} before rounding",
        )
    ]  # fmt: skip


def _rose(
    network: Network, clean: torch.Tensor, labels: Labels, attack: AbstractPerturbation, found: Attacked
) -> Iterator[Check]:
    """Of the answers that the attack had something to do about."""
    left = ~attack.succeeds(clean.argmax(1), labels)
    if attack.budget.size == 0 or not left.any():
        return
    target = getattr(attack, "target", None)
    aims = (labels if target is None else torch.full_like(labels, target))[left]
    with torch.no_grad():
        ends = network(found.inputs)
    before, after = cross_entropy(clean[left], aims), cross_entropy(ends[left], aims)
    if target is not None:
        before, after = -before, -after
    share = float((after > before).float().mean())
    yield Check(
        "the loss rose", float(after.mean()) > float(before.mean()),
        f"mean {float(before.mean()):.3g} to {float(after.mean()):.3g}, in {share:.1%} of samples",
    )  # fmt: skip


def _slopes(network: Network, inputs: Inputs, labels: Labels, attack: AbstractPerturbation) -> Check:
    try:
        gradient = slope(network, inputs, labels, attack.climbs).gradient
    except ValueError as error:
        return Check("gradients are not 0", passed=False, told=str(error))
    flat = ~gradient.flatten(1).any(1)
    told = f"{int(flat.sum())} of {len(inputs)} samples have a gradient of 0"
    if flat.all():
        told += f": {network.where_gradients_end(inputs)}"
    elif flat.any():
        told += ": gradients are masked there, by rounding or by answers too sure for float32"
    return Check("gradients are not 0", float(flat.float().mean()) <= 1 - MOST, told)


def _with_huge_budget(
    network: Network, inputs: Inputs, labels: Labels, attack: AbstractPerturbation, seed: int
) -> Check:
    """With half the bounds as budget (or the inputs' own length) an attack that follows true gradients fools all."""
    norm, (low, high) = attack.budget.norm, network.bounds
    whole = Budget(norm).widest(network.bounds, inputs[0].numel())
    size = HALF * whole if isfinite(high - low) else float(attack.budget.geometry.of(inputs).max())
    success = replace(attack, budget=Budget(norm, size))(network, inputs, labels, seed=seed).success
    share = float(success.float().mean())
    told = f"{share:.1%} succeed with {norm} {size:.3g}"
    told += "" if share >= MOST else ": gradients lead nowhere, which is masking, not robustness"
    return Check("a huge budget fools it", share >= MOST, told)


def _no_less(name: str, other: str, success: Flags, rival: Flags) -> Check:
    """Whether the rival does not succeed more often than chance lets it: one-sided sign test on what differs."""
    only, gone = int((rival & ~success).sum()), int((success & ~rival).sum())
    p = float(bdtrc(only - 1, only + gone, 0.5)) if only else 1.0  # P(at least so many of a fair coin's throws)
    return Check(
        name, p >= UNLIKELY,
        f"{float(success.float().mean()):.1%} succeed, {float(rival.float().mean()):.1%} by {other}"
        + ("" if p >= UNLIKELY else ": the attack's gradients are masked, and the robustness it shows is not there"),
    )  # fmt: skip
