"""FAB and Square of pyautoattack, the authors' own code, made independent of the batch.

The library draws noise by an image's place among those that still stand, so that its neighbours decide what an image
meets. Here a tensor of noise for images, one with four axes, is drawn for one image and shared by all: *shared noise*.
Each image's own distribution is the published one; images are no longer independent of each other.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from harness.attacks.losses import targeted_margin
from harness.attacks.norms import lengths
from harness.attacks.passes import checked_gradient, clean_logits, keys_noise, of_rows, query
from harness.base.provenance import threads
from harness.types import GradientClassifier, HarnessError, ThreatModel

LIBRARY_NORMS = {"linf": "Linf", "l2": "L2"}
"""The library's names of norms."""

NOTHING = 1e10
"""The library's distance of an image for which no adversarial one is found."""


class SharedNoise:
    """torch for a module of the library, whose `rand` and `randn` draw for one image what is meant for a batch.

    Draws come from a separate generator: torch's global one is neither read nor seeded.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def rand(self, shape: Any) -> Tensor:
        """Uniform in [0, 1); one row, repeated, for a shape of four axes."""
        return self._drawn(torch.rand, shape)

    def randn(self, shape: Any) -> Tensor:
        """Standard normal; one row, repeated, for a shape of four axes."""
        return self._drawn(torch.randn, shape)

    def _drawn(self, draw: Callable[..., Tensor], shape: Any) -> Tensor:
        one = [1, *shape[1:]] if len(shape) == 4 else shape
        return draw(one, generator=self._generator).expand(*shape)


def module(name: str, seed: int) -> ModuleType:
    """A copy of a module of pyautoattack that draws shared noise; others in the process keep the library as it is."""
    require_library(name)
    spec = importlib.util.find_spec(f"pyautoattack.{name}")
    if spec is None or spec.loader is None:
        raise HarnessError(f"pyautoattack has no module {name}: install pyautoattack 0.2. {REMEDY}")
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    vars(copy)["torch"] = SharedNoise(seed)
    return copy


REMEDY = 'pip install "robustness-harness[adversarial]"'
"""How to get the library."""


def require_library(attack: str) -> ModuleType:
    """The package pyautoattack; raises HarnessError without it. attack: what needs it, for the message."""
    try:
        return importlib.import_module("pyautoattack")
    except ImportError as error:
        raise HarnessError(f"{attack} is pyautoattack's, which cannot be imported ({error}). {REMEDY}") from error


def _attacked(
    attack: Callable[[Tensor, Tensor, GradientClassifier], Tensor],
    images: Tensor,
    labels: Tensor,
    classifier: GradientClassifier,
) -> Tensor:
    """Results (B, 3, H, W) of an attack of the library on images that the classifier gets right; others unchanged.

    Where noise is keyed by the sample each image is attacked alone: the library does not say which of its images it
    asks about.
    """
    right = clean_logits(classifier, images).argmax(1) == labels
    result = images.clone()
    places = right.nonzero()[:, 0]
    groups = places.split(1) if len(places) and keys_noise(classifier) else [places] * bool(len(places))
    count = torch.get_num_threads()
    for group in groups:
        part = _Threaded(of_rows(classifier, group), count)
        # Several threads would sum one image alone in another order than beside others.
        with threads(1):
            result[group] = attack(images[group].contiguous(), labels[group], part)
    return result


class _Threaded:
    """A classifier that computes with several threads, asked by code that has one."""

    def __init__(self, classifier: GradientClassifier, count: int) -> None:
        self._classifier = classifier
        self._count = count

    def __call__(self, images: Tensor) -> Tensor:
        with threads(self._count):
            return query(self._classifier, images)

    def gradient(self, images: Tensor, loss: Callable[..., Tensor], *rows: Tensor) -> tuple[Tensor, Tensor]:
        with threads(self._count):
            values, gradient = self._classifier.gradient(images, loss, *rows)
        return values, checked_gradient(gradient)

    def drawn(self, draw: int) -> GradientClassifier:
        return _Threaded(self._classifier.drawn(draw), self._count)

    def of(self, rows: Sequence[int]) -> GradientClassifier:
        part = self._classifier.of(rows)
        return self if part is self._classifier else _Threaded(part, self._count)

    def straight_through(self) -> GradientClassifier:
        return _Threaded(self._classifier.straight_through(), self._count)

    @property
    def undefended(self) -> GradientClassifier:
        return _Threaded(self._classifier.undefended, self._count)


def square(
    images: Tensor,
    labels: Tensor,
    classifier: GradientClassifier,
    threat: ThreatModel,
    *,
    queries: int,
    restarts: int,
    seed: int,
) -> Tensor:
    """Images (B, 3, H, W) after Square, random search by queries alone (Andriushchenko et al., ECCV 2020).

    An image's search ends with its fall. Settings are those of AutoAttack: p = 0.8, the margin loss, and a schedule
    of 10,000 queries that is not rescaled.
    """

    def attack(x: Tensor, y: Tensor, part: GradientClassifier) -> Tensor:
        adversarial = x.clone()
        standing = torch.ones(len(x), dtype=torch.bool)
        for restart in range(restarts):
            if not standing.any():
                break
            library = module("square", _seed(seed, restart)).SquareAttack(
                part, p_init=0.8, n_queries=queries, eps=threat.eps, norm=LIBRARY_NORMS[threat.norm],
                resc_schedule=False, device="cpu",
            )  # fmt: skip
            library.init_hyperparam(x)
            places = standing.nonzero()[:, 0]
            found = library.attack_single_run(x[places], y[places])[1]
            adversarial[places] = found
            standing[places] = part(found).argmax(1) == y[places]
        return adversarial

    return _attacked(attack, images, labels, classifier)


def fab(
    images: Tensor,
    labels: Tensor,
    classifier: GradientClassifier,
    threat: ThreatModel,
    *,
    targets: int,
    restarts: int,
    steps: int,
    seed: int,
) -> Tensor:
    """Images (B, 3, H, W) after FAB, which looks for the smallest perturbation (Croce & Hein, ICML 2020, "Minimally").

    The closest misclassified image of all runs, which may lie outside of the ball; the image itself where no run finds
    one. eps decides no more than how far from the image the runs after the first set out.

    targets: runs towards the classes of the highest logits, the true one aside; 0 for runs towards the nearest class.
    """

    def attack(x: Tensor, y: Tensor, part: GradientClassifier) -> Tensor:
        classes = part(x[:1]).shape[1]
        ranks = range(2, min(targets + 1, classes) + 1) if targets else [0]
        closest = x.clone()
        distance = torch.full((len(x),), NOTHING)
        for rank in ranks:
            for restart in range(restarts):
                copy = module("fab_base", _seed(seed, restart, rank))
                library = _fab_of(copy, part, classes)(
                    norm=LIBRARY_NORMS[threat.norm], n_iter=steps, eps=threat.eps, device="cpu", targeted=bool(rank)
                )
                library.target_class = rank
                found = library.attack_single_run(x, y, use_rand_start=restart > 0, is_targeted=bool(rank))
                norm = lengths(found - x, threat.norm)
                nearer = (norm > 0) & (norm < distance)
                closest[nearer], distance[nearer] = found[nearer], norm[nearer]
        return closest

    return _attacked(attack, images, labels, classifier)


def _fab_of(library: ModuleType, part: GradientClassifier, classes: int) -> Any:
    """The library's FAB with a classifier's own gradients in place of the library's."""

    class Fab(library.FABAttack):  # type: ignore[name-defined]
        def _predict_fn(self, x: Tensor) -> Tensor:
            return part(x)

        def _get_predicted_label(self, x: Tensor) -> Tensor:
            return part(x).argmax(1)

        def get_diff_logits_grads_batch_targeted(self, x: Tensor, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            values, gradient = part.gradient(x, targeted_margin, y, t)
            return values[:, None], gradient[:, None]

        def get_diff_logits_grads_batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            """Differences of all logits from the true one, and their gradients; the true class is far away."""
            pairs = [part.gradient(x, targeted_margin, y, torch.full_like(y, k)) for k in range(classes)]
            values, gradients = (torch.stack(columns, 1) for columns in zip(*pairs, strict=True))
            return values.scatter(1, y[:, None], NOTHING), gradients

    return Fab


def _seed(seed: int, *numbers: int) -> int:
    """A seed for each run: the stream of one does not depend on where another one stops."""
    for number in numbers:
        seed = 1_000_003 * seed + number
    return seed % 2**63
