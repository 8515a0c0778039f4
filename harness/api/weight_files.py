"""Files of published weights: accepted from ``--weights NAME=FILE``, and downloaded where a command needs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import HarnessError, Incompatible

if TYPE_CHECKING:
    from harness.models.published.locate import PublishedWeights, WeightFiles


def weight_files_of(texts: Sequence[str]) -> WeightFiles:
    """The files of ``--weights NAME=FILE``; each name must be of published weights or of a library's model."""
    from harness.models.published.locate import WeightFiles

    weight_files = WeightFiles.of(texts)
    for name in weight_files.by_name:
        check_name(name)
    return weight_files


def check_name(name: str) -> None:
    """Raise HarnessError for a name that is neither of published weights nor of a library's model."""
    from harness import plugins

    families = {*plugins.model.families, *plugins.denoiser.families}
    if f"{name.partition('/')[0]}/NAME" not in families:
        weights_named(name)


def fetch_missing(names: Iterable[str], weight_files: WeightFiles) -> None:
    """Download those published weights among the named models that are not here and have an address."""
    from harness.models.published import download

    by_name = published_weights()
    for name in names:
        published = by_name.get(name)
        if published is None or published.find(weight_files) or download.offline():
            continue
        if any(file.urls for file in published.files):
            fetch(published, weight_files)


def check_classes(name: str, dataset: str) -> None:
    """Raise Incompatible for a published classifier that states a data set with other classes (fact ``dataset``).

    That costs no download; all other classifiers are matched with the data once they are loaded.
    """
    from harness import plugins

    entry = plugins.model.get(name) if name in published_weights() else None
    stated = entry.facts.get("dataset", "") if entry else ""
    own, others = _stated_classes(dataset), _stated_classes(stated)
    if own and others and not set(own) <= set(others):
        raise Incompatible(
            f"Model {name!r} was trained on the classes of {stated!r}, not on those of {dataset!r}. Name a model of "
            f"{dataset!r} with --model: harness list models."
        )


def _stated_classes(dataset: str) -> tuple[str, ...]:
    """Names of a data set's classes, or their numbers, by its facts alone; empty where these do not say."""
    from harness import plugins
    from harness.data import benchmark_classes
    from harness.data.classes import numbers

    entry = plugins.dataset.get(dataset)
    return benchmark_classes(dataset) or numbers(entry.facts.get("num_classes", 0) if entry else 0)


def fetch(published: PublishedWeights, weight_files: WeightFiles) -> Path:
    """Download weights from the first address that has them; raises HarnessError if none does."""
    from harness.models.published import download
    from harness.terminal import console

    problems = []
    addresses = [(file, url) for file in published.files for url in file.urls]
    for file, url in addresses:
        path = weight_files.folder / file.name
        try:
            with console.downloading(file.name) as report:
                download.download(url, path, sha256=file.digits, size=file.size, report=report)
            return path
        except HarnessError as error:
            problems.append(f"Fetching it failed: {error}")
    raise HarnessError(" ".join([published.missing(weight_files), *problems]))


def published_weights() -> dict[str, PublishedWeights]:
    """All published weights, by the name of their model or denoiser."""
    from harness import plugins

    entries = [*plugins.model.entries(), *plugins.denoiser.entries()]
    return {entry.name: entry.facts["published"] for entry in entries if "published" in entry.facts}


def weights_named(name: str) -> PublishedWeights:
    """The published weights of a model or denoiser; raises HarnessError for a name that has none."""
    from harness.plugins import suggest

    published = published_weights()
    if name not in published:
        raise suggest("name of published weights", name, list(published))
    return published[name]


def publishers(name: str) -> list[str]:
    """Models and denoisers whose published weights lie in a file of that name."""
    return [model for model, weights in published_weights().items() if name in [file.name for file in weights.files]]
