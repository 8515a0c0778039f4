"""DiffAug-Ensemble by its times (Sastry et al., NeurIPS 2024)."""

from dataclasses import dataclass

from harness.plugins import figure
from harness.report.figures.numbers import METRIC, by_number, described, percent, rows_of
from harness.report.figures.panels import Curve, panels
from harness.report.figures.style import INKS
from harness.types.figures import Drawing, FigureSources


@figure("de-times", paper="Sastry et al., NeurIPS 2024, Figure 12")
@dataclass(frozen=True)
class EnsembleByTimes:
    """Accuracy of DiffAug-Ensemble over the times 0, step, ..., t, against t, a line per step."""

    suite: str = "de-times"

    def __call__(self, sources: FigureSources) -> Drawing:
        entries = sources.records(self.suite)
        alone = by_number(entries, "mean_accuracy", r"t=(\d+)")
        steps = sorted({int(m.condition[5:].split()[0]) for m in entries[0].metrics if m.condition.startswith("step=")})
        lines = {
            (*row, step): alone[row] + line
            for step in steps
            for row, line in by_number(entries, "mean_accuracy", rf"step={step} t=(\d+)").items()
        }
        curves = {}
        for (model, _, step), line in percent(lines).items():
            curves.setdefault(model, []).append(Curve(f"step {step}", line, INKS[steps.index(step)]))
        drawn = panels(
            dict(sorted(curves.items())), "last diffusion time t of the ensemble", "mean accuracy (%)", bottom=None
        )
        caption = (
            "Accuracy, a mean over corruptions, of the mean class probability over one-step denoisings from the times "
            "0 (the image itself), step, ..., t."
        )
        header = ("model", "method", "step", "t", *METRIC)
        return Drawing(drawn, header, rows_of(lines), described(caption, entries))
