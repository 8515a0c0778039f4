"""Certainty on denoised images (Sastry et al., NeurIPS 2024)."""

from dataclasses import dataclass

from harness.plugins import figure
from harness.report.figures.numbers import METRIC, by_time, described, plain, rows_of
from harness.report.figures.pairs import by_recipe
from harness.report.figures.panels import panels
from harness.types.figures import Drawing, FigureSources


@figure("entropy", paper="Sastry et al., NeurIPS 2024, Figures 2 and 11")
@dataclass(frozen=True)
class EntropyByTime:
    """Mean prediction entropy on images denoised in one step, against the diffusion time."""

    suite: str = "entropy-vs-t"

    def __call__(self, sources: FigureSources) -> Drawing:
        entries = sources.records(self.suite)
        points = by_time(entries, "mean_entropy")
        drawn = panels(by_recipe(plain(points)), "diffusion time t", "mean prediction entropy (nats)")
        caption = (
            "Mean prediction entropy on test images diffused to time t and denoised in one step; t = 0 is the image."
        )
        return Drawing(drawn, ("model", "method", "t", *METRIC), rows_of(points), described(caption, entries))
