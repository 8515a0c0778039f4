"""Networks that a training starts from or looks at, brought to the order of its classes."""

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
from harness.matching import data_classes, disagreement, model_classes
from harness.train.spec import TrainSpec
from harness.types import Dataset, HarnessError, Weights


def named(data: Dataset) -> tuple[str, ...]:
    """The names of a data set's classes, or their numbers."""
    return data_classes(data) or numbers(data.num_classes)


def reordered(state: Mapping[str, Tensor], spec: TrainSpec, arguments: Mapping[str, Any], order: Sequence[int]) -> Any:
    """The tensors of a network with its classes in another order: class k is class `order[k]` of `state`.

    A tensor has rows of classes where it grows with their number: the head, and what embeds a class.
    """
    count = arguments["num_classes"]
    with torch.random.fork_rng(), torch.device("meta"):
        wider = plugins.architecture[spec.model].build(**{**arguments, "num_classes": count + 1}).state_dict()
    new = dict(state)
    for name, tensor in state.items():
        other = wider.get(name.removeprefix("body."), tensor)
        for axis in range(tensor.ndim):
            if (tensor.shape[axis], other.shape[axis]) == (count, count + 1):
                new[name] = tensor.index_select(axis, torch.tensor(list(order)))
    return new


def order_of(told: Sequence[str], data: Dataset, who: str) -> list[int]:
    """Where the data's classes stand among those of a network, which may name none; raises HarnessError for others."""
    if not told:
        return list(range(data.num_classes))
    found = places(named(data), told)
    if found is None:
        raise HarnessError(disagreement(who, told, data))
    return found.there


def conditioned(denoiser: Denoiser, info: Weights, spec: TrainSpec, data: Dataset) -> Denoiser:
    """The class-conditional denoiser of --conditional, told the classes by the data's labels."""
    who, trained_on = f"--conditional {spec.conditional}", info.details.get("dataset", spec.dataset)
    told = model_classes(spec.conditional, info)
    entry = plugins.denoiser.get(spec.conditional)
    if not told and entry:
        told = benchmark_classes(str(entry.facts.get("conditional", "")))
    if not told:
        if trained_on != spec.dataset:
            raise HarnessError(f"{who}: its classes are those of {trained_on!r}.")
        return denoiser
    order, network = order_of(told, data, who), denoiser.network
    if order == list(range(len(told))):
        return denoiser
    table: Any = network.class_embedding
    if not isinstance(table, nn.Embedding):
        raise HarnessError(f"{who} has its classes in another order than the data, and no table to reorder. Train one.")
    network.class_embedding = nn.Embedding.from_pretrained(table.weight.detach()[order], freeze=True)
    return replace(denoiser, network=network)
