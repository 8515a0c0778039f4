"""CPU seconds of the commands that only read, against another checkout of the project, measured in turns.

    python studies/timing/start_time.py OTHER [--runs 5] [--write]

Every run is one process, measured in user and system time from the interpreter's start to its end. The table shows the
least of several runs, for disturbances only add to it. Both checkouts read the records of this one, under one
interpreter and each with a cache folder that starts empty; the first run, which may fill it, has its own column.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.report.table import Table, markdown

ROOT = Path(__file__).resolve().parents[2]

COMMANDS = {
    "--help": ["--help"],
    "run --help": ["run", "--help"],
    "list": ["list"],
    "leaderboard": ["leaderboard", "--results", str(ROOT / "results")],
    "compare A B": [
        "compare", "digits/resnet:default", "digits/resnet+diffaug:default", "--suite", "digits-c",
        "--results", str(ROOT / "results"),
    ],
}  # fmt: skip
"""Arguments of each command, by its name in the table."""


def cpu_seconds(checkout: Path, arguments: list[str], cache: Path) -> float:
    """User and system time of one run of a command, in seconds."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(checkout), "COLUMNS": "200"}
    command = [sys.executable, "-m", "harness", *arguments]
    before = os.times()
    subprocess.run(command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    user = after.children_user - before.children_user
    system = after.children_system - before.children_system
    return user + system


def measure(other: Path, runs: int) -> Table:
    """First and least time of every command in both checkouts, and the ratio of the least ones."""
    rows = []
    for name, arguments in COMMANDS.items():
        seconds: dict[Path, list[float]] = {other: [], ROOT: []}
        with tempfile.TemporaryDirectory() as cache:
            for _ in range(1 + runs):
                for checkout in seconds:
                    seconds[checkout].append(cpu_seconds(checkout, arguments, Path(cache) / checkout.name))
        before, now = (min(later) for _, *later in seconds.values())
        first = [f"{first:.2f}" for first, *_ in seconds.values()]
        rows.append([f"harness {name}", *first, f"{before:.2f}", f"{now:.2f}", f"{now / before:.2f}"])
    header = ["command", "first run before", "first run now", "before", "now", "ratio"]
    records = sum(1 for file in (ROOT / "results").rglob("*.json") if file.with_suffix(".parquet").is_file())
    caption = (
        f"CPU seconds of the whole process: the least of {runs} runs after a first one with an empty cache, in turns "
        f"on one machine; {records} records. Ratios carry over to other machines, seconds do not."
    )
    return Table("Commands that only read", header, rows, caption)


def main() -> None:
    """Print the table; with --write also write results/start_time.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="checkout to compare with, such as one of an older version")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="also write results/start_time.md")
    arguments = parser.parse_args()
    table = measure(arguments.other.resolve(), arguments.runs)
    text = markdown(table)
    sys.stdout.write(text)
    if arguments.write:
        (ROOT / "results" / "start_time.md").write_text(text)


if __name__ == "__main__":
    main()
