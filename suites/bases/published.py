"""Suites of published images: a user's folder in the published layout, and the clean images beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.data import listing, open_dataset
from harness.suites.bases.covariate_shift import CovariateShift
from harness.types import Condition, Dataset, HarnessError

CLEAN = "clean"


@dataclass(frozen=True)
class Published(CovariateShift):
    """Base of the suites of images as their authors published them. A subclass gives `shifted` and `images`.

    layout: expected content of DIR, for messages. tops: folders that the archives unpack into; DIR may contain them.
    clean_size: number of test images of the clean data set.

    data: DIR.
    clean: folder of the clean data set; its test images of the same classes become a condition that enters no mean.
    """

    layout: ClassVar[str]
    tops: ClassVar[Sequence[str]] = ()
    clean_size: ClassVar[int]
    data: str = ""
    clean: str = ""

    def shifted(self) -> Sequence[Condition]:
        """The published conditions."""
        raise NotImplementedError

    def images(self, condition: Condition) -> Dataset:
        """The images of a published condition."""
        raise NotImplementedError

    def validation(self) -> Dataset:
        """The clean images."""
        return open_dataset(self.dataset, self.split, self.clean)

    def conditions(self) -> Sequence[Condition]:
        """The published conditions, and the clean images if they are at hand."""
        clean = [Condition(CLEAN, CLEAN, scored=False, size=self.clean_size)] if self.clean else []
        return [*self.shifted(), *clean]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The images as they are stored; nothing is drawn."""
        return self.validation() if condition.name == CLEAN else self.images(condition)

    def place(self, *below: str) -> Path:
        """The path of a folder or file of the layout; HarnessError, naming the layout, if it is not there."""
        if not self.data:
            raise HarnessError(f"{self.name} needs its data: --data DIR, with {self.layout}.")
        root = Path(self.data)
        for top in (*self.tops, ""):
            path = root.joinpath(top, *below)
            if path.exists():
                return path
        missing = f"no {'/'.join(below)} in {root}" if below else f"no folder {root}"
        raise HarnessError(f"{self.name}: {missing}. Expected {self.layout}. Found there: {listing(root)}.")
