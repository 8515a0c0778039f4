"""Several processes as one: torch's distributed engine, joined in processes that ``torchrun`` started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from harness.types import HarnessError


@dataclass(frozen=True)
class World:
    """One process among those that train together, and its device."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """True in the process that reports and writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network whose gradients are the mean over all processes; on GPUs with their common batch statistics."""
        if self.size == 1:
            return network
        if self.device.startswith("cuda"):
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return nn.parallel.DistributedDataParallel(network, device_ids=[torch.device(self.device)])
        return nn.parallel.DistributedDataParallel(network)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The mean of each number over the processes."""
        if self.size == 1:
            return values
        numbers = torch.tensor(list(values.values()), device=self.device)
        dist.all_reduce(numbers)
        return dict(zip(values, (numbers / self.size).tolist(), strict=True))

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average over the processes the gradients of parameters that `wrap` does not see; they start out alike."""
        for parameter in parameters if self.size > 1 else ():
            assert parameter.grad is not None
            dist.all_reduce(parameter.grad)
            parameter.grad /= self.size

    def check_agrees(self, number: int, what: str) -> None:
        """Raise HarnessError where the processes read different numbers from one file."""
        if self.mean({what: float(number)})[what] != number:
            raise HarnessError(f"The processes disagree on {what}. Look at the disk, and start them again.")

    def wait(self) -> None:
        """Block until all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def world(device: str) -> Iterator[World]:
    """The processes of a ``torchrun``, or this one alone. device: the kind that all are to use."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device)
        return
    kind, _, index = device.partition(":")
    if index:
        raise HarnessError(f"--device {device}: under torchrun each process takes its own. Give --device {kind}.")
    if kind == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        if int(os.environ["LOCAL_RANK"]) >= torch.cuda.device_count():
            raise HarnessError(f"torchrun has started more processes than the {torch.cuda.device_count()} GPU(s) here.")
        torch.cuda.set_device(device)
    arguments: dict[str, Any] = {"device_id": torch.device(device)} if kind == "cuda" else {}
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", **arguments)
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
