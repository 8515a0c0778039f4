"""The samples of each pass of each process: a function of the pass's number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.base import noise
from harness.types import HarnessError


@dataclass(frozen=True)
class Plan:
    """Assigns samples to each pass of each process. An epoch's order is a function of (seed, name, epoch).

    images: of the data set `name`. batch_size: of a whole step, in all processes and accumulated passes.
    repeats: draws of a sample in one batch, of which an epoch then sees a share (Hoffer et al., CVPR 2020).
    max_steps: steps after which the run stops, over which the schedule then spans; 0: those of all epochs.
    extra, fraction: further images, which stand behind the others, and the share of every batch that is drawn from
        them, with replacement (Carmon et al., NeurIPS 2019; Wang et al., ICML 2023); the batch is shuffled, so that
        every process has its share. An epoch is then ceil(images / batch_size) steps, whatever the extra images are.
    passes: forward and backward passes per step; rank, world: which of how many processes this is.
    """

    images: int
    name: str
    seed: int
    batch_size: int
    epochs: int
    repeats: int = 1
    passes: int = 1
    rank: int = 0
    world: int = 1
    max_steps: int = 0
    extra: int = 0
    fraction: float = 0.0

    def __post_init__(self) -> None:
        if self.batch_size > self.images:
            raise HarnessError(
                f"--batch-size {self.batch_size} is larger than what there is to train on ({self.images} images). "
                "Lower it."
            )
        if self.repeats > self.batch_size:
            raise HarnessError(f"--repeats {self.repeats} is more than --batch-size {self.batch_size} holds.")
        if self.batch_size % (self.passes * self.world):
            raise HarnessError(
                f"--batch-size {self.batch_size} cannot be split evenly over {self.world} process(es) with "
                f"--accumulate {self.passes}. Give a multiple of {self.passes * self.world}."
            )

    @property
    def per_epoch(self) -> int:
        """Steps per epoch."""
        return -(-self.images // self.batch_size) if self.extra else self.images // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of the run."""
        whole = self.per_epoch * self.epochs
        return min(self.max_steps, whole) if self.max_steps else whole

    def epoch_of(self, step: int) -> float:
        """The fractional epoch at which the schedule stands before a step."""
        if self.steps == self.per_epoch * self.epochs:
            return step / self.per_epoch
        return step / self.steps * self.epochs

    def ends_epoch(self, step: int) -> bool:
        """True for the last step of an epoch, and of the run."""
        return (step + 1) % self.per_epoch == 0 or step + 1 == self.steps

    def samples(self, number: int) -> tuple[int, int, Sequence[tuple[int, int]]]:
        """Epoch, first place in the epoch's order, and (index, repetition) of each sample of this process's pass."""
        step, turn = divmod(number, self.passes)
        epoch, position = divmod(step, self.per_epoch)
        size = self.batch_size // (self.passes * self.world)
        first = position * self.batch_size + (turn * self.world + self.rank) * size
        places = range(first - position * self.batch_size, first - position * self.batch_size + size)
        if self.extra:
            batch = self._mixture(epoch, position)
            return epoch, first, [batch[p] for p in places]
        order = _order(self.seed, self.name, epoch, self.images)
        # The draws of a sample stand far apart: mixup mixes neighbours, and processes share out a batch in pieces.
        different = -(-self.batch_size // self.repeats)
        return epoch, first, [(int(order[position * different + p % different]), p // different) for p in places]

    def _mixture(self, epoch: int, position: int) -> list[tuple[int, int]]:
        """The whole batch of a step of an epoch: its share of extra images among those of the data set.

        Repetitions tell the draws of one image in an epoch apart.
        """
        extra = int(self.batch_size * self.fraction)
        own = self.batch_size - extra
        order = _order(self.seed, self.name, epoch, self.images)
        turns = [divmod(position * own + k, self.images) for k in range(own)]
        step = epoch * self.per_epoch + position
        drawn = noise.generator(self.seed, "extra", self.name, step).integers(self.extra, size=extra)
        batch = [(int(order[place]), turn) for turn, place in turns]
        batch += [(self.images + int(k), position * extra + number) for number, k in enumerate(drawn)]
        return [batch[k] for k in noise.generator(self.seed, "mixture", self.name, step).permutation(len(batch))]


@lru_cache(maxsize=4)
def _order(seed: int, name: str, epoch: int, images: int) -> np.ndarray:
    return noise.generator(seed, "order", name, epoch).permutation(images)
