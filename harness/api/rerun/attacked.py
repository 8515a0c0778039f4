"""The certificates of a record, attacked: the images vote again under noise that nobody has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from harness import plugins
from harness.api.rerun.certificates import (
    AttackCost,
    AttackedLevel,
    AttackedRecord,
    BrokenCertificate,
    CertificateAttack,
    resolved,
)
from harness.api.rerun.records import check_repeatable, other_inputs, prepared, repeated
from harness.base.errors import HarnessError
from harness.base.provenance import environment
from harness.evaluation.attacked.certified import attack_certificates, check_draws, smoothed_votes
from harness.evaluation.attacked.counting import counted
from harness.evaluation.attacked.judging import JUDGED
from harness.evaluation.estimate import BACKWARD, seconds_of
from harness.evaluation.job import Job
from harness.evaluation.records.record import RunRecord
from harness.evaluation.records.rows import Rows
from harness.evaluation.request import Request
from harness.evaluation.views.batch import BatchViews
from harness.evaluation.views.smoothed_gradients import SmootherClassifier
from harness.metrics.certification import ABSTAIN, predict
from harness.models.published.locate import WeightFiles
from harness.models.tiles import TiledClassifier
from harness.plugins.settings import parse
from harness.types import Batch, Condition, Noise, ThreatModel


@dataclass(frozen=True, eq=False)
class CertifiedRecord:
    """A record of certificates with its networks and images at hand, and the attack on it.

    rows: its sample table. settings: resolved.
    """

    record: RunRecord
    job: Job
    rows: Rows
    settings: CertificateAttack

    @classmethod
    def open(
        cls,
        record: RunRecord,
        settings: CertificateAttack,
        out: Path,
        weight_files: WeightFiles,
        *,
        data: str = "",
        denoiser: str = "",
    ) -> CertifiedRecord:
        """Check the settings against the record, then load its networks and data.

        out: an empty folder. data: folder of the data, where it has moved. denoiser: name or path of the record's
        diffusion model, where that is another here.
        Raises HarnessError for a record without certificates beyond eps, for an attack that is none on smoothed
        classifiers, and for networks and data other than the record's.
        """
        check_repeatable(record)
        suite: Any = plugins.suite.configure(repeated(record.spec, data, 1, 0).suite).plugin
        if suite.axis != plugins.smoother.kind or not hasattr(suite, "sigma"):
            raise HarnessError(
                f"{record.path}: the suite {record.suite} certifies nothing. Give the record of one that does, such as "
                "certify."
            )
        attack = plugins.attack.configure(settings.attack)
        if not hasattr(attack.plugin, "sigma"):
            raise HarnessError(
                f"{attack.text} attacks the classifier, not the smoothed one: it adds no Gaussian noise, and has no "
                "setting sigma. Take smooth-pgd."
            )
        # The canonical text leaves out a sigma that is the attack's default, and here it need not be the level's.
        text = settings.attack if _names_sigma(settings.attack) else attack.text
        settings = resolved(settings, suite.n, suite.alpha, text)
        assert settings.draws is not None and settings.alpha is not None
        check_draws(settings.draws, settings.alpha)
        if suite.n0 + suite.n > JUDGED:
            raise HarnessError(f"{record.path}: certification has seen the draws from {JUDGED:,} on, which judge.")
        rows = record.rows("prediction", "radius", "estimation")
        _check_radii(record, rows, settings.eps)
        spec = repeated(record.spec, data, 1, 0)
        if denoiser and not spec.denoiser:
            raise HarnessError(f"--denoiser {denoiser}: {record.method} of {record.path} takes none. Leave it out.")
        spec = replace(spec, denoiser=denoiser or spec.denoiser)
        job = prepared(Request.of(spec), out, weight_files, skip_bad=True)
        if inputs := list(other_inputs(record, job)):
            raise HarnessError(f"{record.path}: its certificates are of other inputs than these. {' '.join(inputs)}")
        return cls(record, job, rows, settings)

    def attack(self, report: Callable[[float, int], None] = lambda done, total: None) -> AttackedRecord:
        """Attack the certificates, and let the images vote again. report: takes images done, and images in all."""
        total, done = sum(len(self._taken(condition)) for condition, _ in self._levels), 0
        levels = []
        for condition, sigma in self._levels:
            cells = self._taken(condition)
            broken: list[BrokenCertificate] = []
            for start in range(0, len(cells), self.job.gradient_tiles.asked):
                some = cells[start : start + self.job.gradient_tiles.asked]

                def shown(share: float, before: int = done, count: int = len(some)) -> None:
                    report(before + share * count, total)

                broken += self._broken(condition, sigma, some, shown)
                done += len(some)
            certified = len(self._certified(condition))
            levels.append(AttackedLevel(condition.name, self._attack(sigma).sigma, certified, len(cells), broken))
        return AttackedRecord(self.settings, self._suite.alpha, levels, self._made_of, self.job.halvings())

    def cost(self) -> AttackCost:
        """Network calls of `attack`, and its time from a short measurement at the first noise level with an image."""
        numbers = [len(self._taken(condition)) for condition, _ in self._levels]
        images = sum(numbers)
        first = next(place for place, number in enumerate(numbers) if number)
        condition, sigma = self._levels[first]
        forward, backward = counted(self._attack(sigma), self.job.example, self._classes, self._threat)
        smoother = self._pair.method
        draws = self.settings.draws or 0
        per_vote, per_gradient = self._seconds(condition, sigma)
        # The attack's calls without a gradient take as long as those with one, less the backward pass.
        per_image = draws * per_vote + (backward + (forward - backward) / (1 + BACKWARD)) * per_gradient
        calls, gradients = images * (draws + forward) * smoother.votes, images * backward * smoother.votes
        return AttackCost(
            certified=sum(len(self._certified(condition)) for condition, _ in self._levels),
            attacked=images,
            classifier_calls=calls,
            classifier_gradients=gradients,
            denoiser_calls=calls * smoother.calls,
            denoiser_gradients=gradients * smoother.calls,
            seconds=images * per_image,
        )

    def _broken(
        self, condition: Condition, sigma: float, cells: Any, report: Callable[[float], None]
    ) -> Iterator[BrokenCertificate]:
        """The certificates among these rows of the table that the attack breaks."""
        batch, views = self._batch(condition, cells)
        tiled = self._pair.classifier
        assert isinstance(tiled, TiledClassifier) and self.settings.alpha is not None

        def noise(places: Tensor) -> Noise:
            return lambda purpose: views.attack_noise(f"{sigma:g}/{purpose}", places.tolist())

        def votes(images: Tensor, places: Tensor) -> Tensor:
            ids = tuple(batch.ids[place] for place in places.tolist())
            again = BatchViews(Batch(ids, images, batch.labels[places]), self.job.denoiser, self.job.tiles, self._seed)
            draws = self.settings.draws or 0
            return smoothed_votes(again, tiled, self._pair.method, sigma, draws, self._classes, report)

        attacked = attack_certificates(
            batch.images,
            torch.from_numpy(self.rows["prediction"][cells]).long(),
            torch.from_numpy(self.rows["radius"][cells]),
            classifier=self._smoothed(sigma, tiled, batch.ids),
            attack=self._attack(sigma),
            threat=self._threat,
            noise=noise,
            votes=votes,
            alpha=self.settings.alpha,
            certified_at=self._suite.alpha,
            who=f"The attack {self.settings.attack} on {self._pair.model}",
        )
        answers = predict(attacked.counts.numpy(), self.settings.alpha)
        for place in np.flatnonzero(attacked.broken):
            row = cells[int(attacked.rows[place])]
            prediction, radius = int(self.rows["prediction"][row]), float(self.rows["radius"][row])
            yield BrokenCertificate(str(self.rows["id"][row]), prediction, radius, int(answers[place]))

    def _seconds(self, condition: Condition, sigma: float) -> tuple[float, float]:
        """Seconds of one draw's vote, and of one gradient, per image."""
        batch, views = self._batch(condition, self._taken(condition)[:1])
        tiled, smoother, size = self._pair.classifier, self._pair.method, self.job.tiles.size
        assert isinstance(tiled, TiledClassifier)
        gradient_size = self.job.gradient_tiles.size
        images = batch.images.expand(gradient_size, -1, -1, -1)
        network = self._smoothed(sigma, tiled, batch.ids * gradient_size)
        labels = torch.zeros(gradient_size, dtype=torch.int64)

        def vote() -> None:
            smoothed_votes(views, tiled, smoother, sigma, size, self._classes)

        def differentiate() -> None:
            network.gradient(images, lambda z, y: F.cross_entropy(z, y, reduction="none"), labels)

        return seconds_of(vote) / size, seconds_of(differentiate) / gradient_size

    def _batch(self, condition: Condition, cells: Any) -> tuple[Batch, BatchViews]:
        """The images behind these rows of the table, and their views."""
        data = self.job.datasets[condition.name]
        places = {name: place for place, name in enumerate(data.ids)}
        batch = data.read([places[name] for name in self.rows["id"][cells]])
        return batch, BatchViews(batch, self.job.denoiser, self.job.tiles, self._seed)

    def _smoothed(self, sigma: float, tiled: TiledClassifier, ids: tuple[str, ...]) -> SmootherClassifier:
        return SmootherClassifier(self._pair.method, tiled, self.job.denoiser, sigma, self._seed, ids)

    def _certified(self, condition: Condition) -> Any:
        """Rows of the table that are certified beyond eps under a condition."""
        beyond = (self.rows["prediction"] != ABSTAIN) & (self.rows["radius"] > self.settings.eps)
        return np.flatnonzero(beyond & (self.rows["condition"] == condition.name))

    def _taken(self, condition: Condition) -> Any:
        """The first of these, up to the limit."""
        return self._certified(condition)[: self.settings.limit or None]

    def _attack(self, sigma: float) -> Any:
        """The attack with the noise of a level, unless its settings name another."""
        plugin: Any = plugins.attack.configure(self.settings.attack).plugin
        return plugin if _names_sigma(self.settings.attack) else replace(plugin, sigma=sigma)

    @cached_property
    def _levels(self) -> list[tuple[Condition, float]]:
        return list(zip(self.job.suite.conditions(), self._suite.sigma, strict=True))

    @property
    def _suite(self) -> Any:
        return self.job.suite

    @property
    def _pair(self) -> Any:
        return self.job.pairs[0]

    @property
    def _seed(self) -> int:
        return self.job.spec.seed

    @property
    def _classes(self) -> int:
        return int(self.rows["estimation"].shape[1])

    @property
    def _threat(self) -> ThreatModel:
        return ThreatModel(self.settings.norm, self.settings.eps)

    @property
    def _made_of(self) -> dict[str, Any]:
        """Everything beside the settings that decides the figures."""
        record, spec = self.record, self.job.spec
        hashes = {"model": record.model.sha256, "data": record.data_sha256, "samples": record.samples["sha256"]}
        hashes |= {"denoiser": record.denoiser.sha256} if record.denoiser else {}
        source = plugins.attack.of(self.settings.attack)
        return {
            "key": record.key,
            "suite": spec.suite,
            "model": record.model.name,
            "smoother": record.method,
            "denoiser": spec.denoiser,
            "sha256": hashes,
            "attack_source": f"{source.origin.name} {source.source}" if source.origin.name else "",
            "seed": spec.seed,
            "tile": spec.tile,
            "gradient_tile": spec.gradient_tile,
            "dtype": spec.dtype,
            "denoiser_dtype": spec.denoiser_dtype,
            "device": spec.device,
            "environment": environment(spec.device),
        }


def _check_radii(record: RunRecord, rows: Rows, eps: float) -> None:
    """Raise HarnessError where no certificate is larger than eps."""
    largest = float(rows["radius"][rows["prediction"] != ABSTAIN].max(initial=0.0))
    if largest > eps:
        return
    scale = f" On the scale of [0, 1], {eps:g} of 255 is eps={eps:g}/255." if eps >= 1 else ""
    raise HarnessError(
        f"{record.path}: no certificate reaches beyond eps={eps:g}; the largest radius is {largest:.4g}.{scale} Take a "
        "smaller eps."
    )


def _names_sigma(attack: str) -> bool:
    """True for the text of an attack that says the noise which it adds."""
    return "sigma" in parse(attack, attack.partition(":")[2], plugins.attack.of(attack).parameters, {})
