"""The outcome of an attack on a record's certificates: figures by noise level, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from harness.evaluation.attacked.certified import IMPLAUSIBLE, chance_of, expected_breaks, sentence_on
from harness.report.table import Table
from harness.types import HarnessError


@dataclass(frozen=True)
class CertificateAttack:
    """Settings of an attack on certificates.

    eps: radius of the ball around each image, for images in [0, 1]. norm: of the ball.
    attack: a plugin with its settings, one that adds Gaussian noise itself. draws: that vote on each attacked image.
    alpha: probability that such a vote is wrong. None: the record's.
    limit: at most so many certificates per noise level; 0 for all.
    """

    eps: float
    norm: str = "l2"
    attack: str = "smooth-pgd"
    draws: int | None = None
    alpha: float | None = None
    limit: int = 0

    def __post_init__(self) -> None:
        if self.norm != "l2":
            raise HarnessError(f"norm={self.norm}: certificates of Gaussian smoothing hold in l2 balls. Take norm=l2.")
        if not self.eps > 0:
            raise HarnessError(f"eps={self.eps:g} leaves no room for an attack: give a radius above 0, such as 0.25.")


@dataclass(frozen=True)
class BrokenCertificate:
    """A certificate that an attack has broken: id of the image, class and radius certified, class under attack."""

    id: str
    prediction: int
    radius: float
    answer: int


@dataclass(frozen=True)
class AttackedLevel:
    """The certificates of one noise level.

    sigma: standard deviation of the noise that the attack adds. certified: number of certificates beyond eps.
    attacked: of these.
    """

    condition: str
    sigma: float
    certified: int
    attacked: int = 0
    broken: Sequence[BrokenCertificate] = ()


@dataclass(frozen=True)
class AttackedRecord:
    """What an attack did to a record's certificates.

    settings: with draws and alpha. certified_at: alpha of the certificates. made_of: by name, all else that decides the
    figures. tile_halvings: number of times that memory forced a smaller tile.
    """

    settings: CertificateAttack
    certified_at: float
    levels: Sequence[AttackedLevel]
    made_of: Mapping[str, Any] = field(default_factory=dict)
    tile_halvings: int = 0

    @property
    def attacked(self) -> int:
        """Certificates that were attacked, over all noise levels."""
        return sum(level.attacked for level in self.levels)

    @property
    def broken(self) -> int:
        """Certificates that the attack broke, over all noise levels."""
        return sum(len(level.broken) for level in self.levels)

    @property
    def chance(self) -> float:
        """Probability, at most, of so many broken ones by chance: see `chance_of`."""
        return chance_of(self.broken, self.attacked, self._alpha, self.certified_at)

    @property
    def plausible(self) -> bool:
        """True unless more are broken than right certificates explain."""
        return self.chance >= IMPLAUSIBLE

    @property
    def sentences(self) -> list[str]:
        """The verdict in words."""
        count = sentence_on(self.broken, self.attacked, self._expected(self.attacked))
        if not self.broken:
            return [count]
        words = "which chance explains" if self.plausible else "so they do not hold what they say"
        return [count, f"So many or more have probability {self.chance:.2g} at most if all hold, {words}."]

    def table(self) -> Table:
        """A row per noise level, and one for all of several."""
        rows = [self._row(level.condition, level.certified, level.attacked, len(level.broken)) for level in self.levels]
        if len(rows) > 1:
            certified = sum(level.certified for level in self.levels)
            rows.append(self._row("all", certified, self.attacked, self.broken))
        facts, one = self.made_of, self.settings
        return Table(
            f"Certificates under attack: {facts.get('model')}, {facts.get('smoother')}",
            ["noise", f"certified beyond {one.eps:g}", "attacked", "broken", "expected at most by chance"],
            rows,
            f"Attack {one.attack} in l2 balls of {one.eps:g}, with the noise of each level unless its settings say "
            f"otherwise. Broken: another class is significant at alpha={one.alpha:g} among {one.draws:,} draws that "
            "neither certification nor attack saw.",
        )

    def as_json(self) -> dict[str, Any]:
        """All figures, and everything that made them."""
        levels = [{**asdict(level), "expected": self._expected(level.attacked)} for level in self.levels]
        return {
            **self.made_of,
            **asdict(self.settings),
            "certified_at": self.certified_at,
            "levels": levels,
            "attacked": self.attacked,
            "broken": self.broken,
            "expected": self._expected(self.attacked),
            "chance": self.chance,
            "plausible": self.plausible,
            "tile_halvings": self.tile_halvings,
        }

    @property
    def _alpha(self) -> float:
        assert self.settings.alpha is not None
        return self.settings.alpha

    def _expected(self, attacked: int) -> float:
        return expected_breaks(attacked, self._alpha, self.certified_at)

    def _row(self, name: str, certified: int, attacked: int, broken: int) -> list[str]:
        return [name, f"{certified:,}", f"{attacked:,}", f"{broken:,}", f"{self._expected(attacked):.2g}"]


@dataclass(frozen=True)
class AttackCost:
    """Network calls of an attack on certificates, of single images, and the time that they take.

    certified, attacked: numbers of certificates over all noise levels. Gradients are backward passes, beside the calls.
    """

    certified: int
    attacked: int
    classifier_calls: int
    classifier_gradients: int
    denoiser_calls: int
    denoiser_gradients: int
    seconds: float

    def table(self) -> Table:
        """The table of a dry run."""
        counts = {
            "certified beyond eps": self.certified,
            "attacked": self.attacked,
            "classifier calls": self.classifier_calls,
            "denoiser calls": self.denoiser_calls,
            "classifier gradients": self.classifier_gradients,
            "denoiser gradients": self.denoiser_gradients,
        }
        rows = [[name, f"{count:,}"] for name, count in counts.items() if count]
        rows.append(["time", f"{self.seconds / 60:.1f} min"])
        caption = (
            "Calls are of single images. Gradients are backward passes. Time from a short measurement on this machine."
        )
        return Table("Dry run", ["", "all noise levels"], rows, caption)


def resolved(settings: CertificateAttack, draws: int, alpha: float, attack: str) -> CertificateAttack:
    """The settings with the record's draws and alpha where none are given, and the attack's canonical text."""
    return replace(
        settings,
        attack=attack,
        draws=draws if settings.draws is None else settings.draws,
        alpha=alpha if settings.alpha is None else settings.alpha,
    )
