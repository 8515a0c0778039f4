"""Fingerprints of networks whose weights have no file: of their structure and all their numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def fingerprint(network: nn.Module, source: str = "") -> str:
    """SHA-256 of a network's structure, tensors and constants and of the plugin file behind it.

    It covers the state dict, buffers that are not saved, numbers and tensors that are plain attributes of its modules,
    and the code and constants of TorchScript. It does not cover the forward pass of a Python class: see
    `harness.models.probe`.
    """
    digest = hashlib.sha256(f"{source}\n{network!r}".encode())
    for name, value in [*network.state_dict().items(), *_unsaved(network)]:
        digest.update(content(name, value))
    return digest.hexdigest()


def content(name: str, value: Any) -> bytes:
    """A value under its name as bytes: type, shape and numbers of a tensor or array, the spelling of anything else."""
    if isinstance(value, np.ndarray):
        return f"{name} {value.dtype.str} {value.shape}".encode() + value.tobytes()
    if not isinstance(value, Tensor):
        return f"{name} {value!r}".encode()
    if value.is_meta:
        return f"{name} {value.dtype} {tuple(value.shape)} without numbers".encode()
    value = value.to_dense() if value.layout != torch.strided else value
    numbers = value.detach().cpu().contiguous().flatten().view(dtype=torch.uint8).numpy().tobytes()
    return f"{name} {value.dtype} {tuple(value.shape)}".encode() + numbers


def _unsaved(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Names and values beside the state dict, in a fixed order: tensors, numbers or text."""
    saved = network.state_dict().keys()
    yield from ((name, buffer) for name, buffer in network.named_buffers() if name not in saved)
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            yield from _scripted(name, module)
        else:
            for key, value in sorted(vars(module).items()):
                if not key.startswith("_") and key != "training":
                    yield from _numbers(f"{name}.{key}", value)


def _scripted(name: str, module: torch.jit.ScriptModule) -> Iterator[tuple[str, Any]]:
    """The code of a TorchScript module's forward pass, and the constants in it: a frozen one's weights."""
    try:
        code, constants = module.code_with_constants
    except (RuntimeError, AttributeError):  # a part without a forward pass
        return
    # Names are numbered where two modules of one process share one.
    yield f"{name} code", re.sub(r"\.___torch_mangle_\d+", "", code)
    yield from ((f"{name} {key}", value) for key, value in sorted(constants.const_mapping.items()))


def _numbers(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Tensors and numbers of a plain attribute, inside any lists and dicts; nothing for other objects."""
    if isinstance(value, nn.Module):
        return
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return  # objects print as addresses, which differ in every process
    if isinstance(value, Tensor | np.ndarray | bool | int | float | complex):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in sorted(value.items(), key=lambda pair: repr(pair[0])):
            yield from _numbers(f"{name}[{key!r}]" if isinstance(key, str | int | float | bool) else name, item)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _numbers(f"{name}[{place}]", item)
