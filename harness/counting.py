"""Counting votes under noise: what is known of the images of a batch, and which draws they still want."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.types import Columns


@dataclass
class Count:
    """The votes for the images of a batch so far.

    selection, estimation: (B, K) int64. settled: (B,) bool. claimed: (B,) int64, see `Sequential.decide`.
    """

    selection: Tensor
    estimation: Tensor
    settled: Tensor
    claimed: Tensor

    @classmethod
    def of(cls, known: Columns | None, images: int, classes: int) -> Count:
        """The counts that an interrupted run had kept, or none."""
        known = known or {}
        blank = torch.zeros(images, classes, dtype=torch.int64)
        return cls(
            selection=known.get("selection", blank).long().clone(),
            estimation=known.get("estimation", blank).long().clone(),
            settled=known.get("settled", blank[:, 0]).bool().clone(),
            claimed=known.get("claimed", blank[:, 0]).long().clone(),
        )

    def drawn(self) -> Tensor:
        """Noise draws so far, (B,)."""
        return self.selection.sum(1) + self.estimation.sum(1)

    def going(self, draws: range) -> Tensor:
        """(B,) bool: which images want these draws next."""
        return ~self.settled & (self.drawn() == draws.start)

    def fits(self, stops: Sequence[int]) -> bool:
        """Whether every image is settled, or stands at one of these numbers of draws."""
        return bool((self.settled | torch.isin(self.drawn(), torch.tensor(stops))).all())

    def add(self, rows: Tensor, votes: Tensor, *, selecting: bool) -> None:
        """Count votes (R, K) for images `rows`."""
        (self.selection if selecting else self.estimation).index_add_(0, rows, votes)

    def progress(self, draws: int) -> float:
        """The share of the work that lies behind."""
        return float(torch.where(self.settled, draws, self.drawn()).double().mean() / draws)
