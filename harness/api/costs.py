"""Network calls of a run that nobody has prepared, counted from its suite and its methods."""

from __future__ import annotations

import math
from typing import Any

from harness.report.published.missing import CallTotals, Missing

LOOKED_AT = 224
"""Height and width of the stand-in image: no bundled method's calls depend on it."""

CLASSES = 1000
"""Classes of the stand-in classifier."""


def calls(run: Missing) -> CallTotals:
    """Calls of a run on the whole data: its classifiers share the diffusion model's views.

    Remembered between commands, as importing every plugin takes seconds.
    """
    from harness.plugins import cache

    methods = ",".join(run.methods)
    images, denoised, guided, classified, at_most = cache.remembered("calls", lambda: _counted(run), run.suite, methods)
    whole = run.images or sum(math.ceil(size / run.every) for size in images)
    classified_by_all = whole * classified * len(run.models)
    return CallTotals(whole, whole * denoised, whole * guided, classified_by_all, at_most)


def _counted(run: Missing) -> list[Any]:
    """Images of each condition, and per image the denoisings, guided steps and images that a classifier sees."""
    import torch

    from harness import plugins

    plugins.discover()
    has_folder = "data" in plugins.suite.of(run.suite).parameters
    separator = "," if ":" in run.suite else ":"
    suite = plugins.suite.configure(run.suite + (f"{separator}data=DIR" if has_folder else "")).plugin
    methods = [plugins.AXES[suite.axis].configure(method).plugin for method in run.methods]
    per_image = suite.tally(methods, torch.zeros(1, 3, LOOKED_AT, LOOKED_AT), CLASSES)
    sizes = [condition.size for condition in suite.conditions()]
    return [sizes, per_image.denoised, per_image.guided, per_image.classified, per_image.at_most]
