"""The objective of autoencoders: the image that was shown."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from harness.train.objectives.protocol import Timer, untimed
from harness.train.step import Step


@dataclass(frozen=True)
class Reconstruction:
    """Mean squared error between the network's output and the augmented image that it was shown, both in [0, 1]."""

    def __call__(self, network: nn.Module, step: Step, timer: Timer = untimed) -> dict[str, Tensor]:
        images = step.augmented.images
        return {"mse": F.mse_loss(network(images).float(), images)}
