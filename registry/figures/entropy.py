"""Certainty on denoised images by diffusion time (Sastry et al., NeurIPS 2024)."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plugins import figure
from harness.report.figures import draw
from harness.types.figures import Drawing, FigureSources


@figure("entropy", paper="Sastry et al., NeurIPS 2024, Figures 2 and 11")
@dataclass(frozen=True)
class EntropyByTime:
    """Mean prediction entropy on one-step denoised images, by diffusion time."""

    suite: str = "entropy-vs-t"

    def __call__(self, sources: FigureSources) -> Drawing:
        entries = sources.records(self.suite)
        lines = {}
        for entry in entries:
            metrics = [m for m in entry.metrics if m.name == "mean_entropy"]
            lines[entry.model.name, entry.method] = [(int(m.condition[2:]), m.value, *m.interval) for m in metrics]
        figure = draw.lines(lines, "diffusion time t", "mean prediction entropy (nats)")
        rows = [(*row, *point) for row, points in lines.items() for point in points]
        caption = f"Mean prediction entropy. Records: {', '.join(entry.key for entry in entries)}."
        return Drawing(figure, ("model", "method", "time", "entropy", "low", "high"), rows, caption)
