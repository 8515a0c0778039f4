"""Which output of a classifier is which class of the data: matched by name wherever both sides have names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness import plugins
from harness.data import Widened, benchmark_classes
from harness.data.classes import names_of, naming_of, numbered, numbers, places, shortened
from harness.models.lookup import bundled, card, load_classifier
from harness.models.tiles import NoTensor
from harness.types import Dataset, FeatureClassifier, HarnessError, NoisyClassifier, Weights


@dataclass(frozen=True, eq=False)
class MatchedClasses:
    """Data sets and networks that agree on what each output means.

    datasets: by condition. Classes that classifiers know beside those of the data come after these.
    networks: by model; their outputs are in the order of the data's classes.
    notes: by model, what its record says of classes that were taken by position.
    """

    datasets: Mapping[str, Dataset]
    networks: Mapping[str, nn.Module]
    notes: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Outputs:
    """A classifier's outputs: where it has the data's classes, and its others by name."""

    known: Sequence[int]
    others: Mapping[str, int]
    note: str = ""


def match(datasets: Mapping[str, Dataset], found: Mapping[str, tuple[nn.Module, Weights]]) -> MatchedClasses:
    """Classifiers by model name, matched with the data of a run; raises HarnessError where their classes are others."""
    data = next(iter(datasets.values()))
    for condition, other in datasets.items():
        # Images out of distribution are of no class, whatever their data set calls its classes.
        if data_classes(other) not in ((), data_classes(data)) and bool((other.labels >= 0).any()):
            lists = f"{shortened(data_classes(data))}; under {condition!r}: {shortened(data_classes(other))}"
            raise HarnessError(f"The conditions of a suite must have the same classes in one order. First: {lists}.")
    outputs = {name: _outputs(name, info, data) for name, (_, info) in found.items()}
    named = {name: told for name, told in outputs.items() if told}
    beside = sorted(next(iter(named.values())).others) if named else []
    for name, told in named.items():
        if told.others.keys() != set(beside):
            first = next(iter(named))
            raise HarnessError(
                f"Models {first!r} and {name!r} choose among other classes: beside those of the data, {first!r} knows "
                f"{shortened(beside) or 'none'} and {name!r} {shortened(list(told.others)) or 'none'}. Run them apart."
            )
    networks = {name: network for name, (network, _) in found.items()}
    for name, told in named.items():
        networks[name] = reordered(networks[name], [*told.known, *(told.others[extra] for extra in beside)], name)
    if beside:
        classes = (*(data_classes(data) or _counted(data)), *beside)
        datasets = {condition: cast(Dataset, Widened(one, classes)) for condition, one in datasets.items()}
    notes = {}
    for name, told_or_not in outputs.items():
        note = told_or_not.note if told_or_not else _unnamed(name, data)
        notes[name] = [text for text in (naming_of(data).note, note) if text]
    return MatchedClasses(datasets, networks, notes)


def data_classes(data: Dataset) -> tuple[str, ...]:
    """The names of a data set's classes: its own, or those of the benchmark that it is a part of; none for numbers."""
    told = names_of(data) or benchmark_classes(data.name)
    return told if len(told) == data.num_classes else ()


def model_classes(name: str, info: Weights) -> tuple[str, ...]:
    """What a network calls its classes, in the order of its outputs; none where it does not name them.

    Its checkpoint's header or card says so, or the decorator ``@model(..., classes=(...))``. One that names a data set
    with the same classes in every folder has those.
    Raises HarnessError for a list that cannot be one of names.
    """
    told: Any = info.details.get("classes")
    entry = plugins.model.get(name)
    if not told and entry:
        told = entry.facts.get("classes")
    fixed = benchmark_classes(str(info.details.get("dataset", "")))
    count = info.details.get("arguments", {}).get("num_classes", len(told or fixed))
    if not told:
        return fixed if count == len(fixed) else ()
    sound = isinstance(told, list | tuple) and all(isinstance(c, str) for c in told) and len(set(told)) == len(told)
    if not sound or len(told) != count:
        raise HarnessError(
            f"{name!r} has {count} classes and does not name each of them once: {str(told)[:200]}. Correct its "
            "`classes`."
        )
    return tuple(told)


def load_bundled(name: str) -> tuple[nn.Module, Weights]:
    """A classifier that ships with the package; its card names its classes, as its file is older than names."""
    network, info = load_classifier(*bundled(name))
    return network, replace(info, details={**info.details, "classes": card(name)["classes"]})


