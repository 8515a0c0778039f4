"""Builders of models and denoisers receive the places of published weights if they declare them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness import plugins
from harness.api.requests import stated_models
from harness.base.errors import Absent, HarnessError
from harness.diffusion.denoiser import Denoiser
from harness.diffusion.lookup import find_denoiser
from harness.diffusion.schedule import SCHEDULES
from harness.models.lookup import canonical, check_name, find_classifier, is_path
from harness.models.published.locate import WeightFiles
from harness.types import Weights


def denoiser() -> tuple[Denoiser, Weights]:
    return Denoiser(nn.Identity(), SCHEDULES["linear"](10)), Weights("test", "", "plugin")


def test_a_builder_that_declares_weight_files_receives_them() -> None:
    received: list[WeightFiles] = []

    @plugins.model("test/declares")
    def build(weight_files: WeightFiles) -> nn.Module:
        received.append(weight_files)
        return nn.Flatten()

    files = WeightFiles({"test/declares": Path("x.pth")}, Path("folder"))
    find_classifier("test/declares", files)
    assert received == [files]


def test_a_builder_without_parameters_is_called_without_arguments() -> None:
    plugins.model("test/plain")(lambda: nn.Flatten())
    plugins.denoiser("test-plain")(denoiser)
    files = WeightFiles({"test/plain": Path("x.pth")})
    assert isinstance(find_classifier("test/plain", files)[0], nn.Flatten)
    assert find_denoiser("test-plain", files)[1].name == "test"


def test_builders_of_denoisers_receive_weight_files_as_functions_and_as_configured_dataclasses() -> None:
    received: list[tuple[int, WeightFiles]] = []

    @plugins.denoiser("test-function")
    def build(weight_files: WeightFiles) -> tuple[Denoiser, Weights]:
        received.append((0, weight_files))
        return denoiser()

    @plugins.denoiser("test-dataclass")
    @dataclass(frozen=True)
    class Configured:
        width: int = 1

        def __call__(self, weight_files: WeightFiles) -> tuple[Denoiser, Weights]:
            received.append((self.width, weight_files))
            return denoiser()

    files = WeightFiles({"x": Path("x.pth")}, Path("folder"))
    find_denoiser("test-function", files)
    find_denoiser("test-dataclass:width=3", files)
    assert received == [(0, files), (3, files)]
    with pytest.raises(HarnessError, match="depth"):
        find_denoiser("test-function:depth=3", files)


def test_a_model_with_settings_is_configured_by_its_text() -> None:
    received: list[tuple[int, WeightFiles]] = []

    @plugins.model("test/settings")
    @dataclass(frozen=True)
    class WithSettings:
        width: int = 1
        image_size: int = 32

        def __call__(self, weight_files: WeightFiles) -> nn.Module:
            received.append((self.width, weight_files))
            return nn.Flatten()

    files = WeightFiles({"x": Path("x.pth")}, Path("folder"))
    find_classifier("test/settings:width=3", files)
    find_classifier("test/settings", files)
    assert received == [(3, files), (1, files)]
    assert canonical("test/settings:image_size=64,width=3") == "test/settings:width=3,image_size=64"
    with pytest.raises(HarnessError, match="depth"):
        find_classifier("test/settings:depth=3", files)
    with pytest.raises(HarnessError, match=r"--mean 0\.5: it is for a file"):
        stated_models(["test/settings:width=3"], {"mean": "0.5"})


def test_without_weight_files_a_builder_receives_the_weights_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[WeightFiles] = []

    @plugins.model("test/declares")
    def build(weight_files: WeightFiles) -> nn.Module:
        received.append(weight_files)
        return nn.Flatten()

    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path))
    find_classifier("test/declares")
    monkeypatch.delenv("HARNESS_WEIGHTS")
    find_classifier("test/declares")
    assert received == [WeightFiles({}, tmp_path), WeightFiles({}, Path("weights"))]


def test_files_of_one_command_do_not_reach_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_file({"x": torch.zeros(1)}, "x.safetensors")
    first = WeightFiles.of(["a=x.safetensors"])
    second = first.using("b", Path("x.safetensors"))
    assert (first.find("a"), first.find("b")) == (Path("x.safetensors"), None)
    assert second.find("a") == second.find("b") == Path("x.safetensors")
    assert WeightFiles().find("a") is None


@pytest.mark.parametrize("build", [nn.Flatten, lambda **settings: settings, dict, int])
def test_a_builder_that_does_not_name_a_parameter_is_offered_nothing(build: Any) -> None:
    assert plugins.arguments_for(build, weight_files=WeightFiles()) == {}


def test_the_question_for_a_path_raises_nothing_and_the_check_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.safetensors").touch()
    for name, is_file in {
        "here.safetensors": True,
        "gone.safetensors": False,
        "no/such": False,
        "adm256": False,
    }.items():
        assert is_path(name, plugins.denoiser) == is_file
    check_name("here.safetensors", plugins.denoiser)
    check_name("adm256", plugins.denoiser)
    for name in ("gone.safetensors", "no/such"):
        with pytest.raises(Absent, match=f"No checkpoint at {name}"):
            check_name(name, plugins.denoiser)
    with pytest.raises(HarnessError, match="Did you mean adm256"):
        check_name("adm25", plugins.denoiser)
