"""Gradients of classifiers through the denoiser (Sastry et al., NeurIPS 2024, Figure 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.plugins import figure
from harness.report.figures.style import COLUMN, wrapped
from harness.types import HarnessError
from harness.types.figures import Drawing, FigureSources

if TYPE_CHECKING:
    from torch import Tensor


@figure(
    "pag",
    paper="Sastry et al., NeurIPS 2024, Figure 3",
    denoiser="digits",
    classifiers=("digits/vit", "digits/vit+diffaug"),
)
@dataclass(frozen=True)
class PerceptuallyAlignedGradients:
    """The gradient of log p(y | x0_hat) by x_t, through the denoiser, of classifiers side by side.

    images: test ids of `dataset`, or files. labels: the class y of each; for files the number of a classifier's output.
    percentile: of the magnitudes of an image's gradient, beyond which its contrast is clipped; zero is mid grey.
    width: in inches.
    """

    images: tuple[str, ...] = ("digits-0043", "digits-0372", "digits-0096")
    labels: tuple[int, ...] = ()
    time: int = 300
    percentile: float = 99.0
    dataset: str = "digits"
    width: float = COLUMN

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise HarnessError(f"pag: percentile={self.percentile:g} must lie in (0, 100].")

    def __call__(self, sources: FigureSources) -> Drawing:
        import numpy as np
        import torch

        from harness.report.figures.grids import picture_grid, signed

        batch, denoiser = sources.images(self.images, self.dataset), sources.denoiser()
        denoiser.check_times((self.time,))
        t = torch.full((len(batch),), self.time)
        x_t = denoiser.diffuse(batch.images, t, sources.noise(batch.images.shape[1:], "denoise", batch.ids, self.time))
        pictures, below, rows = [batch.images.numpy(), (x_t.numpy() + 1) / 2], [[""] * len(batch)] * 2, []
        for name in sources.track(sources.classifiers, "gradients"):
            labels, log_p, gradient = self._gradient(sources, name, denoiser, x_t, t)
            contrast, limits = signed(gradient.numpy(), self.percentile)
            pictures.append(contrast)
            below.append([f"p({y}) = {p:.2f}" for y, p in zip(labels.tolist(), log_p.exp().tolist(), strict=True)])
            columns = (labels, log_p.exp(), gradient.flatten(1).norm(dim=1), limits)
            rows += [
                (image, sources.seed, self.time, name, *row)
                for image, *row in zip(batch.ids, *(column.tolist() for column in columns), strict=True)
            ]
        drawn = picture_grid(
            np.stack(pictures, 1),
            ["$x_0$", f"$x_t$, t = {self.time}", *map(wrapped, sources.classifiers)],
            below=list(zip(*below, strict=True)),
            width=self.width,
        )
        header = ("image", "seed", "time", "classifier", "class", "probability", "gradient_norm", "clipped_at")
        return Drawing(drawn, header, rows, self._caption(sources))

    def _gradient(
        self, sources: FigureSources, name: str, denoiser: Any, x_t: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The classes y (B,), log p(y | x0_hat) (B,), and its gradient by x_t (B, 3, H, W)."""
        from harness.api.figures.classes import classes_of
        from harness.diffusion.log_probability import log_probability_by_odds

        batch = sources.images(self.images, self.dataset)
        of_dataset = bool((batch.labels >= 0).all())
        classifier = sources.classifier(name, sources.dataset(self.dataset) if of_dataset else None)
        labels = classes_of(batch, self.labels, classifier(batch.images).shape[1])

        def log_p(x: Tensor, times: Tensor, classes: Tensor) -> Tensor:
            return log_probability_by_odds(classifier.network(denoiser.predict_x0(x, times)), classes)

        return labels, *sources.tiles.gradient(log_p, x_t, t, labels)

    def _caption(self, sources: FigureSources) -> str:
        return (
            f"Images x_0, their diffusions x_t at t = {self.time} (mapped to [0, 1] and clipped), and the gradient by "
            "x_t of log p(y | x0_hat), the classifier's log-probability of the image's class y on the one-step "
            "denoised image; it passes through the denoiser. Zero is mid grey; per image, the contrast is clipped at "
            f"percentile {self.percentile:g} of the magnitudes. Below: p(y | x0_hat). Images: "
            f"{', '.join(self.images)}. Seed of the noise: {sources.seed}. Diffusion model: {sources.diffusion}."
        )
