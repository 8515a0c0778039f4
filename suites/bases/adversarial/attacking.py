"""Attacks of a row in turn, each on the images that those before left correct."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from harness import plugins
from harness.evaluation.attacked.allowed import distances, slack, within
from harness.evaluation.attacked.judging import JUDGED, JUDGES, attacker
from harness.evaluation.views.gradients import MethodClassifier
from harness.models.tiles import TiledClassifier
from harness.suites.bases.adversarial import verdicts
from harness.suites.bases.adversarial.progress import Progress
from harness.suites.bases.adversarial.verdicts import KNOWN, UNSEEN
from harness.types import BatchTask, GradientClassifier, HarnessError, Pair, SuiteViews, ThreatModel

ABREAST = 4
"""Gradient tiles of images that a classifier's attack takes at once; between two calls a run may be interrupted.

Images fall while they are attacked: with several tiles, those that are left fill whole ones for longer.
"""


def members_of(attack: Any) -> Sequence[tuple[str, Any]]:
    """The attacks that a row runs in turn, by name: an ensemble's members, or the attack itself."""
    named = plugins.attack.text_of(attack) or "attack"
    return tuple(getattr(attack, "members", ())) or ((named, attack),)


def draws_of(attack: Any) -> int:
    """Largest number of fresh draws per step of an attack or of an ensemble's members; 0 if it sees the noise."""
    own = getattr(attack, "draws", None)
    return max(int(getattr(one, "draws", 0)) for _, one in members_of(attack)) if own is None else int(own)


def is_plain(method: Any) -> bool:
    """True for the method `default`, which leaves the classifier as it is."""
    return plugins.method.text_of(method) == "default"


def way_of(combination: Any) -> str:
    """The noise in which a method (outer) and an attack on it (inner) are judged."""
    return KNOWN if is_plain(combination.outer) or not draws_of(combination.inner) else UNSEEN


@dataclass(eq=False)
class RowUnderAttack:
    """One pair on one batch under a threat model."""

    task: BatchTask
    pair: Pair
    threat: ThreatModel
    progress: Progress
    way: str

    @classmethod
    def begin(cls, task: BatchTask, place: int, threat: ThreatModel) -> RowUnderAttack:
        """The pair in this place of the task, from where an interrupted run left it."""
        pair = task.pairs[place]
        way = way_of(pair.method)
        members = members_of(pair.method.inner)
        classifier = classifier_of(task.views, pair, range(len(task.labels)))
        images, labels = task.views.original(), task.labels
        own = verdicts.judged(classifier, images, labels, KNOWN)
        clean, choice = own, None
        if way == UNSEEN:
            clean = verdicts.judged(classifier, images, labels, way)
            choice = verdicts.judged(classifier, images, labels, way, JUDGED + JUDGES)
        kept = images if task.keep_images else None
        progress = Progress.begin(own.prediction, labels, clean, choice, len(members), kept)
        progress.resume(task.resumed[place])
        return cls(task, pair, threat, progress, way)

    @property
    def members(self) -> Sequence[tuple[str, Any]]:
        """The attacks in turn, by name."""
        return members_of(self.pair.method.inner)

    def run(self) -> Iterator[None]:
        """Attack until every attack has looked at what was left to it; yields after each call of one."""
        for number, (name, attack) in enumerate(self.members):
            waiting = self.progress.survivors(number)
            for rows in waiting.split(self._abreast) if len(waiting) else ():
                self._attack(number, name, attack, rows)
                yield
            self.progress.spare(number)

    @property
    def _abreast(self) -> int:
        """Images of one call: of a method whose gradients are dear one tile, so that little is lost."""
        assert isinstance(self.pair.classifier, TiledClassifier)
        return self.pair.classifier.gradient_tiles.size * (ABREAST if is_plain(self.pair.method.outer) else 1)

    def _attack(self, number: int, name: str, attack: Any, rows: Tensor) -> None:
        places = rows.tolist()
        clean, labels = self.task.views.original()[rows], self.task.labels[rows]
        classifier = classifier_of(self.task.views, self.pair, places)

        def noise(purpose: str) -> Tensor:
            return self.task.views.attack_noise(f"{name}/{purpose}", places)

        who = f"The attack {name} on {self.pair.model}"
        try:
            images = attack(clean, labels, attacker(classifier), noise, self.threat).detach().float()
        except HarnessError as error:
            raise HarnessError(f"{who}: {error}") from error
        norms, allowed = within(images, clean, self.threat, who, bool(getattr(attack, "minimal", False)))
        verdict = verdicts.judged(classifier, images, labels, self.way)
        choice = None
        if self.way == UNSEEN:
            choice = verdicts.judged(classifier, images, labels, self.way, JUDGED + JUDGES)
        self.progress.add(number, rows, images, norms, allowed, verdict, choice)


def rescored(task: BatchTask, images: Tensor, threat: ThreatModel) -> Mapping[str, Any]:
    """Adversarial images (B, 3, H, W) of the task's only pair, judged again.

    inside: (B,) bool, all values in [0, 1]. allowed: by the threat model. norm: (B,) float32, of the perturbations.
    clean: (B,) int64, classes of the images without an attack. prediction, loss, right: see `Verdict`. As numpy.
    """
    (pair,), labels = task.pairs, task.labels
    inside = ((images >= 0) & (images <= 1)).flatten(1).all(1)
    clean = task.views.original()
    norms = distances(images, clean, threat.norm)
    classifier = classifier_of(task.views, pair, range(len(labels)))
    verdict = verdicts.judged(classifier, images, labels, way_of(pair.method))
    columns = {
        "inside": inside,
        "allowed": norms <= threat.eps + slack(threat),
        "norm": norms.float(),
        "clean": verdicts.judged(classifier, clean, labels, KNOWN).prediction,
        "prediction": verdict.prediction,
        "loss": verdict.loss,
        "right": verdict.right,
    }
    return {name: values.numpy() for name, values in columns.items()}


def classifier_of(views: SuiteViews, pair: Pair, rows: Sequence[int]) -> GradientClassifier:
    """The pair as one classifier under attack, for the images in these places of the views."""
    if not isinstance(pair.classifier, TiledClassifier):
        raise HarnessError(f"{pair.model} cannot be attacked: it is no network, and has no gradient.")
    if is_plain(pair.method.outer):
        return pair.classifier
    return _in_small_tiles(views.attacked(pair.method.outer, pair.classifier, rows), pair.classifier)


def _in_small_tiles(attacked: GradientClassifier, classifier: TiledClassifier) -> GradientClassifier:
    """A method's classifier in the tiles of gradients: survivors do not pay for whole tiles of the evaluation."""
    small = classifier.gradient_tiles
    if not isinstance(attacked, MethodClassifier) or attacked.tiles.dtype != small.dtype:
        return attacked
    return replace(attacked, tiles=small, classifier=TiledClassifier(classifier.network, small, small))
