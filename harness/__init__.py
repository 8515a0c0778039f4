"""A benchmark harness for the robustness of image classifiers."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api.analysis.analyse import analyse as analyse
    from harness.api.evaluate import evaluate as evaluate
    from harness.api.frames import compare as compare
    from harness.api.frames import leaderboard as leaderboard
    from harness.api.generation.generate import generate as generate
    from harness.api.live.networks import Model as Model

__version__ = "0.1.0"

_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "registry").is_dir():
    # In a clone this folder shadows an installed copy (python -m harness, torchrun, pytest); its plugins lie beside it.
    __path__.append(str(_root))

_PUBLIC: dict[str, str] = {
    "Model": "harness.api.live.networks",
    "analyse": "harness.api.analysis.analyse",
    "compare": "harness.api.frames",
    "evaluate": "harness.api.evaluate",
    "generate": "harness.api.generation.generate",
    "leaderboard": "harness.api.frames",
    "load": "harness.api.load",
    "load_record": "harness.api.load",
}
"""Modules of the public functions, by name; imported at first use, since torch takes seconds."""

__all__ = ["Model", "__version__", "analyse", "compare", "evaluate", "generate", "leaderboard", "load", "load_record"]


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
