"""README, CONTRIBUTING and docs: their Python runs, their commands parse, their links and paths exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from helpers import harness

from harness import plugins
from harness.cli.app import app

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "results" / "README.md",
    ROOT / "results" / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


class Block(NamedTuple):
    """A fenced block: its language and its text. A second word, ``python no-run``, makes it a block to show."""

    language: str
    text: str

    @property
    def file(self) -> str:
        """Name of the file that a Python block is, from its first line ``# NAME.py``; empty for code to execute."""
        named = re.match(r"# (\w+\.py)\n", self.text)
        return named[1] if named else ""


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*found) for found in re.findall(r"^```([\w -]*)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)]


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every ``harness`` command in the shell blocks of a page."""
    for block in blocks(page):
        if block.language in ("sh", "console"):
            yield from commands_of(block)


def commands_of(block: Block) -> Iterator[list[str]]:
    """The arguments of every ``harness`` command in a shell block, also of those behind torchrun."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for command in re.sub(r"(^|\s)#.*", "", line).removeprefix("$ ").split("&&"):
            words = shlex.split(command)
            if "harness" in words and (words[0] == "harness" or words[0] == "torchrun"):
                yield words[words.index("harness") + 1 :]


def mentions(page: Path) -> Iterator[list[str]]:
    """The arguments of every command that stands in backticks within the text."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    for command in re.findall(r"`harness ([^`>]+)[`>]", text):
        yield shlex.split(command)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def command_line() -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
    """The command line with commands that only note their name and arguments, and these notes."""
    notes: list[tuple[str, dict[str, Any]]] = []

    def silence(command: Any) -> None:
        for inner in getattr(command, "commands", {}).values():
            silence(inner)
            if not hasattr(inner, "commands"):
                inner.callback = lambda _name=inner.name, **values: notes.append((_name, values))

    command = typer.main.get_command(app)
    silence(command)
    return command, notes


def parsed(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """Name and values of a command; raises click's UsageError where it takes no such arguments."""
    command, notes = command_line()
    command.main(arguments, standalone_mode=False)
    return notes.pop()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.language == "python" for b in blocks(page))], ids=name
)
def test_the_python_of_a_page_runs_and_so_do_the_commands_that_use_it(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    for block in blocks(page):
        if block.language == "python" and block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language.startswith("python"):
            code = compile(block.text, f"a block of {page.name}", "exec")
            exec(code if block.language == "python" else "", scope)
        for arguments in commands_of(block) if block.language in ("sh", "console") else ():
            if "--plugin" in arguments:
                whole = arguments[0] == "run" and "--limit" not in arguments
                code, printed = harness(monkeypatch, capsys, *arguments, *(["--dry-run"] if whole else []))
                assert code == 0, printed


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_a_page_parses_and_names_what_there_is(page: Path) -> None:
    own = {found[1] for block in blocks(page) for found in re.finditer(r'^@\w+\("([^"]+)"', block.text, re.M)}
    for arguments in commands(page):
        command, values = parsed(arguments)
        for text in names(command, values):
            registry, plugin = text
            known = plugin in registry or f"{plugin.partition('/')[0]}/NAME" in registry.families
            assert known or plugin in own or plugin.startswith("runs/"), f"{shlex.join(arguments)}: {plugin}"


def names(command: str, values: dict[str, Any]) -> Iterator[tuple[plugins.Registry, str]]:
    """The registered names that a command's values must be, with their registries."""
    registries = {"suite": plugins.suite, "tta": plugins.method, "smooth": plugins.smoother, "attack": plugins.attack}
    registries |= {"detector": plugins.detector}
    if command == "run":
        registries |= {"model": plugins.model, "denoiser": plugins.denoiser}
    if command == "train":
        registries |= {"model": plugins.architecture, "architecture": plugins.architecture}
    for key, registry in registries.items():
        value = values.get(key) or ()
        for text in [value] if isinstance(value, str) else value or ():
            yield registry, text.partition(":")[0]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_within_the_text_has_the_options_that_it_names(page: Path) -> None:
    for arguments in mentions(page):
        try:
            parsed(arguments)
        except Exception as error:
            assert re.search("Missing (argument|parameter)|requires an argument", str(error)), f"{arguments}: {error}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors that the code host makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    roots = "harness|registry|suites|studies|results|tests|docs"
    for path in re.findall(rf"[`/ ]((?:{roots})/[\w./*+=-]+)", page.read_text("utf-8")):
        path = path.rstrip(".").removesuffix("...")
        if "NAME" not in path and not path.startswith("results/local"):
            assert list(ROOT.glob(path.rstrip("/"))), f"{page.name}: {path}"


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150


def test_the_two_commands_of_the_readme_are_those_of_the_checks() -> None:
    first, second = (line.partition("  ")[0] for line in two_commands().splitlines())
    assert first == "pip install . && harness run"
    install, tests = second.split(" && ")
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert re.search(rf"^pip install .*{re.escape(install.removeprefix('pip install '))}$", script, re.M)
    assert re.search(rf"^{tests}$", script, re.M)


def two_commands() -> str:
    """The block below "Two commands"."""
    text = README.read_text("utf-8")
    section = text[text.index("## Two commands") :]
    found = re.search(r"^```sh\n(.*?)^```$", section, re.M | re.S)
    assert found
    return found[1]


CLASSIFIERS = {
    "ResNet": ("resnet", "resnet+diffaug"),
    "ViT": ("vit", "vit+diffaug"),
    "ResNet, AugMix": ("resnet+augmix+extra", "resnet+augmix+diffaug"),
    "ResNet, DeepAugment": ("resnet+deepaugment+extra", "resnet+deepaugment+diffaug"),
    "ResNet, AugMix and DeepAugment": ("resnet+augmix+deepaugment+extra", "resnet+augmix+deepaugment+diffaug"),
}
"""By the README's name: the control and the classifier with DiffAug, as results/zoo.md names them."""


def test_the_readmes_table_of_diffaug_is_that_of_the_study() -> None:
    study = dict(re.findall(r"^\| ([\w+ ]+) \| ([^|]+) \|", (ROOT / "results" / "zoo.md").read_text("utf-8"), re.M))
    expected = [
        f"| {label} | {study[control]} | {study[diffaug]} | {study[f'{diffaug} against {control}']} |"
        for label, (control, diffaug) in CLASSIFIERS.items()
    ]
    expected.append(f"| mean of the five | | | {study['mean of the five pairs with equally many steps']} |")
    lines = README.read_text("utf-8").splitlines()
    first = lines.index(expected[0])
    assert lines[first : first + len(expected)] == expected


def test_a_model_is_about_ten_lines() -> None:
    (model,) = [b for b in blocks(ROOT / "docs" / "extend.md") if b.file == "mine.py"]
    assert len(model.text.strip().splitlines()) <= 13


def test_the_citation_and_the_licence_say_what_the_package_says() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert "license: Apache-2.0" in citation and "2306.09192" in citation and "2602.19931" in citation
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text("utf-8")
