"""Features of any network: the input of its last linear layer, proved on a few images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.models.classifier import ImageClassifier
from harness.models.hooks import hooked
from harness.types import FeatureClassifier, HarnessError

SAME = 1e-5
"""Largest difference, as a share of the largest logit, between the network's outputs and those of its last layer."""

CLOSE = 1e-3
"""The same between the network's outputs and `head(features(images))`, whose sums may run in another order."""

PROBED = 2
"""Images of a batch that a network is tried on."""

Run = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]
"""Calls a function of images (B, ...) on the network's device: `harness.models.tiles.Tiles`."""

Failure = (RuntimeError, TypeError, ValueError, IndexError)
"""Errors of attributes called `features` and `head` that mean something else."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A network as detectors see it.

    network: with `features` and `head` where it has any. reason: why it has none; "" if it has.
    """

    network: Any
    reason: str = ""

    @property
    def note(self) -> str:
        """A sentence for records on features that are the input of a layer; "" for a network's own."""
        names = self.network.names if isinstance(self.network, LastLayer) else ()
        return f"Features, where a detector looks at them: the input of {' and '.join(names)}." if names else ""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a linear layer.

    name: of the layer. number: of the call among those of this layer. inputs, outputs: (B, D) and (B, M), means over
    positions where the layer is applied to several.
    """

    name: str
    number: int
    inputs: Tensor
    outputs: Tensor


class LastLayer(nn.Module):
    """A network whose features are the inputs of linear layers, and whose head is their scaled sum.

    calls: names and numbers of the layers' calls; features of several are concatenated. scale: of the sum; 1 over the
    number of layers for a mean. columns: outputs of the layers that are the network's, in its order; None for all.
    """

    columns: Tensor | None

    def __init__(
        self, network: nn.Module, calls: Sequence[tuple[str, int]], scale: float = 1.0, columns: Tensor | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self._calls, self._scale = tuple(calls), scale
        # Registered twice, a layer would be listed under two names.
        self._layers = [(network.get_submodule(name),) for name, _ in calls]
        self._widths = [width_of(layer) for (layer,) in self._layers]
        self.register_buffer("columns", columns, persistent=False)
        self.training = network.training

    @property
    def names(self) -> Sequence[str]:
        """Names of the layers, as the network lists them."""
        return [name for name, _ in self._calls]

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the network itself."""
        return cast(Tensor, self.network(images))

    def features(self, images: Tensor) -> Tensor:
        """Inputs (B, D) of the last linear layer, in one pass through the network."""
        calls, _ = observed(self.network, images, {name for name, _ in self._calls})
        inputs = {(call.name, call.number): call.inputs for call in calls}
        return torch.cat([inputs[key] for key in self._calls], 1)

    def head(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D)."""
        pieces = features.split(self._widths, 1)
        outputs = [_applied(layer, piece) for (layer,), piece in zip(self._layers, pieces, strict=True)]
        logits = outputs[0] if len(outputs) == 1 else torch.stack(outputs).sum(0) * self._scale
        return logits if self.columns is None else logits[:, self.columns]


def shown(network: nn.Module, images: Tensor, run: Run, exact: Run) -> Shown:
    """The network with features and head: its own where it has them, else its last linear layer.

    images: (B, 3, H, W), of which a few are tried. run: in the evaluation's arithmetic. exact: in float32.
    Raises HarnessError if a network's own `head(features(images))` gives other logits than the network.
    """
    few = images[:PROBED]
    if has_own(network, few, run):
        return Shown(network)
    try:
        return _with_last_layer(network, few, exact)
    except (*Failure, AttributeError) as error:
        return Shown(network, f"the search for its last linear layer failed ({type(error).__name__}: {error})")


def has_own(network: Any, images: Tensor, run: Run) -> bool:
    """True if `features` and `head` are the two halves of a network.

    Raises HarnessError if they fit together but give other logits than the network, unless they are layers or this
    package's: such mean something else, or pass over a part of a foreign body.
    """
    if not isinstance(network, FeatureClassifier):
        return False
    bare = getattr(network, "network", network)
    foreign = isinstance(bare, ImageClassifier) or isinstance(getattr(bare, "features", None), nn.Module)
    logits = run(network, images)
    try:
        halves = run(lambda x: network.head(network.features(x)), images)
    except Failure:
        return False
    except AttributeError:
        if foreign:
            return False
        raise
    if halves.shape != logits.shape:
        return False
    if torch.allclose(halves, logits, rtol=1e-2, atol=1e-2 * float(halves.abs().max())):
        return True
    if foreign:
        return False
    raise HarnessError("head(features(images)) gives other logits than the model itself. Fix the model.")


def _with_last_layer(network: nn.Module, images: Tensor, run: Run) -> Shown:
    """The network with the features of its last linear layer, or the reason why it has none."""
    fits: list[LastLayer] = []
    calls: list[Call] = []

    def look(x: Tensor) -> Tensor:
        observations, logits = observed(network, x)
        calls[:] = observations
        fits[:] = candidates(network, calls, logits)
        return logits

    # Different images tell the outputs of a layer apart.
    run(look, torch.cat([images, 1 - images.flip(-1)]))
    for candidate in fits:
        if _proved(candidate, 0.25 + images.flip(-2) / 2, run):
            return Shown(candidate)
    return Shown(network, _reason(calls, bool(fits)))


def _reason(calls: Sequence[Call], disproved: bool) -> str:
    """A reason why no linear layer is the network's last one."""
    if not calls:
        return "no linear layer (nn.Linear, or nn.Conv2d of 1 x 1) was called with a row per image"
    last = calls[-1]
    looked_at = f"{len(calls)} calls of linear layers, the last one {last.name!r} with {last.outputs.shape[1]} outputs"
    if disproved:
        return f"of {looked_at}, one gives the model's outputs on some images and not on others, or is not linear"
    return f"of {looked_at}, none gives the model's outputs, alone, as a sum or as a mean"


