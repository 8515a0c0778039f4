"""Attacks of pyautoattack: the recorded distances, noise that no batch decides, and the plain library beside."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import RECORDED_FOLDER
from torch import Tensor, nn

from harness import plugins
from harness.attacks import library
from harness.attacks.norms import lengths
from harness.base import noise
from harness.models.tiles import TiledClassifier, Tiles
from harness.registry.attacks.autoattack import AutoAttack, PlainMember
from harness.registry.attacks.library import Square
from harness.types import GradientClassifier, HarnessError, ThreatModel

FILE = np.load(RECORDED_FOLDER / "apgd.npz")
"""fra31/auto-attack a3922004 on 16 digits: see `test_apgd`."""

IMAGES = torch.from_numpy(FILE["images"]).float() / 255
LABELS = torch.from_numpy(FILE["labels"])
THREATS = (ThreatModel("linf", 0.09), ThreatModel("l2", 0.75))


class Recorded(nn.Module):
    """The network of the recording, in float64 with logits in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1), nn.SiLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(384, 10),
        ).double()  # fmt: skip
        self.layers.load_state_dict({k[2:]: torch.from_numpy(FILE[k]).double() for k in FILE if k.startswith("w/")})

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x.double()).float()
        return logits


CLASSIFIER = TiledClassifier(Recorded(), Tiles(16))


def attacked(attack: Any, classifier: Any, rows: list[int], threat: ThreatModel) -> Tensor:
    def eps(purpose: str) -> Tensor:
        return noise.gaussian(IMAGES.shape[1:], seed=0, purpose=purpose, samples=[f"image-{row}" for row in rows])

    adversarial: Tensor = attack(IMAGES[rows], LABELS[rows], classifier, eps, threat)
    return adversarial


@pytest.mark.parametrize(("norm", "name"), [("linf", "Linf"), ("l2", "L2")])
def test_fab_finds_the_recorded_distances(norm: str, name: str) -> None:
    few = slice(0, 3)
    found = library.fab(
        IMAGES[few], LABELS[few], CLASSIFIER, ThreatModel(norm, 0.01), targets=1, restarts=1, steps=100, seed=0
    )
    expected = torch.from_numpy(FILE[f"fab/{name}"])[few]
    torch.testing.assert_close(lengths(found - IMAGES[few], norm), expected, rtol=1e-5, atol=0)


