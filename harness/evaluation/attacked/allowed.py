"""Perturbations that a threat model allows, measured in float64."""

from __future__ import annotations

from torch import Tensor

from harness.types import HarnessError, ThreatModel


def slack(threat: ThreatModel) -> float:
    """Distance beyond eps that float32 may add to an image within the ball."""
    return 1e-6 + 1e-5 * threat.eps


def distances(images: Tensor, clean: Tensor, norm: str) -> Tensor:
    """Norms (B,) float64 of the perturbations of images (B, 3, H, W)."""
    delta = (images.double() - clean.double()).flatten(1)
    return delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)


def within(images: Tensor, clean: Tensor, threat: ThreatModel, who: str, minimal: bool) -> tuple[Tensor, Tensor]:
    """Norms (B,) of perturbations, and (B,) bool, those that the threat model allows.

    minimal: the attack looks for the smallest perturbation, which may be too large. Raises HarnessError for images
    that are none, and for larger perturbations of any other attack. who: names the attack in messages.
    """
    if images.shape != clean.shape or not bool(((images >= 0) & (images <= 1)).all()):
        raise HarnessError(
            f"{who} returned something else than images of shape {tuple(clean.shape)} in [0, 1]. It must clamp its "
            "results, and must not return NaN."
        )
    norms = distances(images, clean, threat.norm)
    allowed = norms <= threat.eps + slack(threat)
    if not minimal and not bool(allowed.all()):
        raise HarnessError(
            f"{who} left the threat model {threat}: a perturbation has norm {float(norms.max()):g}. It must project "
            "its results, or state minimal = True."
        )
    return norms, allowed
