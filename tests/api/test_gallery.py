"""Galleries: pictures and words are those of the evaluation; nothing is computed twice; mistakes are explained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT
from PIL import Image

from harness.api.gallery import choice, making, views
from harness.api.gallery.making import GalleryRequest
from harness.evaluation.job import Job
from harness.evaluation.prepare import prepare
from harness.evaluation.records.record import RunRecord
from harness.evaluation.views.batch import BatchViews
from harness.report.boards import readable
from harness.report.gallery.contents import FILE, Gallery, file_of
from harness.types import HarnessError, RunSpec

DDA = "dda:steps=20,start=2,scale=1"
SPEC = RunSpec("digits-c", ("digits/resnet",), ("default", "de:times=0,50", DDA), denoiser="digits", tile=4)
WANTED = GalleryRequest(conditions=("fog",), ids=("digits-0434", "digits-1301"), times=(50,), hardest=2)


@pytest.fixture(scope="module")
def job(discovered: None, tmp_path_factory: pytest.TempPathFactory) -> Job:
    return prepare(SPEC, tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    return list(readable(sorted((ROOT / "results" / "digits-c").glob("*--default--*.json"))))


@pytest.fixture(scope="module")
def folder(job: Job, records: list[RunRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of two images under fog, and of two hard ones."""
    folder = tmp_path_factory.mktemp("gallery")
    assert making.make(job, WANTED, folder, records, "harness gallery")[1]
    return folder


@pytest.fixture(scope="module")
def gallery(folder: Path) -> Gallery:
    return making.reading.read(folder / FILE)


def levels(folder: Path, pixels: str) -> np.ndarray:
    with Image.open(folder / file_of(pixels)) as picture:
        return np.asarray(picture.convert("RGB"))


def rounded(image: torch.Tensor) -> np.ndarray:
    return (image.permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)


def test_pictures_have_the_pixels_of_the_evaluations_views(job: Job, folder: Path, gallery: Gallery) -> None:
    (foggy, *_) = [specimen for specimen in gallery.specimens if specimen.condition == "fog/5"]
    data = job.datasets["fog/5"]
    batch = data.read([list(data.ids).index(foggy.id)])  # alone: batch-mates change nothing
    shown = BatchViews(batch, job.denoiser, job.tiles, SPEC.seed)
    expected = [shown.original(), next(shown.denoised([50])), shown.adapted(job.pairs[2].method.settings)]
    assert [shot.view for shot in foggy.shots] == ["as it is", "t = 50", DDA]
    for shot, images in zip(foggy.shots, expected, strict=True):
        assert (levels(folder, shot.pixels) == rounded(images[0])).all()


def test_words_are_the_outputs_of_the_classifier_and_of_the_methods(job: Job, gallery: Gallery) -> None:
    for specimen in gallery.specimens:
        batch = views.read(job, [views.ImagePlace(specimen.condition, specimen.id)])
        shown = BatchViews(batch, job.denoiser, job.tiles, SPEC.seed)
        for pair in job.pairs:
            confidence, prediction = pair.method(shown, pair.classifier)[0].max(0)
            ((label, probability),) = specimen.methods[pair.method_name]
            assert (label, probability) == (int(prediction), pytest.approx(float(confidence), abs=1e-4))
        assert specimen.shots[0].says == specimen.methods["default"]


def test_a_classifier_says_what_its_shipped_record_says(records: list[RunRecord], gallery: Gallery) -> None:
    (entry,) = [entry for entry in records if entry.model.name == "digits/resnet"]
    rows = entry.table().set_index(["condition", "id"])
    for specimen in gallery.specimens:
        if specimen.condition == "fog/5":
            row = rows.loc[("fog/5", specimen.id)]
            assert specimen.label == row["label"]
            assert specimen.methods["default"] == ((row["prediction"], pytest.approx(row["confidence"], abs=1e-3)),)


def test_each_image_is_clean_first_and_clean_images_have_one_view(gallery: Gallery) -> None:
    assert [specimen.condition for specimen in gallery.specimens] == ["clean", "fog/5"] * 2
    assert [len(specimen.shots) for specimen in gallery.specimens] == [1, 3] * 2


def test_hardest_images_show_what_records_were_wrong_about(
    job: Job, folder: Path, gallery: Gallery, records: list[RunRecord]
) -> None:
    assert gallery.hardest
    assert gallery.hardest.models == tuple(sorted(entry.model.name for entry in records))
    first, second = gallery.hardest.images
    assert first.confidence >= second.confidence > 0.8
    data = job.datasets[first.condition]
    image = data.read([list(data.ids).index(first.id)]).images[0]
    assert (levels(folder, first.shot.pixels) == rounded(image)).all()
    assert sum(label != first.label for label, _ in first.shot.says) == first.wrong


