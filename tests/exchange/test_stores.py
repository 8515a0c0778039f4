"""Records in stores: file systems of fsspec, and the hub's commit, which is mocked where it would need a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exchange.forging import Forgery, shipped
from helpers import harness

from harness import plugins
from harness.exchange.folders import files_of
from harness.exchange.inputs import DataAtHand
from harness.exchange.merge import CONFLICT, COPIED, IDENTICAL, Merged
from harness.exchange.push import MARK, push
from harness.exchange.stores import HUB, Store, fetched
from harness.exchange.verify import OK, examine, verify
from harness.types import HarnessError


@pytest.fixture(scope="module")
def inputs() -> DataAtHand:
    """The embedded data sets, opened once."""
    plugins.discover()
    return DataAtHand()


@pytest.fixture
def memory() -> Iterator[str]:
    """The address of an empty store in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield "memory://shared/results"
    system.store.clear()


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """Two good records."""
    for suite, pair in (("digits", "digits.vit--default"), ("digits-c", "digits.vit--default")):
        Forgery.of(shipped(suite, pair)).write(tmp_path / "ours")
    return tmp_path / "ours"


def pushed(folder: Path, address: str, inputs: DataAtHand) -> list[Merged]:
    return push(verify(files_of([folder]), inputs), Store.of(address))


def test_pushed_records_come_back_and_are_verified(memory: str, ours: Path, inputs: DataAtHand) -> None:
    assert [m.outcome for m in pushed(ours, memory, inputs)] == [COPIED, COPIED]
    assert [m.outcome for m in pushed(ours, memory, inputs)] == [IDENTICAL, IDENTICAL]
    with fetched(Store.of(memory)) as (folder, left_out):
        assert not left_out
        assert {v.outcome for v in verify(files_of([folder]), inputs)} == {OK}
        for file in ours.rglob("*.*"):
            assert (folder / file.relative_to(ours)).read_bytes() == file.read_bytes()
    assert not folder.exists()


def loadable(store: Store) -> dict[str, list[Any]]:
    """The schemas of the files of each configuration, by its name."""
    metadata = huggingface_hub.DatasetCard(store.readme()).data
    schemas: dict[str, list[Any]] = {}
    for config in metadata["configs"]:
        named = config["data_files"]
        patterns = named if isinstance(named, list) else [named]
        files = [file for pattern in patterns for file in store.system.glob(f"{store.root}/{pattern}")]
        schemas[config["config_name"]] = []
        for file in files:
            with store.system.open(file) as opened:
                schemas[config["config_name"]].append(pq.read_schema(opened))
    return schemas


def test_the_readme_has_a_configuration_per_suite_and_schema(memory: str, ours: Path, inputs: DataAtHand) -> None:
    store = Store.of(memory)
    pushed(ours, memory, inputs)
    assert {name: len(files) for name, files in loadable(store).items()} == {"metrics": 2, "digits": 1, "digits-c": 1}
    older = Forgery.of(shipped("digits", "digits.vit--de"))
    columns = [name for name in older.table.column_names if name != "probability"]
    other = columns if len(columns) < older.table.num_columns else None
    older.table = older.table.select(other) if other else with_probability(older.table)
    rebuilt(older, inputs, ours)
    assert COPIED in {m.outcome for m in pushed(ours, memory, inputs)}
    Forgery.of(shipped("digits", "digits.vit--dda")).write(ours)
    pushed(ours, memory, inputs)
    schemas = loadable(store)
    assert schemas.keys() == {"metrics", "digits", "digits-2", "digits-c"}
    assert len(schemas["digits"]) + len(schemas["digits-2"]) == 3
    assert all(len(set(map(str, files))) == 1 for name, files in schemas.items() if name != "metrics")


def with_probability(table: Any) -> Any:
    """A sample table as newer versions write it."""
    confidence = table["confidence"].to_numpy()
    right = table["prediction"].to_numpy() == table["label"].to_numpy()
    probability = np.where(right, confidence, np.minimum(confidence, 1 - confidence) / 2)
    return table.append_column("probability", pa.array(probability.astype(np.float32)))


def test_a_readme_of_somebody_else_stays(memory: str, ours: Path, inputs: DataAtHand) -> None:
    store = Store.of(memory)
    store.system.pipe_file(f"{store.root}/README.md", b"my own words")
    pushed(ours, memory, inputs)
    assert store.readme() == "my own words" and MARK not in store.readme()


def rebuilt(forgery: Forgery, inputs: DataAtHand, folder: Path) -> Path:
    """The record with the metrics of its table, so that it verifies."""
    verdict = examine(forgery.write(folder), inputs)
    assert verdict.subject
    again, _ = verdict.subject.suite.summarise(verdict.subject.rows)
    forgery.values["metrics"] = [json.loads(json.dumps(vars(metric))) for metric in again]
    return forgery.write(folder)


