"""`harness results attack`: the certificates of a record under attack."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import harness
from torch import Tensor, nn

from harness import plugins
from harness.api.rerun.attacked import CertifiedRecord
from harness.api.rerun.certificates import AttackedLevel, AttackedRecord, BrokenCertificate, CertificateAttack
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records.record import RunRecord, load
from harness.models.published.locate import WeightFiles
from harness.types import HarnessError, RunSpec, Weights

SUITE = "certify:sigma=0.25,0.5,n=60,n0=20"
SHIPPED = Path(__file__).resolve().parents[2] / "results" / "digits"
QUICK = "smooth-pgd:steps=4,draws=2"


class Linear(nn.Module):
    """Ten linear classes of an image of four by four pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.randn(48, 10, generator=torch.Generator().manual_seed(0))

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images - 0.5, 8).flatten(1) @ self.weights


@pytest.fixture(autouse=True)
def registered(forgotten: None) -> None:
    plugins.model("test-linear", dataset="digits")(lambda: (Linear(), Weights("x", "3" * 64, "")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certified")


@pytest.fixture
def certified(folder: Path, registered: None) -> RunRecord:
    """Certificates of five digits at two noise levels, made once."""
    spec = RunSpec(SUITE, ("test-linear",), ("gaussian",), every=120, tile=20)
    return load(loop.run(prepare(spec, folder))[0])


@pytest.fixture
def forged(certified: RunRecord, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    """The same, whose certificates claim ten times their radius."""
    rows = certified.rows()
    monkeypatch.setattr(RunRecord, "rows", lambda self, *names: {**rows, "radius": 10 * rows["radius"]})
    return certified


def opened(record: RunRecord, out: Path, eps: float = 0.1, **changes: Any) -> CertifiedRecord:
    settings = CertificateAttack(**{"eps": eps, "attack": QUICK, **changes})
    return CertifiedRecord.open(record, settings, out, WeightFiles())


def test_certificates_withstand_an_attack_and_the_figures_say_what_made_them(
    certified: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    arguments = ("results", "attack", str(certified.path), "--eps", "26/255", "--attack", QUICK, "--out", str(file))
    code, text = harness(monkeypatch, capsys, *arguments)
    assert code == 0 and "attacked certificates are broken" in text, text
    figures = json.loads(file.read_text())
    rows = certified.rows()
    beyond = (rows["radius"] > 26 / 255) & (rows["prediction"] >= 0)
    assert figures["attacked"] == beyond.sum() > 4 and figures["broken"] == 0
    assert figures["expected"] == pytest.approx(0.002 * beyond.sum())
    assert [level["sigma"] for level in figures["levels"]] == [0.25, 0.5]
    made_of = {"key": certified.key, "draws": 60, "alpha": 0.001, "seed": 0, "eps": 26 / 255, "model": "test-linear"}
    assert made_of.items() <= figures.items()
    code, text = harness(monkeypatch, capsys, *arguments[:-2], "--dry-run")
    assert code == 0 and f"classifier calls {figures['attacked'] * (60 + 4 * 2 * 2):,}" in text, text


def test_false_certificates_are_broken_the_same_ones_at_any_limit(
    forged: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[float, int]] = []
    whole = opened(forged, tmp_path, 3.0, draws=40).attack(lambda done, total: seen.append((done, total)))
    assert not whole.plausible and len(whole.levels[0].broken) > 2
    assert seen[-1] == (whole.attacked, whole.attacked) and seen == sorted(seen)
    tiled = replace(forged, spec=replace(forged.spec, gradient_tile=2))
    part = opened(forged, tmp_path, 3.0, draws=40, limit=2).attack()
    other = opened(tiled, tmp_path, 3.0, draws=40).attack()
    for level, few, same in zip(whole.levels, part.levels, other.levels, strict=True):
        assert few.attacked == 2 and same.broken == level.broken
        assert list(few.broken) == list(level.broken)[: len(few.broken)] and few.certified == level.certified
        assert all(one.answer != one.prediction for one in level.broken)
    code, text = harness(
        monkeypatch, capsys, "results", "attack", str(forged.path), "--eps", "3", "--attack", QUICK, "--draws", "40"
    )
    first = whole.levels[0].broken[0]
    assert code == 1 and f"broken {first.id}: class {first.prediction}" in text, text
    assert "so they do not hold what they say" in text


def test_an_attack_keeps_the_noise_that_it_names(certified: RunRecord, tmp_path: Path) -> None:
    for text in ("smooth-pgd:sigma=0.25,steps=1,draws=1", "smooth-pgd:0.25,steps=1,draws=1"):
        attacked = opened(certified, tmp_path, attack=text, limit=1, draws=40).attack()
        assert [level.sigma for level in attacked.levels] == [0.25, 0.25]


def test_few_broken_certificates_are_plausible_and_many_are_not() -> None:
    settings = CertificateAttack(0.25, draws=1000, alpha=0.001)
    one = BrokenCertificate("a", 1, 0.5, 2)
    for broken, plausible in ((0, True), (1, True), (2, True), (3, False)):
        outcome = AttackedRecord(settings, 0.001, [AttackedLevel("sigma=0.25", 0.25, 100, 100, [one] * broken)])
        assert outcome.plausible == plausible, outcome.sentences
    assert AttackedRecord(settings, 0.001, [AttackedLevel("sigma=0.25", 0.25, 9)]).plausible


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"eps": 0.0}, "eps=0 leaves no room"),
        ({"eps": -1.0}, "eps=-1 leaves no room"),
        ({"eps": 64.0}, "the largest radius is .* 64 of 255 is eps=64/255"),
        ({"eps": 0.9}, "no certificate reaches beyond eps=0.9; the largest radius is"),
        ({"norm": "linf"}, "hold in l2 balls. Take norm=l2"),
        ({"attack": "pgd"}, "pgd attacks the classifier, not the smoothed one"),
        ({"attack": "autoattack"}, "autoattack attacks the classifier, not the smoothed one"),
        ({"draws": 10}, "10 draws can break no certificate.*Take at least 11"),
        ({"alpha": 1.5}, "alpha=1.5 is not the probability"),
    ],
)
def test_wrong_settings_are_named(certified: RunRecord, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        opened(certified, tmp_path, **changes)


def test_records_without_certificates_tables_or_their_own_networks_are_refused(
    certified: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certified.path
    alone = shutil.copy(certified.path, tmp_path)
    shipped = next(SHIPPED.glob("digits.resnet--default--*.json"))
    wrong = {alone: "sample table belongs beside it", shipped: "the suite digits certifies nothing"}
    for file, words in wrong.items():
        code, text = harness(monkeypatch, capsys, "results", "attack", str(file), "--eps", "0.1")
        assert code == 2 and words in text and "Traceback" not in text, text
    other = replace(certified, model=replace(certified.model, sha256="4" * 64))
    with pytest.raises(HarnessError, match=r"of other inputs than these\. model had SHA-256 4444"):
        opened(other, tmp_path / "out")
    with pytest.raises(HarnessError, match=r"--denoiser digits: gaussian of .* takes none"):
        CertifiedRecord.open(certified, CertificateAttack(0.1), tmp_path, WeightFiles(), denoiser="digits")
