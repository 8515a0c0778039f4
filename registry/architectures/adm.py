"""OpenAI's diffusion networks, untrained, from which converted checkpoints are rebuilt."""

from __future__ import annotations

from typing import Any

from torch import nn

from harness.diffusion.adm import AdmFlags, unet
from harness.plugins import architecture


# assigned: its state dict holds everything, so a checkpoint's tensors can replace its tensors.
@architecture("adm", kind="denoiser", assigned=True)
def adm(**flags: Any) -> nn.Module:
    """UNet of guided-diffusion and improved-diffusion (Dhariwal & Nichol, NeurIPS 2021), from their flags."""
    return unet(AdmFlags.from_mapping(flags))
