"""Progress of a row's attacks on a batch: the columns of its sample table, updated as images fall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.evaluation.attacked.judging import JUDGES
from harness.suites.bases.adversarial.verdicts import Verdict
from harness.types import Columns

ROBUST, WRONG = -1, -2
"""Values of the column `fallen` for images that no attack has changed, and for clean errors, which count as lost."""

NOWHERE = -1.0
"""Distance of an image for which no adversarial one is known."""


@dataclass
class Progress:
    """Results so far for the images (B,) of one row; what `columns` gives is all that a resumed run needs.

    prediction: (B,) int64, of the clean image under the evaluation's own noise.
    fallen: (B,) int16, number of the first attack that succeeded, or `ROBUST` or `WRONG`.
    attacks: (B,) int16, attacks that have looked at the image, or were spared it.
    adversarial: (B,) int64, prediction for the strongest image found; loss: (B,) float32, its cross-entropy.
    distance: (B,) float32, smallest norm of a perturbation that changes the answer, also of one beyond eps; 0 for clean
        errors, `NOWHERE` where none is known.
    right: (B, M + 1) uint8, draws of unseen noise with the right answer, of `JUDGES`: for the clean image, and for the
        strongest after each of M attacks. chosen: (B,) uint8, the same of the draws that choose. None in known noise.
    image: (B, 3, H, W), the strongest; None unless the run keeps images.
    """

    prediction: Tensor
    fallen: Tensor
    attacks: Tensor
    adversarial: Tensor
    loss: Tensor
    distance: Tensor
    right: Tensor | None
    chosen: Tensor | None
    image: Tensor | None

    @classmethod
    def begin(
        cls,
        prediction: Tensor,
        labels: Tensor,
        clean: Verdict,
        chosen: Verdict | None,
        members: int,
        images: Tensor | None,
    ) -> Progress:
        """The state before the first of so many attacks.

        clean: verdict on the clean images. chosen: that of the draws that choose; None in known noise.
        """
        lost = prediction != labels if chosen is None else chosen.right == 0
        repeated = clean.right[:, None].repeat(1, members + 1).to(torch.uint8)
        return cls(
            prediction=prediction,
            fallen=torch.where(lost, WRONG, ROBUST).to(torch.int16),
            attacks=torch.zeros(len(labels), dtype=torch.int16),
            adversarial=clean.prediction.clone(),
            loss=clean.loss.clone(),
            distance=torch.where(lost, 0.0, NOWHERE).float(),
            right=None if chosen is None else repeated,
            chosen=None if chosen is None else chosen.right.to(torch.uint8),
            image=None if images is None else images.clone(),
        )

    def resume(self, columns: Columns | None) -> None:
        """Take over the rows that an interrupted run had begun; rows of zeros in `attacks` were not."""
        if columns is None:
            return
        begun = columns["attacks"] > 0
        for name, values in self._tensors().items():
            stored = columns[name].reshape(values.shape).to(values.dtype)
            values[begun] = stored[begun]

    def survivors(self, member: int) -> Tensor:
        """Places (R,) of the images that an attack of this number has yet to look at."""
        standing = self.fallen == ROBUST if self.chosen is None else self.chosen > 0
        return (standing & (self.attacks == member)).nonzero()[:, 0]

    def spare(self, member: int) -> None:
        """Images that need no further attack have passed the one of this number."""
        self.attacks.clamp_(min=member + 1)

    def add(
        self,
        member: int,
        rows: Tensor,
        images: Tensor,
        distances: Tensor,
        allowed: Tensor,
        verdict: Verdict,
        choice: Verdict | None,
    ) -> None:
        """Results (R,) of an attack for images in these places. allowed: within the threat model.

        choice: verdict of the draws that choose; None in known noise.
        """
        wrong = verdict.right == 0 if choice is None else choice.right <= JUDGES // 2
        before = self.distance[rows].double()
        closer = wrong & ((before == NOWHERE) | (distances < before))
        self.distance[rows[closer]] = distances[closer].float()
        falls = wrong & allowed & (self.fallen[rows] == ROBUST)
        self.fallen[rows[falls]] = member
        stronger = allowed & (falls | (verdict.loss > self.loss[rows]))
        if choice is not None and self.chosen is not None and self.right is not None:
            stronger = allowed & (choice.right < self.chosen[rows])
            self.chosen[rows[stronger]] = choice.right[stronger].to(torch.uint8)
            self.right[rows[stronger], member + 1 :] = verdict.right[stronger, None].to(torch.uint8)
        kept = rows[stronger]
        self.adversarial[kept] = verdict.prediction[stronger]
        self.loss[kept] = verdict.loss[stronger]
        if self.image is not None:
            self.image[kept] = images[stronger]
        self.attacks[rows] = member + 1

    def done(self, members: int) -> float:
        """Share of the attacks that are behind the images, in [0, 1]."""
        return float(self.attacks.double().mean() / members)

    def columns(self) -> Columns:
        """The columns of the sample table; images flattened, (B, 3 H W)."""
        return {name: (values.flatten(1) if name == "image" else values) for name, values in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in values.items() if value is not None}


COLUMNS: Sequence[str] = tuple(name for name in Progress.__dataclass_fields__ if name not in ("prediction", "image"))
"""Columns of the sample table beside the clean prediction."""
