"""Checkpoints: tensors from a file that was checked, into a network that fits them exactly.

A harness checkpoint is a safetensors file whose header says which architecture to build and what it was trained on.
Only tensors are ever read: no pickle, no code from data.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from harness import plugins
from harness.classifier import CHANNELS, ImageClassifier, TimeConditionedClassifier
from harness.diffusion import hub
from harness.diffusion.adm import flags_beside, load_adm
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.schedule import SCHEDULES
from harness.errors import missing, near_matches
from harness.files import PAGE, file_sha256, is_page, writing
from harness.fingerprint import fingerprint as fingerprint
from harness.published import read_state, unwrapped
from harness.types import Absent, HarnessError, Weights

HEADER = "harness"
PICKLED = {".pt", ".pth", ".ckpt", ".bin"}
ENDINGS = {".safetensors", *PICKLED}
"""What a name ends in that can only be meant as a path."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and checked.

    header: kind ("classifier", "denoiser" or "autoencoder"), architecture, its arguments, data set; for a denoiser its
        schedule, for a time-conditioned classifier its objective ("noisy" or "da").
    """

    path: Path
    sha256: str
    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def weights(self) -> Weights:
        """What a record says about this checkpoint."""
        return Weights(self.path.stem, self.sha256, self.path.name, dict(self.header))


def write(path: Path, network: nn.Module, header: Mapping[str, Any]) -> str:
    """Write a checkpoint in one piece or not at all; returns its SHA-256."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with writing(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode  # the library would let nobody else read the file
        try:
            save_file(tensors, partial, metadata={HEADER: json.dumps(header, sort_keys=True)})
        except SafetensorError as error:  # which hides that a disk is full
            number = re.search(r"os error (\d+)", str(error))
            code = int(number[1]) if number else errno.EIO
            raise OSError(code, os.strerror(code)) from error
        partial.chmod(mode)
    return file_sha256(path)


def read(path: Path, expected_sha256: str | None = None) -> Checkpoint:
    """Read a checkpoint, naming what is wrong with a file that is not one."""
    given, path = path, path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise missing(given, _no_checkpoint(path))
    sha256 = file_sha256(path)
    if expected_sha256 and sha256 != expected_sha256:
        raise HarnessError(
            f"{path} has SHA-256 {sha256}, but its card says {expected_sha256}: the file was changed or cut short. "
            "Restore it (git checkout, or reinstall the package)."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    except SafetensorError as error:
        raise HarnessError(f"{path} is not a readable safetensors file: {_what_it_is(path, error)}") from error
    if HEADER not in metadata:
        raise HarnessError(
            f"{path} holds tensors but no {HEADER!r} header, so its architecture is unknown. "
            "Load it in a plugin file that builds the network (see the README: a model in one file)."
        )
    try:
        return Checkpoint(path, sha256, dict(json.loads(metadata[HEADER])), tensors)
    except (ValueError, TypeError) as error:
        raise HarnessError(f"{path}: its {HEADER!r} header is not a JSON object. Fetch or train it again.") from error


def _no_checkpoint(path: Path | str, more: str = "") -> str:
    return f"No checkpoint at {path}{more}. Train one (harness train --help) or give the path of an existing one."


def _what_it_is(path: Path, error: Exception) -> str:
    if is_page(path):
        return PAGE
    with path.open("rb") as file:
        start = file.read(2)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return (
            "it is a pickle, which can run code when it is opened. Weights of a published model load by its name, with "
            "--weights NAME=FILE (harness weights list); for others write a plugin file with torch.load(file, "
            "weights_only=True)."
        )
    return f"{error}. Fetch or train it again."


def build(checkpoint: Checkpoint) -> nn.Module:
    """The network that a checkpoint describes, loaded strictly."""
    header = checkpoint.header
    try:
        entry = plugins.architecture[str(header["architecture"])]
        with torch.device("meta") if entry.facts.get("assigned") else nullcontext():
            body = entry.build(**header.get("arguments", {}))
        network = _classifier(checkpoint, body) if header["kind"] == "classifier" else body
    except HarnessError:
        raise
    except Exception as error:  # of any architecture, for any arguments
        raise HarnessError(
            f"{checkpoint.path}: its header does not describe a network ({type(error).__name__}: {error}). "
            "Fetch or train it again."
        ) from error
    complaint = f"{checkpoint.path} does not fit architecture {header['architecture']!r}"
    return _load(network, checkpoint.tensors, complaint, "Fetch or train it again.")


def _load(network: nn.Module, tensors: Mapping[str, Tensor], complaint: str, remedy: str) -> nn.Module:
    """A network with these tensors, which must be its own by name, shape and kind of number, to the last."""
    expected = network.state_dict()
    parts = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unknown": sorted(tensors.keys() - expected.keys()),
        "different": [
            f"{name} ({_kind(tensors[name])} in place of {_kind(own)})"
            for name, own in expected.items()
            if name in tensors and not _fits(tensors[name], own)
        ],
    }
    if any(parts.values()):
        said = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in parts.items() if names)
        raise HarnessError(f"{complaint}: of {len(expected)} tensors, {said}. {remedy}")
    # Built without memory, the network takes the tensors themselves.
    network.load_state_dict(dict(tensors), strict=True, assign=any(p.is_meta for p in network.parameters()))
    return network.eval()


