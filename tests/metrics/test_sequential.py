"""Sequential certification: the evidence against quadrature, the guarantee by exact summation, and what is at stake."""

from __future__ import annotations

from dataclasses import replace

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.metrics.certification import lower_bound
from harness.metrics.sequential import FLAT, PRIOR, Sequential
from harness.types import HarnessError

Ints = NDArray[np.int64]
STOP = Sequential((0.25, 0.5, 0.75, 1.0), 0.5, 0.001, 10_000, 100)
SMALL = Sequential((0.0, 0.5, 1.0), 0.5, 0.05, 300, 20)


def evidence(stop: Sequential, j: int, n: int, k: int, k0: int) -> float:
    return float(stop.log_evidence(j, *(np.array([v]) for v in (n, k, k0)))[0])


def quadrature(stop: Sequential, j: int, n: int, k: int, k0: int) -> float:
    """Log of E_j by numerical integration with 40 digits, from its definition."""
    with mpmath.workdps(40):
        p = 1 - mpmath.mpf(float(stop.failure[j]))
        a, b = PRIOR[0] + k0, PRIOR[1] + stop.n0 - k0
        top = (1 - p) ** 0.25
        cuts = [top * i / 16 for i in range(17)]

        def integral(f: float, g: float) -> mpmath.mpf:
            """The integral of q^f (1 - q)^g over q in (p, 1], by 1 - q = u^4, which takes away the pole at q = 1."""

            def integrand(u: mpmath.mpf) -> mpmath.mpf:
                return 4 * mpmath.power(1 - u**4, f) * mpmath.power(u, 4 * g + 3)

            scale = max(integrand(u) for u in cuts)  # quad's tolerance is absolute
            return scale * mpmath.quad(lambda u: integrand(u) / scale, cuts)

        around = integral(a + k - 1, b + n - k - 1) / integral(a - 1, b - 1)
        flat = integral(k, n - k) / (1 - p)
        return float(mpmath.log((1 - FLAT) * around + FLAT * flat) - k * mpmath.log(p) - (n - k) * mpmath.log(1 - p))


@pytest.mark.parametrize(
    ("j", "n", "k", "k0"),
    [(0, 100, 90, 88), (0, 1000, 700, 70), (3, 300, 300, 100), (3, 400, 395, 99), (2, 500, 400, 70), (1, 50, 3, 60)],
)
def test_evidence_is_the_integral_that_defines_it(j: int, n: int, k: int, k0: int) -> None:
    assert evidence(STOP, j, n, k, k0) == pytest.approx(quadrature(STOP, j, n, k, k0), abs=1e-9)


def test_evidence_starts_at_one_and_stays_finite_where_masses_underflow() -> None:
    far = Sequential((1.5, 2.5), 0.5, 0.001, 10_000, 1_000)
    for j in range(2):
        assert evidence(far, j, 0, 0, 1000) == pytest.approx(0, abs=1e-9)
        # The prior's mass above the threshold is below 1e-300 and drops out; the uniform tenth remains.
        assert evidence(far, j, 0, 0, 0) == pytest.approx(np.log(FLAT), abs=1e-9)
        assert evidence(far, j, 10_000, 0, 1000) == -np.inf
    assert evidence(far, 0, 10_000, 10_000, 0) > 1


@pytest.mark.parametrize("k0", [0, 14, 20])
def test_evidence_is_a_supermartingale(k0: int) -> None:
    """Its expectation after one more draw: the same at p = p_j, smaller at p < p_j, for all counts of 60 draws."""
    n, k = (axis.ravel() for axis in np.tril_indices(60))
    for j in range(3):
        now, failure, success = (
            np.exp(SMALL.log_evidence(j, n + i, k + s, np.full_like(n, k0))) for i, s in ((0, 0), (1, 0), (1, 1))
        )
        threshold = 1 - SMALL.failure[j]
        np.testing.assert_allclose(threshold * success + (1 - threshold) * failure, now, rtol=1e-8)
        for p in (0.3, 0.99 * threshold):
            assert (p * success + (1 - p) * failure < now * (1 + 1e-9)).all()
        assert (success > failure).all()


