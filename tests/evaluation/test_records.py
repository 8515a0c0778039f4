"""Records and sample tables that somebody else may have written: every field is checked, and shown as text."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import CHEAP, ROOT, harness, run_small

from harness.base.validation import Mismatch, Reader
from harness.evaluation.records import record
from harness.evaluation.records.parquet import read_table
from harness.evaluation.records.record import RunRecord
from harness.report import boards, comparison, escape
from harness.report.published.paper_tables import paper_tables
from harness.types import HarnessError

RESULTS = ROOT / "results"
FILES = sorted(f for f in RESULTS.glob("*/*.json") if f.parent.name not in ("published", "local"))
Change = Callable[[dict[str, Any]], None]
MISSING = object()
NEWER = ("sha256", "classes", "plugins", "probe", "conditions")
"""Fields that versions without hashes did not write."""


def of(method: str) -> Path:
    """A shipped record of the plain ResNet on the clean digits."""
    (file,) = (f for f in FILES if f.parent.name == "digits" and f.name.startswith(f"digits.resnet--{method}--"))
    return file


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A record's JSON as this version writes it."""
    file = tmp_path_factory.mktemp("good") / "good.json"
    record.save(record.load(of("default")), file)
    values: dict[str, Any] = json.loads(file.read_text())
    return values


def put(file: Path, values: Any, hashed: bool = True) -> Path:
    """Values as a record's file, with a hash that is right, or as a version without hashes wrote it."""
    if hashed and isinstance(values, dict):
        values = {**values, "sha256": record.sha256_of(values)}
    elif isinstance(values, dict):
        values = {name: v for name, v in values.items() if name not in NEWER}
    file.write_text(json.dumps(values))
    return file


def at(path: str, value: Any) -> Change:
    """A change of the value at a place such as metrics.0.n; MISSING takes it away."""

    def change(values: Any) -> None:
        *outer, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in outer:
            values = values[step]
        if value is MISSING:
            del values[last]
        else:
            values[last] = value

    return change


NEEDED = (
    "status", "coverage", "suite", "suite_version", "dataset", "facts", "model", "method", "denoiser", "spec",
    "data_sha256", "geometry", "key", "columns", "metrics", "notes", "samples", "environment", "cost", "created",
)  # fmt: skip
OTHER_TYPES = {
    "status": "done", "coverage": "all", "suite": 5, "suite_version": 1.5, "dataset": "", "facts": {"frost": 1},
    "model": [], "method": None, "spec": "digits", "data_sha256": None, "geometry": [], "key": "54761101DF1B",
    "columns": [["accuracy"]], "metrics": {}, "notes": 5, "samples": [], "environment": [], "cost": None,
    "created": "yesterday", "classes": "abc", "plugins": [], "probe": [1], "schema": True, "denoiser": "digits",
}  # fmt: skip
PLACES = [
    *((f"without {name}", at(name, MISSING)) for name in NEEDED),
    *((f"null {name}", at(name, None)) for name in NEEDED if name != "denoiser"),
    *((f"another {name}", at(name, value)) for name, value in OTHER_TYPES.items()),
    *(
        (f"{path} {str(value)[:20]!r}", at(path, value))
        for path, several in {
            "metrics.0.value": ["x", None, True, 1.7, -0.1, float("nan"), float("inf"), 10**400, [], MISSING],
            "metrics.0.interval": [[0.1], [0.1, 0.2], [0.99, 0.98], [None, 1.0], "ab", [0, 1, 2], float("nan")],
            "metrics.0.n": [0, -5, 1.5, True, "600", 10**20, 10**9, MISSING],
            "metrics.0.name": ["", 5, MISSING],
            "metrics.0.higher_is_better": [1, "yes", None],
            "metrics.0.unit": [None, 5],
            "metrics.0.more": [1],
            "columns": [[], [[1, 2]], [["a", "b", "c"]], "ab"],
            "samples.file": ["../x.parquet", "/etc/passwd", "a/b.parquet", "x.json", ".parquet/..", "a\0.parquet", 5],
            "samples.rows": [0, 599, 10**30, True, "600"],
            "samples.sha256": ["", "0" * 63, "G" * 64, None],
            "samples.more": [1],
            "spec.models": [[], ["a", "b"], "digits/resnet", [5]],
            "spec.methods": [["de"], None],
            "spec.every": [0, 2, True, None, "1"],
            "spec.limit": [-1, 100, 1.0],
            "spec.seed": [1, "0", 2**70],
            "spec.tile": [0, 101],
            "spec.dtype": ["float64", None],
            "spec.suite": ["digits-c", 5],
            "spec.denoiser": ["digits", ""],
            "spec.compile": [True, 0],
            "spec.more": [1],
            "model.sha256": ["1" * 64, "abc", None],
            "model.name": ["", "digits/vit", 5],
            "model.details": [[], {"a": float("nan")}, {"a": "x" * (2**22 + 1)}],
            "geometry.crop": [0, "32"],
            "geometry.resize": [-1, "32"],
            "cost.images": [599, 0, -1],
            "cost.pairs": [0, 1.5],
            "cost.seconds": [-1, "fast", float("nan")],
            "coverage": [
                "599 of 600 images",
                "601 of 601 images",
                "600 of 600 images (every 6th)",
                "6E2 of 600 images",
            ],
            "suite": ["digits-c", ""],
            "suite_version": [2, -1],
            "facts": [{"frost": "other"}],
            "data_sha256": ["0" * 64, ""],
            "key": ["0" * 12, "5476", 5],
            "schema": [2, "1", None],
            "classes": [["a", "a"], [1]],
            "sha256": ["0" * 64, 5, "abc"],
            "newer_field": [1],
        }.items()
        for value in several
    ),
]