def header_classes(header: Mapping[str, Any], data: Dataset) -> dict[str, list[str]]:
    """What the header of a new checkpoint says of its classes: their names; nothing where its data set says them.

    So it is for the package's own data sets with the same classes in every folder: checkpoints of these were written
    before names were, and come out byte for byte when they are trained again.
    """
    fixed = not plugins.dataset[header["dataset"]].source and benchmark_classes(header["dataset"]) == names_of(data)
    told = names_of(data) if "num_classes" in header["arguments"] else ()
    return {"classes": list(told)} if told and not fixed else {}


def disagreement(who: str, told: Sequence[str], data: Dataset) -> str:
    """That both sides name their classes, and differ."""
    classes = data_classes(data) or _counted(data)
    strange = [name for name in classes if name not in set(told)] or list(classes)
    return (
        f"{who} knows other classes than the data: {shortened(strange)} of {data.name!r} are none of its own. "
        f"Its classes: {shortened(told)}; those of {data.name!r}: {shortened(classes)}. Name them alike, or train it "
        "on these."
    )


def _counted(data: Dataset) -> tuple[str, ...]:
    return numbers(data.num_classes)


def _outputs(name: str, info: Weights, data: Dataset) -> Outputs | None:
    """Where a classifier that names its classes has those of the data; None for one that does not."""
    told, classes = model_classes(name, info), data_classes(data) or _counted(data)
    found = places(classes, told) if told else None
    trained_on = info.details.get("dataset", data.name)
    if trained_on != data.name and not (found and found.by_name):
        raise HarnessError(
            f"Model {name!r} was trained on the classes of {trained_on!r}, not on those of {data.name!r}."
            + (f" Its classes: {shortened(told)}; those of {data.name!r}: {shortened(classes)}." if told else "")
        )
    if not told:
        return None
    if found is None:
        raise HarnessError(disagreement(f"Model {name!r}", told, data))
    by_number = numbered(classes) and not found.by_name
    rest = sorted(set(range(len(told))) - set(found.there))
    others = {str(place) if by_number else told[place]: place for place in rest}
    return Outputs(found.there, others, "" if found.by_name else _positions(name, told, classes))


def _positions(name: str, told: Sequence[str], classes: Sequence[str]) -> str:
    named, ordered = ("data", told) if numbered(classes) else (f"model {name!r}", classes)
    return f"The {named} only number their classes: they were taken by position, in the order {shortened(ordered)}."


def _unnamed(name: str, data: Dataset) -> str:
    """A note on a classifier without names; none where the data have none either, or where it declares their list."""
    classes = data_classes(data)
    entry = plugins.model.get(name)
    declared = entry.facts.get("dataset") if entry else None
    if not classes or numbered(classes) or (declared == data.name and benchmark_classes(data.name)):
        return ""
    whose = naming_of(data).order or repr(data.name)
    return (
        f"Model {name!r} does not name its classes: its outputs were taken by position, in the order of {whose}: "
        f"{shortened(classes)}."
    )


class Reordered(nn.Module):
    """A classifier whose outputs stand in another order: output k is output `order[k]` of `network`."""

    order: Tensor

    def __init__(self, network: nn.Module, order: Sequence[int], name: str) -> None:
        super().__init__()
        self.network: Any = network
        self.name = name
        self.register_buffer("order", torch.tensor(list(order)), persistent=False)

    def picked(self, logits: Tensor) -> Tensor:
        """Logits (B, K) in the new order; raises HarnessError where these are not as many as the names."""
        if not isinstance(logits, Tensor):
            raise NoTensor(logits)
        if logits.shape[-1] != len(self.order):
            raise HarnessError(
                f"Model {self.name!r} names {len(self.order)} classes and gives {logits.shape[-1]} outputs. Correct "
                "its `classes`."
            )
        return logits[:, self.order]

    def forward(self, *inputs: Any) -> Tensor:
        return self.picked(self.network(*inputs))


class _Halves(Reordered):
    """One that shows its features."""

    def features(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.network.features(images))

    def head(self, features: Tensor) -> Tensor:
        return self.picked(self.network.head(features))


class _Noisy(Reordered):
    """One that was made for diffused images."""

    @property
    def denoised(self) -> bool:
        return bool(self.network.denoised)

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        return self.picked(self.network.noisy(x_t, x0_hat, t))


class _Both(_Halves, _Noisy):
    pass


def reordered(network: nn.Module, order: Sequence[int], name: str = "") -> nn.Module:
    """A classifier with its outputs in another order, and itself where that is the order they have."""
    if list(order) == list(range(len(order))):
        return network
    halves, noisy = isinstance(network, FeatureClassifier), isinstance(network, NoisyClassifier)
    kind = {(True, True): _Both, (True, False): _Halves, (False, True): _Noisy}.get((halves, noisy), Reordered)
    return kind(network, order, name).train(network.training)
