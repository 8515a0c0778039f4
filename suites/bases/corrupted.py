"""Common corruptions (Hendrycks & Dietterich, ICLR 2019): severities, the 15 + 4 corruptions, applied on the fly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from harness import plugins
from harness.data import Corrupted, corruptions
from harness.suites.bases.covariate_shift import CovariateShift
from harness.types import Condition, Dataset, Geometry, HarnessError, Metric

SEVERITIES = (1, 2, 3, 4, 5)
"""All severities of the benchmark."""

FIFTEEN = "standard"
"""The word for the 15 corruptions in the setting `corruption`."""


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
    corruption: names of corruptions, `FIFTEEN` and those of plugins included, in place of the 15. Each one enters the
        mean, so that another list is another benchmark.
    """

    shown: ClassVar[Sequence[tuple[str, str]]] = (("mean_accuracy", "mean"), ("mean_error", "mean"))
    frost: str = ""
    corruption: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        names = _expanded(self.corruption)
        if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise HarnessError(f"{self.name}: corruption= names {repeated[0]} twice. Give each once.")
        if names and self.extra:
            raise HarnessError(f"{self.name}: extra adds to the 15. Name the extra ones in corruption=, too.")
        if self.frost and names and "frost" not in names:
            raise HarnessError(f"{self.name}: frost= means nothing without frost in corruption=. Leave one out.")
        object.__setattr__(self, "corruption", _spelling(names))
        conditions = self.conditions()
        if len(conditions) == 1:  # which has no mean
            shown = tuple((metric, conditions[0].name) for metric in ("accuracy", "ece", "nll"))
            object.__setattr__(self, "shown", shown)

    def corruptions(self) -> Mapping[str, bool]:
        """Those of the setting `corruption`, or the 15 and perhaps the 4."""
        return dict.fromkeys(_expanded(self.corruption), True) or super().corruptions()

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
        for name in self.corruptions():
            corruptions.check_name(name)
        folder = Path(self.frost) if self.frost else None
        return Corrupted(self._clean, condition.group, condition.severity, seed, folder, self.geometry_after())

    def facts(self) -> Mapping[str, str]:
        """The source of the frost textures, and of each corruption from outside of the project."""
        names = self.corruptions()
        frost = {"frost": corruptions.frost_source(Path(self.frost) if self.frost else None)}
        entries = [plugins.corruption[name] for name in names if name in plugins.corruption]
        sources = {f"corruption {entry.name}": _short(entry) for entry in entries if entry.source}
        return {**(frost if "frost" in names else {}), **sources}

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """See `CovariateShift.summarise`; a note says what a mean over other corruptions than the 15 is over."""
        metrics, notes = super().summarise(rows)
        own = f"Means are over the corruptions {', '.join(self.corruptions())}, not the benchmark's 15."
        return metrics, [*notes, own] if self.corruption and len(self.conditions()) > 1 else notes


def _short(entry: plugins.Entry) -> str:
    """The start of the hash of a plugin's file, or its package with version; the key of a record has the whole hash."""
    return entry.source if entry.source == entry.origin.name else entry.source[:12]


def _expanded(names: Sequence[str]) -> list[str]:
    """Names of corruptions, with the 15 in place of the word for them."""
    return [one for name in names for one in (corruptions.STANDARD if name == FIFTEEN else (name,))]


def _spelling(names: Sequence[str]) -> tuple[str, ...]:
    """The one spelling of a list of corruptions: in the order of the paper, then others by name; () for the 15."""
    standard = [name for name in corruptions.STANDARD if name in names]
    extra = [name for name in corruptions.EXTRA if name in names]
    others = sorted(set(names) - {*standard, *extra})
    whole = len(standard) == len(corruptions.STANDARD)
    if whole and not extra and not others:
        return ()
    return (*((FIFTEEN,) if whole else standard), *extra, *others)
