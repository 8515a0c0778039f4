"""The networks that judge generated images, and the real images that these are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import open_dataset
from harness.generation.score.extractors import Extractor, find_extractor
from harness.generation.score.features import features_of
from harness.generation.score.images import ImageSet, of_dataset
from harness.metrics.generation.neighbours import DENSITY_K
from harness.models.published.locate import WeightFiles
from harness.types import HarnessError

HEX = 16
"""Digits of hashes in facts: 64 bits."""


@dataclass(frozen=True)
class Judges:
    """A judge and another extractor by name, and the data set of the reference. folder: of the data set.

    weight_files: places of published weights; None: the weights folder.
    """

    judge: str
    extractor: str
    dataset: str
    folder: str
    weight_files: WeightFiles | None = None

    @property
    def both(self) -> tuple[Extractor, Extractor]:
        """The judge, and the other extractor."""
        data = self.dataset, self.folder
        return _extractor(self.judge, *data, self.weight_files), _extractor(self.extractor, *data, self.weight_files)

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return open_dataset(self.dataset, "train", self.folder).num_classes

    def reference(self, extractor: Extractor, split: str = "train") -> NDArray[Any]:
        """Features (N, D) float16 of the real images of a split."""
        return _reference(extractor, self.dataset, self.folder, split)

    def facts(self) -> Mapping[str, str]:
        """Hashes of both networks and of the training images."""
        judge, extractor = self.both
        data = open_dataset(self.dataset, "train", self.folder)
        return {
            "judge": f"{judge.name} {judge.sha256[:HEX]}",
            "extractor": f"{extractor.name} {extractor.sha256[:HEX]}",
            "reference": f"{len(data.ids)} training images {data.sha256[:HEX]}",
        }

    @staticmethod
    def needed(extractor: Extractor) -> int:
        """Least number of images for a covariance that is not singular, and for balls around them."""
        return max(extractor.dimension, DENSITY_K) + 1

    def check(self, samples: int) -> None:
        """Raise HarnessError for fewer samples, or training images, than the metrics need."""
        real = len(open_dataset(self.dataset, "train", self.folder).ids)
        for extractor in self.both:
            needed = self.needed(extractor)
            counts = {f"samples={samples}": samples, f"{real} training images": real}
            few = [what for what, count in counts.items() if count < needed]
            if few:
                raise HarnessError(
                    f"{' and '.join(few)}: too few for the Frechet distance by the {extractor.dimension} features of "
                    f"{extractor.name}, which needs at least {needed}. Ask for more, or name a judge and an "
                    "extractor with fewer features."
                )


@lru_cache(maxsize=8)
def _extractor(name: str, dataset: str, folder: str, weight_files: WeightFiles | None) -> Extractor:
    data = open_dataset(dataset, "train", folder)
    return find_extractor(name, _images(dataset, folder, "train"), data=data, weight_files=weight_files)


@lru_cache(maxsize=8)
def _reference(extractor: Extractor, dataset: str, folder: str, split: str) -> NDArray[Any]:
    # As rounded as the generated images' in the sample table.
    return features_of(_images(dataset, folder, split), extractor).astype(np.float16)


def _images(dataset: str, folder: str, split: str) -> ImageSet:
    return of_dataset(open_dataset(dataset, split, folder), f"{dataset}/{split}")
