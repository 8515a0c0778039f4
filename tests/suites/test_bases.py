"""Common parts of all suites: facts in the decorator, defaults of the bases, budgets, and votes under noise."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ROOT, run_small
from torch import Tensor

from harness import plugins
from harness.data import open_dataset
from harness.evaluation.views.batch import BatchViews
from harness.models.tiles import Tiles
from harness.suites.bases.covariate_shift import CleanAccuracy, CovariateShift
from harness.suites.bases.suite import SuiteBase
from harness.suites.bases.votes import VoteCounts, vote_rounds
from harness.types import Batch, Condition, Dataset, HarnessError, Pair, Weights

LONGEST = 80
"""Lines of a suite's class, with decorators and docstring."""


def own_suites() -> list[plugins.Entry]:
    return [entry for entry in plugins.suite.entries() if entry.build.__module__.startswith("harness.suites")]


def test_every_module_of_a_plugin_package_is_imported() -> None:
    for package in ("registry", "suites"):
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(("harness", *parts)).removesuffix(".__init__")
            assert name in sys.modules, f"{file} is not found: harness.plugins.discover imports every module"
    assert {entry.build.__module__ for entry in own_suites()} >= {
        "harness.suites.digits",
        "harness.suites.imagenet.corrupted",
    }


def test_a_suite_fits_a_page_and_says_its_name_once() -> None:
    for entry in own_suites():
        lines, _ = inspect.getsourcelines(entry.build)
        assert len(lines) <= LONGEST, f"{entry.name} has {len(lines)} lines"
        assert "".join(lines).count(f'"{entry.name}"') - "".join(lines).count(f'dataset="{entry.name}"') <= 2
        assert entry.build.name == entry.name and {"version", "dataset"} <= entry.facts.keys()


SETTINGS = {
    "certify": "sigma n n0 alpha radii",
    "cifar10": "data",
    "cifar10-c": "severity extra data clean",
    "cifar10-c-gen": "severity extra frost corruption data",
    "cifar10-certify": "sigma n n0 alpha radii data",
    "conditional-diffaug": "times lambdas",
    "de-times": "severity extra frost corruption step last",
    "digits": "",
    "digits-c": "severity extra frost corruption",
    "entropy-vs-t": "times",
    "folder": "data image_size split",
    "folder-c": "severity extra frost corruption data image_size split",
    "gradient-alignment": "times kinds target judge step control",
    "imagenet": "data",
    "imagenet-3dcc": "severity data clean protocol",
    "imagenet-a": "data clean protocol",
    "imagenet-c": "severity extra data clean protocol",
    "imagenet-c-bar": "severity data clean protocol",
    "imagenet-c-gen": "severity extra frost corruption data protocol",
    "imagenet-certify": "sigma n n0 alpha radii data",
    "imagenet-d": "data clean protocol",
    "imagenet-r": "data clean protocol",
    "imagenet-sketch": "data clean protocol",
    "imagenet-stylized": "data clean protocol",
    "imagenet-v2": "data clean protocol variant",
    "noisy-accuracy": "times",
    "openood-cifar10": "data full_spectrum",
    "openood-digits": "full_spectrum",
    "openood-imagenet": "data full_spectrum",
}


def test_the_order_of_settings_stays_as_it_is_written_in_records() -> None:
    """Canonical texts of suites are part of the keys of records."""
    orders = {entry.name: " ".join(entry.parameters) for entry in own_suites()}
    assert {name: orders[name] for name in SETTINGS} == SETTINGS


