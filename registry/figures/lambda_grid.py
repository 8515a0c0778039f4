"""Class-conditional DiffAug by lambda (Sastry et al., NeurIPS 2024, Figure 14)."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plugins import figure
from harness.report.figures.style import COLUMN
from harness.types import HarnessError
from harness.types.figures import Drawing, FigureSources


@figure("lambda-grid", paper="Sastry et al., NeurIPS 2024, Figure 14", denoiser="digits-conditional")
@dataclass(frozen=True)
class LambdaGrid:
    """One-step denoisings with the noise (1 - lambda) eps(x_t, t) + lambda eps(x_t, t, y), by lambda.

    images: test ids of `dataset`, or files. labels: the class y of each, for files. unconditional: another denoiser
    for eps(x_t, t); without, it is that of --denoiser, with its label for none. width: in inches.
    """

    images: tuple[str, ...] = ("digits-0043", "digits-0372", "digits-0096")
    labels: tuple[int, ...] = ()
    time: int = 600
    lambdas: tuple[float, ...] = (0, 0.25, 0.5, 0.75, 1)
    unconditional: str = ""
    dataset: str = "digits"
    width: float = COLUMN

    def __call__(self, sources: FigureSources) -> Drawing:
        import torch

        from harness.api.figures.classes import classes_of
        from harness.report.figures.grids import picture_grid
        from harness.train.objectives.reverse import Reverse

        data = sources.dataset(self.dataset)
        conditional = sources.denoiser(data=data)
        denoiser = sources.denoiser(self.unconditional) if self.unconditional else conditional
        if not conditional.conditional:
            raise HarnessError(f"lambda-grid: {sources.diffusion} takes no class. Name another with --denoiser.")
        if not denoiser.unconditional:
            raise HarnessError(
                f"lambda-grid: {self.unconditional or sources.diffusion} always needs the class. Name a denoiser that "
                "needs none with unconditional=NAME."
            )
        denoiser.check_times((self.time,))
        batch = sources.images(self.images, self.dataset)
        labels = classes_of(batch, self.labels, data.num_classes)
        t = torch.full((len(batch),), self.time)
        eps = sources.noise(batch.images.shape[1:], "denoise", batch.ids, self.time)
        pictures, rows = [batch.images, (denoiser.diffuse(batch.images, t, eps) + 1) / 2], []
        for value in sources.track(self.lambdas, "denoise"):
            reverse = Reverse(denoiser, conditional=conditional, weight=value)
            pictures.append(sources.tiles(reverse, batch.images, t, eps, labels))
            errors = (pictures[-1] - batch.images).square().mean((1, 2, 3)).sqrt()
            columns = zip(batch.ids, labels.tolist(), errors.tolist(), strict=True)
            rows += [(name, label, sources.seed, self.time, value, error) for name, label, error in columns]
        drawn = picture_grid(
            torch.stack(pictures, 1).numpy(),
            ["$x_0$", "$x_t$", *(f"{value:g}" for value in self.lambdas)],
            title="λ of the class",
            width=self.width,
        )
        without = self.unconditional or "the same with its label for none"
        caption = (
            f"Images x_0, their diffusions x_t at t = {self.time} (mapped to [0, 1] and clipped), and one-step "
            "denoisings with the noise (1 - lambda) eps(x_t, t) + lambda eps(x_t, t, y), y the image's class. "
            f"Images: {', '.join(batch.ids)}; classes {', '.join(map(str, labels.tolist()))}. Seed of the noise: "
            f"{sources.seed}. Diffusion models: eps(x_t, t, y) of {sources.diffusion}, eps(x_t, t) of {without}. "
            "Numbers: root mean squared error, on the scale of [0, 1]."
        )
        return Drawing(drawn, ("image", "class", "seed", "time", "lambda", "rmse"), rows, caption)
