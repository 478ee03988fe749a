"""Inputs that change the answer, and noise of equal size to compare them with."""

from dataclasses import fields
from math import isfinite
from typing import Any

from layerscope.attacks.base import AbstractPerturbation as AbstractPerturbation
from layerscope.attacks.base import Attacked as Attacked
from layerscope.attacks.base import Draws as Draws
from layerscope.attacks.base import Found as Found
from layerscope.attacks.budget import NORMS
from layerscope.attacks.budget import Budget as Budget
from layerscope.attacks.controls import Noise as Noise
from layerscope.attacks.controls import Uniform as Uniform
from layerscope.attacks.controls import matched_noise as matched_noise
from layerscope.attacks.foreign import Foreign as Foreign
from layerscope.attacks.gradient import APGD as APGD
from layerscope.attacks.gradient import FGSM as FGSM
from layerscope.attacks.gradient import PGD as PGD
from layerscope.attacks.minimal import FMN as FMN
from layerscope.attacks.minimal import Bisected as Bisected
from layerscope.attacks.selfchecks import Check as Check
from layerscope.attacks.selfchecks import check_attack as check_attack
from layerscope.embeddings import attackable
from layerscope.network import Network
from layerscope.types import Labels, Samples

ATTACKS: dict[str, tuple[type[AbstractPerturbation], dict[str, Any]]] = {
    "fgsm": (FGSM, {}),
    "pgd": (PGD, {}),
    "apgd-ce": (APGD, {"loss": "ce"}),
    "apgd-dlr": (APGD, {"loss": "dlr"}),
    "fmn": (FMN, {}),
    "bisect": (Bisected, {}),
    "noise": (Noise, {}),
    "uniform": (Uniform, {}),
}
"""What a spec may start with: the perturbation, and what the name itself says of it."""
MINIMAL = ("fmn", "bisect")
"""Those that look for the smallest change, and need no size."""
CONTROLS = ("noise", "uniform")
"""Those without intent."""


def parse_attack(spec: str) -> AbstractPerturbation:
    """The perturbation that a spec names.

    `KIND:NORM=SIZE[,OPTION=VALUE...]`: `pgd:linf=8/255`, `pgd:l2=0.5,steps=20,restarts=2`, `apgd-dlr:linf=0.03`,
    `noise:linf=8/255`; those that look for the smallest change need no size: `fmn:l2`, `bisect:linf,steps=40`.

    Raises:
        ValueError: if the spec can't be read; says what it could be.
    """
    kind, _, text = spec.partition(":")
    if kind not in ATTACKS:
        raise ValueError(f"The attack {spec!r} is not known; kinds are {', '.join(ATTACKS)}: write `pgd:linf=8/255`.")
    made, fixed = ATTACKS[kind]
    parts = [part.partition("=") for part in text.split(",")]
    given = {name.strip(): value.strip() for name, _, value in parts}
    if len(given) < len(parts):
        raise ValueError(f"The attack {spec!r} names an option twice; give each once.")
    norms = [name for name in given if name in NORMS]
    allowed = {one.name: one for one in fields(made) if one.name not in {"budget", *fixed}}
    example = f"{kind}:linf" if kind in MINIMAL else f"{kind}:linf=8/255"
    unknown = [name for name in given if name not in NORMS and name not in allowed]
    if len(norms) != 1 or unknown:
        may = f", and may give {', '.join(allowed)}" if allowed else ""
        wrong = f" It does not know {', '.join(map(repr, unknown))}." if unknown and norms else ""
        raise ValueError(f"The attack {spec!r} must give `linf` or `l2`{may}; write `{example}`.{wrong}")
    norm = norms[0]
    if not given[norm] and kind not in MINIMAL:
        raise ValueError(f"The attack {spec!r} must say how large `{norm}` may be; write `{example}`.")
    budget = Budget(norm, _number(given[norm], spec)) if given[norm] else Budget(norm)
    if budget.size == float("inf") and kind not in MINIMAL:
        raise ValueError(f"The attack {spec!r}: `{norm}` must be a finite number; write `{example}`.")
    options: dict[str, Any] = dict(fixed)
    for name, value in given.items():
        if name == norm:
            continue
        default = allowed[name].default
        if isinstance(default, str):
            options[name] = value
            continue
        number = _number(value, spec)
        if not isfinite(number) or number != int(number):
            raise ValueError(f"The attack {spec!r}: `{name}` must be a whole number; got {value}.")
        options[name] = int(number)
    return made(budget, **options)


def is_control(spec: str) -> bool:
    """Whether a spec, or a condition, is noise without intent."""
    return spec.partition(":")[0] in CONTROLS


def control_of(attack: str) -> str:
    """What the condition is called under which an attack's matched noise is recorded."""
    return f"noise:{attack}"


def attack(
    network: Network, inputs: Samples, labels: Labels, attack: str | AbstractPerturbation, *, seed: int = 0
) -> Attacked:
    """Perturb `inputs`.

    Args:
        network: the network to be fooled.
        inputs: (n, ...), in its bounds; or texts or tokens, whose embeddings are perturbed (see `attackable`).
        labels: (n,): the answers to be changed.
        attack: a spec (see `parse_attack`) or a perturbation, such as `Foreign(Budget("linf", 8 / 255), search)`.
        seed: of random starts and of noise; sample i draws the same whatever else is in the batch.

    Returns:
        The perturbed `inputs`, inside budget and bounds (of texts, their tokens with the perturbed embeddings, which
        the network takes); `success`: whether each is answered with another class than its label, as those are, too,
        that were answered wrong before; and the `sizes` of the changes.

    Raises:
        TypeError: if the network is no Network, or the attack neither spec nor perturbation.
        ValueError: if it can't be carried out; see `AbstractPerturbation`.
    """
    if not isinstance(network, Network):
        raise TypeError(
            f"`network` must be a layerscope.Network; got {type(network).__name__}. Wrap it: Network(module)."
        )
    if not isinstance(attack, (str, AbstractPerturbation)):
        raise TypeError(
            f"`attack` must be a spec, such as 'pgd:linf=8/255', or a perturbation; got {type(attack).__name__}. Wrap "
            "another library's: Foreign(Budget('linf', 8 / 255), search)."
        )
    asked, numbers = attackable(network, inputs)
    found = (parse_attack(attack) if isinstance(attack, str) else attack)(asked, numbers, labels, seed=seed)
    return found._replace(inputs=asked.samples(found.inputs))


def _number(text: str, spec: str) -> float:
    """`8/255` or `0.03` as a number."""
    over, _, under = text.partition("/")
    try:
        return float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"The attack {spec!r}: {text!r} is no number; write 0.03 or 8/255.") from error
