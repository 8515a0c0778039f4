"""What a bfloat16 denoiser changes in certification: the same images, noise and classifiers under both precisions.

    python studies/precision.py                    # 4 images, 100 draws at each sigma: a few minutes on one core
    python studies/precision.py 20 1000 [--write]  # about an hour; with --write into results/precision.md

Votes moved: net, by how much an image's count of a class differs, of the draws that estimate the probability. Two draws
that change places between two classes do not show, in the counts as little as in the certificate.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness import plugins
from harness.cli import console
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.report.table import Table, markdown
from harness.types import RunSpec


def certified(spec: RunSpec, folder: str) -> Mapping[str, RunRecord]:
    """The records of a run, by model."""
    paths = loop.run(prepare(spec, folder))
    return {found.model.name: found for found in map(record.load, paths)}


def compared(exact: RunRecord, rounded: RunRecord) -> list[list[str]]:
    """A row per noise level."""
    a, b = exact.rows(), rounded.rows()
    rows = []
    for condition in np.unique(a["condition"]):
        here = a["condition"] == condition
        moved = np.abs(a["estimation"][here] - b["estimation"][here]).sum(1) // 2
        changed = (a["prediction"][here] != b["prediction"][here]).sum()
        radii = [entry.metric("average_certified_radius", condition) for entry in (exact, rounded)]
        before, after = (metric.value for metric in radii if metric)
        rows.append([exact.model.name, condition, str(moved.max()), str(changed), f"{after - before:+.4f}"])
    return rows


def main() -> None:
    """Print the table, and write it where that is asked for."""
    numbers = [text for text in sys.argv[1:] if text != "--write"]
    images, n = (int(text) for text in numbers or ("4", "100"))
    plugins.discover()
    models = tuple(entry.name for entry in plugins.model.entries() if entry.facts.get("dataset") == "digits")
    spec = RunSpec(f"certify:n={n}", models, ("denoise",), denoiser="digits", every=600 // images, limit=images)
    with TemporaryDirectory() as folder:
        exact, rounded = (
            certified(replace(spec, denoiser_dtype=dtype), str(Path(folder) / dtype))
            for dtype in ("float32", "bfloat16")
        )
        rows = [row for model in models for row in compared(exact[model], rounded[model])]
    header = ["model", "noise", "net votes moved, most", "predictions changed", "average radius changed by"]
    table = Table("bfloat16 denoiser against float32", header, rows, f"{images} images, {n} draws each.")
    if "--write" in sys.argv[1:]:
        Path("results/precision.md").write_text(markdown(table))
    console.show(table)


if __name__ == "__main__":
    main()
