"""Classifiers as objects: a network of this process, with what its images and classes are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from harness import plugins
from harness.api.live.identity import code_of, identity_of_state
from harness.api.requests import stated_models
from harness.base.errors import HarnessError
from harness.data.classes import shortened
from harness.models.classifier import ImageClassifier, Sized, TimeConditionedClassifier
from harness.models.external.class_names import check_count, check_distinct, in_order, naming, read_classes
from harness.models.fingerprint import fingerprint
from harness.models.lookup import is_path
from harness.models.preprocessing import Preprocessed, Preprocessing, bare, wrapped
from harness.types import Weights
from harness.types.weights import LIVE

COMPLETE = (ImageClassifier, Preprocessed, Sized, TimeConditionedClassifier)
"""Networks of the harness, with their normalisation inside."""


@dataclass(frozen=True, eq=False)
class Model:
    """A network of this process as a row of a leaderboard.

    network: images (B, 3, H, W) to logits (B, K), or to an object with `logits`.
    name: of the row; no registered model or file may have it.
    mean, std: of each channel, as the network was trained with, for images in [0, 1]: three numbers, or one for all.
    image_size: side, or height and width, to which images are resized; interpolation: "bilinear" or "bicubic".
    classes: names of the outputs, in their order, or a file with them, one a line.

    What is left out comes from the network's own configuration (timm, transformers), where it has one.
    """

    network: nn.Module
    name: str
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    image_size: int | Sequence[int] | None = None
    interpolation: str | None = None
    classes: Sequence[str] | Path | str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.network, nn.Module):
            raise HarnessError(f"A {type(self.network).__name__} is no network: give a torch.nn.Module.")
        if not self.name or not isinstance(self.name, str):
            raise HarnessError(
                f"A network that is an object needs a name, which its row and its records get: "
                f'evaluate({type(self.network).__name__}(...), name="mine").'
            )
        if ":" in self.name or not self.name.isprintable():
            raise HarnessError(f"name={self.name!r} must be printable and without a colon, which starts settings.")
        if any(map(is_lazy, (*self.network.parameters(), *self.network.buffers()))):
            raise HarnessError(
                f"Model {self.name!r} has lazy layers without numbers. Call it once on a batch of images, and train it."
            )

    @property
    def stated(self) -> Preprocessing:
        """The caller's statements about the network's images."""
        return Preprocessing(
            mean=_numbers("mean", self.mean),
            std=_numbers("std", self.std),
            image_size=_size(self.image_size),
            interpolation=self.interpolation,
        )


def _numbers(name: str, values: Any) -> tuple[float, ...] | None:
    try:
        several = [values] * 3 if isinstance(values, int | float) else values
        return None if values is None else tuple(float(value) for value in several)
    except (TypeError, ValueError):
        raise HarnessError(f"{name}={values!r} must be three numbers, such as (0.5, 0.5, 0.5).") from None


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, list | tuple) else ()
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise HarnessError(f"image_size={size!r} must be a side or a height and a width, such as 224.")
    return sides[0], sides[1]


def check_names(models: Sequence[Model]) -> None:
    """Raise HarnessError for a name that another model of the call, a registered one or a file has."""
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise HarnessError(f"Two networks are called {name!r}. Give each of them its own name.")
        prefix, slash, _ = name.partition("/")
        if name in plugins.model or (slash and f"{prefix}/NAME" in plugins.model.families):
            raise HarnessError(f"A registered model is called {name!r}: give the network another name.")
        if is_path(name, plugins.model):
            raise HarnessError(
                f"name={name!r} is an existing path, {Path(name).absolute()}. Give the network another name."
            )


def classifier_of(model: Model) -> tuple[nn.Module, Weights]:
    """The network as a classifier of images in [0, 1], and its provenance; its details say what was assumed.

    Raises HarnessError for a network of torchvision without a mean and a std, for a network of the harness under
    settings that are not its own, and for names that are not one for each output.
    """
    network, stated = model.network, model.stated
    own = Preprocessing.of(network)
    details: dict[str, Any] = {"class": f"{type(network).__module__}.{type(network).__qualname__}"}
    notes: list[str] = []
    classifier = network
    if isinstance(bare(network), COMPLETE):
        _check_complete(model)
    else:
        _check_torchvision(model)
        classifier, preprocessing, notes = wrapped(network, stated, own)
        notes = [*notes, *preprocessing.pop("notes", []), *_assumed(stated, own)]
        details |= preprocessing
    names = _names(model)
    named = naming(names)
    state, unhashed = identity_of_state(network)
    notes += [*named.pop("notes", []), *_unhashed(unhashed)]
    details |= {**named, **({"notes": notes} if notes else {})}
    digest = fingerprint(classifier, f"{stated!r}{own!r}{code_of(network)}{state}{names!r}")
    if model.classes is not None and classifier is not network:
        _count_outputs(classifier, model.name, names)
    return classifier, Weights(model.name, digest, LIVE, details)


def _unhashed(types: Sequence[str]) -> list[str]:
    """A sentence on parts of a network that make each evaluation a new one."""
    return [f"Never resumed: no hash covers a part of the network ({', '.join(types)})."] if types else []


def _check_complete(model: Model) -> None:
    """Raise HarnessError for settings of a network that normalises its images itself, unless they are its own."""
    network = bare(model.network)
    own: dict[str, Any] = {name: getattr(network, name, None) for name in ("mean", "std", "interpolation")}
    own |= {name: tuple(value.flatten().tolist()) for name, value in own.items() if isinstance(value, Tensor)}
    own["image_size"] = next(iter(getattr(network, "sizes", ())), None)
    normalisation = Preprocessing(**own)
    for setting in own:
        value = getattr(model.stated, setting)
        agrees = getattr(normalisation, setting) is not None and not normalisation.contradictions(
            replace(Preprocessing(), **{setting: value})
        )
        if value is not None and not agrees:
            raise HarnessError(
                f"Model {model.name!r} is a {type(network).__name__} of the harness, which preprocesses its images "
                f"itself: {setting}={value} contradicts its own {setting}, {own[setting]}. Leave {setting}= out."
            )


def _assumed(stated: Preprocessing, own: Preprocessing) -> list[str]:
    """A sentence on what comes from a network's configuration: it may have been trained on other images since."""
    assumed = [
        f"{setting}={value}"
        for setting in ("mean", "std", "image_size")
        if (value := getattr(own, setting)) is not None and getattr(stated, setting) is None
    ]
    remedy = "If it was trained on other images, state mean=, std= and image_size=."
    return [f"Taken from the network's own configuration: {', '.join(assumed)}. {remedy}"] if assumed else []


