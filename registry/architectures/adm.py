"""OpenAI's diffusion networks and noisy classifiers, untrained, from which converted checkpoints are rebuilt."""

from __future__ import annotations

from typing import Any

from torch import nn

from harness.diffusion.adm.classifier import AdmClassifier
from harness.diffusion.adm.classifier_flags import ClassifierFlags
from harness.diffusion.adm.unet import unet
from harness.diffusion.adm.unet_flags import AdmFlags
from harness.plugins import architecture


# assigned: its state dict holds everything, so a checkpoint's tensors can replace its tensors.
@architecture("adm", kind="denoiser", assigned=True)
def adm(**flags: Any) -> nn.Module:
    """UNet of guided-diffusion and improved-diffusion (Dhariwal & Nichol, NeurIPS 2021), from their flags."""
    return unet(AdmFlags.from_mapping(flags))


@architecture("adm-classifier", kind="time-conditioned", image_size=256, assigned=True)
def adm_classifier(num_classes: int, in_channels: int = 3, **flags: Any) -> nn.Module:
    """Noisy classifier of guided-diffusion (Dhariwal & Nichol, NeurIPS 2021): a UNet's encoder, attention pooling."""
    return AdmClassifier(ClassifierFlags.from_mapping(flags), num_classes, in_channels)
