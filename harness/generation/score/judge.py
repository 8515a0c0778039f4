"""A judge: a classifier that says whether generated images show the classes asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
import torch
from torch import nn

from harness.data.readahead import ordered
from harness.diffusion.log_probability import log_probability
from harness.generation.score.extractors import TILE
from harness.generation.score.images import ImageSet
from harness.generation.score.record import JudgeScores
from harness.metrics.generation.scores import CONDITION
from harness.metrics.generation.verdicts import verdicts
from harness.models.lookup import find_classifier
from harness.models.matching import match
from harness.models.tiles import TiledClassifier, Tiles, finite
from harness.types import Dataset, HarnessError, Stage


def judged(
    images: ImageSet, text: str, data: Dataset | None, device: str, report: Callable[[Stage], None] = lambda stage: None
) -> JudgeScores:
    """Accuracy on the labels, and their mean log-probability, in nats.

    text: of the model. data: the data set whose classes the labels count; None takes them as the judge's outputs.
    Raises HarnessError without labels, for labels outside the classes, and for a judge of other classes.
    """
    if images.labels is None:
        raise HarnessError(
            f"{images.name} has no labels for --judge: arr_1 in an archive, class folders in a folder. Add them, or "
            "leave out --judge."
        )
    network, weights = find_classifier(text)
    notes: list[str] = []
    if data is not None:
        matched = match({"samples": data}, {text: (network, weights)})
        network, notes = matched.networks[text], list(matched.notes[text])
    correct, logs = _answers(images, text, network, device, report)
    return JudgeScores(text, weights.sha256, verdicts(correct, logs, CONDITION), notes)


def _answers(
    images: ImageSet, text: str, network: nn.Module, device: str, report: Callable[[Stage], None]
) -> tuple[np.ndarray, np.ndarray]:
    """For each image, whether the judge's class is the label, and the label's log-probability: (n,) each."""
    assert images.labels is not None
    classifier = TiledClassifier(network, Tiles(TILE, device))
    tiles = [range(start, min(start + TILE, images.n)) for start in range(0, images.n, TILE)]
    correct, logs = [], []
    with closing(ordered(lambda tile: images.read(tile.start, tile.stop), tiles, images.workers)) as batches:
        for tile, batch in zip(tiles, batches, strict=True):
            logits = finite(classifier(batch), f"Judge {text}").double()
            labels = images.labels[tile.start : tile.stop]
            _check_labels(images, labels, logits.shape[1])
            correct.append(logits.argmax(1) == labels)
            logs.append(log_probability(logits, labels))
            report(Stage(f"{text} on {images.name}", tile.stop, images.n))
    return torch.cat(correct).numpy(), torch.cat(logs).numpy()


def _check_labels(images: ImageSet, labels: torch.Tensor, classes: int) -> None:
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        wrong = next(label for label in labels.tolist() if not 0 <= label < classes)
        raise HarnessError(
            f"{images.name} has the label {wrong}, and the judge has {classes} classes. Give a judge of these classes."
        )
