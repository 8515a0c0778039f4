"""Effect of a bfloat16 denoiser on certification: same images, noise and classifiers under both precisions.

    python studies/precision.py                    # 4 images, 100 draws at each sigma: a few minutes on one core
    python studies/precision.py 20 1000 [--write]  # about an hour; with --write into results/precision.md

Net votes moved: the difference of an image's counts by class, over the draws that estimate the probability. Two draws
that swap their classes leave the counts, and so the certificate, as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness import plugins
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.report.table import Table, markdown
from harness.terminal import console
from harness.types import RunSpec


def certified(spec: RunSpec, folder: str) -> Mapping[str, RunRecord]:
    """The records of a run, by model."""
    paths = loop.run(prepare(spec, folder))
    return {entry.model.name: entry for entry in map(record.load, paths)}


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
    """Print the table; with --write also write results/precision.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=int, nargs="?", default=4, help="images to certify (4)")
    parser.add_argument("n", type=int, nargs="?", default=100, help="draws that estimate the probability (100)")
    parser.add_argument("--write", action="store_true", help="also write results/precision.md")
    arguments = parser.parse_args()
    images, n = arguments.images, arguments.n
    plugins.discover()
    entries = [entry for entry in plugins.model.entries() if entry.facts.get("dataset") == "digits"]
    models = tuple(entry.name for entry in entries if not entry.facts.get("noisy"))
    spec = RunSpec(f"certify:n={n}", models, ("denoise",), denoiser="digits", every=600 // images, limit=images)
    with TemporaryDirectory() as folder:
        exact, rounded = (
            certified(replace(spec, denoiser_dtype=dtype), str(Path(folder) / dtype))
            for dtype in ("float32", "bfloat16")
        )
        rows = [row for model in models for row in compared(exact[model], rounded[model])]
    header = ["model", "noise", "net votes moved, most", "predictions changed", "average radius changed by"]
    table = Table("bfloat16 denoiser against float32", header, rows, f"{images} images, {n} draws each.")
    if arguments.write:
        Path("results/precision.md").write_text(markdown(table))
    console.show(table)


if __name__ == "__main__":
    main()
