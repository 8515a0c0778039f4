"""SHA-256s of everything that a training reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Inputs:
    """Content hashes of a training's inputs; None for an input that it does not have.

    data: the training samples. denoiser, conditional: weights of --diffusion and --conditional. deepaugment: weights
    of the distorting network. init: weights of --init. copies: copies of the data as loss terms, by their number.
    """

    data: str | None = None
    denoiser: str | None = None
    conditional: str | None = None
    deepaugment: str | None = None
    init: str | None = None
    copies: Mapping[int, str] | None = None

    @property
    def weights(self) -> dict[str, str]:
        """Hashes of weights under the names that checkpoint headers have for them."""
        weights = {
            "denoiser_sha256": self.denoiser,
            "conditional_sha256": self.conditional,
            "deepaugment_sha256": self.deepaugment,
            "init_sha256": self.init,
        }
        return {name: sha256 for name, sha256 in weights.items() if sha256 is not None}

    @property
    def all(self) -> dict[str, str]:
        """All hashes, under the names that the state of an unfinished run has for them."""
        data = {} if self.data is None else {"data_sha256": self.data}
        copies = {f"copy{number}_sha256": sha256 for number, sha256 in (self.copies or {}).items()}
        return {**self.weights, **data, **copies}
