"""The setting `corruption` of suites that corrupt on the fly, and corruptions of plugin files in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import harness

from harness import plugins
from harness.data.corruptions import STANDARD
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.plugins import discovery
from harness.types import HarnessError, RunSpec

SPEC = RunSpec(
    suite="digits-c:corruption=gaussian_noise,stripes",
    models=("digits/resnet",),
    methods=("default",),
    denoiser=None,
    limit=3,
    tile=4,
)

STRIPES = """
from beside_it import strength
from harness.plugins import corruption


@corruption("stripes")
def stripes(images, severity, rngs):
    for image, rng in zip(images, rngs):
        image[:, int(rng.integers(4)) :: 4] *= strength(severity)
    return images
"""


@pytest.fixture
def stripes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plugin file with a corruption, which imports a module beside it."""
    monkeypatch.setattr(discovery, "_beside", discovery._Beside())
    (tmp_path / "beside_it.py").write_text("def strength(severity):\n    return 1 - severity / 6\n")
    file = tmp_path / "stripes.py"
    file.write_text(STRIPES)
    plugins.discover(file)
    yield file
    sys.modules.pop("beside_it", None)


def run(out: Path, **changes: object) -> RunRecord:
    (path,) = loop.run(prepare(replace(SPEC, **changes), out))
    return record.load(path)


@pytest.mark.parametrize(
    "text, canonical",
    [
        (f"digits-c:corruption={','.join(STANDARD)}", "digits-c"),
        ("digits-c:corruption=standard", "digits-c"),
        ("digits-c:corruption=mine,fog,standard", None),
        ("digits-c:corruption=saturate,mine,fog,brightness,a", "digits-c:corruption=fog,brightness,saturate,a,mine"),
        ("digits-c:corruption=mine,standard,severity=1,5", "digits-c:severity=1,5,corruption=standard,mine"),
    ],
)
def test_a_list_of_corruptions_has_one_spelling(text: str, canonical: str | None) -> None:
    if canonical is None:
        with pytest.raises(HarnessError, match="names fog twice"):
            plugins.suite.configure(text)
    else:
        assert plugins.suite.configure(text).text == canonical
        assert plugins.suite.configure(canonical).text == canonical


@pytest.mark.parametrize(
    "text, message",
    [
        ("digits-c:extra=true,corruption=fog", "extra adds to the 15"),
        ("digits-c:frost=x,corruption=fog", "frost= means nothing without frost"),
    ],
)
def test_settings_that_contradict_the_list_are_refused(text: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        plugins.suite.configure(text)


def test_every_named_corruption_enters_the_mean_and_no_mce_is_given() -> None:
    suite = plugins.suite.configure("digits-c:corruption=speckle_noise,mine").plugin
    assert [(c.name, c.scored) for c in suite.conditions()] == [("speckle_noise/5", True), ("mine/5", True)]
    assert suite.reference() is None and suite.facts() == {}
    assert plugins.suite.configure("digits-c").plugin.facts() == {"frost": "procedural-1"}


def test_corruptions_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = harness(monkeypatch, capsys, "list", "corruptions")
    assert code == 0 and "gaussian_noise" in printed and "saturate" in printed


def test_an_unknown_corruption_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"Unknown corruption 'strips'.*needs --plugin FILE.py"):
        prepare(replace(SPEC, suite="digits-c:corruption=fog,strips"), tmp_path)


def test_a_plugins_corruption_is_evaluated_and_identified(stripes: Path, tmp_path: Path) -> None:
    entry = run(tmp_path)
    source = plugins.corruption["stripes"].source
    assert len(source) == 64
    assert entry.suite == SPEC.suite and entry.facts == {"corruption stripes": source[:12]}
    assert entry.plugins == {"corruption stripes": f"stripes.py {source}"}
    assert entry.metric("mean_accuracy", "mean") and entry.metric("accuracy", "stripes/5")
    assert any("gaussian_noise, stripes, not the benchmark's 15" in note for note in entry.notes)


def test_one_corruption_at_one_severity_is_shown_by_its_accuracy(stripes: Path, tmp_path: Path) -> None:
    entry = run(tmp_path, suite="digits-c:corruption=stripes")
    assert entry.columns[0] == ("accuracy", "stripes/5") and entry.metric(*entry.columns[0])
    assert not [note for note in entry.notes if "Means are over" in note]
    assert plugins.suite.configure("digits-c").plugin.shown[0] == ("mean_accuracy", "mean")


def test_a_change_of_a_module_beside_a_corruption_changes_the_key(stripes: Path, tmp_path: Path) -> None:
    def key() -> str:
        job = prepare(SPEC, tmp_path)
        return job.key(job.pairs[0])

    first = key()
    beside = stripes.with_name("beside_it.py")
    beside.write_text(beside.read_text() + "# changed\n")
    plugins.corruption._entries.pop("stripes")
    discovery._discovered.discard(str(stripes.resolve()))
    plugins.discover(stripes)
    assert key() != first


def test_without_the_setting_nothing_of_a_record_changes(stripes: Path, tmp_path: Path) -> None:
    job = prepare(replace(SPEC, suite="digits-c"), tmp_path)
    assert job.suite.facts() == {"frost": "procedural-1"} and job.origins(job.pairs[0]) == {}


def test_a_record_of_a_plugins_corruption_is_read_and_compared_without_the_plugin(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "results")
    run(tmp_path / "results", models=("digits/vit",))
    plugins.corruption._entries.pop("stripes")
    pair = ("digits/resnet:default", "digits/vit:default")
    code, printed = harness(monkeypatch, capsys, "compare", *pair, "--results", str(tmp_path / "results"))
    assert code == 0 and "stripes" in printed, printed


def test_a_corruption_that_depends_on_chance_or_on_the_batch_stops_the_run(tmp_path: Path) -> None:
    plugins.corruption("chance")(lambda images, severity, rngs: torch.rand(images.shape))
    plugins.corruption("batch")(lambda images, severity, rngs: (images / images.mean() / 9).clamp(0, 1))
    plugins.corruption("coin")(lambda images, severity, rngs: images * float(rngs[0].uniform() < 0.5))
    plugins.corruption("first")(lambda images, severity, rngs: images[:1].expand_as(images))
    beside = "beside other images than alone"
    cases = {"chance": "other outputs for the same images", "batch": beside, "coin": beside, "first": beside}
    for name, message in cases.items():
        with pytest.raises(HarnessError, match=f"Corruption '{name}' at severity 5 gives .*{message}"):
            prepare(replace(SPEC, suite=f"digits-c:corruption=fog,{name}"), tmp_path)
