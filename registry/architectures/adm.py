"""OpenAI's diffusion networks, untrained: what converted checkpoints are rebuilt from."""

from __future__ import annotations

from typing import Any

from torch import nn

from harness.diffusion.adm import AdmFlags, unet
from harness.plugins import architecture


# assigned: all it holds is in its state dict, so that a checkpoint's tensors can take the place of its own.
@architecture("adm", kind="denoiser", assigned=True)
def adm(**flags: Any) -> nn.Module:
    """UNet of guided-diffusion and improved-diffusion (Dhariwal & Nichol, NeurIPS 2021), from their flags."""
    return unet(AdmFlags.from_mapping(flags))
