"""``harness score``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Device, Files, Plugin, Seed

if TYPE_CHECKING:
    from harness.generation.score.record import ScoreRecord
    from harness.generation.score.scoring import ScoreSpec


Samples = Annotated[
    str, typer.Argument(metavar="SAMPLES", help="Generated images: an .npz of OpenAI's layout, or a folder.")
]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="REFERENCE",
        help="Images to compare with, the same way; an .npz may hold mu and sigma. [default: images of --dataset]",
        show_default=False,
    ),
]
Extractors = Annotated[
    list[str], typer.Option(help="Network of the features: any model, or inception:weights=FILE. Repeatable.")
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Data set of the reference, and of the classes that labels count. [default: digits, or none beside a "
        "REFERENCE]",
        show_default=False,
    ),
]
Split = Annotated[str, typer.Option(help="Its split; the other one is the floor.")]
Root = Annotated[Path | None, typer.Option(help="Its folder, for data sets that read one.")]
Judge = Annotated[str, typer.Option(help="Model whose accuracy on the labels is told: of arr_1, or of class folders.")]
Metrics = Annotated[
    list[str],
    typer.Option(
        help="fd, fd_infinity, kid, precision, recall, density, coverage, memorised, inception_score. Repeatable; all "
        "without.",
        show_default=False,
    ),
]
RecordFile = Annotated[Path | None, typer.Option(help="File for the record, JSON.")]


def score(
    samples: Samples,
    reference: Reference = "",
    extractor: Extractors = ["digits/resnet"],  # noqa: B006
    dataset: Data = None,
    split: Split = "train",
    data: Root = None,
    judge: Judge = "",
    metric: Metrics = [],  # noqa: B006
    seed: Seed = 0,
    device: Device = "auto",
    out: RecordFile = None,
    plugin: Plugin = [],  # noqa: B006
    weights: Files = [],  # noqa: B006
) -> None:
    """Score generated images from anywhere: Frechet distance, KID, precision, recall, density, coverage, memorisation.

    SAMPLES and REFERENCE are .npz files of OpenAI's layout (arr_0, images N x H x W x 3 uint8; arr_1, labels) or
    folders of images, flat or in class folders. A metric is called by its extractor, fd[digits/resnet]; the distance is
    `fid` only with the published Inception weights. Every number has its interval; beside it stand as many real images,
    and the value of an ideal generator where it is known.

    Features are kept in the cache folder: a second metric of the same images costs no network call.

    Examples: `harness score samples.npz --judge digits/vit`,
    `harness score generated/ real/ --extractor digits/resnet --extractor digits/vit --out score.json`,
    `harness score samples.npz REFERENCE.npz --extractor inception:weights=pt_inception-2015-12-05-6726825d.pth`
    """
    from harness import plugins
    from harness.api.machine import usable_device
    from harness.base.files import check_writable
    from harness.generation.score import record as records
    from harness.generation.score.scoring import ScoreSpec
    from harness.report.posthoc.generated import tables
    from harness.terminal import console

    plugins.discover(*plugin)
    chosen = dataset if dataset is not None else "" if reference else "digits"
    if out:
        check_writable(out.parent)
    spec = ScoreSpec(
        samples, reference, tuple(extractor), chosen, split, str(data or ""), judge, tuple(metric), seed,
        usable_device(device),
    )  # fmt: skip
    scored = _scored(spec, weights)
    for table in tables(scored):
        console.show(table)
    if out:
        records.write(scored, out)
        console.note(f"Wrote {out}.")


def _scored(spec: ScoreSpec, weights: Sequence[str]) -> ScoreRecord:
    """The record, made under a progress bar. weights: texts of ``--weights``."""
    from harness.api.weight_files import fetch_missing, weight_files_of
    from harness.generation.score.scoring import METRICS
    from harness.generation.score.scoring import score as computed
    from harness.terminal import console
    from harness.types import Stage

    weight_files = weight_files_of(weights)
    fetch_missing([*spec.extractors, spec.judge], weight_files)
    with console.progress() as bar:
        lines: dict[str, Any] = {}

        def report(stage: Stage) -> None:
            if stage.name not in lines:
                lines[stage.name] = bar.begin(stage.name, stage.total), stage.done
            task, before = lines[stage.name]
            unit = "metrics" if stage.name.startswith(METRICS) else "images"
            bar.update(task, total=stage.total, completed=stage.done, computed=stage.done - before, unit=unit)

        return computed(spec, report, weight_files)