@pytest.mark.parametrize("change", [change for _, change in PLACES], ids=[name for name, _ in PLACES])
def test_damaged_records_are_named(change: Change, good: dict[str, Any], tmp_path: Path) -> None:
    """Whatever field is gone, of another type or out of range, with the right hash: one message with the file."""
    values = json.loads(json.dumps(good))
    change(values)
    file = tmp_path / "damaged.json"
    try:
        put(file, values)
    except ValueError:  # numbers that canonical JSON has no form for
        file.write_text(json.dumps(values))
    if "sha256" in values and values["sha256"] != good["sha256"]:
        file.write_text(json.dumps(values))
    with pytest.raises(HarnessError) as error:
        record.load(file)
    assert str(file) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500


def nested(depth: int) -> str:
    return '{"schema": 1, "spec": ' + '{"a": ' * depth + "1" + "}" * depth + "}"


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "5", '"text"', "{", "{}", "\x00", '{"schema": 1}', nested(100_000), nested(300),
        '{"schema": ' + "9" * 6000 + "}", '{"schema": 1, "suite_version": 1' + "0" * 4000 + "}",
        "[" * 100_000 + "]" * 100_000, '{"schema": NaN}', "<html>", "version https://git-lfs.github.com/spec/v1\n",
    ],
    ids=range(17),
)  # fmt: skip
def test_files_that_are_no_records_are_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "damaged.json"
    file.write_text(text)
    with pytest.raises(HarnessError, match=r"damaged\.json"):
        record.load(file)


def test_a_name_that_is_there_twice_is_refused(good: dict[str, Any], tmp_path: Path) -> None:
    text = put(tmp_path / "damaged.json", good).read_text()
    (tmp_path / "damaged.json").write_text(text.replace('"status"', '"suite": "digits-c", "status"'))
    with pytest.raises(HarnessError, match="'suite' stands there twice"):
        record.load(tmp_path / "damaged.json")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "dangling.json").symlink_to("nowhere")
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xfa")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(2**40)
    shutil.copy(of("default"), tmp_path)
    shutil.copy(of("default").with_suffix(".parquet"), tmp_path)
    left_out: list[HarnessError] = []
    (entry,) = boards.find(tmp_path, left_out.append)
    assert entry.model.name == "digits/resnet"
    names = ("bytes", "dangling", "folder", "large", "loop", "pipe", "zero")
    assert all(f"{name}.json" in str(reason) for name, reason in zip(names, left_out, strict=True))


