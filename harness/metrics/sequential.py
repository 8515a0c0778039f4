"""Certification at a few asked radii with as few noise draws as they need: sampling stops when all answers are settled.

The question. For asked radii r_1 < ... < r_m the class's probability p under the noise is compared with the thresholds
p_j = Phi(r_j / sigma): radius r_j is claimed when H_j: p <= p_j is rejected. Draws arrive in any portions, up to a
budget of N that is fixed beforehand; after each portion, and k successes in n draws, H_j is rejected if

- E_j(n, k) >= 1 / alpha_j, where E_j = integral of L(q) / L(p_j) dPi(q) is a mixture of likelihood ratios, with
  L(q) = q^k (1 - q)^(n - k) and Pi a distribution on (p_j, 1] that is fixed before the first of these draws; or
- k >= c_j, the count out of N at which the fixed-N test (Clopper-Pearson) rejects at a level of alpha - alpha_j.

The guarantee: the probability of any false claim, at any time, is at most alpha. Proof.

1. For q > p_j one draw multiplies L(q) / L(p_j) by q / p_j or (1 - q) / (1 - p_j). The expectation of that factor is
   linear and rising in p, and 1 at p = p_j; so E_j is a nonnegative supermartingale from 1 under every p <= p_j, given
   whatever Pi was made from. By Ville's inequality (Ville 1939) it ever reaches 1 / alpha_j with probability at most
   alpha_j (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon 2021; as bets: Waudby-Smith & Ramdas 2024).
2. Successes only add up: whoever reaches c_j by some n <= N has c_j after N draws as well, be they drawn or not. Under
   p <= p_j that has probability at most P_{p_j}(Bin(N) >= c_j) = alpha - alpha_j, by which alpha_j is defined.
3. Hence H_j, if true, is ever rejected with probability at most alpha, under any rule for when to stop. H_j is tested
   only after H_1 ... H_{j-1} were rejected (fixed-sequence procedure, Maurer, Hothorn & Lehmacher 1995; a closed test,
   Marcus, Peritz & Gabriel 1976), so a false claim implies that the first true one was rejected: at most alpha.

Futility needs no proof: an image that stops earlier only claims less. It stops when the predictive probability (Lee &
Liu 2008) that the next radius is still reached within the budget falls below `FUTILITY`.

Pi is a Beta distribution around the share of votes among the *selection* draws, which are independent of the estimation
draws, cut to (p_j, 1], with a tenth of a uniform one for the case that selection was misleading. So the evidence is a
function of the counts (n, k) and (n0, k0). What has been claimed is the only state: one small number per image.

`studies/sequential.py` measures errors, draws and accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from harness.metrics.certification import check
from harness.types import HarnessError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

EARLY, LEAST, RISE = 0.25, 0.05, 0.0004
"""Shares of alpha for stopping early: a quarter where that raises the last look's count by at most RISE of N, otherwise
less, but at least 5 %. A larger share stops earlier. With N = 10,000 a quarter raises the count by at most four, which
costs nothing; with N = 1,000 one more can cost two points of certified accuracy where most images are near p = 1."""

FUTILITY = 0.03
"""Predictive probability of reaching the next radius below which an image stops. At 0.05 images take 4 to 6 % fewer
draws and the largest loss of certified accuracy rises from 0.32 to 0.46 points (sigma 0.5, radii 0.25 to 1, of
`studies/sequential.py`; where p = 1 neither changes)."""

PRIOR = (0.5, 0.25)
"""Added to the selection's successes and failures to make Pi; the small second number leaves enough weight near
probability 1 for the many images that never fail."""

FLAT = 0.1
"""Share of the uniform distribution in Pi."""


@dataclass(frozen=True)
class Sequential:
    """Sequential certification of one class per image at a fixed set of radii.

    radii: the asked radii, rising, >= 0; ask for 0 to tell a certified class from an abstention.
    sigma: standard deviation of the noise. alpha: probability of any false claim, per image.
    n: the budget, most estimation draws of an image. n0: selection draws.
    futility: see `FUTILITY`; 0 goes on until the answer can no longer change.
    """

    radii: tuple[float, ...]
    sigma: float
    alpha: float
    n: int
    n0: int
    futility: float = FUTILITY

    def __post_init__(self) -> None:
        check(self.n0, self.n, self.alpha, self.sigma)
        if not self.radii or not all(a < b for a, b in zip((-1e-300, *self.radii), (*self.radii, np.inf), strict=True)):
            raise HarnessError(f"radii={self.radii} must be one or more rising numbers >= 0, such as (0.5, 1.0, 1.5).")
        if not 0 <= self.futility < 1:
            raise HarnessError(f"futility={self.futility:g} must be a probability below 1; 0 turns it off.")

    @cached_property
    def failure(self) -> Floats:
        """(m,) float64, 1 - p_j: the probability of another class below which radius j holds."""
        return stats.norm.sf(np.array(self.radii) / self.sigma)

    @cached_property
    def needed(self) -> Ints:
        """(m,) the counts c_j out of n that claim radius j at the last look; n + 1 where even n would not do.

        Where all n votes suffice only at the whole of alpha, the last look gets the whole.
        """
        fixed, low, high = (
            stats.binom.isf((1 - share) * self.alpha, self.n, 1 - self.failure).astype(np.int64) + 1
            for share in (0.0, LEAST, EARLY)
        )
        count = np.maximum(low, np.minimum(high, fixed + int(RISE * self.n)))
        return np.where(count > self.n, fixed, count)

    @cached_property
    def log_threshold(self) -> Floats:
        """(m,) log 1 / alpha_j: the last look rejects in whole counts, and what it leaves of alpha is spent early."""
        with np.errstate(divide="ignore"):
            return -np.log(self.alpha - stats.binom.sf(self.needed - 1, self.n, 1 - self.failure))

    def decide(
        self, n: ArrayLike, k: ArrayLike, k0: ArrayLike, claimed: ArrayLike = 0
    ) -> tuple[NDArray[np.bool_], Ints]:
        """One look at the counts of some images.

        n: estimation draws so far, at most the budget. k: those among them for the selected class. k0: the selection
        draws for it, out of n0. claimed: what the last look returned, 0 before the first. All (B,) or numbers.

        Returns settled (B,) bool, no further draw is worth its price, and claimed (B,) int64 in 0..m, the number of
        radii that are certified; it never falls.
        """
        n, k, k0, before = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, np.int64)) for v in (n, k, k0, claimed)))
        if (k < 0).any() or (k > n).any() or (n > self.n).any() or (k0 < 0).any() or (k0 > self.n0).any():
            raise ValueError(f"counts must satisfy 0 <= k <= n <= {self.n} and 0 <= k0 <= {self.n0}")
        claimed = before.copy()
        settled = np.ones(claimed.shape, dtype=np.bool_)
        for j in np.flatnonzero(self.needed <= self.n).tolist():
            open_rows = claimed == j
            enough = (k[open_rows] >= self.needed[j]) | (
                self.log_evidence(j, n[open_rows], k[open_rows], k0[open_rows]) >= self.log_threshold[j]
            )
            claimed[open_rows] += enough
            open_rows = claimed == j
            chance = self.chance(j, n[open_rows], k[open_rows], k0[open_rows])
            settled[open_rows] = (chance == 0) | (chance < self.futility)
        return settled, claimed

    def radius(self, claimed: ArrayLike) -> Floats:
        """(B,) float64, the largest certified radius; 0 where none is. claimed: (B,) as `decide` returns it."""
        return np.array([0.0, *self.radii])[np.asarray(claimed)]

    def log_evidence(self, j: int, n: Ints, k: Ints, k0: Ints) -> Floats:
        """Log of E_j, (B,). j: index of the radius, from 0. n, k, k0: (B,) as in `decide`."""
        fail = self.failure[j]
        null = special.xlog1py(k, -fail) + special.xlogy(n - k, fail)
        a, b = PRIOR[0] + k0, PRIOR[1] + self.n0 - k0
        with np.errstate(divide="ignore"):
            prior = _log_mass(a, b, fail)
            around = _log_mass(a + k, b + n - k, fail) - np.where(np.isfinite(prior), prior, np.inf)
            flat = _log_mass(k + 1.0, n - k + 1.0, fail) - np.log(fail)
        # Where the prior's or the posterior's mass underflows, that part of the mixture is left out: less evidence.
        return np.logaddexp(np.log1p(-FLAT) + around, np.log(FLAT) + flat) - null

    def chance(self, j: int, n: Ints, k: Ints, k0: Ints) -> Floats:
        """Predictive probability (B,) that the count reaches `needed[j]` within the budget; 0 exactly if it cannot.

        The number of successes still to come is beta-binomial under Jeffreys' prior and all counts so far; its share is
        approximated by the Beta distribution of the same mean and variance.
        """
        left, need = self.n - n, self.needed[j] - k
        total = 1.0 + n + self.n0
        mean = (0.5 + k + k0) / total
        size = np.maximum(left * (total + 1) / (total + left) - 1, 1e-9)
        level = np.clip((need - 0.5) / np.maximum(left, 1), 0.0, 1.0)
        share = special.betaincc(mean * size, (1 - mean) * size, level)
        return np.where(need <= 0, 1.0, np.where(need > left, 0.0, np.maximum(share, 1e-300)))


def _log_mass(a: Floats, b: Floats, fail: float) -> Floats:
    """Log of the integral of q^(a-1) (1-q)^(b-1) over q in (1 - fail, 1]; -inf where it underflows."""
    return special.betaln(a, b) + np.log(special.betainc(b, a, fail))
