"""Match the outputs of classifiers with the classes of the data: by name wherever both sides have names."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness import plugins
from harness.base.errors import Notice
from harness.data import Widened, benchmark_classes
from harness.data.classes import names_of, naming_of, numbered, numbers, places, shortened
from harness.models.lookup import bundled, card, load_classifier
from harness.models.tiles import NoTensor
from harness.types import Dataset, FeatureClassifier, HarnessError, Incompatible, NoisyClassifier, Weights


@dataclass(frozen=True, eq=False)
class MatchedClasses:
    """Data sets and networks that agree on the class of each output.

    datasets: by condition. Additional classes of the classifiers come after those of the data.
    networks: by model, with outputs in the order of the data's classes.
    notes: by model, sentences for its record on classes that were taken by position.
    """

    datasets: Mapping[str, Dataset]
    networks: Mapping[str, nn.Module]
    notes: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Outputs:
    """The outputs of a classifier that names its classes.

    in_data: output of each class of the data. others: outputs of additional classes, by name. note: for the record.
    """

    in_data: Sequence[int]
    others: Mapping[str, int]
    note: str = ""


def match(datasets: Mapping[str, Dataset], classifiers: Mapping[str, tuple[nn.Module, Weights]]) -> MatchedClasses:
    """Match classifiers, by model name, with the data of a run; raises HarnessError if their classes differ."""
    data = next(iter(datasets.values()))
    _check_conditions(datasets, data)
    outputs = {name: _outputs(name, info, data) for name, (_, info) in classifiers.items()}
    named = {name: named_outputs for name, named_outputs in outputs.items() if named_outputs}
    extra = _extra_classes(named)
    networks = {name: network for name, (network, _) in classifiers.items()}
    for name, own in named.items():
        networks[name] = reordered(networks[name], [*own.in_data, *(own.others[label] for label in extra)], name)
    if extra:
        classes = (*named_classes(data), *extra)
        datasets = {condition: cast(Dataset, Widened(one, classes)) for condition, one in datasets.items()}
    notes = {}
    for name in outputs:
        note = named[name].note if name in named else _unnamed(name, data)
        notes[name] = [text for text in (naming_of(data).note, note) if text] + _assumptions(name, classifiers[name][1])
    return MatchedClasses(datasets, networks, notes)


def _assumptions(name: str, info: Weights) -> list[str]:
    """Sentences for a record on what a classifier's loader assumed about it, which are notices, too."""
    notes = [str(note) for note in info.details.get("notes", ())]
    for note in notes:
        warnings.warn(Notice(f"{name}: {note}"), stacklevel=3)
    return notes


def _check_conditions(datasets: Mapping[str, Dataset], first: Dataset) -> None:
    """Raise HarnessError if conditions with labels differ from the first one in their classes."""
    for condition, data in datasets.items():
        # Images out of distribution are of no class, whatever their data set calls its classes.
        if data_classes(data) not in ((), data_classes(first)) and bool((data.labels >= 0).any()):
            lists = f"{shortened(data_classes(first))}; under {condition!r}: {shortened(data_classes(data))}"
            raise HarnessError(f"The conditions of a suite must have the same classes in one order. First: {lists}.")


def _extra_classes(named: Mapping[str, Outputs]) -> list[str]:
    """Classes beyond those of the data, sorted; raises HarnessError if the classifiers differ in them."""
    if not named:
        return []
    first, first_outputs = next(iter(named.items()))
    extra = sorted(first_outputs.others)
    for name, own in named.items():
        if own.others.keys() != set(extra):
            raise HarnessError(
                f"Models {first!r} and {name!r} choose among other classes: beside those of the data, {first!r} knows "
                f"{shortened(extra) or 'none'} and {name!r} {shortened(list(own.others)) or 'none'}. Run them apart."
            )
    return extra


def data_classes(data: Dataset) -> tuple[str, ...]:
    """The class names of a data set, or else of the benchmark that contains it; none if the classes are numbers."""
    names = names_of(data) or benchmark_classes(data.name)
    return names if len(names) == data.num_classes else ()


def model_classes(name: str, info: Weights) -> tuple[str, ...]:
    """The class names of a network, in the order of its outputs; none if it does not name its classes.

    They come from its checkpoint's header or card, or from the decorator ``@model(..., classes=(...))``, or from its
    data set if that has the same classes in every folder.
    Raises HarnessError for a list that cannot be one of names.
    """
    declared: Any = info.details.get("classes")
    entry = plugins.model.get(name)
    if not declared and entry:
        declared = entry.facts.get("classes")
    fixed = benchmark_classes(str(info.details.get("dataset", "")))
    count = info.details.get("arguments", {}).get("num_classes", len(declared or fixed))
    if not declared:
        return fixed if count == len(fixed) else ()
    are_names = isinstance(declared, list | tuple) and all(isinstance(each, str) for each in declared)
    if not are_names or len(set(declared)) != len(declared) or len(declared) != count:
        raise HarnessError(
            f"{name!r} has {count} classes and does not name each of them once: {str(declared)[:200]}. Correct its "
            "`classes`."
        )
    return tuple(declared)


def load_bundled(name: str) -> tuple[nn.Module, Weights]:
    """A classifier that ships with the package; its card names its classes, because its file does not."""
    network, info = load_classifier(*bundled(name))
    return network, replace(info, details={**info.details, "classes": card(name)["classes"]})


