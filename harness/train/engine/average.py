"""Averaged weights (``--ema``), in two forms."""

from __future__ import annotations

from copy import deepcopy
from typing import Protocol

import torch
from timm.utils import ModelEmaV3
from torch import nn

from harness.train.input.plan import Plan
from harness.train.spec import TrainSpec


class Average(Protocol):
    """A network with averaged weights, in evaluation mode."""

    @property
    def module(self) -> nn.Module: ...

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after step `step`, counted from 0."""


def averaged(spec: TrainSpec, network: nn.Module, plan: Plan) -> Average | None:
    """The average that a training keeps; None for none."""
    if not spec.ema:
        return None
    if spec.ema_form == "wang":
        return WarmedAverage(network, spec.ema, spec.warmup or 0, plan)
    return Smoothed(network, spec.ema)


class Smoothed:
    """timm's average of parameters and buffers, whose decay grows with the steps."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._ema = ModelEmaV3(network, decay=decay, use_warmup=True)

    @property
    def module(self) -> nn.Module:
        module: nn.Module = self._ema.module
        return module

    def update(self, network: nn.Module, step: int) -> None:
        self._ema.update(network, step)


class WarmedAverage:
    """The average of Gowal et al. (2021) and Wang et al. (ICML 2023): w' <- tau w' + (1 - tau) w.

    tau = min(decay, (1 + d) / (10 + d)), d being the steps since the end of the warm-up; until then w' = w. Buffers,
    such as the statistics of batch norm, are copied at the end of every epoch and at the last step.
    """

    def __init__(self, network: nn.Module, decay: float, warmup: int, plan: Plan) -> None:
        self.module = deepcopy(network).eval()
        self._decay, self._plan = decay, plan
        steps = range(plan.steps)
        self._begins = next((step for step in steps if plan.epoch_of(step) >= warmup), plan.steps)

    def tau(self, step: int) -> float:
        """Share of the average that stays at a step."""
        since = step - self._begins
        return 0.0 if since < 0 else min(self._decay, (1 + since) / (10 + since))

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        weight = 1 - self.tau(step)
        for average, current in zip(self.module.parameters(), network.parameters(), strict=True):
            average.lerp_(current, weight)
        if self._plan.ends_epoch(step):
            for kept, latest in zip(self.module.buffers(), network.buffers(), strict=True):
                kept.copy_(latest)
