"""The figure my-name of a few test digits."""

import csv
from pathlib import Path

from harness import plugins
from harness.api.figures import making
from harness.api.figures.sources import StoredSources
from harness.models.lookup import find_classifier

plugins.discover(Path(__file__).with_name("my_name.py"))


def drawn(folder: Path, text: str = "my-name:images=8", seed: int = 0) -> dict[str, bytes]:
    """The files of the figure by ending, drawn as `harness figure` draws it."""
    chosen = making.find(text)
    files = making.make(chosen, StoredSources(chosen.entry, folder, ["digits/resnet"], seed=seed), folder)
    return {file.suffix: file.read_bytes() for file in files}


def rows_of(files: dict[str, bytes]) -> list[dict[str, str]]:
    """The numbers drawn."""
    return list(csv.DictReader(files[".csv"].decode().splitlines()))


def test_it_is_four_files_with_a_row_per_point(tmp_path: Path) -> None:
    files = drawn(tmp_path)
    assert set(files) == {".png", ".svg", ".csv", ".txt"}
    rows = rows_of(files)
    assert len(rows) == 4 and all(float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) for row in rows)


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    assert drawn(tmp_path) == drawn(tmp_path)


def test_without_noise_it_is_the_accuracy_of_the_classifier(tmp_path: Path) -> None:
    batch = plugins.dataset["digits"].build("test").read(range(8))
    right = find_classifier("digits/resnet")[0].eval()(batch.images).argmax(1) == batch.labels
    (row,) = rows_of(drawn(tmp_path, "my-name:sigmas=0,images=8"))
    assert float(row["accuracy"]) == float(right.double().mean()) and row["n"] == "8"
