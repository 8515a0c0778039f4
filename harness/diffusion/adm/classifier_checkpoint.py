"""Load guided-diffusion's noisy classifiers from their ``.pt`` files, or converted ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from harness.diffusion.adm import names
from harness.diffusion.adm.classifier import AdmClassifier, to_diffusers
from harness.diffusion.adm.classifier_flags import ClassifierFlags
from harness.diffusion.adm.loading import filled
from harness.models.classifier import CHANNELS, TimeConditionedClassifier
from harness.models.files.state_dict import read_state, recorded
from harness.models.lookup import load_classifier
from harness.types import HarnessError, Weights

ARCHITECTURE = "adm-classifier"
"""The registered architecture, and the model of any file."""


def load(path: Path, flags: ClassifierFlags, beside: Sequence[Path] = ()) -> tuple[nn.Module, Weights]:
    """The classifier in a published ``.pt`` file, or in the checkpoint that was converted from it.

    beside: the file with the flags. Raises HarnessError for other files, and for flags that do not fit.
    """
    if path.suffix == ".safetensors":
        return _converted(path, flags)
    state = read_state(path, "ADM classifier", "Get one from the links in guided-diffusion's README.")
    _check(path, state, flags)
    num_classes, in_channels = len(state["out.2.c_proj.bias"]), state["input_blocks.0.0.weight"].shape[1]
    build = partial(AdmClassifier, flags, num_classes, in_channels)
    body = filled(path, state, build, partial(to_diffusers, state, flags))
    objective = {channels: name for name, channels in CHANNELS.items()}[in_channels]
    sizes = [(flags.image_size, flags.image_size)]
    details = {
        "kind": "classifier",
        "architecture": ARCHITECTURE,
        "arguments": {**asdict(flags), "num_classes": num_classes, "in_channels": in_channels},
        "objective": objective,
        "sizes": sizes,
    }
    network = TimeConditionedClassifier(body, objective == "da", sizes)
    return network.eval(), recorded(path, details, beside)


def _check(path: Path, state: Mapping[str, Tensor], flags: ClassifierFlags) -> None:
    """Raise HarnessError for another kind of network, and for the position table of another image size."""
    if any(name.startswith("output_blocks.") for name in state):
        raise HarnessError(f"{path} holds a diffusion model, no noisy classifier: --denoiser adm:file={path}.")
    needed = (names.POSITIONS, "out.2.c_proj.bias", "input_blocks.0.0.weight")
    if lacking := [name for name in needed if name not in state]:
        raise HarnessError(
            f"{path} holds no noisy classifier of guided-diffusion with an attention pool: {', '.join(lacking)} "
            "missing. Give the file as it was published."
        )
    table, classes, stem = (tuple(state[name].shape) for name in needed)
    is_sound = len(table) == 2 and table[1] > 1 and len(classes) == 1 and len(stem) == 4
    if not is_sound or stem[1] not in CHANNELS.values():
        raise HarnessError(
            f"{path} is no noisy classifier: its first layer is {stem}, its position table {table}. It must see three "
            "channels, or six with the denoised image."
        )
    side = isqrt(table[1] - 1) * 2 ** (len(flags.widths) - 1)
    if side != flags.image_size:
        raise HarnessError(
            f"{path} has a position table of {table[1]} tokens: with {len(flags.widths)} levels it is for images of "
            f"{side} pixels, not image_size={flags.image_size}. Correct image_size or channel_mult."
        )


def _converted(path: Path, flags: ClassifierFlags) -> tuple[nn.Module, Weights]:
    network, info = load_classifier(path)
    arguments: dict[str, Any] = dict(info.details.get("arguments", {}))
    shape = {name: arguments.pop(name, None) for name in ("num_classes", "in_channels")}
    if info.details["architecture"] != ARCHITECTURE or None in shape.values() or arguments != asdict(flags):
        raise HarnessError(
            f"{path} was not converted with these flags. Convert the published file again, or load the converted one "
            f"without flags: --model {path}."
        )
    return network, info