def _fits(tensor: Tensor, own: Tensor) -> bool:
    """Whether a network may take a tensor in place of its own: counters as floats, but no weights as integers."""
    return tensor.shape == own.shape and (tensor.is_floating_point() or tensor.dtype == own.dtype)


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _classifier(checkpoint: Checkpoint, body: nn.Module) -> nn.Module:
    """A body with its normalisation around it, as its architecture's kind and the training objective want it."""
    if plugins.architecture[checkpoint.header["architecture"]].facts.get("kind") != "time-conditioned":
        sizes = [(int(height), int(width)) for height, width in checkpoint.header.get("sizes", ())]
        interpolation = checkpoint.header.get("interpolation", "bicubic")
        if interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation {interpolation!r}")
        return ImageClassifier(body, sizes=sizes, interpolation=interpolation)
    objective = checkpoint.header.get("objective")
    if objective not in CHANNELS:
        raise HarnessError(
            f"{checkpoint.path}: its header names the objective {objective!r}, which is none of {', '.join(CHANNELS)}: "
            "what the network wants to see is unknown. Train it again."
        )
    return TimeConditionedClassifier(body, denoised=objective == "da")


def published(
    path: Path,
    network: nn.Module,
    kind: str,
    origin: str,
    ours: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda state: state,
) -> tuple[nn.Module, Weights]:
    """`network` with the tensors of a file as its authors publish it, which must have its names and shapes exactly.

    kind, origin: see `harness.published.read_state`. ours: from the authors' names to the network's.
    """
    # Files from before torch 0.4.1 lack the batch counters, which nothing reads outside of training.
    counters = {name: t for name, t in network.state_dict().items() if name.endswith("num_batches_tracked")}
    tensors = unwrapped(ours(read_state(path, kind, origin)), network.state_dict().keys())
    complaint, remedy = f"{path} does not hold the {kind}", f"Give the file of this network and its classes. {origin}"
    loaded = _load(network, {**counters, **tensors}, complaint, remedy)
    return loaded, Weights(path.stem, file_sha256(path), path.name)


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a harness checkpoint, or a damaged one, or a path a training run's folder."""
    if path.suffix != ".safetensors":
        return path.is_dir()
    try:
        with safe_open(path, framework="pt") as file:
            return HEADER in (file.metadata() or {})
    except SafetensorError:
        return True


def classifier(path: Path, sha256: str | None = None) -> tuple[nn.Module, Weights]:
    """A classifier from a harness checkpoint."""
    checkpoint = _of_kind(read(path, sha256), "classifier")
    return build(checkpoint), checkpoint.weights


