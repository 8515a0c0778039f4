"""The guidance scale of DDA for 32x32 digits, measured on training images only.

    python studies/dda_sweep.py

The published scale of 6 was chosen for 256x256 images. The norm that guides DDA shrinks with the number of pixels while
its gradient does not, so the same scale may overshoot on small images. This sweep evaluates several scales on every
60th *training* digit under the 15 corruptions at severity 5 and prints the mean accuracy of each bundled classifier.
About eight minutes on two cores, resumable.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness import plugins
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.report import leaderboard
from harness.report.table import Table, markdown
from harness.terminal import console
from harness.types import RunSpec

SCALES = (0.5, 1, 2, 4, 6)
"""Guidance scales that are tried; 6 is the published one."""

RESULTS = Path(__file__).resolve().parents[1] / "results"


def sweep(out: Path) -> Table:
    """Mean corruption accuracy on training images by scale, one row per scale, one column per classifier."""
    plugins.discover()
    from harness.data import Corrupted, open_dataset
    from harness.suites.digits import DigitsC

    @plugins.suite("digits-c-train")
    @dataclass(frozen=True)
    class TrainingDigitsC(DigitsC):
        """The corruptions on the training split: for choosing settings, never for reporting."""

        name: ClassVar[str] = "digits-c-train"

        def open(self, condition, seed):
            return Corrupted(open_dataset("digits", "train"), condition.group, condition.severity, seed)

        def reference(self):
            return None

    entries = [entry for entry in plugins.model.entries() if entry.facts.get("dataset") == "digits"]
    models = tuple(entry.name for entry in entries if not entry.facts.get("noisy"))
    methods = ["default", *(plugins.method.configure(f"dda:scale={scale}").text for scale in SCALES)]
    spec = RunSpec("digits-c-train", models, tuple(methods), denoiser="digits", every=60, tile=20)
    with console.progress() as bar:
        task = bar.begin("sweep")
        paths = loop.run(
            prepare(spec, out),
            report=lambda t: bar.update(task, completed=t.done, computed=t.computed, total=t.total, info=t.condition),
        )
    return leaderboard.crosstab([record.load(path) for path in paths])


def main() -> None:
    """Print the table, and write results/dda_sweep.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    table = sweep(RESULTS / "local" / "dda_sweep")
    console.show(table)
    (RESULTS / "dda_sweep.md").write_text(
        "# Guidance scale of DDA at 32x32\n\nOn training images; written by `python studies/dda_sweep.py`.\n\n"
        + markdown(table)
    )


if __name__ == "__main__":
    main()
