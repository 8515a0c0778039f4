"""The network as an objective calls it: one joint forward for all terms, and questions that leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.train.objectives.protocol import TermResponse
from harness.types import FeatureClassifier, HarnessError


class JointForward(nn.Module):
    """A network whose one call also gives features, and answers to several batches, each with its own statistics.

    DistributedDataParallel averages gradients of calls of the wrapped module only, and expects one call per step, so
    all of it must come out of that call. Every other call goes through as it is.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(
        self, *arguments: Any, with_features: bool = False, apart: Sequence[Tensor] = (), **options: Any
    ) -> Any:
        """The network's output, or with_features: logits (B, K) and penultimate features (B, D) of images.

        apart: further batches of images, one pass after the other; the output is then a list, that of each batch.
        """
        if apart:
            return [self(images, with_features=with_features) for images in (*arguments, *apart)]
        if not with_features:
            return self.network(*arguments, **options)
        if not shows_features(self.network):
            raise HarnessError(
                f"A loss term needs features, and {type(getattr(self.network, 'body', self.network)).__name__} shows "
                "none. Choose an architecture with timm's forward_features and forward_head."
            )
        hidden = self.network.features(*arguments)
        return self.network.head(hidden), hidden


def shows_features(network: nn.Module) -> bool:
    """True for a network with `features` and `head`, whose body, where it has one, has timm's two halves, too."""
    body = getattr(network, "body", None)
    return isinstance(network, FeatureClassifier) and (body is None or hasattr(body, "forward_features"))


def respond(network: nn.Module, batches: Sequence[Tensor], with_features: bool) -> list[TermResponse]:
    """Responses of the network to each batch, one pass each.

    In float32, or in float64 where all is: under autocast they come in half precision. More than one batch needs a
    network in `JointForward`.
    """
    images, *apart = batches
    options: dict[str, Any] = {"with_features": True} if with_features else {}
    answers = network(images, apart=apart, **options) if apart else [network(images, **options)]
    if not with_features:
        return [TermResponse(_full(logits)) for logits in answers]
    return [TermResponse(_full(logits), _full(hidden)) for logits, hidden in answers]


def _full(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


@dataclass(frozen=True, eq=False)
class ReadOnlyNetwork:
    """The classifier under training, open to questions before the joint forward: see `protocol.CurrentNetwork`.

    Evaluation mode: batch norm uses its running statistics and does not update them, and dropout is off, as in PGD
    training (Madry et al., ICLR 2018; TRADES, Zhang et al., ICML 2019). Only the gradient with respect to the images is
    computed, so parameters keep theirs. The random generators are put back. The precision is that of the training;
    nothing enters autocast's cache of weights, which the joint forward would otherwise share. Calls bypass
    DistributedDataParallel and torch.compile: a gradient of images needs no other process.

    network: as the loop has it, wrapped or not.
    training: training mode instead, see `in_training`.
    """

    network: nn.Module
    training: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (n, K) of images (n, 3, H, W) in [0, 1], without a gradient."""
        with _undisturbed(self._bare, images.device, self.training), torch.no_grad():
            return _full(self._bare(images))

    def gradient(self, images: Tensor, loss: Callable[..., Tensor], *rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values (n,) of ``loss(logits, *rows)`` and their gradients (n, 3, H, W) with respect to the images."""
        with _undisturbed(self._bare, images.device, self.training), torch.enable_grad():
            images = images.detach().requires_grad_()
            values = loss(_full(self._bare(images)), *rows)
            (gradient,) = torch.autograd.grad(values.sum(), images)
        return values.detach(), gradient

    def drawn(self, draw: int) -> ReadOnlyNetwork:
        """Itself: nothing in it is drawn at random."""
        return self

    def in_training(self) -> ReadOnlyNetwork:
        """The same in training mode: batch norm uses the statistics of the images at hand, and does not track them.

        Dropout and stochastic depth are on; their masks are the same in every call of a step.
        """
        return replace(self, training=True)

    @property
    def _bare(self) -> nn.Module:
        network: Any = self.network
        network = getattr(network, "_orig_mod", network)  # torch.compile
        if isinstance(network, nn.parallel.DistributedDataParallel):
            network = network.module
        bare: nn.Module = network.network if isinstance(network, JointForward) else network
        return bare


@contextmanager
def _undisturbed(network: nn.Module, device: torch.device, training: bool) -> Iterator[None]:
    """Ambient precision without its cache; modes, tracking of statistics and random generators afterwards as before."""
    modes = [(module, module.training) for module in network.modules()]
    tracking: list[Any] = [m for m in network.modules() if getattr(m, "track_running_stats", False)] if training else []
    generators = [device] if device.type == "cuda" else []
    half = torch.is_autocast_enabled(device.type)
    try:
        network.train(training)
        for module in tracking:
            module.track_running_stats = False
        with (
            torch.random.fork_rng(devices=generators),
            torch.autocast(device.type, enabled=half, cache_enabled=False),
        ):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for module in tracking:
            module.track_running_stats = True
