"""Two samplers' one-step denoisings beside each other (Sastry et al., NeurIPS 2024, Figure 9)."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plugins import figure
from harness.report.figures.style import COLUMN
from harness.types.figures import Drawing, FigureSources

NAMES = {"ddim": "DDIM", "dpm2": "DPM-Solver-2"}
"""Headings of samplers, by their name in `harness.train.objectives.reverse`."""


@figure("samplers", paper="Sastry et al., NeurIPS 2024, Figure 9", denoiser="digits")
@dataclass(frozen=True)
class Samplers:
    """One reverse step from x_t to an image, by DDIM and by DPM-Solver-2.

    images: test ids of `dataset`, or files. time: diffusion time. width: in inches.
    """

    images: tuple[str, ...] = ("digits-0043", "digits-0372", "digits-0096", "digits-0633", "digits-0316", "digits-0919")
    time: int = 500
    dataset: str = "digits"
    width: float = COLUMN

    def __call__(self, sources: FigureSources) -> Drawing:
        import numpy as np
        import torch

        from harness.report.figures.grids import picture_grid
        from harness.train.objectives.reverse import Reverse

        batch, denoiser = sources.images(self.images, self.dataset), sources.denoiser()
        denoiser.check_times((self.time,))
        t = torch.full((len(batch),), self.time)
        eps = sources.noise(batch.images.shape[1:], "denoise", batch.ids, self.time)
        pictures = [batch.images, (denoiser.diffuse(batch.images, t, eps) + 1) / 2]
        rows = []
        for sampler in sources.track(list(NAMES), "denoise"):
            x0_hat = sources.tiles(Reverse(denoiser, sampler), batch.images, t, eps, batch.labels)
            errors = (x0_hat - batch.images).square().mean((1, 2, 3)).sqrt()
            rows += [
                (name, sources.seed, self.time, sampler, error)
                for name, error in zip(batch.ids, errors.tolist(), strict=True)
            ]
            pictures.append(x0_hat)
        drawn = picture_grid(
            np.stack([rows.numpy() for rows in pictures]),
            [""] * len(batch),
            ["$x_0$", f"$x_t$, t = {self.time}", *NAMES.values()],
            width=self.width,
        )
        caption = (
            f"Images x_0, their diffusions x_t at t = {self.time} (mapped to [0, 1] and clipped), and one reverse step "
            "to an image by DDIM (one network call) and by DPM-Solver-2 (two calls), made for shorter steps. "
            f"Images: {', '.join(batch.ids)}. Seed of the noise: {sources.seed}. Diffusion model: {sources.diffusion}. "
            "Numbers: root mean squared error, on the scale of [0, 1]."
        )
        return Drawing(drawn, ("image", "seed", "time", "sampler", "rmse"), rows, caption)
