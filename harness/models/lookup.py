"""Classifiers and autoencoders by registered name or path."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from torch import nn

from harness import plugins
from harness.base.errors import near_matches
from harness.base.parsing import parse_json
from harness.models.checkpoint import build_network, is_checkpoint, no_checkpoint, of_kind, read_checkpoint
from harness.models.external import hub
from harness.models.external.files import load_file, resolved
from harness.models.external.header import checked
from harness.models.external.text import ModelText, plugin
from harness.models.fingerprint import fingerprint
from harness.models.published.locate import WeightFiles, chosen
from harness.types import Absent, HarnessError, Weights

PICKLED_SUFFIXES = {".pt", ".pth", ".ckpt", ".bin"}
"""Suffixes of files that torch has pickled."""

CHECKPOINT_SUFFIXES = {".safetensors", *PICKLED_SUFFIXES}
"""Suffixes that mark a name as a path."""


def load_classifier(path: Path, sha256: str | None = None) -> tuple[nn.Module, Weights]:
    """A classifier from a harness checkpoint."""
    checkpoint = of_kind(read_checkpoint(path, sha256), "classifier")
    return build_network(checkpoint), checkpoint.weights


def load_autoencoder(path: Path, sha256: str | None = None) -> tuple[nn.Module, Weights]:
    """An autoencoder from a harness checkpoint."""
    checkpoint = of_kind(read_checkpoint(path, sha256), "autoencoder")
    return build_network(checkpoint), checkpoint.weights


def card(name: str) -> dict[str, Any]:
    """The card of a bundled checkpoint: command, seed, data, SHA-256, steps, seconds, measured quality."""
    file = resources.files("harness.registry.checkpoints") / f"{name}.json"
    if not file.is_file():
        raise HarnessError(f"The bundled checkpoint {name!r} has no card: {file} is missing. Reinstall the package.")
    return dict(parse_json(file.read_text()))


def bundled(name: str) -> tuple[Path, str]:
    """Path and expected SHA-256 of a checkpoint that ships with the package."""
    with resources.as_file(resources.files("harness.registry.checkpoints") / f"{name}.safetensors") as path:
        return path, card(name)["sha256"]


def find_classifier(name: str, weight_files: WeightFiles | None = None) -> tuple[nn.Module, Weights]:
    """A classifier by registered name, or from the path of a file, of a checkpoint or of a training run's folder.

    name: with settings where the classifier is not registered, see `harness.models.external.text`.
    weight_files: places of published weights; without, the weights folder. Raises HarnessError for a name that means
    nothing, for missing weights, and for a builder that fails.
    """
    text = ModelText.of(name)
    if is_path(text.name, plugins.model):
        return _of_path(text)
    check_name(name, plugins.model)
    entry = plugins.model.of(text.name)
    _check_settings(text, entry)
    try:
        offers = {"weight_files": weight_files or WeightFiles(), "stated": text}
        built = _built(name, entry, offers)
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"Model {name!r} could not be built: {type(error).__name__}: {error}") from error
    if isinstance(built, tuple):
        return built
    if not isinstance(built, nn.Module):
        raise HarnessError(f"Model {name!r} built a {type(built).__name__}; it must return a torch.nn.Module.")
    return built, Weights(name, fingerprint(built, entry.source), "plugin")


def _built(name: str, entry: plugins.Entry, offers: Mapping[str, Any]) -> Any:
    """The result of a model's builder; of one with settings, the object that these configure builds it."""
    build = plugins.model.configure(name).plugin if plugin(name) else entry.build
    return build if isinstance(build, nn.Module) else build(**plugins.arguments_for(build, **offers))


def _of_path(text: ModelText) -> tuple[nn.Module, Weights]:
    """A classifier from a path: a checkpoint, a folder of the hub's format, or a file of tensors."""
    path = Path(text.name)
    file, _ = chosen(path)
    if hub.is_repository(file):
        return hub.load_folder(file, text)
    if is_checkpoint(file):
        network, info = load_classifier(path)
        return network, checked(text, network, info) if text.stated else info
    return load_file(text)


def canonical(text: str) -> str:
    """The spelling of a model's text that records hold, its architecture with its library.

    Raises HarnessError for settings and architectures that do not exist.
    """
    if plugin(text):
        return plugins.model.configure(text).text
    stated = ModelText.of(text)
    is_file = is_path(stated.name, plugins.model) and not is_checkpoint(chosen(Path(stated.name))[0])
    return str(resolved(stated) if is_file else stated) if stated.stated else text


def _check_settings(text: ModelText, entry: plugins.Entry) -> None:
    """Raise HarnessError for settings of a model whose plugin states everything about it."""
    taken = plugins.arguments_for(entry.build, stated=text)
    refused = text.stated if not taken else [name for name in text.stated if name == "architecture"]
    if refused:
        raise HarnessError(
            f"Model {text.name!r} states {' and '.join(refused)} itself: leave that out. It is for files and for "
            f"{', '.join(plugins.model.families)}."
        )


def is_path(name: str, registry: plugins.Registry) -> bool:
    """True if a name is the path of an existing file or folder, and not a plugin's."""
    return not _is_registered(name, registry) and chosen(Path(name))[0].exists()


def check_name(name: str, registry: plugins.Registry) -> None:
    """Raise HarnessError for a name that is neither an existing path nor a registered plugin; loads nothing."""
    name = ModelText.of(name).name if registry is plugins.model else name
    if is_path(name, registry):
        return
    if not _is_registered(name, registry):
        _check_missing_path(name, registry)
    registry.of(name)


def _is_registered(name: str, registry: plugins.Registry) -> bool:
    return name in registry or name.partition(":")[0] in registry


def _check_missing_path(name: str, registry: plugins.Registry) -> None:
    """Raise Absent for a name without a file that can only be a path.

    Such a name has a checkpoint's suffix, or a slash after a start that no plugin's name has.
    """
    if chosen(Path(name))[0].suffix in CHECKPOINT_SUFFIXES:
        raise Absent(no_checkpoint(name))
    start, slash, _ = name.partition("/")
    names = [*registry.families, *(entry.name for entry in registry.entries())]
    starts = {registered.partition("/")[0] for registered in names if "/" in registered}
    if slash and start not in starts:
        message = no_checkpoint(name, f", and no {registry.kind} of that name")
        raise Absent(message + near_matches(name.partition(":")[0], names))
