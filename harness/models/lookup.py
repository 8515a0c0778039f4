"""Classifiers and autoencoders by registered name or path."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from torch import nn

from harness import plugins
from harness.base.errors import near_matches
from harness.base.files import file_sha256 as file_sha256
from harness.base.parsing import parse_json
from harness.models.checkpoint import Checkpoint as Checkpoint
from harness.models.checkpoint import build_network, no_checkpoint, of_kind, read_checkpoint
from harness.models.checkpoint import is_checkpoint as is_checkpoint
from harness.models.checkpoint import load_published as load_published
from harness.models.checkpoint import write_checkpoint as write_checkpoint
from harness.models.fingerprint import fingerprint as fingerprint
from harness.models.locate import chosen
from harness.types import Absent, HarnessError, Weights

PICKLED = {".pt", ".pth", ".ckpt", ".bin"}


ENDINGS = {".safetensors", *PICKLED}
"""What a name ends in that can only be meant as a path."""


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


def find_classifier(name: str) -> tuple[nn.Module, Weights]:
    """A classifier by registered name, or from the path of a checkpoint or of a training run's folder."""
    if is_path(name, plugins.model):
        return load_classifier(Path(name))
    entry = plugins.model[name]
    try:
        built = entry.build()
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"Model {name!r} could not be built: {type(error).__name__}: {error}") from error
    if isinstance(built, tuple):
        return built
    if not isinstance(built, nn.Module):
        raise HarnessError(f"Model {name!r} built a {type(built).__name__}; it must return a torch.nn.Module.")
    return built, Weights(name, fingerprint(built, entry.source), "plugin")


def check_name(name: str, registry: plugins.Registry) -> None:
    """Raises HarnessError for what is neither the path of something nor a name that is registered; loads nothing."""
    if not is_path(name, registry):
        registry.of(name)


def is_path(name: str, registry: plugins.Registry) -> bool:
    """Whether a name is the path of something; raises HarnessError where it can be meant as one, and nothing is there.

    That is so where it has a checkpoint's ending, or a slash behind what no plugin's name begins with.
    """
    if name in registry or name.partition(":")[0] in registry:
        return False
    file, _ = chosen(Path(name))
    if file.exists():
        return True
    if file.suffix in ENDINGS:
        raise Absent(no_checkpoint(name))
    start, slash, _ = name.partition("/")
    names = [*registry.families, *(entry.name for entry in registry.entries())]
    if slash and start not in {known.partition("/")[0] for known in names if "/" in known}:
        said = no_checkpoint(name, f", and no {registry.kind} of that name")
        raise Absent(said + near_matches(name.partition(":")[0], names))
    return False
