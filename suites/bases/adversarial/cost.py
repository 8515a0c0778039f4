"""Network passes of attacks, for estimates beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from harness.evaluation.attacked.counting import counted
from harness.evaluation.attacked.judging import JUDGED, JUDGES
from harness.evaluation.views.calls import tally
from harness.suites.bases.adversarial.attacking import draws_of, members_of, way_of
from harness.suites.bases.adversarial.verdicts import UNSEEN
from harness.types import Calls, HarnessError, ThreatModel


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


def calls(combinations: Sequence[Any], image: Tensor, classes: int, threat: ThreatModel) -> Calls:
    """Network calls and gradients per image under one threat model, at most: every attack on every image.

    combinations: of a method and an attack on it, which share nothing. Flags are left out. Raises HarnessError for an
    attack whose draws would reach those that judge.
    """
    total = Calls(at_most=True)
    for combination in combinations:
        defended = tally([combination.outer], image, classes)
        judging = 2 * JUDGES if way_of(combination) == UNSEEN else 1
        members = members_of(combination.inner)
        total += _times(defended, judging * (len(members) + 1), 0)
        for name, member in members:
            forward, backward = passes(member, image, classes, threat)
            if draws_of(member) and forward >= JUDGED:
                raise HarnessError(
                    f"{name} takes {forward:,} draws of noise, and those from {JUDGED:,} on judge its images: take "
                    "fewer steps, restarts or draws."
                )
            once = Calls(classified=1) if getattr(member, "undefended", False) else defended
            total += _times(once, forward, backward)
    return total


def _times(once: Calls, forward: int, backward: int) -> Calls:
    """The calls of so many passes; those of a guided step are its own gradients, and are differentiated once more."""
    return Calls(
        times=once.times,
        denoised=forward * once.denoised,
        guided=forward * once.guided,
        classified=forward * once.classified,
        at_most=True,
        differentiated=backward * once.denoiser,
        classifier_gradients=backward * once.classified,
    )
