"""Plugin files: the modules beside them, and the messages for files that cannot be imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import harness

from harness import plugins
from harness.plugins import discovery
from harness.types import HarnessError

Write = Callable[[dict[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A function that writes files into a folder by name, and returns the path of the first."""
    monkeypatch.setattr(discovery, "_beside", discovery._Beside())
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    before = set(sys.modules)

    def written(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path / next(iter(files))

    yield written
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


CORRUPTION = """
from harness.plugins import corruption
from parts_of_mine.deep import shade

@corruption("shade")
def shaded(images, severity, rngs):
    return images * shade(severity)
"""
ARCHITECTURE = """
from harness.plugins import architecture
from layer_of_mine import Flat

@architecture("flat", image_size=32)
def flat(num_classes):
    import late_of_mine  # at the first use, long after the file was loaded
    return Flat(late_of_mine.WIDTH, num_classes)
"""
LAYER = """
from torch import nn

class Flat(nn.Sequential):
    def __init__(self, width, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(width, num_classes))
"""
PACKAGE = {
    "parts_of_mine/__init__.py": "",
    "parts_of_mine/numbers.py": "STEP = 0.1\n",
    "parts_of_mine/deep/__init__.py": "from .inner import shade\n",
    "parts_of_mine/deep/inner.py": "from ..numbers import STEP\n\nshade = lambda severity: 1 - STEP * severity\n",
}


def test_a_corruption_uses_a_package_beside_it_with_relative_imports(write: Write) -> None:
    plugins.discover(write({"shaded.py": CORRUPTION, **PACKAGE}))
    made = plugins.corruption["shade"].build(torch.ones(1, 3, 2, 2), 5, [None])
    torch.testing.assert_close(made, torch.full((1, 3, 2, 2), 0.5))


def test_an_architecture_uses_modules_beside_it_also_late(write: Write) -> None:
    files = {"flat.py": ARCHITECTURE, "layer_of_mine.py": LAYER, "late_of_mine.py": "WIDTH = 3 * 32 * 32\n"}
    plugins.discover(write(files))
    assert plugins.architecture["flat"].build(10)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("changed", ["shaded.py", *PACKAGE])
def test_every_file_of_a_package_beside_a_plugin_is_part_of_its_hash(changed: str, write: Write) -> None:
    file = write({"shaded.py": CORRUPTION, **PACKAGE})

    def source() -> str:
        content = file.read_bytes()
        return discovery._source(content, discovery._modules_beside(file, content))

    before = source()
    assert source() == before
    path = file.parent / changed
    path.write_text(path.read_text() + "# changed\n")
    assert source() != before


@pytest.mark.parametrize(
    "files, message",
    [
        ({"a.py": "x = 1\ny = x.z\n"}, r"AttributeError: .*\(line 2 of .*a\.py\)\. Correct this line; python .*a\.py"),
        ({"a.py": "x = 1\ndef f(:\n"}, r"SyntaxError: .*\(line 2 of .*a\.py\)\. Correct"),
        ({"a.py": "import b_of_mine\n", "b_of_mine.py": "\n\n1 / 0\n"}, r"ZeroDivisionError.*\(line 3 of .*b_of_mine"),
        ({"a.py": "\nimport nowhere.at.all\n"}, r"line 2 of .*Install nowhere, or put it beside a\.py\."),
        ({"a.py": "from . import b\n", "b.py": ""}, r"\(line 1 of .*without the dot, import NAME\."),
        (
            {"a.py": "from harness.plugins import method\n\nmethod('de')(dict)\n"},
            r"a\.py: Two test-time method plugins are called .*: in harness\.registry\.methods\.de and a\.py\. Rename",
        ),
    ],
    ids=["code", "syntax", "module-beside", "not-installed", "relative", "taken"],
)
def test_a_file_that_cannot_be_imported_names_the_line_and_a_remedy(
    files: dict[str, str], message: str, write: Write
) -> None:
    with pytest.raises(HarnessError, match=message):
        plugins.discover(write(files))


def test_an_unknown_name_mentions_the_option_for_own_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for registry in (plugins.suite, plugins.method, plugins.dataset):
        with pytest.raises(HarnessError, match=re.escape("needs --plugin FILE.py")):
            registry["nobody"]
    code, printed = harness(monkeypatch, capsys, "data", "check", "nobody")
    assert code == 2 and "Unknown data set 'nobody'" in printed and "needs --plugin FILE.py" in printed
