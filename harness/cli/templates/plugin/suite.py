"""A suite: its conditions, and the images behind each."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.data import Corrupted
from harness.plugins import suite
from harness.suites.bases.covariate_shift import CovariateShift
from harness.types import Condition, Dataset


# dataset= names the images, denoiser= the diffusion model of test-time methods. Raise version= whenever the same run
# would give other numbers.
@suite("my-name", version=1, dataset="digits", denoiser="digits")
@dataclass(frozen=True)
class MyName(CovariateShift):
    """Fog on the test digits, in five strengths."""

    # Columns of the leaderboard, as (metric, condition); the first one ranks.
    shown = (("mean_accuracy", "mean"), ("mean_error", "mean"))

    def conditions(self) -> Sequence[Condition]:
        """One per severity; groups are averaged before any other mean is taken."""
        return [Condition(f"fog/{s}", "fog", severity=s) for s in range(1, 6)]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The test split under fog. The same source images must have the same ids under every condition."""
        return Corrupted(self.test_images(), "fog", condition.severity, seed)
