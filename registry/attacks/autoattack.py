"""AutoAttack, the standard ensemble (Croce & Hein, ICML 2020), by attacks whose numbers no batch decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness import plugins
from harness.attacks.library import LIBRARY_NORMS, require_library
from harness.attacks.norms import lengths
from harness.attacks.passes import clean_logits, of_rows
from harness.models.tiles import TiledClassifier
from harness.plugins import attack
from harness.registry.attacks.apgd import APGDCrossEntropy, APGDLogitRatio, APGDTargeted
from harness.registry.attacks.library import NOTE, Fab, FabTargeted, Square
from harness.types import Attack, GradientClassifier, HarnessError, Method, Noise, ThreatModel

ORDERS = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
"""Attacks of each version, in the published order."""

NO_METHOD = (
    "autoattack:shared=false gives the library a bare network, and a test-time method is none. "
    "Leave shared=false out, or take --tta default."
)
"""What test-time methods under the library's own code are refused with."""

ROUNDING = 1e-6
"""Excess over eps that float32 makes of an image on the ball's surface."""


@attack("autoattack")
@dataclass(frozen=True)
class AutoAttack:
    """Four attacks, each on the images that those before it left correct; 100 steps, 9 targets, 5000 queries.

    version: standard; plus, six attacks with five restarts; rand, for stochastic defences, two that average 20 draws.
    shared: true gives the same numbers at any batch size and order: starts keyed by the sample, noise of Square and FAB
        shared by all images. False is the library's own code, whose numbers depend on the batch and its order.
    seed: of Square and FAB, and of everything in the library's own code.
    """

    version: str = "standard"
    shared: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.version not in ORDERS:
            raise HarnessError(f"autoattack: version={self.version!r} must be one of {', '.join(ORDERS)}.")

    @property
    def members(self) -> Sequence[tuple[str, Attack]]:
        """The attacks by name, in their order."""
        if not self.shared:
            return [(name, PlainMember(name, self.version, self.seed)) for name in ORDERS[self.version]]
        restarts = 5 if self.version == "plus" else 1
        draws = 20 if self.version == "rand" else 0
        attacks: dict[str, Attack] = {
            "apgd-ce": APGDCrossEntropy(restarts=restarts, draws=draws),
            "apgd-dlr": APGDLogitRatio(restarts=restarts, draws=draws),
            "apgd-t": APGDTargeted(),
            "fab": Fab(seed=self.seed),
            "fab-t": FabTargeted(seed=self.seed),
            "square": Square(seed=self.seed),
        }
        return [(name, attacks[name]) for name in ORDERS[self.version]]

    @property
    def draws(self) -> int:
        """Fresh noise draws that each step averages."""
        return 20 if self.version == "rand" and self.shared else 0

    @property
    def note(self) -> str:
        """What records say of the numbers."""
        if self.shared:
            return f"AutoAttack {self.version}: starts of APGD keyed by the sample. {NOTE}"
        return (
            f"AutoAttack {self.version} as pyautoattack computes it, seed {self.seed}: "
            "its numbers depend on the batch size and on the order of the images."
        )

    def check(self, method: Method) -> None:
        """Raise HarnessError for a test-time method under the library's own code."""
        if not self.shared and plugins.method.text_of(method) != "default":
            raise HarnessError(NO_METHOD)

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        """The members in turn. A suite runs `members` itself, and notes what each of them achieves."""
        adversarial = images.clone()
        standing = classifier(images).argmax(1) == labels
        for _, member in self.members:
            places = standing.nonzero()[:, 0]
            if not len(places):
                break
            part = of_rows(classifier, places)
            x = member(images[places], labels[places], part, lambda purpose, rows=places: noise(purpose)[rows], threat)
            inside = lengths(x - images[places], threat.norm) <= threat.eps + ROUNDING
            fallen = inside & (part(x).argmax(1) != labels[places])
            adversarial[places[fallen]] = x[fallen]
            standing[places[fallen]] = False
        return adversarial


@dataclass(frozen=True)
class PlainMember:
    """One attack of the library's own standard evaluation, whose noise goes by an image's place in the batch."""

    name: str
    version: str
    seed: int

    def __call__(
        self, images: Tensor, labels: Tensor, classifier: GradientClassifier, noise: Noise, threat: ThreatModel
    ) -> Tensor:
        """Adversarial images (B, 3, H, W), the clean ones where none is found; the batch is the library's."""
        package = require_library("autoattack:shared=false")
        if not isinstance(classifier, TiledClassifier):
            raise HarnessError(NO_METHOD)
        classes = clean_logits(classifier, images).shape[1]
        if classes < 4:
            raise HarnessError(
                f"autoattack:shared=false needs 4 classes or more, not {classes}: the library's DLR losses are not "
                "defined for fewer. Leave shared=false out; the attack then takes the form that is defined."
            )
        device, network = classifier.tiles.device, classifier.network
        library = package.AutoAttack(
            lambda x: network(x.clone()), norm=LIBRARY_NORMS[threat.norm], eps=threat.eps, seed=self.seed,
            version=self.version, device=device,
        )  # fmt: skip
        library.attacks_to_run = [self.name]
        # The library itself asks for nine targets of any classifier, and fails where there are fewer.
        targeted = library.apgd_targeted
        targeted.n_target_classes = min(targeted.n_target_classes, classes - 1)
        library.fab.n_target_classes = min(library.fab.n_target_classes, classes - 1)
        with torch.random.fork_rng([device] if device != "cpu" else []):
            adversarial, _ = library.run_standard_evaluation(images, labels, batch_size=len(images))
        result: Tensor = adversarial
        return result
