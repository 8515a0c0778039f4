"""Shipped results are those that this code computes: checkpoints, reference, records, leaderboard."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CHEAP, ROOT, SMALL, run_small

from harness import plugins
from harness.base.files import file_sha256
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.exchange.inputs import DataAtHand
from harness.exchange.verify import OK, examine
from harness.metrics.paired import holm
from harness.models.lookup import bundled, find_classifier, load_classifier
from harness.models.tiles import TiledClassifier, Tiles
from harness.report import boards, comparison, leaderboard, names, selection
from harness.report.published.paper_tables import paper_tables
from harness.report.table import markdown
from harness.types import HarnessError

RESULTS = ROOT / "results"
CARDS = sorted((ROOT / "registry" / "checkpoints").glob("*.json"))
TRAINED = ("resnet", "resnet+augmix", "resnet+deepaugment", "resnet+augmix+deepaugment", "vit")
BUNDLED = tuple(f"digits/{name}{more}" for name in TRAINED for more in ("", "+diffaug"))


def shipped() -> list[RunRecord]:
    return [r for r in boards.find(RESULTS) if r.path and not boards.is_local(r.path, RESULTS)]


def recomputable(entry: RunRecord) -> bool:
    """True for records of this project's weights and code alone; rows of others may need files that are not here."""
    return entry.model.name in BUNDLED and not entry.plugins


@pytest.mark.parametrize("file", CARDS, ids=lambda p: p.stem)
def test_cards_tell_the_truth(file: Path) -> None:
    card = json.loads(file.read_text())
    path, sha256 = bundled(file.stem)
    assert file_sha256(path) == sha256 == card["sha256"]
    assert path.stat().st_size < 5_500_000
    assert card["command"].startswith("harness train") and card["steps"] > 0 and card["seconds"] > 0
    if "clean_accuracy" in card:
        classes = find_classifier(file.stem.replace("-", "/", 1))[1].details["classes"]
        assert classes == card["classes"] and len(classes) == 10, "the file is older than names: its card has them"
    assert (card["data"]["name"] == "digits") == file.stem.startswith("digits-")
    if card["data"]["name"] == "digits":
        assert card["data"]["sha256"] == plugins.dataset["digits"].build("train").sha256
    if card["data"]["name"] == "digits" and "clean_accuracy" in card:
        data = plugins.dataset["digits"].build("test")
        batch = data.read(range(len(data.ids)))
        network, _ = load_classifier(path)
        correct = TiledClassifier(network, Tiles(100))(batch.images).argmax(1) == batch.labels
        assert float(correct.double().mean()) == pytest.approx(card["clean_accuracy"]["value"], abs=1 / 600 + 1e-9)
        assert card["clean_accuracy"]["value"] > 0.95


def test_there_are_cards_for_everything_bundled() -> None:
    assert {c.stem for c in CARDS} == {name.replace("/", "-") for name in BUNDLED} | {
        "digits-encoder+da",
        "digits-encoder+noisy",
        "digits-unet",
        "digits-unet-conditional",
        "cifar10-unet-conditional",
        "digits-autoencoder",
        "cifar10-resnet",
    }


def test_the_table_is_whole() -> None:
    """All classifiers by all methods, on the corrupted and on the clean digits, every test image."""
    for suite in ("digits-c", "digits"):
        entries = [r for r in shipped() if r.suite == suite and r.status == "complete"]
        pairs = {(r.model.name, r.method.partition(":")[0]) for r in entries}
        assert pairs >= {(m, t) for m in BUNDLED for t in ("default", "dda", "dda-se", "de")}
        assert all(m.n == 600 for r in entries for m in r.metrics)


def test_shipped_records_are_verified() -> None:
    """One of each suite; ``harness results verify results`` in .ci/run verifies all."""
    by_suite = {entry.suite: entry for entry in shipped()}
    plugins.discover()
    inputs = DataAtHand()
    for entry in by_suite.values():
        assert entry.sha256 and entry.path
        verdict = examine(entry.path, inputs)
        assert verdict.outcome == OK, [*map(str, verdict.differences), *verdict.reasons]


