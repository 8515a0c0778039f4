"""Weights as others publish them: tensors by name, pickled or not, of which only the tensors are ever used."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.files import PAGE, is_page
from harness.types import HarnessError

NESTED = ("state_dict", "model")
"""Where training scripts put the network in what they save, beside the optimiser and the step."""
WRAPPER = "module."
"""What ``DataParallel`` and ``DistributedDataParallel`` put before every name."""


def read_state(path: Path, kind: str, origin: str) -> Mapping[str, Tensor]:
    """The tensors of a state dict, on the CPU: ``torch.save``d, bare or in a training script's dict, or safetensors.

    A wrapper's prefix is taken off. kind, origin: what should be there, and where to get it; both for the message.
    Raises HarnessError for a file that is missing, is an HTML page, was cut short, or holds anything but named tensors.
    """
    if not path.is_file():
        raise HarnessError(f"No {kind} at {path}. {origin}")
    if is_page(path):
        raise HarnessError(f"{path} holds no {kind}: {PAGE} {origin}")
    saved = _safetensors(path) if path.suffix == ".safetensors" else unpickled(path)
    inner = [saved[key] for key in NESTED if isinstance(saved, Mapping) and isinstance(saved.get(key), Mapping)]
    if len(inner) > 1:
        raise HarnessError(
            f"{path} holds two networks, as {' and as '.join(NESTED)}. Save the one that is meant alone."
        )
    state = inner[0] if inner else saved
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise HarnessError(f"{path} is not a state dict: it must map names to tensors.")
    if all(name.startswith(WRAPPER) for name in state):
        return {name.removeprefix(WRAPPER): tensor for name, tensor in state.items()}
    return state


DAMAGED = (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError)
"""What torch raises for a file that is no checkpoint, or only the first part of one."""


def harmless() -> AbstractContextManager[None]:
    """What training scripts save beside tensors, and what cannot do anything when it is opened, may be opened here.

    These are parsed arguments and numpy's numbers. Anything else in a pickle stays closed.
    """
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [argparse.Namespace, np.dtype, scalar]
    allowed += [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6):  # which knows objects by a second name
        allowed += [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return torch.serialization.safe_globals(allowed)


def unpickled(path: Path) -> Any:
    """What was ``torch.save``d, on the CPU, if it is tensors and what is `harmless`; HarnessError otherwise."""
    try:
        with harmless():
            return torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        if any(word in str(error) for word in ("GLOBAL", "instantiate", "build")):
            raise HarnessError(
                f"{path} holds other objects than tensors{_objects(path)}. Opening them could run code, so it was not "
                "opened. Where you trust it, save its state dict alone with torch.save and give that file."
            ) from error
        raise HarnessError(
            f"{path} is not a checkpoint of tensors: it was cut short or is something else ({_short(error)}). Fetch it "
            "again from its publisher."
        ) from error


def _objects(path: Path) -> str:
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # older versions of torch, and files from before its archives, do not tell
        return ""
    return f" ({', '.join(map(str, found))})" if found else ""


def _short(error: Exception) -> str:
    return str(error).split("\n")[0][:150] or type(error).__name__


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Mapping[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise HarnessError(f"{path} is not a readable safetensors file: {_short(error)}. Fetch it again.") from error
    return tensors