def exact_error(stop: Sequential, p: float, truth: int, k0: int, looks: list[int]) -> float:
    """Probability that more than `truth` radii are ever claimed, by forward recursion over (claimed, count)."""
    alive = {0: np.ones(1)}  # per number of claimed radii: probability of each count, of images not yet wrong
    error, before = 0.0, 0
    for n in looks:
        step = stats.binom.pmf(np.arange(n - before + 1), n - before, p)
        after: dict[int, NDArray[np.float64]] = {}
        for claimed, mass in alive.items():
            mass = np.convolve(mass, step)
            _, now = stop.decide(n, np.arange(n + 1), k0, claimed)
            error += mass[now > truth].sum()
            for value in range(claimed, truth + 1):
                after[value] = after.get(value, 0) + np.where(now == value, mass, 0)
        alive, before = after, n
    return float(error)


@pytest.mark.parametrize("looks", [list(range(5, 301, 5)), list(range(60, 301, 60)), [300]], ids=["5", "60", "300"])
@pytest.mark.parametrize("truth", [0, 1, 2])
def test_false_claims_have_probability_below_alpha_exactly(truth: int, looks: list[int]) -> None:
    """At the worst p for every number of radii that hold, whatever the selection said, and without futility stops."""
    p = float(1 - SMALL.failure[truth])
    errors = [exact_error(SMALL, p, truth, k0, looks) for k0 in (0, 10, 14, 18, 20)]
    assert max(errors) <= SMALL.alpha
    assert max(errors) > SMALL.alpha / 4
    assert exact_error(SMALL, p - 0.05, truth, 18, looks) < max(errors)


def simulate(stop: Sequential, k0: Ints, k: Ints, look: int) -> tuple[Ints, Ints]:
    """Claimed radii and draws used of images that stop when settled; k (B, looks) successes so far."""
    claimed, used = np.zeros(len(k), np.int64), np.zeros(len(k), np.int64)
    going = np.arange(len(k))
    for column in range(k.shape[1]):
        used[going] = n = look * (column + 1)
        settled, claimed[going] = stop.decide(n, k[going, column], k0[going], claimed[going])
        going = going[~settled]
    assert not len(going), "with the budget spent, every image is settled"
    return claimed, used


def test_coverage_in_simulation() -> None:
    """2,000 images with p at the second of four thresholds: their false claims agree with alpha = 0.05."""
    rng = np.random.default_rng(0)
    stop = replace(STOP, alpha=0.05, n=2000)
    p = 1 - stop.failure[1]
    k = rng.binomial(100, p, size=(2000, 20)).cumsum(axis=1)
    claimed, used = simulate(stop, rng.binomial(100, p, 2000), k, 100)
    assert stats.binomtest(int((claimed > 1).sum()), 2000, 0.05, alternative="greater").pvalue > 0.01
    assert used.mean() < 1500


def test_single_radius_is_nearly_always_claimed_where_the_fixed_procedure_claims_it() -> None:
    rng = np.random.default_rng(1)
    stop = replace(STOP, radii=(0.5,))
    p = rng.beta(6, 0.8, 3000)
    k = rng.binomial(100, p[:, None], size=(3000, 100)).cumsum(axis=1)
    claimed, used = simulate(stop, rng.binomial(100, p), k, 100)
    fixed = lower_bound(k[:, -1], stop.n, stop.alpha) >= 1 - stop.failure[0]
    assert (claimed[fixed] == 1).mean() > 0.99
    assert (claimed[~fixed] == 0).mean() > 0.99
    assert used.mean() < stop.n / 5


def test_without_futility_all_that_the_last_look_certifies_is_claimed() -> None:
    stop = replace(STOP, futility=0.0)
    k = np.arange(stop.n + 1)
    settled, claimed = stop.decide(stop.n, k, 50)
    assert settled.all()
    bound = lower_bound(k, stop.n, 0.75 * stop.alpha)
    assert (claimed >= (bound[:, None] >= 1 - stop.failure).sum(axis=1)).all()
    np.testing.assert_array_equal(stop.needed, [int((bound < 1 - q).sum()) for q in stop.failure])


def test_error_probabilities_of_both_ways_to_claim_add_up_to_alpha() -> None:
    last = stats.binom.sf(STOP.needed - 1, STOP.n, 1 - STOP.failure)
    np.testing.assert_allclose(last + np.exp(-STOP.log_threshold), STOP.alpha, rtol=1e-9)
    assert (np.exp(-STOP.log_threshold) >= STOP.alpha / 4).all()


@pytest.mark.parametrize(("n", "rise"), [(1_000, 1), (10_000, 4), (100_000, 40)])
def test_last_look_asks_for_hardly_more_than_the_fixed_procedure(n: int, rise: int) -> None:
    stop = replace(STOP, n=n)
    fixed = stats.binom.isf(stop.alpha, n, 1 - stop.failure) + 1
    assert (stop.needed >= fixed).all() and (stop.needed <= fixed + rise).all()
    assert (np.exp(-stop.log_threshold) >= 0.05 * stop.alpha * (1 - 1e-9)).all()