def test_the_same_request_gives_the_same_bytes(
    job: Job, folder: Path, records: list[RunRecord], tmp_path: Path
) -> None:
    making.make(job, WANTED, tmp_path, records[::-1], "harness gallery")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        file.name: file.read_bytes() for file in folder.iterdir()
    }


def test_an_up_to_date_gallery_is_left_as_it_is(
    job: Job, folder: Path, records: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "specimens", None)
    monkeypatch.setattr(choice, "chosen_ids", None)
    times = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    _, computed = making.make(job, WANTED, folder, records, "harness gallery")
    assert not computed
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == times


def test_a_stopped_gallery_goes_on_with_the_images_that_it_lacks(
    job: Job, folder: Path, records: list[RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (folder / FILE).read_bytes()
    stopped = {**json.loads(whole), "complete": False, "hardest": None}
    stopped["specimens"] = stopped["specimens"][:3]
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / FILE).write_text(json.dumps(stopped))
    asked: list[views.ImagePlace] = []
    compute = views.specimens
    monkeypatch.setattr(
        views, "specimens", lambda job, places, *rest: asked.extend(places) or compute(job, places, *rest)
    )
    making.make(job, WANTED, tmp_path, records, "harness gallery")
    assert [place.condition for place in asked] == ["fog/5"]
    assert (tmp_path / FILE).read_bytes() == whole


def test_other_images_replace_those_of_before(job: Job, tmp_path: Path) -> None:
    wanted = replace(WANTED, ids=("digits-0434",), hardest=0, times=())
    plain = prepare(replace(SPEC, methods=("default",), denoiser=None), tmp_path)
    making.make(plain, wanted, tmp_path, [], "harness gallery")
    before = set(tmp_path.glob("*.webp"))
    own = tmp_path / "holiday-2024-001.webp"
    own.write_bytes(b"of the user")
    made, _ = making.make(plain, replace(wanted, ids=("digits-1301",)), tmp_path, [], "harness gallery")
    assert own.read_bytes() == b"of the user"
    own.unlink()
    assert {file.name for file in tmp_path.glob("*.webp")} == {file_of(shot.pixels) for shot in made.shots()}
    assert not before & set(tmp_path.glob("*.webp"))


def test_images_are_spread_over_classes_and_chosen_alike_each_time(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "CANDIDATES", 24)
    conditions = choice.chosen_conditions(job.suite.conditions(), ["fog", "snow"])
    ids = choice.chosen_ids(job, conditions, (), 6)
    assert ids == choice.chosen_ids(job, conditions, (), 6)
    assert list(ids) == ["snow/5", "fog/5"]
    labels = dict(zip(job.data.ids, job.data.labels.tolist(), strict=True))
    assert len({labels[name] for name in ids["fog/5"]}) == 6


def test_without_names_three_corruptions_are_shown(job: Job) -> None:
    conditions = choice.chosen_conditions(job.suite.conditions(), [])
    assert [condition.group for condition in conditions] == ["gaussian_noise", "snow", "jpeg_compression"]


def test_names_that_do_not_exist_are_answered_with_near_ones(job: Job, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"Unknown condition 'fogg'.*fog"):
        making.make(job, replace(WANTED, conditions=("fogg",)), tmp_path, [], "")
    with pytest.raises(HarnessError, match="Unknown image 'digits-9999'"):
        making.make(job, replace(WANTED, ids=("digits-9999",)), tmp_path, [], "")
    with pytest.raises(HarnessError, match="0 to 999"):
        making.make(job, replace(WANTED, times=(1000,)), tmp_path, [], "")


def test_methods_that_look_at_neighbours_are_refused(tmp_path: Path) -> None:
    grouped = prepare(replace(SPEC, methods=(f"{DDA},norm=batch4",), suite="digits-c:corruption=fog"), tmp_path)
    with pytest.raises(HarnessError, match="norm=batch4"):
        choice.check_methods(grouped)


@pytest.mark.filterwarnings("error")
def test_records_of_other_images_give_a_notice_in_place_of_hardest_images(job: Job, records: list[RunRecord]) -> None:
    others = [replace(entry, data_sha256="0" * 64) for entry in records]
    assert not [entry for entry in others if making._is_of(entry, job)]
    with pytest.raises(UserWarning, match=r"hardest images are left out: no record of digits-c"):
        making.hardest(job, [], 2, Path())
