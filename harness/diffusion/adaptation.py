"""Diffusion-driven adaptation: bring a test image back to the training domain (Gao et al., CVPR 2023, algorithm 1).

The image is diffused half way, then denoised step by step while its low frequencies are pulled towards those of the
original. The details are those of the authors' code, off-by-one start and zero-padded filter included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.diffusion.denoiser import Denoiser, at
from harness.diffusion.sampling import ancestral_step
from harness.diffusion.schedule import Floats, Schedule
from harness.types import Adaptation


def cubic(x: Floats) -> Floats:
    """Keys' cubic convolution kernel with a = -0.5 (Keys, 1981, eq. 15), support 4."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


@lru_cache(maxsize=32)
def resize_matrix(size: int, target: int) -> Floats:
    """Cubic resampling of one axis as a (target, size) float64 matrix, antialiased when it shrinks.

    Pixel centres are aligned, the kernel's weights are normalised before the image ends, and beyond it lies zero (mid
    grey in the model's space), as in the ResizeRight library that the authors use: borders are pulled towards grey.
    """
    scale = target / size
    stretch = min(scale, 1.0)
    support = 4 / stretch
    centres = (np.arange(target) - (target - 1) / 2) / scale + (size - 1) / 2
    first = np.ceil(centres - support / 2 - np.finfo(np.float32).eps).astype(int)
    taps = first[:, None] + np.arange(math.ceil(support - np.finfo(np.float32).eps))
    values = cubic(stretch * (centres[:, None] - taps))
    values /= values.sum(1, keepdims=True)
    inside = (taps >= 0) & (taps < size)
    matrix = np.zeros((target, size))
    np.add.at(matrix, (np.nonzero(inside)[0], taps[inside]), values[inside])
    return matrix


@lru_cache(maxsize=32)
def low_pass_matrix(size: int, factor: int) -> Tensor:
    """Down by `factor` and up again along one axis: (size, size) float32."""
    small = math.ceil(size / factor)
    return torch.from_numpy(resize_matrix(small, size) @ resize_matrix(size, small)).float()


def low_pass(images: Tensor, factor: int) -> Tensor:
    """The low frequencies of (B, 3, H, W) images: U(D(x)) of the paper's eq. 5; float32 under any autocast."""
    height, width = (low_pass_matrix(side, factor).to(images) for side in images.shape[-2:])
    with torch.autocast(images.device.type, enabled=False):
        return height @ images @ width.T


def adapt(
    denoiser: Denoiser, images: Tensor, settings: Adaptation, draw: Callable[[int], Tensor], real: Tensor
) -> Tensor:
    """Adapted images (B, 3, H, W) in [0, 1].

    draw: the standard normal noise (B, 3, H, W) of a draw: 0 makes x_N, 1 + k belongs to loop step k.
    real: (B,) 1.0, or 0.0 for rows that only pad the batch and must not enter a group's norm.
    """
    schedule = denoiser.schedule.respaced(settings.steps)
    reference = images * 2 - 1
    index = torch.full((len(images),), settings.start, device=images.device)
    abar = schedule.alpha_bar
    x = at(abar**0.5, index) * reference + at((1 - abar) ** 0.5, index) * draw(0)
    for step in range(settings.start):
        # The authors diffuse to index `start` but first denoise at `start - 1`; published numbers depend on it.
        x = guided_step(denoiser, schedule, x, settings.start - 1 - step, reference, settings, draw(1 + step), real)
    return ((x + 1) / 2).clamp(0, 1)


def guided_step(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    position: int,
    reference: Tensor,
    settings: Adaptation,
    noise: Tensor,
    real: Tensor,
) -> Tensor:
    """One ancestral step from respaced index `position`, minus scale times the gradient of the guidance norm.

    The gradient is with respect to x_t, through the clipped prediction and through the network. Everything is in the
    model's space.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        x0, v, gradient = guidance(denoiser, schedule, x, position, reference, settings, real)
    with torch.no_grad():
        return (ancestral_step(schedule, x, position, x0, v, noise) - settings.scale * gradient).detach()


def guidance(
    denoiser: Denoiser,
    schedule: Schedule,
    x: Tensor,
    position: int,
    reference: Tensor,
    settings: Adaptation,
    real: Tensor,
    create_graph: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """The prediction of x_0, the raw variance channel or None, and the gradient of the guidance norm by x (B, 3, H, W).

    create_graph: the gradient itself can be differentiated. A norm of zero has gradient zero, to any order.
    """
    x0, v = denoiser.predict(schedule, x, torch.full((len(x),), position, device=x.device))
    residual = low_pass(reference - x0, settings.factor) * real[:, None, None, None]
    groups = residual.reshape(len(x) // settings.group, -1)
    zero = (groups == 0).all(1)
    norms = torch.linalg.vector_norm(groups.where(~zero[:, None], 1.0), dim=1) * ~zero
    (gradient,) = torch.autograd.grad(norms.sum(), x, create_graph=create_graph)
    return x0, v, gradient
