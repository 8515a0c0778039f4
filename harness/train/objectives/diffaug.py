"""DiffAug's term: the loss on images denoised in one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.base import noise
from harness.models.tiles import autocast
from harness.train.objectives.classification import CrossEntropy
from harness.train.objectives.protocol import Criterion, CurrentNetwork, Key, TermResponse
from harness.train.objectives.reverse import Reverse
from harness.train.step import Step


@dataclass(frozen=True, eq=False)
class DiffAug:
    """The loss on the image denoised in one step from a uniformly random time (Sastry et al., NeurIPS 2024).

    As in the authors' recipes the denoised branch starts from the unaugmented image, t is uniform over the integers in
    `times`, and the denoiser gets no gradient. Time and noise are keyed by (seed, sample, epoch).
    """

    reverse: Reverse
    times: tuple[int, int] = (0, 1000)
    criterion: Criterion = field(default_factory=CrossEntropy)
    device: str = "cpu"
    dtype: str = "float32"
    name: str = "diffaug"

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        raw = step.raw
        key: Key = {"seed": step.seed, "samples": step.augmented.ids, "draw": step.epoch}
        t = noise.integers(*self.times, purpose="diffaug-time", **key).to(self.device)
        eps = noise.gaussian(raw.images.shape[1:], purpose="diffaug-noise", **key).to(self.device)
        with torch.no_grad(), autocast(self.device, self.dtype):
            return self.reverse(raw.images, t, eps, raw.labels)

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        return self.criterion(responses[self.name].logits, step.raw.labels)
