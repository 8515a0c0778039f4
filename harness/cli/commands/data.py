"""``harness data``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.api.machine import threads
from harness.base.errors import HarnessError
from harness.cli.options import Plugin, Workers

if TYPE_CHECKING:
    from harness.data.check import Checked
    from harness.types import Pictures

NAMED = 5
"""Images that an error names."""

ABREAST = 3
"""Splits that stand side by side; more stand below one another."""

ROWS = (
    "images", "classes", "classes in the files' order", "images per class", "width: least / median / most",
    "height: least / median / most", "unusable", "not read", "manifest",
)  # fmt: skip

Split = tuple[Callable[[], Any], int]
"""A function that opens a split or a condition, and the number of images that were published of it; 0 if unknown."""

app = typer.Typer(help="Check data sets, and write image lists.", no_args_is_help=True)

Lines = dict[str, list[str]]
"""By sentence, the splits that it is true of."""


@dataclass
class Findings:
    """Results of the splits that were looked at.

    columns: by split, the cells of the table, in the order of `ROWS`. wrong: sentences on what makes data unusable.
    remarks: sentences on harmless findings.
    """

    columns: dict[str, list[str]] = field(default_factory=dict)
    wrong: Lines = field(default_factory=dict)
    remarks: Lines = field(default_factory=dict)

    def add(self, part: str, images: Pictures, checked: Checked, published: int) -> None:
        """Add the results of a split."""
        from harness.data.folder_contents import unread_note

        self.columns[part] = _column(images, checked, published)
        if note := unread_note(images):
            self.wrong.setdefault(note, []).append(part)
        if checked.bad:
            self.wrong.setdefault(_several(checked.bad, len(images.ids)), []).append(part)
        for line in (_lacking(images, checked), _order(images)):
            self.remarks.setdefault(line, []).append(part)

    def fine(self) -> list[str]:
        """Splits without a fault."""
        return [split for split in self.columns if not any(split in splits for splits in self.wrong.values())]


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(help="Data set (harness list datasets), or a suite that reads a folder: imagenet-r.")
    ],
    data: Annotated[Path | None, typer.Option(help="Folder of the data, for data sets that read one.")] = None,
    split: Annotated[
        list[str],
        typer.Option(help="Split, or condition of a suite. Repeatable. [default: all of them]", show_default=False),
    ] = [],  # noqa: B006
    quick: Annotated[bool, typer.Option("--quick", help="Only the headers of the images; finds no damage.")] = False,
    workers: Workers = "auto",
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Look at every image of a data set: counts, sizes, and what cannot be read. Exit code 2 if anything is wrong.

    Examples: `harness data check imagenet --data DIR --split val`,
    `harness data check imagenet-c:severity=1,2,3,4,5 --data DIR`.
    """
    from harness import plugins
    from harness.terminal import console

    plugins.discover(*plugin)
    if data and not data.exists():
        raise HarnessError(f"There is no folder {data}. Check the path in --data.")
    splits = _parts(name, str(data or ""))
    if unknown := [part for part in split if part not in splits]:
        raise plugins.suggest("split", unknown[0], list(splits), f" of {name!r}")
    chosen = {part: splits[part] for part in split} if split else splits
    findings = _look(name, chosen, quick, workers)
    _show(f"{name}{f' in {data}' if data else ''}", findings)
    if findings.wrong:
        raise HarnessError(_verdict(findings, [] if split else findings.fine()))
    console.out.print("Every header can be read; nothing was decoded." if quick else "Every image can be read.")


