"""Guided generation over training seeds: does a denoising-assisted classifier guide better, and what does scale cost?

    python studies/guided_generation.py train --out runs/guidance   # those of guidance.py, which are not repeated
    python studies/guided_generation.py score --out runs/guidance   # an hour of one core, for guided_generation.csv
    python studies/guided_generation.py table > results/guided_generation.md

A "noisy" classifier sees x_t, a "DA" one its one-step denoising too, and its gradient goes through the denoiser. Every
row of every suite is 600 digits from the same x_T and for the same classes, so that all differences are paired. The
judge and the second extractor took no part. A gradient of the DA classifier costs a backward pass of the denoiser more:
at equal steps it is the dearer one, and results/guided_sampling.md has the ratio. See seeds.py for how it goes on.
"""

from __future__ import annotations

from seeds import Cell, Study

SCALES = (1, 3, 10)
JUDGE = "digits/resnet"
MEASURES = {
    "accuracy": ("accuracy", 100.0, 1),
    "FD": (f"fd[{JUDGE}]", 1.0, 2),
    "coverage": (f"coverage[{JUDGE}]", 100.0, 1),
    "density": (f"density[{JUDGE}]", 1.0, 2),
}
"""Columns: the metric of the suite, its factor and digits."""


def _cell(name: str, scale: int) -> Cell:
    metric, factor, digits = MEASURES[name]
    method = "classifier" if scale == 1 else f"classifier:scale={scale}"
    return Cell(
        f"{name}, s={scale}", "guidance", method, metric=(metric, "generated"), denoiser="digits", factor=factor,
        digits=digits,
    )  # fmt: skip


STUDY = Study(
    name="guided_generation",
    title="Guided generation under noisy and denoising-assisted classifiers, over training seeds",
    question="What the denoised image adds to guided generation",
    chains=[
        [("encoder+da", ["--objective", "da", "--epochs", "50"])],
        [("encoder+noisy", ["--objective", "noisy", "--epochs", "50"])],
    ],
    cells=[_cell(name, scale) for name in MEASURES for scale in SCALES],
    pairs=[("encoder+noisy", "encoder+da")],
    unit="Accuracy of the judge and coverage in percent; FD and density by the features of digits/resnet",
    difference="Points, or differences of FD and density",
)


if __name__ == "__main__":
    STUDY.main(__doc__)
