"""``harness data``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Plugin, Workers, threads
from harness.errors import HarnessError

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

app = typer.Typer(help="Look after the data.", no_args_is_help=True)


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
    from harness import console, plugins
    from harness.data import check as checking
    from harness.data.contents import unread_note
    from harness.report.table import Table

    plugins.discover(*plugin)
    known = _parts(name, str(data or ""))
    if strange := [part for part in split if part not in known]:
        raise plugins.suggest("split", strange[0], list(known), f" of {name!r}")
    columns: dict[str, list[str]] = {}
    wrong: dict[str, list[str]] = {}
    remarks: dict[str, list[str]] = {}
    with console.progress() as bar:
        for part in split or known:
            try:
                open_part, published = known[part]
                images: Any = open_part()
                if not hasattr(images, "picture"):
                    raise HarnessError(f"made from other images. Check those: harness data check {images.name}")
                report = partial(_advance, bar, bar.begin(f"{name} {part}", len(images.ids)))
                found = checking.check(images, quick=quick, workers=threads(workers, [images]), report=report)
                columns[part] = _column(images, found, published)
                if said := unread_note(images):
                    wrong.setdefault(said, []).append(part)
                if found.bad:
                    wrong.setdefault(_several(found.bad, len(images.ids)), []).append(part)
                for line in (_lacking(images, found), _order(images)):
                    remarks.setdefault(line, []).append(part)
            except HarnessError as error:
                wrong.setdefault(str(error), []).append(part)
    if columns:
        rows = [list(row) for row in zip(ROWS, *columns.values(), strict=True)]
        header = ["", *columns]
        if len(columns) > ABREAST:
            header, *rows = ([*row] for row in zip(header, *rows, strict=True))
        console.show(Table(f"{name}{f' in {data}' if data else ''}", header, rows))
    for line in filter(None, remarks):
        console.err.print(f"{', '.join(remarks[line])}: {line}", markup=False, soft_wrap=True)
    if wrong:
        lines = [f"{', '.join(parts)}: {line}" for line, parts in wrong.items()]
        if not split and (fine := [part for part in columns if not any(part in parts for parts in wrong.values())]):
            lines.append(f"Nothing is wrong with the rest: {' '.join(f'--split {part}' for part in fine)}")
        raise HarnessError("\n".join(lines))
    console.out.print("Every header can be read; nothing was decoded." if quick else "Every image can be read.")


def _parts(name: str, folder: str) -> dict[str, tuple[Callable[[], Any], int]]:
    """How to open the splits of a data set or the conditions of a suite, and how many images were published of each."""
    from harness import plugins
    from harness.data import open_dataset

    base = name.partition(":")[0]
    reading = {entry.name for entry in plugins.suite.entries() if "data" in entry.parameters}
    if name in plugins.dataset:
        splits = plugins.dataset[name].facts.get("splits", ("train", "test"))
        return {part: (partial(open_dataset, name, part, folder), 0) for part in splits}
    if base not in reading:
        raise plugins.suggest("data set", name, sorted({*(e.name for e in plugins.dataset.entries()), *reading}))
    bench = plugins.suite.configure(f"{name}{',' if ':' in name else ':'}data={folder}")[1]
    return {c.name: (partial(bench.open, c, 0), c.size) for c in bench.conditions()}


def _advance(bar: Any, task: Any, done: int) -> None:
    bar.update(task, completed=done, computed=done)


def _column(data: Pictures, found: Checked, published: int) -> list[str]:
    """What there is to say of one split, in the order of `ROWS`."""
    from harness.data.classes import naming_of

    counts, naming = [int(count) for count in found.per_class if count], naming_of(data)
    return [
        f"{len(data.ids):,}" + (f" of {published:,}" if published else ""),
        f"{len(counts)} of {data.num_classes}",
        _first(naming.files or data.classes),
        f"{min(counts)} to {max(counts)}" if counts else "",
        *(" / ".join(map(str, found.spread(axis))) for axis in (0, 1)),
        f"{len(found.bad):,}",
        f"{len(getattr(data, 'unread', ())):,}",
        data.sha256[:12],
    ]


def _lacking(data: Pictures, found: Checked) -> str:
    """Which classes have no images, where most of them have some: where few have, that is what the data set is like."""
    empty = [name for name, count in zip(data.classes, found.per_class, strict=False) if not count]
    if not 0 < 2 * len(empty) <= data.num_classes:
        return ""
    more = f" and {len(empty) - NAMED:,} more" if len(empty) > NAMED else ""
    return f"No images of {len(empty):,} of {data.num_classes:,} classes: {', '.join(empty[:NAMED])}{more}."


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _order(data: Pictures) -> str:
    """A remark where files list their classes otherwise than the labels count them, or by position only."""
    from harness.data.classes import naming_of

    naming, place = naming_of(data), {name: k for k, name in enumerate(data.classes)}
    found = [place[name] for name in naming.files if name in place]
    if naming.note or found == sorted(found):
        return naming.note
    whose = naming.order or data.name
    return f"The files list their classes in another order than {whose}, which is harmless: labels are found by name."


def _several(messages: Sequence[str], images: int) -> str:
    more = f" And {len(messages) - NAMED:,} more." if len(messages) > NAMED else ""
    return f"{len(messages):,} of {images:,} images are unusable. {' '.join(messages[:NAMED])}{more}"
