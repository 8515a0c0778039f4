"""The machine and the work: seconds of a call, floating-point operations of a network, and the device's best rate."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def operations(network: nn.Module, side: int, guided: bool) -> float:
    """Floating-point operations of one row; a multiplication and an addition are two. guided: with its input gradient.

    Counts on the meta device, which computes nothing.
    """
    x = torch.zeros(1, 3, side, side, device="meta", requires_grad=guided)
    times = (torch.zeros(1, device="meta"),) if hasattr(network, "time_embedding") else ()
    with FlopCounterMode(display=False) as counter:
        out = network.requires_grad_(False)(x, *times)
        if guided:
            out.sample.sum().backward()
    return float(counter.get_total_flops())


def seconds(call: Callable[[], object], device: str, least: float = 2.0) -> float:
    """Seconds of the best repetition, of five or as many as take `least` seconds together."""
    taken: list[float] = []
    while len(taken) < 5 and sum(taken) < least:
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return min(taken)


@cache
def ceiling(dtype: str, side: int, device: str) -> float:
    """Operations per second of a (side, side) matrix product: the machine's best."""
    a, b = (torch.randn(side, side, device=device).to(getattr(torch, dtype)) for _ in range(2))
    a @ b
    return 2 * side**3 / seconds(lambda: a @ b, device)


def machine(device: str) -> str:
    """Device and versions, in a line."""
    import diffusers

    name = torch.cuda.get_device_name() if device != "cpu" else f"{platform.machine()}, {os.cpu_count()} cores"
    threads = f"{torch.get_num_threads()} threads, " if device == "cpu" else f"CUDA {torch.version.cuda}, "
    return f"{name}, {threads}torch {torch.__version__}, diffusers {diffusers.__version__}"
