"""Votes under noise: rounds of draws, and the votes that each image of a batch has so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from harness.models.tiles import finite
from harness.types import Columns, Pair, Smoother, SuiteViews


@dataclass
class VoteCounts:
    """Votes of one classifier for the images of a batch.

    selection: (B, K) int64, votes of the draws that select a class.
    estimation: (B, K) int64, votes of the draws that estimate its probability.
    settled: (B,) bool, images that need no further draw. claimed: (B,) int64, see `Sequential.decide`.
    """

    selection: Tensor
    estimation: Tensor
    settled: Tensor
    claimed: Tensor

    @classmethod
    def resume(cls, columns: Columns | None, images: int, classes: int) -> VoteCounts:
        """The counts that an interrupted run stored in these columns; zeros for None."""
        columns = columns or {}
        zeros = torch.zeros(images, classes, dtype=torch.int64)
        return cls(
            selection=columns.get("selection", zeros).long().clone(),
            estimation=columns.get("estimation", zeros).long().clone(),
            settled=columns.get("settled", zeros[:, 0]).bool().clone(),
            claimed=columns.get("claimed", zeros[:, 0]).long().clone(),
        )

    def drawn(self) -> Tensor:
        """Number of noise draws so far, (B,)."""
        return self.selection.sum(1) + self.estimation.sum(1)

    def waiting_for(self, draws: range) -> Tensor:
        """(B,) bool: images that are not settled and whose next draws are these."""
        return ~self.settled & (self.drawn() == draws.start)

    def stand_between(self, rounds: Sequence[range]) -> bool:
        """True if every image is settled or stands between two rounds."""
        stops = torch.tensor([0, *(draws.stop for draws in rounds)])
        return bool((self.settled | torch.isin(self.drawn(), stops)).all())

    def add(self, images: Tensor, votes: Tensor, *, selecting: bool) -> None:
        """Count votes (R, K) for the images at these positions (R,)."""
        (self.selection if selecting else self.estimation).index_add_(0, images, votes)

    def progress(self, draws: int) -> float:
        """Share of the work that is done, in [0, 1], if an unsettled image takes `draws` in all."""
        return float(torch.where(self.settled, draws, self.drawn()).double().mean() / draws)


@dataclass(frozen=True, eq=False)
class VoteRound:
    """Noise draws of some images, shown by one smoother to every classifier that still wants them.

    draws: numbers of the draws. images: (R,) positions in the batch.
    voters: indices of the pairs that share the smoother and want the draws of some image.
    wanted: (V, R) bool, the images whose draws each voter wants.
    """

    draws: range
    images: Tensor
    voters: Sequence[int]
    wanted: Tensor

    def cast(self, views: SuiteViews, sigma: float, pairs: Sequence[Pair], classes: int) -> list[Tensor]:
        """Votes (R, K) of each voter's classifier; a draw's vote is the most frequent class of the smoother's images.

        sigma: standard deviation of the noise. pairs: all pairs, which `voters` index. classes: K.
        """
        voters = [pairs[k] for k in self.voters]
        smoother: Smoother = voters[0].method
        image = self.images.repeat_interleave(len(self.draws))
        draw = torch.tensor(self.draws).repeat(len(self.images))
        answers: list[list[Tensor]] = [[] for _ in voters]
        for vote in range(smoother.votes):
            noisy = views.smoothed(smoother, sigma, image, draw, vote)
            for pair, classes_of_pair in zip(voters, answers, strict=True):
                logits = finite(pair.classifier(noisy), f"{pair.model} with {pair.method_name}")
                classes_of_pair.append(logits.argmax(1))
        winners = [one_hot(torch.stack(answer), classes).sum(0).argmax(1) for answer in answers]
        shape = len(self.images), len(self.draws)
        return [one_hot(winner.reshape(shape), classes).sum(1) for winner in winners]


def vote_rounds(
    pairs: Sequence[Pair],
    counts: Sequence[VoteCounts],
    rounds: Sequence[range],
    abreast: Callable[[Smoother], int],
) -> Iterator[VoteRound]:
    """The rounds that images still want, smoother by smoother; the caller adds each one's votes before the next.

    counts: one per pair. rounds: draws of all rounds, in order. abreast: images that take a round side by side.
    """
    for draws in rounds:
        for method in dict.fromkeys(pair.method_name for pair in pairs):
            waiting = {k: counts[k].waiting_for(draws) for k, pair in enumerate(pairs) if pair.method_name == method}
            voters = [k for k, images in waiting.items() if images.any()]
            if not voters:
                continue
            wanted = torch.stack([waiting[k] for k in voters])
            images_wanted = wanted.any(0).nonzero()[:, 0]
            for images in images_wanted.split(abreast(pairs[voters[0]].method)):
                yield VoteRound(draws, images, voters, wanted[:, images])
