"""Groups of options of ``harness run``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import RESULTS, Files, Plugin, Workers, shares_of
from harness.types.spec import WHAT

if TYPE_CHECKING:
    from harness.api.running import Execution

SUITES = "Settings of suites"
MODELS = "Settings of models"


class OnBadImage(StrEnum):
    """Fate of a run whose data cannot all be read."""

    stop = "stop"
    skip = "skip"


@dataclass(frozen=True)
class OtherMethods:
    """Options that name methods of other kinds, which suites combine with classifiers beside test-time methods."""

    smooth: Annotated[
        list[str],
        typer.Option(
            help="Smoother of certification: gaussian, denoise, denoise-vote:K. Repeatable. [default: denoise]",
            rich_help_panel=WHAT,
        ),
    ] = field(default_factory=list)
    detector: Annotated[
        list[str],
        typer.Option(
            help="Detector of out-of-distribution images: scale, knn:k=10, react:percentile=tune. Repeatable; "
            "every --tta with every --detector. [default: the suite's]",
            rich_help_panel=WHAT,
        ),
    ] = field(default_factory=list)
    attack: Annotated[
        list[str],
        typer.Option(
            help="Adversarial attack, with settings: see harness list attacks. Repeatable; every --tta with every "
            "--attack. [default: autoattack]",
            rich_help_panel=WHAT,
        ),
    ] = field(default_factory=list)
    guide: Annotated[
        list[str],
        typer.Option(
            help="Guide of --suite guidance: none, classifier:scale=2, denoised, cfg:scale=3. Repeatable; every "
            "--model with every guide that asks a classifier. [default: the suite's]",
            rich_help_panel=WHAT,
        ),
    ] = field(default_factory=list)

    def texts(self, tta: Sequence[str]) -> dict[str, Sequence[str]]:
        """The texts of these options and of ``--tta``, by kind of plugin."""
        from harness import plugins

        return {
            plugins.method.kind: tta,
            plugins.smoother.kind: self.smooth,
            plugins.detector.kind: self.detector,
            plugins.attack.kind: self.attack,
            plugins.guide.kind: self.guide,
        }


@dataclass(frozen=True)
class SuiteSettings:
    """Shorthands for settings of a suite: ``--severity 5`` for ``digits-c:severity=5``."""

    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the data. Without --suite: every data set in it, after a list with costs.",
            rich_help_panel=SUITES,
        ),
    ] = None
    severity: Annotated[
        str | None,
        typer.Option(help="Severities of a corruption suite: 5, or 1,2,3,4,5.", rich_help_panel=SUITES),
    ] = None
    corruption: Annotated[
        str | None,
        typer.Option(
            help="Corruptions of a suite that makes them on the fly, in place of its 15: fog,snow; standard,NAME for "
            "the 15 and one more. See harness list corruptions.",
            rich_help_panel=SUITES,
        ),
    ] = None
    sigma: Annotated[
        str | None, typer.Option(help="Noise levels of certification: 0.5, or 0.25,0.5,1.", rich_help_panel=SUITES)
    ] = None
    radii: Annotated[
        str | None,
        typer.Option(
            help="Certify at these radii only: sampling stops when an image's answer is settled.",
            rich_help_panel=SUITES,
        ),
    ] = None
    near: Annotated[
        list[Path],
        typer.Option(
            help="Folder of images near the distribution, for ood-folders. Repeatable.", rich_help_panel=SUITES
        ),
    ] = field(default_factory=list)
    far: Annotated[
        list[Path],
        typer.Option(help="The same, far from the distribution. Repeatable.", rich_help_panel=SUITES),
    ] = field(default_factory=list)


@dataclass(frozen=True)
class ModelSettings:
    """Shorthands for settings of models: ``--architecture resnet50`` for ``my.pt:architecture=timm/resnet50``."""

    architecture: Annotated[
        str | None,
        typer.Option(
            help="Architecture of files of tensors: timm's, torchvision's or a registered name.", rich_help_panel=MODELS
        ),
    ] = None
    mean: Annotated[
        str | None, typer.Option(help="Mean of each channel, in [0, 1]: 0.485,0.456,0.406.", rich_help_panel=MODELS)
    ] = None
    std: Annotated[
        str | None, typer.Option(help="Standard deviation of each channel, in [0, 1].", rich_help_panel=MODELS)
    ] = None
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Side, or height,width: images of other sizes are resized inside the network.", rich_help_panel=MODELS
        ),
    ] = None
    interpolation: Annotated[
        str | None, typer.Option(help="How they are resized: bilinear or bicubic.", rich_help_panel=MODELS)
    ] = None
    classes: Annotated[
        str | None,
        typer.Option(
            help="File with the names of the outputs, one a line, or JSON: matched with the data's by name.",
            rich_help_panel=MODELS,
        ),
    ] = None


@dataclass(frozen=True)
class FolderChoice:
    """Choice among the data sets that ``--data`` holds, without ``--suite``."""

    only: Annotated[
        list[str],
        typer.Option(help="Only this suite or folder of what --data holds. Repeatable.", rich_help_panel=SUITES),
    ] = field(default_factory=list)
    skip: Annotated[
        list[str],
        typer.Option(help="Without this suite or folder of what --data holds. Repeatable.", rich_help_panel=SUITES),
    ] = field(default_factory=list)


@dataclass(frozen=True)
class RunExecution:
    """Options that decide no number: how to run, and the files that a run reads and writes."""

    batch_size: Annotated[
        int,
        typer.Option(
            min=0, show_default=False, help="Images held at a time; 0 fits the memory. Never changes a number."
        ),
    ] = 0
    workers: Workers = "auto"
    on_bad_image: Annotated[
        OnBadImage,
        typer.Option(
            help="skip leaves out what cannot be read, images and other files: the records are partial and say so."
        ),
    ] = OnBadImage.stop
    out: Annotated[Path, typer.Option(help="Folder for the records.")] = RESULTS / "local"
    weights: Files = field(default_factory=list)
    shard: Annotated[
        str,
        typer.Option(
            help="i/n: the i-th of n fixed shares of the parts, from 0. Without it, processes that run the same "
            "command in the same --out take one part after the other."
        ),
    ] = ""
    on: Annotated[
        str | None,
        typer.Option(
            help="Start several processes for this command: gpus (one per GPU), gpus:N, processes:N (on the CPU), "
            "slurm:workers=16,partition=NAME,time=4:00:00, ray, ray:ADDRESS. See docs/scale.md."
        ),
    ] = None
    mixed_devices: Annotated[
        bool,
        typer.Option("--mixed-devices", help="Go on with records that another kind of device has begun; they say so."),
    ] = False
    plugin: Plugin = field(default_factory=list)
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be computed and how long it takes.")] = (
        False
    )
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute again what is already on disk.")] = False

    def parsed(self) -> Execution:
        """The options as `harness.api.running` takes them; raises HarnessError for texts that mean nothing."""
        from harness.api.running import Execution, claims_of
        from harness.api.weight_files import weight_files_of
        from harness.evaluation.launch.workers import Worker

        worker = Worker.of(os.environ)
        return Execution(
            out=self.out,
            weight_files=weight_files_of(self.weights),
            claims=claims_of(shares_of(self.shard) if self.shard else None),
            skip_bad=self.on_bad_image is OnBadImage.skip,
            batch_size=self.batch_size,
            workers=self.workers,
            fresh=self.fresh,
            shown=worker is None or worker.prints,
            tolerant=worker is not None and not self.shard,
            mixed_devices=self.mixed_devices,
        )
