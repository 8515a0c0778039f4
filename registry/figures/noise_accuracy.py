"""Accuracy of classifiers on diffused images (Sastry et al.)."""

from dataclasses import dataclass
from typing import Any

from harness.diffusion.schedule import SCHEDULES
from harness.plugins import figure
from harness.report.figures.numbers import METRIC, by_row, by_time, described, percent, rows_of
from harness.report.figures.pairs import by_recipe
from harness.report.figures.panels import panels
from harness.types import HarnessError
from harness.types.figures import Drawing, FigureSources

SEEN = {"default": "noisy", "denoised": "denoised"}
"""Images that the classifier looks at, by method of the suite `noisy-accuracy`."""


@figure("noise-accuracy", paper="Sastry et al., 2023, Figure 19")
@dataclass(frozen=True)
class NoiseAccuracy:
    """Accuracy on noisy images and on their one-step denoisings, against the diffusion time or the noise scale.

    by: "time" for t, "noise" for sqrt((1 - abar) / abar), noise over signal.
    """

    by: str = "time"
    suite: str = "noisy-accuracy"

    def __post_init__(self) -> None:
        if self.by not in ("time", "noise"):
            raise HarnessError(f"noise-accuracy: by={self.by!r} must be one of time, noise.")

    def __call__(self, sources: FigureSources) -> Drawing:
        entries = sources.records(self.suite)
        points = by_time(entries, "accuracy")
        xlabel = "diffusion time t"
        if self.by == "noise":
            scales = {row: noise_scales(entry.denoiser) for row, entry in by_row(entries).items()}
            points = {row: [(scales[row][t], *value) for t, *value in line] for row, line in points.items()}
            xlabel = "noise scale √((1 − ᾱ) / ᾱ)"
        curves = by_recipe(percent(points), lambda method: SEEN.get(method, method))
        drawn = panels(curves, xlabel, "accuracy (%)", top=102, log=self.by == "noise")
        caption = f"Accuracy on test images diffused to time t, as they are and denoised in one step, by {self.by}."
        return Drawing(drawn, ("model", "method", self.by, *METRIC), rows_of(points), described(caption, entries))


def noise_scales(denoiser: Any) -> list[float]:
    """By time, the noise's standard deviation over the signal's scale. denoiser: `Weights` of a record."""
    name = denoiser.details.get("schedule")
    if name not in SCHEDULES:
        raise HarnessError(f"noise-accuracy: the record's denoiser {denoiser.name} names no schedule. Take by=time.")
    kept = SCHEDULES[name](denoiser.details.get("steps")).alpha_bar
    return [float(scale) for scale in ((1 - kept) / kept) ** 0.5]
