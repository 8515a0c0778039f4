"""What the suites of common corruptions share (Hendrycks & Dietterich, ICLR 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness import corruptions
from harness.data import Corrupted
from harness.suites.shift import CovariateShift
from harness.types import Condition, Dataset, HarnessError


@dataclass(frozen=True)
class CommonCorruptions(CovariateShift):
    """Base of the suites that corrupt clean images on the fly. A subclass gives the images: `clean`.

    severity: 1 to 5; the default is that of the DiffAug paper's Table 1.
    extra: add the 4 held-out corruptions, which never enter a mean.
    frost: folder of the original frost photographs; without it frost is drawn procedurally, another condition.
    """

    severity: tuple[int, ...] = (5,)
    extra: bool = False
    frost: str = ""

    def __post_init__(self) -> None:
        if not self.severity or not set(self.severity) <= set(range(1, 6)):
            raise HarnessError(f"{self.name}: severity={','.join(map(str, self.severity))} must be among 1,2,3,4,5.")
        if list(self.severity) != sorted(set(self.severity)):
            raise HarnessError(f"{self.name}: give each severity once, in rising order.")

    def clean(self) -> Dataset:
        """The images to corrupt."""
        raise NotImplementedError

    @cached_property
    def _clean(self) -> Dataset:
        return self.clean()

    def conditions(self) -> Sequence[Condition]:
        """Every corruption at every severity, "gaussian_noise/5"."""
        names = [(n, True) for n in corruptions.STANDARD] + [(n, False) for n in corruptions.EXTRA if self.extra]
        return [Condition(f"{n}/{s}", n, scored, s) for n, scored in names for s in self.severity]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The clean images under the condition's corruption."""
        folder = Path(self.frost) if self.frost else None
        return Corrupted(self._clean, condition.group, condition.severity, seed, folder)

    def facts(self) -> Mapping[str, str]:
        """Which frost textures were used."""
        return {"frost": corruptions.frost_source(Path(self.frost) if self.frost else None)}
