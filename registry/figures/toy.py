"""Diffusion and one-step denoising in the plane, in closed form (Sastry et al., NeurIPS 2024, Figures 5 and 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.plugins import figure
from harness.report.figures.style import canvas, legend
from harness.types import HarnessError
from harness.types.figures import Drawing, FigureSources

if TYPE_CHECKING:
    from harness.diffusion.analysis.mixture import GaussianMixture

WEIGHTS = (0.4, 0.35, 0.25)
MEANS = ((-1.0, 0.4), (0.9, 0.8), (0.3, -1.0))
SPREADS = ((0.10, 0.08), (0.06, -0.05), (0.12, 0.0))
"""Variance of both coordinates of a component, and their covariance."""

LARGEST = 2.2
"""Largest coordinate in the picture; few x_t lie beyond."""


@figure("toy", paper="Sastry et al., NeurIPS 2024, Figures 5 and 6")
@dataclass(frozen=True)
class Toy:
    """Paths from x_0 over x_t to x0_hat = E[x_0 | x_t] of a mixture of three Gaussians, by diffusion time."""

    times: tuple[int, ...] = (50, 100, 200, 400)
    points: int = 9

    def __post_init__(self) -> None:
        if not self.times or not all(0 <= time < 1000 for time in self.times):
            raise HarnessError(f"toy: times={','.join(map(str, self.times))} must lie in 0 to 999.")
        if self.points < 1:
            raise HarnessError(f"toy: points={self.points} must be positive.")

    def __call__(self, sources: FigureSources) -> Drawing:
        import numpy as np

        from harness.base.noise import generator
        from harness.diffusion.analysis.mixture import GaussianMixture
        from harness.diffusion.schedule import linear

        covariances = np.array([[[variance, shared], [shared, variance]] for variance, shared in SPREADS])
        mixture = GaussianMixture(np.array(WEIGHTS), np.array(MEANS), covariances)
        rng = generator(sources.seed, "toy", "points")
        x_0, component = mixture.sample(rng, self.points)
        eps = rng.standard_normal(x_0.shape)
        rows, paths = [], {}
        for time in self.times:
            abar = float(linear().alpha_bar[time])
            x_t = abar**0.5 * x_0 + (1 - abar) ** 0.5 * eps
            x0_hat = mixture.posterior_mean(x_t, abar)
            paths[time] = np.stack([x_0, x_t, x0_hat])
            for k, certainty in enumerate(mixture.responsibilities(x_t, abar)[np.arange(len(x_t)), component]):
                rows.append((time, k, int(component[k]), *x_0[k], *x_t[k], *x0_hat[k], certainty))
        header = ("time", "point", "component", *(f"{x}_{axis}" for x in ("x0", "xt", "x0_hat") for axis in (1, 2)))
        caption = (
            f"{self.points} points x_0 of a mixture of three Gaussians (contours), their diffusions x_t and one-step "
            "denoisings x0_hat = E[x_0 | x_t] by Tweedie's formula in closed form, at diffusion times "
            f"{', '.join(map(str, self.times))} of the linear schedule; all panels share x_0 and noise. Colours are "
            f"components. Numbers: also the probability of the point's component given x_t. Seed: {sources.seed}."
        )
        return Drawing(_drawn(mixture, paths, component), (*header, "probability"), rows, caption)


def _drawn(mixture: GaussianMixture, paths: dict[int, Any], component: Any) -> Any:
    """A panel per time. paths: by time, x_0, x_t and x0_hat (3, N, 2)."""
    import numpy as np

    columns = min(2, len(paths))
    rows = -(-len(paths) // columns)
    drawn = canvas(0.35 + 1.65 * rows)
    grid = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    line = np.linspace(-LARGEST, LARGEST, 121)
    plane = np.stack(np.meshgrid(line, line), -1)
    density = np.exp(mixture.log_density(plane.reshape(-1, 2), 1.0)).reshape(len(line), -1)
    levels = density.max() * np.array([0.02, 0.1, 0.4])
    inks = np.array(["tab:blue", "tab:orange", "tab:green"])[component]
    for panel, (time, (x_0, x_t, x0_hat)) in zip(grid.flat, paths.items(), strict=False):
        panel.contour(line, line, density, levels=levels, colors="0.75", linewidths=0.5)
        for path, ink in zip(np.stack([x_0, x_t, x0_hat], 1), inks, strict=True):
            panel.plot(*path[:2].T, color=ink, linewidth=0.5, linestyle=":", alpha=0.6)
            panel.plot(*path[1:].T, color=ink, linewidth=0.6)
        panel.scatter(*x_0.T, s=8, facecolors="white", edgecolors=inks, linewidths=0.6, zorder=3)
        panel.scatter(*x_t.T, s=8, marker="x", c=inks, linewidths=0.5, zorder=3)
        panel.scatter(*x0_hat.T, s=8, c=inks, zorder=4)
        panel.set(title=f"t = {time}", aspect="equal", xlim=(-LARGEST, LARGEST), ylim=(-LARGEST, LARGEST))
        panel.set_xticks([-2, 0, 2])
        panel.set_yticks([-2, 0, 2])
    for panel in grid.flat[len(paths) :]:
        panel.set_axis_off()
    for panel in grid[-1]:
        panel.set_xlabel("first coordinate")
    for panel in grid[:, 0]:
        panel.set_ylabel("second coordinate")
    _explain(drawn)
    return drawn


def _explain(drawn: Any) -> None:
    """The legend of the marks."""
    from matplotlib.lines import Line2D

    styles = {"$x_0$": ("o", "white"), "$x_t$": ("x", "0.3"), r"$\hat{x}_0$": ("o", "0.3")}
    marks = [Line2D([], [], linestyle="", marker=m, color="0.3", markerfacecolor=c) for m, c in styles.values()]
    legend(drawn, marks, list(styles), 3)
    for text in drawn.legends[0].get_texts():
        text.set_parse_math(True)
