"""Networks of DeepAugment, and the draws of their changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import plugins
from harness.models.tiles import place
from harness.train.augment.deepaugment.activations import ACTIVATIONS, CODE
from harness.train.augment.deepaugment.filters import WeightChange
from harness.train.augment.deepaugment.random import Rng, pick
from harness.types import HarnessError, Weights

Distortion = Callable[[Tensor, Rng], Tensor]
"""Images (B, 3, H, W) in [0, 1] and the generator of the changes of activations to images in [0, 1] of any size."""


@dataclass(frozen=True)
class Option:
    """One way to change a network's weights.

    places: layer names or prefixes of them, one of which is drawn. changes: changes of weights, by the rest of the
    layer's name. times: number of draws.
    """

    places: Sequence[str]
    changes: Mapping[str, WeightChange]
    times: int = 1

    def __call__(self, state: Mapping[str, Tensor], rng: Rng) -> dict[str, Tensor]:
        """The changed state dict; `state` stays as it is."""
        state = dict(state)
        for spot in [pick(rng, self.places) for _ in range(self.times)]:
            for ending, change in self.changes.items():
                weight, bias = f"{spot}{ending}.weight", f"{spot}{ending}.bias"
                state[weight], state[bias] = change(state[weight], state[bias], rng)
        return state


def on(device: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict on a device."""
    return {name: tensor.to(device) for name, tensor in state.items()}


class Distorter:
    """A DeepAugment network: subclass it as a frozen dataclass, and write `perturbed`.

    size: shorter side, in pixels, of the images that the network was made for; None takes any.
    """

    size: ClassVar[int | None] = None

    @property
    def provenance(self) -> Weights | None:
        """Origin of the network's weights; None for a network without any."""
        return None

    def check(self, dataset: str) -> None:
        """Raises HarnessError where the network's weights are not for images of this data set."""

    def perturbed(self, rng: Rng, device: str = "cpu") -> Distortion:
        """The network on its device after one draw of what images share: its weights."""
        raise NotImplementedError

    def shown(self, images: Tensor) -> Tensor:
        """The images as the network wants them: their shorter side resized to `size`."""
        short = min(images.shape[-2:])
        return _resized(images, [side * (self.size or short) // short for side in images.shape[-2:]])

    @torch.no_grad()
    def __call__(self, images: Tensor, rng: Rng) -> Tensor:
        """One draw of changes for all these images, (B, 3, H, W) in [0, 1] on any device, to the same."""
        distort = self.perturbed(rng, str(images.device))
        return _resized(distort(self.shown(images), rng), images.shape[-2:])


def configured(text: str) -> tuple[str, Distorter]:
    """Canonical name and network of ``name:key=value``; raises HarnessError for a plugin that is no `Distorter`."""
    distorter = plugins.distorter.configure(text)
    name, network = distorter.text, distorter.plugin
    if not isinstance(network, Distorter):
        raise HarnessError(
            f"The DeepAugment network {name!r} is of class {type(network).__name__}. Make it a subclass of "
            "harness.train.augment.deepaugment.Distorter."
        )
    return name, network


def _resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear with antialiasing, as Pillow resizes."""
    if images.shape[-2:] == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", antialias=True).clamp(0, 1)


class TrainedDistorter(Distorter):
    """A DeepAugment network with trained weights, loaded at first use."""

    def load(self) -> tuple[nn.Module, Weights]:
        """The network and the origin of its weights."""
        raise NotImplementedError

    @cached_property
    def _loaded(self) -> tuple[nn.Module, Weights]:
        network, provenance = self.load()
        return place(network, "cpu"), provenance

    @property
    def network(self) -> nn.Module:
        """The network as it was trained, on the CPU."""
        return self._loaded[0]

    @property
    def provenance(self) -> Weights:
        """See `Distorter`."""
        return self._loaded[1]

    def apply(self, state: Mapping[str, Tensor], *arguments: Any) -> Tensor:
        """The network under other weights."""
        output: Tensor = torch.func.functional_call(self.network, dict(state), arguments)
        return output


class AutoencoderDistorter(TrainedDistorter):
    """An autoencoder under one change of its weights, and its code under one of `CODE`.

    The network takes (images, change), applies `change` to its code in [-1, 1] and returns images.
    """

    def options(self) -> Sequence[Option]:
        """The changes of weights, one of which is drawn."""
        raise NotImplementedError

    def change(self, code: Tensor, rng: Rng) -> Tensor:
        """The code (B, C, H, W) under one draw."""
        return ACTIVATIONS[pick(rng, CODE)](code, rng)

    def perturbed(self, rng: Rng, device: str = "cpu") -> Distortion:
        """See `Distorter.perturbed`."""
        state = on(device, pick(rng, self.options())(self.network.state_dict(), rng))

        def distort(images: Tensor, rng: Rng) -> Tensor:
            return self.apply(state, images, partial(self.change, rng=rng)).clamp(0, 1)

        return distort
