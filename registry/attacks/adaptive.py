"""The adaptive attack on test-time methods: the ensemble whose robust accuracy is a defence's headline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness import plugins
from harness.plugins import attack
from harness.registry.attacks.bpda import BPDA
from harness.registry.attacks.pgd_eot import PGDEOT
from harness.registry.attacks.transfer import Transfer
from harness.types import Attack, HarnessError, Method, ThreatModel


@attack("adaptive")
@dataclass(frozen=True)
class Adaptive:
    """Transfer, BPDA and PGD-EOT one after another, an image lost to any; judged on draws that none has seen.

    The recommendations of Tramer et al., NeurIPS 2020, and Lee & Kim, ICCV 2023: an attacker knows the defence and
    averages over its noise, but does not know the draws to come.

    steps, draws: of BPDA and PGD-EOT. surrogate, preset: of PGD-EOT.
    """

    steps: int = PGDEOT.steps
    draws: int = PGDEOT.draws
    surrogate: int = 0
    preset: str = ""
    # The member that looks at the whole defence; `harness.evaluation.attacked.flags` are measured with it.
    checked: ClassVar[str] = "pgd-eot"

    def __post_init__(self) -> None:
        _ = self.members  # their construction checks the settings

    @property
    def members(self) -> Sequence[tuple[str, Attack]]:
        """The attacks by name, cheapest first."""
        through = PGDEOT(steps=self.steps, draws=self.draws, surrogate=self.surrogate, preset=self.preset)
        return [("transfer", Transfer()), ("bpda", BPDA(steps=self.steps, draws=self.draws)), ("pgd-eot", through)]

    def calls(self, threat: ThreatModel) -> tuple[int, int]:
        """Forward and backward passes of the defended classifier per image at most; those of transfer need none."""
        _, *defended = self.members
        passes = [member.calls(threat) for _, member in defended]  # type: ignore[attr-defined]
        return sum(forward for forward, _ in passes), sum(backward for _, backward in passes)

    def check(self, method: Method) -> None:
        """Raise HarnessError for a method without a defence to adapt to, and for a surrogate that does not fit it."""
        if plugins.method.text_of(method) == "default":
            raise HarnessError(
                "adaptive attacks a test-time method, and default is none: no view, no noise. Take --attack autoattack "
                "for the classifier itself, or a defence, such as --tta de."
            )
        for _, member in self.members:
            if isinstance(member, PGDEOT):
                member.check(method)
