"""Inputs that change the answer, and noise of equal size to compare them with."""

from layerscope.attacks.base import AbstractPerturbation as AbstractPerturbation
from layerscope.attacks.base import Attacked
from layerscope.attacks.controls import Noise as Noise
from layerscope.attacks.gradient import PGD
from layerscope.network import Network
from layerscope.types import Inputs, Labels

ATTACKS: dict[str, type[AbstractPerturbation]] = {"pgd": PGD, "noise": Noise}
"""What a spec may start with."""


def parse_attack(spec: str) -> AbstractPerturbation:
    """The perturbation that a spec names: `pgd:linf=8/255`, `pgd:linf=0.03,steps=20`, `noise:linf=8/255`.

    Raises:
        ValueError: if the spec can't be read; says what it could be.
    """
    kind, options = _options(spec)
    epsilon = _number(options["linf"], spec)
    if kind == "noise":
        return Noise(epsilon)
    steps = _number(options.get("steps", "10"), spec)
    if steps != int(steps):
        raise ValueError(f"The attack {spec!r}: `steps` must be a whole number; got {options['steps']}.")
    return PGD(epsilon, int(steps))


def control_spec(spec: str) -> str:
    """The spec of the noise that an attack is compared with: the same budget, no intent."""
    return f"noise:linf={_options(spec)[1]['linf']}"


def attack(network: Network, inputs: Inputs, labels: Labels, spec: str, *, seed: int = 0) -> Attacked:
    """Perturb `inputs` as `spec` says.

    Args:
        network: the network to be fooled.
        inputs: (n, ...), in its bounds.
        labels: (n,): the answers to be changed.
        spec: see `parse_attack`.
        seed: of random starts and of noise; sample i draws the same whatever else is in the batch.

    Returns:
        The perturbed `inputs`, inside budget and bounds, and `success`: whether each is answered with another class.
    """
    return parse_attack(spec)(network, inputs, labels, seed=seed)


def _options(spec: str) -> tuple[str, dict[str, str]]:
    """Kind and options of a spec, as text."""
    kind, _, text = spec.partition(":")
    if kind not in ATTACKS:
        raise ValueError(f"The attack {spec!r} is not known; write `pgd:linf=8/255` or `noise:linf=8/255`.")
    options = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in text.split(","))}
    allowed = {"pgd": {"linf", "steps"}, "noise": {"linf"}}[kind]
    if "linf" not in options or set(options) - allowed:
        raise ValueError(
            f"The attack {spec!r} must give `linf`, and may give {' and '.join(sorted(allowed))}; "
            f"write `{kind}:linf=8/255`."
        )
    return kind, options


def _number(text: str, spec: str) -> float:
    """`8/255` or `0.03` as a number."""
    over, _, under = text.partition("/")
    try:
        return float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"The attack {spec!r}: {text!r} is no number; write 0.03 or 8/255.") from error
