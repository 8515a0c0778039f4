"""The objective of denoisers: to predict the noise in a diffused image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.base import noise
from harness.diffusion.denoiser import Denoiser
from harness.train.objectives.protocol import Key, Timer, untimed
from harness.train.step import Step


@dataclass(frozen=True, eq=False)
class NoisePrediction:
    """Mean squared error of the predicted noise at a uniformly random time (Ho et al., NeurIPS 2020, eq. 14).

    conditional: the network also sees the label.
    label_dropout: probability with which it sees the denoiser's `null_label` instead (Ho & Salimans, 2022, algorithm
        1); keyed by (seed, sample, epoch).
    """

    denoiser: Denoiser
    conditional: bool = False
    label_dropout: float = 0.0

    def __call__(self, network: nn.Module, step: Step, timer: Timer = untimed) -> dict[str, Tensor]:
        batch = step.augmented
        key: Key = {"seed": step.seed, "samples": batch.ids, "draw": step.epoch}
        t = noise.integers(0, len(self.denoiser.schedule.betas), purpose="ddpm-time", **key).to(batch.images.device)
        eps = noise.gaussian(batch.images.shape[1:], purpose="ddpm-noise", **key).to(batch.images.device)
        labels = {"class_labels": self._shown(batch.labels, key)} if self.conditional else {}
        predicted = network(self.denoiser.diffuse(batch.images, t, eps), t, return_dict=False, **labels)[0].float()
        return {"mse": F.mse_loss(predicted, eps)}

    def _shown(self, labels: Tensor, key: Key) -> Tensor:
        """The labels (B,) that the network sees."""
        if not self.label_dropout:
            return labels
        draws = [rng.random() for rng in noise.generators(key["seed"], "label-dropout", key["samples"], key["draw"])]
        dropped = torch.tensor(draws, device=labels.device) < self.label_dropout
        return labels.masked_fill(dropped, self.denoiser.null_label or 0)
