"""Recipes that a training takes where it names none: by architecture and data set.

Data sets state one for classifiers (fact ``recipe`` of ``@dataset``). An architecture may state settings for all data
sets (fact ``recipe`` of ``@architecture``), and settings for one (fact ``recipes``, by data set). Other data sets get
one by their size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import plugins

OPEN: dict[str, Any] = {
    "epochs": None,
    "batch_size": None,
    "lr": None,
    "weight_decay": 0.0,
    "warmup": 0,
    "ema": 0.0,
    "optimizer": "adamw",
    "schedule": "cosine",
    "decay": "matrices",
    "clip": 1.0,
}
"""Settings that the recipe decides unless they are given, and their values where it has none."""

OF_DATA = ("epochs", "augment", "batch_size")
"""Settings of a data set's recipe that an architecture with its own optimisation leaves to the data."""

BY_SIZE = {"lr": 1e-3, "weight_decay": 0.05, "warmup": 2}
"""Optimisation of networks on data sets without a recipe: AdamW with the usual numbers."""

IMAGES_SEEN, FEWEST_EPOCHS, MOST_EPOCHS = 1_500_000, 10, 60
"""A data set without a recipe is seen as often as makes so many images, within these limits."""

LARGEST_BATCH = 128
"""Largest batch by size; of small data sets an epoch has eight batches at least."""

SMALL_SIDE = 64
"""Largest side in pixels of images that are shifted; larger ones are cropped and resized."""


def recipe_of(model: str, dataset: str) -> Mapping[str, Any]:
    """Settings that an architecture and a data set state, by name; none for a denoiser that states nothing."""
    facts = plugins.architecture[model].facts
    own = facts.get("recipe", {})
    of_data = plugins.dataset[dataset].facts.get("recipe") or _by_size(dataset)
    if facts.get("kind", "classifier") != "classifier" and not own and not pinned(model, dataset):
        return {}  # a classifier's settings say nothing about other kinds of networks
    if own:
        of_data = {name: value for name, value in of_data.items() if name in OF_DATA}
    return {**of_data, **own, **facts.get("recipes", {}).get(dataset, {})}


def pinned(model: str, dataset: str) -> bool:
    """True where the architecture states a recipe for this very data set."""
    return dataset in plugins.architecture[model].facts.get("recipes", {})


def source(model: str, dataset: str) -> str:
    """A sentence on the origin of the settings that a training leaves open."""
    if not recipe_of(model, dataset):
        return f"No recipe is stated for the architecture {model!r}: options and the trainer's defaults decide."
    owners = []
    if plugins.architecture[model].facts.get("recipe") or pinned(model, dataset):
        owners.append(f"of the architecture {model!r}")
    if plugins.dataset[dataset].facts.get("recipe"):
        owners.append(f"of the data set {dataset!r}")
    elif not pinned(model, dataset):
        owners.append(f"by the size of {dataset!r}")
    return f"Settings that no option names come from the recipe {' and '.join(owners)}."


def rounds(images: int) -> dict[str, int]:
    """Epochs and batch size for a number of training images."""
    epochs = min(max(round(IMAGES_SEEN / max(images, 1)), FEWEST_EPOCHS), MOST_EPOCHS)
    batch = LARGEST_BATCH
    while batch > 2 and batch * 8 > images:
        batch //= 2
    return {"epochs": epochs, "batch_size": min(batch, images)}


def _by_size(dataset: str) -> dict[str, Any]:
    side = plugins.dataset[dataset].facts.get("image_size", SMALL_SIDE)
    return {**BY_SIZE, "augment": "shift-flip" if side <= SMALL_SIDE else "crop-flip"}
