"""The ten classifiers of the paper at laptop size, over several training seeds: what does DiffAug add to each?

    python benchmarks/zoo.py train [--seeds 0,1,2]      # about three hours on two cores in all, into runs/zoo
    python benchmarks/zoo.py score                      # evaluates what is trained, for results/zoo.json
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
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
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
COLUMNS = [f"{suite}, {method}" for suite, method, _ in CELLS]
KEPT = Path(__file__).parents[1] / "results" / "zoo.json"
Score = dict[str, Any]


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
        with suppress(Timeout), FileLock(out / f".{chain[0][0].name}.lock", blocking=False):
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
    """Add the finished trainings to the file that ships: accuracy by suite and method, and what was evaluated."""
    folders = [folder for folder, _ in trainings(out, seeds) if (folder / "card.json").is_file()]
    found: dict[str, Score] = json.loads(kept.read_text()) if kept.is_file() else {}
    for folder in folders:
        card = json.loads((folder / "card.json").read_text())
        about = {name: card[name] for name in ("command", "sha256", "seconds", "made_with")}
        found[folder.name] = {**about, "accuracy": {}}
    for suite, method, every in CELLS:
        denoiser = "digits" if method == "de" else None
        spec = RunSpec(suite, tuple(map(str, folders)), (method,), denoiser=denoiser, every=every)
        for path in evaluate.run(evaluate.prepare(spec, out / "results")):
            entry = record.load(path)
            metric = entry.metric("mean_accuracy", "mean") or entry.metric("accuracy", "clean")
            assert metric is not None
            found[Path(entry.model.name).name]["accuracy"][f"{suite}, {method}"] = metric.value
    text = json.dumps(dict(sorted(found.items())), indent=1)
    kept.write_text(text + "\n")


def tables(found: Mapping[str, Score]) -> list[Table]:
    """Every classifier's accuracy over seeds, and what DiffAug adds, paired by seed."""
    # By classifier, then by seed: the accuracy in percent for each cell.
    values: dict[str, dict[str, np.ndarray]] = {}
    for training, of in found.items():
        name, _, seed = training.rpartition("-")
        values.setdefault(name, {})[seed] = 100 * np.array([of["accuracy"][cell] for cell in COLUMNS])
    order = [n for folder, _ in trainings(Path(), [0]) if (n := folder.name.removesuffix("-0")) in values]
    rows = [[name, *_spelt(list(values[name].values())), str(len(values[name]))] for name in order]
    hours = sum(of["seconds"] for of in found.values()) / 3600
    thinned = "; ".join(f"{s}, {m}: every {every}rd image" for s, m, every in CELLS if every > 1)
    caption = (
        f"Percent: mean over trainings and its 95 % t interval. {thinned}. {len(found)} trainings, {hours:.1f} hours."
    )
    gains = {
        pair: {s: values[pair[1]][s] - values[pair[0]][s] for s in values[pair[0]] if s in values[pair[1]]}
        for pair in PAIRS
        if set(pair) <= values.keys()
    }
    paired = [[f"{b} against {a}", *_spelt(list(by.values()), True), str(len(by))] for (a, b), by in gains.items()]
    equal = [by for (before, _), by in gains.items() if before not in GOES_ON]
    shared = sorted(set.intersection(*map(set, equal)))
    means = [np.mean([by[seed] for by in equal], axis=0) for seed in shared]
    paired.append([f"mean of the {len(equal)} pairs of equally many steps", *_spelt(means, True), str(len(shared))])
    note = "Points, paired by seed, 95 % t interval over trainings, on one and the same test set."
    return [
        Table("Ten classifiers and three controls over training seeds", ["classifier", *COLUMNS, "n"], rows, caption),
        Table("What DiffAug adds", ["pair", *COLUMNS, "n"], paired, note),
    ]


def _spelt(values: Sequence[np.ndarray], signed: bool = False) -> list[str]:
    """A mean over trainings with its t interval, for each cell."""
    return [_spell(column, "+.1f" if signed else ".1f") for column in np.transpose(values)]


def _spell(values: np.ndarray, form: str) -> str:
    mean, n = values.mean(), len(values)
    if n < 2:
        return f"{mean:{form}}"
    half = stats.t.ppf(0.975, n - 1) * stats.sem(values)
    return f"{mean:{form}} [{mean - half:.1f}, {mean + half:.1f}]"


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
        sys.stdout.write("\n".join(leaderboard.markdown(table) for table in tables(json.loads(KEPT.read_text()))))


if __name__ == "__main__":
    main()
