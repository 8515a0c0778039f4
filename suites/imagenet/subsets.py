"""Images of some of ImageNet's classes: ImageNet-R, ImageNet-A and ImageNet-D."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, ClassVar

from harness.data import Place, Recognised
from harness.plugins import suite
from harness.suites.bases.covariate_shift import POOLED
from harness.suites.imagenet.class_subset import ALL, SomeClasses
from harness.types import Condition, Dataset


@cache
def _published(name: str) -> Any:
    """The classes of a data set, by WordNet id; the file names their sources."""
    return json.loads((resources.files("harness.suites.imagenet") / "classes.json").read_text())[name]


@dataclass(frozen=True)
class TwoHundred(SomeClasses):
    """Base of the suites of 200 classes in folders named by WordNet id."""

    def accepted(self) -> Mapping[str, Sequence[str]]:
        """Each folder is a class."""
        return {wnid: (wnid,) for wnid in _published(self.name)}


@suite("imagenet-r", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNetR(TwoHundred):
    """Paintings, toys and other renditions of 200 classes (Hendrycks et al., ICCV 2021): --data DIR with WNID/*.jpg."""

    layout = "WNID/*.jpg, 200 folders (imagenet-r/ of the published archive)"
    tops = ("imagenet-r",)
    file_names = (
        "(art|cartoon|deviantart|embroidery|graffiti|graphic|misc|origami|painting|sculpture|sketch|sticker|tattoo|toy|"
        r"videogame)_\d+\.jpg"
    )
    size = 30_000


@suite("imagenet-a", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNetA(TwoHundred):
    """Photographs that a ResNet-50 got wrong, 200 classes (Hendrycks et al., CVPR 2021): --data DIR with WNID/*.jpg."""

    layout = "WNID/*.jpg, 200 folders (imagenet-a/ of the published archive)"
    tops = ("imagenet-a",)
    file_names = r"0\.\d+_"
    size = 7_500


@suite("imagenet-d", version=1, dataset="imagenet", denoiser="adm256")
@dataclass(frozen=True)
class ImageNetD(SomeClasses):
    """Diffusion-made images of 113 objects in odd places, textures and materials (Zhang et al., CVPR 2024).

    --data DIR with background/OBJECT/*.png, texture/ and material/. As in the authors' evaluation the 1000-way answer
    ranks, and any of up to three classes is right; their probabilities are added. The three parts show different
    images; "all" pools them.
    """

    layout = "background/OBJECT/*.png, texture/OBJECT/*.png and material/OBJECT/*.png"
    tops = ("ImageNet-D",)
    same_images = False
    reading = ALL
    sizes: ClassVar[Mapping[str, int]] = {"background": 3_764, "texture": 498, "material": 573}

    @classmethod
    def recognise(cls, place: Place) -> Sequence[Recognised]:
        """Folders of some parts, with the authors' objects in them."""
        parts = [name for name in cls.sizes if name in place.folders and place.below(name).classes]
        objects = {name for part in parts for name in place.below(part).folders}
        if not objects or not objects <= _published(cls.name).keys():
            return ()
        return [Recognised({"data": str(place.path)}, parts)]

    def accepted(self) -> Mapping[str, Sequence[str]]:
        """The authors' names of the objects, and the classes of each."""
        classes: Mapping[str, Sequence[str]] = _published(self.name)
        return classes

    def shifted(self) -> Sequence[Condition]:
        """The three parts."""
        return [Condition(name, name, size=size) for name, size in self.sizes.items()]

    def shown_conditions(self) -> Sequence[str]:
        """All images, and the parts."""
        return [POOLED, *self.sizes]

    def images(self, condition: Condition) -> Dataset:
        """One part; the ids start with its name."""
        data = self.classes(self.place(condition.name))
        named = [f"{condition.name}/{name}" for name in data.ids]
        return replace(data, source=replace(data.source, ids=named))
