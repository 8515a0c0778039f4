"""Plugins as objects: methods, suites and detectors that the caller has built."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import harness
from harness import plugins
from harness.api.live.identity import identity_of
from harness.api.live.objects import texts_of
from harness.evaluation.records.record import RunRecord
from harness.types import Classifier, HarnessError, Response, Views

FEW: dict[str, Any] = {"suite": "digits", "limit": 8, "tile": 4, "progress": False}


@dataclass(frozen=True)
class Sharper:
    """Class probabilities at another temperature."""

    temperature: float = 0.5

    def __call__(self, views: Views, classifier: Classifier) -> Tensor:
        return (classifier(views.original()) / self.temperature).softmax(-1)


def evaluated(tmp_path: Path, *methods: Any, **changes: Any) -> list[RunRecord]:
    return harness.evaluate("digits/resnet", methods=list(methods), out=tmp_path, **{**FEW, **changes})


def test_an_object_of_a_registered_class_is_its_text(tmp_path: Path) -> None:
    build = plugins.method["de"].build
    (by_object,) = evaluated(tmp_path, build(times=(0, 50)))
    (by_text,) = evaluated(tmp_path, "de:0,50")
    assert by_object == by_text and by_object.method == "de:times=0,50" and not by_object.plugins
    assert texts_of(plugins.suite, plugins.suite["digits-c"].build(severity=(3,))) == ["digits-c:severity=3"]


def test_an_object_of_another_class_runs_under_the_name_of_its_class(tmp_path: Path) -> None:
    plain, sharp, sharper = evaluated(tmp_path, "default", Sharper(), Sharper(temperature=0.25))
    assert [r.method for r in (sharp, sharper)] == ["Sharper", "Sharper:temperature=0.25"]
    assert (sharper.rows()["confidence"] >= sharp.rows()["confidence"]).all()
    assert np.array_equal(plain.rows()["prediction"], sharp.rows()["prediction"])
    assert sharp.plugins["test-time method"].startswith("live object Sharper ")
    assert any("live object as test-time method 'Sharper'" in note for note in sharp.notes)
    assert not any("live object" in note for note in plain.notes)
    frame = harness.compare(plain, sharp)
    assert frame["difference"].tolist() == [0.0]


def test_a_function_is_a_method_too_and_its_code_decides_the_key(tmp_path: Path) -> None:
    def flipped(views: Views, classifier: Classifier) -> Tensor:
        return classifier(views.original().flip(-1)).softmax(-1)

    def other(views: Views, classifier: Classifier) -> Tensor:
        return classifier(views.original().flip(-2)).softmax(-1)

    other.__name__ = "flipped"
    (first,) = evaluated(tmp_path, flipped)
    (second,) = evaluated(tmp_path, other)
    assert first.method == second.method == "flipped" and first.key != second.key
    with pytest.raises(HarnessError, match="Two objects are the test-time method 'flipped'"):
        evaluated(tmp_path, flipped, other)


def test_the_identity_covers_state_helpers_and_constants() -> None:
    source = (
        "OFFSET = {offset}\ndef help(x): return x {sign} OFFSET\nclass Own:\n  def __call__(self, x): return help(x)\n"
    )

    def own(offset: int = 1, sign: str = "+", comment: str = "", **state: Any) -> str:
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(comment + source.format(offset=offset, sign=sign), scope)
        thing = scope["Own"]()
        vars(thing).update(state)
        return identity_of(thing)[0]

    assert own() == own(comment="# a comment\n")
    others = [own(offset=2), own(sign="-"), own(state=1), own(state=torch.ones(2)), own(state=torch.zeros(2))]
    assert len({own(), *others}) == 6


def test_what_no_hash_covers_never_counts_as_the_same() -> None:
    import threading

    @dataclass
    class Locked:
        lock: Any = field(default_factory=threading.Lock)

    thing = Locked()
    (first, unhashed), (second, _) = identity_of(thing), identity_of(thing)
    assert first != second and unhashed == ["lock"]


def test_a_suite_can_be_an_object(tmp_path: Path) -> None:
    base = plugins.suite["digits"].build

    class Inverted(base):  # type: ignore[misc, valid-type]
        """Digits, registered nowhere."""

        name = "digits-own"
        version = 3

    (record,) = evaluated(tmp_path, "default", suite=Inverted())
    (usual,) = evaluated(tmp_path, "default", suite="digits")
    assert (record.suite, record.suite_version) == ("digits-own", 3) and record.plugins["suite"]
    assert record.metric("accuracy") == usual.metric("accuracy")
    assert any("live object as suite 'digits-own'" in note for note in record.notes)
    with pytest.raises(HarnessError, match="lacks name, version"):
        harness.evaluate("digits/resnet", suite=object(), out=tmp_path)


def test_an_object_cannot_take_the_name_of_a_registered_plugin(tmp_path: Path) -> None:
    thing = Sharper()
    object.__setattr__(thing, "name", "default")
    with pytest.raises(HarnessError, match="is registered as 'default'"):
        evaluated(tmp_path, thing)
    with pytest.raises(HarnessError, match="Sharper is a class"):
        evaluated(tmp_path, Sharper)


class Length:
    """Largest logit, less than nothing learnt."""

    def __call__(self, seen: Response) -> Tensor:
        return seen.logits.amax(1)


def test_a_detector_can_be_an_object(tmp_path: Path) -> None:
    records = harness.evaluate(
        "digits/resnet", "openood-digits", detectors=["maxlogit", Length()], every=60, out=tmp_path, progress=False
    )
    listed, own = records
    assert own.method == "Length" and np.array_equal(own.rows()["score"], listed.rows()["score"])
    frame = harness.compare(listed, own)
    assert (frame["difference"] == 0).all() and "data set" in frame
