"""Detection of out-of-distribution images in a user's own folders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from harness import plugins
from harness.data import Subset, open_dataset, open_outside
from harness.plugins import Tuned, suite
from harness.suites.bases.detection import FAR, ID, NEAR, Detection
from harness.types import Condition, Dataset, HarnessError, Unsuited


@suite("ood-folders", version=1, dataset="folder")
@dataclass(frozen=True)
class OODFolders(Detection):
    """Your own images out of distribution: --near DIR, --far DIR, flat or nested, each one set called like its folder.

    inside: data set in distribution, with --data where it reads a folder; a sixth of its test split is for validation.
    held_out: folder of images outside for `=tune`, in no other set.
    """

    inside: str = "folder"
    data: str = ""
    near: str = ""
    far: str = ""
    held_out: str = ""

    def __post_init__(self) -> None:
        plugins.dataset[self.inside]  # raises HarnessError for a name that is no data set
        _check_names(self.name, [Path(folder).name for group in (NEAR, FAR) for folder in self._folders(group)])
        facts = [entry.facts for entry in plugins.suite.entries() if entry.facts.get("dataset") == self.inside]
        object.__setattr__(self, "dataset", self.inside)
        object.__setattr__(self, "denoiser", next((f["denoiser"] for f in facts if f.get("denoiser")), None))

    @property
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """The columns of the groups that there are."""
        return [(name, group) for name, group in Detection.shown if group == ID or self._folders(group)]

    def _folders(self, group: str) -> list[str]:
        return [part for part in getattr(self, group).split(",") if part]

    def conditions(self) -> Sequence[Condition]:
        """The images in distribution, then one condition per folder."""
        outside = [(group, folder) for group in (NEAR, FAR) for folder in self._folders(group)]
        return [Condition(ID, ID), *(Condition(f"{group}/{Path(folder).name}", group) for group, folder in outside)]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """Five sixths of the test split, or a folder."""
        return self._part(validation=False) if condition.group == ID else self._outside[condition.name]

    @cached_property
    def _outside(self) -> Mapping[str, Dataset]:
        """The images of each folder, by condition and as "held_out"; no image is in two."""
        folders = {f"{group}/{Path(f).name}": f for group in (NEAR, FAR) for f in self._folders(group)}
        folders |= {"held_out": self.held_out} if self.held_out else {}
        sets = {name: _outside(Path(folder).expanduser(), self._test, self.inside) for name, folder in folders.items()}
        _check_disjoint(folders, sets)
        return sets

    @cached_property
    def _test(self) -> Dataset:
        return open_dataset(self.inside, "test", self.data)

    def _part(self, validation: bool) -> Dataset:
        return Subset(self._test, tuple(i for i in range(len(self._test.ids)) if (i % 6 == 0) == validation))

    def training(self) -> Dataset:
        """The training split; without one, detectors that learn from its images are left out."""
        return self._training

    @cached_property
    def _training(self) -> Dataset:
        try:
            return open_dataset(self.inside, "train", self.data)
        except HarnessError as error:
            return cast(Dataset, _Lacking(f"it learns from training images, and these cannot be read. {error}"))

    def validation(self) -> tuple[Dataset, Dataset]:
        """A sixth of the test split, and the images of `held_out`, which `check` demands where they are needed."""
        lacking = cast(Dataset, _Lacking("there is no held_out=DIR"))
        return self._part(validation=True), self._outside.get("held_out", lacking)

    def check(self, methods: Sequence[Any], denoiser: Any) -> None:
        """Raise HarnessError for settings to be tuned without images to tune them on."""
        if not self.held_out and any(isinstance(method.inner, Tuned) for method in methods):
            raise HarnessError(f"=tune needs images outside that are in no other set: {self.name}:held_out=DIR.")

    def facts(self) -> Mapping[str, str]:
        """A hash of the images that detectors learn from and are tuned on."""
        data = [self.training(), *self.validation()]
        return {"learnt from": hashlib.sha256("".join(d.sha256 for d in data).encode()).hexdigest()[:12]}


def _check_names(who: str, names: Sequence[str]) -> None:
    """Raise HarnessError if there are no folders, if two share a name, or one has none."""
    if not names:
        raise HarnessError(f"{who} needs images out of distribution: --near DIR, --far DIR, or both.")
    if len(set(names)) < len(names) or "" in names or ".." in names:
        raise HarnessError(f"Folders of --near and --far must have different names: {', '.join(names)}. Rename them.")


def _outside(folder: Path, test: Dataset, inside: str) -> Dataset:
    """The images of a folder, in the geometry of the test images; raises HarnessError if it holds one of these."""
    data = open_outside(folder, test.geometry, tuple(getattr(test, "classes", ())), folder.name)
    # Ids by content end in hexadecimal digits; other data sets have names, which are never equal to these.
    hashes = {name.rpartition("/")[2].partition("#")[0] for name in test.ids}
    for index, name in enumerate(data.ids):
        if name.partition("#")[0] in hashes:
            raise HarnessError(f"{data.where(index)} is also an image of {inside!r}, in distribution. Remove it.")
    return data


def _check_disjoint(folders: Mapping[str, str], sets: Mapping[str, Dataset]) -> None:
    """Raise HarnessError for an image that two of the sets hold. folders: of the sets, by the same names."""
    owners: dict[str, tuple[str, str]] = {}
    for name, data in sets.items():
        for index, image in enumerate(data.ids):
            content = image.partition("#")[0]
            if "/" in content:  # its bytes cannot be read
                continue
            owner, file = owners.setdefault(content, (name, data.where(index)))
            if owner != name:
                raise HarnessError(
                    f"{data.where(index)} in {folders[name]} ({name}) is the same image as {file} in {folders[owner]} "
                    f"({owner}). An image must be in one set alone: remove it from the others."
                )


class _Lacking:
    """A data set that is not here; whoever asks for its images raises `Unsuited`."""

    sha256 = ""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> Any:
        raise Unsuited(self._reason)
