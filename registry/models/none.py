"""No classifier: the model of rows whose guide asks none."""

from __future__ import annotations

from torch import Tensor, nn

from harness.plugins import model
from harness.types import NO_CLASSIFIER, HarnessError


class NoClassifier(nn.Module):
    """A model without weights, which nobody can ask."""

    def forward(self, images: Tensor) -> Tensor:
        """Raises HarnessError."""
        raise HarnessError(
            f"--model {NO_CLASSIFIER} is no classifier. It stands in rows of --suite guidance whose guide asks none; "
            "name another one."
        )


@model(NO_CLASSIFIER, stand_in=True)
def none() -> nn.Module:
    """No classifier: of guides that ask none, which `--suite guidance` adds by itself and no list shows."""
    return NoClassifier()
