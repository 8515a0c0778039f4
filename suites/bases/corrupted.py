"""Common corruptions (Hendrycks & Dietterich, ICLR 2019): severities, the 15 + 4 corruptions, applied on the fly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from harness.data import Corrupted, corruptions
from harness.suites.bases.covariate_shift import CovariateShift
from harness.types import Condition, Dataset, Geometry, HarnessError

SEVERITIES = (1, 2, 3, 4, 5)
"""All severities of the benchmark."""


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
        """Names of the corruptions; True for those that enter the mean."""
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
    """Base of the suites of the benchmark's 15 corruptions.

    extra: add the 4 held-out corruptions, which never enter a mean.
    """

    extra: bool = False

    def corruptions(self) -> Mapping[str, bool]:
        """In the order of the paper."""
        return dict.fromkeys(corruptions.STANDARD, True) | dict.fromkeys(corruptions.EXTRA if self.extra else (), False)


@dataclass(frozen=True)
class CommonCorruptions(FifteenAndFour):
    """Base of the suites that corrupt the test images of a data set on the fly.

    frost: folder of the original frost photographs; without it frost is drawn procedurally, another condition.
    """

    shown: ClassVar[Sequence[tuple[str, str]]] = (("mean_accuracy", "mean"), ("mean_error", "mean"))
    frost: str = ""

    def clean(self) -> Dataset:
        """The images to corrupt."""
        return self.test_images()

    def geometry_after(self) -> Geometry | None:
        """Geometry that resizes and crops the corrupted images once more; None leaves them as they are."""
        return None

    @cached_property
    def _clean(self) -> Dataset:
        return self.clean()

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The clean images under the condition's corruption."""
        folder = Path(self.frost) if self.frost else None
        return Corrupted(self._clean, condition.group, condition.severity, seed, folder, self.geometry_after())

    def facts(self) -> Mapping[str, str]:
        """The source of the frost textures."""
        return {"frost": corruptions.frost_source(Path(self.frost) if self.frost else None)}
