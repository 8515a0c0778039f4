"""Networks of other trainings, with their classes in the order of this one's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from harness import plugins
from harness.data import benchmark_classes
from harness.data.classes import numbers, places
from harness.diffusion.denoiser import Denoiser
from harness.models.matching import data_classes, disagreement, model_classes
from harness.train.spec import TrainSpec
from harness.types import Dataset, HarnessError, Weights


def named(data: Dataset) -> tuple[str, ...]:
    """The names of a data set's classes, or their numbers."""
    return data_classes(data) or numbers(data.num_classes)


def reordered(state: Mapping[str, Tensor], spec: TrainSpec, arguments: Mapping[str, Any], order: Sequence[int]) -> Any:
    """The tensors of a network with its classes in another order: class k is class `order[k]` of `state`.

    A tensor has rows of classes where it grows with their number: the head, and what embeds a class. Rows behind those
    of the classes, such as that of no class, stay.
    """
    count = arguments["num_classes"]
    with torch.random.fork_rng(), torch.device("meta"):
        wider = plugins.architecture[spec.model].build(**{**arguments, "num_classes": count + 1}).state_dict()
    new = dict(state)
    for name, tensor in state.items():
        other = wider.get(name.removeprefix("body."), tensor)
        for axis in range(tensor.ndim):
            rows = tensor.shape[axis]
            if other.shape[axis] == rows + 1:
                new[name] = tensor.index_select(axis, torch.tensor([*order, *range(count, rows)]))
    return new


def order_of(names: Sequence[str], data: Dataset, who: str) -> list[int]:
    """For each class of the data its number in a network, by name; the same number if the network names none.

    Raises HarnessError where the network names other classes.
    """
    if not names:
        return list(range(data.num_classes))
    matching = places(named(data), names)
    if matching is None:
        raise HarnessError(disagreement(who, names, data))
    return matching.there


def conditioned(denoiser: Denoiser, info: Weights, spec: TrainSpec, data: Dataset) -> Denoiser:
    """The class-conditional denoiser of --conditional, which gets the data's labels in its own order of classes."""
    who = f"--conditional {spec.conditional}"
    trained_on = info.details.get("dataset", spec.dataset)
    names = model_classes(spec.conditional, info)
    entry = plugins.denoiser.get(spec.conditional)
    if not names and entry:
        names = benchmark_classes(str(entry.facts.get("conditional", "")))
    if not names:
        if trained_on != spec.dataset:
            raise HarnessError(f"{who}: its classes are those of {trained_on!r}.")
        return denoiser
    order = order_of(names, data, who)
    network = denoiser.network
    if order == list(range(len(names))):
        return denoiser
    table: Any = network.class_embedding
    if not isinstance(table, nn.Embedding):
        raise HarnessError(f"{who} has its classes in another order than the data, and no table to reorder. Train one.")
    rows = [*order, *range(len(names), table.num_embeddings)]  # that of no class stays the last
    network.class_embedding = nn.Embedding.from_pretrained(table.weight.detach()[rows], freeze=True)
    return replace(denoiser, network=network)
