"""The embedded benchmark: handwritten digits, clean, corrupted, attacked and certified. No download."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar

from harness.plugins import suite
from harness.suites.bases.adversarial.base import Adversarial
from harness.suites.bases.certification import Certification
from harness.suites.bases.corrupted import CommonCorruptions
from harness.suites.bases.covariate_shift import CleanAccuracy


@suite("digits", version=1, dataset="digits", denoiser="digits")
@dataclass(frozen=True)
class Digits(CleanAccuracy):
    """Clean accuracy on the 600 test digits."""


@suite("digits-c", version=1, dataset="digits", denoiser="digits")
@dataclass(frozen=True)
class DigitsC(CommonCorruptions):
    """The 15 common corruptions of the test digits, with the published constants of the 32-pixel version.

    mCE is relative to the plain ResNet, and left out with photographed frost (the rates were taken with drawn ice) and
    with other corruptions than the 15.
    """

    shown = (("mean_accuracy", "mean"), ("mean_error", "mean"), ("mce", "mean"))

    def reference(self) -> Mapping[str, float] | None:
        """The plain ResNet's error rates on the whole test set, written by ``studies/reference.py``."""
        if self.frost or self.corruption:
            return None
        file = resources.files("harness.suites") / "digits-c.reference.json"
        rates: Mapping[str, float] = json.loads(file.read_text())["error"]
        return rates


@suite("digits-adversarial", version=1, dataset="digits", denoiser="digits", every=6)
@dataclass(frozen=True)
class DigitsAdversarial(Adversarial):
    """Robust accuracy on every sixth test digit, 100 images, unless --every says otherwise.

    The usual eps leave the plain classifiers about half of their digits: see docs/adversarial.md.
    """

    radii: ClassVar[Mapping[str, float]] = {"linf": 4 / 255, "l2": 0.5}
    size = 600


@suite("certify", version=1, dataset="digits", denoiser="digits", every=10)
@dataclass(frozen=True)
class DigitsCertify(Certification):
    """Certified accuracy by l2 radius, on every tenth test digit unless --every says otherwise."""

    n: int = 1_000
