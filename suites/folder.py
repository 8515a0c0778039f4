"""A user's own images: clean, and under the common corruptions."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plugins import suite
from harness.suites.bases.corrupted import CommonCorruptions
from harness.suites.bases.covariate_shift import CleanAccuracy


@suite("folder", version=1, dataset="folder")
@dataclass(frozen=True)
class Folder(CleanAccuracy):
    """Clean accuracy on your own images: --data DIR with test/CLASS/*.png, at 32 pixels."""

    data: str = ""


@suite("folder-c", version=1, dataset="folder")
@dataclass(frozen=True)
class FolderC(CommonCorruptions):
    """The common corruptions of your own images: --data DIR with test/CLASS/*.png, at 32 pixels."""

    data: str = ""