def test_shipped_records_are_what_this_code_would_compute(tmp_path: Path) -> None:
    """Their keys cover weights, data, settings and the suites' versions."""
    entries = {r.key: r for r in shipped() if recomputable(r)}
    keys = set()
    runs: dict[Any, list[RunRecord]] = {}
    for r in entries.values():
        runs.setdefault((r.spec.suite, r.spec.every, r.spec.limit, r.spec.denoiser or "digits"), []).append(r)
    for (*_, denoiser), alike in runs.items():
        methods = tuple(sorted({r.method for r in alike}))
        spec = replace(alike[0].spec, models=tuple(sorted({r.model.name for r in alike})), methods=methods)
        job = prepare(replace(spec, denoiser=denoiser), tmp_path)
        keys |= {job.key(pair) for pair in job.pairs}
    assert entries.keys() <= keys


def test_records_are_renewed_from_their_sample_tables(benchmark: Callable[[str], Any]) -> None:
    """Intervals may change, values may not: the program stops at a record whose values are not those of its table."""
    entry = next(r for r in shipped() if r.suite == "digits")
    first, *others = entry.metrics
    renewed = benchmark("renew_records").renewed
    narrow = replace(entry, metrics=(replace(first, interval=(first.value, first.value)), *others))
    assert renewed(narrow) == renewed(entry) and renewed(entry).path == entry.path
    with pytest.raises(HarnessError, match=f"'{first.name}' of '{first.condition}' would change its value"):
        renewed(replace(entry, metrics=(replace(first, value=first.value / 2), *others)))


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """From a name to a program of studies/ as a module."""
    monkeypatch.syspath_prepend(ROOT / "studies")
    return importlib.import_module


def test_the_paired_tests_are_those_of_the_records(benchmark: Callable[[str], Any]) -> None:
    text = "\n".join(markdown(table) for table in benchmark("pairs").tables(RESULTS))
    assert text == (RESULTS / "pairs.md").read_text()


def test_intervals_over_seeds_are_student_s(benchmark: Callable[[str], Any]) -> None:
    """Three seeds of one pair, by hand: 2, 3 and 4 points, t(0.975, 2) = 4.3027; what was not trained is left open."""
    study = benchmark("ten_classifiers").STUDY
    scores = {"resnet": (0.70, 0.71, 0.72), "resnet+diffaug": (0.72, 0.74, 0.76)}
    rows = [
        {"classifier": name, "seed": str(seed), "seconds": "3600", **dict.fromkeys(study.columns, str(value))}
        for name, values in scores.items()
        for seed, value in enumerate(values)
    ]
    means, gains = study.tables(rows)
    assert means.rows[0] == ["resnet", *["71.0 [68.5, 73.5]"] * 4, "3"]
    assert gains.rows[0] == ["resnet+diffaug against resnet", *["+3.0 [0.5, 5.5]"] * 4, "3"]
    assert {len(row) for table in (means, gains) for row in table.rows} == {6}
    assert means.rows[-1] == ["vit+diffaug", "", "", "", "", "0"] and gains.rows[-1][-1] == "0"
    assert "6 trainings, 6.0 hours" in means.caption
    perfect = [{**row, **dict.fromkeys(study.columns, "1.0" if row["seed"] == "0" else "0.99")} for row in rows]
    assert study.tables(perfect)[0].rows[0][1] == "99.3 [97.9, 100.0]"


@pytest.mark.parametrize("program", ["ten_classifiers", "guidance"])
def test_tables_over_seeds_are_those_of_the_rows(program: str, benchmark: Callable[[str], Any], tmp_path: Path) -> None:
    study = benchmark(program).STUDY
    name = study.name
    rows = study.read()
    assert {(row["classifier"], row["seed"]) for row in rows} == {(n, s) for n in study.names for s in "012"}
    text = "\n".join(markdown(table) for table in study.tables(rows))
    assert text == (RESULTS / f"{name}.md").read_text()
    text, last = (RESULTS / f"{name}.csv").read_text(), study.names[-1]
    for wrong, message in (
        (text.replace("seconds", "minutes", 1), "other columns than"),
        (text.replace(f"\n{last},0,", "\nvip,0,"), r"line \d+: not a classifier of this study"),
        (text.rpartition(",")[0] + ",\n", "or a cell too few"),
        (text + text.splitlines()[-1] + "\n", "has a training twice"),
    ):
        (tmp_path / "other.csv").write_text(wrong)
        with pytest.raises(HarnessError, match=message):
            study.read(tmp_path / "other.csv")


