"""Adversarial training: terms whose images are attacked by the network as it is (Madry et al.; TRADES in two forms)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.attacks import projections
from harness.attacks.ascent import ascend
from harness.attacks.balls import BALLS
from harness.attacks.losses import cross_entropy
from harness.attacks.projections import Projection
from harness.base import noise
from harness.train.objectives.classification import CrossEntropy
from harness.train.objectives.protocol import Criterion, CurrentNetwork, Key, TermResponse
from harness.train.step import Step
from harness.types import ThreatModel

NAME = "adversarial"
"""Name of the term of every form, by which other terms read the responses to the attacked images."""

SMALL_START = 1e-3
"""Standard deviation of the noise from which TRADES starts (Zhang et al., ICML 2019, their code)."""


@dataclass(frozen=True)
class TrainingAttack:
    """A projected gradient ascent: its threat model, the length of a step in [0, 1] units, and how many there are."""

    threat: ThreatModel
    size: float
    steps: int = 10

    def in_ball(self, gaussian: Tensor) -> Tensor:
        """Start in the ball from normal noise (B, 3, H, W): see `harness.attacks.balls.Ball`."""
        return self.threat.eps * BALLS[self.threat.norm].start(gaussian)

    def __call__(
        self, images: Tensor, start: Tensor, gradient: Callable[[Tensor], Tensor], project: Projection | None = None
    ) -> Tensor:
        """Attacked images (B, 3, H, W) in [0, 1], within eps of `images`.

        start: displacement (B, 3, H, W). gradient: of the loss at images, (B, 3, H, W). project: onto the ball, if not
        the usual projection of the norm.
        """
        ball = BALLS[self.threat.norm]
        return ascend(
            lambda x, _: gradient(x), images, start, step=ball.step, size=self.size,
            project=project or ball.project, radius=self.threat.eps, steps=self.steps,
        )  # fmt: skip


def divergence(logits: Tensor, natural: Tensor) -> Tensor:
    """KL(p_natural || p), (B,), of logits (B, K) each; by logarithms, whose gradient is finite where p underflows."""
    target = natural.log_softmax(1)
    return F.kl_div(logits.log_softmax(1), target, reduction="none", log_target=True).sum(1)


def gaussian(step: Step, images: Tensor) -> Tensor:
    """Normal noise like the images, keyed by (seed, sample, epoch)."""
    key: Key = {"seed": step.seed, "samples": step.augmented.ids, "draw": step.epoch}
    return noise.gaussian(images.shape[1:], purpose="adversarial-start", **key).to(images)


def pgd_images(
    images: Tensor, labels: Tensor, start: Tensor, attack: TrainingAttack, network: CurrentNetwork
) -> Tensor:
    """Images after PGD on the cross-entropy (Madry et al., ICLR 2018, section 2.1), the network in evaluation mode.

    labels: (B,) int64 or soft (B, K). start: displacement (B, 3, H, W), cut to [0, 1] before the first step.
    """
    return attack(images, projections.box(images, start), lambda x: network.gradient(x, cross_entropy, labels)[1])


def _renormed(delta: Tensor, radius: float | Tensor) -> Tensor:
    """The projection of TRADES' authors onto an l2 ball: torch's has 1e-7 more in its denominator than ours."""
    return torch.renorm(delta, 2, 0, float(radius))


def trades_images(images: Tensor, start: Tensor, attack: TrainingAttack, network: CurrentNetwork) -> Tensor:
    """Images after PGD on KL(p(images) || p(x)) (Zhang et al., ICML 2019, eq. 5).

    start: displacement (B, 3, H, W), as it is. An image with zero gradient stays; the authors' l2 form moves it at
    random.
    """
    natural = network(images)
    project = _renormed if attack.threat.norm == "l2" else None
    return attack(images, start, lambda x: network.gradient(x, divergence, natural)[1], project)


@dataclass(frozen=True)
class PGDTraining:
    """The loss on attacked images alone (Madry et al., ICLR 2018, eq. 2.1): it takes the place of the clean term.

    The attack maximises plain cross-entropy, whatever the criterion, with the network in evaluation mode.
    """

    attack: TrainingAttack
    criterion: Criterion = field(default_factory=CrossEntropy)
    name: str = NAME

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        images = step.augmented.images
        start = self.attack.in_ball(gaussian(step, images))
        return pgd_images(images, self._labels(step), start, self.attack, network)

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        return self.criterion(responses[self.name].logits, self._labels(step))

    def _labels(self, step: Step) -> Tensor:
        return step.augmented.labels if step.targets is None else step.targets


@dataclass(frozen=True)
class Trades:
    """beta KL(p(x) || p(x')) beside the clean term, both with gradient (Zhang et al., ICML 2019, eq. 5).

    x and x' pass the network one after the other in training mode, as in either form's code: batch statistics of one
    do not see the other, and both are tracked.

    original: the authors' form. The attack sees the network in evaluation mode and starts from 0.001 N(0, 1), which may
        leave [0, 1] before the first step. Otherwise the form of Gowal et al. and Wang et al. (ICML 2023): training
        mode with untracked batch statistics, and for linf a uniform start in the ball, cut to [0, 1].
    """

    attack: TrainingAttack
    beta: float = 5.0
    original: bool = False
    clean: str = "ce"
    name: str = NAME
    apart: ClassVar[bool] = True

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        images = step.augmented.images
        numbers = gaussian(step, images)
        if self.original or self.attack.threat.norm == "l2":
            start = SMALL_START * numbers
        else:
            start = projections.box(images, self.attack.in_ball(numbers))
        return trades_images(images, start, self.attack, network if self.original else network.in_training())

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        return self.beta * divergence(responses[self.name].logits, responses[self.clean].logits).mean()
