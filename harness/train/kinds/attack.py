"""The settings of adversarial training: their defaults, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from harness.base.parsing import parse_number
from harness.train.objectives.adversarial import TrainingAttack
from harness.train.spec import TrainSpec, flag
from harness.types import HarnessError, ThreatModel

EPS = {"linf": "8/255", "l2": "128/255"}
"""Default radius by norm, that of Wang et al. (ICML 2023) on CIFAR-10."""

ORIGINAL_EPS, ORIGINAL_STEP = "0.031", "0.007"
"""Radius and step of TRADES' authors on CIFAR-10, linf (Zhang et al., ICML 2019)."""

BETA = {"trades": 5.0, "trades:original": 6.0}
"""Default weight by form, that of their authors on CIFAR-10."""


def filled(spec: TrainSpec) -> TrainSpec:
    """The specification with every setting of adversarial training filled in.

    Raises HarnessError for combinations that mean nothing, and for numbers that are none.
    """
    if not spec.adversarial:
        return spec
    _check_combination(spec)
    spec = _completed(spec)
    attack_of(spec)
    if spec.select:
        selecting_attack(spec)
    return spec


def unusual(spec: TrainSpec) -> list[tuple[str, Any]]:
    """Settings of the attack and of its loss, by name, that are given and differ from their defaults."""
    names = ("attack_norm", "attack_eps", "attack_steps", "attack_step", "beta")
    changes: list[tuple[str, Any]] = []
    for name in names:
        default: Any = TrainSpec.__dataclass_fields__[name].default
        without: dict[str, Any] = {name: default}
        usual = getattr(_completed(replace(spec, **without)), name)
        if getattr(spec, name) not in (default, usual):
            changes.append((name, getattr(spec, name)))
    return changes


def _completed(spec: TrainSpec) -> TrainSpec:
    """The specification with defaults in place of what is empty: eps by norm, the step by eps, beta by form."""
    original = spec.adversarial == "trades:original" and spec.attack_norm == "linf"
    eps = spec.attack_eps or (ORIGINAL_EPS if original else EPS[spec.attack_norm])
    beta = BETA.get(spec.adversarial) if spec.beta is None else spec.beta
    spec = replace(spec, attack_eps=eps, beta=beta)
    if not spec.attack_step:
        spec = replace(spec, attack_step=ORIGINAL_STEP if eps == ORIGINAL_EPS and original else _step(spec))
    return spec


def attack_of(spec: TrainSpec) -> TrainingAttack:
    """The attack of a training; raises HarnessError for numbers that are none, or on another scale."""
    try:
        threat = ThreatModel(spec.attack_norm, _number(spec, "attack_eps"))
    except HarnessError as error:
        raise HarnessError(f"{flag('attack_eps')}: {error}") from error
    return TrainingAttack(threat, _number(spec, "attack_step"), spec.attack_steps)


def selecting_attack(spec: TrainSpec) -> TrainingAttack:
    """The attack of --select: that of the training with its own number of steps; HarnessError for another name."""
    steps = re.fullmatch(r"pgd-([1-9]\d{0,3})", spec.select)
    if not steps:
        raise HarnessError(f"--select {spec.select!r}: give pgd and a number of steps, such as pgd-40.")
    return replace(attack_of(spec), steps=int(steps[1]))


def _number(spec: TrainSpec, name: str) -> float:
    text = getattr(spec, name)
    try:
        value = parse_number(text)
    except ValueError as error:
        raise HarnessError(f"{flag(name)}: {error}.") from error
    if value <= 0:
        raise HarnessError(f"{flag(name)} {text} must be above 0.")
    return value


def _step(spec: TrainSpec) -> str:
    """The default length of a step, as a share of eps, in the spelling of eps.

    A quarter for linf, 2/255 at 8/255. For l2 15/128 for PGD (both Wang et al.), and 2 / steps for TRADES (both forms).
    """
    share = 0.25
    if spec.attack_norm == "l2":
        share = 15 / 128 if spec.adversarial == "pgd" else 2 / spec.attack_steps
    _number(spec, "attack_eps")
    numerator, slash, denominator = spec.attack_eps.partition("/")
    return f"{float(numerator) * share:g}{slash}{denominator}"


def _check_combination(spec: TrainSpec) -> None:
    """Raises HarnessError for terms that contradict the attack's."""
    if spec.loss != "ce":
        raise HarnessError(
            f"--adversarial attacks softmax predictions, and --loss {spec.loss} trains sigmoids. Leave one out."
        )
    if spec.adversarial == "pgd" and spec.beta is not None:
        raise HarnessError("--beta weighs the KL of TRADES, and --adversarial pgd has none. Leave it out.")
    if spec.adversarial == "pgd" and spec.augmix:
        raise HarnessError(
            "--augmix compares views with the clean image, which --adversarial pgd never shows the network. "
            "Give --adversarial trades."
        )
