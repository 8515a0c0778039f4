"""Estimates of trainings' times against the time taken.

    python studies/timing/training_estimate.py [--data CIFAR10] [--write]

The estimate is what ``harness train --dry-run`` prints; the training follows in the same process: opening the data,
steps, and the measurement on the test images.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from machine import machine

from harness import plugins
from harness.base.errors import Notice
from harness.report.table import Table, markdown
from harness.train.estimate import estimate
from harness.train.input.splits import open_split, open_training
from harness.train.resolve import resolve
from harness.train.run import run
from harness.train.spec import TrainSpec

CASES: dict[str, dict[str, Any]] = {
    "digits, resnet, 2 epochs": {"model": "resnet", "epochs": 2},
    "digits, vit+diffaug, 60 steps": {"model": "vit", "diffaug": True, "max_steps": 60},
    "cifar10, resnet, 60 steps": {"model": "resnet", "dataset": "cifar10", "max_steps": 60},
}
"""Settings of each training."""


def measure(settings: dict[str, Any]) -> tuple[float, float]:
    """Seconds as estimated and as taken."""
    spec = resolve(TrainSpec(**settings))
    began = time.monotonic()
    data, test = open_training(spec), open_split(spec, "test")
    opening = time.monotonic() - began
    estimated = estimate(spec, data, test).seconds + opening
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        run(spec, Path(folder))
        return estimated, time.monotonic() - began


def main() -> None:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="folder of CIFAR-10; without, its case is left out")
    parser.add_argument("--write", action="store_true", help="write results/training_estimate.md")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", Notice)
    plugins.discover()
    rows = []
    for name, settings in CASES.items():
        if settings.get("dataset") == "cifar10":
            if not arguments.data:
                continue
            settings = {**settings, "data": arguments.data}
        estimated, taken = measure(settings)
        rows.append([name, f"{estimated:.0f}", f"{taken:.0f}", f"{estimated / taken:.2f}"])
        print(*rows[-1], flush=True)
    if arguments.write:
        header = ["training", "estimated (s)", "taken (s)", "ratio"]
        table = Table("Estimates of trainings", header, rows, f"{machine('cpu')}.")
        Path("results/training_estimate.md").write_text(markdown(table))


if __name__ == "__main__":
    main()
