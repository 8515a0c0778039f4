"""Counting what methods cost, by running them on views that only count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from harness.types import Adaptation, HarnessError, Method, Tally
from harness.views import UNDIFFUSED


class _CountingViews:
    """Views that hand out one image, a copy per distinct request."""

    def __init__(self, image: Tensor) -> None:
        self.image = image
        self.requests: dict[int | Adaptation, Tensor] = {}

    def _blank(self, request: int | Adaptation) -> Tensor:
        return self.requests.setdefault(request, self.image.clone())

    def original(self) -> Tensor:
        return self._blank(0)

    def denoised(self, times: Sequence[int]) -> Iterator[Tensor]:
        return (self._blank(time) for time in times)

    def adapted(self, settings: Adaptation) -> Tensor:
        return self._blank(settings)

    def restored(self) -> Tensor:
        raise HarnessError(UNDIFFUSED)


def tally(methods: Iterable[Method], image: Tensor, classes: int) -> Tally:
    """What these methods together ask for per image, with views shared as in a run.

    image: (1, 3, H, W) in [0, 1] of the data, classes: their number, so that methods find what they will find.
    """
    views, seen = _CountingViews(image), {}

    def classifier(images: Tensor) -> Tensor:
        seen[id(images)] = images
        return torch.zeros(len(images), classes)

    for method in methods:
        method(views, classifier)
    times = tuple(sorted(request for request in views.requests if isinstance(request, int) and request > 0))
    guided = sum(request.start for request in views.requests if isinstance(request, Adaptation))
    return Tally(times, len(times), guided, len(seen))
