"""Classifiers that guide, over several training seeds: does it help to see the denoised image, or unlabelled ones?

    python studies/guidance.py train [--seeds 0,1,2]         # an hour and a half on two cores, into runs/guidance
    python studies/guidance.py score                         # evaluates finished ones, for results/guidance.csv
    python studies/guidance.py table > results/guidance.md   # compares over seeds, from that file alone

The laptop's Table 4 of the DiffAug paper: a "noisy" classifier sees x_t, a "DA" one its one-step denoising too. "tenth"
has the labels of every tenth image only, and "consistency" the others without theirs, for the agreement of predictions
at times up to 50 apart. All take 900 steps of 64 images, of which "consistency" sees about six with a label;
"six", its control, takes 893 steps of six images with a label and no others. See seeds.py for how it goes on.
"""

from __future__ import annotations

from seeds import Cell, Study

NOISY, DA, TENTH = ["--objective", "noisy"], ["--objective", "da"], ["--labels", "0.1"]
EPOCHS = ["--epochs", "50"]
ALONE = ["--epochs", "900", "--warmup", "90"]  # an epoch of 119 images is one step instead of eighteen
SIX = ["--batch-size", "6", "--epochs", "47"]
TIMES = (0, 200, 400, 500, 600, 700)

STUDY = Study(
    name="guidance",
    title="Classifiers of diffused digits over training seeds",
    question="What the denoised image adds, and unlabelled images",
    chains=[
        [("encoder+da+tenth+consistency", [*DA, *TENTH, "--consistency-radius", "50", *EPOCHS])],
        [("encoder+da+tenth+six", [*DA, *TENTH, *SIX])],
        [("encoder+da+tenth", [*DA, *TENTH, *ALONE])],
        [("encoder+da", [*DA, *EPOCHS])],
        [("encoder+noisy", [*NOISY, *EPOCHS])],
    ],
    cells=[
        Cell("any time", "noisy-accuracy", metric=("accuracy", "uniform"), denoiser="digits"),
        *(Cell(f"t={t}", "noisy-accuracy", metric=("accuracy", f"t={t}"), denoiser="digits") for t in TIMES),
    ],
    pairs=[
        ("encoder+noisy", "encoder+da"),
        ("encoder+da", "encoder+da+tenth"),
        ("encoder+da+tenth+six", "encoder+da+tenth+consistency"),
    ],
)


if __name__ == "__main__":
    STUDY.main(__doc__)
