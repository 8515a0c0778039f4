"""A judge: a classifier that says whether generated images show the classes asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch

from harness.data.readahead import ordered
from harness.diffusion.log_probability import log_probability
from harness.generation.score.extractors import TILE
from harness.generation.score.images import ImageSet
from harness.generation.score.record import JudgeScores
from harness.metrics.generation.scores import CONDITION
from harness.metrics.generation.verdicts import verdicts
from harness.models.lookup import find_classifier
from harness.models.matching import match
from harness.models.published.locate import WeightFiles
from harness.models.tiles import TiledClassifier, Tiles, finite
from harness.types import Dataset, HarnessError, Stage


@dataclass(frozen=True, eq=False)
class Judge:
    """A classifier whose outputs are the classes that the labels of images count.

    name: of the model. sha256: of its weights. notes: on the match of classes.
    """

    name: str
    sha256: str
    classifier: TiledClassifier
    notes: Sequence[str]

    def scores(self, images: ImageSet, report: Callable[[Stage], None] = lambda stage: None) -> JudgeScores:
        """Accuracy on the labels of images, and their mean log-probability, in nats. report: called with the progress.

        Raises HarnessError for outputs that are NaN or infinite.
        """
        assert images.labels is not None
        tiles = [range(start, min(start + TILE, images.n)) for start in range(0, images.n, TILE)]
        correct, logs = [], []
        with closing(ordered(lambda tile: images.read(tile.start, tile.stop), tiles, images.workers)) as batches:
            for tile, batch in zip(tiles, batches, strict=True):
                logits = finite(self.classifier(batch), f"Judge {self.name}").double()
                labels = images.labels[tile.start : tile.stop]
                correct.append(logits.argmax(1) == labels)
                logs.append(log_probability(logits, labels))
                report(Stage(f"{self.name} on {images.name}", tile.stop, images.n))
        metrics = verdicts(torch.cat(correct).numpy(), torch.cat(logs).numpy(), CONDITION)
        return JudgeScores(self.name, self.sha256, metrics, self.notes)


def find_judge(
    text: str, images: ImageSet, data: Dataset | None, device: str, weight_files: WeightFiles | None = None
) -> Judge:
    """The judge of images, which looks at one of them.

    text: of the model. data: the data set whose classes the labels count; None takes them as the judge's outputs.
    weight_files: places of published weights; without, the weights folder.
    Raises HarnessError without labels, for labels outside the classes, and for a judge of other classes.
    """
    if images.labels is None:
        raise HarnessError(
            f"{images.name} has no labels for --judge: arr_1 in an archive, class folders in a folder. Add them, or "
            "leave out --judge."
        )
    network, weights = find_classifier(text, weight_files)
    notes: Sequence[str] = ()
    if data is not None:
        matched = match({"samples": data}, {text: (network, weights)})
        network, notes = matched.networks[text], list(matched.notes[text])
    classifier = TiledClassifier(network, Tiles(TILE, device))
    _check_labels(images, images.labels, classifier(images.read(0, 1)).shape[1])
    return Judge(text, weights.sha256, classifier, notes)


def _check_labels(images: ImageSet, labels: torch.Tensor, classes: int) -> None:
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        wrong = next(label for label in labels.tolist() if not 0 <= label < classes)
        raise HarnessError(
            f"{images.name} has the label {wrong}, and the judge has {classes} classes. Give a judge of these classes."
        )
