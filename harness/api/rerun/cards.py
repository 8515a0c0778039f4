"""Repeat the training of a checkpoint's card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict

from safetensors.torch import load_file

from harness.api.machine import usable_device
from harness.api.rerun.origins import check_loaded
from harness.api.rerun.verdict import DIFFERS, IDENTICAL, QUALITY, Differences, Verdict, changed
from harness.api.weight_files import fetch_missing
from harness.base.errors import Absent, HarnessError
from harness.base.files import file_sha256
from harness.base.provenance import threads
from harness.base.validation import Reader, Rule
from harness.models.published.locate import WeightFiles
from harness.train import run as training
from harness.train.input.splits import open_training
from harness.train.loop import TrainingProgress
from harness.train.spec import TrainSpec

ERROR_SLACK = 0.05
"""Share by which a denoiser's or autoencoder's error may differ between two trainings of one quality."""


class _Data(TypedDict):
    """A card's reference to its training data."""

    sha256: str


class _MadeWith(TypedDict):
    """A card's versions and hardware. threads: of torch."""

    threads: int


class _Accuracy(TypedDict):
    """A card's accuracy on clean test images."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class _Fields:
    """The fields of a card that a repetition reads."""

    command: str
    sha256: str
    spec: Mapping[str, Any]
    data: _Data
    made_with: _MadeWith
    name: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)
    clean_accuracy: _Accuracy | None = None
    heldout_denoising_rmse: Mapping[str, float] | None = None
    heldout_reconstruction_rmse: float | None = None


_READER = Reader({"_MadeWith.threads": Rule("from 1 to 1024", lambda count: 1 <= count <= 1024)}, strict=False)


@dataclass(frozen=True)
class Card:
    """A checkpoint's card. path: of the JSON file. values: its contents."""

    path: Path
    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        try:
            _READER(_Fields, self.values)
        except ValueError as error:
            raise HarnessError(f"{self.path} is no card of a training ({error}). Restore it.") from error

    @property
    def spec(self) -> TrainSpec:
        """The specification; raises HarnessError for one that this version cannot train."""
        settings = dict(self.values["spec"])
        if strange := sorted(settings.keys() - {f.name for f in fields(TrainSpec)}):
            raise HarnessError(f"{self.path} has the settings {', '.join(strange)} of another version. Update.")
        try:
            spec: TrainSpec = _READER(TrainSpec, settings)
        except ValueError as error:
            raise HarnessError(f"{self.path} is no card of a training (spec: {error}). Restore it.") from error
        return spec

    @property
    def weights(self) -> Path | None:
        """The checkpoint beside the card, if it is the one that the card describes."""
        for file in (self.path.with_suffix(".safetensors"), self.path.with_name("model.safetensors")):
            if file.is_file() and file_sha256(file) == self.values["sha256"]:
                return file
        return None


def rerun_card(
    card: Card,
    out: Path,
    weight_files: WeightFiles,
    *,
    data: str = "",
    report: Callable[[TrainingProgress], None] = lambda progress: None,
) -> Verdict:
    """Train a card's specification again, into the folder `out`, and compare hashes and measured quality.

    data: folder of the data, where it has moved. Raises HarnessError for what cannot be repeated.
    """
    check_loaded(str(card.path), card.values.get("plugins", {}))
    spec = replace(card.spec, device=usable_device(card.spec.device))
    if data:
        spec = replace(spec, data=data)
    fetch_missing([spec.init], weight_files)
    try:
        opened = open_training(spec)
    except Absent as error:
        raise HarnessError(f"{error} Data that has moved: --data DIR.") from error
    then, now = str(card.values["data"]["sha256"]), opened.sha256
    if then != now:
        return Verdict(DIFFERS, [f"Nothing was trained: data had SHA-256 {then[:12]}..., has {now[:12]}...."])
    with threads(card.values["made_with"]["threads"]):
        again = training.run(spec, out, report, weight_files=weight_files)
    return _compared(card, again, out / "model.safetensors")


def _compared(card: Card, again: Mapping[str, Any], weights: Path) -> Verdict:
    environment = changed(card.values["made_with"], again["made_with"])
    if card.values["sha256"] == again["sha256"]:
        return Verdict(IDENTICAL, [f"The weights have the same SHA-256 {again['sha256'][:12]}...."], environment)
    findings = Differences("The weights were compared, tensor by tensor.", [])
    if card.weights:
        then, now = load_file(card.weights), load_file(weights)
        for name in sorted(then.keys() | now.keys()):
            if name in then and name in now and then[name].shape == now[name].shape:
                findings.numbers(f"the tensor {name}", then[name].double().numpy(), now[name].double().numpy())
            else:
                findings.differences.append(f"the tensor {name} is not in both")
        if not findings.differences:
            return findings.verdict(environment)
    qualities = list(_qualities(card.values, again))
    sentences = ["The weights have another SHA-256.", *(text for text, _ in qualities)]
    agrees = all(inside for _, inside in qualities)
    return Verdict(QUALITY if agrees else DIFFERS, sentences, environment)


def _qualities(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """For each measured quality a sentence, and true where the repeated one is as good to within its uncertainty."""
    if then.get("clean_accuracy") and not now.get("clean_accuracy"):
        yield "Clean accuracy is no longer measured.", False
    elif then.get("clean_accuracy"):
        before, after = then["clean_accuracy"], now["clean_accuracy"]
        low, high = before["interval"]
        yield (
            f"Clean accuracy was {before['value']:.4f} [{low:.4f}, {high:.4f}], is {after['value']:.4f}.",
            low <= after["value"] <= high,
        )
    for name in ("heldout_denoising_rmse", "heldout_reconstruction_rmse"):
        if then.get(name) is not None:
            errors = then[name] if isinstance(then[name], Mapping) else {"": then[name]}
            held = now.get(name, {})
            repeated = held if isinstance(held, Mapping) else {"": held}
            for time, error in errors.items():
                place = f"{name} at t = {time}" if time else name
                if time not in repeated:
                    yield f"{place} is no longer measured.", False
                    continue
                inside = abs(repeated[time] - error) <= ERROR_SLACK * error
                yield f"{place} was {error:.4f}, is {repeated[time]:.4f}.", inside
