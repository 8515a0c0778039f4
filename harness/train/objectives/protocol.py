"""The words of training objectives: what the loop asks of an objective, and an objective of its terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from torch import Tensor, nn

from harness.train.step import Step
from harness.types import HarnessError


class Key(TypedDict):
    """Key of training noise."""

    seed: int
    samples: Sequence[str]
    draw: int


class Timer(Protocol):
    """Times what happens in its context, under a name."""

    def __call__(self, name: str, /) -> AbstractContextManager[Any]: ...


def untimed(name: str) -> AbstractContextManager[Any]:
    """No timing."""
    return nullcontext()


class Objective(Protocol):
    """A network and a step to named loss terms, which the loop adds up."""

    def __call__(self, network: nn.Module, step: Step, timer: Timer = untimed, /) -> dict[str, Tensor]: ...


class CurrentNetwork(Protocol):
    """The classifier as it is at this step, in evaluation mode; asking it leaves no trace in the training.

    It is called like a classifier under attack in an evaluation, so attacks take either. Tensors stay on its device.
    """

    def __call__(self, images: Tensor, /) -> Tensor:
        """Logits (n, K) of images (n, 3, H, W) in [0, 1], without a gradient."""

    def gradient(self, images: Tensor, loss: Callable[..., Tensor], *rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values (n,) of ``loss(logits, *rows)`` and their gradients (n, 3, H, W) with respect to the images.

        loss: logits (n, K) and the rows to (n,), one image's from its row alone. rows: what the loss needs beside
            logits, such as labels (n,).
        """

    def drawn(self, draw: int) -> CurrentNetwork:
        """Itself: nothing in it is drawn at random."""

    def in_training(self) -> CurrentNetwork:
        """The same in training mode: batch norm takes the statistics of the images at hand, without tracking them."""


@dataclass(frozen=True)
class TermResponse:
    """The network's answer to one term's images in the joint forward pass.

    logits: (n B, K). hidden: penultimate features (n B, D), computed only where a term asks for them.
    """

    logits: Tensor
    hidden: Tensor | None = None

    @property
    def features(self) -> Tensor:
        """Penultimate features (n B, D); raises HarnessError where no term asked for them."""
        if self.hidden is None:
            raise HarnessError("A loss term reads features without asking for them. Set wants_features = True on it.")
        return self.hidden


class Term(Protocol):
    """One part of a classification objective: the images to classify, and the loss on the network's responses.

    A term whose loss reads features says so by an attribute ``wants_features = True``. One whose images must not share
    batch statistics with the others' says ``apart = True``: they have a pass of their own, after the joint one.
    """

    @property
    def name(self) -> str: ...

    def images(self, step: Step, network: CurrentNetwork) -> Tensor:
        """(n B, 3, H, W) in [0, 1]: none, one or several images for every sample of the step.

        network: for terms that alter their images by its gradient; asking it changes no other term.
        """

    def loss(self, responses: Mapping[str, TermResponse], step: Step) -> Tensor:
        """The term's share of the loss, a scalar. `responses` has those of all terms, by name."""


class Criterion(Protocol):
    """Logits (B, K) and labels, (B,) int64 or soft (B, K), to their mean loss."""

    def __call__(self, logits: Tensor, labels: Tensor, /) -> Tensor: ...
