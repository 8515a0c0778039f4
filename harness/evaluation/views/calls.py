"""Count the network calls of methods by running them on stand-in views, which need no diffusion model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.evaluation.views.batch import UNDIFFUSED
from harness.types import Adaptation, Calls, HarnessError, Method, Pair

ViewRequest = int | Adaptation | tuple[int | Adaptation, int]
"""A diffusion time, or settings of an adaptation; with the number of the noise draw where it is not 0."""

RESTORED = -1
"""The request of `StandInViews.restored`."""


class StandInViews:
    """Views that remember every request, and answer each with another mixture of the image with grey.

    image: (B, 3, H, W) in [0, 1]. diffused: the suite diffuses its images, so that `restored` means something.
    """

    def __init__(self, image: Tensor, diffused: bool = False) -> None:
        self.image = image
        self.requests: dict[ViewRequest, Tensor] = {}
        self._diffused = diffused

    def _shown(self, request: ViewRequest, draw: int = 0) -> Tensor:
        request = (request, draw) if draw and request and not isinstance(request, tuple) else request
        if request not in self.requests:
            share = 1 - hashlib.sha256(repr(request).encode()).digest()[0] / 512 if request else 1.0
            self.requests[request] = self.image * share + (1 - share) / 2
        return self.requests[request]

    def original(self) -> Tensor:
        return self._shown(0)

    def denoised(self, times: Sequence[int], draw: int = 0) -> Iterator[Tensor]:
        return (self._shown(time, draw) for time in times)

    def adapted(self, settings: Adaptation, draw: int = 0) -> Tensor:
        return self._shown(settings, draw)

    def restored(self) -> Tensor:
        if not self._diffused:
            raise HarnessError(UNDIFFUSED)
        return self._shown(RESTORED)


def tally(methods: Iterable[Method], image: Tensor, classes: int) -> Calls:
    """Network calls of these methods per image, with views shared as in a run.

    image: (1, 3, H, W) in [0, 1] of the data. classes: their number. Methods look at the shapes that they will see.
    """
    views = StandInViews(image)
    # Holds the images, so that no two of them have one id.
    classified: dict[int, Tensor] = {}

    def classifier(images: Tensor) -> Tensor:
        classified[id(images)] = images
        return torch.zeros(len(images), classes)

    for method in methods:
        method(views, classifier)
    requests = [request[0] if isinstance(request, tuple) else request for request in views.requests]
    times = [request for request in requests if isinstance(request, int) and request > 0]
    guided = sum(request.start for request in requests if isinstance(request, Adaptation))
    return Calls(tuple(sorted(set(times))), len(times), guided, len(classified))


def of_pairs(suite: Any, pairs: Sequence[Pair], image: Tensor, classes: int, alone: bool) -> Calls:
    """Network calls per image of pairs with different methods, as a suite counts them.

    alone: pairs share no call, and what they need depends on the classifier, too. image, classes: see `tally`.
    """
    if alone:
        return sum((suite.calls_of(pair, image, classes) for pair in pairs), start=Calls())
    counted: Calls = suite.tally([pair.method for pair in pairs], image, classes)
    return counted
