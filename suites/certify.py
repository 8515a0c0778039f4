"""Certified robustness by randomized smoothing: Cohen et al., ICML 2019; with a denoiser, Carlini et al., ICLR 2023."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from harness.counting import Count
from harness.data import open_dataset
from harness.diffusion.denoiser import Denoiser
from harness.metrics import certification
from harness.metrics.sequential import Sequential
from harness.networks import finite
from harness.plugins import suite
from harness.record import RunRecord, benchmark
from harness.report import comparison, figures, leaderboard, selection
from harness.report.table import Table
from harness.types import (
    Batch,
    Columns,
    Condition,
    Dataset,
    HarnessError,
    Metric,
    Observation,
    Pair,
    Scene,
    Smoother,
    Stage,
    SuiteViews,
    Tally,
)

LOOK = 100
"""Noise draws per image between two looks at the counts: a full tile of small images, and when sampling may stop."""


@dataclass(frozen=True)
class Certification:
    """Base of the suites that certify. A subclass gives name, version, dataset, every and the defaults of n.

    size: images that the whole data set has; 0 where nobody said.

    sigma: standard deviations of the noise, in [0, 1] pixel units.
    n, n0: noise draws that estimate the class's probability, and that select the class.
    alpha: probability that an image's certificate is wrong.
    radii: the only radii that matter, for sequential certification: an image's draws stop when its answer is settled.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    dataset: ClassVar[str]
    denoiser: ClassVar[str | None] = None
    axis: ClassVar[str] = "smoother"
    every: ClassVar[int] = 1
    part: ClassVar[int] = 4
    diffuses: ClassVar[bool] = False
    size: ClassVar[int] = 0
    sigma: tuple[float, ...] = (0.25, 0.5, 1.0)
    n: int = 10_000
    n0: int = 100
    alpha: float = 0.001
    radii: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.sigma or len({c.name for c in self.conditions()}) < len(self.sigma):
            raise HarnessError(f"{self.name}: sigma={self.sigma} must be one or more different noise levels.")
        for sigma in self.sigma:
            certification.check(self.n0, self.n, self.alpha, sigma)
        if self.radii:
            _ = self._stopping
        if len({f"{r:g}" for r in self.grid}) < len(self.grid):
            raise HarnessError(
                f"{self.name}: two of the radii {self.grid} read the same in six digits, as they are reported: change "
                f"{'radii' if self.radii else 'sigma'}."
            )

    @cached_property
    def _stopping(self) -> Mapping[float, Sequential]:
        return {sigma: Sequential(self.radii, sigma, self.alpha, self.n, self.n0) for sigma in self.sigma}

    @property
    def grid(self) -> tuple[float, ...]:
        """The radii at which certified accuracy is reported."""
        return self.radii or tuple(sorted({*(k / 4 for k in range(13)), *self.sigma}))

    @property
    def columns(self) -> Sequence[tuple[str, str]]:
        """Per sigma the average certified radius, and certified accuracy at radius sigma; or at the asked radii."""
        names = [c.name for c in self.conditions()]
        if self.radii:
            asked = [("certified_accuracy", f"{name} r={r:g}") for name in names for r in self.radii]
            return asked + [("share_of_draws", name) for name in names]
        at_sigma = [("certified_accuracy", f"{name} r={s:g}") for name, s in zip(names, self.sigma, strict=True)]
        return [("average_certified_radius", name) for name in names] + at_sigma

    @property
    def methods(self) -> Sequence[str]:
        """Diffusion denoised smoothing where there is a denoiser, plain Gaussian otherwise."""
        return ("denoise",) if self.denoiser else ("gaussian",)

    def conditions(self) -> Sequence[Condition]:
        """One per noise level."""
        return [Condition(f"sigma={sigma:g}", f"sigma={sigma:g}", size=self.size) for sigma in self.sigma]

    def clean(self) -> Dataset:
        """The images to certify."""
        raise NotImplementedError

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The clean images: certification makes its own noise."""
        return self.clean()

    def facts(self) -> Mapping[str, str]:
        """The procedure, and the kind of guarantee."""
        procedure = "sequential (mixture martingale and a last look)" if self.radii else "fixed N (Clopper-Pearson)"
        return {"certificates": f"{procedure}, standard floating point"}

    def tally(self, procedures: Sequence[Smoother], image: Tensor, classes: int) -> Tally:
        """Sequential certification stops earlier."""
        draws = self.n0 + self.n
        return Tally(
            denoised=draws * sum(p.votes * p.calls for p in procedures),
            classified=draws * sum(p.votes for p in procedures),
            together=min(LOOK, self.n),
            at_most=bool(self.radii),
        )

    def check(self, procedures: Sequence[Smoother], denoiser: Denoiser | None) -> None:
        """A smoother that denoises needs a denoiser, with a time as noisy as each sigma."""
        if not any(p.calls for p in procedures):
            return
        if denoiser is None:
            raise HarnessError(
                f"{self.name}: this smoother needs a diffusion model. Give --denoiser or --smooth gaussian."
            )
        steps = max(p.calls for p in procedures)
        for sigma in self.sigma:
            if steps > (time := denoiser.schedule.time_of(sigma)):
                raise HarnessError(
                    f"{self.name}: {steps} reverse steps, but sigma={sigma:g} is only {time} steps away."
                )

    def prepare(
        self,
        pairs: Sequence[Pair],
        look: Callable[[Batch], SuiteViews],
        cache: Path,
        report: Callable[[Stage], None],
    ) -> Sequence[Pair]:
        """Nothing to learn."""
        return pairs

    def observe(self, scene: Scene) -> Iterator[Observation]:
        """Count votes under noise, for all images of the batch side by side, until each has its answer.

        One pass over the draws: each noisy (and denoised) image is made once, and shown to every classifier that still
        wants draws of some image.
        """
        views, pairs, sigma = scene.views, scene.pairs, self.sigma[self.conditions().index(scene.condition)]
        classes = pairs[0].classifier(views.original()).shape[1]
        counts = [Count.of(columns, len(scene.labels), classes) for columns in scene.known]
        if not all(c.fits([0, *(draws.stop for draws in self._rounds())]) for c in counts):
            raise HarnessError("An interim state does not fit this version's rounds of draws. Start over with --fresh.")
        if any(columns is not None for columns in scene.known):
            yield self._seen(counts, sigma)
        for draws in self._rounds():
            for method in dict.fromkeys(p.method for p in pairs):
                wanted = {k: counts[k].going(draws) for k, p in enumerate(pairs) if p.method == method}
                asking = [k for k, going in wanted.items() if going.any()]
                if asking:
                    going = torch.stack([wanted[k] for k in asking])
                    for rows in going.any(0).nonzero()[:, 0].split(self._abreast(pairs[asking[0]].procedure)):
                        cast = self._votes(views, sigma, rows, draws, [pairs[k] for k in asking], classes)
                        for k, votes, still in zip(asking, cast, going[:, rows], strict=True):
                            counts[k].add(rows[still], votes[still], selecting=draws.stop <= self.n0)
                            self._look(counts[k], sigma)
                        yield self._seen(counts, sigma)
        yield Observation([self._columns(c, sigma) for c in counts])

    def _abreast(self, smoother: Smoother) -> int:
        """Images that take a round side by side: fewer where draws are dear, as a stop loses those not yet counted."""
        return max(1, self.part // max(1, smoother.votes * smoother.calls))

    def _seen(self, counts: Sequence[Count], sigma: float) -> Observation:
        progress = sum(c.progress(self.n0 + self.n) for c in counts) / len(counts)
        return Observation([self._columns(c, sigma) for c in counts], min(progress, 0.999))

    def _rounds(self) -> Iterator[range]:
        """Draws 0 to n0 select the class, n0 to n0 + n estimate its probability, LOOK at a time."""
        for first, last in ((0, self.n0), (self.n0, self.n0 + self.n)):
            for start in range(first, last, LOOK):
                yield range(start, min(start + LOOK, last))

    def _votes(
        self, views: SuiteViews, sigma: float, rows: Tensor, draws: range, pairs: Sequence[Pair], classes: int
    ) -> list[Tensor]:
        """Votes (R, K) of each pair's classifier for images `rows` over these draws, under the smoother they share."""
        smoother: Smoother = pairs[0].procedure
        row, draw = rows.repeat_interleave(len(draws)), torch.tensor(draws).repeat(len(rows))
        answers: list[list[Tensor]] = [[] for _ in pairs]
        for vote in range(smoother.votes):
            images = views.smoothed(smoother, sigma, row, draw, vote)
            for pair, given in zip(pairs, answers, strict=True):
                given.append(finite(pair.classifier(images), f"{pair.model} with {pair.method}").argmax(1))
        winners = [one_hot(torch.stack(given), classes).sum(0).argmax(1) for given in answers]
        return [one_hot(w.reshape(len(rows), len(draws)), classes).sum(1) for w in winners]

    def _look(self, count: Count, sigma: float) -> None:
        """Stop sampling the images whose answer is settled, if only some radii matter."""
        drawn = count.estimation.sum(1)
        looking = ((drawn > 0) & ~count.settled).nonzero()[:, 0]
        if not self.radii or not len(looking):
            return
        top = count.selection[looking].argmax(1, keepdim=True)
        k, k0 = (votes[looking].gather(1, top)[:, 0].numpy() for votes in (count.estimation, count.selection))
        settled, claimed = self._stopping[sigma].decide(drawn[looking].numpy(), k, k0, count.claimed[looking].numpy())
        count.settled[looking], count.claimed[looking] = torch.from_numpy(settled), torch.from_numpy(claimed)

    def _columns(self, count: Count, sigma: float) -> Columns:
        selection, estimation = count.selection.numpy(), count.estimation.numpy()
        if self.radii:
            claimed = count.claimed.numpy()
            radius = self._stopping[sigma].radius(claimed)
            prediction = np.where(claimed > 0, selection.argmax(1), certification.ABSTAIN)
            found = {"settled": count.settled, "claimed": count.claimed}
        else:
            prediction, radius = certification.certify(selection, estimation, self.alpha, sigma)
            found = {}
        return {
            "prediction": torch.from_numpy(prediction),
            "radius": torch.from_numpy(radius),
            "selection": count.selection.int(),
            "estimation": count.estimation.int(),
            **found,
        }

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Certified accuracy by radius, average certified radius, abstentions and smoothed accuracy, per sigma."""
        found: list[Metric] = []
        for sigma, c in zip(self.sigma, self.conditions(), strict=True):
            here = {name: values[rows["condition"] == c.name] for name, values in rows.items()}
            correct = certification.right(here["prediction"], here["label"])
            found += certification.curve(correct, here["radius"], self.grid, self.alpha, c.name)
            if self.radii:
                used = here["estimation"].sum(1) + here["selection"].sum(1)
                found.append(certification.share_of_draws(used, self.n0 + self.n, c.name))
            else:
                largest = certification.largest_radius(self.n, self.alpha, sigma)
                answer = certification.predict(here["estimation"], self.alpha)
                found += [
                    certification.average_certified_radius(correct, here["radius"], largest, c.name),
                    certification.abstention_rate(here["prediction"], c.name),
                    certification.smoothed_accuracy(certification.right(answer, here["label"]), c.name),
                ]
        notes = [note for sigma in self.sigma if (note := self._out_of_reach(sigma))]
        if len(self.sigma) == 1:
            return found, notes
        best, note = certification.envelope(found, self.grid)
        return [*found, *best], [note, *notes]

    def _out_of_reach(self, sigma: float) -> str:
        """A word on asked radii at which nothing could be certified, whatever the votes; none if there are none."""
        if not self.radii:
            return ""
        beyond = [r for r, count in zip(self.radii, self._stopping[sigma].needed, strict=True) if count > self.n]
        named = ", ".join(f"{r:g}" for r in beyond)
        return f"sigma={sigma:g}: {self.n} draws at alpha={self.alpha:g} cannot certify {named}." if beyond else ""

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Certified accuracy against radius: a panel per noise level, a line per classifier and smoother."""
        panels: dict[str, dict[str, list[float]]] = {c.name: {} for c in self.conditions()}
        for entry, method in zip(entries, leaderboard.variants(entries), strict=True):
            rows = entry.rows("prediction", "radius")
            for name, lines in panels.items():
                right = (rows["condition"] == name) & certification.right(rows["prediction"], rows["label"])
                lines[f"{entry.model.name}, {method}"] = rows["radius"][right].tolist()
        total = len(set(rows["id"]))
        return figures.survival(panels, total, "l2 radius", "certified accuracy (%)")

    def compare(self, a: RunRecord, b: RunRecord) -> Table:
        """Paired differences of certified accuracy at radius 0, or at the smallest asked radius.

        Raises HarnessError for certificates that do not compare: other noise levels, draws, alpha or radii.
        """
        selection.check_pairable(a, b)
        settings = [benchmark(suite.configure(entry.suite)[0]) for entry in (a, b)]
        if settings[0] != settings[1]:
            raise HarnessError(
                f"{settings[0]} and {settings[1]} cannot be paired: sigma, n, n0, alpha and radii decide what can be "
                "certified. Run one of them again under the settings of the other."
            )
        found = comparison.table(comparison.compare(a, b))
        return replace(found, caption=f"Certified accuracy at radius {min(self.grid):g}. {found.caption}")


@suite("certify")
@dataclass(frozen=True)
class Certify(Certification):
    """Certified accuracy by l2 radius, on every tenth test digit unless --every says otherwise."""

    name: ClassVar[str] = "certify"
    dataset: ClassVar[str] = "digits"
    denoiser: ClassVar[str | None] = "digits"
    every: ClassVar[int] = 10
    n: int = 1_000

    def clean(self) -> Dataset:
        """The test split."""
        return open_dataset(self.dataset, "test")