def test_records_survive_being_read_and_written(tmp_path: Path) -> None:
    """The same file twice, with every old value; all shipped records."""
    assert len(FILES) > 300
    once, twice = tmp_path / "once.json", tmp_path / "twice.json"
    for file in FILES:
        entry = record.load(file)
        record.save(entry, once)
        again = record.load(once)
        record.save(again, twice)
        assert once.read_bytes() == twice.read_bytes()
        assert again == replace(entry, sha256=again.sha256) and len(again.sha256) == 64 and not again.doubts
        old, new = (json.loads(f.read_text()) for f in (file, once))
        for name in old.keys() - {"sha256"}:
            with_new_fields = {**new[name], **old[name]} if isinstance(old[name], dict) else old[name]
            assert with_new_fields == new[name], name


def test_the_hash_is_that_of_the_canonical_json(good: dict[str, Any], tmp_path: Path) -> None:
    rest = {name: value for name, value in good.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    assert good["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    edited = {**good, "notes": ["measured with care"]}
    (tmp_path / "edited.json").write_text(json.dumps(edited))
    with pytest.raises(HarnessError, match=r"it was changed: its SHA-256 differs"):
        record.load(tmp_path / "edited.json")
    del edited["sha256"]
    (tmp_path / "edited.json").write_text(json.dumps(edited))
    with pytest.raises(HarnessError, match=r"its SHA-256 is missing"):
        record.load(tmp_path / "edited.json")


def test_records_without_a_hash_are_accepted_and_said_to_be(good: dict[str, Any], tmp_path: Path) -> None:
    entry = record.load(put(tmp_path / "old.json", good, hashed=False))
    assert entry.doubts == ["it has no checksum"]
    assert "1 of 2 records have no checksum" in boards.doubtful([entry, record.load(put(tmp_path / "new.json", good))])
    assert not boards.doubtful([record.load(tmp_path / "new.json")])
    renamed = {**good, "model": {**good["model"], "name": "digits/vit"}}
    entry = record.load(put(tmp_path / "old.json", renamed, hashed=False))
    assert "digits/vit:default: it was run with the model 'digits/resnet'" in boards.doubtful([entry])
    renamed["spec"] = {**good["spec"], "models": ["digits/vit"]}
    with pytest.raises(HarnessError, match=r"its key .* is that of other settings, weights or data"):
        record.load(put(tmp_path / "old.json", renamed, hashed=False))


def test_a_subset_cannot_call_itself_complete(tmp_path: Path) -> None:
    (entry,) = run_small(tmp_path, {**CHEAP, "suite": "digits-c"})
    values = json.loads(json.dumps({k: v for k, v in asdict(entry).items() if k != "path"}))
    record.load(put(tmp_path / "part.json", values))
    for change in (
        {"status": "complete"},
        {"status": "complete", "coverage": "9 of 600 images"},
        {"status": "complete", "coverage": "600 of 600 images"},
        {"coverage": "9 of 600 images"},
        {"coverage": "135 of 600 images (the first ones)", "cost": {**values["cost"], "images": 600}},
        {"spec": {**values["spec"], "limit": 0}},
    ):
        with pytest.raises(HarnessError, match=r"part\.json is not a run record"):
            record.load(put(tmp_path / "part.json", {**values, **change}))


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    entry = record.load(of("default"))
    nan = replace(entry.metrics[0], value=float("nan"))
    for wrong in (replace(entry, metrics=[nan]), replace(entry, facts={"a": object()}), replace(entry, columns=())):
        with pytest.raises(HarnessError, match=r"what suite 'digits' gave makes no record"):
            record.save(wrong, tmp_path / "new.json")
    assert not list(tmp_path.iterdir())


def test_one_bad_file_takes_no_table_with_it(
    good: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "bad.json", {**good, "notes": 5})
    shutil.copy(of("default"), tmp_path / "good.json")
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "odd.json").write_text('{"short": "x", "tables": {"a": {"of": "b", "columns": ["c"]}}}')
    code, printed = harness(monkeypatch, capsys, "leaderboard", "--results", str(tmp_path), "--published", "--write")
    assert code == 0 and "digits/resnet" in printed and "digits/resnet" in (tmp_path / "leaderboard.md").read_text()
    assert "bad.json is not a run record (notes is 5, not a list)" in printed
    assert "odd.json holds no published tables (.tables['a']" not in printed
    assert "odd.json holds no published tables (tables['a'] has no field 'rows')" in printed
    code, printed = harness(
        monkeypatch, capsys, "compare", str(tmp_path / "bad.json"), "digits/resnet", "--results", str(tmp_path)
    )
    assert code == 2 and "Error: " in printed and "bad.json is not a run record" in printed


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '{"short": 1, "tables": {}}', '{"short": "a", "tables": []}',
        '{"short": "a", "tables": {"t": {"of": "m", "columns": ["x"], "rows": {"r": [1, 2]}}}}',
        '{"short": "a", "tables": {"t": {"of": "m", "columns": ["x"], "rows": {"r": ["1"]}}}}',
        '{"short": "a", "tables": {"t": {"of": "m", "columns": ["x"], "rows": {"r": [NaN]}}}}',
    ],
)  # fmt: skip
def test_published_tables_of_another_shape_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "a.json").write_text(text)
    with pytest.raises(HarnessError, match=r"a\.json holds no published tables"):
        paper_tables(tmp_path)


