"""Network passes of attacks, for estimates beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from harness.evaluation.attacked import checking
from harness.evaluation.attacked.counting import counted
from harness.evaluation.attacked.judging import JUDGED, JUDGES
from harness.evaluation.views.calls import tally
from harness.suites.bases.adversarial.attacking import draws_of, is_plain, members_of, way_of
from harness.suites.bases.adversarial.verdicts import UNSEEN
from harness.types import Attack, Calls, HarnessError, ThreatModel

UNDEFENDED, STRAIGHT, SURROGATE = "undefended", "straight_through", "surrogate"
"""Forms of a row under attack: without its method, with views taken for the image going back, with fewer steps."""


def passes(attack: Any, image: Tensor, classes: int, threat: ThreatModel) -> tuple[int, int]:
    """Forward and backward passes per image, at most, of all members of an attack.

    A gradient is one of each. An attack may state them, ``calls(threat)``. Otherwise settings that are called steps,
    restarts, targets, draws and queries say it, as those of the project's attacks do; an attack without these is run on
    a stand-in that it never deceives.
    """
    if hasattr(attack, "calls"):
        forward, backward = attack.calls(threat)
        return int(forward), int(backward)
    members = members_of(attack)
    if len(members) > 1 or members[0][1] is not attack:
        counts = [passes(member, image, classes, threat) for _, member in members]
        return sum(forward for forward, _ in counts), sum(backward for _, backward in counts)
    restarts = getattr(attack, "restarts", 1)
    if hasattr(attack, "queries"):
        return attack.queries * restarts, 0
    if hasattr(attack, "steps"):
        # FAB without targets takes a gradient per class and step.
        directions = getattr(attack, "targets", classes if getattr(attack, "minimal", False) else 1)
        backward = (attack.steps + 1) * restarts * directions * max(getattr(attack, "draws", 0), 1)
        return backward, backward
    return counted(attack, image, classes, threat)


@dataclass(frozen=True)
class Load:
    """Passes per image at most through one form of a row. gradients: backward passes, each with one of `forward`.

    form: see `form_of`. alone: each image fills a tile, beside no other one.
    """

    forward: int
    gradients: int
    form: str = ""
    alone: bool = False


def form_of(attack: Any) -> str:
    """The form of the row that an attack's passes go through: `UNDEFENDED`, `STRAIGHT`, a surrogate, "" for all of it.

    An attribute of the attack says so: `undefended`, `straight_through`, or `surrogate`, the number of its steps.
    """
    if getattr(attack, UNDEFENDED, False):
        return UNDEFENDED
    if getattr(attack, STRAIGHT, False):
        return STRAIGHT
    return f"{SURROGATE} {attack.surrogate}" if getattr(attack, SURROGATE, 0) else ""


def loads(combination: Any, image: Tensor, classes: int, threat: ThreatModel) -> list[Load]:
    """Passes per image of a method and an attack on it: of the judge, and of every member.

    Raises HarnessError for an attack whose draws would reach those that judge.
    """
    members = members_of(combination.inner)
    judging = 2 * JUDGES if way_of(combination) == UNSEEN else 1
    result = [Load(judging * (len(members) + 1), 0)]
    for name, member in members:
        forward, backward = passes(member, image, classes, threat)
        if draws_of(member) and forward >= JUDGED:
            raise HarnessError(
                f"{name} takes {forward:,} draws of noise, and those from {JUDGED:,} on judge its images: take "
                "fewer steps, restarts or draws."
            )
        result.append(_load(member, combination, forward, backward))
    return result


def flag_loads(
    combination: Any, black_boxes: Sequence[tuple[str, Attack]], image: Tensor, classes: int, threat: ThreatModel
) -> list[Load]:
    """Passes per image, of those that flags are measured on: of the short ascents, and of every attack that is run."""
    forward, gradients, attacks = checking.demand(combination.inner, black_boxes)
    runs = [_load(attack, combination, *passes(attack, image, classes, threat)) for attack in attacks]
    return [Load(forward, gradients), *runs]


def _load(attack: Any, combination: Any, forward: int, gradients: int) -> Load:
    alone = bool(getattr(attack, "one_by_one", False)) and not is_plain(combination.outer)
    return Load(forward, gradients, form_of(attack), alone)


def calls(combinations: Sequence[Any], image: Tensor, classes: int, threat: ThreatModel) -> Calls:
    """Network calls and gradients per image under one threat model, at most: every attack on every image.

    combinations: of a method and an attack on it, which share nothing. Flags are left out. Raises HarnessError for an
    attack whose draws would reach those that judge.
    """
    total = Calls(at_most=True)
    for combination in combinations:
        defended = tally([combination.outer], image, classes)
        for load in loads(combination, image, classes, threat):
            total += _times(Calls(classified=1) if load.form == UNDEFENDED else defended, load)
    return total


def _times(once: Calls, load: Load) -> Calls:
    """The calls of so many passes; those of a guided step are its own gradients, and are differentiated once more."""
    return Calls(
        times=once.times,
        denoised=load.forward * once.denoised,
        guided=load.forward * once.guided,
        classified=load.forward * once.classified,
        at_most=True,
        differentiated=0 if load.form == STRAIGHT else load.gradients * once.denoiser,
        classifier_gradients=load.gradients * once.classified,
    )
