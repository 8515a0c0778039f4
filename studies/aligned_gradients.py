"""Gradients over training seeds: does DiffAug align them with the class?

    python studies/aligned_gradients.py train   # 40 minutes of one core, into runs/aligned_gradients
    python studies/aligned_gradients.py score   # for results/aligned_gradients.csv
    python studies/aligned_gradients.py table > results/aligned_gradients.md

The compact ResNet with and without DiffAug, for equally many steps; the gradient of log p(y) through the denoiser
against two targets: the score of Gaussian classes, and the class mean. "wrong class" and "random weights" are controls:
the target of another class, and the gradient of the same architecture untrained. See seeds.py for how it goes on.
"""

from __future__ import annotations

from seeds import Cell, Study

TIMES = (300, 500, 700)
MEASURES = {
    "score": "cosine_score",
    "class mean": "cosine_mean",
    "wrong class": "cosine_wrong",
    "random weights": "cosine_score_random",
}
"""Columns: the metric of the suite."""


def _cell(name: str, time: int) -> Cell:
    metric = MEASURES[name], f"total/t={time}"
    return Cell(
        f"{name}, t={time}", "gradient-alignment", every=10, metric=metric, denoiser="digits", factor=1.0, digits=3
    )


STUDY = Study(
    name="aligned_gradients",
    title="Alignment of gradients over training seeds",
    question="What DiffAug changes",
    chains=[[("resnet", [])], [("resnet+diffaug", ["--diffaug"])]],
    cells=[_cell(name, time) for name in MEASURES for time in TIMES],
    pairs=[("resnet", "resnet+diffaug")],
    unit="Mean cosines on 60 test digits, at t = 300 and 500 mostly of gradients too small to guide (docs/guidance.md)",
    difference="Differences of cosines",
)


if __name__ == "__main__":
    STUDY.main(__doc__)