def test_readers_take_their_word_from_the_type_hints() -> None:
    read = Reader({})
    assert read(Mapping[str, int] | None, None) is None
    for kind, wrong in ((int, True), (int, 1.0), (float, "1"), (float, True), (bool, 0), (tuple[str, ...], "ab")):
        with pytest.raises(Mismatch):
            read(kind, wrong)
    assert read(tuple[tuple[str, str], ...], [["a", "b"]]) == (("a", "b"),) and read(float, 1) == 1


Tamper = Callable[[pa.Table], pa.Table]


def cell(name: str, value: Any) -> Tamper:
    """A change of one cell of a column."""

    def change(table: pa.Table) -> pa.Table:
        column = table[name].to_pylist()
        return table.set_column(table.column_names.index(name), name, pa.array([value, *column[1:]], table[name].type))

    return change


def typed(name: str, kind: Any) -> Tamper:
    return lambda table: table.set_column(table.column_names.index(name), name, table[name].cast(kind))


TABLES: dict[str, tuple[Tamper, str]] = {
    "a null": (cell("prediction", None), "'prediction' has 1 empty cells"),
    "a null id": (cell("id", None), "'id' has 1 empty cells"),
    "a row twice": (lambda t: pa.concat_tables([t[:-1], t[:1]]), "different images|more than once"),
    "a row less": (lambda t: t[1:], "it has 599 rows; its record counts 600"),
    "a label beyond": (cell("label", 10), "'label' has classes beyond -1 to 9"),
    "a prediction beyond": (cell("prediction", -2), "'prediction' has classes beyond"),
    "no number": (cell("confidence", float("nan")), "'confidence' has numbers that are not finite"),
    "no probability": (cell("confidence", 1.5), "'confidence' has numbers that are no probabilities"),
    "no label": (lambda t: t.drop_columns(["label"]), "it has no column 'label'"),
    "text for numbers": (typed("prediction", pa.string()), "'prediction' is of type string"),
    "numbers for text": (lambda t: t.set_column(0, "id", pa.array(range(600))), "'id' is of type int64"),
    "decimals": (typed("label", pa.float64()), "'label' is of type double"),
    "structures": (lambda t: t.append_column("x", pa.array([{"a": 1}] * 600)), "'x' is of type struct"),
    "a column twice": (lambda t: t.append_column("label", t["label"]), "a column is there twice"),
}


def tampered(tmp_path: Path, change: Tamper, **of_record: Any) -> RunRecord:
    """A shipped record whose sample table was changed by somebody who also corrected all hashes."""
    file, values = of("default"), json.loads(of("default").read_text())
    table = change(pq.read_table(file.with_suffix(".parquet")))
    pq.write_table(table, tmp_path / "samples.parquet")
    digest = hashlib.sha256((tmp_path / "samples.parquet").read_bytes()).hexdigest()
    values |= {"samples": {"file": "samples.parquet", "rows": 600, "sha256": digest}, **of_record}
    return record.load(put(tmp_path / "tampered.json", values))


