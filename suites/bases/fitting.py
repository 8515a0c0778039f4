"""Detectors before a run: fit each one, and choose the settings that are to be tuned, as OpenOOD does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from traceback import walk_tb
from typing import Any

import torch
from torch import Tensor

from harness.evaluation.features import FeatureBank
from harness.evaluation.response import RecordingClassifier, score
from harness.metrics import ood
from harness.models.tiles import TiledClassifier, finite
from harness.plugins import AXES, Tuned
from harness.suites.bases.covariate_shift import check_probabilities
from harness.types import Batch, Dataset, HarnessError, Method, Pair, Stage, SuiteViews, Unsuited

MACHINE = (OSError, MemoryError, torch.OutOfMemoryError)
"""Errors of the machine, as a full disk: they stop the run, since the detector may suit the model."""


@dataclass(frozen=True, eq=False)
class FittedDetector:
    """A detector that has learnt what it learns, under a test-time method.

    detect: see `harness.types.Detector`. whole: it scores the method's answer, not each view.
    rectified: it was made for features after a ReLU.
    chosen: values of the settings that were tuned.
    """

    method: Method
    detect: Callable[[Any], Tensor]
    whole: bool
    rectified: bool
    chosen: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, views: SuiteViews, pair: Pair) -> tuple[Tensor, Tensor]:
        """Class probabilities (B, K) of the method, and scores (B,)."""
        assert isinstance(pair.classifier, TiledClassifier)
        classifier = RecordingClassifier(pair.classifier)
        probabilities = self.method(views, classifier)
        check_probabilities(probabilities, pair, len(views.original()))
        for images in classifier.shown:
            finite(pair.classifier.respond(images)[0], f"The penultimate layer of {pair.model}")
        with naming_detector(pair):
            scores = score(self.detect, self.whole, pair.classifier, probabilities, classifier.shown)
        remedy = "All its inputs were finite: fix the detector, or change its settings."
        return probabilities, finite(scores[:, None], _who(pair), remedy)[:, 0]


def _who(pair: Pair) -> str:
    return f"Detector {pair.method_name} on {pair.model}"


@contextmanager
def naming_detector(pair: Pair) -> Iterator[None]:
    """Turn any error inside into one that names the detector, the model and the line of its code.

    A HarnessError stays of its kind; one of `MACHINE` becomes a HarnessError, any other `Unsuited`.
    """
    try:
        yield
    except Unsuited as error:
        raise Unsuited(f"{_who(pair)}: {error}") from error
    except HarnessError as error:
        raise HarnessError(f"{_who(pair)}: {error}") from error
    except Exception as error:
        module = AXES["detector"].of(pair.method_name).build.__module__
        frames = list(walk_tb(error.__traceback__))
        frame, line = ([f for f in frames if f[0].f_globals.get("__name__") == module] or frames)[-1]
        where = f"{frame.f_code.co_filename}, line {line}"
        kind = HarnessError if isinstance(error, MACHINE) else Unsuited
        raise kind(f"{_who(pair)} failed in {where}: {type(error).__name__}: {error}") from error


def fit(pair: Pair, facts: Mapping[str, Any], bank: FeatureBank) -> list[FittedDetector]:
    """The detector of a pair, fitted; one for each combination of the settings that are to be tuned.

    facts: keyword arguments of the detector's ``@detector``.
    """
    method, detector = pair.method.outer, pair.method.inner
    tuned = isinstance(detector, Tuned)
    fitted = []
    for candidate in detector.candidates() if tuned else [detector]:
        detect = candidate.fit(bank) if hasattr(candidate, "fit") else candidate
        chosen = {key: float(getattr(candidate, key)) for key in detector.sweep} if tuned else {}
        whole, rectified = bool(facts.get("whole")), bool(facts.get("rectified"))
        fitted.append(FittedDetector(method, detect, whole=whole, rectified=rectified, chosen=chosen))
    return fitted


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate detector and its scores of the validation images, batch by batch.

    inside, outside: scores (B,) of the images in and out of distribution.
    """

    pair: Pair
    detector: FittedDetector
    inside: list[Tensor] = field(default_factory=list)
    outside: list[Tensor] = field(default_factory=list)

    def auroc(self) -> float:
        """AUROC on the validation images."""
        return ood.auroc(torch.cat(self.inside).numpy(), torch.cat(self.outside).numpy())


def choose(
    trials: Sequence[Sequence[Trial]],
    validation: tuple[Dataset, Dataset],
    look: Callable[[Batch], SuiteViews],
    batch_size: int,
    report: Callable[[Stage], None],
) -> list[FittedDetector]:
    """Per pair the detector of largest AUROC, the first among equals; one pass over the validation images.

    trials: per pair. validation: images in and out of distribution; not looked at if no pair has several trials.
    """
    competing = [trial for options in trials if len(options) > 1 for trial in options]
    if competing:
        inside, outside = validation
        for views in _shown(inside, "tuning, in distribution", look, batch_size, report):
            for trial in competing:
                trial.inside.append(trial.detector(views, trial.pair)[1])
        for views in _shown(outside, "tuning, out of distribution", look, batch_size, report):
            for trial in competing:
                trial.outside.append(trial.detector(views, trial.pair)[1])
    best = [max(options, key=Trial.auroc) if len(options) > 1 else options[0] for options in trials]
    return [trial.detector for trial in best]


def _shown(
    data: Dataset,
    stage: str,
    look: Callable[[Batch], SuiteViews],
    batch_size: int,
    report: Callable[[Stage], None],
) -> Iterator[SuiteViews]:
    """Views of the images of a data set, batch by batch; each batch is reported when the next is asked for."""
    count = len(data.ids)
    for start in range(0, count, batch_size):
        rows = range(start, min(start + batch_size, count))
        yield look(data.read(rows))
        report(Stage(stage, rows.stop, count))
