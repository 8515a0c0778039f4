"""Trained classifiers and records for use outside of the harness."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

from torch import nn

from harness.base.errors import HarnessError
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord


def load(path: str | PathLike[str], *, plugins: str | PathLike[str] | Sequence[str | PathLike[str]] = ()) -> nn.Module:
    """A classifier in evaluation mode: images (B, 3, H, W) in [0, 1] to logits (B, K).

    Its attribute `classes` holds the names of its classes in the order of the logits, where they are known; otherwise
    it is empty.

    path: the folder of a training, a checkpoint, or whatever ``harness run --model`` takes, such as "digits/resnet".
    plugins: the Python file, or files, that define its architecture.

    Raises HarnessError for a name that means nothing, and for weights that are missing, damaged or not a classifier's.
    """
    from harness import plugins as registries
    from harness.api.weight_files import fetch_missing
    from harness.models.lookup import find_classifier
    from harness.models.matching import model_classes
    from harness.models.published.locate import WeightFiles

    if Path(path).suffix == ".json" and Path(path).is_file():
        raise HarnessError(f"{path} is no classifier. If it is a record: harness.load_record({fspath(path)!r})")
    files = [plugins] if isinstance(plugins, str | PathLike) else plugins
    registries.discover(*map(Path, files))
    name, weight_files = fspath(path), WeightFiles()
    fetch_missing([name], weight_files)
    network, info = find_classifier(name, weight_files)
    network.classes = tuple(model_classes(name, info))  # type: ignore[assignment]
    return network.eval()


def load_record(path: str | PathLike[str]) -> RunRecord:
    """The record in a ``.json`` file, every field checked; its `frame` has the metrics, its `table` the samples.

    Raises HarnessError for a file that is absent or no record.
    """
    return record.load(Path(path))
