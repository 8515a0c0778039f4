"""The derivative of the denoiser and how symmetric it is (Sastry et al., NeurIPS 2024, Figure 17, theorem 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.plugins import figure
from harness.report.figures.style import COLUMN
from harness.types import HarnessError
from harness.types.figures import Drawing, FigureSources


@figure("jacobian", paper="Sastry et al., NeurIPS 2024, Figure 17 and theorem 1", denoiser="digits")
@dataclass(frozen=True)
class JacobianFigure:
    """Leading left singular vectors of J = d x0_hat / d x_t, x0_hat unclipped, with their singular values.

    image: a test id of `dataset`, or a file. vectors: number shown. probes, iterations: of the randomized singular
    value decomposition. width: in inches.
    """

    image: str = "digits-0372"
    times: tuple[int, ...] = (300, 600)
    vectors: int = 5
    probes: int = 24
    iterations: int = 2
    dataset: str = "digits"
    width: float = COLUMN

    def __post_init__(self) -> None:
        if not 1 <= self.vectors <= self.probes:
            raise HarnessError(f"jacobian: vectors={self.vectors} must lie between 1 and probes={self.probes}.")
        if self.iterations < 0:
            raise HarnessError(f"jacobian: iterations={self.iterations} must not be negative.")

    def __call__(self, sources: FigureSources) -> Drawing:
        import numpy as np

        from harness.report.figures.grids import picture_grid, signed

        batch, denoiser = sources.images([self.image], self.dataset), sources.denoiser()
        denoiser.check_times(self.times)
        pictures, below, rows, asymmetries = [], [], [], []
        for time in sources.track(self.times, "derivatives"):
            x_t, x0_hat, leading, asymmetry = self._decomposed(sources, denoiser, batch, time)
            # A singular vector has no sign: more white than black.
            u = (leading.u * leading.u.sum(1, keepdim=True).sign())[: self.vectors].reshape(-1, *x_t.shape[1:])
            pictures.append(np.concatenate([(x_t.numpy() + 1) / 2, x0_hat.numpy(), signed(u.numpy())[0]]))
            values = leading.s[: self.vectors].tolist()
            below.append(["", "", *(f"{value:.2f}" for value in values)])
            overlaps = (leading.u * leading.v).sum(1).tolist()
            rows += [
                (self.image, sources.seed, time, k, value, overlap, asymmetry)
                for k, (value, overlap) in enumerate(zip(values, overlaps, strict=False), 1)
            ]
            asymmetries.append(f"{asymmetry:.3f} at t = {time}")
        headings = ["$x_t$", r"$\hat{x}_0$", *(f"$u_{{{k}}}$" for k in range(1, self.vectors + 1))]
        drawn = picture_grid(np.stack(pictures), headings, [f"t = {t}" for t in self.times], below, width=self.width)
        caption = (
            "Left singular vectors u of J = d x0_hat / d x_t (x0_hat unclipped, both in the model's space) with their "
            f"singular values, by randomized SVD ({self.probes} probes, {self.iterations} power iterations). Zero is "
            "mid grey, the sign free. For the optimal denoiser J = sqrt(abar) / (1 - abar) Cov[x_0 | x_t], which is "
            f"symmetric. Asymmetry |J - J^T| / 2 |J|, estimated along the probes: {', '.join(asymmetries)}. Image: "
            f"{self.image}. Seed of noise and probes: {sources.seed}. Diffusion model: {sources.diffusion}."
        )
        header = ("image", "seed", "time", "number", "singular_value", "u_dot_v", "asymmetry")
        return Drawing(drawn, header, rows, caption)

    def _decomposed(self, sources: FigureSources, denoiser: Any, batch: Any, time: int) -> tuple[Any, Any, Any, float]:
        """x_t and x0_hat (1, 3, H, W), the singular vectors of J there, and its asymmetry."""
        import torch

        from harness.base import noise
        from harness.diffusion.analysis import jacobian

        t = torch.tensor([time])
        x_t = denoiser.diffuse(batch.images, t, sources.noise(batch.images.shape[1:], "denoise", batch.ids, time))
        size, samples = batch.images[0].numel(), [*batch.ids] * self.probes
        probes = noise.gaussian(
            (size,), seed=sources.seed, purpose="jacobian", samples=samples, draw=range(self.probes)
        )
        products = jacobian.Jacobian(denoiser, x_t[0], time, sources.tiles)
        leading = jacobian.leading(products, probes, self.iterations)
        return x_t, sources.tiles(denoiser.predict_x0, x_t, t), leading, jacobian.asymmetry(products, probes)
