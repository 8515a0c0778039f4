"""A benchmark harness for the robustness of image classifiers."""

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "registry").is_dir():
    # In a clone this folder shadows an installed copy (python -m harness, torchrun, pytest); its plugins lie beside it.
    __path__.append(str(_root))

_PUBLIC: dict[str, str] = {"load": "harness.api.load"}
"""Modules of the public functions, by name; imported at first use, since torch takes seconds."""


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
