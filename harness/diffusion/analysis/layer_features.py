"""Features of a diffusion model: what a layer of its network computes for diffused images."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from harness.base.errors import near_matches, suggest
from harness.diffusion.denoiser import Denoiser
from harness.models.hooks import hooked
from harness.types import HarnessError

MIDDLE = "middle"
"""Name of the block between the halves of a UNet, whatever its own name."""


class _Reached(Exception):
    """Ends a forward pass at the layer that is looked at: the rest of the network is half of its cost."""


def layer_of(denoiser: Denoiser, name: str) -> nn.Module:
    """A layer by its name in the network, such as ``down_blocks.1``, or `MIDDLE`; raises HarnessError for others."""
    layers = dict(denoiser.network.named_modules())
    if name == MIDDLE:
        middle = getattr(denoiser.network, "mid_block", None)
        if not isinstance(middle, nn.Module):
            raise HarnessError("This diffusion model has no middle block. Name one of its layers, as it lists them.")
        return middle
    if not name or name not in layers:
        names, where = [MIDDLE, *filter(None, layers)], " of the diffusion model"
        if not near_matches(name, names):  # hundreds of layers say less than their blocks
            names = [layer for layer in names if layer.count(".") < 2]
            where += "; layers within blocks are not listed"
        raise suggest("layer", name, names, where)
    return layers[name]


def layer_features(denoiser: Denoiser, layer: str, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Means over positions (B, C) of a layer's output for images diffused to times t, float32 or float64.

    The network runs up to the layer and stops there. No gradient is cut: call it under `torch.no_grad` for none.

    layer: see `layer_of`. images: (B, 3, H, W) in [0, 1]. t: (B,) int64, indices of the schedule. noise: like the
    images. Raises HarnessError for a layer that is not called, or whose output has no channels.
    """
    seen: list[Any] = []

    def stop(name: str, module: nn.Module, inputs: Any, outputs: Any) -> None:
        seen.append(outputs)
        raise _Reached

    x_t = denoiser.diffuse(images, t, noise)
    try:
        with hooked({layer: layer_of(denoiser, layer)}, stop):
            denoiser.predict_noise(x_t, t)
    except _Reached:
        return _pooled(seen[0], layer, len(images)).to(x_t.dtype)
    raise HarnessError(f"The layer {layer!r} of the diffusion model is not called. Name another.")


def _pooled(outputs: Any, layer: str, images: int) -> Tensor:
    """Means over positions of maps (B, C, H, W) or tokens (B, N, C)."""
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    if not isinstance(outputs, Tensor) or len(outputs) != images or outputs.ndim not in (2, 3, 4):
        raise HarnessError(f"The layer {layer!r} of the diffusion model gives no features of images. Name another.")
    return outputs.mean((2, 3)) if outputs.ndim == 4 else outputs.mean(1) if outputs.ndim == 3 else outputs
