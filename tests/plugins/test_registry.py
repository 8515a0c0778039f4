"""The registry: names, settings, and the three ways in which plugins are found."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness import plugins
from harness.base.errors import Notice
from harness.plugins import Registry, discovery
from harness.plugins.settings import split
from harness.types import Classifier, HarnessError, Views


def test_settings_are_split_where_the_next_one_begins() -> None:
    assert split("data=a,b,severity=1,2,extra=true") == ["data=a,b", "severity=1,2", "extra=true"]


@pytest.mark.parametrize(
    "text, canonical",
    [
        ("de", "de"),
        ("de:times=0,50,100,150,200,250,300,350,400,450", "de"),
        ("de:times=0,100,200", "de:times=0,100,200"),
        ("dda:norm=batch4,scale=3", "dda:scale=3,norm=batch4"),
        ("dda:scale=6.0", "dda"),
        ("dda:scale=0.25", "dda:scale=0.25"),
        ("de:0,100", "de:times=0,100"),
        ("dda:scale=1.23456789", "dda:scale=1.23456789"),
    ],
)
def test_settings_have_one_spelling(text: str, canonical: str) -> None:
    configured = plugins.method.configure(text)
    assert configured.text == canonical
    assert plugins.method.configure(canonical) == configured


def test_every_setting_changes_what_is_built() -> None:
    for text in (
        "de:times=0,10",
        "dda:steps=50,start=20",
        "dda:start=20",
        "dda:factor=2",
        "dda:scale=1",
        "dda:norm=batch4",
    ):
        name = text.partition(":")[0]
        assert plugins.method.configure(text).plugin != plugins.method.configure(name).plugin, text


@pytest.mark.parametrize(
    "text, message",
    [
        ("de:tims=0", "times"),
        ("de:times", "name:key=value"),
        ("de:times=0,times=1", "twice"),
        ("dda:scale=x", "not a valid float"),
        ("dda:start=100", "start=100"),
        ("de:times=0,0", "distinct"),
    ],
)
def test_bad_settings_say_which(text: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        plugins.method.configure(text)


def test_unknown_names_answer_with_near_matches_and_the_list() -> None:
    with pytest.raises(HarnessError, match=r"Did you mean digits-c.*Available: .*digits-c"):
        plugins.suite["digits-e"]
    with pytest.raises(HarnessError, match="Did you mean digits-c"):
        plugins.suite["Digits-C"]


def test_looking_a_name_up_does_not_register_it() -> None:
    registry, built = Registry("thing"), []

    @registry.family("lib", lambda name: "lib 1.0")
    def lib(name: str) -> Callable[[], str]:
        built.append(name)
        return lambda: name

    assert registry.get("lib/a") is None, "nobody has asked for it yet"
    entry = registry["lib/a"]
    assert entry.build() == "a" and entry.source == "lib 1.0"
    assert "lib/a" not in registry and registry.entries() == []
    assert registry["lib/a"] is entry is registry.get("lib/a") and built == ["a"], "a family builds a plugin once"
    with pytest.raises(HarnessError, match=r"Unknown thing 'other/a'.*lib/NAME"):
        registry["other/a"]


def test_importing_plugins_imports_no_torch() -> None:
    code = "import sys, harness.plugins; print(sorted({'torch', 'numpy', 'typer'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_configured_plugin_says_what_it_is() -> None:
    configured = plugins.method.configure("de:0,100")
    assert (configured.text, configured.plugin.times) == ("de:times=0,100", (0, 100))
    assert configured.entry is plugins.method["de"] and configured.entry.facts["denoiser"]


@dataclass(frozen=True)
class Push:
    """An attack with a setting."""

    steps: int = 3


def test_attacks_run_under_every_method() -> None:
    plugins.attack("test/push")(Push)
    axis = plugins.AXES["attack"]
    texts = {plugins.method.kind: ["default", "de:0,100"], plugins.attack.kind: ["test/push:5"]}
    plain, denoised = axis.select(texts, [])
    assert plain.text == "test/push:steps=5" and not plain.entry.facts["denoiser"]
    assert denoised.text == "de:times=0,100+test/push:steps=5" and denoised.entry.facts["denoiser"]
    assert denoised.plugin.inner == Push(5) and denoised.plugin.outer.times == (0, 100)
    assert [configured.text for configured in axis.select({}, ["test/push"])] == ["test/push"]
    assert [registry.option for registry in axis.registries] == ["--tta", "--attack"]


def test_two_plugins_of_one_name_are_an_error() -> None:
    registry = Registry("thing")
    registry("a")(lambda: 1)
    with pytest.raises(HarnessError, match="Two thing plugins are called 'a'"):
        registry("a")(lambda: 2)


def test_entry_points_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    class Point:
        dist, value = None, "other:plugins"

        def load(self) -> None:
            loaded.append(self)

    monkeypatch.setattr(discovery, "_discovered", set())
    monkeypatch.setattr(discovery, "entry_points", lambda group: [Point()] if group == "harness.plugins" else [])
    plugins.discover()
    plugins.discover()
    assert len(loaded) == 1


def test_broken_plugins_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        dist, value = None, "other:plugins"

        def load(self) -> None:
            raise ImportError("no such module")

    monkeypatch.setattr(discovery, "_discovered", set())
    monkeypatch.setattr(discovery, "entry_points", lambda group: [Point()])
    with pytest.raises(HarnessError, match=r"other:plugins.*no such module.*uninstall"):
        plugins.discover()
    leaving = tmp_path / "leaving.py"
    leaving.write_text("import sys\nsys.exit(0)\n")
    monkeypatch.setattr(discovery, "_discovered", {"packages"})
    with pytest.raises(HarnessError, match="SystemExit"):
        plugins.discover(leaving)


def test_a_method_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "flip.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from harness.plugins import method\n"
        "@method('flip')\n"
        "@dataclass(frozen=True)\n"
        "class Flip:\n"
        "    weight: float = 0.5\n"
        "    def __call__(self, views, classifier):\n"
        "        return classifier(views.original().flip(-1)).softmax(-1)\n"
    )
    plugins.discover(file)
    assert plugins.method.configure("flip:weight=0.25").text == "flip:weight=0.25"
    assert len(plugins.method["flip"].source) == 64, "the file's hash is part of a run's identity"
    assert plugins.method["de"].source == ""


def test_every_method_gives_probabilities() -> None:
    """One table-driven test over every method there is: valid probabilities, and nothing but the views is looked at."""
    from harness.diffusion.lookup import find_denoiser
    from harness.evaluation.views.batch import BatchViews
    from harness.models.lookup import find_classifier
    from harness.models.tiles import TiledClassifier, Tiles

    data = plugins.dataset["digits"].build("test")
    denoiser, _ = find_denoiser("digits")
    network, _ = find_classifier("digits/vit")
    batch = data.read(range(4))
    for entry in [e for e in plugins.method.entries() if not e.name.startswith("test/")]:
        quick = entry.name + (":steps=10,start=2" if entry.name.startswith("dda") else "")
        views = BatchViews(batch, denoiser if entry.facts.get("denoiser") else None, Tiles(4), seed=0)
        shown = views.diffused(100) if entry.name == "denoised" else views  # it is for suites that diffuse images
        p = plugins.method.configure(quick).plugin(shown, TiledClassifier(network, Tiles(4)))
        assert p.shape == (4, 10), entry.name
        torch.testing.assert_close(p.sum(1), torch.ones(4)), entry.name
        assert float(p.min()) >= 0


def test_the_documented_protocol_is_enough() -> None:
    """A method needs no base class: anything with the right call runs."""

    @dataclass(frozen=True)
    class Original:
        def __call__(self, views: Views, classifier: Classifier) -> Tensor:
            return classifier(views.original()).softmax(-1)

    from harness.evaluation.views.calls import tally

    assert tally([Original()], torch.zeros(1, 3, 32, 32), 10).classified == 1


@pytest.mark.parametrize(
    "line, place",
    [
        ("from harness.suites.shift import CovariateShift", "harness.suites.bases.covariate_shift"),
        ("from harness.types import Scene", "harness.types.BatchTask"),
        ("from harness import weights", "harness.models.lookup"),
        ("import harness.networks", "harness.models.tiles"),
    ],
)
def test_a_plugin_of_an_earlier_version_is_told_where_its_imports_are_now(
    line: str, place: str, tmp_path: Path
) -> None:
    file = tmp_path / "old.py"
    file.write_text(line + "\n")
    with pytest.raises(HarnessError, match=f"It has moved to {re.escape(place)}"):
        plugins.discover(file)


def test_a_file_without_a_plugin_is_pointed_out(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("undecorated = 1\n")
    with pytest.warns(Notice, match="empty.py registers no plugin"):
        plugins.discover(file)
