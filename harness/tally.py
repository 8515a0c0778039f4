"""Counting what methods cost, by running them on views that only count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.types import Adaptation, Method


@dataclass(frozen=True)
class Tally:
    """Network calls per image.

    times: diffusion times of the one-step denoisings, one call each.
    guided: steps of diffusion-driven adaptation, each a forward and a backward pass.
    classified: different images that each classifier sees.
    """

    times: tuple[int, ...]
    guided: int
    classified: int

    @property
    def denoised(self) -> int:
        """One-step denoisings."""
        return len(self.times)

    @property
    def denoiser(self) -> int:
        """All denoiser calls."""
        return self.denoised + self.guided


class _CountingViews:
    """Views without images: one blank per distinct request."""

    def __init__(self) -> None:
        self.requests: dict[int | Adaptation, Tensor] = {}

    def _blank(self, request: int | Adaptation) -> Tensor:
        return self.requests.setdefault(request, torch.zeros(1, 3, 1, 1))

    def original(self) -> Tensor:
        return self._blank(0)

    def denoised(self, times: Sequence[int]) -> Iterator[Tensor]:
        return (self._blank(time) for time in times)

    def adapted(self, settings: Adaptation) -> Tensor:
        return self._blank(settings)


def tally(methods: Iterable[Method]) -> Tally:
    """What these methods together ask for per image, with views shared as in a run."""
    views, seen = _CountingViews(), set()

    def classifier(images: Tensor) -> Tensor:
        seen.add(id(images))
        return torch.zeros(1, 2)

    for method in methods:
        method(views, classifier)
    times = tuple(sorted(request for request in views.requests if isinstance(request, int) and request > 0))
    guided = sum(request.start for request in views.requests if isinstance(request, Adaptation))
    return Tally(times, guided, len(seen))
