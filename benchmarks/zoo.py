"""The ten classifiers of the paper at laptop size, over several training seeds: what does DiffAug add to each?

    python benchmarks/zoo.py train [--seeds 0,1,2]      # about three hours on two cores in all, into runs/zoo
    python benchmarks/zoo.py score                      # evaluates what is trained, for results/zoo.csv
    python benchmarks/zoo.py table > results/zoo.md     # compares over seeds, from that file alone
    python benchmarks/zoo.py ship                       # the ten of seed 0 become registry/checkpoints/digits-*

RN50 and ViT-B/16 become the compact ResNet and ViT; AM is AugMix, DA DeepAugment, DAM both. As in the paper, AM, DA and
DAM with DiffAug go on from the classifier without it; "+extra" goes on for the same steps without DiffAug, so that
DiffAug is not credited with longer training. ResNet and ViT with DiffAug are trained with it from the start, for as
many steps as without. AM, DA and DAM compute in bfloat16, each pair alike.

A training that is finished is not done again, and one that was stopped goes on. Start `train` once per core, with
OMP_NUM_THREADS=1: each takes the next trainings that no other is at.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from scipy import stats

from harness import evaluate, leaderboard, plugins, record
from harness.leaderboard import Table
from harness.types import HarnessError, RunSpec

AUGMIX, DEEPAUGMENT, DIFFAUG = ["--augmix"], ["--deepaugment", "autoencoder"], ["--diffaug"]
HALF = ["--dtype", "bfloat16"]  # 1.7 times faster for the ResNet where the processor has it, slower for the ViT
SCRATCH = {
    "resnet": [],
    "resnet+diffaug": DIFFAUG,
    "resnet+augmix": [*AUGMIX, *HALF],
    "resnet+deepaugment": [*DEEPAUGMENT, *HALF],
    "resnet+augmix+deepaugment": [*AUGMIX, *DEEPAUGMENT, *HALF],
    "vit": [],
    "vit+diffaug": DIFFAUG,
}
LONGER = ["--epochs", "20", "--lr", "0.001", "--warmup", "1"]
GOES_ON = ("resnet+augmix", "resnet+deepaugment", "resnet+augmix+deepaugment")
NAMES = [name + more for name in SCRATCH for more in ("", *(("+extra", "+diffaug") if name in GOES_ON else ()))]
PAIRS = [("resnet", "resnet+diffaug"), ("vit", "vit+diffaug")]
PAIRS += [pair for name in GOES_ON for pair in ((name, f"{name}+diffaug"), (f"{name}+extra", f"{name}+diffaug"))]
CELLS = [("digits-c", "default", 1), ("digits-c", "de", 6), ("digits", "default", 1), ("digits", "de", 3)]
"""Suite, method, and the stride through the test set: ten views of 9,000 images by three dozen classifiers are many."""
COLUMNS = [f"{suite}, {method}{f', 1 in {every}' if every > 1 else ''}" for suite, method, every in CELLS]
HEADER = ["classifier", "seed", "sha256", "seconds", *COLUMNS]
KEPT = Path(__file__).parents[1] / "results" / "zoo.csv"


def chains(out: Path, seeds: Sequence[int]) -> Iterator[list[tuple[Path, list[str]]]]:
    """Folder and options of every training; those of one chain in the order in which they go on from one another."""
    for seed in seeds:
        for name, options in SCRATCH.items():
            found = [(out / f"{name}-{seed}", [*options, "--seed", str(seed)])]
            if name in GOES_ON:
                start = ["--init", found[0][0].name, *LONGER, "--seed", str(seed)]
                found += [(out / f"{name}+extra-{seed}", [*options, *start])]
                found += [(out / f"{name}+diffaug-{seed}", [*options, *DIFFAUG, *start])]
            yield found


def trainings(out: Path, seeds: Sequence[int]) -> list[tuple[Path, list[str]]]:
    """All of them."""
    return [training for chain in chains(out, seeds) for training in chain]


def train(out: Path, seeds: Sequence[int]) -> None:
    """Train what is not there yet and what no other process is at."""
    out.mkdir(parents=True, exist_ok=True)
    for chain in chains(out, seeds):
        with suppress(Timeout), FileLock(out / f".{chain[0][0].name}.lock", timeout=0):
            for folder, options in chain:
                if not (folder / "card.json").is_file():
                    architecture = folder.name.partition("+")[0].partition("-")[0]
                    command = [sys.executable, "-m", "harness", "train", "--model", architecture, *options]
                    # Cards hold the command: names beside one another say more than this machine's paths.
                    subprocess.run([*command, "--device", "cpu", "--out", folder.name], check=True, cwd=out)


def ship(out: Path, registry: Path) -> None:
    """Put the paper's ten of seed 0 where the bundled classifiers are, under their names there."""
    for folder, _ in trainings(out, [0]):
        name = folder.name.removesuffix("-0")
        if not name.endswith("+extra"):
            card = (folder / "card.json").read_text()
            start = name.removesuffix("+diffaug")
            (registry / f"digits-{name}.json").write_text(card.replace(f"{start}-0", f"digits/{start}"))
            shutil.copyfile(folder / "model.safetensors", registry / f"digits-{name}.safetensors")


