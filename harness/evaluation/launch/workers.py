"""Workers: a process as one of several that work on one run, of ``harness run --on`` or of torchrun."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from harness.base.errors import HarnessError

WORKER, GPU = "HARNESS_WORKER", "HARNESS_GPU"
"""Environment variables of workers that the project's own engines start: number of the worker, and its GPU."""

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Worker:
    """One of several processes.

    rank: its number; the first one prints. gpu: number of its GPU among the visible ones, None for no choice.
    first_start: it was not restarted after a failure.
    """

    rank: int
    gpu: int | None
    first_start: bool = True

    @property
    def prints(self) -> bool:
        """True for the one that prints."""
        return self.rank == 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Worker | None:
        """What the environment says; None for a process on its own."""
        if WORKER in environment:
            gpu = environment.get(GPU, "")
            return cls(int(environment[WORKER]), int(gpu) if gpu else None, "HARNESS_RESTARTED" not in environment)
        if "TORCHELASTIC_RUN_ID" in environment and "RANK" in environment:
            restarts = int(environment.get("TORCHELASTIC_RESTART_COUNT", "0"))
            return cls(int(environment["RANK"]), int(environment["LOCAL_RANK"]), restarts == 0)
        return None

    def take_gpu(self, device: str) -> None:
        """Let this process see its own GPU alone, under the name cuda, before CUDA starts.

        Records then name no number. Does nothing for --device cpu, and where there is no GPU and none was asked for.
        """
        if self.gpu is None or device not in ("auto", "cuda"):
            return
        import torch

        visible = os.environ.get(VISIBLE, "")
        names = visible.split(",") if visible else [str(k) for k in range(torch.cuda.device_count())]
        if not names and device == "auto":
            return
        if self.gpu >= len(names):
            raise HarnessError(
                f"Process {self.rank} wants GPU {self.gpu}, and {len(names)} are visible here. Start as many processes "
                "as there are GPUs, or give --device cpu."
            )
        os.environ[VISIBLE] = names[self.gpu]
