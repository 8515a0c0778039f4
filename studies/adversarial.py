"""Adversarial training over training seeds: what do alignment with a diffusion model and generated images add?

    python studies/adversarial.py generate   # 2,000 digits for the trainings that take generated images
    python studies/adversarial.py train      # into runs/adversarial
    python studies/adversarial.py score      # evaluates the finished trainings, for results/adversarial.csv
    python studies/adversarial.py table > results/adversarial.md

The compact ResNet, linf 16/255; one trained at 8/255 kept 96 of 100 digits under PGD of 20 steps at that eps, too many
to tell ways of training apart. "pgd" is adversarial training (AT), "dra" alignment of the attacked images' features
(our settings, see docs/train.md), "generated" seven tenths of every batch from `harness generate`; both together are
the paper's complementarity (Huang, Chen & Lin 2026). All take EPOCHS epochs of 18 steps; "long" takes eleven times as
many without attacks, since an attack of ten steps costs ten passes more.

AutoAttack attacks 100 test digits at linf 16/255, the eps of training, and at l2 2. At linf 24/255 and 32/255 the two
Auto-PGDs of AutoAttack do so alone, for its cost: these numbers are upper limits. Of the detectors msp alone is used,
of the norms linf alone for training.

See seeds.py for how it goes on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from seeds import Cell, Study

EPOCHS = 20
SAMPLES = 2_000
"""Generated digits: each is then shown eight times, and each of the 1,197 training images six times."""

FOLDER = "generated"
"""Folder of the generated digits, beside the trainings."""

STEPS = ["--epochs", str(EPOCHS)]
EPS = ["--attack-eps", "16/255"]
PGD, TRADES, DRA = ["--adversarial", "pgd", *EPS], ["--adversarial", "trades", *EPS], ["--align", "dra"]
GENERATED = ["--data-extra", f"{FOLDER}/images", "--extra-as", "fraction", "--extra-fraction", "0.7"]
WAYS = {
    "resnet": STEPS,
    "resnet+long": ["--epochs", str(11 * EPOCHS)],
    "resnet+diffaug": ["--diffaug", *STEPS],
    "resnet+pgd": [*PGD, *STEPS],
    "resnet+pgd+dra": [*PGD, *DRA, *STEPS],
    "resnet+pgd+generated": [*PGD, *GENERATED, *STEPS],
    "resnet+pgd+dra+generated": [*PGD, *DRA, *GENERATED, *STEPS],
    "resnet+trades": [*TRADES, *STEPS],
}
"""Options of `harness train` by name."""


def _attacked(threat: str, setting: str, attack: str) -> Cell:
    suite = f"digits-adversarial:{setting}" if setting else "digits-adversarial"
    return Cell(f"{threat}, {attack}", suite, attack, every=6, metric=("robust_accuracy", threat))


def _analysed(name: str, analysis: str, metric: str, condition: str = "test", digits: int = 1) -> Cell:
    return Cell(name, "digits", metric=(metric, condition), factor=1.0, digits=digits, analysis=analysis)


STUDY = Study(
    name="adversarial",
    title="Adversarial training of the digits over training seeds",
    question="What alignment and generated images add",
    chains=[[way] for way in WAYS.items()],
    cells=[
        Cell("clean", "digits"),
        _attacked("linf 16/255", "eps=16/255", "autoattack"),
        _attacked("linf 24/255", "eps=24/255,32/255", "apgd"),
        _attacked("linf 32/255", "eps=24/255,32/255", "apgd"),
        _attacked("l2 2", "norm=l2,eps=2", "autoattack"),
        Cell("digits-c", "digits-c", metric=("mean_accuracy", "mean")),
        Cell("AUROC near", "openood-digits", "msp", metric=("auroc", "near")),
        Cell("AUROC far", "openood-digits", "msp", metric=("auroc", "far")),
        Cell("probe", "digits", metric=("linear_probe_accuracy", "test"), analysis="probe"),
        _analysed("PCA dimension", "pca", "pca_classification_dimension", "share=0.95"),
        _analysed("RankMe", "rank", "rankme"),
        _analysed("participation", "rank", "participation_ratio"),
        _analysed("alignment", "sphere", "alignment", digits=3),
        _analysed("uniformity", "sphere", "uniformity", digits=2),
        _analysed("FVU, k=16", "sae", "sae_fvu", "k=16", digits=3),
    ],
    pairs=[
        ("resnet", "resnet+pgd"),
        ("resnet+long", "resnet+pgd"),
        ("resnet", "resnet+diffaug"),
        ("resnet+pgd", "resnet+trades"),
        ("resnet+pgd", "resnet+pgd+dra"),
        ("resnet+pgd", "resnet+pgd+generated"),
        ("resnet+pgd+generated", "resnet+pgd+dra+generated"),
        ("resnet+pgd+dra", "resnet+pgd+dra+generated"),
    ],
    unit="Percent, but for the analyses (docs/analysis.md); robust accuracy of 100 digits",
    difference="Points, or differences of the analyses",
)


def generate(out: Path) -> None:
    """Digits of every class by the bundled class-conditional diffusion model; what exists stays."""
    options = ["--guide", "cfg:scale=2", "--denoiser", "digits-conditional", "--samples", str(SAMPLES), "--images"]
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "harness", "generate", *options, "--device", "cpu", "--out", FOLDER]
    subprocess.run(command, check=True, cwd=out)


if __name__ == "__main__":
    STUDY.main(__doc__, {"generate": generate})
