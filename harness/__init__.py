"""A benchmark harness for the robustness of image classifiers."""

from pathlib import Path

__version__ = "0.1.0"

_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "registry").is_dir():
    # In a clone this folder shadows an installed copy (python -m harness, torchrun, pytest); its plugins lie beside it.
    __path__.append(str(_root))