def test_two_records_of_one_key_in_one_push_are_a_conflict(
    memory: str, ours: Path, inputs: DataAtHand, tmp_path: Path
) -> None:
    forgery = Forgery.of(shipped("digits", "digits.vit--default"))
    right = forgery.table["prediction"].to_numpy() == forgery.table["label"].to_numpy()
    row = int(right.argmin())
    forgery.set_cell("prediction", row, forgery.table["label"][row].as_py())
    if "probability" in forgery.table.column_names:
        forgery.set_cell("probability", row, forgery.table["confidence"][row].as_py())
    rebuilt(forgery, inputs, tmp_path / "ours" / "local")
    outcomes = pushed(ours / "digits", memory, inputs) + pushed(ours / "local", memory, inputs)
    assert [m.outcome for m in outcomes] == [COPIED, CONFLICT]
    Store.of(memory).system.store.clear()
    outcomes = pushed(ours, memory, inputs)
    assert sorted(m.outcome for m in outcomes) == [CONFLICT, COPIED, COPIED]
    (conflict,) = (m for m in outcomes if m.outcome == CONFLICT)
    assert "local" in str(conflict.file) and "other rows" in conflict.reason and str(ours / "digits") in conflict.reason


def test_a_table_without_a_record_is_not_overwritten(memory: str, ours: Path, inputs: DataAtHand) -> None:
    store = Store.of(memory)
    (file,) = (ours / "digits").glob("*.parquet")
    store.system.pipe_file(f"{store.root}/digits/{file.name}", b"theirs")
    outcomes = pushed(ours, memory, inputs)
    assert [m.outcome for m in outcomes] == [CONFLICT, COPIED]
    assert "another table, without a record" in outcomes[0].reason
    assert store.read(f"digits/{file.name}") == b"theirs"


def test_other_results_under_the_same_key_stay(memory: str, ours: Path, inputs: DataAtHand) -> None:
    pushed(ours, memory, inputs)
    store = Store.of(memory)
    (name,) = (n for n in store.names() if n.startswith("digits/") and n.endswith(".json"))
    changed = store.read(name).replace(b'"n": 600', b'"n": 599')
    store.system.pipe_file(f"{store.root}/{name}", changed)
    assert [m.outcome for m in pushed(ours, memory, inputs)] == [CONFLICT, IDENTICAL]
    assert store.read(name) == changed


@pytest.mark.parametrize("name", ["../evil.json", "digits/../../evil.json", "digits\\..\\..\\evil.json"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    class Hostile:
        def exists(self, path: str) -> bool:
            return True

        def find(self, path: str) -> list[str]:
            return [f"{path}/{name}"]

    with pytest.raises(HarnessError, match="leads out"):
        Store("evil://", Hostile(), "/root").names()


@pytest.mark.parametrize("large", ["json", "parquet"])
def test_a_file_larger_than_any_record_is_left_out_alone(
    large: str, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.exchange import stores

    monkeypatch.setattr(stores, "LIMITS", {".json": 10, ".parquet": 10})
    store = Store.of(memory)
    for name in ("x", "y"):
        for suffix in ("json", "parquet"):
            length = 11 if (name, suffix) == ("x", large) else 10
            store.system.pipe_file(f"{store.root}/digits/{name}.{suffix}", b"x" * length)
    with fetched(store) as (folder, left_out):
        assert [*left_out] == ["digits/x.json"] and "more than 10 bytes" in left_out["digits/x.json"]
        assert sorted(file.name for file in folder.rglob("*.*")) == ["y.json", "y.parquet"]


def test_errors_of_stores_name_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="is no address"):
        Store.of("nothing://x")
    with pytest.raises(HarnessError, match="No records at"), fetched(Store.of(str(tmp_path))):
        pass
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda address: (_ for _ in ()).throw(ImportError("Install s3fs")))
    with pytest.raises(HarnessError, match="a package that is not installed: Install s3fs"):
        Store.of("s3://bucket/x")


def test_the_hub_gets_one_commit(ours: Path, inputs: DataAtHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the boundary is mocked: nothing here has talked to the hub."""
    commits: list[Any] = []

    class Api:
        def create_repo(self, repository: str, **options: Any) -> None:
            assert repository == "org/name" and options == {"repo_type": "dataset", "exist_ok": True}

        def create_commit(self, repository: str, operations: Any, **options: Any) -> None:
            commits.append((repository, [operation.path_in_repo for operation in operations], options))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    store = Store(f"{HUB}org/name/sub", fsspec.filesystem("memory"), "/nothing")
    push(verify(files_of([ours]), inputs), store)
    ((repository, places, options),) = commits
    assert repository == "org/name" and options["commit_message"] == "Add 2 records"
    assert all(place.startswith("sub/") for place in places) and len(places) == 7

    def refuse(self: Api, *arguments: Any, **options: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(Api, "create_commit", refuse)
    with pytest.raises(HarnessError, match=r"Cannot write to hf://.*no route to host.*hf auth login"):
        push(verify(files_of([ours]), inputs), store)


def test_the_commands_push_and_pull(
    memory: str, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = harness(monkeypatch, capsys, "results", "push", memory, str(ours / "digits"))
    assert code == 0 and "1 records: 1 copied" in printed
    code, printed = harness(monkeypatch, capsys, "results", "pull", memory, "--into", str(tmp_path / "new"))
    assert code == 0 and "1 records: 1 copied" in printed and len(list((tmp_path / "new").rglob("*.parquet"))) == 1