def test_decision_is_monotone() -> None:
    """More successes never claim less or make futile what was not; claims grow with the count."""
    for n in (100, 1000, 9900):
        settled, claimed = STOP.decide(n, np.arange(n + 1), 90)
        assert (np.diff(claimed) >= 0).all()
        for j in range(4):
            assert (np.diff(settled[claimed == j].astype(int)) <= 0).all()


def test_what_was_claimed_is_never_lost() -> None:
    """A lucky start certifies; the failures after it change neither the claim nor the radius."""
    _, claimed = STOP.decide(200, 200, 100)
    assert claimed[0] >= 2
    settled, later = STOP.decide(1200, 700, 100, claimed)
    assert later.tolist() == claimed.tolist() and settled[0]
    assert STOP.decide(1200, 700, 100)[1][0] == 0
    assert STOP.radius(later)[0] == STOP.radii[claimed[0] - 1]
    assert STOP.radius([0, 1, 4]).tolist() == [0.0, 0.25, 1.0]


def test_images_decide_alone() -> None:
    rng = np.random.default_rng(2)
    n = rng.integers(0, 5000, 50)
    k, k0, before = rng.binomial(n, 0.9), rng.integers(0, 101, 50), rng.integers(0, 5, 50)
    settled, claimed = STOP.decide(n, k, k0, before)
    for i in range(50):
        alone = STOP.decide(n[i], k[i], k0[i], before[i])
        assert (settled[i], claimed[i]) == (alone[0][0], alone[1][0])
    assert (claimed >= before).all() and settled[claimed == 4].all()


def test_chance_is_the_beta_binomials() -> None:
    """Predictive probability of the count still needed, against the exact one."""
    for n, k, k0 in [(100, 85, 84), (1000, 842, 83), (5000, 4200, 85), (9900, 8432, 85), (9999, 8516, 85), (0, 0, 97)]:
        exact = stats.betabinom.sf(STOP.needed[1] - k - 1, STOP.n - n, 0.5 + k + k0, 100.5 + n - k - k0)
        chance = STOP.chance(1, *(np.array([v]) for v in (n, k, k0)))[0]
        assert chance == pytest.approx(exact, abs=0.01)
    assert STOP.chance(1, *(np.array([v]) for v in (9999, 8000, 85)))[0] == 0


def test_radii_out_of_reach_are_settled_from_the_start() -> None:
    """With 10,000 votes out of 10,000 the fixed procedure reaches 1.59 at sigma 0.5, never 1.6 or 50."""
    stop = replace(STOP, radii=(1.59, 1.6, 50.0))
    settled, claimed = stop.decide(0, 0, 100)
    assert not settled[0]
    settled, claimed = stop.decide(10_000, 10_000, 100)
    assert (settled[0], claimed[0]) == (True, 1)
    assert replace(STOP, radii=(1.6,)).decide(0, 0, 100)[0][0]


def test_ten_votes_of_ten_are_enough_as_for_the_fixed_procedure() -> None:
    stop = Sequential((0.0,), 0.5, 0.001, 10, 10)
    assert stop.decide(10, 10, 10)[1][0] == 1
    assert stop.decide(10, 9, 10)[1][0] == 0
    assert replace(stop, n=9, n0=9).decide(0, 0, 9)[0][0]


@pytest.mark.parametrize("radii", [(), (0.5, 0.5), (1.0, 0.5), (-0.5, 1.0), (float("nan"),), (float("inf"),)])
def test_radii_must_rise(radii: tuple[float, ...]) -> None:
    with pytest.raises(HarnessError, match="rising"):
        replace(STOP, radii=radii)


def test_bad_settings_and_counts() -> None:
    with pytest.raises(HarnessError, match="alpha=0"):
        replace(STOP, alpha=0.0)
    with pytest.raises(HarnessError, match="fewer"):
        replace(STOP, n=50)
    with pytest.raises(HarnessError, match="futility=1"):
        replace(STOP, futility=1.0)
    for n, k, k0 in [(10, 11, 5), (10_001, 5, 5), (10, 5, 101), (10, -1, 5)]:
        with pytest.raises(ValueError, match="counts must satisfy"):
            STOP.decide(n, k, k0)