def test_studies_say_what_is_not_trained(benchmark: Callable[[str], Any], tmp_path: Path) -> None:
    program = benchmark("ten_classifiers")
    with pytest.raises(HarnessError, match="Nothing is trained in"):
        program.STUDY.score(tmp_path, [0])
    with pytest.raises(HarnessError, match=r"lacks resnet, .* of seed 0\. Train first"):
        program.ship(tmp_path)


def test_the_leaderboard_is_rebuilt_from_the_records() -> None:
    assert (RESULTS / "leaderboard.md").read_text() == leaderboard.page(shipped())


def test_the_reference_of_mce_is_the_plain_resnet() -> None:
    values = json.loads((ROOT / "suites" / "digits-c.reference.json").read_text())
    entry = next(r for r in shipped() if (r.suite, r.model.name, r.method) == ("digits-c", "digits/resnet", "default"))
    assert values["model"] == entry.model.name and values["sha256"] == entry.model.sha256
    assert len(values["error"]) == 19 * 5 and min(values["error"].values()) > 0
    for condition in plugins.suite.configure("digits-c").plugin.conditions():
        accuracy = entry.metric("accuracy", condition.name)
        assert accuracy and accuracy.value == pytest.approx(1 - values["error"][condition.name])
    mce = entry.metric("mce")
    assert mce and mce.value == pytest.approx(1.0)


def test_subsets_are_never_ranked_beside_whole_sets(tmp_path: Path) -> None:
    small_run = run_small(tmp_path, {**CHEAP, "suite": "digits-c", "models": SMALL.models})
    groups = boards.boards([*shipped(), *small_run])
    assert all(len({r.status for r in entries}) == 1 for entries in groups.values())
    small = small_run[0].board
    partial = groups[small]
    assert {e.status for e in partial} == {"partial"}
    assert "subset" in names.title(partial[0]) and "9 of 600" in names.title(partial[0])
    best = [r.metric("mean_accuracy") for r in partial]
    values = [m.value for m in best if m]
    assert values == sorted(values, reverse=True)


def test_one_metric_in_full() -> None:
    entries = next(e for e in boards.boards(shipped()).values() if e[0].suite == "digits-c")
    table = leaderboard.by_condition(entries, "accuracy")
    assert table.header[3:] == [m.condition for m in entries[0].metrics if m.name == "accuracy"]
    assert len(table.rows) == len(entries) >= 4 * len(BUNDLED) and table.title.endswith(": accuracy (%)")
    for entry, (*name, first, _) in zip(entries, (row[:5] for row in table.rows), strict=True):
        assert name[1:] == [entry.model.name, entry.method]
        assert first == names.spell(entry.metric("accuracy", table.header[3]))
    few = leaderboard.by_condition(entries, "accuracy", [0, 39])
    assert few.header[1:] == [f"{e.model.name}, {e.method}" for e in (entries[0], entries[39])] and len(few.rows) == 15
    assert [row[2] for row in few.rows] == table.rows[39][3:], "the longer side goes down"
    assert leaderboard.by_condition(entries, "mean accuracy").rows[0][3] == leaderboard.ranking(entries).rows[0][3]
    assert {entry.suite for entry in boards.having(shipped(), "mean accuracy")} >= {"digits-c", "noisy-accuracy"}
    with pytest.raises(record.HarnessError, match=r"Unknown metric 'acuracy'.*accuracy"):
        boards.having(entries, "acuracy")


def test_a_note_stands_once_with_the_names_of_its_rows() -> None:
    entries = next(e for e in boards.boards(shipped()).values() if e[0].suite == "certify")
    table = leaderboard.ranking(entries)
    caption, column = table.caption, table.header.index("note")
    notes = {note for entry in entries for note in entry.notes}
    beginnings, ends = ({note.rpartition(": ")[place].rstrip(".") for note in notes} for place in (0, 2))
    assert 1 < len(notes) < len(entries) and len(beginnings) == 1
    assert all(caption.count(text) == 1 for text in (*beginnings, *ends))
    marks = {entry.notes: row[column] for entry, row in zip(entries, table.rows, strict=True)}
    assert marks.keys() == {entry.notes for entry in entries} and set(marks.values()) == {"a", "b"}
    assert all(f"{mark}: {note[-1].rpartition(': ')[2].rstrip('.')}" in caption for note, mark in marks.items())


