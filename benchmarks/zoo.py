"""The ten classifiers of the paper at laptop size, over several training seeds: what does DiffAug add to each?

    python benchmarks/zoo.py train --out DIR [--seeds 0,1,2] [--shard 0/2]     # about three hours on two cores in all
    python benchmarks/zoo.py table --out DIR > results/zoo.md                  # evaluates, then compares over seeds
    python benchmarks/zoo.py ship --out DIR            # the paper's ten of seed 0 become registry/checkpoints/digits-*

RN50 and ViT-B/16 become the compact ResNet and ViT; AM is AugMix, DA DeepAugment, DAM both. As in the paper, AM, DA and
DAM with DiffAug go on from the classifier without it; "+extra" goes on for the same steps without DiffAug, so that
DiffAug is not credited with longer training. ResNet and ViT with DiffAug are trained with it from the start. AM, DA and
DAM compute in bfloat16, each pair alike.

A training that is finished is not done again, and one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from harness import evaluate, leaderboard, plugins, record
from harness.leaderboard import Table
from harness.types import RunSpec

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
PAIRS = [("resnet", "resnet+diffaug"), ("vit", "vit+diffaug")]
PAIRS += [pair for name in GOES_ON for pair in ((name, f"{name}+diffaug"), (f"{name}+extra", f"{name}+diffaug"))]
CELLS = [("digits-c", "default", 1), ("digits-c", "de", 3), ("digits", "default", 1), ("digits", "de", 1)]
"""Suite, method, and the stride through the test set: ten views of 9,000 images by three dozen classifiers are many."""


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


def train(out: Path, seeds: Sequence[int], shard: tuple[int, int]) -> None:
    """Train what is not there yet; shards take turns at the chains."""
    out.mkdir(parents=True, exist_ok=True)
    for chain in list(chains(out, seeds))[shard[0] :: shard[1]]:
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


def scores(out: Path, seeds: Sequence[int]) -> dict[tuple[str, str, str], list[float]]:
    """Mean accuracy in percent for each (classifier, suite, method), a number per seed."""
    found: dict[tuple[str, str, str], list[float]] = {}
    models = tuple(str(folder) for folder, _ in trainings(out, seeds))
    for suite, method, every in CELLS:
        spec = RunSpec(suite, models, (method,), denoiser="digits" if method == "de" else None, every=every)
        for path in evaluate.run(evaluate.prepare(spec, out / "results")):
            entry = record.load(path)
            metric = entry.metric("mean_accuracy", "mean") or entry.metric("accuracy", "clean")
            assert metric is not None
            name = Path(entry.model.name).name.rpartition("-")[0]
            found.setdefault((name, suite, method), []).append(100 * metric.value)
    return found


def table(out: Path, seeds: Sequence[int]) -> list[Table]:
    """Every classifier's accuracy over seeds, and what DiffAug adds, paired by seed."""
    found = scores(out, seeds)
    names = list(dict.fromkeys(name for name, _, _ in found))
    cells = [(suite, method) for suite, method, _ in CELLS]
    header = ["classifier", *(f"{suite}, {method}" for suite, method in cells)]
    rows = [[name, *(_spell(found[name, suite, method]) for suite, method in cells)] for name in names]
    hours = sum(json.loads((folder / "card.json").read_text())["seconds"] for folder, _ in trainings(out, seeds)) / 3600
    caption = (
        f"Percent, mean over seeds {list(seeds)} with a 95 % t interval over trainings; {hours:.1f} hours in all. "
    )
    caption += "; ".join(f"{s} under {m}: every {every}rd image" for s, m, every in CELLS if every > 1) + "."
    gains = []
    for before, after in PAIRS:
        differences = [np.subtract(found[after, s, m], found[before, s, m]).tolist() for s, m in cells]
        gains.append([f"{after} against {before}", *(_spell(d, sign=True) for d in differences)])
    header_gains = ["pair", *header[1:]]
    note = "Points, paired by seed. The interval is over training runs, on one and the same test set."
    return [Table("Over training seeds", header, rows, caption), Table("What DiffAug adds", header_gains, gains, note)]


def _spell(values: Sequence[float], *, sign: bool = False) -> str:
    mean, n = float(np.mean(values)), len(values)
    text = f"{mean:+.1f}" if sign else f"{mean:.1f}"
    if n < 2:
        return text
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5)
    return f"{text} [{mean - half:.1f}, {mean + half:.1f}]"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "table", "ship"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--shard", default="0/1")
    arguments = parser.parse_args()
    plugins.discover()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    if arguments.what == "train":
        i, n = map(int, arguments.shard.split("/"))
        train(arguments.out, seeds, (i, n))
    elif arguments.what == "ship":
        ship(arguments.out, Path("registry/checkpoints"))
    else:
        print("\n\n".join(leaderboard.markdown(t) for t in table(arguments.out, seeds)))


if __name__ == "__main__":
    main()
