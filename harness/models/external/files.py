"""A classifier from a user's file of tensors, whose architecture the command names."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from harness.models.checkpoint import load_strictly
from harness.models.external.architecture import Fit, candidates, fitted, suggestions
from harness.models.external.class_names import check_count, naming, read_classes
from harness.models.external.text import ModelText
from harness.models.files.state_dict import COUNTER, read_file, recorded
from harness.models.preprocessing import Preprocessing, built_size, wrapped
from harness.types import HarnessError, Weights

KIND = "state dict of a classifier"
ORIGIN = "Its architecture is named with --architecture."
SCRIPT = ("args", "config", "hyper_parameters", "hparams")
"""Keys under which training scripts save their settings."""


def resolved(text: ModelText) -> ModelText:
    """The text with the library of its architecture, chosen by the file's tensors where several libraries have it."""
    if not text.architecture:
        return text
    names = candidates(text.architecture)
    if len(names) > 1:
        state, _ = read_file(Path(text.name), KIND, ORIGIN)
        names = [fitted(Path(text.name), state, text.architecture, text.preprocessing.image_size).architecture]
    return replace(text, architecture=names[0])


def load_file(text: ModelText) -> tuple[nn.Module, Weights]:
    """The classifier of a file without a header, loaded strictly into the architecture that the text names.

    Raises HarnessError for a file that does not fit it, and for settings that cannot be true of it.
    """
    path = Path(text.name)
    state, held = read_file(path, KIND, ORIGIN)
    if not text.architecture:
        raise _unknown_architecture(path, state, held)
    names = read_classes(Path(text.classes)) if text.classes else ()
    fit = fitted(path, state, text.architecture, text.preprocessing.image_size)
    network = _filled(path, fit, state)
    script = _of_script(held)
    size = built_size(network)
    _check_size(text, path, size)
    own, assumed = _own(fit, network, script)
    # A library's usual numbers are no statement about this file: only those that the file holds can be contradicted.
    classifier, details, _ = wrapped(network.eval(), text.preprocessing, replace(own, image_size=size))
    contradictions = text.preprocessing.contradictions(script[1]) + _other_architecture(fit.architecture, script)
    if names and fit.num_classes:
        check_count(names, fit.num_classes, text.classes)
    assumed = [] if text.mean and text.std else assumed
    shape = {"kind": "classifier", "architecture": fit.architecture, "arguments": dict(fit.arguments)}
    notes = [*contradictions, *assumed, *details.pop("notes", ())]
    details = {**shape, **details, **naming(names), **({"notes": notes} if notes else {})}
    code = {f"architecture {fit.entry.origin.name}": fit.entry.source} if fit.entry.origin.name else {}
    beside = [Path(text.classes)] if text.classes else []
    return classifier, replace(recorded(path, details, beside, code), name=str(text))


def _filled(path: Path, fit: Fit, state: Mapping[str, Tensor]) -> nn.Module:
    """The network with the file's tensors; raises HarnessError where they do not fit, with those that would."""
    network = fit.build()
    own = network.state_dict()
    counters = {name: t for name, t in own.items() if name.endswith(COUNTER)}
    # Where most tensors differ, no shape shows a number of classes.
    similar = 2 * len(fit.different) < len(fit.tensors)
    classes = f" with {fit.num_classes} classes" if fit.num_classes and similar else ""
    others = [name for name in suggestions(path, state) if name != fit.architecture] if fit.different else []
    remedy = f"Its tensors fit {' and '.join(others)}." if others else "Name the architecture that it was saved from."
    complaint = f"{path} does not fit architecture {fit.architecture!r}{classes}"
    return load_strictly(network, {**counters, **fit.tensors}, complaint, remedy)


