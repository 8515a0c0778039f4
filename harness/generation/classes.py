"""The classes of a generation: the list of a data set, with or without its images, and the class of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from harness import plugins
from harness.base import noise
from harness.data import benchmark_classes, open_dataset
from harness.data.classes import names_of
from harness.generation.spec import BALANCED, RANDOM, GenerateSpec, sample_id
from harness.types import Dataset, HarnessError


@dataclass(frozen=True, eq=False)
class ClassList:
    """The classes of a data set without its images, as `harness.models.matching` takes them.

    classes: names by label, empty where they are only numbered.
    """

    name: str
    num_classes: int
    classes: tuple[str, ...] = ()
    labels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))


def class_list(spec: GenerateSpec) -> tuple[Dataset, int | None]:
    """The classes of the specification's data set, and the side of its images in pixels; None where any is taken.

    Pictures that a protocol resizes have no side of their own: diffusion models of ImageNet are of 64 to 512 pixels.
    Its folder is read only where the classes lie in it. Raises HarnessError for one that is missing or superfluous.
    """
    facts = plugins.dataset[spec.dataset].facts
    names, count = benchmark_classes(spec.dataset), facts.get("num_classes")
    takes_any = bool(facts.get("any_size") or facts.get("resized"))
    if not spec.data and (names or count):
        stated = ClassList(spec.dataset, count or len(names), names)
        return cast(Dataset, stated), None if takes_any else facts.get("image_size")
    data = open_dataset(spec.dataset, "train", spec.data)
    listed = ClassList(data.name, data.num_classes, names_of(data))
    return cast(Dataset, listed), None if takes_any else data.geometry.crop


def class_folders(data: Dataset) -> Sequence[str]:
    """A folder name per class, as data sets on disk have them: its name, or its number with zeros in front."""
    width = len(str(data.num_classes - 1))
    return names_of(data) or [f"{number:0{width}d}" for number in range(data.num_classes)]


def labels_of(spec: GenerateSpec, names: Sequence[str]) -> Tensor:
    """The class of each sample, (N,) int64. names: of the data's classes, or their numbers.

    Raises HarnessError for classes that are not among them.
    """
    count = len(names)
    if spec.classes == RANDOM:
        ids = [sample_id(number) for number in range(spec.samples)]
        return noise.integers(0, count, seed=spec.seed, purpose="generate/class", samples=ids)
    cycle = list(range(count)) if spec.classes == BALANCED else _listed(spec.classes, names)
    return in_turn(cycle, spec.samples)


def in_turn(classes: Sequence[int], samples: int) -> Tensor:
    """The class of each of so many samples, (N,) int64: the classes in turn."""
    return torch.tensor(list(classes))[torch.arange(samples) % len(classes)]


def _listed(text: str, names: Sequence[str]) -> list[int]:
    """Numbers of the classes of a list of names or numbers."""
    numbers: list[Any] = []
    for part in map(str.strip, text.split(",")):
        if names.count(part) > 1:
            places = " and ".join(str(number) for number, name in enumerate(names) if name == part)
            raise HarnessError(f"--classes {text!r}: the classes {places} are both called {part!r}. Give the number.")
        by_number = int(part) if part.isdecimal() and len(part) <= 6 and int(part) < len(names) else None
        numbers.append(names.index(part) if part in names else by_number)
        if numbers[-1] is None:
            raise HarnessError(
                f"--classes {text!r}: no class is called {part!r}; there are {', '.join(names[:5])}, ... Give names or "
                f"numbers below {len(names)} with a comma, such as 3,5; or {BALANCED}, or {RANDOM}."
            )
    return numbers
