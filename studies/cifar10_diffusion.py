"""A diffusion model of CIFAR-10, and what it does for classifiers: one training, a demonstration and no claim.

    python studies/cifar10_diffusion.py train --data DIR     # two hours of one core, into runs/cifar10
    python studies/cifar10_diffusion.py score --data DIR     # evaluates them, for results/cifar10_diffusion.csv
    python studies/cifar10_diffusion.py table > results/cifar10_diffusion.md

`train` makes the class-conditional denoiser, then a noisy classifier and a denoising-assisted one under it. `score`
measures accuracy on diffused images (Figure 19 and Table 4 of the DiffAug paper) and DiffAug Ensemble (DE).
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import plugins
from harness.evaluation import loop
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.report.table import Table, markdown
from harness.types import RunSpec

RESULTS = Path(__file__).parents[1] / "results"
FILE = RESULTS / "cifar10_diffusion.csv"
COLUMNS = ["classifier", "method", "suite", "condition", "metric", "value", "low", "high", "n"]
PLAIN = "cifar10/resnet"
DENOISER = ["--architecture", "unet-conditional", "--label-dropout", "0.1", "--compile", "--batch-size", "128"]
ENCODER = ["--architecture", "encoder", "--epochs", "2", "--max-steps", "1172", "--warmup", "0", "--compile"]
INTRODUCTION = """# A diffusion model of CIFAR-10

`cifar10-conditional` is the digits' UNet (1.1 M parameters) after 8 epochs. Under it, a noisy and a
denoising-assisted (DA) classifier of 0.9 M parameters took 1,172 steps of 64 images each: few, so that both are weak
and nothing is claimed. The plain ResNet took 12 epochs, without DiffAug. The pictures had been through JPEG: no
number stands beside published ones.
"""
TRAININGS: Mapping[str, Sequence[str]] = {
    "unet": [*DENOISER, "--epochs", "8", "--warmup", "1"],
    "encoder+noisy": [*ENCODER, "--objective", "noisy"],
    "encoder+da": [*ENCODER, "--objective", "da"],
}
"""Options of `harness train`, by folder."""


def train(out: Path, data: str) -> None:
    """Train what is missing, one after the other; a stopped training goes on."""
    for name, options in TRAININGS.items():
        under = [] if name == "unet" else ["--diffusion", str(out / "unet")]
        common = ["--dataset", "cifar10", "--data", data, "--out", str(out / name)]
        if not (out / name / "card.json").is_file():
            subprocess.run(["harness", "train", *options, *under, *common], check=True)


def score(out: Path, data: str, every: int) -> None:
    """Evaluate the classifiers under the denoiser, and write every accuracy with its interval."""
    plugins.discover()
    denoiser, plain = str(out / "unet"), (PLAIN,)
    timed = tuple(str(out / name) for name in TRAININGS if name != "unet")
    noisy = f"cifar10-noisy-accuracy:data={data}"
    runs = [
        RunSpec(noisy, plain, ("default", "denoised"), denoiser=denoiser, every=every),
        RunSpec(noisy, timed, ("default",), denoiser=denoiser, every=every),
        RunSpec(f"cifar10:data={data}", plain, ("default", "de"), denoiser=denoiser, every=every),
        RunSpec(f"cifar10-c-gen:data={data}", plain, ("default", "de"), denoiser=denoiser, every=5 * every),
    ]
    rows = []
    for spec in runs:
        for path in loop.run(prepare(spec, out / "results")):
            entry = record.load(path)
            suite, model = entry.suite.partition(":")[0], entry.model.name
            classifier = PLAIN if model == PLAIN else Path(model).name
            rows += [
                [classifier, entry.method, suite, m.condition, m.name, m.value, *m.interval, m.n]
                for m in entry.metrics
                if m.name in ("accuracy", "mean_accuracy")
            ]
    with FILE.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def read() -> list[dict[str, str]]:
    """The rows of the file that ships."""
    with FILE.open(newline="") as file:
        return list(csv.DictReader(file))


def tables(rows: Sequence[Mapping[str, str]], card: Mapping[str, Mapping[str, float]]) -> list[Table]:
    """Accuracy by diffusion time, DE, and the denoiser's error by time; from the CSV file and the denoiser's card."""
    by_time = [row for row in rows if row["suite"] == "cifar10-noisy-accuracy"]
    shown: dict[tuple[str, str], dict[str, str]] = {(row["classifier"], row["method"]): {} for row in by_time}
    for row in by_time:
        shown[row["classifier"], row["method"]][row["condition"]] = _percent(row)
    conditions = list(dict.fromkeys(row["condition"] for row in by_time))
    lines = [[*pair, *(cells.get(name, "") for name in conditions)] for pair, cells in shown.items()]
    others = [row for row in rows if row not in by_time and row["condition"] in ("clean", "mean")]
    views = [[row["suite"], row["classifier"], row["method"], _percent(row), row["n"]] for row in others]
    given, alone = card["heldout_denoising_rmse"], card["heldout_unconditional_denoising_rmse"]
    errors = [[time, f"{given[time]:.4f}", f"{alone[time]:.4f}"] for time in given]
    return [
        Table("Accuracy on diffused images (%)", ["classifier", "method", *conditions], lines, _images(by_time)),
        Table("DiffAug Ensemble (%)", ["suite", "classifier", "method", "accuracy", "n"], views, ""),
        Table(
            "One-step denoising, RMSE on test images", ["t", "with the class", "without"], errors, "Pixels in [0, 1]."
        ),
    ]


def _percent(row: Mapping[str, str]) -> str:
    value, low, high = (100 * float(row[name]) for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _images(rows: Sequence[Mapping[str, str]]) -> str:
    return f"{max((int(row['n']) for row in rows), default=0):,} test images; 95 % intervals; one training each."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train", "score", "table"))
    parser.add_argument("--data", default="", help="folder of CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10"), help="folder of the trainings")
    parser.add_argument("--every", type=int, default=5, help="every k-th test image")
    arguments = parser.parse_args()
    if arguments.step != "table" and not arguments.data:
        parser.error("give the folder of CIFAR-10 with --data")
    if arguments.step == "train":
        train(arguments.out, arguments.data)
    elif arguments.step == "score":
        score(arguments.out, arguments.data, arguments.every)
    else:
        card = json.loads((RESULTS.parent / "registry/checkpoints/cifar10-unet-conditional.json").read_text())
        sys.stdout.write("\n".join([INTRODUCTION, *map(markdown, tables(read(), card))]))


if __name__ == "__main__":
    main()
