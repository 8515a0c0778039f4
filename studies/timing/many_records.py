"""CPU seconds of tables over thousands of records: with an empty cache folder, and with an index and rank sets in it.

    python studies/timing/many_records.py [--copies 10] [--runs 3] [--write]

The records are copies of the shipped ones under other model names, with keys and hashes that agree, and the sample
tables linked beside them. Every run is one process, measured in user and system time from start to end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from harness.base.provenance import key_of
from harness.evaluation.records import keys, record
from harness.evaluation.records.record import RunRecord
from harness.report import boards
from harness.report.table import Table, markdown

ROOT = Path(__file__).resolve().parents[2]

COMMANDS = [[], ["--suite", "digits-c"], ["--models", "digits/vit*"], ["--format", "csv"]]
"""Arguments after ``harness leaderboard``; the first ones are measured with an empty cache folder, too."""


def clone(entry: RunRecord, number: int, folder: Path) -> None:
    """Write a record as that of another classifier, with the same rows."""
    model = replace(entry.model, name=f"{entry.model.name}-{number}")
    spec = replace(entry.spec, models=(model.name,))
    denoiser = entry.denoiser.sha256 if entry.denoiser else ""
    deciding = keys.identity(spec, entry.suite_version, entry.facts, ("", ""), model.sha256, denoiser)
    key = key_of({**deciding, "data": entry.data_sha256})
    file = folder / entry.suite.partition(":")[0] / f"{key}.json"
    file.parent.mkdir(exist_ok=True)
    samples = {**entry.samples, "file": f"{key}.parquet"}
    record.save(replace(entry, model=model, spec=spec, key=key, samples=samples), file)  # type: ignore[arg-type]
    assert entry.path
    file.with_suffix(".parquet").symlink_to(entry.path.with_name(entry.samples["file"]).resolve())


def cpu_seconds(arguments: list[str], cache: Path) -> float:
    """User and system time of one run of ``harness leaderboard``, in seconds."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "harness", "leaderboard", *arguments]
    before = os.times()
    subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def measure(copies: int, runs: int) -> Table:
    """Seconds of each command."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "results"
        folder.mkdir()
        shipped = boards.find(ROOT / "results")
        for entry in shipped:
            for number in range(copies):
                clone(entry, number, folder)
        largest = max(map(len, boards.boards(boards.find(folder)).values()))
        command = ["--results", str(folder)]
        rows = [
            ["harness leaderboard, with an empty cache folder", f"{cpu_seconds(command, Path(place) / 'cache'):.1f}"]
        ]
        for arguments in COMMANDS:
            seconds = min(cpu_seconds([*command, *arguments], Path(place) / "cache") for _ in range(runs))
            rows.append([" ".join(["harness leaderboard", *arguments]), f"{seconds:.1f}"])
    caption = (
        "CPU seconds of the whole process, imports and rank sets included: once with an empty cache folder, then the "
        f"least of {runs} runs. {copies * len(shipped):,} records; the largest board has {largest:,} rows. Seconds "
        "differ between machines, and grow on one that is busy with other work."
    )
    return Table("Tables over many records", ["command", "seconds"], rows, caption)


def main() -> None:
    """Print the table; with --write also write results/many_records.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=10, help="copies of each shipped record")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="also write results/many_records.md")
    arguments = parser.parse_args()
    text = markdown(measure(arguments.copies, arguments.runs))
    sys.stdout.write(text)
    if arguments.write:
        (ROOT / "results" / "many_records.md").write_text(text)


if __name__ == "__main__":
    main()