def header_classes(header: Mapping[str, Any], data: Dataset) -> dict[str, list[str]]:
    """The header field with the class names of a new checkpoint; empty if its data set fixes them.

    The package's data sets with the same classes in every folder fix them: shipped checkpoints of these hold no names,
    and a repeated training must give the same bytes.
    """
    fixed = not plugins.dataset[header["dataset"]].source and benchmark_classes(header["dataset"]) == names_of(data)
    names = names_of(data) if "num_classes" in header["arguments"] else ()
    return {"classes": list(names)} if names and not fixed else {}


def disagreement(who: str, names: Sequence[str], data: Dataset) -> str:
    """Message for a network `who` whose class names differ from those of the data."""
    classes = named_classes(data)
    strange = [name for name in classes if name not in set(names)] or list(classes)
    return (
        f"{who} knows other classes than the data: {shortened(strange)} of {data.name!r} are unknown to it. "
        f"Its classes: {shortened(names)}; those of {data.name!r}: {shortened(classes)}. Name them alike, or train it "
        "on these."
    )


def named_classes(data: Dataset) -> tuple[str, ...]:
    """The names of a data set's classes, or their numbers."""
    return data_classes(data) or numbers(data.num_classes)


def order_of(names: Sequence[str], data: Dataset, who: str) -> list[int]:
    """For each class of the data its number in a network, by name; the same number if the network names none.

    Raises HarnessError where the network names other classes.
    """
    if not names:
        return list(range(data.num_classes))
    matching = places(named_classes(data), names)
    if matching is None:
        raise HarnessError(disagreement(who, names, data))
    return matching.there


def _outputs(name: str, info: Weights, data: Dataset) -> Outputs | None:
    """The outputs of a classifier that names its classes; None for one that does not."""
    names = model_classes(name, info)
    classes = named_classes(data)
    matched = places(classes, names) if names else None
    trained_on = info.details.get("dataset", data.name)
    if trained_on != data.name and not (matched and matched.by_name):
        raise Incompatible(
            f"Model {name!r} was trained on the classes of {trained_on!r}, not on those of {data.name!r}."
            + (f" Its classes: {shortened(names)}; those of {data.name!r}: {shortened(classes)}." if names else "")
            + f" Name a suite or data set of {trained_on!r} (--suite, --dataset), or a model of {data.name!r} "
            "(--model): harness list."
        )
    if not names:
        return None
    if matched is None:
        raise Incompatible(disagreement(f"Model {name!r}", names, data))
    by_number = numbered(classes) and not matched.by_name
    rest = sorted(set(range(len(names))) - set(matched.there))
    others = {str(place) if by_number else names[place]: place for place in rest}
    return Outputs(matched.there, others, "" if matched.by_name else _by_position(name, names, classes))


def _by_position(name: str, names: Sequence[str], classes: Sequence[str]) -> str:
    """A note for the record on classes of which one side has only numbers."""
    unnamed, ordered = ("data", names) if numbered(classes) else (f"model {name!r}", classes)
    return f"The {unnamed} only number their classes: they were taken by position, in the order {shortened(ordered)}."


def _unnamed(name: str, data: Dataset) -> str:
    """A note for the record on a classifier without class names; empty if the data have none either, or if it
    declares their list.
    """
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
    """A classifier with outputs in another order: output k is output `order[k]` of `network`."""

    order: Tensor

    def __init__(self, network: nn.Module, order: Sequence[int], name: str) -> None:
        super().__init__()
        self.network: Any = network
        self.name = name
        self.register_buffer("order", torch.tensor(list(order)), persistent=False)

    def in_order(self, logits: Tensor) -> Tensor:
        """Logits (B, K) in the new order; raises HarnessError if their number is not that of the class names."""
        if not isinstance(logits, Tensor):
            raise NoTensor(logits)
        if logits.shape[-1] != len(self.order):
            raise HarnessError(
                f"Model {self.name!r} names {len(self.order)} classes and gives {logits.shape[-1]} outputs. Correct "
                "its `classes`."
            )
        return logits[:, self.order]

    def forward(self, *inputs: Any) -> Tensor:
        return self.in_order(self.network(*inputs))


class _WithFeatures(Reordered):
    """A reordered `FeatureClassifier`."""

    def features(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.network.features(images))

    def head(self, features: Tensor) -> Tensor:
        return self.in_order(self.network.head(features))


class _Noisy(Reordered):
    """A reordered `NoisyClassifier`."""

    @property
    def denoised(self) -> bool:
        return bool(self.network.denoised)

    @property
    def noise_schedule(self) -> tuple[str, int] | None:
        return getattr(self.network, "noise_schedule", None)

    @property
    def takes_network_times(self) -> bool:
        return bool(getattr(self.network, "takes_network_times", False))

    def noisy(self, x_t: Tensor, x0_hat: Tensor | None, t: Tensor) -> Tensor:
        return self.in_order(self.network.noisy(x_t, x0_hat, t))


class _NoisyWithFeatures(_WithFeatures, _Noisy):
    """A reordered classifier that is both."""


def reordered(network: nn.Module, order: Sequence[int], name: str = "") -> nn.Module:
    """A classifier with its outputs in another order; the classifier itself if the order is the same."""
    if list(order) == list(range(len(order))):
        return network
    has_features = isinstance(network, FeatureClassifier)
    is_noisy = isinstance(network, NoisyClassifier)
    kind: type[Reordered] = _WithFeatures if has_features else Reordered
    if is_noisy:
        kind = _NoisyWithFeatures if has_features else _Noisy
    return kind(network, order, name).train(network.training)
