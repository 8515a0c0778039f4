"""Measurement of the flags: short ascents, and the attack itself, on a few fixed images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from harness.attacks.ascent import ascend
from harness.attacks.balls import BALLS
from harness.attacks.losses import cross_entropy
from harness.attacks.norms import l2_norm
from harness.evaluation.attacked.flags import Flag
from harness.evaluation.attacked.judging import JUDGES, attacker, judged_logits
from harness.types import Attack, GradientClassifier, HarnessError, Noise, ThreatModel

STEPS = 20
"""Steps of an ascent, of eps / 8 each: a way of 2.5 eps (Madry et al., ICLR 2018)."""

NOISES = 5
"""Draws of random noise per image."""


def flags(
    classifier: GradientClassifier,
    images: Tensor,
    labels: Tensor,
    attack: Attack,
    threat: ThreatModel,
    noise: Noise,
    black_boxes: Sequence[tuple[str, Attack]] = (),
) -> Sequence[Flag]:
    """The flags of one row of a leaderboard: a classifier, perhaps under a method, and an attack.

    Ascents of `STEPS` steps, and the attack with its own and with twice its steps; of an ensemble the member that its
    attribute `checked` names, or the first. An attack that averages fresh draws is checked under fresh draws and
    judged on others, any other one under the evaluation's noise. Signs that do not apply are left out: twice the
    steps of an attack without a setting `steps`, black boxes where there are none. Empty if no image is right.

    images: (B, 3, H, W) in [0, 1], `LOOKED_AT` of them. labels: (B,) int64. noise: keyed by the samples, for these
    images. black_boxes: by name, attacks that take no gradient of this classifier, such as Square and transfer.
    """
    attack = checked(attack)
    check = Check(classifier, images, labels, threat, noise, draws_fresh(attack))
    return list(check.signs(attack, black_boxes))


def checked(attack: Any) -> Any:
    """The attack that flags are measured with: of an ensemble the member that `checked` names, or the first."""
    members = dict(getattr(attack, "members", ()))
    return members.get(getattr(attack, "checked", ""), next(iter(members.values()))) if members else attack


def draws_fresh(attack: Any) -> bool:
    """True for an attack that averages fresh draws, under which it is then checked."""
    return bool(getattr(attack, "draws", 0))


def demand(attack: Attack, black_boxes: Sequence[tuple[str, Attack]] = ()) -> tuple[int, int, Sequence[Attack]]:
    """Work of `flags` per image: forward passes, gradients among them, and the attacks that it runs beside these."""
    attack = checked(attack)
    runs = [attack, *filter(None, [_longer(attack)]), *(box for _, box in black_boxes)]
    gradients = 3 + 3 * STEPS  # unrepeatable, zero_gradients, and ascents at three radii
    looks = 1 + 3 + NOISES + len(runs)  # clean images, ends of the ascents, noise, and results of the attacks
    return 2 + gradients + looks * (JUDGES if draws_fresh(attack) else 1), gradients, runs


@dataclass(frozen=True, eq=False)
class Check:
    """One classifier under one threat model. fresh: ascents average over noise that does not judge them."""

    classifier: GradientClassifier
    images: Tensor
    labels: Tensor
    threat: ThreatModel
    noise: Noise
    fresh: bool
    _losses: list[float] = field(default_factory=list)

    def signs(self, attack: Attack, black_boxes: Sequence[tuple[str, Attack]]) -> Iterator[Flag]:
        """Every flag that can be measured, of `SIGNS`."""
        count = int(self.clean.sum())
        if not count:
            return
        yield Flag("unrepeatable", self._change_on_repetition(), count)
        yield Flag("zero_gradients", self._vanished(), count)
        at_eps = self._climb(self.threat, self._losses)
        yield Flag("loss_falls", largest_fall(self._losses), count)
        half = replace(self.threat, eps=self.threat.eps / 2)
        standing = [int(self._stands(self._climb(t)).sum()) for t in (half, self._unbounded)]
        standing.insert(1, int(self._stands(at_eps).sum()))
        yield Flag("left_without_bounds", standing[2] / count, count)
        gains = [larger - smaller for smaller, larger in pairwise(standing)]
        yield Flag("more_with_larger_eps", max(0, *gains) / count, count)
        yield Flag("random_noise", self._lost_to_noise() / count, count)
        attacked = self._stands(self._run(attack))
        if longer := _longer(attack):
            changed = attacked != self._stands(self._run(longer))
            yield Flag("longer_attack", float(changed.sum()), count)
        if black_boxes:
            weakest = attacked & self._stands(at_eps)
            fooled = torch.stack([weakest & ~self._stands(self._run(other)) for _, other in black_boxes]).any(0)
            yield Flag("black_box", float(fooled.sum()), count)

    @cached_property
    def clean(self) -> Tensor:
        """(B,) bool: images that are right without an attack."""
        return self._right(self.images)

    @property
    def _unbounded(self) -> ThreatModel:
        """The threat model without bounds: every image in [0, 1] is allowed."""
        side = math.sqrt(self.images[0].numel())
        return replace(self.threat, eps=1.0 if self.threat.norm == "linf" else side)

    def _right(self, images: Tensor) -> Tensor:
        if not self.fresh:
            return self.classifier(images).argmax(1) == self.labels
        return judged_logits(self.classifier, images).softmax(-1).mean(0).argmax(1) == self.labels

    def _stands(self, images: Tensor) -> Tensor:
        """(B,) bool: right without an attack, and still right."""
        return self.clean & self._right(images)

    def _run(self, attack: Attack) -> Tensor:
        return attack(self.images, self.labels, attacker(self.classifier), self.noise, self.threat)

    def _gradient(self, x: Tensor, number: int) -> tuple[Tensor, Tensor]:
        seen = self.classifier.drawn(1 + number) if self.fresh else self.classifier
        return seen.gradient(x, cross_entropy, self.labels)

    def _climb(self, threat: ThreatModel, losses: list[float] | None = None) -> Tensor:
        """Images after `STEPS` steps of ascent. losses: gets the mean loss of the right images before each step."""

        def gradient(x: Tensor, number: int) -> Tensor:
            values, slopes = self._gradient(x, number)
            if losses is not None:
                losses.append(float(values[self.clean].double().mean()))
            return slopes

        ball, start = BALLS[threat.norm], torch.zeros_like(self.images)
        return ascend(
            gradient, self.images, start,
            step=ball.step, size=threat.eps / 8, project=ball.project, radius=threat.eps, steps=STEPS,
        )  # fmt: skip

    def _change_on_repetition(self) -> float:
        """Largest difference of log-probabilities between two calls on the same images, of both kinds of call."""
        # Copies, since a classifier remembers the tensors that it has answered.
        calls = [self.classifier(self.images.clone()).log_softmax(1) for _ in range(2)]
        values = [self._gradient(self.images, 0)[0] for _ in range(2)]
        return max(float((a - b).abs().max()) for a, b in (calls, values))

    def _vanished(self) -> float:
        """Share of the right images without a gradient larger than the smallest normal number."""
        sizes = self._gradient(self.images, 0)[1].flatten(1).abs().amax(1)[self.clean]
        return float((~(sizes >= torch.finfo(torch.float32).tiny)).double().mean())

    def _lost_to_noise(self) -> float:
        """Right images that random noise of the size eps makes wrong, mean over draws: a random sign, or direction."""
        lost = 0
        for draw in range(NOISES):
            eps = self.noise(f"flags/{draw}")
            direction = eps.sign() if self.threat.norm == "linf" else eps / l2_norm(eps)
            noisy = (self.images + self.threat.eps * direction).clamp(0, 1)
            lost += int((self.clean & ~self._right(noisy)).sum())
        return lost / NOISES


def largest_fall(losses: Sequence[float]) -> float:
    """Largest fall of the mean loss between two consecutive quarters of an ascent, as a share of its whole rise.

    The rise is from the first loss to the largest mean of a quarter. 1 where there is none.
    """
    quarters = [float(part.mean()) for part in torch.tensor(losses, dtype=torch.float64).chunk(4)]
    rise = max(quarters) - losses[0]
    if not rise > 0:
        return 1.0
    return max(0.0, *(before - after for before, after in pairwise(quarters))) / rise


def _longer(attack: Any) -> Attack | None:
    """The attack with twice its steps; None where it has no such setting, or a preset fixes it."""
    if not hasattr(attack, "steps"):
        return None
    try:
        longer: Attack = replace(attack, steps=2 * attack.steps)
    except (HarnessError, TypeError):
        return None
    return longer
