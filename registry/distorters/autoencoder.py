"""DeepAugment with the bundled autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.models.lookup import bundled, load_autoencoder
from harness.plugins import distorter
from harness.train.augment.deepaugment import ACTIVATIONS, CODE, WEIGHTS, AutoencoderDistorter, Option, Rng, pick
from harness.train.augment.deepaugment.filters import drop_or_sign, filters, minus_gelu
from harness.types import HarnessError, Weights

ANYWHERE = (
    filters(torch.neg, 0.13),
    filters(torch.zeros_like, 0.27),
    filters(minus_gelu, 0.27),
    filters(torch.neg, 0.2, bias=False),
    WEIGHTS["rotate"],
    WEIGHTS["strongest"],
)
BYPASSED = (WEIGHTS["flip"], drop_or_sign)
"""The published autoencoder's changes, for about the same share of the filters. Those of `BYPASSED` would erase a digit
in layers without a residual connection around them."""


@distorter("autoencoder")
@dataclass(frozen=True)
class Autoencoder(AutoencoderDistorter):
    """A small autoencoder, by default the one of the 32x32 digits, under the published autoencoder's changes.

    weights: another checkpoint of an autoencoder, from ``harness train --architecture autoencoder``.
    """

    weights: str = ""

    def load(self) -> tuple[nn.Module, Weights]:
        """The checkpoint, checked."""
        if self.weights:
            return load_autoencoder(Path(self.weights))
        return load_autoencoder(*bundled("digits-autoencoder"))

    def check(self, dataset: str) -> None:
        """Refuse other data sets than the bundled autoencoder's; a user's file is trusted."""
        if self.weights:
            return
        trained_on = self.provenance.details["dataset"]
        if dataset != trained_on:
            raise HarnessError(
                f"The bundled autoencoder is of {trained_on!r}, and would make {dataset!r} unrecognisable. "
                f"Use noise2net, or train one (harness train --architecture autoencoder --dataset {dataset}): "
                "autoencoder:weights=FOLDER."
            )

    def options(self) -> Sequence[Option]:
        """Every family equally often; ``scale`` acts on two layers."""
        network: Any = self.network
        anywhere = [Option(network.layers, {"": family}) for family in ANYWHERE]
        bypassed = [Option(network.bypassed, {"": family}) for family in BYPASSED]
        return [*anywhere, *bypassed, Option(network.layers, {"": WEIGHTS["scale"]}, times=2)]

    def change(self, code: Tensor, rng: Rng) -> Tensor:
        """Any of the published autoencoder's families but ``turn``, which makes a 9 of a 6."""
        return ACTIVATIONS[pick(rng, [name for name in CODE if name != "turn"])](code, rng)