@pytest.mark.parametrize(("change", "reason"), TABLES.values(), ids=TABLES)
def test_tables_that_no_run_writes_are_refused(change: Tamper, reason: str, tmp_path: Path) -> None:
    entry = tampered(tmp_path, change)
    with pytest.raises(HarnessError, match=rf"samples\.parquet is no sample table \(.*({reason})"):
        entry.rows()
    with pytest.raises(HarnessError, match=r"samples\.parquet is no sample table"):
        comparison.compare(record.load(of("default")), entry)


def test_a_whole_test_set_has_the_images_of_the_other(tmp_path: Path) -> None:
    """One image called otherwise, in a table with the right hash and the right number of rows."""
    entry = tampered(tmp_path, cell("id", "digits-9999"))
    assert len(entry.rows()["id"]) == 600
    with pytest.raises(HarnessError, match=r"only one of them has 'digits-.*' under 'clean'"):
        comparison.compare(record.load(of("de")), entry)
    missing = tampered(tmp_path, lambda t: t.drop_columns(["prediction"]))
    with pytest.raises(HarnessError, match="it has no column 'prediction'"):
        comparison.compare(record.load(of("de")), missing)


def parquet(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that are large once they are unpacked, and what is no Parquet at all."""
    million = np.zeros(1_000_000, np.int32)
    long = pa.DictionaryArray.from_arrays(pa.array(million), pa.array(["x" * 5000]))
    yield "a text a million times", parquet(pa.table({"a": long}))
    inner = pa.StructArray.from_arrays([long], ["bytes"])
    yield "the same within a structure", parquet(pa.table({"image": inner}))
    yield "zeros", parquet(pa.table({"a": np.zeros(150_000_000, np.int8)}), compression="zstd")
    yield "nothing", parquet(pa.table({"a": pa.nulls(150_000_000, pa.int32())}))
    small = parquet(
        pa.table({"a": pa.array(["x" * 100] * 100)}), use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"
    )
    yield "common beginnings", small
    yield "no bytes", b""
    yield "cut", parquet(pa.table({"a": [1, 2]}))[:-6]
    yield "two marks", b"PAR1PAR1"


@pytest.mark.parametrize(("name", "data"), list(bombs()), ids=lambda value: value if isinstance(value, str) else "")
def test_tables_are_refused_before_they_are_unpacked(name: str, data: bytes) -> None:
    before = pa.total_allocated_bytes()
    with pytest.raises(HarnessError, match="bomb is damaged or no Parquet table") as error:
        read_table(data, name="bomb")
    assert "\n" not in str(error.value) and pa.total_allocated_bytes() - before < 2**26


def zigzag(number: int) -> bytes:
    """A number as Thrift's compact protocol has it."""
    number = 2 * number
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def test_pages_are_held_to_what_the_footer_says() -> None:
    """A footer that claims half of what the pages unpack to; pyarrow would believe the pages."""
    data = parquet(pa.table({"a": np.zeros(1_000_000, np.int64)}), compression="zstd", use_dictionary=False)
    size = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0).total_uncompressed_size
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    true, false = zigzag(size), zigzag(size // 2)
    assert len(true) == len(false) and true in data[start:]
    with pytest.raises(HarnessError, match="the pages of column 'a' unpack to more than the metadata say"):
        read_table(data[:start] + data[start:].replace(true, false))


@pytest.mark.parametrize("codec", ["none", "snappy", "zstd", "gzip", "lz4"])
@pytest.mark.parametrize("page", ["1.0", "2.0"])
def test_tables_of_all_writers_can_be_read(page: str, codec: str) -> None:
    table = pa.table(
        {
            "id": [f"image {k % 97}" for k in range(9000)],
            "score": np.linspace(0, 1, 9000),
            "votes": pa.array([[k, k + 1] for k in range(9000)], pa.list_(pa.int32(), 2)),
            "right": [True, None, False] * 3000,
        }
    )
    for coded in (True, False):
        data = parquet(
            table,
            data_page_version=page,
            compression=codec,
            use_dictionary=coded,
            data_page_size=4096,
            row_group_size=4000,
        )
        assert read_table(data).equals(table)


def test_bounded_reading_changes_nothing() -> None:
    table = pa.table(
        {
            "id": ["a", "b"],
            "image": [{"bytes": b"x"}, {"bytes": None}],
            "k": pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2)),
        }
    )
    assert read_table(parquet(table)).equals(table)
    for file in FILES[::40]:
        stored = pq.read_table(file.with_suffix(".parquet"))
        assert read_table(file.with_suffix(".parquet")).equals(stored)
    with pytest.raises(HarnessError, match=r"unpacked it takes .* bytes, of which 10 are allowed"):
        read_table(parquet(table), 10)


