"""The derivative J = d x0_hat / d x_t of a denoiser at one noisy image, and its leading singular vectors.

At the optimum x0_hat = E[x_0 | x_t] and J = sqrt(abar) / (1 - abar) Cov[x_0 | x_t], which is symmetric and positive
semidefinite (Sastry et al., NeurIPS 2024, theorem 1, for the variance-preserving process). J has as many rows as the
image has numbers, so it is only ever multiplied.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.diffusion.denoiser import Denoiser
from harness.models.tiles import Tiles, autocast
from harness.types import HarnessError


class SingularVectors(NamedTuple):
    """Leading singular values s (P,), falling, and vectors u and v (P, D), in rows: J is near the sum of s u v^T."""

    u: Tensor
    s: Tensor
    v: Tensor


@dataclass(frozen=True, eq=False)
class Jacobian:
    """J of the unclipped x0_hat, both in the model's space, at x_t (3, H, W) and an index of the schedule.

    tiles: rows per network call, over the vectors of a product; always in float32 or, for a float64 x_t, float64.
    Vectors are rows (P, D), D = 3 H W, of the type of x_t.
    """

    denoiser: Denoiser
    x_t: Tensor
    time: int
    tiles: Tiles

    def __post_init__(self) -> None:
        self.denoiser.check_times((self.time,))
        if getattr(self.denoiser.network, "_compiled_call_impl", None) is not None:
            raise HarnessError("Derivatives along directions do not pass torch.compile. Leave --compile out.")

    def times(self, vectors: Tensor) -> Tensor:
        """J v of each row v, by forward-mode differentiation."""

        def product(tile: Tensor) -> Tensor:
            with warnings.catch_warnings():
                # On its first use, forward mode loads parts of torch that torch calls deprecated.
                warnings.simplefilter("ignore", FutureWarning)
                result: Tensor = torch.func.jvp(self._x0_hat, (self._repeated(tile),), (tile,))[1]
            return result

        return self._tiled(product, vectors)

    def transposed(self, vectors: Tensor) -> Tensor:
        """J^T u of each row u, by reverse-mode differentiation."""

        def product(tile: Tensor) -> Tensor:
            with torch.enable_grad():
                x = self._repeated(tile).requires_grad_()
                (result,) = torch.autograd.grad(self._x0_hat(x), x, tile)
            return result

        return self._tiled(product, vectors)

    def _tiled(self, product: Callable[[Tensor], Tensor], vectors: Tensor) -> Tensor:
        # Fused attention has no forward-mode derivative.
        with sdpa_kernel(SDPBackend.MATH):
            return self.tiles(product, vectors.reshape(-1, *self.x_t.shape)).flatten(1)

    def _repeated(self, tile: Tensor) -> Tensor:
        return self.x_t.to(tile).expand_as(tile).contiguous(memory_format=torch.channels_last)

    def _x0_hat(self, x: Tensor) -> Tensor:
        abar = float(self.denoiser.schedule.alpha_bar[self.time])
        with autocast(self.tiles.device, "float32"):
            eps, _ = self.denoiser.predict_noise(x, torch.full((len(x),), self.time, device=x.device))
        return (x - (1 - abar) ** 0.5 * eps) / abar**0.5


def leading(jacobian: Jacobian, probes: Tensor, iterations: int = 2) -> SingularVectors:
    """Singular values and vectors by randomized subspace iteration (Halko et al., 2011, algorithms 4.4 and 5.1).

    probes: standard normal (P, D); P a few more than the values that are of interest. iterations: of the power method.
    Orthogonalisation is in float64; the result is float64.
    """
    basis = _orthonormal(jacobian.times(probes))
    for _ in range(iterations):
        basis = _orthonormal(jacobian.transposed(basis.to(probes)))
        basis = _orthonormal(jacobian.times(basis.to(probes)))
    # With the rows Q of the basis, J is near Q^T (Q J).
    u, s, v = torch.linalg.svd(jacobian.transposed(basis.to(probes)).double(), full_matrices=False)
    return SingularVectors(u.T @ basis, s, v)


def _orthonormal(rows: Tensor) -> Tensor:
    """An orthonormal basis of the span of rows (P, D), in rows, float64."""
    return torch.linalg.qr(rows.double().T).Q.T


def asymmetry(jacobian: Jacobian, probes: Tensor) -> float:
    """|J - J^T| / 2 |J| in the Frobenius norm, estimated along standard normal probes (P, D).

    0 for a symmetric J, 1 for an antisymmetric one. |A z|^2 has the expectation |A|^2 (Hutchinson, 1990).
    """
    one, other = jacobian.times(probes).double(), jacobian.transposed(probes).double()
    return float((one - other).norm() / (2 * (one.square().sum() + other.square().sum())).sqrt())