@app.command()
def lists(
    folder: Annotated[Path, typer.Argument(help="Folder of images, flat or nested.")],
    out: Annotated[Path, typer.Option(help="The list, such as DIR/benchmark_imglist/cifar10/test_texture.txt.")],
    root: Annotated[
        Path | None,
        typer.Option(help="Folder that paths start from. [default: the images_... folder around FOLDER]"),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="Data set whose classes the folders in FOLDER are named after; without, labels are -1.")
    ] = "",
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Write an image list as OpenOOD has them: a line "path label" for every image of a folder.

    Examples: `harness data lists DIR/images_classic/texture --out DIR/benchmark_imglist/cifar10/test_texture.txt`,
    `harness data lists DIR/images_classic/cifar10/test --dataset cifar10 --out LIST`.
    """
    from harness import plugins
    from harness.base.files import writing
    from harness.data import benchmark_classes
    from harness.data.layouts.lists import lines_of
    from harness.terminal import console

    plugins.discover(*plugin)
    start = root or next((path for path in folder.resolve().parents if path.name.startswith("images_")), None)
    if start is None:
        raise HarnessError(f"{folder} lies in no folder called images_...: give the one that paths start from, --root.")
    if out.exists():
        raise HarnessError(f"{out} exists. Remove it, or give another --out.")
    if dataset and not plugins.dataset[dataset].facts.get("classes"):
        raise HarnessError(
            f"--dataset {dataset}: its classes have no fixed names. Choose one such as cifar10, imagenet."
        )
    lines = lines_of(folder, start, benchmark_classes(dataset) if dataset else ())
    out.parent.mkdir(parents=True, exist_ok=True)
    with writing(out) as partial_file:
        partial_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.out.print(f"{out}: {len(lines):,} images, paths below {start}.", markup=False, soft_wrap=True)


def _look(name: str, splits: Mapping[str, Split], quick: bool, workers: str) -> Findings:
    """Look at every split under a progress bar."""
    from harness.data.check import check as check_images
    from harness.terminal import console

    findings = Findings()
    with console.progress() as bar:
        for part, (open_part, published) in splits.items():
            try:
                images = open_part()
                if not hasattr(images, "picture"):
                    raise HarnessError(f"made from other images. Check those: harness data check {images.name}")
                report = partial(_advance, bar, bar.begin(f"{name} {part}", len(images.ids)))
                checked = check_images(images, quick=quick, workers=threads(workers, [images]), report=report)
                findings.add(part, images, checked, published)
            except HarnessError as error:
                findings.wrong.setdefault(str(error), []).append(part)
    return findings


def _show(title: str, findings: Findings) -> None:
    """Print the table of the splits, a column each, or a row each where there are many; then the remarks."""
    from harness.report.table import Table
    from harness.terminal import console

    if columns := findings.columns:
        rows = [list(row) for row in zip(ROWS, *columns.values(), strict=True)]
        header = ["", *columns]
        if len(columns) > ABREAST:
            header, *rows = ([*row] for row in zip(header, *rows, strict=True))
        console.show(Table(title, header, rows))
    for line in filter(None, findings.remarks):
        console.err.print(f"{', '.join(findings.remarks[line])}: {line}", markup=False, soft_wrap=True)


def _verdict(findings: Findings, fine: Sequence[str]) -> str:
    """Sentences on the faults, and the options that select the splits without any."""
    lines = [f"{', '.join(splits)}: {line}" for line, splits in findings.wrong.items()]
    if fine:
        lines.append(f"Nothing is wrong with the rest: {' '.join(f'--split {part}' for part in fine)}")
    return "\n".join(lines)


def _parts(name: str, folder: str) -> dict[str, Split]:
    """The splits of a data set, or the conditions of a suite."""
    from harness import plugins
    from harness.data import open_dataset

    base = name.partition(":")[0]
    reading = {entry.name for entry in plugins.suite.entries() if "data" in entry.parameters}
    if name in plugins.dataset:
        splits = plugins.dataset[name].facts.get("splits", ("train", "test"))
        return {part: (partial(open_dataset, name, part, folder), 0) for part in splits}
    if base not in reading:
        raise plugins.unknown("data set", name, sorted({*(e.name for e in plugins.dataset.entries()), *reading}))
    bench = plugins.suite.configure(f"{name}{',' if ':' in name else ':'}data={folder}").plugin
    return {c.name: (partial(bench.open, c, 0), c.size) for c in bench.conditions()}


def _advance(bar: Any, task: Any, done: int) -> None:
    bar.update(task, completed=done, computed=done)


def _column(data: Pictures, checked: Checked, published: int) -> list[str]:
    """The cells of one split, in the order of `ROWS`."""
    from harness.data.classes import naming_of

    naming = naming_of(data)
    counts = [int(count) for count in checked.per_class if count]
    return [
        f"{len(data.ids):,}" + (f" of {published:,}" if published else ""),
        f"{len(counts)} of {data.num_classes}",
        _first(naming.files or data.classes),
        f"{min(counts)} to {max(counts)}" if counts else "",
        *(" / ".join(map(str, checked.spread(axis))) for axis in (0, 1)),
        f"{len(checked.bad):,}",
        f"{len(getattr(data, 'unread', ())):,}",
        data.sha256[:12],
    ]


def _lacking(data: Pictures, checked: Checked) -> str:
    """A remark on classes without images; none if most are empty, because such a data set has few classes."""
    empty = [name for name, count in zip(data.classes, checked.per_class, strict=False) if not count]
    if not 0 < 2 * len(empty) <= data.num_classes:
        return ""
    more = f" and {len(empty) - NAMED:,} more" if len(empty) > NAMED else ""
    return f"No images of {len(empty):,} of {data.num_classes:,} classes: {', '.join(empty[:NAMED])}{more}."


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _order(data: Pictures) -> str:
    """A remark where files list their classes otherwise than the labels count them, or by position only."""
    from harness.data.classes import naming_of

    naming = naming_of(data)
    labels = {name: label for label, name in enumerate(data.classes)}
    order = [labels[name] for name in naming.files if name in labels]
    if naming.note or order == sorted(order):
        return naming.note
    whose = naming.order or data.name
    return f"The files list their classes in another order than {whose}, which is harmless: labels are found by name."


def _several(messages: Sequence[str], images: int) -> str:
    more = f" And {len(messages) - NAMED:,} more." if len(messages) > NAMED else ""
    return f"{len(messages):,} of {images:,} images are unusable. {' '.join(messages[:NAMED])}{more}"
