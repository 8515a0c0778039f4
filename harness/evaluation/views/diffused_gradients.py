"""Gradients of a classifier's log p(y) at diffused images, by the way that they take. Images are in [-1, 1] here.

A plain classifier looks at x_t as a clipped image, or at the denoised image x0_hat; `total` is the second one through
the denoiser. A classifier that knows the time is one function f(x_t, x0_hat, t): `raw` and `partial` are its
derivatives by either argument, and `total` is that of f(x_t, x0_hat(x_t), t), as a guide with a DA classifier takes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from harness.diffusion.log_probability import log_probability_by_odds
from harness.models.tiles import TiledClassifier
from harness.types import DiffusedViews, NoisyClassifier, times_for

KINDS = ("raw", "partial", "total")
"""By x_t alone, by the denoised image alone, and by x_t through the denoiser."""


@dataclass(frozen=True, eq=False)
class DiffusedGradients:
    """Gradients (B, 3, H, W) float32 of one classifier's log p(label) at the images of a batch.

    views: the diffused batch. labels: (B,) int64 in [0, K).
    """

    classifier: TiledClassifier
    views: DiffusedViews
    labels: Tensor

    def of(self, kind: str) -> Tensor | None:
        """The gradients of one of `KINDS`; None for `partial` of a classifier that takes no denoised image."""
        if kind == "raw":
            return self._raw()
        partial = self._partial()
        if kind == "partial":
            return partial
        if partial is None:
            return self._raw()
        through = self.views.pulled_back(partial, self.classifier.gradient_tiles)
        return self._raw() + through if self._is_noisy else through

    @property
    def _is_noisy(self) -> bool:
        return isinstance(self.classifier.network, NoisyClassifier)

    def _raw(self) -> Tensor:
        views, network = self.views, self.classifier.network
        if not isinstance(network, NoisyClassifier):
            return self._gradient(
                lambda x, y: log_probability_by_odds(network(((x + 1) / 2).clamp(0, 1)), y), views.noisy, self.labels
            )
        times = times_for(network, views)
        if not network.denoised:
            return self._gradient(
                lambda x, t, y: log_probability_by_odds(network.noisy(x, None, t), y), views.noisy, times, self.labels
            )
        return self._gradient(
            lambda x, x0, t, y: log_probability_by_odds(network.noisy(x, x0, t), y),
            views.noisy, views.restored(), times, self.labels,
        )  # fmt: skip

    def _partial(self) -> Tensor | None:
        views, network = self.views, self.classifier.network
        x0 = views.restored() * 2 - 1
        if not isinstance(network, NoisyClassifier):
            return self._gradient(lambda x, y: log_probability_by_odds(network((x + 1) / 2), y), x0, self.labels)
        if not network.denoised:
            return None
        return self._gradient(
            lambda x, x_t, t, y: log_probability_by_odds(network.noisy(x_t, (x + 1) / 2, t), y),
            x0, views.noisy, times_for(network, views), self.labels,
        )  # fmt: skip

    def _gradient(self, value: object, images: Tensor, *rows: Tensor) -> Tensor:
        return self.classifier.gradient_tiles.gradient(value, images, *rows)[1]  # type: ignore[arg-type]