def _proved(candidate: LastLayer, images: Tensor, run: Run) -> bool:
    """True if the head is linear and `head(features(images))` the network's outputs on other images."""

    def check(x: Tensor) -> Tensor:
        features, logits = candidate.features(x), candidate(x)
        other = 2 * features.flip(0) + features.roll(1, 1)
        zero = candidate.head(torch.zeros_like(features))
        both = candidate.head(features + other) + zero
        apart = candidate.head(features) + candidate.head(other)
        alike = close(candidate.head(features), logits, CLOSE) and close(both, apart, CLOSE)
        return logits.new_full((len(x),), float(alike))

    return bool(run(check, images).all())


def candidates(network: nn.Module, calls: Sequence[Call], logits: Tensor) -> list[LastLayer]:
    """The calls of linear layers that give the logits (B, K): alone, all with as many outputs as a mean or a sum.

    A selection of their outputs counts: networks are reordered to the classes of the data.
    """
    if logits.ndim != 2:
        return []
    wide = [call for call in calls if call.outputs.shape[1] >= logits.shape[1]]
    together = [list(group) for _, group in groupby(wide, lambda call: call.outputs.shape[1])]
    sets = [[call] for call in reversed(wide)]
    # The heads of one network are called one after another, at its end.
    sets += [group[-n:] for group in reversed(together) for n in range(2, min(len(group), 8) + 1)]
    fits = []
    for equal in (_all_outputs, _selected_outputs):
        for several in sets:
            total = torch.stack([call.outputs for call in several]).sum(0)
            for scale in dict.fromkeys((1 / len(several), 1.0)):
                fitting, columns = equal(total * scale, logits)
                if fitting:
                    fits.append(LastLayer(network, [(call.name, call.number) for call in several], scale, columns))
        if fits:
            break
    return fits


def _all_outputs(outputs: Tensor, logits: Tensor) -> tuple[bool, None]:
    return outputs.shape == logits.shape and close(outputs, logits, SAME), None


def _selected_outputs(outputs: Tensor, logits: Tensor) -> tuple[bool, Tensor]:
    """True if the logits (B, K) are among the outputs (B, M), and the columns (K,) that they are."""
    distances = torch.cdist(logits.T.float(), outputs.T.float(), p=float("inf"))
    nearest = distances.argmin(1)
    return close(outputs[:, nearest], logits, SAME), nearest


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """True if two tensors of one shape differ by no more than this share of the largest value of the second."""
    return bool((a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1e-6))


def observed(network: nn.Module, images: Tensor, names: set[str] | None = None) -> tuple[list[Call], Tensor]:
    """The calls of a network's linear layers in their order, and its logits (B, K); the network stays as it is.

    names: of the layers that are looked at; None for all.
    """
    calls: list[Call] = []
    numbers: dict[str, int] = {}

    def note(name: str, layer: nn.Module, inputs: Any, outputs: Any) -> None:
        number = numbers[name] = numbers.get(name, -1) + 1
        if isinstance(inputs, Tensor) and isinstance(outputs, Tensor) and len(inputs) == len(outputs) == len(images):
            calls.append(Call(name, number, _pooled(layer, inputs), _pooled(layer, outputs)))

    layers = {
        name: module
        for name, module in network.named_modules()
        if (width_of(module) if names is None else name in names)
    }
    with hooked(layers, note):
        logits = network(images)
    return calls, getattr(logits, "logits", logits)


def width_of(layer: nn.Module) -> int:
    """Inputs of a linear layer; 0 for a module that is none."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    pointwise = isinstance(layer, nn.Conv2d) and set(layer.kernel_size) == set(layer.stride) == {1}
    if pointwise and layer.padding in (0, (0, 0), "valid"):
        return cast(nn.Conv2d, layer).in_channels
    return 0


def _pooled(layer: nn.Module, values: Tensor) -> Tensor:
    """Inputs or outputs (B, C) of a layer: means over the positions that it is applied to."""
    if values.ndim == 4 and isinstance(layer, nn.Conv2d):
        values = values.flatten(2).mT
    rows = values.reshape(len(values), -1, values.shape[-1])
    return rows[:, 0] if rows.shape[1] == 1 else rows.mean(1)


def _applied(layer: nn.Module, features: Tensor) -> Tensor:
    """Outputs (B, M) of a layer for inputs (B, D)."""
    if isinstance(layer, nn.Conv2d):
        return cast(Tensor, layer(features[:, :, None, None])).flatten(1)
    return cast(Tensor, layer(features))
