"""The denoiser: the only place that handles [-1, 1] and alpha_bar of a diffusion model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from harness.diffusion.schedule import Floats, Schedule
from harness.types import HarnessError

CONDITIONAL = (
    "This diffusion model needs the class of each image. Name an unconditional one with --denoiser, or one that was "
    "trained with label dropout (harness train --label-dropout)."
)
UNCONDITIONAL = (
    "This diffusion model takes no class. Name a class-conditional one, such as one that harness train --architecture "
    "unet-conditional makes."
)


def at(table: Floats, index: Tensor, images: Tensor | None = None) -> Tensor:
    """Entries of a float64 table as (B, 1, 1, 1), to multiply images: float64 for float64 images, else float32."""
    dtype = torch.float64 if images is not None and images.dtype == torch.float64 else torch.float32
    return torch.from_numpy(table).to(dtype).to(index.device)[index][:, None, None, None]


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A noise-prediction network with its schedule.

    network: (x_t, times) to (B, 3 or 6, H, W); six channels are noise and variance interpolation (learned sigma).
    null_label: the class that stands for none in a class-conditional network trained with label dropout (Ho &
        Salimans, 2022), which then also serves unconditionally.
    Inputs and outputs of the public methods are images in [0, 1]; x_t is in the model's space, around [-1, 1].
    """

    network: nn.Module
    schedule: Schedule
    null_label: int | None = None

    @property
    def multiple(self) -> int:
        """Divisor of the sides of all images: a UNet of L levels halves its input L - 1 times."""
        levels: Sequence[int] = getattr(self.network, "config", {}).get("block_out_channels", (1,))
        return 2 ** (len(levels) - 1)

    @property
    def conditional(self) -> bool:
        """True if the network takes the class of an image."""
        return getattr(self.network, "class_embedding", None) is not None

    @property
    def unconditional(self) -> bool:
        """True if the network predicts without a class: it takes none, or was trained with label dropout."""
        return not self.conditional or self.null_label is not None

    def check_sides(self, images: Tensor) -> None:
        """Raise HarnessError for images (B, 3, H, W) whose sides `multiple` does not divide."""
        height, width = images.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise HarnessError(
                f"This diffusion model takes images whose sides are multiples of {self.multiple}, "
                f"not {height}x{width}. Crop them, or name another with --denoiser."
            )

    def check_times(self, times: Tensor | tuple[int, ...]) -> None:
        """Raise HarnessError for a time outside the schedule."""
        last = len(self.schedule.betas) - 1
        for t in [int(t) for t in times]:
            if not 0 <= t <= last:
                raise HarnessError(f"Diffusion time {t} lies outside this denoiser's schedule (0 to {last}).")

    def diffuse(self, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise (Ho et al., 2020, eq. 4); `t` is (B,) int64."""
        abar = self.schedule.alpha_bar
        return at(abar**0.5, t, images) * (images * 2 - 1) + at((1 - abar) ** 0.5, t, images) * noise

    def predict_x0(self, x_t: Tensor, t: Tensor) -> Tensor:
        """One reverse step to the image: clip((x_t - sqrt(1 - abar) eps) / sqrt(abar), -1, 1), in [0, 1].

        t: (B,) int64, indices of the schedule.
        """
        return (self.predict(self.schedule, x_t, t)[0] + 1) / 2

    def projected_x0(self, x_t: Tensor, t: Tensor, direction: Tensor) -> Tensor:
        """Inner products (B,) of the clipped prediction of x_0 in [-1, 1] with directions (B, 3, H, W).

        Its gradient by x_t is the direction times the transposed derivative of the prediction.
        """
        return (self.predict(self.schedule, x_t, t)[0] * direction).flatten(1).sum(1)

    def predict(self, schedule: Schedule, x_t: Tensor, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """The clipped prediction of x_0 in [-1, 1] at indices of `schedule`, and the raw variance channel or None.

        schedule: the denoiser's, or one of the same process at fewer times.
        """
        noise, v = self.predict_noise(x_t, index, schedule)
        return self.x0(schedule, x_t, index, noise), v

    def predict_noise(
        self, x_t: Tensor, index: Tensor, schedule: Schedule | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The network's noise and its raw variance channel v or None; float32 under any autocast.

        index: (B,) int64, of `schedule` or by default the denoiser's; only here it becomes the network's time.
        labels: (B,) int64, classes for a conditional network, `null_label` among them; without, its unconditional
            prediction.
        Of float64 images it stays float64, and the network sees float64 times.
        Raises HarnessError for labels where the network takes none, and for none where it needs them.
        """
        self.check_sides(x_t)
        times = (schedule or self.schedule).network_times(index)
        times = times.double() if x_t.dtype == torch.float64 else times
        out = cast(Tensor, self.network(x_t, times, return_dict=False, **self._classes(index, labels))[0])
        out = out.to(torch.float64 if x_t.dtype == torch.float64 else torch.float32)
        return (out, None) if out.shape[1] == 3 else (out[:, :3], out[:, 3:])

    def _classes(self, index: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """The class argument of the network, if it takes one."""
        if not self.conditional:
            if labels is not None:
                raise HarnessError(UNCONDITIONAL)
            return {}
        if labels is None and self.null_label is None:
            raise HarnessError(CONDITIONAL)
        return {"class_labels": torch.full_like(index, self.null_label or 0) if labels is None else labels}

    @staticmethod
    def x0(schedule: Schedule, x_t: Tensor, index: Tensor, noise: Tensor) -> Tensor:
        """The clipped prediction of x_0 in [-1, 1] at an index of `schedule`."""
        abar = schedule.alpha_bar
        of_xt, of_noise = at((1 / abar) ** 0.5, index, x_t), at((1 / abar - 1) ** 0.5, index, x_t)
        return (of_xt * x_t - of_noise * noise).clamp(-1, 1)
