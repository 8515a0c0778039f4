"""The gallery on the page: what is embedded is what its file says; damaged and hostile files are left out, with why."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.report.gallery.contents import FILE, file_of, pixels_sha256
from harness.report.page.gallery import gallery_section
from harness.report.page.parts import Page
from harness.report.page.render import render

Values = dict[str, Any]


def webp(color: str, size: tuple[int, int] = (4, 3)) -> tuple[str, bytes]:
    """Pixel hash and file of a picture of one colour."""
    picture, buffer = Image.new("RGB", size, color), io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True)
    return pixels_sha256(picture), buffer.getvalue()


def shot(view: str, pixels: str, *says: tuple[int, float]) -> Values:
    return {"view": view, "pixels": pixels, "width": 4, "height": 3, "says": says}


def written(root: Path, change: Callable[[Values], None] = lambda values: None, name: str = "small") -> Path:
    """A gallery of a cat, clean and in fog, by two classifiers, and a dog that both take for a cat; with a change."""
    folder = root / "gallery" / name
    folder.mkdir(parents=True)
    pictures = [webp(color) for color in ("red", "green", "blue")]
    for pixels, content in pictures:
        (folder / file_of(pixels)).write_bytes(content)
    red, green, blue = (pixels for pixels, _ in pictures)
    cat, hard = {"id": "i1", "label": 0}, {"id": "i2", "label": 1, "condition": "snow/5"}
    clean = {**cat, "condition": "clean", "shots": [shot("as it is", red, (0, 0.9), (0, 0.7))]}
    foggy = {**cat, "condition": "fog/5", "shots": [shot("as it is", green, (1, 0.6), (0, 0.8))]}
    values = {
        "schema": 1, "complete": True, "key": "0" * 12, "command": "harness gallery", "suite": "pets-c",
        "suite_version": 1, "dataset": "pets", "facts": {}, "data_sha256": "d" * 64, "classes": ["cat", "dog"],
        "models": [{"name": "one", "sha256": "1" * 64}, {"name": "two", "sha256": "2" * 64}], "methods": ["default"],
        "denoiser": None, "spec": {"seed": 3}, "environment": {"torch": "2"},
        "specimens": [
            {**clean, "methods": {"default": [(0, 0.9), (0, 0.7)]}},
            {**foggy, "methods": {"default": [(1, 0.6), (0, 0.8)]}},
        ],
        "hardest": {
            "method": "default", "models": ["one", "two"], "records": ["a" * 12, "b" * 12],
            "images": [{**hard, "confidence": 0.95, "wrong": 2, "shot": shot("as it is", blue, (0, 1.0), (0, 0.9))}],
        },
    }  # fmt: skip
    change(values)
    (folder / FILE).write_text(json.dumps(values))
    return folder


def html(root: Path) -> str:
    section = gallery_section(root)
    return render(Page("t", [], [], {"Images": [section]})) if section else ""


def test_a_strip_shows_the_clean_image_then_the_corrupted_one_with_what_is_said(tmp_path: Path) -> None:
    folder = written(tmp_path)
    section = gallery_section(tmp_path)
    assert section
    foggy, hardest = section.images
    assert foggy.title == "small: i1, class cat, fog/5"
    clean, corrupted = foggy.pictures
    assert clean.lines == ["clean", "cat: 2 of 2, 80 %"]
    assert corrupted.lines == ["corrupted", "cat: 1 of 2, 80 %", "✗ dog: 1 of 2, 60 %"]
    assert corrupted.alt == "i1, class cat, under fog/5, corrupted"
    content = (folder / file_of(webp("green")[0])).read_bytes()
    assert base64.b64decode(corrupted.data_uri.removeprefix("data:image/webp;base64,")) == content
    assert hardest.pictures[0].lines == ["i2, snow/5", "class dog, 2 of 2 wrong", "✗ cat: 2 of 2, 95 %"]
    assert not section.notes
    sources = [tuple(cell.text for cell in row.cells) for row in section.folded[2].rows]
    for pair in (("suite", "pets-c v1"), ("seed", "3"), ("one", "1" * 64), ("made by", "harness gallery")):
        assert pair in sources


def test_tables_hold_every_answer(tmp_path: Path) -> None:
    written(tmp_path)
    section = gallery_section(tmp_path)
    assert section
    words, hardest, _ = section.folded
    rows = [[cell.text for cell in row.cells] for row in words.rows]
    assert words.header == ["image", "class", "condition", "classifier", "clean or corrupted", "by default"]
    assert rows[2:] == [
        ["i1", "cat", "fog/5", "one", "✗ dog 60 %", "✗ dog 60 %"],
        ["i1", "cat", "fog/5", "two", "cat 80 %", "cat 80 %"],
    ]
    assert [cell.text for cell in hardest.rows[0].cells] == [
        "i2",
        "dog",
        "snow/5",
        "0.950",
        "✗ cat 100 %",
        "✗ cat 90 %",
    ]


def test_a_card_shows_what_its_classifier_says(tmp_path: Path) -> None:
    written(tmp_path)
    section = gallery_section(tmp_path, "two")
    assert section
    assert section.images[0].pictures[1].lines == ["corrupted", "cat: 80 %"]
    assert section.folded[1].header[4:] == ["two"]
    assert gallery_section(tmp_path, "three") is None


def test_no_gallery_is_no_section(tmp_path: Path) -> None:
    assert gallery_section(tmp_path) is None


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "No such file"),
        (b"RIFF", "is no WebP picture"),
        (webp("green")[1][:-9], "is no WebP picture"),
        (webp("red")[1], "has other pixels than the gallery names"),
        (webp("green", (400, 3))[1], "is not of 4 x 3 pixels"),
        (b"\0" * 200_000, "too many"),
    ],
)
def test_a_picture_that_is_not_what_the_gallery_says_is_left_out(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = written(tmp_path) / file_of(webp("green")[0])
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    section = gallery_section(tmp_path)
    assert section
    assert [picture.lines[0] for picture in section.images[0].pictures] == ["clean"]
    (note,) = section.notes
    assert reason in note


def test_a_picture_of_another_format_is_left_out(tmp_path: Path) -> None:
    file = written(tmp_path) / file_of(webp("green")[0])
    Image.new("RGB", (4, 3), "green").save(file, "PNG")
    section = gallery_section(tmp_path)
    assert section and "is no WebP picture" in section.notes[0]


def _set(name: str, value: Any) -> Callable[[Values], None]:
    return lambda values: values.update({name: value})


def _in_first_shot(name: str, value: Any) -> Callable[[Values], None]:
    return lambda values: values["specimens"][0]["shots"][0].update({name: value})


@pytest.mark.parametrize(
    "change, reason",
    [
        (_set("schema", 2), "schema"),
        (_set("models", []), "2 answers of 0 classifiers"),
        (_set("models", "one"), "models is 'one', not a list"),
        (_set("surprise", 1), "surprise"),
        (_in_first_shot("pixels", "../../../etc/passwd"), "not a SHA-256"),
        (_in_first_shot("width", 10**9), "from 1 to 512"),
        (_in_first_shot("says", [(0, 2.0), (0, 0.5)]), "with probability 2.0"),
        (_in_first_shot("says", [(-3, 0.5), (0, 0.5)]), "class -3"),
        (_in_first_shot("says", [(0, float("nan")), (0, 0.5)]), "finite number"),
        (lambda values: values["specimens"][0].update(methods={}), "other methods"),
    ],
)
def test_a_gallery_that_contradicts_itself_is_left_out_and_the_others_are_shown(
    tmp_path: Path, change: Callable[[Values], None], reason: str
) -> None:
    written(tmp_path, change, "bad")
    written(tmp_path, name="good")
    section = gallery_section(tmp_path)
    assert section
    assert {strip.title.partition(":")[0] for strip in section.images} == {"good"}
    (note,) = section.notes
    assert "bad" in note and reason in note


def test_what_galleries_say_is_text_never_markup(tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"

    def hostile(values: Values) -> None:
        values |= {"command": script, "classes": [script, '"><img src=x onerror=alert(1)>'], "suite": script}
        values["models"][0]["name"] = script
        for specimen in values["specimens"]:
            specimen["id"] = script

    written(tmp_path, hostile)
    page = html(tmp_path)
    assert script not in page and "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_stopped_gallery_says_so(tmp_path: Path) -> None:
    written(tmp_path, _set("complete", False))
    section = gallery_section(tmp_path)
    assert section and "its making was stopped" in section.notes[0]


def test_the_users_own_gallery_is_shown_before_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    written(tmp_path)
    written(tmp_path / "local")
    assert html(tmp_path).index("local/small: i1") < html(tmp_path).index(">small: i1")
    section = gallery_section(tmp_path, local=False)
    assert section and [strip.title.partition(":")[0] for strip in section.images] == ["small", "small"]
