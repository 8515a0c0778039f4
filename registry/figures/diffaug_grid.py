"""Images, diffused and denoised in one step, by diffusion time (Sastry et al., NeurIPS 2024, Figure 1)."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plugins import figure
from harness.report.figures.style import COLUMN
from harness.types.figures import Drawing, FigureSources


@figure("diffaug-grid", paper="Sastry et al., NeurIPS 2024, Figure 1", denoiser="digits")
@dataclass(frozen=True)
class DiffAugGrid:
    """Images x_0, their diffusions x_t and one-step denoisings x0_hat, by diffusion time.

    images: test ids of `dataset`, or files. seeds: of the noise, a pair of rows each; by default --seed. The noise is
    that of one-step denoisings in evaluations. width: in inches.
    """

    images: tuple[str, ...] = ("digits-0043", "digits-0372")
    times: tuple[int, ...] = tuple(range(350, 701, 50))
    seeds: tuple[int, ...] = ()
    dataset: str = "digits"
    width: float = COLUMN

    def __call__(self, sources: FigureSources) -> Drawing:
        import numpy as np
        import torch

        from harness.evaluation.views.batch import view_noise
        from harness.report.figures.grids import picture_grid

        batch, denoiser = sources.images(self.images, self.dataset), sources.denoiser()
        denoiser.check_times(self.times)
        seeds, shape = self.seeds or (sources.seed,), batch.images.shape[1:]
        pictures = np.full((len(batch), len(seeds), 2, 1 + len(self.times), *shape), np.nan)
        pictures[:, :, 0, 0] = batch.images[:, None]
        rows = []
        for column, time in enumerate(sources.track(self.times, "denoise"), 1):
            t = torch.full((len(batch),), time)
            for k, seed in enumerate(seeds):
                eps = view_noise(shape, seed=seed, purpose="denoise", ids=batch.ids, step=time)
                x_t = denoiser.diffuse(batch.images, t, eps)
                x0_hat = sources.tiles(denoiser.predict_x0, x_t, t)
                pictures[:, k, 0, column], pictures[:, k, 1, column] = (x_t + 1) / 2, x0_hat
                errors = (x0_hat - batch.images).square().mean((1, 2, 3)).sqrt()
                rows += [(name, seed, time, error) for name, error in zip(batch.ids, errors.tolist(), strict=True)]
        drawn = picture_grid(
            pictures.reshape(-1, 1 + len(self.times), *shape),
            ["$x_0$", *map(str, self.times)],
            ["$x_t$", r"$\hat{x}_0$"] * len(batch) * len(seeds),
            title="diffusion time t",
            width=self.width,
        )
        caption = (
            "Images x_0, their diffusions x_t (mapped to [0, 1] and clipped) and one-step denoisings x0_hat, by "
            f"diffusion time t. Images: {', '.join(batch.ids)}. Seeds of the noise: {', '.join(map(str, seeds))}. "
            f"Diffusion model: {sources.diffusion}. Numbers: root mean squared error of x0_hat, on the scale of [0, 1]."
        )
        return Drawing(drawn, ("image", "seed", "time", "rmse"), rows, caption)
