"""Networks of other trainings, with their classes in the order of this one's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness import plugins
from harness.train.spec import TrainSpec


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
