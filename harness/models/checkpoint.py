"""Harness checkpoints: safetensors files with a header that names the architecture and the training data.

A network must fit the tensors exactly. Only tensors are ever read: no pickle, no code from data.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from harness import plugins
from harness.base.errors import missing
from harness.base.files import check_regular, file_sha256, writing
from harness.base.parsing import parse_json
from harness.models.classifier import CHANNELS, ImageClassifier, TimeConditionedClassifier
from harness.models.files import bounded, formats
from harness.models.files.state_dict import COUNTER, first_line, read_state, recorded, unwrapped
from harness.models.preprocessing import LARGEST, Preprocessed
from harness.models.published.locate import chosen
from harness.types import HarnessError, Weights

HEADER = "harness"
"""Key of the header in the metadata of the file."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and checked.

    header: kind ("classifier", "denoiser" or "autoencoder"), architecture, its arguments, data set; a denoiser's
        schedule; a time-conditioned classifier's objective ("noisy" or "da"), and its schedule where that
        is not linear over 1000 times.
    """

    path: Path
    sha256: str
    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def weights(self) -> Weights:
        """The provenance for records."""
        return Weights(self.path.stem, self.sha256, self.path.name, dict(self.header))


def write_checkpoint(path: Path, network: nn.Module, header: Mapping[str, Any]) -> str:
    """Write a checkpoint in one piece or not at all; returns its SHA-256."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with writing(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode  # the library makes the file readable for its owner only
        try:
            save_file(tensors, partial, metadata={HEADER: json.dumps(header, sort_keys=True)})
        except SafetensorError as error:  # it hides that the disk is full
            number = re.search(r"os error (\d+)", str(error))
            code = int(number[1]) if number else errno.EIO
            raise OSError(code, os.strerror(code)) from error
        partial.chmod(mode)
    return file_sha256(path)


def read_checkpoint(path: Path, expected_sha256: str | None = None) -> Checkpoint:
    """Read a checkpoint from its file or from a training run's folder; raises HarnessError for any other file."""
    place, part = chosen(path)
    path = place / "model.safetensors" if place.is_dir() else place
    expected_sha256 = expected_sha256 or _stated(place)
    if part:
        raise HarnessError(f"{path} holds one network: leave out #{part}.")
    if not path.exists():
        raise missing(place, no_checkpoint(path))
    formats.check(path, safetensors=True)
    sha256 = file_sha256(path)
    if expected_sha256 and sha256 != expected_sha256:
        raise HarnessError(
            f"{path} has SHA-256 {sha256}, but its card says {expected_sha256}: the file was changed or cut short. "
            f"{_remedy(place)}."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
    except SafetensorError as error:
        raise HarnessError(f"{path} is not a readable safetensors file: {error}. Fetch or train it again.") from error
    if HEADER not in metadata:
        raise HarnessError(
            f"{path} holds tensors but no {HEADER!r} header, so its architecture is unknown. "
            "Name that of a classifier with --architecture (see docs/models.md)."
        )
    try:
        return Checkpoint(path, sha256, dict(parse_json(metadata[HEADER])), tensors)
    except (ValueError, TypeError) as error:
        raise HarnessError(f"{path}: its {HEADER!r} header is not a JSON object. Fetch or train it again.") from error


def _stated(place: Path) -> str | None:
    """The SHA-256 in the card of a training's folder, if there is one."""
    card = place / "card.json"
    if not place.is_dir() or not card.is_file():
        return None
    try:
        return str(dict(parse_json(card.read_text(encoding="utf-8")))["sha256"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise HarnessError(f"{card} is no card of a training. Train again, or give the path of the file.") from error


def _remedy(place: Path) -> str:
    if place.is_dir():
        return "Train again (--fresh), or give the path of the file itself to use it nevertheless"
    return "Restore it (git checkout, or reinstall the package)"


def no_checkpoint(path: Path | str, more: str = "") -> str:
    """Message for a path without a file."""
    return f"No checkpoint at {path}{more}. Train one (harness train --help) or give the path of an existing one."


def build_network(checkpoint: Checkpoint) -> nn.Module:
    """The network that a checkpoint describes, loaded strictly."""
    header = checkpoint.header
    try:
        entry = plugins.architecture[str(header["architecture"])]
        elements = sum(tensor.numel() for tensor in checkpoint.tensors.values())
        make = partial(entry.build, **header.get("arguments", {}))
        bounded.check(make, len(checkpoint.tensors), elements)
        with (
            bounded.at_most(len(checkpoint.tensors), elements),
            torch.device("meta") if entry.facts.get("assigned") else nullcontext(),
        ):
            body = make()
        network = _classifier(checkpoint, body) if header["kind"] == "classifier" else body
    except bounded.TooLarge as error:
        complaint = f"{checkpoint.path} does not fit architecture {header['architecture']!r}"
        raise HarnessError(f"{complaint}: {error}. Fetch or train it again.") from error
    except HarnessError:
        raise
    except Exception as error:  # of any architecture, for any arguments
        raise HarnessError(
            f"{checkpoint.path}: its header does not describe a network ({type(error).__name__}: {first_line(error)}). "
            "Fetch or train it again."
        ) from error
    complaint = f"{checkpoint.path} does not fit architecture {header['architecture']!r}"
    return load_strictly(network, checkpoint.tensors, complaint, "Fetch or train it again.")


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], complaint: str, remedy: str) -> nn.Module:
    """Load tensors into a network; all names, shapes and kinds of number must agree."""
    expected = network.state_dict()
    parts = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unknown": sorted(tensors.keys() - expected.keys()),
        "different": [
            f"{name} ({_kind(tensors[name])} instead of {_kind(own)})"
            for name, own in expected.items()
            if name in tensors and not _fits(tensors[name], own)
        ],
    }
    if any(parts.values()):
        differences = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in parts.items() if names)
        raise HarnessError(f"{complaint}: of {len(expected)} tensors, {differences}. {remedy}")
    # Built without memory, the network takes the tensors themselves.
    network.load_state_dict(dict(tensors), strict=True, assign=any(p.is_meta for p in network.parameters()))
    return network.eval()


