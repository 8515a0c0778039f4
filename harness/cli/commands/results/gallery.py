"""``harness gallery``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.base.errors import HarnessError
from harness.cli.options import RESULTS, Device, Files, Plugin, Seed

if TYPE_CHECKING:
    from harness.evaluation.job import Job
    from harness.evaluation.records.record import RunRecord
    from harness.report.gallery.contents import Gallery

METHODS = ("default", "de", "dda")
"""Methods of a gallery unless some are named: by themselves, and with denoised and with adapted images."""

TIMES = ",".join(map(str, range(50, 451, 50)))


def gallery(
    suite: Annotated[str, typer.Option(help="Suite whose images are shown, with settings.")] = "digits-c",
    model: Annotated[
        list[str],
        typer.Option(help="Classifier. Repeatable. [default: those of the suite's data whose weights are here]"),
    ] = [],  # noqa: B006
    tta: Annotated[list[str], typer.Option(help=f"Test-time method. Repeatable. [default: {', '.join(METHODS)}]")] = [],  # noqa: B006
    data: Annotated[Path | None, typer.Option(help="Folder of the data.")] = None,
    corruption: Annotated[
        list[str], typer.Option(help="Corruption, or condition of the suite: fog, fog/5. Repeatable. [default: three]")
    ] = [],  # noqa: B006
    severity: Annotated[str | None, typer.Option(help="Severities of a corruption suite: 5, or 1,3,5.")] = None,
    ids: Annotated[list[str], typer.Option(help="Id of an image, as in the sample tables. Repeatable.")] = [],  # noqa: B006
    images: Annotated[
        int, typer.Option(min=1, help="Without --ids: so many images, half of them where classifiers disagree.")
    ] = 6,
    times: Annotated[str, typer.Option(help="Diffusion times of the one-step denoisings to show.")] = TIMES,
    hardest: Annotated[
        int,
        typer.Option(min=0, max=100, help="Also the images that most records get wrong with confidence; 0 for none."),
    ] = 12,
    denoiser: Annotated[str | None, typer.Option(help="Diffusion model. [default: the suite's]")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    weights: Files = [],  # noqa: B006
    results: Annotated[Path, typer.Option(help="Folder with records, of which the hardest images are.")] = RESULTS,
    out: Annotated[Path | None, typer.Option(help="Folder to write. [default: RESULTS/local/gallery/SUITE]")] = None,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Show a few test images as classifiers see them, and what each classifier says: for `harness report`.

    Each image is shown clean, under corruptions, denoised and adapted, with the noise of the evaluation. Written are
    pictures and `gallery.json`; what is up to date is not computed again.

    Examples: `harness gallery`, `harness gallery --model digits/vit --tta default --ids digits/1200`
    """
    from harness import plugins
    from harness.api.gallery.making import GalleryRequest
    from harness.report.gallery.contents import LOCAL

    plugins.discover(*plugin)
    wanted = GalleryRequest(tuple(corruption), tuple(ids), images, _times(times), hardest)
    shorthands = {"data": data, "severity": severity}
    settings = {"suite": [suite], "models": model, "denoiser": denoiser, "seed": seed, "device": device}
    job = _job(settings, shorthands, tta, weights, results)
    folder = out or results / LOCAL / _name(suite, severity)
    _make(job, wanted, folder, results, _records(results) if hardest else [])


def _times(text: str) -> tuple[int, ...]:
    try:
        times = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        times = (0,)
    if any(time < 1 for time in times) or len(set(times)) < len(times):
        raise HarnessError(f"--times {text!r}: give different whole numbers from 1 with a comma, such as 50,150.")
    return times


def _name(suite: str, severity: str | None) -> str:
    """Name of a gallery's folder: the suite's, with its severities."""
    return f"{suite.partition(':')[0]}{f'-severity-{severity}' if severity else ''}".replace("/", "-")


def _job(
    settings: dict[str, Any], shorthands: dict[str, Any], tta: list[str], weights: list[str], results: Path
) -> Job:
    """The job behind a gallery: what `harness run` would evaluate."""
    from harness import plugins
    from harness.api.gallery.choice import check_suite
    from harness.api.requests import requests
    from harness.api.running import Execution, prepared
    from harness.api.weight_files import weight_files_of

    execution = Execution(results, weight_files_of(weights))
    usual = {"every": None, "limit": 0, "dtype": "auto", "denoiser_dtype": "auto", "tile": 0}
    text = settings["suite"][0]
    check_suite(text, plugins.suite.configure(text).plugin)
    texts = {plugins.method.kind: tta or METHODS}
    (request,) = requests({**usual, **settings}, shorthands, texts, True, execution.weight_files)
    return prepared([request], execution)[0]


def _records(results: Path) -> list[RunRecord]:
    from harness.report.boards import find
    from harness.terminal import console

    return find(results, console.leave_out) if results.is_dir() else []


def _make(job: Job, wanted: Any, folder: Path, results: Path, records: list[RunRecord]) -> None:
    """Make the gallery under a progress bar, and say what was written."""
    from harness.api.gallery.making import make
    from harness.report.gallery.contents import FILE
    from harness.terminal import console

    command = shlex.join(["harness", *sys.argv[1:]])
    with console.progress() as bar:
        lines: list[Any] = []

        def report(p: Any) -> None:
            if not lines:
                lines.append(bar.begin(job.spec.suite, p.total))
            bar.update(lines[0], completed=p.done, computed=p.computed, info=p.step)

        made, computed = make(job, wanted, folder, records, command, report)
    state = _contents(made) if computed else "up to date"
    console.out.print(f"{folder / FILE}: {state}. {_embedding(folder, results)}", soft_wrap=True)


def _contents(made: Gallery) -> str:
    """Numbers of pictures and images: ``28 pictures of 4 chosen images and the 12 hardest``."""
    pictures = len({shot.pixels for shot in made.shots()})
    chosen = len({entry.id for entry in made.specimens})
    hardest = len(made.hardest.images) if made.hardest else 0
    parts = [f"{chosen} chosen image{'s' * (chosen != 1)}", *([f"the {hardest} hardest"] if hardest else [])]
    return f"{pictures} pictures of {' and '.join(parts)}"


def _embedding(folder: Path, results: Path) -> str:
    """The command that embeds a gallery, or the folders in which `harness report` looks."""
    from harness.report.gallery.contents import FOLDER, LOCAL

    if folder.absolute().parent in ((results / name).absolute() for name in (LOCAL, FOLDER)):
        return "Embed it: " + shlex.join(["harness", "report", *([str(results)] if results != RESULTS else [])])
    return f"harness report embeds galleries in {results / LOCAL}/ and {results / FOLDER}/ alone: move it there."
