"""The standard classifiers: a body with its normalisation inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sizes = Sequence[tuple[int, int]]
"""Pairs of height and width that a network accepts."""


def fitted(images: Tensor, sizes: Sizes, interpolation: str = "bicubic") -> Tensor:
    """Images (B, 3, H, W) in [0, 1] at a size that a network accepts: unchanged, or resized to the first of `sizes`.

    Resizing is antialiased and ends in [0, 1], as Pillow's does. The noise of randomized smoothing leaves [0, 1]: such
    images stay within their own range. Without sizes, every size is taken.
    """
    if not sizes or tuple(images.shape[-2:]) in sizes:
        return images
    resized = F.interpolate(images, sizes[0], mode=interpolation, align_corners=False, antialias=True)
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return resized.clamp(low.clamp(max=0), high.clamp(min=1))


class Sized(nn.Module):
    """Extend a classifier of images in [0, 1] to images of any size: see `fitted`."""

    def __init__(self, network: nn.Module, sizes: Sizes) -> None:
        super().__init__()
        self.network, self.sizes = network, sizes

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.network(fitted(images, self.sizes)))


class ImageClassifier(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to logits (B, K).

    body: a network with timm's ``forward_features`` and ``forward_head``.
    mean, std: per-channel normalisation of the training recipe; buffers, so that they travel with the weights.
    sizes, interpolation: see `fitted`; "bicubic" or "bilinear".
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        mean: Sequence[float] = (0.5,) * 3,
        std: Sequence[float] = (0.5,) * 3,
        sizes: Sizes = (),
        interpolation: str = "bicubic",
    ) -> None:
        super().__init__()
        self.sizes, self.interpolation = sizes, interpolation
        self.body: Any = body
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.body(self._normalised(images)))

    def _normalised(self, images: Tensor) -> Tensor:
        return (fitted(images, self.sizes, self.interpolation) - self.mean) / self.std

    def features(self, images: Tensor) -> Tensor:
        """The penultimate layer (B, D), after pooling; `head` maps it to logits."""
        hidden = self.body.forward_features(self._normalised(images))
        return cast(Tensor, self.body.forward_head(hidden, pre_logits=True))

    def head(self, features: Tensor) -> Tensor:
        """The last linear layer: (B, D) to (B, K)."""
        return cast(Tensor, self.body.get_classifier()(features))


CHANNELS = {"noisy": 3, "da": 6}
"""Input channels of a time-conditioned classifier's body, by its training objective."""


class TimeConditionedClassifier(nn.Module):
    """A classifier of diffused images, which can guide (see `harness.types.NoisyClassifier`).

    x_t enters unchanged: the diffusion process has put it around [-1, 1], and clipping would lose noise.
    Images in [0, 1], the denoised one among them, are brought to that scale.

    body: (x, times) to logits, with x of three channels, or six where `denoised` (x_t first, then the denoised image:
        Sastry et al., NeurIPS 2024).
    sizes: see `fitted`; for images in [0, 1] alone, as resizing would change the noise of x_t.
    noise_schedule: name and number of times of the schedule that it was trained with; None if that is unknown.
    """

    def __init__(
        self, body: nn.Module, denoised: bool, sizes: Sizes = (), noise_schedule: tuple[str, int] | None = None
    ) -> None:
        super().__init__()
        self.body: Any = body
        self.denoised, self.sizes = denoised, sizes
        self.noise_schedule = noise_schedule

    @property
    def takes_network_times(self) -> bool:
        """See `harness.types.NoisyClassifier`; the body says so."""
        return bool(getattr(self.body, "takes_network_times", False))

    def forward(self, images: Tensor, x0_hat: Tensor | None = None, t: Tensor | None = None) -> Tensor:
        """Logits (B, K) of x_t at times t (see `noisy`), or without t of images in [0, 1] as if at t = 0.

        Noise at t = 0 is negligible (0.01 in the linear schedule): the image stands for x_t and its denoising.
        """
        if t is None:
            t = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            plain = fitted(images, self.sizes)
            images, x0_hat = plain * 2 - 1, plain
        if self.denoised:
            assert x0_hat is not None
            images = torch.cat([images, x0_hat * 2 - 1], 1)
        return cast(Tensor, self.body(images, t))

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        """Logits (B, K) of x_t around [-1, 1], its one-step denoising in [0, 1] and the times (B,) int64."""
        return cast(Tensor, self(x_t, x0_hat, t))