HOSTILE = "\x1b]0;pwned\x07\x1b[31mRED\x9b0m\u202e\u2028|\n<script>alert(1)</script>[a](http://b)"


def test_what_a_record_says_is_text(
    good: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {
        **good,
        "model": {**good["model"], "name": HOSTILE},
        "notes": [HOSTILE],
        "environment": {"device": HOSTILE},
    }
    put(tmp_path / "old.json", values, hashed=False)
    code, printed = harness(monkeypatch, capsys, "leaderboard", "--results", str(tmp_path), "--write")
    page = (tmp_path / "leaderboard.md").read_text()
    assert code == 0 and r"\x1b]0;pwned\x07\x1b[31mRED\x9b0m\u202e\u2028|\n<script>" in "".join(printed.split())
    assert not set(printed + page) & set("\x1b\x07\x9b\u202e\u2028")
    lines = page.splitlines()
    row = lines[next(k for k, line in enumerate(lines) if line.startswith("| --- |")) + 1]
    assert (
        row.replace(r"\|", "").count("|") == 6
        and "<" not in row
        and "](" not in row
        and "://" not in row.replace(r"\://", "")
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("digits/resnet+augmix", "digits/resnet+augmix"), ("74.3 [72.1, 76.5]", "74.3 [72.1, 76.5]"),
        ("a|b", r"a\|b"), ("a\\|b", r"a\\\|b"), ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"), ("p < 0.1", "p < 0.1"),
        ("&lt;", "&amp;lt;"), ("[a](b)", r"[a]\(b)"), ("*a* _b_ c_d", r"\*a\* \_b\_ c_d"),
        ("http://a", r"http\://a"), ("a\nb", r"a\\nb"), ("\ud800", r"\\ud800"), ("$x$", r"\$x\$"),
    ],
)  # fmt: skip
def test_markdown_shows_a_text_as_it_is(text: str, shown: str) -> None:
    assert escape.markdown(text) == shown


def test_paragraphs_begin_no_list() -> None:
    started = [escape.markdown(text, paragraph=True) for text in ("# a", "- a", "1. a", "95 % a", "Data 1. a")]
    assert started == [r"\# a", r"\- a", r"1\. a", "95 % a", "Data 1. a"]


def test_arguments_are_shown_without_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ["run", "--\x1b[2Jx"],
        ["\x1b[2Jx"],
        ["run", "--suite", "\x1b[2Jx"],
        ["leaderboard", "--results", "\udcff"],
    ):
        code, printed = harness(monkeypatch, capsys, *arguments)
        assert code == 2 and "\x1b[2J" not in printed and ("x1b[2Jx" in printed or r"\udcff" in printed)


def test_figures_take_names_for_text(good: dict[str, Any], tmp_path: Path) -> None:
    from harness.report.figures import draw as figures

    values = {**good, "model": {**good["model"], "name": r"$\frac{$ \x1b" + "\x1b"}}
    entry = record.load(put(tmp_path / "old.json", values, hashed=False))
    png, svg = figures.write([entry], tmp_path)
    assert png.stat().st_size > 1000 and b"\x1b" not in svg.read_bytes()