def test_shared_noise_is_one_row_for_a_batch_and_leaves_the_library_and_the_global_generator_alone() -> None:
    shared = library.SharedNoise(3)
    images = shared.randn([4, 3, 2, 2])
    assert torch.equal(images, images[:1].expand(4, 3, 2, 2)) and images[0].unique().numel() == 12
    assert shared.rand([5, 1]).unique().numel() == 5 and shared.float32 is torch.float32
    before = torch.get_rng_state()
    attacked(Square(queries=3), CLASSIFIER, [0, 1], THREATS[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert sys.modules["pyautoattack.square"].torch is torch  # type: ignore[attr-defined]


class Keyed:
    """A defence whose outputs depend on the sample, as those of test-time methods with keyed noise do."""

    def __init__(self, places: list[int]) -> None:
        self._shift = 0.02 * torch.tensor(places, dtype=torch.float32)[:, None, None, None]

    def __call__(self, images: Tensor) -> Tensor:
        return CLASSIFIER((images + self._shift).contiguous())

    def gradient(self, images: Tensor, loss: Any, *rows: Tensor) -> tuple[Tensor, Tensor]:
        return CLASSIFIER.gradient(images + self._shift, loss, *rows)

    def drawn(self, draw: int) -> Keyed:
        return self

    def of(self, rows: list[int]) -> Keyed:
        part = Keyed([])
        part._shift = self._shift[rows]
        return part


@pytest.mark.parametrize("text", ["square:queries=20", "fab-t:steps=4,targets=2", "apgd-ce:steps=8"])
def test_a_method_meets_each_image_with_the_noise_of_its_sample(text: str) -> None:
    attack = plugins.attack.configure(text).plugin
    together = attacked(attack, Keyed([0, 1, 2]), [0, 1, 2], THREATS[0])
    alone = [attacked(attack, Keyed([row]), [row], THREATS[0]) for row in range(3)]
    assert torch.equal(together, torch.cat(alone))
    assert (lengths(together - IMAGES[:3], "linf") > 0).all()


# AutoAttack.


@pytest.fixture
def few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Square with 20 queries, FAB with 10 steps and 2 targets for both targeted attacks, in the library itself."""
    package = pytest.importorskip("pyautoattack.autoattack")
    publish = package.AutoAttack._set_version

    def shorten(self: Any, version: str = "standard") -> None:
        publish(self, version)
        self.square.n_queries = 20
        self.fab.n_iter = 10
        self.fab.n_target_classes = self.apgd_targeted.n_target_classes = 2

    monkeypatch.setattr(package.AutoAttack, "_set_version", shorten)


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.usefixtures("few_queries")
def test_without_shared_noise_autoattack_is_the_library_image_by_image(threat: ThreatModel) -> None:
    from pyautoattack import AutoAttack as Library

    rows, network = [0, 1, 2, 4, 5, 7], CLASSIFIER.network
    norm = {"linf": "Linf", "l2": "L2"}[threat.norm]
    expected, _ = Library(network, norm=norm, eps=threat.eps, seed=5).run_standard_evaluation(
        IMAGES[rows], LABELS[rows], batch_size=len(rows)
    )
    before = torch.get_rng_state()
    adversarial = attacked(AutoAttack(shared=False, seed=5), CLASSIFIER, rows, threat)
    assert torch.equal(adversarial, expected)
    assert torch.equal(torch.get_rng_state(), before)
    assert 0 < int((CLASSIFIER(adversarial).argmax(1) != LABELS[rows]).sum()) < len(rows)


@pytest.mark.parametrize("name", ["apgd-t", "fab-t"])
def test_the_plain_library_takes_the_targets_that_there_are_and_refuses_fewer_than_four_classes(name: str) -> None:
    """It asks for nine of any classifier; with three classes its targeted loss is not defined."""
    for classes in (5, 3):
        with torch.random.fork_rng():
            torch.manual_seed(classes)
            network = nn.Sequential(nn.Flatten(), nn.Linear(192, classes))
        classifier = TiledClassifier(network, Tiles(4))
        labels = classifier(IMAGES[:4]).argmax(1)
        member = PlainMember(name, "standard", 0)
        if classes < 4:
            with pytest.raises(HarnessError, match=r"needs 4 classes or more, not 3.*Leave shared=false out"):
                member(IMAGES[:4], labels, classifier, lambda purpose: IMAGES, ThreatModel("linf", 0.3))
            continue
        adversarial = member(IMAGES[:4], labels, classifier, lambda purpose: IMAGES, ThreatModel("linf", 0.3))
        assert (classifier(adversarial).argmax(1) != labels).all()


def test_versions_have_the_published_attacks_in_the_published_order() -> None:
    standard, plus, rand = (dict(AutoAttack(version).members) for version in ("standard", "plus", "rand"))
    assert list(standard) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert list(plus) == ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]
    assert list(rand) == ["apgd-ce", "apgd-dlr"]
    settings = {name: [getattr(a, "restarts", 0), getattr(a, "steps", 0)] for name, a in plus.items()}
    assert settings == {
        "apgd-ce": [5, 100], "apgd-dlr": [5, 100], "fab": [5, 100], "square": [1, 0], "apgd-t": [1, 100],
        "fab-t": [1, 100],
    }  # fmt: skip
    assert [getattr(a, "draws", 0) for a in rand.values()] == [20, 20] and AutoAttack("rand").draws == 20
    assert [getattr(a, "draws", 0) for a in standard.values()] == [0] * 4
    for members in (standard, plus):
        assert getattr(members["square"], "queries", 0) == 5000 and getattr(members["apgd-t"], "targets", 0) == 9
        assert getattr(members["fab-t"], "minimal", False)
    assert "shared noise" in AutoAttack().note and "batch size" in AutoAttack(shared=False).note


def test_the_ensemble_keeps_what_the_first_success_made() -> None:
    """A member sees what is left; a perturbation beyond eps is none."""
    rows, threat = [0, 1, 2, 4], THREATS[0]
    short = {"apgd-ce": "apgd-ce:steps=20", "fab-t": "fab-t:steps=10,targets=1"}
    attacks = [(name, plugins.attack.configure(text).plugin) for name, text in short.items()]

    class Short(AutoAttack):
        members = attacks  # type: ignore[assignment]

    adversarial = attacked(Short(), CLASSIFIER, rows, threat)
    first = attacked(attacks[0][1], CLASSIFIER, rows, threat)
    fallen = CLASSIFIER(first).argmax(1) != LABELS[rows]
    assert torch.equal(adversarial[fallen], first[fallen]) and int(fallen.sum()) > 0
    assert (lengths(adversarial - IMAGES[rows], "linf") <= threat.eps + 1e-6).all()


@pytest.mark.parametrize("text", ["fab", "fab-t", "square", "autoattack:shared=false"])
def test_without_the_library_the_error_says_how_to_get_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    attack = plugins.attack.configure(text).plugin
    with pytest.raises(HarnessError, match=r'pip install "robustness-harness\[adversarial\]"'):
        attacked(attack, CLASSIFIER, [0], THREATS[0])


def test_the_plain_library_refuses_test_time_methods() -> None:
    method: GradientClassifier = Keyed([0])
    with pytest.raises(HarnessError, match=r"a test-time method is none.*--tta default"):
        AutoAttack(shared=False).check(plugins.method.configure("de").plugin)
    AutoAttack(shared=False).check(plugins.method.configure("default").plugin)
    AutoAttack().check(plugins.method.configure("de").plugin)
    with pytest.raises(HarnessError, match=r"a test-time method is none.*--tta default"):
        attacked(PlainMember("apgd-ce", "standard", 0), method, [0], THREATS[0])


def test_impossible_settings_are_refused() -> None:
    for text, message in {
        "autoattack:version=best": "must be one of standard, plus, rand", "square:queries=0": "queries=0",
        "fab-t:targets=0": "targets=0", "fab:steps=0": "steps=0", "apgd-t:targets=0": "targets=0",
        "apgd-ce:restarts=0": "restarts=0", "apgd-dlr:draws=-1": "draws=-1",
    }.items():  # fmt: skip
        with pytest.raises(HarnessError, match=message):
            plugins.attack.configure(text)
    assert replace(AutoAttack(), seed=3).members[3][1] == Square(seed=3)


def test_apgd_is_the_white_box_half_of_autoattack() -> None:
    apgd, autoattack = (plugins.attack.configure(name).plugin for name in ("apgd", "autoattack"))
    assert apgd.members == autoattack.members[:2]  # type: ignore[attr-defined]
