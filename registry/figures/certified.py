"""Certified accuracy by denoised smoothing (Sastry et al., NeurIPS 2024)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.metrics import intervals
from harness.metrics.certification import right
from harness.plugins import figure
from harness.report.figures.numbers import METRIC, described, percent, rows_of
from harness.report.figures.pairs import by_recipe
from harness.report.figures.panels import Curve, Point, panels
from harness.report.names import variants
from harness.types.figures import Drawing, FigureSources


@figure("certified", paper="Sastry et al., NeurIPS 2024, Figure 10")
@dataclass(frozen=True)
class CertifiedAccuracy:
    """Certified accuracy against the l2 radius, a panel per noise level of the smoothing."""

    suite: str = "certify"

    def __call__(self, sources: FigureSources) -> Drawing:
        entries = sources.records(self.suite)
        lines = {}
        for entry, method in zip(entries, variants(entries), strict=True):
            rows = sources.sample_table(entry)
            for sigma in dict.fromkeys(rows["condition"]):
                cells = rows["condition"] == sigma
                certified = right(rows["prediction"], rows["label"])[cells]
                lines[entry.model.name, method, sigma] = survival(rows["radius"][cells][certified], cells.sum())
        drawn = panels(
            _by_noise(percent(lines)), "l2 radius (images in [0, 1])", "certified accuracy (%)", top=102, own_x=True
        )
        header = ("model", "method", "noise", "radius", *METRIC)
        caption = (
            "Share of test images that are classified correctly with a certificate of at least this l2 radius, under "
            "noise of standard deviation σ. Curves end at the largest radius that the draws can certify."
        )
        return Drawing(drawn, header, rows_of(lines), described(caption, entries))


def _by_noise(lines: Mapping[tuple[str, str, str], Sequence[Point]]) -> dict[str, list[Curve]]:
    """Curves by panel, of each noise level the recipes side by side: curves of several levels would hide each other.

    lines: by classifier, method and condition.
    """
    several = len({method for _, method, _ in lines}) > 1
    curves = {}
    for sigma in dict.fromkeys(sigma for _, _, sigma in lines):
        named = {(model, method): line for (model, method, level), line in lines.items() if level == sigma}
        words = sigma.replace("sigma=", "σ = ")
        for title, each in by_recipe(named, lambda method: method if several else "", steps=True).items():
            curves[", ".join(filter(None, [title, words]))] = each
    return curves


def survival(radii: np.ndarray, n: int) -> list[tuple[float, float, float, float, int]]:
    """Shares of n images whose radius is at least x, with intervals: at 0, at each radius, and 0 behind the last."""
    ends = [0.0, *np.unique(radii)]
    counts = [int((radii >= end).sum()) for end in ends]
    points = list(zip([*ends, ends[-1]], [*counts, 0], strict=True))
    return [(float(x), k / n, *intervals.of_mean(np.arange(n) < k), int(n)) for x, k in points]
