"""``harness gallery`` as users type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import harness

from harness.cli.commands.results.gallery import _embedding

ONE = ("--model", "digits/vit", "--tta", "default", "--images", "1", "--corruption", "fog", "--hardest", "0")


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (["--suite", "certify"], ["certify: a gallery shows images under test-time methods", "digits-c"]),
        (["--suite", "entropy-vs-t"], ["entropy-vs-t: a gallery shows"]),
        (["--times", "50,x"], ["--times '50,x'", "such as 50,150"]),
        (["--times", "0,50"], ["--times '0,50'"]),
        (["--model", "digits/vti"], ["Unknown model 'digits/vti'", "digits/vit"]),
        ([*ONE, "--corruption", "fogs"], ["Unknown condition 'fogs'", "fog"]),
    ],
)
def test_mistakes_are_explained(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    parts: list[str],
) -> None:
    code, printed = harness(monkeypatch, capsys, "gallery", *arguments, "--results", str(tmp_path))
    assert code == 2
    for part in parts:
        assert part in printed


def test_a_gallery_is_written_below_the_results_and_found_up_to_date(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["gallery", *ONE, "--results", str(tmp_path)]
    code, printed = harness(monkeypatch, capsys, *arguments)
    file = tmp_path / "local" / "gallery" / "digits-c" / "gallery.json"
    assert code == 0 and f"{file}: 2 pictures of 1 chosen image. Embed it: harness report {tmp_path}" in printed
    values = json.loads(file.read_text())
    assert values["command"].startswith("harness gallery --model digits/vit")
    assert values["denoiser"] is None and len(list(file.parent.glob("*.webp"))) == 2
    assert "up to date" in harness(monkeypatch, capsys, *arguments)[1]


def test_a_gallery_in_another_folder_says_where_the_report_looks(tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert "harness report embeds galleries in" in _embedding(tmp_path / "mine", results)
    assert _embedding(results / "gallery" / "digits-c", results) == f"Embed it: harness report {results}"
