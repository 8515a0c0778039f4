"""Discovery of plugins: in ``registry/`` and ``suites/``, in installed packages, and in files given by ``--plugin``.

Modules beside a ``--plugin`` file can be imported from it, as from a script, and are part of what identifies it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from harness.base.errors import HarnessError, Notice, place
from harness.base.files import read_limited
from harness.plugins.import_hints import hint


@dataclass(frozen=True)
class Origin:
    """Origin of a plugin from outside of the project; empty for the project's own.

    name: of its file or package. source: SHA-256 of the file and of the modules beside it that it imports, or the
        package with its version. It is part of the identity of a run.
    live: True for an object of this process, which no command line can name again.
    """

    name: str = ""
    source: str = ""
    live: bool = False


_loading: list[Origin] = []
_registered: set[Origin] = set()
_discovered: set[str] = set()


def loading() -> Origin:
    """The origin of the plugin that is being registered."""
    origin = _loading[-1] if _loading else Origin()
    _registered.add(origin)
    return origin


def discover(*files: Path) -> None:
    """Import every plugin: the two packages, installed entry points, the given files. Repeated calls are free."""
    if "packages" not in _discovered:
        _discovered.add("packages")
        for package in ("harness.registry", "harness.suites"):
            discover_package(package)
        for point in entry_points(group="harness.plugins"):
            _load_entry_point(point)
    for file in files:
        _load_file(file.absolute())


def discover_package(package: str) -> None:
    """Import the plugins of one package of the project, such as ``harness.registry.figures``, and no others."""
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, package + "."):
        importlib.import_module(module.name)


@contextmanager
def _registering(origin: Origin) -> Iterator[None]:
    _loading.append(origin)
    try:
        yield
    finally:
        _loading.pop()


def _load_entry_point(point: EntryPoint) -> None:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    try:
        with _registering(Origin(package, package)):
            point.load()
    except (Exception, SystemExit) as error:
        raise HarnessError(
            f"The plugins of the installed package {package} cannot be imported ({type(error).__name__}: {error}). "
            "Update or uninstall it."
        ) from error


def _load_file(file: Path) -> None:
    resolved = file.resolve()
    if str(resolved) in _discovered:
        return
    try:
        content = read_limited(resolved)
    except OSError as error:
        raise HarnessError(f"--plugin {file}: {error.strerror}. Give the path of a Python file.") from error
    name = f"harness_plugin_{hashlib.sha256(str(resolved).encode()).hexdigest()[:12]}"
    module_spec = importlib.util.spec_from_file_location(name, resolved)
    if module_spec is None or module_spec.loader is None:
        raise HarnessError(f"--plugin {file}: not a Python file (its name must end in .py).")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    try:
        beside = _modules_beside(resolved, content)
        _make_importable(resolved.parent, beside)
        origin = Origin(file.name, _source(content, beside))
        with _registering(origin):
            module_spec.loader.exec_module(module)
    except HarnessError as error:
        error.args = (f"--plugin {file}: {error}",)
        raise
    except (Exception, SystemExit) as error:
        # Python repeats the place of a syntax error in its text.
        reason = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
        where = place(error, resolved.parent)
        raise HarnessError(f"--plugin {file}: importing it raised {reason}{where}.{hint(error, file)}") from error
    if origin not in _registered:
        warnings.warn(Notice(f"--plugin {file} registers no plugin: decorate a class or function in it."), stacklevel=2)
    _discovered.add(str(resolved))


def _source(content: bytes, beside: dict[str, Sequence[Path]]) -> str:
    """The hash of a plugin file, or of the file and of the modules beside it that it imports."""
    own = hashlib.sha256(content).hexdigest()
    if not beside:
        return own
    lines = [own]
    for name in sorted(beside):
        lines += [f"{name} {file.name} {hashlib.sha256(read_limited(file)).hexdigest()}" for file in beside[name]]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _modules_beside(plugin: Path, content: bytes) -> dict[str, Sequence[Path]]:
    """By name, the files of each module beside a plugin that it imports, directly or through others."""
    modules: dict[str, Sequence[Path]] = {}
    waiting = _imported(content)
    while waiting:
        name = waiting.pop()
        files = _files_of(plugin, name)
        if files and name not in modules:
            modules[name] = files
            for file in files:
                waiting |= _imported(read_limited(file))
    return modules


def _files_of(plugin: Path, name: str) -> Sequence[Path]:
    """The file of a module beside a plugin, or all Python files of a package there; empty if neither exists."""
    module, package = plugin.with_name(f"{name}.py"), plugin.with_name(name)
    if name in sys.stdlib_module_names or name == "harness" or module == plugin:
        return []
    if module.is_file():
        return [module]
    # An installed package comes before a folder without __init__.py, as in Python's own search.
    if not (package / "__init__.py").is_file() and PathFinder.find_spec(name):
        return []
    return sorted(package.rglob("*.py")) if package.is_dir() else []


def _imported(content: bytes) -> set[str]:
    """Names of the top-level modules in the import statements of a Python file; none if it cannot be parsed."""
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError, RecursionError):  # importing it will say so, with the line
        return set()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}


class _Beside:
    """An import finder: modules beside plugin files come before installed ones, as beside a script."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        return PathFinder.find_spec(name, [str(self.folders[name])]) if name in self.folders else None


_beside = _Beside()


def _make_importable(folder: Path, beside: dict[str, Sequence[Path]]) -> None:
    """Make the modules beside a plugin importable; raises HarnessError if another module has the name of one."""
    if _beside not in sys.meta_path:
        sys.meta_path.insert(0, _beside)
    for name in beside:
        module = sys.modules.get(name)
        loaded_from = _beside.folders.get(name, folder)
        if module is not None and not _lies_in(module, folder):
            loaded_from = Path(module.__file__ or name).parent
        if loaded_from != folder:
            raise HarnessError(
                f"The plugins in {folder} import the module {name!r} beside them, and another module of that name is "
                f"loaded, from {loaded_from}. Rename one of the two."
            )
        _beside.folders[name] = folder


def _lies_in(module: ModuleType, folder: Path) -> bool:
    """True if a module, or a package without a file, lies in a folder."""
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", []))
    return any(folder in Path(place).resolve().parents for place in places)
