"""What the suites of common corruptions share (Hendrycks & Dietterich, ICLR 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness import corruptions
from harness.data import Corrupted
from harness.suites.shift import CovariateShift
from harness.types import Condition, Dataset, Geometry, HarnessError

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Severities(CovariateShift):
    """Base of the suites of corruptions in five severities. A subclass names the corruptions.

    severity: 1 to 5; the default is that of the DiffAug paper's Table 1.
    """

    severity: tuple[int, ...] = (5,)

    def __post_init__(self) -> None:
        if not self.severity or not set(self.severity) <= set(SEVERITIES):
            raise HarnessError(f"{self.name}: severity={','.join(map(str, self.severity))} must be among 1,2,3,4,5.")
        if list(self.severity) != sorted(set(self.severity)):
            raise HarnessError(f"{self.name}: give each severity once, in rising order.")

    def corruptions(self) -> Mapping[str, bool]:
        """Every corruption, and whether it is averaged in."""
        raise NotImplementedError

    def conditions(self) -> Sequence[Condition]:
        """Every corruption at every severity, "gaussian_noise/5"."""
        return [
            Condition(f"{name}/{s}", name, scored, s, self.size)
            for name, scored in self.corruptions().items()
            for s in self.severity
        ]


@dataclass(frozen=True)
class FifteenAndFour(Severities):
    """The 15 corruptions of the benchmark.

    extra: add the 4 held-out corruptions, which never enter a mean.
    """

    extra: bool = False

    def corruptions(self) -> Mapping[str, bool]:
        """In the order of the paper."""
        return dict.fromkeys(corruptions.STANDARD, True) | dict.fromkeys(corruptions.EXTRA if self.extra else (), False)


@dataclass(frozen=True)
class CommonCorruptions(FifteenAndFour):
    """Base of the suites that corrupt clean images on the fly. A subclass gives the images: `clean`.

    frost: folder of the original frost photographs; without it frost is drawn procedurally, another condition.
    """

    frost: str = ""

    def clean(self) -> Dataset:
        """The images to corrupt."""
        raise NotImplementedError

    def shown(self) -> Geometry | None:
        """What corrupted images go through before a classifier sees them; None shows them as they are."""
        return None

    @cached_property
    def _clean(self) -> Dataset:
        return self.clean()

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The clean images under the condition's corruption."""
        folder = Path(self.frost) if self.frost else None
        return Corrupted(self._clean, condition.group, condition.severity, seed, folder, self.shown())

    def facts(self) -> Mapping[str, str]:
        """Which frost textures were used."""
        return {"frost": corruptions.frost_source(Path(self.frost) if self.frost else None)}
