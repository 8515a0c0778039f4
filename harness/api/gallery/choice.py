"""Choice of the images of a gallery: spread over the classes, and those that classifiers disagree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from harness.base.errors import HarnessError, suggest
from harness.evaluation.job import Job
from harness.types import Classifier, Condition, Suite

CANDIDATES = 100
"""Images at most that classifiers look at to find those on which they disagree."""

CORRUPTIONS = 3
"""Corruptions of a gallery unless some are named."""


def chosen_conditions(conditions: Sequence[Condition], names: Sequence[str]) -> list[Condition]:
    """The conditions of these names or groups, such as "fog/5" or "fog"; without names, those of a few groups.

    Raises HarnessError for a name that no condition has.
    """
    groups = list(dict.fromkeys(condition.group for condition in conditions))
    if not names:
        places = np.linspace(0, len(groups) - 1, min(CORRUPTIONS, len(groups))).round().astype(int)
        names = [groups[place] for place in places]
    for name in names:
        if not any(name in (condition.group, condition.name) for condition in conditions):
            raise suggest("condition", name, groups)
    return [condition for condition in conditions if {condition.group, condition.name} & set(names)]


def classifiers_of(job: Job) -> dict[str, Classifier]:
    """The classifiers of a job by name."""
    return {pair.model: pair.classifier for pair in job.pairs}


def chosen_ids(
    job: Job, conditions: Sequence[Condition], ids: Sequence[str], count: int
) -> Mapping[str, Sequence[str]]:
    """By condition, the ids of the images to show.

    ids: those that are asked for. count: otherwise their number; half of them spread over the classes, the others where
    the classifiers together are the least sure. Raises HarnessError for an id that no condition has.
    """
    present = {condition.name: set(job.datasets[condition.name].ids) for condition in conditions}
    if ids:
        for name in ids:
            if not any(name in names for names in present.values()):
                raise suggest("image", name, sorted(set().union(*present.values()))[:1000])
        return {condition: [name for name in ids if name in names] for condition, names in present.items()}
    if set.intersection(*present.values()):
        common = _chosen(job, conditions, count)
        return {condition.name: common for condition in conditions}
    # Conditions that show different images.
    return {condition.name: _chosen(job, [condition], count) for condition in conditions}


def _chosen(job: Job, conditions: Sequence[Condition], count: int) -> list[str]:
    """Ids of images that all these conditions show."""
    others = [set(job.datasets[condition.name].ids) for condition in conditions[1:]]
    first = job.datasets[conditions[0].name]
    indices = [index for index, name in enumerate(first.ids) if all(name in names for names in others)]
    places = np.linspace(0, len(indices) - 1, min(CANDIDATES, len(indices))).round().astype(int)
    candidates = [indices[place] for place in places]
    if count >= len(candidates):
        return [first.ids[index] for index in candidates]
    labels = [int(first.labels[index]) for index in candidates]
    spread = _spread(labels, -(-count // 2))
    doubt = _doubt(job, conditions, [first.ids[index] for index in candidates])
    doubtful = [place for place in np.argsort(-doubt.numpy(), kind="stable").tolist() if place not in spread]
    picked = list(spread)
    for fresh in (True, False):  # images of classes that are not there yet come first
        for place in doubtful:
            classes = {labels[other] for other in picked}
            if len(picked) < count and place not in picked and (labels[place] not in classes or not fresh):
                picked.append(place)
    return [first.ids[candidates[place]] for place in picked]


def _spread(labels: Sequence[int], count: int) -> list[int]:
    """Places of images of different classes, evenly over the classes; the first of each."""
    classes = sorted(set(labels))
    steps = np.linspace(0, len(classes) - 1, min(count, len(classes))).round().astype(int)
    return [labels.index(classes[step]) for step in steps]


def _doubt(job: Job, conditions: Sequence[Condition], ids: Sequence[str]) -> Tensor:
    """(N,) one minus the greatest class probability of the mean over classifiers, averaged over the conditions."""
    doubt = torch.zeros(len(ids))
    for condition in conditions:
        data = job.datasets[condition.name]
        places = {name: index for index, name in enumerate(data.ids)}
        images = data.read([places[name] for name in ids]).images
        answers = [classifier(images).softmax(-1) for classifier in classifiers_of(job).values()]
        doubt += 1 - torch.stack(answers).mean(0).max(1).values
    return doubt / len(conditions)


def check_suite(text: str, suite: Suite) -> None:
    """Raise HarnessError for a suite whose views a gallery cannot show. text: of the suite."""
    if suite.axis != "method" or suite.diffuses:
        raise HarnessError(
            f"{text}: a gallery shows images under test-time methods. Take a suite of accuracy, such as "
            "--suite digits-c."
        )


def check_methods(job: Job) -> None:
    """Raise HarnessError for a method whose views depend on more images than a gallery shows."""
    for pair in job.pairs:
        if getattr(pair.method, "group", 1) > 1:
            raise HarnessError(
                f"{pair.method_name} computes images in groups with their neighbours in the test set, which a gallery "
                "does not have. Leave out norm=batch4."
            )
