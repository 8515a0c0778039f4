"""Diffusion-driven adaptation as a differentiable function of the images, in the memory of one step.

The guidance is a gradient itself, so the exact derivative holds second derivatives of the network. The forward pass is
that of `harness.diffusion.adaptation`, bit for bit, and keeps the image between two steps only; the backward pass
recomputes step after step (gradient checkpointing: Chen et al., 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.diffusion.adaptation import guidance, guided_step
from harness.diffusion.denoiser import Denoiser, at
from harness.diffusion.sampling import ancestral_step
from harness.types import Adaptation, HarnessError


def adapt_differentiably(
    denoiser: Denoiser, images: Tensor, settings: Adaptation, draw: Callable[[int], Tensor]
) -> Tensor:
    """Adapted images (B, 3, H, W) in [0, 1] with their exact gradient; `adapt` gives the images alone.

    images: (B, 3, H, W) in [0, 1] that require a gradient. draw: see `adapt`; called again in the backward pass.
    Raises HarnessError for norms over groups of images, and for a compiled network.
    """
    if settings.group > 1:
        raise HarnessError(
            f"dda:norm={settings.norm} adapts an image together with the {settings.group - 1} beside it, so that no "
            "image has a separate gradient. Attack dda with norm=sample."
        )
    if getattr(denoiser.network, "_compiled_call_impl", None) is not None:
        raise HarnessError(
            "The gradient of dda takes second derivatives of the diffusion model, which torch.compile does not give. "
            "Leave --compile out."
        )
    reference = images * 2 - 1
    abar = denoiser.schedule.respaced(settings.steps).alpha_bar
    index = torch.full((len(images),), settings.start, device=images.device)
    x = at(abar**0.5, index) * reference + at((1 - abar) ** 0.5, index) * draw(0)
    x = _GuidedSteps.apply(x, reference, denoiser, settings, draw)
    return ((x + 1) / 2).clamp(0, 1)


class _GuidedSteps(torch.autograd.Function):
    """All guided steps, from x_N and the reference to the adapted image in the model's space."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, reference: Tensor, denoiser: Denoiser, settings: Adaptation, draw: Callable[[int], Tensor]
    ) -> Tensor:
        schedule, real = denoiser.schedule.respaced(settings.steps), torch.ones(len(x), device=x.device)
        states = []
        for step in range(settings.start):
            states.append(x)
            position = settings.start - 1 - step
            x = guided_step(denoiser, schedule, x, position, reference, settings, draw(1 + step), real)
        ctx.save_for_backward(reference, *states)
        ctx.denoiser, ctx.settings, ctx.draw = denoiser, settings, draw
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        reference, *states = ctx.saved_tensors
        to_reference = torch.zeros_like(reference)
        for step in reversed(range(len(states))):
            noise = ctx.draw(1 + step)
            by_x, by_reference = _pull_back(ctx.denoiser, ctx.settings, step, states[step], reference, noise, upstream)
            to_reference += by_reference
            upstream = by_x
        return upstream, to_reference, None, None, None


def _pull_back(
    denoiser: Denoiser,
    settings: Adaptation,
    step: int,
    x: Tensor,
    reference: Tensor,
    noise: Tensor,
    upstream: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients by x and by the reference of one guided step, given the gradient by its result (B, 3, H, W) each."""
    schedule, position = denoiser.schedule.respaced(settings.steps), settings.start - 1 - step
    # Fused attention has no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        x = x.detach().requires_grad_()
        reference = reference.detach().requires_grad_()
        real = torch.ones(len(x), device=x.device)
        x0, v, gradient = guidance(denoiser, schedule, x, position, reference, settings, real, create_graph=True)
        after = ancestral_step(schedule, x, position, x0, v, noise) - settings.scale * gradient
        by_x, by_reference = torch.autograd.grad(after, (x, reference), upstream)
    return by_x, by_reference
