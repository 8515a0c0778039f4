"""Provenance of a result: the software and hardware behind it, and a key for everything that decides it."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import harness

PACKAGES = ("numpy", "diffusers", "timm", "pillow", "scipy", "statsmodels")
"""Installed packages whose versions a record names, beside torch."""


def environment(device: str) -> dict[str, Any]:
    """Versions of the software, and names of the hardware. device: as torch names it, such as "cuda:0"."""
    import torch

    cuda = torch.device(device).type == "cuda"
    return {
        "harness": harness.__version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        **{name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads of torch, which decide the order of sums."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def key_of(identity: Mapping[str, Any]) -> str:
    """Twelve hex digits of the SHA-256 of everything that decides a number. identity: JSON values by name."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
