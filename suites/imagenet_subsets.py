"""Images of some of ImageNet's classes: ImageNet-R, ImageNet-A and ImageNet-D."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import resources
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.data import Subset, open_dataset
from harness.metrics.accuracy import accuracy
from harness.plugins import suite
from harness.suites.imagenet import PER_CLASS, FromImageNet, wnids
from harness.suites.published import CLEAN
from harness.suites.shift import check_probabilities
from harness.types import Classifier, Columns, Condition, Dataset, HarnessError, Metric, Pair, Scene

MASKED, ALL = "masked_accuracy", "accuracy_1000_way"


@cache
def _published(name: str) -> Any:
    """The classes of a data set, by WordNet id; the file says where they are from."""
    return json.loads((resources.files("harness.suites") / "imagenet.classes.json").read_text())[name]


@dataclass(frozen=True)
class SomeClasses(FromImageNet):
    """Base of the suites whose images are of some classes only. A subclass says which: `accepted`.

    Two readings of every answer. *Masked*: the method sees the logits of these classes alone, so that softmax, the
    ensemble's mean and argmax are among them. *1000-way*: all logits. `reading` ranks, and is what probabilities and
    their calibration are of; the other one's accuracy stands beside.
    """

    reading: ClassVar[str] = MASKED

    def accepted(self) -> Mapping[str, Sequence[str]]:
        """Class folders, and the classes of ImageNet that are right there; each is right in one folder only."""
        raise NotImplementedError

    @property
    def other(self) -> str:
        """The reading that does not rank."""
        return ALL if self.reading == MASKED else MASKED

    @property
    def columns(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Both accuracies, those on the clean images of the same classes, and how honest the probabilities are."""
        names = self.shown()
        accuracies = [(reading, c) for reading in (self.reading, self.other) for c in names]
        honesty = [(name, names[0]) for name in ("ece", "nll")]
        return [*accuracies, (self.reading, CLEAN), (self.other, CLEAN), *honesty]

    def shown(self) -> Sequence[str]:
        """The conditions that its leaderboard shows."""
        return [c.name for c in self.shifted()]

    def folders(self) -> Mapping[str, int]:
        """A folder's label is the first of its classes."""
        return {name: self._label[classes[0]] for name, classes in self.accepted().items()}

    @cached_property
    def _label(self) -> Mapping[str, int]:
        return {wnid: label for label, wnid in enumerate(wnids())}

    @cached_property
    def _same(self) -> Tensor:
        """(1000,) what each class counts as: one that shares its folder with others, as the first of them."""
        same = torch.arange(len(wnids()))
        for first, *others in self.accepted().values():
            for other in others:
                same[self._label[other]] = self._label[first]
        return same

    @cached_property
    def _among(self) -> Tensor:
        """Labels of the classes in question, rising."""
        return torch.tensor(sorted(self._label[wnid] for classes in self.accepted().values() for wnid in classes))

    def conditions(self) -> Sequence[Condition]:
        """With the clean images of these classes only."""
        sized = PER_CLASS * len(self._among)
        return [replace(c, size=sized) if c.name == CLEAN else c for c in super().conditions()]

    def validation(self) -> Dataset:
        """The clean images of these classes."""
        data: Any = open_dataset(self.dataset, "test", self.clean)
        picked = torch.isin(data.labels, self._among).nonzero()[:, 0].tolist()
        if not picked:
            raise HarnessError(
                f"{self.name}: clean={self.clean} holds no image of its {len(self._among)} classes. "
                "Give the folder of the whole validation set."
            )
        return Subset(replace(data, labels=self._same[data.labels]), tuple(picked))

    def columns_of(self, scene: Scene, pair: Pair) -> Columns:
        """Predicted class, its probability and that of the true class in one reading, the prediction in the other."""
        answers = {
            ALL: self._answer(scene, pair, pair.classifier, torch.arange(len(self._same))),
            MASKED: self._answer(scene, pair, _among(pair.classifier, self._among), self._among),
        }
        return {**answers[self.reading], self.other: answers[self.other]["prediction"]}

    def _answer(self, scene: Scene, pair: Pair, classifier: Classifier, among: Tensor) -> Columns:
        found, labels = pair.procedure(scene.views, classifier), scene.labels
        check_probabilities(found, pair, len(labels))
        prediction = self._same[among[found.argmax(1)]]
        summed = found.new_zeros(len(labels), len(self._same)).index_add_(1, self._same[among], found)
        confidence, true = (summed.gather(1, label[:, None])[:, 0] for label in (prediction, labels))
        return {"prediction": prediction, "confidence": confidence, "probability": true}

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Both accuracies per condition, calibration error and negative log-likelihood."""
        found, notes = super().summarise(rows)
        correct = rows[self.other] == rows["label"]
        others = [accuracy(correct[where[:, 0]], name, self.other) for name, where in self.places(rows).items()]
        return [*found, *others], notes


def _among(classifier: Classifier, labels: Tensor) -> Classifier:
    """The classifier, with the logits of some classes only."""
    return lambda images: classifier(images)[:, labels]


@dataclass(frozen=True)
class TwoHundred(SomeClasses):
    """Base of the suites of 200 classes in folders called by WordNet id."""

    def accepted(self) -> Mapping[str, Sequence[str]]:
        """Each folder is a class."""
        return {wnid: (wnid,) for wnid in _published(self.name)}


@suite("imagenet-r")
@dataclass(frozen=True)
class ImageNetR(TwoHundred):
    """Paintings, toys and other renditions of 200 classes (Hendrycks et al., ICCV 2021): --data DIR with WNID/*.jpg."""

    name: ClassVar[str] = "imagenet-r"
    layout: ClassVar[str] = "WNID/*.jpg, 200 folders (imagenet-r/ of the published archive)"
    tops: ClassVar[Sequence[str]] = ("imagenet-r",)
    size: ClassVar[int] = 30_000


@suite("imagenet-a")
@dataclass(frozen=True)
class ImageNetA(TwoHundred):
    """Photographs that a ResNet-50 got wrong, 200 classes (Hendrycks et al., CVPR 2021): --data DIR with WNID/*.jpg."""

    name: ClassVar[str] = "imagenet-a"
    layout: ClassVar[str] = "WNID/*.jpg, 200 folders (imagenet-a/ of the published archive)"
    tops: ClassVar[Sequence[str]] = ("imagenet-a",)
    size: ClassVar[int] = 7_500


@suite("imagenet-d")
@dataclass(frozen=True)
class ImageNetD(SomeClasses):
    """Diffusion-made images of 113 objects in odd places, textures and materials (Zhang et al., CVPR 2024).

    --data DIR with background/OBJECT/*.png, texture/ and material/. As in the authors' evaluation the 1000-way answer
    ranks, and any of up to three classes is right; their probabilities are added. The three parts hold images of their
    own; "all" is all of these.
    """

    name: ClassVar[str] = "imagenet-d"
    layout: ClassVar[str] = "background/OBJECT/*.png, texture/OBJECT/*.png and material/OBJECT/*.png"
    tops: ClassVar[Sequence[str]] = ("ImageNet-D",)
    same_images: ClassVar[bool] = False
    reading: ClassVar[str] = ALL
    sizes: ClassVar[Mapping[str, int]] = {"background": 3_764, "texture": 498, "material": 573}

    def accepted(self) -> Mapping[str, Sequence[str]]:
        """Objects, as the authors call them, and their classes."""
        classes: Mapping[str, Sequence[str]] = _published(self.name)
        return classes

    def shifted(self) -> Sequence[Condition]:
        """The three parts."""
        return [Condition(name, name, size=size) for name, size in self.sizes.items()]

    def shown(self) -> Sequence[str]:
        """All images, and the parts."""
        return ["all", *self.sizes]

    def images(self, condition: Condition) -> Dataset:
        """One part; ids say which."""
        data = self.classes(self.place(condition.name))
        named = [f"{condition.name}/{name}" for name in data.ids]
        return replace(data, source=replace(data.source, ids=named))