def test_comparison_agrees_with_the_two_records() -> None:
    result = comparison.compare(
        *selection.select_two("digits/resnet:default", "digits/resnet+diffaug:de", shipped(), "digits-c")
    )
    a, b = (r.metric("mean_accuracy", "mean") for r in (result.a, result.b))
    assert a and b and result.mean.difference == pytest.approx(b.value - a.value)
    assert result.images == 600 and len(result.per_condition) == 15
    low, high = result.mean.interval
    assert low < result.mean.difference < high
    table = comparison.table(result)
    assert table.rows[-1][0] == "mean" and "McNemar" in table.caption and "15 tests (Holm)" in table.caption
    adjusted = holm([r.p for r in result.per_condition.values()])
    assert [row[-1] for row in table.rows] == [comparison.spell_p(p) for p in [*adjusted, result.mean.p]]
    swapped = comparison.compare(
        *selection.select_two("digits/resnet+diffaug:de", "digits/resnet:default", shipped(), "digits-c")
    )
    assert swapped.mean.difference == pytest.approx(-result.mean.difference)


def test_a_pair_is_of_whole_test_sets_and_never_guessed() -> None:
    of_suite = [r for r in shipped() if r.suite == "digits"]
    texts = ("digits/vit:default", "digits/vit:de")
    a, b = (next(r for r in of_suite if r.model.name == "digits/vit" and r.variant == m) for m in ("default", "de"))
    some, few = (
        [replace(r, status="partial", coverage=f"{n} of 600 images", path=Path(f"{n}-{r.key}.json")) for r in (a, b)]
        for n in (100, 20)
    )
    assert selection.select_two(*texts, [*few, *some, a, b]) == (a, b)
    assert selection.select_two(*texts, [*few, a]) == tuple(few), "a whole one needs a whole one"
    with pytest.raises(record.HarnessError, match=r"(?s)means 2 records.*100 of 600.*20 of 600|20 of 600.*100 of 600"):
        selection.select_two(*texts, [*few, *some])
    with pytest.raises(record.HarnessError, match="one and the same record"):
        selection.select_two("digits/vit", texts[0], of_suite)
    elsewhere = replace(a, suite="digits-c", path=Path("c.json"))
    assert selection.select_two(*texts, [elsewhere, a, b]) == (a, b), "the suite that both have"
    severer = [replace(r, suite="digits:every=thing", path=Path(f"s-{r.key}.json")) for r in (a, b)]
    assert selection.select_two(*texts, [*severer, a, b], "digits") == (a, b), (
        "the suite that was asked for, to the letter"
    )
    reseeded = replace(a, spec=replace(a.spec, seed=1), path=Path("r.json"))
    assert selection.select_two(*texts, [reseeded, some[0], b]) == (some[0], b), "the one that can be paired"


def test_records_of_different_worlds_cannot_be_paired() -> None:
    entries = shipped()
    clean = next(r for r in entries if r.suite == "digits")
    corrupted = next(r for r in entries if r.suite == "digits-c")
    with pytest.raises(record.HarnessError, match="suites differ"):
        comparison.compare(clean, corrupted)


def test_a_tampered_sample_table_is_noticed(tmp_path: Path) -> None:
    entry = next(r for r in shipped() if r.suite == "digits")
    assert entry.path
    for suffix in (".json", ".parquet"):
        (tmp_path / entry.path.with_suffix(suffix).name).write_bytes(entry.path.with_suffix(suffix).read_bytes())
    copy = record.load(tmp_path / entry.path.name)
    assert np.array_equal(copy.rows()["label"], entry.rows()["label"])
    file = tmp_path / copy.samples["file"]
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(record.HarnessError, match="SHA-256 differs"):
        copy.rows()


def test_published_numbers_are_labelled() -> None:
    tables = paper_tables(RESULTS)
    table = next(t for t in tables if t.title.startswith("imagenet-c"))
    assert all("published" in t.title and "not measured here" in t.title for t in tables)
    row = dict(zip(table.header, next(r for r in table.rows if r[0] == "rn50+diffaug"), strict=True))
    assert row["de"] == "32.22" and row["default"] == "20.87"
