"""Targets and judge that all classifiers of a run share, and the columns of a batch that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.base import noise
from harness.diffusion.log_probability import log_probability
from harness.evaluation.views.diffused_gradients import DiffusedGradients
from harness.metrics.gradients.directions import cosine, low_frequency_share, norms
from harness.models.tiles import TiledClassifier
from harness.suites.bases.gradients.targets import ScoreTarget, wrong_classes
from harness.types import Columns, DiffusedViews, HarnessError


@dataclass(frozen=True, eq=False)
class RunTargets:
    """Targets and judge of a run, the same for all pairs.

    class_means: (K, 3, H, W) float64 of the training images, in [-1, 1]. step: length of the judge's step, in [-1, 1].
    """

    target: ScoreTarget
    class_means: Any
    judge: TiledClassifier
    step: float

    def at(self, views: DiffusedViews, labels: Tensor, ids: Sequence[str]) -> BatchTargets:
        """The targets of a batch. labels: (B,) int64. ids: of its samples."""
        classes = len(self.class_means)
        if bool(((labels < 0) | (labels >= classes)).any()):
            raise HarnessError(f"gradient-alignment: every image needs one of the {classes} classes of the training.")
        offsets = noise.integers(1, classes, seed=0, purpose="wrong-class", samples=ids)
        restored = views.restored().double().numpy() * 2 - 1
        return BatchTargets(
            self,
            views,
            labels,
            self.target(views, labels),
            self.target(views, wrong_classes(labels, classes, offsets)),
            self.class_means[labels.numpy()] - restored,
        )


@dataclass(frozen=True, eq=False)
class BatchTargets:
    """A batch at one time: score-based targets of its classes and of wrong ones, and class-mean targets, (B, 3, H, W).

    The class-mean target is the mean of the class minus the denoised image (Ganz et al., ICML 2023).
    """

    run: RunTargets
    views: DiffusedViews
    labels: Tensor
    score: Any
    wrong: Any
    mean: Any

    def columns(self, classifier: TiledClassifier, control: TiledClassifier, kind: str) -> Columns:
        """Columns (B,) of a classifier's gradients. control: the same with random weights."""
        gradients = DiffusedGradients(classifier, self.views, self.labels).of(kind)
        random = DiffusedGradients(control, self.views, self.labels).of(kind)
        count = len(self.labels)
        if gradients is None or random is None:
            zeros = self._measured(torch.zeros_like(self.views.noisy))
            columns = {**zeros, **_renamed(zeros), "cosine_wrong": np.zeros(count), "norm": np.zeros(count)}
        else:
            columns = {
                **self._measured(gradients),
                **_renamed(self._measured(random)),
                "cosine_wrong": cosine(gradients, self.wrong),
                "norm": self._relative_norms(gradients),
            }
        exists = torch.full((count,), gradients is not None)
        return {"exists": exists, **{name: torch.from_numpy(values).float() for name, values in columns.items()}}

    def _measured(self, gradients: Tensor) -> dict[str, Any]:
        return {
            "cosine_score": cosine(gradients, self.score),
            "cosine_mean": cosine(gradients, self.mean),
            "gain": self._gain(gradients),
            "low_frequency": low_frequency_share(gradients),
        }

    def _relative_norms(self, gradients: Tensor) -> Any:
        """sqrt(1 - abar) |g| / sqrt(D): the share of the noise by which a guide of scale 1 moves the prediction."""
        scale = torch.sqrt((1 - self.views.alpha_bar) / gradients[0].numel()).numpy()
        return norms(gradients) * scale

    def _gain(self, gradients: Tensor) -> Any:
        """Rise of the judge's log p(y) from the denoised image to a step along the gradient, clipped to images."""
        before = self.views.restored()
        lengths = torch.from_numpy(norms(gradients))[:, None, None, None]
        unit = gradients.double() / lengths.where(lengths > 0, torch.ones(()).double())
        after = (before + self.run.step / 2 * unit.float()).clamp(0, 1)
        return (self._judged(after) - self._judged(before)).double().numpy()

    def _judged(self, images: Tensor) -> Tensor:
        return log_probability(self.run.judge(images), self.labels)


def _renamed(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns of the network with random weights."""
    return {f"{name}_random": values for name, values in columns.items()}
