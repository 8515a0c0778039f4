"""Conditional DiffAug by lambda (Sastry et al., NeurIPS 2024)."""

from dataclasses import dataclass

from harness.plugins import figure
from harness.report.figures.numbers import METRIC, by_number, described, percent, rows_of
from harness.report.figures.panels import Curve, panels
from harness.types.figures import Drawing, FigureSources


@figure("lambda", paper="Sastry et al., NeurIPS 2024, Figure 15")
@dataclass(frozen=True)
class AccuracyByLambda:
    """Accuracy on images denoised with their class, against lambda, a panel per diffusion time."""

    suite: str = "conditional-diffaug"

    def __call__(self, sources: FigureSources) -> Drawing:
        entries = sources.records(self.suite)
        times = dict.fromkeys(m.condition.split()[0] for m in entries[0].metrics if " lambda=" in m.condition)
        lines = {
            (*row, time): line
            for time in times
            for row, line in by_number(entries, "accuracy", rf"{time} lambda=([\d.]+)").items()
        }
        curves = {}
        for (model, _, time), line in percent(lines).items():
            curves.setdefault(time.replace("=", " = "), []).append(Curve(model, line))
        drawn = panels(curves, "λ of the class in the reverse step", "accuracy (%)", top=102)
        header = ("model", "method", "time", "lambda", *METRIC)
        caption = (
            "Accuracy on test images diffused to time t and denoised in one step by the noise "
            "(1 - λ) ε(x_t, t) + λ ε(x_t, t, y), y the true class: how much of the class the denoised images show. "
            "One network predicts both, ε(x_t, t) with its label for none."
        )
        return Drawing(drawn, header, rows_of(lines), described(caption, entries))