def denoiser(path: Path, sha256: str | None = None) -> tuple[Denoiser, Weights]:
    """A denoiser from a harness checkpoint, from ADM's ``X.pt`` with its flags in ``X.json``, or a diffusers folder."""
    if hub.is_unet(path):
        return hub.load_unet(path), _several(path.name, hub.files(path))
    if path.suffix in PICKLED and path.exists():
        flags, info = flags_beside(path), _several(path.stem, [path, path.with_suffix(".json")])
        return load_adm(path, flags), replace(info, details={**info.details, "arguments": asdict(flags)})
    checkpoint = _of_kind(read(path, sha256), "denoiser")
    name, steps = checkpoint.header.get("schedule"), checkpoint.header.get("steps")
    if name not in SCHEDULES or not isinstance(steps, int):
        raise HarnessError(f"{path}: schedule {name!r} of {steps!r} steps is none of {', '.join(SCHEDULES)}.")
    schedule = SCHEDULES[name](steps)
    schedule = schedule.rescaled() if checkpoint.header.get("rescale_timesteps") else schedule
    return Denoiser(build(checkpoint), schedule), checkpoint.weights


def _several(name: str, files: Sequence[Path]) -> Weights:
    """What a record says about weights whose configuration is a file of its own: the hash is of both."""
    found = {file.name: file_sha256(file) for file in files}
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return Weights(name, digest, files[0].name, {"files": found})


def autoencoder(path: Path, sha256: str | None = None) -> tuple[nn.Module, Weights]:
    """An autoencoder from a harness checkpoint."""
    checkpoint = _of_kind(read(path, sha256), "autoencoder")
    return build(checkpoint), checkpoint.weights


def _of_kind(checkpoint: Checkpoint, kind: str) -> Checkpoint:
    found = checkpoint.header.get("kind")
    if found != kind:
        held, wanted = (f"{'an' if str(name)[0] in 'aeiou' else 'a'} {name}" for name in (found, kind))
        raise HarnessError(f"{checkpoint.path} holds {held}, not {wanted}.")
    return checkpoint


def card(name: str) -> dict[str, Any]:
    """The card of a bundled checkpoint: command, seed, data, SHA-256, steps, seconds, measured quality."""
    file = resources.files("harness.registry.checkpoints") / f"{name}.json"
    if not file.is_file():
        raise HarnessError(f"The bundled checkpoint {name!r} has no card: {file} is missing. Reinstall the package.")
    return dict(json.loads(file.read_text()))


def bundled(name: str) -> tuple[Path, str]:
    """Path and expected SHA-256 of a checkpoint that ships with the package."""
    with resources.as_file(resources.files("harness.registry.checkpoints") / f"{name}.safetensors") as path:
        return path, card(name)["sha256"]


def find_classifier(name: str) -> tuple[nn.Module, Weights]:
    """A classifier by registered name, or from the path of a checkpoint or of a training run's folder."""
    if _is_path(name, plugins.model):
        return classifier(Path(name))
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


def find_denoiser(name: str) -> tuple[Denoiser, Weights]:
    """A denoiser by registered name, with its settings, or from a path: see `denoiser`, or a training run's folder."""
    if _is_path(name, plugins.denoiser):
        return denoiser(Path(name))
    _, found = plugins.denoiser.configure(name)
    built: tuple[Denoiser, Weights] = found() if callable(found) else found
    return built


def check_name(name: str, registry: plugins.Registry) -> None:
    """Raises HarnessError for what is neither the path of something nor a name that is registered; loads nothing."""
    if not _is_path(name, registry):
        registry.of(name)


def _is_path(name: str, registry: plugins.Registry) -> bool:
    """Whether a name is the path of something; raises HarnessError where it can be meant as one, and nothing is there.

    That is so where it has a checkpoint's ending, or a slash behind what no plugin's name begins with.
    """
    if name in registry or name.partition(":")[0] in registry:
        return False
    if Path(name).exists():
        return True
    if Path(name).suffix in ENDINGS:
        raise Absent(_no_checkpoint(name))
    start, slash, _ = name.partition("/")
    names = [*registry.families, *(entry.name for entry in registry.entries())]
    if slash and start not in {known.partition("/")[0] for known in names if "/" in known}:
        said = _no_checkpoint(name, f", and no {registry.kind} of that name")
        raise Absent(said + near_matches(name.partition(":")[0], names))
    return False
