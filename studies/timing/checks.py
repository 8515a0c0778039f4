"""Cost of the checks of a run: probes, hashes, plans and fields, as a share of one `harness run`.

    python studies/timing/checks.py [--write] [options of harness run]   # with --write into results/checks.md

The functions are timed inside of the very run whose length they are compared with; one within another counts once. The
records go to a folder that is removed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.base import files, sealed
from harness.cli.app import app
from harness.data import folder_contents
from harness.evaluation import loop, prepare
from harness.evaluation.preflight import probing, resume
from harness.evaluation.records import parts, record
from harness.models import matching

CHECKED: dict[str, list[tuple[Any, str]]] = {
    "probes of networks and methods": [(probing, "probes"), (resume, "verify"), (resume, "keep"), (resume, "notes")],
    "parts: hash and plan, with reading them": [(parts, "read"), (sealed, "_digest")],
    "hashes of files": [(files, "file_sha256")],
    "records, field by field": [(record, "load"), (record, "_checked")],
    "class names": [(matching, "match")],
    "files that nobody reads": [(folder_contents, "check_all_read")],
}
"""Timed functions by their name in the table; each as the module that holds it and its own name."""


class Clock:
    """Seconds by name; a timed function inside another timed one belongs to the outer."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(CHECKED, 0.0)
        self._running = False

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time counts under a name."""

        def call(*arguments: Any, **options: Any) -> Any:
            if self._running:
                return function(*arguments, **options)
            start, self._running = time.perf_counter(), True
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[name] += time.perf_counter() - start
                self._running = False

        return call


def main() -> None:
    """Run, and print the table; with --write also write results/checks.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.allow_abbrev = False
    parser.add_argument("--write", action="store_true", help="also write results/checks.md")
    arguments, options = parser.parse_known_args()
    clock = Clock()
    for name, functions in CHECKED.items():
        for module, function in functions:
            original = getattr(module, function)
            timed = clock.timed(name, original)
            for user in [m for m in list(sys.modules.values()) if getattr(m, function, None) is original]:
                setattr(user, function, timed)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        app(["run", *options, "--out", folder], standalone_mode=False)
    run_seconds = time.perf_counter() - start
    lines = [f"| {name} | {seconds:.2f} | {seconds / run_seconds:.2%} |" for name, seconds in clock.seconds.items()]
    total = sum(clock.seconds.values())
    lines += [f"| together | {total:.2f} | {total / run_seconds:.2%} |", f"| the whole run | {run_seconds:.1f} | |"]
    command = " ".join(["harness run", *options])
    page = [f"### Checks within one `{command}`", "", "| | seconds | share |", "| --- | --- | --- |", *lines, ""]
    if arguments.write:
        Path("results/checks.md").write_text("\n".join(page))
    sys.stdout.write("\n".join(page))


if __name__ == "__main__":
    _ = loop, prepare  # imported, so that their names are timed, too
    main()