def _names(model: Model) -> list[str]:
    """Names of the outputs: those that the caller states, or else those of the network itself."""
    if model.classes is None:
        return configured_names(model.network)
    is_file = isinstance(model.classes, str | Path)
    classes: Any = model.classes
    names = list(read_classes(Path(classes)) if is_file else map(str, classes))
    check_distinct(names, shortened(names))
    if count := _outputs(bare(model.network)):
        check_count(names, count, f"{shortened(names)} of model {model.name!r}")
    return names


def _outputs(network: nn.Module) -> int:
    """Number of a network's outputs, where its structure or its configuration says it; 0 otherwise."""
    while isinstance(network, nn.Sequential) and len(network):
        network = network[-1]
    network = network.body if isinstance(network, ImageClassifier | Preprocessed) else network
    if isinstance(network, nn.Linear):
        return network.out_features
    is_timm = isinstance(getattr(network, "pretrained_cfg", None), Mapping)
    count = (
        getattr(network, "num_classes", 0) if is_timm else getattr(getattr(network, "config", None), "num_labels", 0)
    )
    return count if isinstance(count, int) else 0


def _count_outputs(classifier: nn.Module, name: str, names: Sequence[str]) -> None:
    """Let a classifier raise HarnessError on its first images if the stated names are not one for each output."""

    def check(_: nn.Module, __: Any, logits: Any) -> None:
        if isinstance(logits, Tensor) and logits.ndim == 2:
            check_count(names, logits.shape[1], f"{shortened(names)} of model {name!r}")

    classifier.register_forward_hook(check)


