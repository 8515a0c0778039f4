"""Published tables beside measured numbers: what fills a cell, what does not, and what is missing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from helpers import ROOT, harness

from harness import plugins
from harness.base.errors import HarnessError
from harness.cli.app import app
from harness.evaluation.records import keys, record
from harness.evaluation.records.record import RunRecord
from harness.report.published import paper_tables, reproduction
from harness.report.published.mapping import OPTIONS, Grid, Measurement
from harness.report.published.missing import CallTotals, Missing, duration, missing
from harness.report.published.reproduction import Filled, PublishedBlock
from harness.train import recipes
from harness.types import Metric

RESULTS = ROOT / "results"
PAPERS = paper_tables.papers(RESULTS)
BLOCKS = {block.name: block for block in reproduction.blocks(PAPERS)}
TABLE1 = BLOCKS["imagenet-c_severity5_top1"]


def cells(block: PublishedBlock) -> Iterator[Filled]:
    """The cells of a block and of its shape on digits, without records."""
    for grid in filter(None, (block.paper.measured_by, block.paper.digits)):
        yield from reproduction.fill(grid, [])


@pytest.fixture(scope="module")
def fabricated() -> RunRecord:
    """A record as `imagenet-c` leaves one: ResNet-50 under `de`, 32.5 % of 50,000 images."""
    entry = record.load(next(RESULTS.glob("digits-c/digits.resnet--de--*.json")))
    assert entry.denoiser
    return replace(
        entry,
        suite="imagenet-c:data=/x,protocol=resize256",
        coverage="50000 of 50000 images",
        model=replace(entry.model, name="resnet50"),
        denoiser=replace(entry.denoiser, name="adm256"),
        metrics=[Metric("mean_accuracy", "mean", 0.325, (0.321, 0.329), 50000, "fraction", True)],
    )


def test_the_blocks_are_those_of_the_paper() -> None:
    assert [(b.paper.table, len(b.paper.rows) * len(b.paper.columns)) for b in BLOCKS.values()] == [
        ("table1", 40), ("table1", 40), ("table2", 24), ("table3", 16), ("table13", 12), ("table4", 10), ("table4", 12),
    ]  # fmt: skip
    assert PAPERS[0].not_at_hand == ("table7", "table10", "table12", "table15")
    assert [block.name for block in reproduction.select("table1", PAPERS)] == list(BLOCKS)[:2]


@pytest.mark.parametrize("name", BLOCKS)
def test_everything_that_a_block_is_measured_by_exists(name: str) -> None:
    plugins.discover()
    for cell in (filled.cell for filled in cells(BLOCKS[name])):
        entry = plugins.suite.of(cell.suite)
        data = ("," if ":" in cell.suite else ":") + "data=x" if "data" in entry.parameters else ""
        configured = plugins.suite.configure(cell.suite + data)
        assert keys.benchmark(configured.text) == cell.suite and configured.plugin.version == cell.version
        assert configured.plugin.axis == cell.axis
        assert plugins.AXES[cell.axis].configure(cell.method).text == cell.method
        assert cell.model in plugins.model or cell.model == f"runs/{cell.recipe}"
        assert not cell.recipe or cell.recipe in recipes.names()
        sizes = [condition.size for condition in configured.plugin.conditions()]
        assert cell.images or all(sizes), "the number of images is known"


@pytest.mark.parametrize("name", BLOCKS)
def test_commands_for_what_is_missing_parse(name: str) -> None:
    command: Any = typer.main.get_command(app)
    runs = missing(list(cells(BLOCKS[name])))
    assert sum(run.numbers for run in runs) == len(list(cells(BLOCKS[name])))
    for run in runs:
        program, subcommand, *arguments = shlex.split(run.command)
        context = command.commands[subcommand].make_context(subcommand, arguments)
        assert (program, tuple(context.params["models"])) == ("harness", tuple(run.models))


def test_one_run_fills_a_table_whose_rows_lack_the_same_methods() -> None:
    (run,) = missing(reproduction.fill(TABLE1.paper.measured_by, [], TABLE1.paper))
    assert len(run.models) == 10 and run.methods == ("dda", "dda-se", "de", "default") and run.numbers == 40


def test_a_record_fills_its_cell_alone_with_difference_and_interval(fabricated: RunRecord) -> None:
    assert TABLE1.paper.measured_by
    filled = reproduction.fill(TABLE1.paper.measured_by, [fabricated], TABLE1.paper)
    (cell,) = [cell for cell in filled if cell.metric]
    assert (cell.row, cell.column, cell.published) == ("rn50", "de", 27.12)
    assert cell.difference == pytest.approx(5.38)
    assert cell.spelled() == "27.12 → 32.50 (+5.38) [32.10, 32.90]"
    table = reproduction.table(TABLE1, [fabricated])
    assert table.rows[6] == ["rn50", "28.35", "30.62", cell.spelled(), "17.87"]
    assert "1 of 40 numbers are measured" in table.caption
    (row,) = [row for row in table.data if row["measured"]]
    assert (row["key"], row["n"], row["data"]) == (fabricated.key, 50000, "the paper's")
    others = missing(filled)
    assert {(run.models, run.methods, run.numbers) for run in others} >= {
        (("resnet50",), ("dda", "dda-se", "default"), 3)
    } and sum(run.numbers for run in others) == 39


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"status": "partial", "coverage": "100 of 50000 images (every 500th)"}, "covers 100 of 50000 images"),
        ({"suite": "imagenet-c:data=/x"}, "it is of imagenet-c, not imagenet-c:protocol=resize256"),
        ({"suite": "imagenet-c:data=/x,protocol=resize256,severity=3"}, "not imagenet-c:protocol=resize256"),
        ({"suite_version": 2}, "version 2 of the suite, not 1"),
        ({"plugins": {"method": "mine.py 00"}}, "made with method from outside"),
        ({"sha256": ""}, "no checksum"),
        ({"metrics": []}, "no mean_accuracy under mean"),
    ],
)
def test_a_subset_or_another_protocol_or_version_fills_no_cell(
    fabricated: RunRecord, changes: dict[str, Any], reason: str
) -> None:
    table = reproduction.table(TABLE1, [replace(fabricated, **changes)])
    assert "0 of 40 numbers are measured" in table.caption and reason in table.caption
    assert all("→" not in cell for row in table.rows for cell in row)


def test_a_protocol_of_every_k_th_image_takes_no_other_ones(fabricated: RunRecord) -> None:
    block = BLOCKS["imagenet_certified_accuracy"]
    assert block.paper.measured_by and fabricated.denoiser
    certified = replace(
        fabricated,
        suite="imagenet-certify:data=/x",
        method="denoise",
        model=replace(fabricated.model, name="vit-b16"),
        status="partial",
        coverage="1000 of 50000 images (every 50th)",
        spec=replace(fabricated.spec, every=50),
        metrics=[Metric("certified_accuracy", "best sigma r=0.5", 0.4, (0.37, 0.43), 1000, "fraction", True)],
    )
    other = replace(certified, coverage="500 of 50000 images (every 100th)", spec=replace(certified.spec, every=100))
    short = replace(certified, coverage="20 of 50000 images (every 50th)", spec=replace(certified.spec, limit=20))
    for entry, count in ((certified, 1), (other, 0), (short, 0)):
        filled = reproduction.fill(block.paper.measured_by, [entry], block.paper)
        assert sum(cell.metric is not None for cell in filled) == count


def test_a_retrained_classifier_fills_the_cell_of_its_recipe(fabricated: RunRecord) -> None:
    block = BLOCKS["synthetic_data_top1"]
    assert block.paper.measured_by
    name = "/home/me/runs/resnet50+synth+diffaug/model.safetensors"
    entry = replace(fabricated, model=replace(fabricated.model, name=name))
    (cell,) = [c for c in reproduction.fill(block.paper.measured_by, [entry], block.paper) if c.metric]
    assert (cell.row, cell.column) == ("rn50+synth+diffaug/de", "imagenet-c_severity5")


def test_other_weights_in_a_folder_of_a_similar_name_fill_nothing(fabricated: RunRecord) -> None:
    block = BLOCKS["synthetic_data_top1"]
    assert block.paper.measured_by
    for name in ("/me/badruns/resnet50+synth+diffaug", "runs/old-resnet50+synth+diffaug", "resnet50+synth+diffaug"):
        entry = replace(fabricated, model=replace(fabricated.model, name=f"{name}/model.safetensors"))
        assert not [
            c for c in reproduction.fill(block.paper.measured_by, [entry], block.paper) if c.metric or c.reasons
        ]


def test_the_card_of_a_training_decides_that_it_is_of_the_recipe(fabricated: RunRecord, tmp_path: Path) -> None:
    block = BLOCKS["synthetic_data_top1"]
    assert block.paper.measured_by
    folder = tmp_path / "runs" / "resnet50+synth+diffaug"
    folder.mkdir(parents=True)
    entry = replace(fabricated, model=replace(fabricated.model, name=str(folder / "model.safetensors")), path=None)
    caption = reproduction.table(block, [entry]).caption
    assert f"No card confirms the training of {entry.key}" in caption and "1 of 24 numbers" in caption
    settings = dict(recipes.load(folder.name).settings)
    for changes, count, words in (({}, 1, ""), ({"lr": 0.1}, 0, "its card is of another training than")):
        card = {"sha256": entry.model.sha256, "spec": {**settings, "seed": 3, **changes}}
        (folder / "card.json").write_text(json.dumps(card))
        caption = reproduction.table(block, [entry]).caption
        assert f"{count} of 24 numbers" in caption and words in caption and "No card confirms" not in caption


def test_published_numbers_that_nothing_measures_are_rows_without_a_value() -> None:
    block = next(block for block in BLOCKS.values() if block.paper.measured_by is None)
    table = reproduction.table(block, [])
    numbers = [number for values in block.paper.rows.values() for number in values]
    assert [row["published"] for row in table.data] == numbers and len(numbers) == 10
    assert {row["measured"] for row in table.data} == {None} and all(row["reason"] for row in table.data)


def test_shipped_records_fill_the_shape_of_the_tables_on_digits() -> None:
    from harness.report import boards

    records = boards.find(RESULTS / "certify")
    block = BLOCKS["imagenet_certified_accuracy"]
    table = reproduction.table_on_digits(block, records)
    assert table and "handwritten digits" in table.title and "12 of 12" in table.caption
    assert [row[0] for row in table.rows] == ["digits/vit", "digits/vit+diffaug"]
    assert {row["published"] for row in table.data} == {None} and {row["data"] for row in table.data} == {"digits"}


def test_hours_rest_on_records_of_the_suite_and_are_left_out_without(fabricated: RunRecord) -> None:
    run = Missing("imagenet-c:protocol=resize256", "method", 1, 0, ["resnet50"], ["de"], 1)
    calls = CallTotals(750_000, 6_750_000, 0, 7_500_000)
    assert "no throughput of this suite is on record" in duration(run, calls, [])
    cost = replace(fabricated.cost, seconds=90.0, images=1000, denoiser_calls=9000, pairs=1)
    twice = [replace(fabricated, cost=cost), replace(fabricated, cost=cost, key="x")]
    text = duration(run, calls, twice)
    assert text.startswith("about 18.8 hours, at 10 ms per denoiser call as in 1 run on record (x86_64)")
    assert "no throughput" in duration(run, replace(calls, denoised=0), twice), "a run with a denoiser says nothing"


@pytest.mark.parametrize(
    "change, reason",
    [
        (
            {"rows": {"a": Measurement(model="m", method="x")}},
            "the rows that are measured, a, are not those",
        ),
        ({"columns": {}}, "the columns that are measured"),
    ],
)
def test_a_mapping_that_is_not_of_its_table_is_refused(change: dict[str, Any], reason: str) -> None:
    assert TABLE1.paper.measured_by
    with pytest.raises(HarnessError, match=reason):
        replace(TABLE1.paper, measured_by=replace(TABLE1.paper.measured_by, **change))


def test_a_cell_that_lacks_a_part_is_refused() -> None:
    with pytest.raises(HarnessError, match="states no metric, condition, method"):
        Grid(Measurement(suite="digits", version=1), {"a": Measurement(model="m")}, {"b": Measurement()})
    with pytest.raises(HarnessError, match=f"must be one of {', '.join(OPTIONS)}"):
        replace(TABLE1.paper.measured_by, cell=replace(TABLE1.paper.measured_by.cell, axis="x"))  # type: ignore[type-var,union-attr]


def test_the_command_works_without_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*arguments: str) -> str:
        code, text = harness(monkeypatch, capsys, "reproduce", *arguments, "--results", str(tmp_path / "none"))
        assert code == 0
        return text

    assert all(name in printed() for name in (*BLOCKS, "table15", "not at hand", "0 of 40"))
    assert "Not coverable yet" in printed("table4")
    guidance = printed("table3", "--format", "json")
    assert len(json.loads(guidance)) == 32
    with_commands = printed("imagenet_val_top1")
    assert "450,000 one-step denoisings" in with_commands and "harness run --suite imagenet --data DIR" in with_commands
    assert "harness run --suite digits --model digits/resnet+augmix" in with_commands


@pytest.mark.parametrize("name, reason", [("table7", "not at hand"), ("tabel1", "Did you mean table1")])
def test_a_table_that_is_not_there_is_named(
    name: str, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = harness(monkeypatch, capsys, "reproduce", name, "--results", str(RESULTS / "published"))
    assert code == 2 and reason in text
