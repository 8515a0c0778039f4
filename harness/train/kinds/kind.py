"""Everything that the trainer asks about a kind of network, in one object per kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from harness.base.errors import suggest
from harness.models.lookup import find_classifier
from harness.models.published.locate import WeightFiles
from harness.train.kinds.frozen import Frozen
from harness.train.objectives.protocol import Objective
from harness.train.spec import TrainSpec
from harness.types import Dataset, Weights


@dataclass(frozen=True)
class Built:
    """A network to train and its objective.

    arguments: of the architecture's builder. facts: further fields of the checkpoint's header, by name.
    projection: on its device; a loss term's own network, which is trained beside the first and then discarded.
    """

    network: nn.Module
    objective: Objective
    arguments: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    projection: nn.Module | None = None


def _never(spec: TrainSpec) -> bool:
    return False


@dataclass(frozen=True)
class NetworkKind:
    """A kind of network: how it is built, trained, measured and used.

    name: the fact ``kind`` of its architectures.
    build: makes network and objective from the specification, the training data, the frozen denoisers and the device.
        The network is the first thing that it may construct at random, a projection the second and last: see
        `harness.train.build.build`.
    measure: entries of the card on the quality of a trained network: (spec, network, test images, device).
    outcome: a sentence on these entries, from the card.
    use: a command that uses the result, with {} for its folder.
    options: options that this kind understands and some other kind does not.
    beside: options of these that mean nothing without another one: {option: the other}, or "one or another".
    needs_denoiser: whether a specification looks at a frozen denoiser.
    init: finds the network of --init by name or path: (name, places of published weights).
    loads_as: the word for the kind in the header, by which a checkpoint is loaded; the name unless given.
    """

    name: str
    build: Callable[[TrainSpec, Dataset, Frozen, str], Built]
    measure: Callable[[TrainSpec, nn.Module, Dataset, str], dict[str, Any]]
    outcome: Callable[[Mapping[str, Any]], str]
    use: str
    options: frozenset[str] = frozenset()
    beside: Mapping[str, str] = field(default_factory=dict)
    needs_denoiser: Callable[[TrainSpec], bool] = _never
    init: Callable[[str, WeightFiles], tuple[nn.Module, Weights]] = find_classifier
    loads_as: str = ""


KINDS: dict[str, NetworkKind] = {}
"""Kinds of networks by name: see `register`."""


def register(kind: NetworkKind) -> NetworkKind:
    """Make a kind of network trainable: the one step beside writing it."""
    KINDS[kind.name] = kind
    return kind


def kind_of(spec: TrainSpec) -> NetworkKind:
    """The kind of a specification's architecture; raises HarnessError for one that the trainer does not know."""
    if spec.kind not in KINDS:
        raise suggest("kind of network", spec.kind, sorted(KINDS), f" of the architecture {spec.model!r}")
    return KINDS[spec.kind]
