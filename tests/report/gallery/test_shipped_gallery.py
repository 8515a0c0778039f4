"""The shipped gallery: whole, small, and in agreement with the shipped records."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import ROOT

from harness.evaluation.records.record import RunRecord
from harness.report.boards import find, readable
from harness.report.gallery.contents import CLEAN, Gallery
from harness.report.gallery.hard import hardest_images, of_one_method
from harness.report.gallery.reading import shown_gallery
from harness.report.page.gallery import gallery_section

RESULTS = ROOT / "results"


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    shown = shown_gallery(RESULTS / "gallery" / "digits-c")
    assert shown.gallery.complete and not shown.left_out
    return shown.gallery


@pytest.fixture(scope="module")
def records() -> dict[tuple[str, str], RunRecord]:
    entries = readable(sorted((RESULTS / "digits-c").glob("*.json")))
    return {(entry.model.name, entry.method): entry for entry in entries}


def test_classifiers_say_of_the_pictures_what_their_records_say(
    gallery: Gallery, records: dict[tuple[str, str], RunRecord]
) -> None:
    for place, model in enumerate(gallery.models):
        for method in ("default", "de"):  # 50 guided steps of dda magnify the rounding of other versions of torch
            entry = records[model.name, method]
            assert entry.model.sha256 == model.sha256
            rows = entry.rows("prediction", "confidence")
            at = {key: k for k, key in enumerate(zip(rows["condition"], rows["id"], strict=True))}
            for specimen in gallery.specimens:
                if specimen.condition != CLEAN:
                    label, probability = specimen.methods[method][place]
                    row = at[specimen.condition, specimen.id]
                    assert label == rows["prediction"][row]
                    assert probability == pytest.approx(rows["confidence"][row], abs=1e-3)


def test_the_hardest_images_are_those_of_the_records(
    gallery: Gallery, records: dict[tuple[str, str], RunRecord]
) -> None:
    assert gallery.hardest
    images = hardest_images(of_one_method(list(records.values())), 12)
    assert [(i.id, i.condition, i.confidence) for i in images] == [
        (i.id, i.condition, i.confidence) for i in gallery.hardest.images
    ]


def test_its_pictures_take_at_most_a_quarter_of_a_megabyte_of_the_page() -> None:
    section = gallery_section(RESULTS)
    assert section and not section.notes
    assert sum(len(picture.data_uri) for strip in section.images for picture in strip.pictures) <= 250_000


def test_a_gallery_is_not_taken_for_a_record(tmp_path: Path) -> None:
    (tmp_path / "gallery" / "x").mkdir(parents=True)
    (tmp_path / "gallery" / "x" / "gallery.json").write_text("{}")
    assert find(tmp_path) == []