def _unknown_architecture(path: Path, state: Mapping[str, Tensor], held: Any) -> HarnessError:
    """The error for a file of tensors alone, with the architectures that it may be."""
    stated, _ = _of_script(held)
    names = [stated] if stated else suggestions(path, state)
    why = "It says that it is of" if stated else "Its tensors fit"
    hint = f" {why} {' and '.join(names)}." if names else ""
    return HarnessError(
        f"{path} holds tensors but no 'harness' header, so its architecture is unknown.{hint} Name it: --model {path} "
        f"--architecture {names[0] if names else 'resnet50'}, of timm, of torchvision or registered (also by a "
        "--plugin file), with --mean and --std of its training. A network from any code: harness.evaluate(model)."
    )


def _own(fit: Fit, network: nn.Module, script: tuple[str, Preprocessing]) -> tuple[Preprocessing, list[str]]:
    """Statements of the file, or else of the library, on images; sentences on what is therefore assumed."""
    _, stated = script
    library, whose = _of_library(fit, network)
    assumed = [name for name in ("mean", "std") if getattr(stated, name) is None and getattr(library, name)]
    if not assumed:
        return stated, []
    values = " and ".join(f"{name} {','.join(f'{v:g}' for v in getattr(library, name))}" for name in assumed)
    sentence = (
        f"Nothing states the {' and '.join(assumed)} of the images that it was trained on: {values} were taken, which "
        f"{whose} states for its own weights of {fit.architecture}. For a file that was trained with others: --mean, "
        "--std."
    )
    return replace(stated, mean=stated.mean or library.mean, std=stated.std or library.std), [sentence]


def _of_library(fit: Fit, network: nn.Module) -> tuple[Preprocessing, str]:
    """Preprocessing that the origin of an architecture states for its weights, and the name of the origin."""
    facts = fit.entry.facts
    if facts.get("mean") and facts.get("std"):
        return Preprocessing(mean=tuple(facts["mean"]), std=tuple(facts["std"])), "its plugin"
    library, _, name = fit.architecture.partition("/")
    if library == "torchvision":
        from torchvision import models

        transform = models.get_model_weights(name).DEFAULT.transforms()
        return Preprocessing(mean=tuple(transform.mean), std=tuple(transform.std)), library
    return Preprocessing.of(network), library


def _of_script(held: Any) -> tuple[str, Preprocessing]:
    """Architecture and normalisation that a training script saved beside the tensors, as timm's does; empty if none."""
    held = held if isinstance(held, Mapping) else {}
    saved: Any = next((held[key] for key in SCRIPT if isinstance(held.get(key), Mapping | argparse.Namespace)), {})
    settings = saved if isinstance(saved, Mapping) else vars(saved)
    names = [held.get("arch"), *(settings.get(key) for key in ("arch", "architecture", "model"))]
    architecture = next((name for name in names if isinstance(name, str) and name), "")
    try:
        mean, std = (_numbers(settings.get(key)) for key in ("mean", "std"))
        return architecture, Preprocessing(mean=mean, std=std)
    except HarnessError:  # settings of another meaning
        return architecture, Preprocessing()


def _numbers(values: Any) -> tuple[float, ...] | None:
    numbers = isinstance(values, Sequence) and all(isinstance(value, int | float) for value in values)
    return tuple(map(float, values)) if numbers and len(values) == 3 else None


def _other_architecture(name: str, script: tuple[str, Preprocessing]) -> list[str]:
    """A sentence where the file says that it is of another architecture than the one that its tensors fit."""
    stated, _ = script
    base = [each.rpartition("/")[2].partition(".")[0] for each in (name, stated)]
    if not stated or base[0] == base[1]:
        return []
    return [f"The file says that it is of {stated}, and its tensors were loaded into {name}, which they fit."]


def _check_size(text: ModelText, path: Path, built: tuple[int, int] | None) -> None:
    stated = text.preprocessing.image_size
    if built and stated and built != stated:
        raise HarnessError(
            f"{path}: image_size={stated[0]},{stated[1]} was stated, and its position embedding is for "
            f"{built[0]}x{built[1]} images. Leave image_size out."
        )
