"""The ten classifiers of the paper at laptop size, over several training seeds: what does DiffAug add to each?

    python studies/ten_classifiers.py train [--seeds 0,1,2]   # three and a half hours on two cores, into runs/zoo
    python studies/ten_classifiers.py score                   # evaluates the finished trainings, for results/zoo.csv
    python studies/ten_classifiers.py table > results/zoo.md  # compares over seeds, from that file alone
    python studies/ten_classifiers.py ship                    # seed 0 becomes registry/checkpoints/digits-*

RN50 and ViT-B/16 become the compact ResNet and ViT; AM is AugMix, DA DeepAugment, DAM both. As in the paper, AM, DA and
DAM with DiffAug go on from the classifier without it; "+extra" goes on for the same steps without DiffAug, so that
DiffAug is not credited with longer training. ResNet and ViT with DiffAug are trained with it from the start, for as
many steps as without. AM, DA and DAM compute in bfloat16, each pair alike. See seeds.py for how it goes on.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from seeds import Cell, Study

from harness.types import HarnessError

AUGMIX, DEEPAUGMENT, DIFFAUG = ["--augmix"], ["--deepaugment", "autoencoder"], ["--diffaug"]
HALF = ["--dtype", "bfloat16"]  # 1.7 times faster for the ResNet where the processor has it, slower for the ViT
LONGER = ["--epochs", "20", "--lr", "0.001", "--warmup", "1"]
GOES_ON = {
    "resnet+augmix": [*AUGMIX, *HALF],
    "resnet+deepaugment": [*DEEPAUGMENT, *HALF],
    "resnet+augmix+deepaugment": [*AUGMIX, *DEEPAUGMENT, *HALF],
}
MEAN = ("mean_accuracy", "mean")
FROM_SCRATCH = [(name, f"{name}+diffaug") for name in ("resnet", "vit")]
CONTROLLED = [(f"{name}+extra", f"{name}+diffaug") for name in GOES_ON]


def _longer(name: str, options: list[str]) -> list[tuple[str, list[str]]]:
    """A training, and its continuations without and with DiffAug."""
    start = ["--init", f"{name}-{{seed}}", *LONGER]
    return [
        (name, options),
        (f"{name}+extra", [*options, *start]),
        (f"{name}+diffaug", [*options, *DIFFAUG, *start]),
    ]


STUDY = Study(
    name="zoo",
    title="Ten classifiers and three controls over training seeds",
    question="What DiffAug adds",
    chains=[
        [("resnet", [])],
        [("resnet+diffaug", DIFFAUG)],
        *(_longer(name, options) for name, options in GOES_ON.items()),
        [("vit", [])],
        [("vit+diffaug", DIFFAUG)],
    ],
    cells=[
        Cell("digits-c, default", "digits-c", metric=MEAN),
        # Ten views of 9,000 images by three dozen classifiers are many.
        Cell("digits-c, de, 1 in 6", "digits-c", "de", every=6, metric=MEAN, denoiser="digits"),
        Cell("digits, default", "digits"),
        Cell("digits, de, 1 in 3", "digits", "de", every=3, denoiser="digits"),
    ],
    pairs=[
        *FROM_SCRATCH,
        *(pair for name, pair in zip(GOES_ON, CONTROLLED, strict=True) for pair in ((name, f"{name}+diffaug"), pair)),
    ],
    equal={"mean of the five pairs with equally many steps": [*FROM_SCRATCH, *CONTROLLED]},
)


def ship(out: Path) -> None:
    """Put the paper's ten of seed 0 where the bundled classifiers are, under their names there."""
    registry = Path(__file__).parents[1] / "registry" / "checkpoints"
    names = [name for name in STUDY.names if not name.endswith("+extra")]
    folders = {name: folder for name, _, folder in STUDY.finished(out, [0])}
    if lacking := [name for name in names if name not in folders]:
        raise HarnessError(f"{out} lacks {', '.join(lacking)} of seed 0. Train first, and give the folder with --out.")
    for name in names:
        card = (folders[name] / "card.json").read_text()
        start = name.removesuffix("+diffaug")
        (registry / f"digits-{name}.json").write_text(card.replace(f"{start}-0", f"digits/{start}"))
        shutil.copyfile(folders[name] / "model.safetensors", registry / f"digits-{name}.safetensors")


if __name__ == "__main__":
    STUDY.main(__doc__, {"ship": ship})
