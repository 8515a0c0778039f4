"""Class-conditional DiffAug by the weight of the class (Sastry et al., NeurIPS 2024, Figure 14)."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plugins import figure
from harness.report.figures.style import COLUMN
from harness.types import HarnessError
from harness.types.figures import Drawing, FigureSources


@figure("lambda-grid", paper="Sastry et al., NeurIPS 2024, Figure 14", denoiser="digits")
@dataclass(frozen=True)
class LambdaGrid:
    """One-step denoisings with the noise (1 - lambda) eps(x_t, t) + lambda eps(x_t, t, y), by lambda.

    images: test ids of `dataset`, or files. labels: the class y of each, for files. conditional: the class-conditional
    denoiser; --denoiser names the unconditional one. width: in inches.
    """

    images: tuple[str, ...] = ("digits-0043", "digits-0372", "digits-0096")
    labels: tuple[int, ...] = ()
    time: int = 600
    lambdas: tuple[float, ...] = (0, 0.25, 0.5, 0.75, 1)
    conditional: str = "digits-conditional"
    dataset: str = "digits"
    width: float = COLUMN

    def __call__(self, sources: FigureSources) -> Drawing:
        import torch

        from harness.api.figures.classes import classes_of
        from harness.report.figures.grids import picture_grid
        from harness.train.objectives.reverse import Reverse

        denoiser, conditional = sources.denoiser(), sources.denoiser(self.conditional)
        if not conditional.conditional:
            raise HarnessError(f"lambda-grid: {self.conditional} takes no class. Name another with conditional=NAME.")
        denoiser.check_times((self.time,))
        batch = sources.images(self.images, self.dataset)
        labels = classes_of(batch, self.labels, sources.dataset(self.dataset).num_classes)
        t = torch.full((len(batch),), self.time)
        eps = sources.noise(batch.images.shape[1:], "denoise", batch.ids, self.time)
        pictures, rows = [batch.images, (denoiser.diffuse(batch.images, t, eps) + 1) / 2], []
        for weight in sources.track(self.lambdas, "denoise"):
            reverse = Reverse(denoiser, conditional=conditional, weight=weight)
            pictures.append(sources.tiles(reverse, batch.images, t, eps, labels))
            errors = (pictures[-1] - batch.images).square().mean((1, 2, 3)).sqrt()
            columns = zip(batch.ids, labels.tolist(), errors.tolist(), strict=True)
            rows += [(name, label, sources.seed, self.time, weight, error) for name, label, error in columns]
        drawn = picture_grid(
            torch.stack(pictures, 1).numpy(),
            ["$x_0$", "$x_t$", *(f"{weight:g}" for weight in self.lambdas)],
            title="weight λ of the class",
            width=self.width,
        )
        caption = (
            f"Images x_0, their diffusions x_t at t = {self.time} (mapped to [0, 1] and clipped), and one-step "
            "denoisings with the noise (1 - lambda) eps(x_t, t) + lambda eps(x_t, t, y), y the image's class. "
            f"Images: {', '.join(batch.ids)}; classes {', '.join(map(str, labels.tolist()))}. Seed of the noise: "
            f"{sources.seed}. Diffusion models: {sources.diffusion}, conditional {self.conditional}. Numbers: root "
            "mean squared error, on the scale of [0, 1]."
        )
        return Drawing(drawn, ("image", "class", "seed", "time", "lambda", "rmse"), rows, caption)
