"""Bodies of networks, built by their architecture plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from torch import nn

from harness import plugins
from harness.train.spec import TrainSpec
from harness.types import HarnessError


def build_sized(spec: TrainSpec, arguments: Mapping[str, Any]) -> tuple[nn.Module, Mapping[str, Any]]:
    """The body for images of --image-size, and its arguments: a convolutional network takes no size, and fits any."""
    if spec.image_size:
        with suppress(TypeError):
            sized = {**arguments, "img_size": spec.image_size}
            return plugins.architecture[spec.model].build(**sized), sized
    return build_body(spec, arguments), arguments


def build_body(spec: TrainSpec, arguments: Mapping[str, Any]) -> nn.Module:
    """The body; raises HarnessError for arguments that the architecture does not take."""
    try:
        body: nn.Module = plugins.architecture[spec.model].build(**arguments)
    except TypeError as error:
        if "drop_path_rate" in str(error):
            raise HarnessError(f"{spec.model!r} has no stochastic depth: leave out --drop-path.") from error
        raise HarnessError(f"{spec.model!r} cannot be built with {dict(arguments)}: {error}.") from error
    return body


def normalisation(body: Any) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of timm's configuration of a body, or a half each."""
    config = getattr(body, "default_cfg", None) or {}
    return config.get("mean", (0.5,) * 3), config.get("std", (0.5,) * 3)


def check_size(what: str, architecture: str, dataset: str) -> None:
    """Raises HarnessError where an architecture is for images of another size than the data set's."""
    side = plugins.dataset[dataset].facts.get("image_size")
    built_for = plugins.architecture[architecture].facts.get("image_size")
    if side and built_for and built_for != side:
        raise HarnessError(f"{what} is built for images of {built_for} pixels, {dataset!r} has {side}.")