def test_the_decorator_states_the_facts_of_a_suite() -> None:
    @plugins.suite("test/facts", version=3, dataset="digits", denoiser="digits", every=4)
    @dataclass(frozen=True)
    class Facts(CleanAccuracy):
        severity: int = 2

    configured = plugins.suite.configure("test/facts:severity=3")
    suite = configured.plugin
    assert configured.text == "test/facts:severity=3"
    facts = suite.name, suite.version, suite.dataset, suite.denoiser, suite.every
    assert facts == ("test/facts", 3, "digits", "digits", 4)
    assert (CleanAccuracy.version, CleanAccuracy.every, CleanAccuracy.denoiser) == (1, 1, None), (
        "bases stay as they are"
    )
    assert len(suite.open(suite.conditions()[0], 0).ids) == 600


def test_a_fact_that_no_suite_has_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"Unknown fact 'datset' of @suite\('test/typo'\). Did you mean dataset"):
        plugins.suite("test/typo", datset="digits")


def test_a_suite_with_class_attributes_and_columns_keeps_working(tmp_path: Path) -> None:
    """As suites were written before there were facts in the decorator, and before `columns` was called `shown`."""
    file = tmp_path / "former.py"
    file.write_text(
        """
from dataclasses import dataclass
from typing import ClassVar
from harness.data import open_dataset
from harness.plugins import suite
from harness.suites.bases.covariate_shift import CovariateShift
from harness.types import Condition

class Base(CovariateShift):
    columns = (("accuracy", "clean"), ("nll", "clean"))

@suite("test/former")
@dataclass(frozen=True)
class Former(Base):
    name: ClassVar[str] = "test/former"
    version: ClassVar[int] = 2
    dataset: ClassVar[str] = "digits"

    def conditions(self):
        return [Condition("clean", "clean")]

    def open(self, condition, seed):
        return open_dataset("digits", "test")
"""
    )
    plugins.discover(file)
    changes = {"suite": "test/former", "models": ("digits/resnet",), "methods": ("default",), "denoiser": None}
    (entry,) = run_small(tmp_path / "out", changes)
    assert [list(pair) for pair in entry.columns] == [["accuracy", "clean"], ["nll", "clean"]]
    assert entry.suite_version == 2 and entry.metric(*entry.columns[0])


def test_a_suite_shows_what_its_nearest_class_says() -> None:
    class Former(CovariateShift):
        columns = (("accuracy", "a"),)

    @plugins.suite("test/newer", dataset="digits")
    class Newer(Former):
        shown = (("accuracy", "b"),)

    assert plugins.suite["test/newer"].build.shown == (("accuracy", "b"),)
    plugins.suite("test/older", dataset="digits")(type("Older", (Newer,), {"columns": (("accuracy", "c"),)}))
    assert plugins.suite["test/older"].build.shown == (("accuracy", "c"),)


def test_a_suite_without_learning_leaves_its_pairs_as_they_are(tmp_path: Path) -> None:
    suite = SuiteBase()
    pairs: list[Any] = [object()]
    assert suite.prepare(pairs, lambda batch: None, tmp_path, print) is pairs  # type: ignore[arg-type, return-value]
    assert suite.check([], None) is None and suite.facts() == {}
    with pytest.raises(NotImplementedError):
        suite.conditions()


def test_certification_and_corruption_take_the_test_images_of_their_data_set() -> None:
    for name in ("certify", "digits-c", "entropy-vs-t", "noisy-accuracy", "digits"):
        suite = plugins.suite.configure(name).plugin
        assert suite.open(suite.conditions()[-1], 0).ids == open_dataset("digits", "test").ids, name


# --- votes under noise --------------------------------------------------------------------------------------------


class Passing:
    """A smoother that shows the image itself."""

    votes, calls = 1, 0

    def __call__(self, images: Tensor, *_: Any) -> Tensor:
        return images


def voters(methods: str) -> list[Pair]:
    """A pair per letter, whose method it names: pair k answers class k, whatever the image."""
    return [Pair("model", method, _answers(k), Passing(), Weights("model", "", "")) for k, method in enumerate(methods)]


def _answers(k: int) -> Any:
    return lambda images: torch.eye(3)[k].expand(len(images), 3)


