"""A network of the same architecture with random weights: what a measure says of a classifier that has learnt nothing.

The control of Adebayo et al. (NeurIPS 2018).
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from harness.base.noise import generator

DEVIATION = 0.02
"""Standard deviation of parameters that no module resets, such as tokens and positions: that of most transformers."""


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """A copy on the CPU whose weights are drawn anew, by each module's `reset_parameters` where there is one.

    Other parameters are drawn from N(0, `DEVIATION`^2); buffers that no module resets stay. The global generator is
    left as it was.
    """
    fresh = copy.deepcopy(network).cpu()
    drawn: set[int] = set()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        # Not the seed itself: a training that began with it would meet its own initial weights again.
        torch.manual_seed(int(generator(seed, "random-weights", "").integers(2**63)))
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                drawn |= {id(parameter) for parameter in module.parameters(recurse=False)}
        for parameter in fresh.parameters():
            if id(parameter) not in drawn:
                parameter.normal_(0.0, DEVIATION)
    return fresh
