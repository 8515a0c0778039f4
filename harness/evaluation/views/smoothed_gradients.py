"""Gradients through a smoother of randomized smoothing: from the classifier's logits back to the noisy image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from harness.diffusion.denoiser import Denoiser
from harness.evaluation.views.batch import view_noise
from harness.evaluation.views.gradients import log_probabilities, recomputed
from harness.models.tiles import TiledClassifier
from harness.types import HarnessError, Smoother

SMOOTHING = "image"
"""Purpose of the noise whose standard deviation is sigma; all other noise is the smoother's own."""


@dataclass(frozen=True, eq=False)
class SmootherClassifier:
    """The classifier behind the noise of randomized smoothing (see `harness.types.GradientClassifier`).

    It takes noisy images, x + sigma eps, and shows the classifier what the smoother makes of them. The smoother's own
    noise of the image is zero here: an attack on smoothed classifiers adds its own. Noise of other purposes, as that of
    reverse samples, is one fixed draw per sample, which neither certification nor votes see. A smoother of several
    votes answers with the mean probability over these.

    All calls are in float32, in the tiles of gradients.

    sigma: the level that the smoother is told. ids: samples of the images, one each, which key its own noise.
    """

    smoother: Smoother
    classifier: TiledClassifier
    denoiser: Denoiser | None
    sigma: float
    seed: int
    ids: Sequence[str]

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, K) of noisy images, on the CPU."""
        self._check(images)
        return self.classifier.gradient_tiles(self._logits, images, torch.arange(len(images)))

    def gradient(self, images: Tensor, loss: Callable[..., Tensor], *rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B,) of a loss and its gradients (B, 3, H, W) by the noisy images, through the smoother."""
        self._check(images)

        def value(x: Tensor, row: Tensor, *others: Tensor) -> Tensor:
            return loss(self._logits(x, row), *others)

        return self.classifier.gradient_tiles.gradient(value, images, torch.arange(len(images)), *rows)

    def drawn(self, draw: int) -> SmootherClassifier:
        """The classifier itself: an attack draws the noise of the image, and the smoother's own is fixed."""
        return self

    def of(self, rows: Sequence[int]) -> SmootherClassifier:
        """The same for some of the images: those in these places."""
        return replace(self, ids=[self.ids[row] for row in rows])

    def straight_through(self) -> SmootherClassifier:
        """The classifier itself: it is differentiated as it is."""
        return self

    @property
    def undefended(self) -> TiledClassifier:
        """The classifier without the smoother."""
        return self.classifier

    def _logits(self, images: Tensor, row: Tensor) -> Tensor:
        """Logits (b, K) of a tile of noisy images. row: (b,) their places in `ids`."""
        ids = [self.ids[k] for k in row.tolist()]
        asked = set()

        def noise(purpose: str) -> Tensor:
            asked.add(purpose)
            if purpose == SMOOTHING:
                return torch.zeros_like(images)
            purpose = f"attack/smooth/{self.sigma:g}/{purpose}"
            eps = view_noise(images.shape[1:], seed=self.seed, purpose=purpose, ids=ids, step=0)
            return eps.to(images.device)

        def vote(x: Tensor, number: int) -> Tensor:
            shown = self.smoother(x, self.sigma, self.denoiser, noise, number)
            logits: Tensor = self.classifier.network(shown)
            return logits

        if (votes := self.smoother.votes) == 1:
            logits = vote(images, 0)
        else:
            answers = [recomputed(partial(vote, number=number), images) for number in range(votes)]
            logits = log_probabilities(torch.stack(answers).softmax(-1).mean(0))
        if SMOOTHING not in asked:
            raise HarnessError(
                f"The smoother {type(self.smoother).__name__} asks for noise of the purposes "
                f"{', '.join(sorted(asked)) or 'none'}. Attacks on certificates put theirs in the place of "
                f"{SMOOTHING!r}: let that be the purpose of the noise whose standard deviation is sigma."
            )
        return logits

    def _check(self, images: Tensor) -> None:
        if len(images) != len(self.ids):
            raise ValueError(f"{len(images)} images for {len(self.ids)} samples: noise belongs to a sample")