def test_a_round_goes_to_the_classifiers_and_images_that_still_want_it() -> None:
    pairs, rounds = voters("aab"), [range(0, 2), range(2, 6)]
    counts = [VoteCounts.resume(None, 3, 3) for _ in pairs]
    counts[0].settled[0] = True
    counts[2].settled[:] = torch.tensor([False, True, True])
    batch = Batch(("x", "y", "z"), torch.rand(3, 3, 4, 4), torch.zeros(3, dtype=torch.int64))
    views, asked = BatchViews(batch, None, Tiles(8), seed=0), []
    for vote_round in vote_rounds(pairs, counts, rounds, lambda smoother: 2):
        asked.append((vote_round.draws, vote_round.voters, vote_round.images.tolist(), vote_round.wanted.tolist()))
        votes = vote_round.cast(views, 0.5, pairs, 3)
        for k, ballot, wanted in zip(vote_round.voters, votes, vote_round.wanted, strict=True):
            counts[k].add(vote_round.images[wanted], ballot[wanted], selecting=vote_round.draws.stop <= 2)
        if vote_round.draws.stop == 2:
            counts[1].settled[2] = True
    first, second = rounds
    assert asked == [
        (first, [0, 1], [0, 1], [[False, True], [True, True]]),
        (first, [0, 1], [2], [[True], [True]]),
        (first, [2], [0], [[True]]),
        (second, [0, 1], [0, 1], [[False, True], [True, True]]),
        (second, [0, 1], [2], [[True], [False]]),
        (second, [2], [0], [[True]]),
    ]
    assert counts[0].selection.tolist() == [[0, 0, 0], [2, 0, 0], [2, 0, 0]]
    assert counts[1].estimation.tolist() == [[0, 4, 0], [0, 4, 0], [0, 0, 0]]
    assert counts[2].drawn().tolist() == [6, 0, 0]
    assert counts[2].progress(6) == 1 and counts[0].stand_between(rounds)


def test_counts_in_the_middle_of_a_round_stand_between_none() -> None:
    counts = VoteCounts.resume({"selection": torch.tensor([[3, 0], [2, 0]], dtype=torch.int32)}, 2, 2)
    assert counts.drawn().tolist() == [3, 2] and not counts.settled.any()
    assert not counts.stand_between([range(0, 2), range(2, 6)])
    counts.settled[0] = True
    assert counts.stand_between([range(0, 2), range(2, 6)]), "a settled image may stand anywhere"
    assert counts.waiting_for(range(2, 6)).tolist() == [False, True]


def test_a_draw_of_several_votes_goes_to_their_most_frequent_class() -> None:
    class Three(Passing):
        votes = 3

    answers = iter([0, 2, 2, 1, 1, 2])
    pair = Pair("m", "s", lambda images: torch.eye(3)[[next(answers)] * len(images)], Three(), Weights("m", "", ""))
    counts = [VoteCounts.resume(None, 1, 3)]
    batch = Batch(("x",), torch.rand(1, 3, 4, 4), torch.zeros(1, dtype=torch.int64))
    views = BatchViews(batch, None, Tiles(8), seed=0)
    for vote_round in vote_rounds([pair], counts, [range(0, 1), range(1, 2)], lambda smoother: 1):
        (votes,) = vote_round.cast(views, 0.5, [pair], 3)
        counts[0].add(vote_round.images, votes, selecting=vote_round.draws.start == 0)
    assert counts[0].selection.tolist() == [[0, 0, 1]] and counts[0].estimation.tolist() == [[0, 1, 0]]


def test_conditions_of_a_clean_suite_name_how_many_images_were_published() -> None:
    class Small(CleanAccuracy):
        size = 7

    plugins.suite("test/small", dataset="digits")(Small)
    suite: Any = plugins.suite["test/small"].build()
    assert suite.conditions() == [Condition("clean", "clean", size=7)]
    data: Dataset = suite.test_images()
    assert data.name == "digits"