def _check_torchvision(model: Model) -> None:
    """Raise HarnessError for a classifier of torchvision, all of which expect a normalisation unsaid."""
    network = bare(model.network)
    is_theirs = type(network).__module__.startswith("torchvision.models")
    if is_theirs and (model.mean is None or model.std is None):
        raise HarnessError(
            f"Model {model.name!r}: a {type(network).__name__} of torchvision expects normalised images and does not "
            "say how. State mean= and std=, as in weights.transforms(); torchvision's own weights of ImageNet have "
            "mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225). A network that was trained on images in [0, 1] has "
            "mean=(0, 0, 0), std=(1, 1, 1)."
        )


def configured_names(network: nn.Module) -> list[str]:
    """Class names in a network's own configuration, in the order of its outputs; none where it has none.

    They are its attribute `classes` (see `harness.load`), transformers' `id2label`, or the label names of timm's
    `pretrained_cfg`.
    """
    network = bare(network)
    classes = getattr(network, "classes", None)
    if isinstance(classes, list | tuple) and classes and all(isinstance(name, str) for name in classes):
        return list(classes)
    labels = getattr(getattr(network, "config", None), "id2label", None)
    if isinstance(labels, Mapping) and labels:
        return [str(name) for name in in_order(labels)]
    config = getattr(network, "pretrained_cfg", None)
    named = config.get("label_names") if isinstance(config, Mapping) else None
    fits = named and len(named) == getattr(network, "num_classes", len(named))
    return [str(name) for name in named] if named and fits else []


def models_of(model: Any, **stated: Any) -> tuple[list[str], list[Model]]:
    """The names of some models, in order, and those among them that are objects.

    model: a network, a `Model`, a registered name, the path of a checkpoint, or a list of these.
    stated: name and preprocessing of a single network, or of a single checkpoint.
    """
    several = list(model) if isinstance(model, list | tuple) else [model]
    settings = {name: value for name, value in stated.items() if value is not None}
    if not several:
        raise HarnessError("No model: give a network with a name, a registered name, a path, or a list of these.")
    if settings and (len(several) > 1 or isinstance(several[0], Model)):
        raise HarnessError(
            f"{', '.join(settings)}: these belong to one network. Of several networks each states its own: "
            "harness.Model(network, name=..., mean=..., std=...)."
        )
    names, models = [], []
    for each in several:
        if isinstance(each, nn.Module):
            if "architecture" in settings:
                raise HarnessError("architecture= is of a checkpoint's file: a network is built already. Leave it out.")
            each = Model(each, **{"name": "", **settings})
        if isinstance(each, Model):
            models.append(each)
            names.append(each.name)
        elif isinstance(each, str | Path):
            names.append(_with_settings(str(each), settings))
        else:
            raise HarnessError(f"A {type(each).__name__} is no model: give a torch.nn.Module, a name or a path.")
    return names, models


def _with_settings(text: str, settings: Mapping[str, Any]) -> str:
    """A name or path with what is stated about it, as the command line writes it."""
    if "name" in settings:
        raise HarnessError(f"name={settings['name']!r}: the row of {text!r} is called after it. Leave name= out.")
    if not isinstance(settings.get("classes", ""), str | Path):
        raise HarnessError(
            f"classes= of {text!r} must be the path of a file with one name a line. Write the names to one."
        )
    options = {}
    for key, value in settings.items():
        if text in plugins.model:
            raise HarnessError(f"{key}={value!r}: the registered model {text!r} states its own. Leave {key}= out.")
        options[key] = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return stated_models([text], options)[0]
