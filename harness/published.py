"""Weights as others publish them: a pickled state dict, of which only tensors are ever read."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from harness.types import HarnessError


def read_state(path: Path, kind: str, origin: str) -> Mapping[str, Tensor]:
    """The tensors of a ``torch.save``d state dict, on the CPU.

    kind, origin: what should be there, and where to get it; both for the message. Raises HarnessError for a file that
    is missing, is an HTML page, was cut short, or holds anything but named tensors.
    """
    if not path.is_file():
        raise HarnessError(f"No {kind} at {path}. {origin}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError) as error:
        raise HarnessError(
            f"{path} is not a checkpoint of tensors but an HTML page (the download was refused), a file cut short, or "
            "a pickle of other objects, which could run code and was not opened. Fetch it again from its publisher."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise HarnessError(f"{path} is not a state dict: it must map names to tensors.")
    return state
