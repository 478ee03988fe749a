"""Whether an attack can be believed: checks that every run makes of its own (Carlini et al. 2019, arXiv:1902.06705)."""

from dataclasses import fields, replace
from math import isfinite
from typing import NamedTuple

import torch
from scipy.stats import binomtest

from layerscope.attacks.base import AbstractPerturbation, Attacked
from layerscope.attacks.budget import Budget, slack
from layerscope.attacks.controls import Noise
from layerscope.attacks.losses import cross_entropy, slope
from layerscope.network import Network
from layerscope.types import Flags, Inputs, Labels

PIXELS = 255
"""Steps of an 8-bit image."""
LOST = 0.02
"""Share of successes that rounding to 8 bits may cost."""
HALF = 0.5
"""Of the bounds: a budget with which any input can be made grey, so that an attack that fails is no attack."""
UNLIKELY = 0.01


class Check(NamedTuple):
    """One check of one attack."""

    name: str
    passed: bool
    told: str
    """What was seen, with numbers."""


def check_attack(
    network: Network, inputs: Inputs, labels: Labels, attack: AbstractPerturbation, *, surrogate: Network | None = None,
    seed: int = 0,
) -> list[Check]:  # fmt: skip
    """Run an attack on some samples, and look whether it can be believed.

    Args:
        network: the network.
        inputs: (n, ...), in its bounds; a hundred samples tell enough.
        labels: (n,).
        attack: what is checked.
        surrogate: another network that answers the same classes; what fools it must not fool `network` more often than
            the attack does.
        seed: of the attack.

    Returns:
        The checks that apply to it. One that fails says what that suggests.
    """
    inputs, labels = inputs.to(network.device), labels.to(network.device)
    with torch.no_grad():
        clean = network(inputs)
    wrong = clean.argmax(1) != labels
    found = attack(network, inputs, labels, seed=seed)
    checks = [_inside(network, inputs, attack, found), _recomputed(network, labels, attack, found)]
    checks += _rounded(network, inputs, labels, attack, found)
    if not attack.foreign:
        checks.insert(0, _without_budget(network, inputs, labels, attack, wrong, seed))
    if attack.aimless:
        return checks
    checks += [_rose(network, clean, labels, attack, found), _slopes(network, inputs, labels)]
    if isfinite(attack.budget.size):
        noise = Noise(attack.budget)(network, inputs, labels, seed=seed).inputs
        with torch.no_grad():
            fooled = attack.succeeds(network(noise).argmax(1), labels)
        checks.append(_no_less("noise does no better", "noise of this budget", found.success, fooled))
        if not attack.foreign:
            steps = {field.name: getattr(attack, field.name) for field in fields(attack)}.get("steps")
            if steps is not None:  # one step alone promises neither
                checks.append(_with_huge_budget(network, inputs, labels, attack, seed))
                longer = replace(attack, steps=2 * steps)  # type: ignore[call-arg] # those that have steps
                more = longer(network, inputs, labels, seed=seed).success
                checks.append(_no_less("more steps do not hurt", "the first steps alone", more, found.success))
        if surrogate is not None:
            moved = attack(surrogate, inputs, labels, seed=seed).inputs
            with torch.no_grad():
                carried = attack.succeeds(network(moved).argmax(1), labels)
            told = f"what was made for '{surrogate.name}'"
            checks.append(_no_less("transfer does no better", told, found.success, carried))
    return checks


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
    """Of images of 8 bits: whether the attack stands when its result is one, too. Rounding goes toward the original."""
    steps = inputs.double() * PIXELS
    if network.bounds != (0.0, 1.0) or bool(((steps - steps.round()).abs() > 1e-3).any()):
        return []
    moved = (found.inputs.double() - inputs.double()) * PIXELS
    whole = ((steps.round() + torch.where(moved.abs() % 1 > 1 - 1e-3, moved.round(), moved.trunc())) / PIXELS).clamp(
        0, 1
    )
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
) -> Check:
    target = getattr(attack, "target", None)
    aims = labels if target is None else torch.full_like(labels, target)
    with torch.no_grad():
        before, after = cross_entropy(clean, aims), cross_entropy(network(found.inputs), aims)
    if target is not None:
        before, after = -before, -after
    share = float((after > before).float().mean())
    return Check(
        "the loss rose", float(after.mean()) > float(before.mean()),
        f"mean {float(before.mean()):.3g} to {float(after.mean()):.3g}, in {share:.1%} of samples",
    )  # fmt: skip


def _slopes(network: Network, inputs: Inputs, labels: Labels) -> Check:
    try:
        gradient = slope(network, inputs, labels, cross_entropy).gradient
    except ValueError as error:
        return Check("gradients are not 0", passed=False, told=str(error))
    flat = ~gradient.flatten(1).any(1)
    told = f"{int(flat.sum())} of {len(inputs)} samples have a gradient of 0"
    if flat.all():
        told += f": {network.where_gradients_end(inputs)}"
    elif flat.any():
        told += ": gradients are masked there, by rounding or by answers too sure for float32; try `apgd-dlr`"
    return Check("gradients are not 0", not bool(flat.any()), told)


def _with_huge_budget(
    network: Network, inputs: Inputs, labels: Labels, attack: AbstractPerturbation, seed: int
) -> Check:
    """With half the bounds as budget an attack that follows true gradients fools nearly every answer."""
    low, high = network.bounds
    largest = Budget(attack.budget.norm)
    size = HALF * largest.widest((low, high), inputs[0].numel()) if isfinite(high - low) else 100 * attack.budget.size
    success = replace(attack, budget=Budget(attack.budget.norm, size))(network, inputs, labels, seed=seed).success
    share = float(success.float().mean())
    return Check(
        "a huge budget fools it", share >= 1 - 5 * UNLIKELY,
        f"{share:.1%} succeed with {attack.budget.norm} {size:.3g}"
        + ("" if share >= 1 - 5 * UNLIKELY else ": gradients lead nowhere, which is masking, not robustness"),
    )  # fmt: skip


def _no_less(name: str, other: str, success: Flags, rival: Flags) -> Check:
    """Whether the rival does not succeed more often than chance lets it: one-sided sign test on what differs."""
    only, gone = int((rival & ~success).sum()), int((success & ~rival).sum())
    p = float(binomtest(only, only + gone, alternative="greater").pvalue) if only + gone else 1.0
    return Check(
        name, p >= UNLIKELY,
        f"{float(success.float().mean()):.1%} succeed, {float(rival.float().mean()):.1%} by {other}"
        + ("" if p >= UNLIKELY else ": the attack's gradients are masked, and the robustness it shows is not there"),
    )  # fmt: skip
