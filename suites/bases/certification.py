"""Certified robustness by randomized smoothing: Cohen et al., ICML 2019; with a denoiser, Carlini et al., ICLR 2023."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.diffusion.denoiser import Denoiser
from harness.evaluation.records.keys import benchmark
from harness.evaluation.records.record import RunRecord
from harness.metrics import certification
from harness.metrics.ranking import Sample
from harness.metrics.sequential import Sequential
from harness.plugins import suite
from harness.report import comparison
from harness.report.figures import draw as figures
from harness.report.names import title, variants
from harness.report.selection import check_pairable
from harness.report.table import Table
from harness.suites.bases.suite import SuiteBase
from harness.suites.bases.votes import VoteCounts, vote_rounds
from harness.types import BatchTask, Calls, Columns, Condition, Dataset, HarnessError, Metric, Observation, Smoother

LOOK = 100
"""Noise draws of an image in one round: they fill a tile, and between two rounds sampling may stop."""


@dataclass(frozen=True)
class Certification(SuiteBase):
    """Base of the suites that certify. A subclass gives its data set, and n if it is not 10,000.

    sigma: standard deviations of the noise, in [0, 1] pixel units.
    n, n0: noise draws that estimate the class's probability, and that select the class.
    alpha: probability that an image's certificate is wrong.
    radii: the only radii to certify, sequentially: an image's draws stop when its answer is settled; none for all.
    """

    axis: ClassVar[str] = "smoother"
    row_columns: ClassVar[Sequence[str]] = ("radius", "selection", "estimation")
    part: ClassVar[int] = 4
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
            _ = self._stopping  # its construction checks the radii
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
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Per sigma the average certified radius, and certified accuracy at radius sigma; or at the asked radii."""
        names = [c.name for c in self.conditions()]
        if self.radii:
            asked = [("certified_accuracy", f"{name} r={r:g}") for name in names for r in self.radii]
            return asked + [("share_of_draws", name) for name in names]
        at_sigma = [("certified_accuracy", f"{name} r={s:g}") for name, s in zip(names, self.sigma, strict=True)]
        return [("average_certified_radius", name) for name in names] + at_sigma

    @property
    def methods(self) -> Sequence[str]:  # type: ignore[override]
        """Diffusion denoised smoothing where there is a denoiser, plain Gaussian otherwise."""
        return ("denoise",) if self.denoiser else ("gaussian",)

    def conditions(self) -> Sequence[Condition]:
        """One per noise level."""
        return [Condition(f"sigma={sigma:g}", f"sigma={sigma:g}", size=self.size) for sigma in self.sigma]

    def clean(self) -> Dataset:
        """The images to certify."""
        return self.test_images()

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The clean images: certification makes its own noise."""
        return self.clean()

    def facts(self) -> Mapping[str, str]:
        """The statistical procedure and the kind of guarantee."""
        procedure = "sequential (mixture martingale and a last look)" if self.radii else "fixed N (Clopper-Pearson)"
        return {"certificates": f"{procedure}, standard floating point"}

    def tally(self, methods: Sequence[Smoother], image: Tensor, classes: int) -> Calls:
        """Calls at the full number of draws, an upper limit for sequential certification."""
        draws = self.n0 + self.n
        return Calls(
            denoised=draws * sum(p.votes * p.calls for p in methods),
            classified=draws * sum(p.votes for p in methods),
            together=min(LOOK, self.n),
            at_most=bool(self.radii),
        )

    def check(self, methods: Sequence[Smoother], denoiser: Denoiser | None) -> None:
        """A smoother that denoises needs a denoiser, with a time as noisy as each sigma."""
        if not any(p.calls for p in methods):
            return
        if denoiser is None:
            raise HarnessError(
                f"{self.name}: this smoother needs a diffusion model. Give --denoiser or --smooth gaussian."
            )
        steps = max(p.calls for p in methods)
        for sigma in self.sigma:
            if steps > (time := denoiser.schedule.time_of(sigma)):
                raise HarnessError(
                    f"{self.name}: {steps} reverse steps, but sigma={sigma:g} is only {time} steps away."
                )

    def observe(self, task: BatchTask) -> Iterator[Observation]:
        """Count votes under noise, for all images of the batch side by side, until each has its answer.

        One pass over the draws: each noisy (and denoised) image is made once, and shown to every classifier that still
        wants draws of some image.
        """
        pairs = task.pairs
        sigma = self.sigma[self.conditions().index(task.condition)]
        classes = pairs[0].classifier(task.views.original()).shape[1]
        counts = [VoteCounts.resume(columns, len(task.labels), classes) for columns in task.resumed]
        if not all(c.stand_between(self._rounds) for c in counts):
            raise HarnessError("An interim state does not fit this version's rounds of draws. Start over with --fresh.")
        if any(columns is not None for columns in task.resumed):
            yield self._interim(counts, sigma)
        for vote_round in vote_rounds(pairs, counts, self._rounds, self._abreast):
            selecting = vote_round.draws.stop <= self.n0
            ballots = vote_round.cast(task.views, sigma, pairs, classes)
            for k, votes, wanted in zip(vote_round.voters, ballots, vote_round.wanted, strict=True):
                counts[k].add(vote_round.images[wanted], votes[wanted], selecting=selecting)
                self._settle(counts[k], sigma)
            yield self._interim(counts, sigma)
        yield Observation([self._columns(c, sigma) for c in counts])

    @property
    def _rounds(self) -> Sequence[range]:
        """Draws 0 to n0 select the class, n0 to n0 + n estimate its probability, LOOK at a time."""
        rounds: list[range] = []
        for first, last in ((0, self.n0), (self.n0, self.n0 + self.n)):
            rounds += [range(start, min(start + LOOK, last)) for start in range(first, last, LOOK)]
        return rounds

    def _abreast(self, smoother: Smoother) -> int:
        """Images that take a round side by side: few if draws are dear, as an interruption loses a round's draws."""
        return max(1, self.part // max(1, smoother.votes * smoother.calls))

    def _interim(self, counts: Sequence[VoteCounts], sigma: float) -> Observation:
        progress = sum(c.progress(self.n0 + self.n) for c in counts) / len(counts)
        return Observation([self._columns(c, sigma) for c in counts], min(progress, 0.999))

    def _settle(self, counts: VoteCounts, sigma: float) -> None:
        """Stop sampling the images whose answer is settled, if only some radii matter."""
        drawn = counts.estimation.sum(1)
        undecided = ((drawn > 0) & ~counts.settled).nonzero()[:, 0]
        if not self.radii or not len(undecided):
            return
        top = counts.selection[undecided].argmax(1, keepdim=True)
        estimated, selected = (
            votes[undecided].gather(1, top)[:, 0].numpy() for votes in (counts.estimation, counts.selection)
        )
        settled, claimed = self._stopping[sigma].decide(
            drawn[undecided].numpy(), estimated, selected, counts.claimed[undecided].numpy()
        )
        counts.settled[undecided] = torch.from_numpy(settled)
        counts.claimed[undecided] = torch.from_numpy(claimed)

    def _columns(self, counts: VoteCounts, sigma: float) -> Columns:
        selection, estimation = counts.selection.numpy(), counts.estimation.numpy()
        if self.radii:
            claimed = counts.claimed.numpy()
            radius = self._stopping[sigma].radius(claimed)
            prediction = np.where(claimed > 0, selection.argmax(1), certification.ABSTAIN)
            stopping = {"settled": counts.settled, "claimed": counts.claimed}
        else:
            prediction, radius = certification.certify(selection, estimation, self.alpha, sigma)
            stopping = {}
        return {
            "prediction": torch.from_numpy(prediction),
            "radius": torch.from_numpy(radius),
            "selection": counts.selection.int(),
            "estimation": counts.estimation.int(),
            **stopping,
        }

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Certified accuracy by radius, average certified radius, abstentions and smoothed accuracy, per sigma."""
        results: list[Metric] = []
        for sigma, condition in zip(self.sigma, self.conditions(), strict=True):
            rows_at_sigma = {name: values[rows["condition"] == condition.name] for name, values in rows.items()}
            results += self._summarise_level(rows_at_sigma, sigma, condition.name)
        notes = [note for sigma in self.sigma if (note := self._out_of_reach(sigma))]
        if len(self.sigma) == 1:
            return results, notes
        best, note = certification.envelope(results, self.grid)
        return [*results, *best], [note, *notes]

    def row_faults(self, rows: Mapping[str, Any]) -> Iterator[str]:
        """Predictions and radii are those of the votes."""
        for sigma, condition in zip(self.sigma, self.conditions(), strict=True):
            level = {name: values[rows["condition"] == condition.name] for name, values in rows.items()}
            counts = VoteCounts(
                *(torch.from_numpy(level[name]).long() for name in ("selection", "estimation")),
                *(torch.from_numpy(level.get(name, np.zeros(len(level["id"])))) for name in ("settled", "claimed")),
            )
            again = self._columns(counts, sigma)
            for name in ("prediction", "radius"):
                if (other := ~np.isclose(level[name], again[name].numpy(), rtol=1e-9)).any():
                    yield f"{other.sum()} images under {condition.name!r} have another {name} than their votes give"
            most = (level["selection"].sum(1) > self.n0) | (level["estimation"].sum(1) > self.n)
            if most.any():
                yield f"{most.sum()} images under {condition.name!r} have more votes than {self.n0} and {self.n}"

    def _summarise_level(self, rows: Mapping[str, Any], sigma: float, condition: str) -> list[Metric]:
        """The metrics of one noise level. rows: those of its condition."""
        correct = certification.right(rows["prediction"], rows["label"])
        curve = certification.curve(correct, rows["radius"], self.grid, self.alpha, condition)
        if self.radii:
            used = rows["estimation"].sum(1) + rows["selection"].sum(1)
            return [*curve, certification.share_of_draws(used, self.n0 + self.n, condition)]
        largest = certification.largest_radius(self.n, self.alpha, sigma)
        answer = certification.predict(rows["estimation"], self.alpha)
        return [
            *curve,
            certification.average_certified_radius(correct, rows["radius"], largest, condition),
            certification.abstention_rate(rows["prediction"], condition),
            certification.smoothed_accuracy(certification.right(answer, rows["label"]), condition),
        ]

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """See `SuiteBase`: for certified accuracy at a radius, and the average certified radius."""
        for sigma, level in zip(self.sigma, self.conditions(), strict=True):
            radii = {certification.at(level.name, r): r for r in self.grid}
            is_mean = metric == "average_certified_radius" and condition == level.name and not self.radii
            if not is_mean and not (metric == "certified_accuracy" and condition in radii):
                continue
            cells = rows["condition"] == level.name
            images, radius = rows["id"][cells], rows["radius"][cells]
            correct = certification.right(rows["prediction"][cells], rows["label"][cells])
            if not is_mean:
                return [Sample(images, (correct & (radius >= radii[condition])).astype(float), 1.0)]
            largest = certification.largest_radius(self.n, self.alpha, sigma)
            return [Sample(images, np.minimum(np.where(correct, radius, 0.0), largest), largest or 1.0)]
        return super().contributions(rows, metric, condition)

    def _out_of_reach(self, sigma: float) -> str:
        """A note on asked radii that these settings cannot certify under any votes; empty if there are none."""
        if not self.radii:
            return ""
        beyond = [r for r, count in zip(self.radii, self._stopping[sigma].needed, strict=True) if count > self.n]
        named = ", ".join(f"{r:g}" for r in beyond)
        return f"sigma={sigma:g}: {self.n} draws at alpha={self.alpha:g} cannot certify {named}." if beyond else ""

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Certified accuracy against radius: a panel per noise level, a line per classifier and smoother."""
        panels: dict[str, dict[tuple[str, str], list[float]]] = {c.name: {} for c in self.conditions()}
        for entry, method in zip(entries, variants(entries), strict=True):
            rows = entry.rows("prediction", "radius")
            for name, lines in panels.items():
                right = (rows["condition"] == name) & certification.right(rows["prediction"], rows["label"])
                lines[entry.model.name, method] = rows["radius"][right].tolist()
        total = len(set(rows["id"]))
        return figures.survival(panels, total, "l2 radius", "certified accuracy (%)", title(entries[0]))

    def compare(self, a: RunRecord, b: RunRecord) -> Table:
        """Paired differences of certified accuracy at radius 0, or at the smallest asked radius.

        Raises HarnessError for certificates that do not compare: other noise levels, draws, alpha or radii.
        """
        check_pairable(a, b)
        settings = [benchmark(suite.configure(entry.suite).text) for entry in (a, b)]
        if settings[0] != settings[1]:
            raise HarnessError(
                f"{settings[0]} and {settings[1]} cannot be paired: sigma, n, n0, alpha and radii decide what can be "
                "certified. Run one of them again under the settings of the other."
            )
        table = comparison.table(comparison.compare(a, b))
        return replace(table, caption=f"Certified accuracy at radius {min(self.grid):g}. {table.caption}")
