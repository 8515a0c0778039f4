"""Networks on loan come back as they were."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.api.live.borrowed import borrowed
from harness.models.tiles import place


def test_everything_that_is_done_to_a_network_is_undone_whatever_happens() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    net[1].eval()
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    parameters = dict(net.named_parameters())
    places = {name: (p.data_ptr(), p.stride(), p.dtype, p.grad) for name, p in parameters.items()}
    with pytest.raises(ZeroDivisionError), borrowed([net]):
        place(net, "cpu")
        net.double()
        net[0].bias = nn.Parameter(torch.zeros(4))
        net[0].register_forward_hook(lambda *_: None)
        net.append(nn.ReLU())
        net.extra = 3
        1 / 0  # noqa: B018
    assert {name: (p.data_ptr(), p.stride(), p.dtype, p.grad) for name, p in net.named_parameters()} == places
    assert all(p is parameters[name] and p.requires_grad for name, p in net.named_parameters())
    assert (net.training, net[1].training, len(net), hasattr(net, "extra")) == (True, False, 2, False)
    assert not net[0]._forward_hooks and net[0].weight.grad is not None and net[0].weight.grad.dtype == torch.float32
