"""A module imports only what stands above it in the design; plugins never import each other."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = [
    "errors",
    "interruption",
    "escape",
    "files",
    "sealed",
    "archives",
    "formats",
    "transfer",
    "download",
    "sources",
    "types",
    "checked",
    "plugins",
    "plugin_cache",
    "provenance",
    "attacks",
    "noise",
    "corruptions",
    "data",
    "networks",
    "probe",
    "fingerprint",
    "choice",
    "published",
    "bounded",
    "diffusion",
    "classifier",
    "checkpoint",
    "weights",
    "zoo",
    "adm",
    "views",
    "gradients",
    "tally",
    "metrics",
    "pages",
    "tables",
    "samples",
    "rules",
    "record",
    "parts",
    "journal",
    "response",
    "features",
    "standins",
    "matching",
    "claims",
    "coverage",
    "request",
    "job",
    "recording",
    "checks",
    "probing",
    "prepare",
    "resume",
    "part_in_progress",
    "evaluate",
    "estimate",
    "report",
    "train",
    "console",
    "cli",
    "__main__",
]


def imports(file: Path) -> set[str]:
    """Names of the harness modules that a file imports, without the leading package."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "harness":
            found |= {f"harness.{a.name}" for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name.removeprefix("harness.").split(".")[0] for name in found if name.startswith("harness.")}


def engine_files() -> list[Path]:
    return sorted(
        p for p in (ROOT / "harness").rglob("*.py") if p.name != "__init__.py" or p.parent != ROOT / "harness"
    )


@pytest.mark.parametrize("file", engine_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_engine_imports_point_upwards(file: Path) -> None:
    layer = file.relative_to(ROOT / "harness").with_suffix("").parts[0]
    position = ORDER.index(layer)
    below = {name for name in imports(file) if ORDER.index(name) > position}
    assert not below, f"{layer} imports {below}, which stand below it"


@pytest.mark.parametrize("package, other", [("registry", "suites"), ("suites", "registry")])
def test_plugin_packages_do_not_import_each_other(package: str, other: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert len(files) > 2
    assert not [f for f in files if other in imports(f)]


def test_bases_of_suites_import_no_benchmark() -> None:
    """The folders of `suites/` that hold bases alone import each other only; benchmarks import bases."""
    bases = sorted((ROOT / "suites" / "bases").rglob("*.py"))
    assert len(bases) > 2
    for file in bases:
        names = re.findall(r"^\s*(?:from|import) harness\.suites\.(\w+)", file.read_text(), re.MULTILINE)
        assert set(names) <= {"bases"}, f"{file.name} imports {names}"


def test_every_package_is_installed() -> None:
    """`pip install .` copies what pyproject.toml lists, and leaves out in silence what it does not."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    tree = {"harness": ROOT / "harness", "harness.registry": ROOT / "registry", "harness.suites": ROOT / "suites"}
    found = {
        ".".join((name, *file.parent.relative_to(top).parts))
        for name, top in tree.items()
        for file in top.rglob("__init__.py")
    }
    assert set(listed) == found


def test_the_engine_reaches_plugins_only_through_the_registry() -> None:
    assert not [f for f in engine_files() if {"registry", "suites"} & imports(f)]


def test_plugins_refuse_a_second_name() -> None:
    for package in ("registry", "suites"):
        with pytest.raises(ImportError, match=f"harness.{package}"):
            exec(compile((ROOT / package / "__init__.py").read_text(), package, "exec"), {"__name__": package})