def _fits(tensor: Tensor, own: Tensor) -> bool:
    """True if a tensor can replace a network's: of its shape; counters may be floats, weights no integers."""
    return tensor.shape == own.shape and (tensor.is_floating_point() or tensor.dtype == own.dtype)


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _classifier(checkpoint: Checkpoint, body: nn.Module) -> nn.Module:
    """Wrap a body in the normalisation that the kind of its architecture and its objective require."""
    sizes = [(int(height), int(width)) for height, width in checkpoint.header.get("sizes", ())]
    if not all(1 <= side <= LARGEST for size in sizes for side in size):
        raise ValueError(f"images of the sizes {checkpoint.header['sizes']!r:.80}")
    if plugins.architecture[checkpoint.header["architecture"]].facts.get("kind") != "time-conditioned":
        interpolation = checkpoint.header.get("interpolation", "bicubic")
        if interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation {interpolation!r}")
        # Other networks than timm's show their features elsewhere; the arithmetic and the tensors' names are the same.
        kind = ImageClassifier if hasattr(body, "forward_head") else Preprocessed
        return kind(body, (0.5,) * 3, (0.5,) * 3, sizes, interpolation)
    objective = checkpoint.header.get("objective")
    if objective not in CHANNELS:
        raise HarnessError(
            f"{checkpoint.path}: its header names the objective {objective!r}, which must be one of "
            f"{', '.join(CHANNELS)}. Train it again."
        )
    return TimeConditionedClassifier(body, objective == "da", sizes, _noise_schedule(checkpoint, body))


def _noise_schedule(checkpoint: Checkpoint, body: nn.Module) -> tuple[str, int] | None:
    """The schedule that a header states; without one, the trainer's is linear, another program's is unknown."""
    if getattr(body, "takes_network_times", False):
        return None
    name, steps = checkpoint.header.get("schedule", "linear"), checkpoint.header.get("steps", 1000)
    return (name, steps) if isinstance(name, str) and isinstance(steps, int) else None


def load_published(
    path: Path,
    network: nn.Module,
    kind: str,
    origin: str,
    renamed: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda state: state,
) -> tuple[nn.Module, Weights]:
    """Load a file as its authors publish it into `network`; names and shapes must agree exactly.

    kind, origin: see `harness.models.files.state_dict.read_state`. renamed: from the authors' names to the network's.
    """
    # Files from before torch 0.4.1 lack the batch counters, which nothing reads outside of training.
    counters = {name: t for name, t in network.state_dict().items() if name.endswith(COUNTER)}
    tensors = unwrapped(path, renamed(read_state(path, kind, origin)), network.state_dict().keys())
    complaint, remedy = f"{path} does not hold the {kind}", f"Give the file of this network and its classes. {origin}"
    loaded = load_strictly(network, {**counters, **tensors}, complaint, remedy)
    return loaded, recorded(path)


def is_checkpoint(path: Path) -> bool:
    """True if a path is a harness checkpoint, sound or damaged, or a training run's folder. The content decides."""
    named = path.suffix == ".safetensors"
    if path.is_dir():
        return True
    if not named and not (path.is_file() and formats.what_is(path) == formats.SAFETENSORS):
        return False
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            return HEADER in (file.metadata() or {})
    except SafetensorError:
        return named


def of_kind(checkpoint: Checkpoint, kind: str) -> Checkpoint:
    """The checkpoint, if it is of this kind: "classifier", "denoiser", "autoencoder"; raises HarnessError otherwise."""
    actual = str(checkpoint.header.get("kind"))
    if actual != kind:
        raise HarnessError(f"{checkpoint.path} holds {_with_article(actual)}, not {_with_article(kind)}.")
    return checkpoint


def _with_article(kind: str) -> str:
    return f"{'an' if kind.startswith(tuple('aeiou')) else 'a'} {kind}"
