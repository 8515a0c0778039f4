"""Optimisers, by timm's names, and the learning rate over time."""

from __future__ import annotations

import math
from inspect import signature
from typing import Any

import torch
from torch import nn

from harness.base.errors import suggest
from harness.train.spec import TrainSpec, flag
from harness.types import HarnessError

UNUSUAL = ("adahessian", "bnb", "fused")
"""Prefixes of timm optimisers that need second derivatives or an extra package; hidden from suggestions."""


def build(spec: TrainSpec, network: nn.Module, projection: nn.Module | None = None) -> torch.optim.Optimizer:
    """The optimiser over the parameters of the network, and of a projection that is trained beside it.

    Raises HarnessError for a name that timm does not know.
    """
    from timm.optim import create_optimizer_v2, get_optimizer_class, list_optimizers

    names = [str(name) for name in list_optimizers()]
    if spec.optimizer not in names:
        raise suggest("optimiser", str(spec.optimizer), [name for name in names if not name.startswith(UNUSUAL)])
    groups: Any = _groups(network, spec, projection)
    settings: dict[str, Any] = {"lr": spec.lr, "weight_decay": spec.weight_decay, "momentum": spec.momentum}
    try:
        betas = signature(get_optimizer_class(spec.optimizer, bind_defaults=False)).parameters.get("betas")
        if betas and isinstance(betas.default, tuple) and len(betas.default) == 2:
            settings["betas"] = (spec.momentum, spec.beta2)
        optimizer: torch.optim.Optimizer = create_optimizer_v2(groups, opt=spec.optimizer, **settings)
    except Exception as error:  # optimisers check themselves in many ways, and some are not installed
        numbers = ("lr", "momentum", "beta2", "weight_decay")
        shown = " ".join(f"{flag(name)} {getattr(spec, name)}" for name in numbers)
        reason = f"{error or type(error).__name__}".rstrip(".")
        raise HarnessError(f"--optimizer {spec.optimizer} cannot be made of {shown}: {reason}.") from error
    if getattr(optimizer, "is_second_order", False):  # timm's mark of those that differentiate the gradient
        raise HarnessError(f"--optimizer {spec.optimizer} needs second derivatives, which the loop does not keep.")
    return optimizer


def _groups(network: nn.Module, spec: TrainSpec, projection: nn.Module | None) -> list[dict[str, Any]]:
    """Parameter groups with and without weight decay: biases and norms go without, unless all decays."""
    body: Any = getattr(network, "body", network)
    spared = set(body.no_weight_decay()) if spec.decay == "timm" and hasattr(body, "no_weight_decay") else set()
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    beside = projection.named_parameters("projection") if projection else ()
    for name, parameter in (*network.named_parameters(), *beside):
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and name.removeprefix("body.") not in spared
            groups[spec.decay == "all" or decays].append(parameter)
    return [{"params": groups[True], "weight_decay": spec.weight_decay}, {"params": groups[False], "weight_decay": 0.0}]


def learning_rate(spec: TrainSpec, epoch: float) -> float:
    """Share of the peak learning rate at a fractional epoch: linear warm-up, then the schedule."""
    epochs, warmup = spec.epochs or 0, spec.warmup or 0
    if epoch < warmup:
        return min((epoch + 1e-2) / warmup, 1.0)
    name, _, every = (spec.schedule or "").partition(":")
    if name == "cosine" and not every:
        return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / max(epochs - warmup, 1)))
    if name == "constant" and not every:
        return 1.0
    if name == "step" and every.isdecimal() and len(every) < 10 and int(every):
        return float(0.1 ** (int(epoch) // int(every)))
    raise HarnessError(f"--schedule {spec.schedule!r} must be one of cosine, constant, step:N.")
