"""Options of commands that are the fields of dataclasses, and the objects that they become."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from helpers import harness
from typer.testing import CliRunner

from harness import plugins
from harness.base.errors import HarnessError
from harness.cli.app import app
from harness.cli.board_options import check_out
from harness.cli.settings import Settings, with_settings
from harness.types import Classifier, RunSpec, Views
from harness.types.spec import as_option

RUN: dict[str, Any] = {
    "suite": [], "models": [], "methods": [], "denoiser": None, "data": None, "severity": None, "sigma": None,
    "radii": None, "near": [], "far": [], "smooth": [], "detector": [], "attack": [], "guide": [], "only": [],
    "skip": [],
    "architecture": None, "mean": None, "std": None, "image_size": None, "interpolation": None, "classes": None,
    "full": False, "every": None, "limit": 0, "seed": 0,
    "batch_size": 0, "tile": 0, "gradient_tile": 16,
    "device": "auto", "dtype": "auto", "denoiser_dtype": "auto", "compile": False,
    "workers": "auto", "on_bad_image": "stop", "out": "results/local", "weights": [], "shard": "", "plugin": [],
    "dry_run": False, "fresh": False, "corruption": None, "keep_logits": False, "keep_images": False,
    "on": None, "mixed_devices": False,
}  # fmt: skip
"""Defaults of the options of ``harness run``."""

FLAGS = {"models": "--model", "methods": "--tta"}
"""Options that are not called as their fields are."""


def options(command: str) -> dict[str, Any]:
    """The options of a command as typer sees them, by name."""
    group: Any = typer.main.get_command(app)
    return {option.name: option for option in group.commands[command].params}


def test_run_has_the_options_of_its_specification_and_of_its_execution() -> None:
    options_of_run = options("run")
    assert {name: str(option.default) for name, option in options_of_run.items()} == {k: str(v) for k, v in RUN.items()}
    assert {f.name for f in fields(RunSpec)} <= options_of_run.keys()
    for name, option in options_of_run.items():
        assert option.opts == [FLAGS.get(name, f"--{name.replace('_', '-')}")] and option.help
        assert option.multiple == isinstance(RUN[name], list) and option.is_flag == isinstance(RUN[name], bool)
        if (RUN[name] == 0 or name == "every") and not option.is_flag:
            assert option.min == (name == "every"), f"{name} is a count"


def test_an_architecture_is_named_by_two_options() -> None:
    assert options("train")["architecture"].opts == ["--architecture", "--model"]


@dataclass(frozen=True)
class Trip:
    """A specification."""

    goal: str = field(metadata=as_option("Place.", "Where", several=True))
    stops: tuple[str, ...] = field(default=(), metadata=as_option("Places.", "Where", flag="--via"))
    window: tuple[int, int] = field(default=(8, 20), metadata=as_option("Hours.", "When"))
    days: int = field(default=1, metadata=as_option("Days.", "When", unset=0, min=0, max=9))
    by: str = field(default="foot", metadata=as_option("Means.", "How", unset="any", choices=("any", "foot", "boat")))
    secret: str = "none"


@dataclass(frozen=True)
class Luggage:
    """Options that belong together."""

    bags: Annotated[int, typer.Option(help="Number.")] = 1
    names: Annotated[list[str], typer.Option("--label", help="Label.")] = field(default_factory=list)


def travel(*arguments: str) -> tuple[dict[str, Any], Luggage, bool, Any]:
    """The values that a command receives, and what it printed."""
    seen: list[Any] = []

    @with_settings
    def command(
        trip: Settings[Trip], luggage: Luggage, quick: Annotated[bool, typer.Option("--quick")] = False
    ) -> None:
        seen.extend([trip, luggage, quick])

    commands = typer.Typer()
    commands.command()(command)
    result = CliRunner().invoke(commands, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})
    return *(seen or [{}, Luggage(), False]), result


def test_fields_of_a_specification_become_options_and_come_back_as_values() -> None:
    trip, luggage, quick, _ = travel()
    assert trip == {"goal": (), "stops": (), "window": (8, 20), "days": 0, "by": "any"}
    assert (luggage, quick) == (Luggage(), False)
    words = ["--goal", "sea", "--goal", "hill", "--via", "inn", "--window", "9,17", "--days", "3", "--by", "boat"]
    trip, luggage, quick, _ = travel(*words, "--bags", "2", "--label", "red", "--quick")
    assert trip == {"goal": ("sea", "hill"), "stops": ("inn",), "window": (9, 17), "days": 3, "by": "boat"}
    assert type(trip["by"]) is str, "a value of an enumeration would not be a JSON text"
    assert (luggage, quick) == (Luggage(2, ["red"]), True)


@pytest.mark.parametrize(
    "arguments, message",
    [(["--days", "10"], "'--days'"), (["--by", "train"], "boat"), (["--secret", "x"], "--secret")],
)
def test_values_outside_of_a_field_s_limits_are_refused(arguments: list[str], message: str) -> None:
    result = travel(*arguments)[-1]
    assert result.exit_code == 2 and message in result.output


def test_numbers_of_a_pair_need_a_comma() -> None:
    result = travel("--window", "9-17")[-1]
    assert "--window '9-17': give whole numbers with a comma" in str(result.exception)


@dataclass(frozen=True)
class Counted:
    """A method that counts how often it is built."""

    shift: int = 1

    def __post_init__(self) -> None:
        BUILT.append(f"method {self.shift}")

    def __call__(self, views: Views, classifier: Classifier) -> Any:
        return classifier(views.original()).softmax(-1)


BUILT: list[str] = []


def test_a_run_builds_its_suite_and_each_method_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    BUILT.clear()
    plugins.method("test/counted")(Counted)
    digits = plugins.suite["digits"]

    def build(**settings: Any) -> Any:
        BUILT.append("suite")
        return digits.build(**settings)

    build.axis = digits.build.axis  # type: ignore[attr-defined]
    monkeypatch.setitem(plugins.suite._entries, "digits", replace(digits, build=build))
    arguments = ["--suite", "digits", "--model", "digits/resnet", "--limit", "4", "--tile", "4", "--out", str(tmp_path)]
    methods = ["--tta", "test/counted", "--tta", "test/counted:2", "--tta", "test/counted:shift=2"]
    code, printed = harness(monkeypatch, capsys, "run", *arguments, *methods, "--dry-run")
    assert code == 0, printed
    assert BUILT == ["suite", "method 1", "method 2", "method 2"]


def test_out_must_have_a_known_suffix_and_a_folder_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"suffix must be one of \.md, \.csv"):
        check_out(None, tmp_path / "x.xlsx")
    with pytest.raises(HarnessError, match=r"there is no folder .*absent\. Make it"):
        check_out("csv", tmp_path / "absent" / "x.csv")
    check_out("csv", tmp_path / "x.dat")
    check_out(None, tmp_path / "x.CSV")
