"""What the out-of-distribution suites have in common: OpenOOD v1.5's benchmark (Zhang et al., 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from traceback import walk_tb
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.features import FeatureBank
from harness.metrics import ood
from harness.metrics.accuracy import accuracy
from harness.metrics.paired import holm
from harness.networks import TiledClassifier, finite
from harness.plugins import AXES, Combination, Entry, Tuned
from harness.record import RunRecord, benchmark
from harness.report import comparison, figures, leaderboard, selection
from harness.report.table import Table
from harness.response import Listener, check_independent, score
from harness.suites.shift import check_probabilities
from harness.tally import tally
from harness.types import (
    Batch,
    Columns,
    Condition,
    Dataset,
    HarnessError,
    Method,
    Metric,
    Observation,
    Pair,
    Scene,
    Stage,
    SuiteViews,
    Tally,
)

ID, SHIFTED, NEAR, FAR = "id", "csid", "near", "far"
"""Groups of conditions: test images in distribution, the same under covariate shift, and the two kinds outside."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A detector, once it has learnt what it learns, under a test-time method.

    detect: see `harness.types.Detector`. whole: it looks at the method's answer, not at each view.
    rectified: it was made for features after a ReLU.
    chosen: settings that were tuned.
    """

    method: Method
    detect: Callable[[Any], Tensor]
    whole: bool
    rectified: bool
    chosen: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, views: SuiteViews, pair: Pair) -> tuple[Tensor, Tensor]:
        """Class probabilities (B, K) of the method, and scores (B,)."""
        assert isinstance(pair.classifier, TiledClassifier)
        listener = Listener(pair.classifier)
        probabilities = self.method(views, listener)
        check_probabilities(probabilities, pair, len(views.original()))
        for images in listener.shown:
            finite(pair.classifier.respond(images)[0], f"The penultimate layer of {pair.model}")
        with _blaming(pair):
            scores = score(self.detect, self.whole, pair.classifier, probabilities, listener.shown)
        remedy = "All it was given was finite: mend the detector, or change its settings."
        return probabilities, finite(scores[:, None], _who(pair), remedy)[:, 0]


def _who(pair: Pair) -> str:
    return f"Detector {pair.method} on {pair.model}"


@contextmanager
def _blaming(pair: Pair) -> Iterator[None]:
    """Whatever goes wrong inside says which detector it was, with which model, and where in its code."""
    try:
        yield
    except HarnessError as error:
        raise HarnessError(f"{_who(pair)}: {error}") from error
    except Exception as error:
        module = AXES["detector"].of(pair.method).build.__module__
        frames = list(walk_tb(error.__traceback__))
        frame, line = ([f for f in frames if f[0].f_globals.get("__name__") == module] or frames)[-1]
        where = f"{frame.f_code.co_filename}, line {line}"
        raise HarnessError(f"{_who(pair)} failed in {where}: {type(error).__name__}: {error}") from error


def _options(pair: Pair, entry: Entry, bank: FeatureBank) -> list[Fitted]:
    """The detector of a pair, fitted; one for each combination of the settings that are to be tuned."""
    method, detector = pair.procedure.outer, pair.procedure.inner
    tuned = isinstance(detector, Tuned)
    options = []
    for candidate in detector.candidates() if tuned else [detector]:
        detect = candidate.fit(bank) if hasattr(candidate, "fit") else candidate
        chosen = {key: float(getattr(candidate, key)) for key in detector.sweep} if tuned else {}
        facts = (bool(entry.facts.get(fact)) for fact in ("whole", "rectified"))
        options.append(Fitted(method, detect, *facts, chosen))
    return options


class Detection:
    """Base of the suites that ask whether an image is from the classifier's world.

    A subclass gives name, version, dataset, denoiser, `conditions` (groups as above), `open`, `training` and
    `validation`. A row is a detector on what a test-time method shows: see `harness.response.score`.
    """

    name: str
    version: int
    dataset: str
    denoiser: str | None = None
    axis: ClassVar[str] = "detector"
    methods: ClassVar[Sequence[str]] = ("msp", "react", "ash-b", "scale")
    every: ClassVar[int] = 1
    part: ClassVar[int] = 200
    diffuses: ClassVar[bool] = False
    columns: ClassVar[Sequence[tuple[str, str]]] = (
        ("auroc", NEAR), ("auroc", FAR), ("fpr95_ood_pos", NEAR), ("fpr95_ood_pos", FAR), ("accuracy", ID),
    )  # fmt: skip

    def conditions(self) -> Sequence[Condition]:
        """The data sets, test images in distribution first."""
        raise NotImplementedError

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The images of one condition."""
        raise NotImplementedError

    def training(self) -> Dataset:
        """Labelled images in distribution that the classifier was trained on."""
        raise NotImplementedError

    def validation(self) -> tuple[Dataset, Dataset]:
        """Images in and out of distribution for choosing settings: none of them is a test image."""
        raise NotImplementedError

    def facts(self) -> Mapping[str, str]:
        """Nothing beyond the settings."""
        return {}

    def tally(self, procedures: Sequence[Combination], image: Tensor, classes: int) -> Tally:
        """What the test-time methods ask for; what detectors learn from is not counted."""
        return tally([p.outer for p in procedures], image, classes)

    def check(self, procedures: Sequence[Combination], denoiser: Any) -> None:
        """Methods that cannot run say so when they are counted."""

    def prepare(
        self,
        pairs: Sequence[Pair],
        look: Callable[[Batch], SuiteViews],
        cache: Path,
        report: Callable[[Stage], None],
    ) -> Sequence[Pair]:
        """Fit the detectors; choose settings that are to be tuned, for all in one pass over the validation images."""
        (inside, outside), options = self.validation(), []
        few = inside.read(range(min(4, len(inside.ids)))).images
        for pair in pairs:
            entry = AXES["detector"].of(pair.method)
            bank = FeatureBank(pair.classifier, pair.weights, self.training(), inside, entry.source, cache, report)
            with _blaming(pair):
                options.append(_options(pair, entry, bank))
                for option in options[-1]:
                    check_independent(option.detect, option.whole, pair.classifier, few)
        undecided = {k: found for k, found in enumerate(options) if len(found) > 1}
        if undecided:
            chosen = self._choose({pairs[k]: found for k, found in undecided.items()}, (inside, outside), look, report)
            options = [[chosen.get(pair, found[0])] for pair, found in zip(pairs, options, strict=True)]
        return [replace(pair, procedure=found[0]) for pair, found in zip(pairs, options, strict=True)]

    def _choose(
        self,
        undecided: Mapping[Pair, Sequence[Fitted]],
        sides: Sequence[Dataset],
        look: Callable[[Batch], SuiteViews],
        report: Callable[[Stage], None],
    ) -> dict[Pair, Fitted]:
        """Per pair the option of largest AUROC on the validation images; of equals the first, as OpenOOD chooses."""
        found: list[dict[Pair, list[list[Tensor]]]] = []
        for data, where in zip(sides, ("in", "out of"), strict=True):
            scores: dict[Pair, list[list[Tensor]]] = {
                pair: [[] for _ in options] for pair, options in undecided.items()
            }
            for start in range(0, len(data.ids), self.part):
                picked = range(start, min(start + self.part, len(data.ids)))
                views = look(data.read(picked))
                for pair, options in undecided.items():
                    for column, option in zip(scores[pair], options, strict=True):
                        column.append(option(views, pair)[1])
                report(Stage(f"tuning, {where} distribution", picked.stop, len(data.ids)))
            found.append(scores)
        reached = {
            pair: [
                ood.auroc(torch.cat(i).numpy(), torch.cat(o).numpy())
                for i, o in zip(found[0][pair], found[1][pair], strict=True)
            ]
            for pair in undecided
        }
        return {pair: undecided[pair][int(np.argmax(values))] for pair, values in reached.items()}

    def observe(self, scene: Scene) -> Iterator[Observation]:
        """Predicted class, its probability, and the detector's score, in one step."""
        yield Observation([_columns(scene.views, pair) for pair in scene.pairs])

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Accuracy in distribution; AUROC, FPR@95 and AUPR per data set and as near and far means."""
        inside, outside, images = self._sides(rows)
        clean = rows["condition"] == ID
        found = [accuracy(rows["prediction"][clean] == rows["label"][clean], ID)]
        chosen = [f"{k.removeprefix('chosen ')}={v[0]:g}" for k, v in rows.items() if k.startswith("chosen ")]
        notes = [f"Chosen on the validation images: {', '.join(chosen)}."] if chosen else []
        if rows.get("signed", clean[:0]).any():
            share = f"{rows['signed'].sum()} of {len(rows['signed'])}"
            notes.append(f"Negative features in {share} images: ash and scale are defined for features after a ReLU.")
        return found + ood.summary(inside, outside, images), notes

    def _sides(self, rows: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]], np.ndarray]:
        """Scores in distribution, those outside by group and data set, and the source images of the first."""
        known = [rows["condition"] == c.name for c in self.conditions() if c.group in (ID, SHIFTED)]
        outside: dict[str, dict[str, np.ndarray]] = {}
        for c in self.conditions():
            if c.group in (NEAR, FAR):
                name = c.name.removeprefix(f"{c.group}/")
                outside.setdefault(c.group, {})[name] = rows["score"][rows["condition"] == c.name]
        inside, ids = (np.concatenate([rows[name][here] for here in known]) for name in ("score", "id"))
        return inside, outside, _sources(rows["id"][known[0]], ids)

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Score histograms and ROC curves: models across, methods down."""
        named = zip(entries, leaderboard.variants(entries), strict=True)
        return figures.scores(
            {(entry.model.name, method): self._sides(entry.rows("score"))[:2] for entry, method in named}
        )

    def paired(self, a: RunRecord, b: RunRecord) -> dict[str, ood.PairedAUROC]:
        """Differences of AUROC per data set and group, on the images that both have; p-values as they stand."""
        selection.check_pairable(a, b)
        if benchmark(a.suite) != benchmark(b.suite):
            raise HarnessError(f"{a.suite} and {b.suite} differ in what lies in distribution.")
        sides = comparison.common_rows(a, b, "score")
        (in_a, out_a, images), (in_b, out_b, _) = (self._sides(side) for side in sides)
        return ood.compare(in_a, out_a, in_b, out_b, images)

    def compare(self, a: RunRecord, b: RunRecord) -> Table:
        """Paired DeLong tests per data set and group."""
        found = self.paired(a, b)
        rows = []
        for (name, r), p in zip(found.items(), holm([r.p for r in found.values()]), strict=True):
            low, high = (100 * end for end in r.interval)
            difference = f"{100 * r.difference:+.2f} [{low:+.2f}, {high:+.2f}]"
            rows.append([name, difference, str(r.n), comparison.spell_p(p)])
        caption = "Positive: B is better. Same images on both sides; intervals and p: DeLong et al. (1988), paired"
        caption += comparison.several(len(rows)) + comparison.coverages(a, b)
        return Table(comparison.versus(a, b), ["data set", "AUROC difference (points)", "images", "p"], rows, caption)


def _columns(views: SuiteViews, pair: Pair) -> Columns:
    probabilities, scores = pair.procedure(views, pair)
    confidence, prediction = probabilities.max(1)
    found = {"prediction": prediction, "confidence": confidence, "score": scores}
    if pair.procedure.rectified:
        found["signed"] = (pair.classifier.respond(views.original())[0] < 0).any(1)
    chosen = {f"chosen {key}": value for key, value in pair.procedure.chosen.items()}
    return {**found, **{key: torch.full_like(scores, value) for key, value in chosen.items()}}


def _sources(clean: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The source images of rows: their ids, or the file names where these tell the clean images apart.

    OpenOOD's lists of corrupted images keep the file names of the clean ones in other folders.
    """
    names = np.array([Path(name).name for name in ids])
    return names if len({Path(name).name for name in clean}) == len(clean) else ids
