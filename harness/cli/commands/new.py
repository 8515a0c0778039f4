"""``harness new``."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import shlex
import sys
from enum import StrEnum
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import HarnessError, suggest
from harness.cli.commands.list import Kind, catalogue

EVALUATE = "harness run --plugin {file} --suite digits --model digits/resnet --tta default"
TRAIN = "harness train --plugin {file} --epochs 1 --labels 0.1 --out runs/{name}"


class NewKind(StrEnum):
    """Kinds of plugin with a template; the value of each is its name on the command line."""

    method = "method"
    model = "model"
    suite = "suite"
    detector = "detector"
    corruption = "corruption"
    dataset = "dataset"
    smoother = "smoother"
    attack = "attack"
    augmentation = "augmentation"
    architecture = "architecture"
    guide = "guide"
    figure = "figure"


COMMANDS = {
    NewKind.method: f"{EVALUATE} --tta {{name}} --limit 20",
    NewKind.model: "harness run --plugin {file} --suite digits --model {name} --tta default --limit 20",
    NewKind.suite: "harness run --plugin {file} --suite {name} --model digits/resnet --tta default --limit 20",
    NewKind.detector: "harness run --plugin {file} --suite openood-digits --model digits/resnet --detector {name} "
    "--limit 20",
    NewKind.corruption: "harness run --plugin {file} --suite digits-c:corruption={name} --model digits/resnet "
    "--tta default --limit 20",
    NewKind.dataset: "harness data check {name} --plugin {file}",
    NewKind.smoother: "harness run --plugin {file} --suite certify:n=100 --sigma 0.25 --model digits/resnet "
    "--smooth {name} --limit 4",
    NewKind.attack: "harness list attacks --plugin {file}",
    NewKind.augmentation: f"{TRAIN} --architecture resnet --augment {{name}}",
    NewKind.architecture: f"{TRAIN} --architecture {{name}}",
    NewKind.guide: "harness generate --plugin {file} --guide {name}:scale=3 --model digits/resnet --samples 2 --tile 2 "
    "--steps ddim4 --out runs/{name}",
    NewKind.figure: "harness figure {name} --plugin {file}",
}
"""The command that tries a plugin of each kind, on a few images."""

NAME = r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*"
"""Names that `harness new` takes."""


def new(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(NewKind)}.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Name of the plugin, such as flip-se.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(help="Python file to write; its test goes beside it. [default: NAME.py]", show_default=False),
    ] = None,
) -> None:
    """Write a plugin file that runs at once and a test for it, and print the commands that try them.

    Examples: `harness new method flip-se`, `harness new corruption scratches --out plugins/scratches.py`.
    """
    from harness import plugins
    from harness.terminal import console

    if kind not in [*NewKind]:
        raise suggest("kind of plugin", kind, [*NewKind])
    chosen = NewKind(kind)
    if not re.fullmatch(NAME, name):
        raise HarnessError(f"Name {name!r}: use letters, digits and single hyphens between them, such as flip-se.")
    getattr(plugins, chosen).check_name(name)
    identifier = name.replace("-", "_")
    file = out or Path(f"{identifier}.py")
    test = file.with_name(f"test_{file.name}")
    _check_file(file, test)
    texts = {path: _filled(folder, chosen, name, file.stem) for path, folder in ((file, "plugin"), (test, "test"))}
    _check_free(chosen, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        with path.open("x", encoding="utf-8") as opened:  # x: a file that appeared in the meantime is kept
            opened.write(text)
    command = COMMANDS[chosen].format(file=shlex.quote(str(file)), name=name)
    lines = [
        f"Wrote {file} and {test}. Try them, then put your own code in:",
        command,
        f"pytest {shlex.quote(str(test))}",
    ]
    console.out.print("\n".join(lines), markup=False, soft_wrap=True)


def _check_file(file: Path, test: Path) -> None:
    """Raise HarnessError for files that exist, and for names that Python could not import or would confuse."""
    for path in (file, test):
        if path.exists():
            raise HarnessError(f"{path} exists and is kept as it is. Give another file with --out FILE.py.")
    if file.suffix != ".py" or not file.stem.isidentifier() or keyword.iskeyword(file.stem):
        raise HarnessError(f"--out {file}: a Python file's name is letters, digits and underscores, and .py.")
    if file.stem in sys.stdlib_module_names or find_spec(file.stem):
        raise HarnessError(
            f"{file.name} would hide the module {file.stem!r} of Python or of an installed package from the test "
            "beside it. Give another file with --out FILE.py."
        )


def _filled(folder: str, kind: NewKind, name: str, module: str) -> str:
    """A template with a plugin's names in it; raises HarnessError for names that mean something else there."""
    text = (resources.files("harness.cli") / "templates" / folder / f"{kind}.py").read_text(encoding="utf-8")
    function = name.replace("-", "_")
    words = re.split("[-_]", name)
    class_name = "".join(word[:1].upper() + word[1:] for word in words)
    nodes = list(ast.walk(ast.parse(text)))
    used = {node.id for node in nodes if isinstance(node, ast.Name)} | {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for word in (function, class_name):
        if folder == "plugin" and (word in used or word in dir(builtins) or keyword.iskeyword(word)):
            raise HarnessError(f"Name {name!r}: {word} means something else in the file. Choose another name.")
    # The test loads the plugin by the name of its file.
    text = text.replace("my_name.py", f"{module}.py")
    return text.replace("my_name", function).replace("MyName", class_name).replace("my-name", name)


def _check_free(kind: NewKind, name: str) -> None:
    """Raise HarnessError for the name of a plugin that there is; a data set comes with a suite of its name."""
    from harness.plugins import cache

    listed = {(entry["kind"], entry["name"]) for entry in cache.remembered("catalogue", catalogue)["listed"]}
    for each in (kind, *([NewKind.suite] if kind is NewKind.dataset else [])):
        if (Kind.named(each).value, name) in listed:
            raise HarnessError(f"Name {name!r}: there is a {each} of that name (harness list {each}s). Choose another.")
