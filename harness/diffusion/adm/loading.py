"""Build a network from its flags and fill it with a converted checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.models.files import bounded
from harness.types import HarnessError


def filled(
    path: Path, state: Mapping[str, Tensor], build: Callable[[], nn.Module], convert: Callable[[], Mapping[str, Tensor]]
) -> nn.Module:
    """The network, in float32 on the CPU, without parameter gradients.

    state: the file's tensors, which bound the size of the network. build, convert: the untrained network, and the
    tensors under its names. Raises HarnessError for tensors of other names and shapes.
    """
    elements = sum(tensor.numel() for tensor in state.values())
    try:
        # Weights that are replaced at once need neither memory nor random draws.
        with bounded.at_most(len(state), elements), torch.device("meta"):
            network = build()
    except bounded.TooLarge as error:
        raise HarnessError(
            f"{path} does not fit its flags: {error}. Take the flags from where the checkpoint was published."
        ) from error
    try:
        converted = {name: tensor.float() for name, tensor in convert().items()}
        network.load_state_dict(converted, strict=True, assign=True)
    except RuntimeError as error:
        first, *mismatches = str(error).split("\n")
        mismatch = " ".join((mismatches or [first])[0].split())
        raise HarnessError(f"{path} does not have the shapes that its flags promise: {mismatch}") from error
    return network.eval().requires_grad_(False)
