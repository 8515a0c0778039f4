"""Build a network that a file describes, no larger than the tensors in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks

from harness.types import HarnessError

SLACK = 2**26
"""Elements beyond those of the file: buffers that no state dict keeps, such as the masks of attention."""
MODULES = 20
"""Modules per tensor of the file, as most modules have no tensors; and as many hundred in any case."""


class TooLarge(HarnessError):
    """A network with more tensors, elements or modules than its file explains."""


@contextmanager
def at_most(tensors: int, elements: int) -> Iterator[None]:
    """In its scope a network with many more tensors, elements or modules raises TooLarge while it is being built."""
    left = {"elements": elements + SLACK, "modules": MODULES * (tensors + 100)}

    def take(what: str, count: int) -> None:
        left[what] -= count
        if left[what] < 0:
            raise TooLarge(f"the network would have more {what} than the {tensors:,} tensors of the file fill")

    def tensor(module: nn.Module, name: str, value: Any) -> None:
        take("elements", value.numel() if isinstance(value, torch.Tensor) else 0)

    def part(module: nn.Module, name: str, value: Any) -> None:
        take("modules", 1)

    handles = [
        hooks.register_module_parameter_registration_hook(tensor),
        hooks.register_module_buffer_registration_hook(tensor),
        hooks.register_module_module_registration_hook(part),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check(build: Callable[[], Any], tensors: int, elements: int) -> None:
    """Build a network without memory first; raises TooLarge if it would be larger than its file.

    Networks that read numbers of a tensor while they are built cannot be checked, and pass.
    """
    with at_most(tensors, elements), torch.random.fork_rng(devices=[]), torch.device("meta"):
        try:
            build()
        except HarnessError:
            raise
        except Exception:  # the build with memory raises it again, unless only the numbers were missing
            return
