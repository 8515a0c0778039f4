"""The objective of classifiers that guide: cross-entropy on diffused images, temporal consistency without labels."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.base import noise
from harness.diffusion.denoiser import Denoiser
from harness.models.tiles import autocast
from harness.train.objectives.protocol import Key, Timer, untimed
from harness.train.objectives.reverse import check_times
from harness.train.step import Step
from harness.types import HarnessError


@dataclass(frozen=True, eq=False)
class TimeConditioned:
    """Cross-entropy on x_t at a uniformly random time, for a `harness.models.classifier.TimeConditionedClassifier`.

    denoised: the network also sees the one-step denoised image; the denoiser gets no gradient. False is the "noisy"
        classifier of Dhariwal & Nichol (NeurIPS 2021, section 4), True the "DA" classifier of Sastry et al. (NeurIPS
        2024, Table 4).
    times: t is uniform over the integers in this half-open interval.
    labelled: ids of the samples whose labels may be used (see `input.labels.labelled`); None for all.
    consistency_radius: the other samples' predictions at t and at t' = t + u, clipped to `times`, are drawn together,
        with u uniform over the integers from -radius to radius; with 0 they have no loss.
    weight: of that term.

    Images are the augmented ones. Time and noise are keyed by (seed, sample, epoch); t and t' share the noise, so that
    nothing but the time differs between the two.

    The consistency term is KL(p_s || p_t) with s the smaller of the two times and no gradient through p_s: the less
    noisy image shows more, so its prediction is the target, as that of the weakly augmented image is in FixMatch (Sohn
    et al., NeurIPS 2020). In this direction the best p_t is the mean of the targets over all images that x_t may have
    come from; a symmetric divergence would also blur p_s. The authors' own form is unpublished: reviews of an
    earlier version of the paper speak of FixMatch with its pseudo-labels.
    """

    denoiser: Denoiser
    denoised: bool
    times: tuple[int, int] = (0, 1000)
    labelled: Container[str] | None = None
    consistency_radius: int = 0
    weight: float = 1.0
    smoothing: float = 0.0
    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        check_times(self.denoiser, self.times)
        low, high = self.times
        if not 0 <= self.consistency_radius < high - low:
            raise HarnessError(
                f"--consistency-radius {self.consistency_radius} must be below the length of --diffaug-times "
                f"({high - low})."
            )
        if self.weight < 0:
            raise HarnessError(f"The consistency term's weight {self.weight} is negative.")
        if self.consistency_radius and self.labelled is None:
            raise HarnessError(
                "--consistency-radius is for samples without labels, and all have one. Give --labels below 1."
            )

    def __call__(self, network: nn.Module, step: Step, timer: Timer = untimed) -> dict[str, Tensor]:
        """The term "ce", the mean over the labelled samples, and with a radius "consistency", over the others."""
        batch = step.augmented
        key: Key = {"seed": step.seed, "samples": batch.ids, "draw": step.epoch}
        t = noise.integers(*self.times, purpose="guidance-time", **key).to(self.device)
        eps = noise.gaussian(batch.images.shape[1:], purpose="guidance-noise", **key).to(self.device)
        has_label = [self.labelled is None or name in self.labelled for name in batch.ids]
        learn = torch.tensor(has_label, device=self.device)
        rest = ~learn if self.consistency_radius else torch.zeros_like(learn)
        near = self._near(t, key)[rest]
        images, noises = (torch.cat([rows, rows[rest]]) for rows in (batch.images, eps))
        at_t, at_near = self._classify(network, images, torch.cat([t, near]), noises, timer).split([len(t), len(near)])
        losses = F.cross_entropy(at_t[learn], batch.labels[learn], label_smoothing=self.smoothing, reduction="none")
        terms = {"ce": _mean(losses)}
        if self.consistency_radius:
            terms["consistency"] = self.weight * _mean(divergence(at_t[rest], t[rest], at_near, near))
        return terms

    def _near(self, t: Tensor, key: Key) -> Tensor:
        radius = self.consistency_radius
        shift = noise.integers(-radius, radius + 1, purpose="guidance-shift", **key).to(t.device)
        return (t + shift).clamp(self.times[0], self.times[1] - 1)

    def _classify(self, network: nn.Module, images: Tensor, t: Tensor, eps: Tensor, timer: Timer) -> Tensor:
        x_t, x0 = self.denoiser.diffuse(images, t, eps), None
        if self.denoised:
            with timer("denoiser"), torch.no_grad(), autocast(self.device, self.dtype):
                x0 = self.denoiser.predict_x0(x_t, t)
        # Not `network.noisy`: what wraps a network for several processes only sees calls of the network itself.
        logits: Tensor = network(x_t, x0, t)
        return logits.float()


def divergence(a: Tensor, t: Tensor, b: Tensor, s: Tensor) -> Tensor:
    """KL divergence (B,) from the prediction at the smaller time, taken as fixed, to that at the larger one.

    a, b: logits (B, K) of the same images at times t and s, (B,).
    """
    swap = (t < s)[:, None]
    target, learner = torch.where(swap, a, b).detach(), torch.where(swap, b, a)
    pointwise = F.kl_div(learner.log_softmax(1), target.log_softmax(1), reduction="none", log_target=True)
    return pointwise.sum(1)


def _mean(losses: Tensor) -> Tensor:
    """The mean, and 0 of none: a batch may hold no sample of a kind."""
    return losses.sum() / max(len(losses), 1)