def score(out: Path, seeds: Sequence[int], kept: Path) -> None:
    """Add the finished trainings to the file that ships: a row each, with a fraction for each suite and method."""
    folders = [folder for folder, _ in trainings(out, seeds) if (folder / "card.json").is_file()]
    found: dict[str, dict[str, str]] = {folder.name: {} for folder in folders}
    for folder in folders:
        card = json.loads((folder / "card.json").read_text())
        classifier, _, seed = folder.name.rpartition("-")
        facts = {name: card[name] for name in ("sha256", "seconds")}
        found[folder.name] |= {"classifier": classifier, "seed": seed, **facts}
    for (suite, method, every), column in zip(CELLS, COLUMNS, strict=True):
        denoiser = "digits" if method == "de" else None
        spec = RunSpec(suite, tuple(map(str, folders)), (method,), denoiser=denoiser, every=every)
        for path in evaluate.run(evaluate.prepare(spec, out / "results")):
            entry = record.load(path)
            metric = entry.metric("mean_accuracy", "mean") or entry.metric("accuracy", "clean")
            assert metric is not None
            found[Path(entry.model.name).name][column] = str(metric.value)
    there = {f"{row['classifier']}-{row['seed']}": row for row in read(kept)} if kept.is_file() else {}
    with kept.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for _, row in sorted({**there, **found}.items()))


def read(kept: Path) -> list[dict[str, str]]:
    """The rows of the file that ships; raises HarnessError where they are not of these classifiers and cells."""
    with kept.open(newline="") as file:
        found = csv.DictReader(file)
        if found.fieldnames != HEADER:
            raise HarnessError(f"{kept} has other columns than {', '.join(HEADER)}. Move it away and score again.")
        rows = list(found)
    for number, row in enumerate(rows, 2):
        if row["classifier"] not in NAMES or not all(row.values()):
            raise HarnessError(f"{kept}, line {number}: no classifier of ours, or an empty cell. Remove the line.")
    return rows


def tables(rows: Sequence[Mapping[str, str]]) -> list[Table]:
    """Every classifier's accuracy over seeds, and what DiffAug adds, paired by seed."""
    values: dict[str, dict[str, np.ndarray]] = {name: {} for name in NAMES}
    for row in rows:
        values[row["classifier"]][row["seed"]] = 100 * np.array([float(row[column]) for column in COLUMNS])
    means = [[name, *_spelt(list(by.values()), bounds=(0, 100))] for name, by in values.items()]
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    caption = f"Percent, with a 95 % t interval over trainings. {len(rows)} trainings, {hours:.1f} hours of one core."
    gains = {f"{after} against {before}": _paired(values[before], values[after]) for before, after in PAIRS}
    equal = [_paired(values[before], values[after]) for before, after in PAIRS if before not in GOES_ON]
    gains["mean of the five pairs with equally many steps"] = {
        seed: np.mean([by[seed] for by in equal], axis=0) for seed in sorted(set.intersection(*map(set, equal)))
    }
    differences = [[pair, *_spelt(list(by.values()), "+")] for pair, by in gains.items()]
    note = "Points, paired by seed, with a 95 % t interval over trainings, on one and the same test set."
    return [
        Table("Ten classifiers and three controls over training seeds", ["classifier", *COLUMNS, "n"], means, caption),
        Table("What DiffAug adds", ["pair", *COLUMNS, "n"], differences, note),
    ]


def _paired(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {seed: after[seed] - before[seed] for seed in before if seed in after}


def _spelt(values: Sequence[np.ndarray], sign: str = "", bounds: tuple[float, float] = (-100, 100)) -> list[str]:
    """For each cell the mean over trainings with its t interval within bounds, then the number of trainings."""
    cells = [_spell(column, sign, bounds) for column in np.transpose(values)] if values else [""] * len(COLUMNS)
    return [*cells, str(len(values))]


def _spell(values: np.ndarray, sign: str, bounds: tuple[float, float]) -> str:
    mean, n = values.mean(), len(values)
    if n < 2:
        return f"{mean:{sign}.1f}"
    half = stats.t.ppf(0.975, n - 1) * stats.sem(values)
    low, high = np.clip([mean - half, mean + half], *bounds)
    return f"{mean:{sign}.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "score", "table", "ship"))
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="folder of the trainings (runs/zoo)")
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    plugins.discover()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    if arguments.what == "train":
        train(arguments.out, seeds)
    elif arguments.what == "score":
        score(arguments.out, seeds, KEPT)
    elif arguments.what == "ship":
        ship(arguments.out, Path("registry/checkpoints"))
    else:
        sys.stdout.write("\n".join(leaderboard.markdown(table) for table in tables(read(KEPT))))


if __name__ == "__main__":
    main()
