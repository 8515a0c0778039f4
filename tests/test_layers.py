"""The architecture: imports run downwards, plugins never import each other, files and functions keep their budgets."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = (
    "base types plugins data models metrics attacks diffusion evaluation train analysis generation report exchange "
    "terminal api cli"
)
"""Rooms of harness/: each imports only those before it. Registry and suites stand above all but the command line."""

APART = {
    "train": {"evaluation"},
    "analysis": {"evaluation", "train"},
    "generation": {"evaluation", "train", "analysis"},
}
"""Rooms before a room that it still does not import."""

FILE_LINES, FUNCTION_LINES, FOLDER_FILES = 300, 50, 11
CATALOGUES = {
    "registry/detectors", "registry/figures", "studies", "studies/timing",
    "harness/cli/templates/plugin", "harness/cli/templates/test",
}  # fmt: skip
"""Folders that are lists, and may grow."""


def imports(file: Path) -> set[str]:
    """Names of the harness modules that a file imports, at its top or inside of functions, without the package."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "harness":
            modules |= {f"harness.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    return {name.removeprefix("harness.") for name in modules if name.startswith("harness.")}


def rooms(file: Path) -> set[str]:
    """Rooms that a file imports from."""
    return {name.split(".")[0] for name in imports(file)}


def engine_files() -> list[Path]:
    """Python files in the rooms of harness/; the templates of `harness new` are a user's code."""
    files = (p for p in (ROOT / "harness").rglob("*.py") if p.parent != ROOT / "harness")
    return sorted(p for p in files if "templates" not in p.parts)


def code_files() -> list[Path]:
    """Python files of everything but tests."""
    return sorted(p for folder in ("harness", "registry", "suites", "studies") for p in (ROOT / folder).rglob("*.py"))


def relative(file: Path) -> str:
    """A path as it is written in the documentation."""
    return str(file.relative_to(ROOT))


def test_every_folder_of_the_engine_is_a_room() -> None:
    folders = {path.name for path in (ROOT / "harness").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ORDER.split())


@pytest.mark.parametrize("file", engine_files(), ids=relative)
def test_imports_run_downwards(file: Path) -> None:
    room = file.relative_to(ROOT / "harness").parts[0]
    order = ORDER.split()
    allowed = set(order[: order.index(room) + 1]) - APART.get(room, set())
    assert rooms(file) <= allowed, f"{room} imports {rooms(file) - allowed}"


@pytest.mark.parametrize("file", code_files(), ids=relative)
def test_files_and_functions_keep_their_budgets(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= FUNCTION_LINES, f"{node.name} has {lines} lines"


def test_folders_keep_their_budget() -> None:
    for folder in {file.parent for file in code_files()}:
        files = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        assert len(files) <= FOLDER_FILES or relative(folder) in CATALOGUES, relative(folder)


@pytest.mark.parametrize("package, other", [("registry", "suites"), ("suites", "registry")])
def test_plugin_packages_do_not_import_each_other(package: str, other: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert len(files) > 2
    assert not [f for f in files if other in rooms(f)]


def test_bases_of_suites_import_no_benchmark() -> None:
    """The folders of `suites/` that hold bases alone import each other only; benchmarks import bases."""
    bases = sorted((ROOT / "suites" / "bases").rglob("*.py"))
    assert len(bases) > 2
    for file in bases:
        names = re.findall(r"^\s*(?:from|import) harness\.suites\.(\w+)", file.read_text(), re.MULTILINE)
        assert set(names) <= {"bases"}, f"{file.name} imports {names}"


def test_every_package_is_installed() -> None:
    """`pip install .` copies what pyproject.toml lists, and leaves out in silence what it does not.

    `harness.published` holds data alone, and lies beside the records.
    """
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    tree = {"harness": ROOT / "harness", "harness.registry": ROOT / "registry", "harness.suites": ROOT / "suites"}
    found = {
        ".".join((name, *file.parent.relative_to(top).parts))
        for name, top in tree.items()
        for file in top.rglob("__init__.py")
    }
    assert set(listed) == found | {"harness.published"}


def test_the_engine_reaches_plugins_only_through_the_registry() -> None:
    assert not [f for f in engine_files() if {"registry", "suites"} & rooms(f)]


def test_plugins_refuse_a_second_name() -> None:
    for package in ("registry", "suites"):
        with pytest.raises(ImportError, match=f"harness.{package}"):
            exec(compile((ROOT / package / "__init__.py").read_text(), package, "exec"), {"__name__": package})


def test_every_class_of_the_engine_has_a_name_of_its_own() -> None:
    """A search for a public class, or for the alias of a type, answers with one thing."""
    places: dict[str, list[str]] = {}
    for file in engine_files():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(relative(file))
    assert not {name: files for name, files in places.items() if len(files) > 1}
