"""State of a network beside its tensors and numbers: hooks, callables, text and configurations on its modules."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from harness.models.preprocessing import is_wrapper

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
"""Hooks of a module that see or change its numbers, in the order of their calls; the others serve its files."""

TORCH = {*vars(nn.Module()), "_compiled_call_impl"}
"""Attributes of every module: tensors and submodules, which a fingerprint covers, and torch's own notes."""

MANGLED = re.compile(rb"\.?/?___torch_mangle_\d+")
"""Numbers that TorchScript gives to types of one name in one process."""


def state_of(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Names and values of all that decides a network's outputs beside its tensors, in a fixed order.

    Raises RuntimeError for a TorchScript module that cannot be saved.
    """
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            if not name or not isinstance(network, torch.jit.ScriptModule):
                yield f"{name} script", _saved(module)
        elif is_wrapper(module):
            yield name, type(module).__qualname__
        else:
            yield from ((f"{name}.{key}", value) for key, value in sorted(vars(module).items()) if key not in TORCH)
            yield from ((f"{name}.{key}", hook) for key, hook in _hooks(module))


def _hooks(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Hooks of a module with their kinds; torch numbers them anew in each process."""
    for kind in HOOKS:
        with_keywords = vars(module).get(f"{kind}_with_kwargs", ())
        for number, hook in vars(module)[kind].items():
            yield f"{kind} with keywords" if number in with_keywords else kind, hook


def _saved(module: torch.jit.ScriptModule) -> list[bytes]:
    """Code, attributes and constants of a TorchScript module as its file has them, without lines of source files."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as archive:
        names = [name for name in archive.namelist() if name.endswith((".py", ".pkl"))]
        contents = [(MANGLED.sub(b"", name.encode()), MANGLED.sub(b"", archive.read(name))) for name in names]
    return [part for pair in sorted(contents) for part in pair]
