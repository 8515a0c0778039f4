"""Probes: outputs for fixed images, alone, beside others, again and on resume."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SMALL, run_small
from torch import Tensor, nn
from torch.nn import functional as F

from harness import plugins
from harness.base.errors import Notice
from harness.evaluation import loop
from harness.evaluation.preflight import resume
from harness.evaluation.preflight.standins import detector_outputs, method_outputs
from harness.evaluation.prepare import prepare
from harness.evaluation.records import record
from harness.models.fingerprint import fingerprint
from harness.models.probe import Probe
from harness.plugins import discovery
from harness.types import Classifier, HarnessError, Views

PLAIN = {"suite": "digits", "methods": ("default",), "denoiser": None, "limit": 6}


class Net(nn.Module):
    """A linear classifier of digits, and what else is done to images and logits."""

    def __init__(
        self, before: Callable[[Tensor], Tensor] = lambda x: x, after: Callable[[Tensor], Any] = lambda z: z
    ) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 32 * 32, 10)
        self.before, self.after = before, after
        with torch.no_grad():
            self.fc.weight.copy_(torch.arange(10 * 3072).reshape(10, 3072).sin() / 5)
            self.fc.bias.zero_()

    def forward(self, images: Tensor) -> Any:
        return self.after(self.fc(self.before(images).flatten(1)))


class Stubborn(nn.BatchNorm2d):
    """Batch norm that stays in training mode, whatever it is asked."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(True)


def kept_dropout(x: Tensor) -> Tensor:
    return F.dropout(x, 0.5, training=True)


def prepared(network: nn.Module, out: Path, **changes: Any) -> loop.Job:
    plugins.model("test/net")(lambda: network)
    return prepare(replace(SMALL, **{**PLAIN, "models": ("test/net",), **changes}), out)


@pytest.mark.parametrize(
    "network, message",
    [
        (
            Net(nn.BatchNorm2d(3, track_running_stats=False)),
            r"beside other images.*BatchNorm2d 'before' has no running",
        ),
        (Net(Stubborn(3)), r"Stubborn 'before' is in training mode"),
        (Net(lambda x: x - x.mean(0)), "another output beside other images than alone. Its numbers"),
        (Net(after=lambda z: z / z.abs().max()), "another output beside other images"),
        (Net(after=lambda z: z[:1].expand_as(z)), "another output beside other images"),
        (Net(kept_dropout), "other outputs for the same images the second time"),
        (Net(after=lambda z: z + torch.randn_like(z)), "a matter of chance"),
        (Net(after=lambda z: (z, z)), r"returned a tuple of 2, where a tensor \(B, K\) is expected"),
        (Net(after=lambda z: {"logits": z}), "returned a dict with the keys logits"),
        (Net(after=lambda z: z.softmax(1)), "rows that sum to one: probabilities, where logits are expected"),
    ],
)
def test_networks_whose_rows_are_no_logits_of_one_image_are_refused(
    network: nn.Module, message: str, tmp_path: Path
) -> None:
    with pytest.raises(HarnessError, match=message):
        prepared(network, tmp_path)


def test_networks_that_only_look_unusual_pass(tmp_path: Path) -> None:
    for network in (Net(nn.BatchNorm2d(3)), Net(nn.Dropout(0.5)), Net(after=lambda z: z.softmax(1).log())):
        assert prepared(network, tmp_path).probes[0].outputs["model"].shape == (4, 10)
        plugins.model._entries.pop("test/net")


def test_in_tiles_of_one_image_nothing_is_beside_it(tmp_path: Path) -> None:
    assert prepared(Net(nn.InstanceNorm2d(3)), tmp_path, tile=1).probes


@pytest.mark.parametrize(
    "method, message",
    [
        (lambda v, c: c(v.original() - v.original().mean(0)).softmax(-1), "Method 'test/odd' gives an image another"),
        (lambda v, c: c(v.original() + torch.rand(1)).softmax(-1), "Method 'test/odd' gives other outputs"),
        (lambda v, c: [c(v.original())], r"Method 'test/odd' returned a list of 1 for \d images"),
        (lambda v, c: 1 / (len(v.original()) - 4) * c(v.original()), "Method 'test/odd' failed on 4 images"),
    ],
)
def test_methods_that_look_at_neighbours_or_chance_are_refused(
    method: Callable[[Views, Classifier], Any], message: str, tmp_path: Path
) -> None:
    plugins.method("test/odd")(lambda: method)
    with pytest.raises(HarnessError, match=message):
        prepared(Net(), tmp_path, methods=("test/odd",))


def test_groups_that_are_declared_stay_together() -> None:
    @dataclass(frozen=True)
    class Grouped:
        """The mean over groups."""

        group: int
        averaged: int

        def __call__(self, views: Views, classifier: Classifier) -> Tensor:
            images = views.original().unflatten(0, (-1, min(self.averaged, len(views.original()))))
            return classifier(images.mean(1, keepdim=True).expand_as(images).flatten(0, 1)).softmax(-1)

    images = torch.rand(4, 3, 8, 8)
    assert method_outputs(Grouped(4, 4), images, 10, "it", False).shape == (8, 10)
    with pytest.raises(HarnessError, match="beside other images"):
        method_outputs(Grouped(2, 4), images, 10, "it", False)


def test_settings_of_methods_and_detectors_change_their_probes() -> None:
    """Also those of the detectors that learn, from stand-in features."""
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def of_method(text: str) -> Tensor:
        return method_outputs(plugins.method.configure(text).plugin, images, 10, text, False)

    def of_detector(text: str) -> Tensor:
        axis = plugins.AXES["detector"]
        return detector_outputs(axis.configure(text).plugin, images, bool(axis.of(text).facts.get("whole")))

    for probe, texts in (
        (of_method, ["default", "de", "de:times=0,50", "dda", "dda:scale=1", "dda-se"]),
        (
            of_detector,
            ["msp", "knn", "knn:k=3", "react", "react:percentile=50", "vim", "mahalanobis", "odin", "gen-views"],
        ),
    ):
        outputs = [probe(text).float() for text in texts]
        assert all(torch.equal(values, probe(text).float()) for text, values in zip(texts, outputs, strict=True))
        assert not any(torch.allclose(a, b) for k, a in enumerate(outputs) for b in outputs[:k])


GAIN = {0: 1.0}


def run_gain(out: Path, **options: Any) -> tuple[record.RunRecord, list[str]]:
    """The record of a model whose arithmetic depends on what no hash sees, and the notices that the user got."""
    if "test/gain" not in plugins.model:
        plugins.model("test/gain")(lambda: Net(after=lambda z: z * GAIN[0]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (entry,) = run_small(out, {**PLAIN, "models": ("test/gain",)}, **options)
    return entry, [str(w.message) for w in caught if issubclass(w.category, Notice)]


def test_a_record_of_other_outputs_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, notices = run_gain(tmp_path)
    assert not notices
    again, notices = run_gain(tmp_path)
    assert again == first and not notices
    monkeypatch.setitem(GAIN, 0, -1.0)
    other, notices = run_gain(tmp_path)
    (notice,) = notices
    assert "test/gain under default is computed anew" in notice and "those of the model" in notice
    assert other.key == first.key and not np.array_equal(other.rows()["prediction"], first_predictions(tmp_path, 1.0))


def first_predictions(out: Path, gain: float) -> Any:
    """What a plain loop predicts."""
    data = plugins.dataset["digits"].build("test")
    with torch.no_grad():
        return (Net()(data.read(range(6)).images) * gain).argmax(1).numpy()


def test_parts_of_other_outputs_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {**PLAIN, "suite": "digits-c", "models": ("test/gain",)}
    plugins.model("test/gain")(lambda: Net(after=lambda z: z * GAIN[0]))

    def stop(tick: loop.Progress) -> None:
        if tick.done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_small(tmp_path / "a", changes, report=stop)
    monkeypatch.setitem(GAIN, 0, -1.0)
    with pytest.warns(Notice, match="is computed anew: it gives other outputs than when .*[.]probe was"):
        (resumed,) = run_small(tmp_path / "a", changes)
    (undisturbed,) = run_small(tmp_path / "b", changes)
    assert resumed.samples["sha256"] == undisturbed.samples["sha256"]
    assert not list((tmp_path / "a").rglob("*.probe"))


def test_a_difference_between_devices_is_noted(tmp_path: Path) -> None:
    plugins.model("test/net")(Net)
    job = prepare(replace(SMALL, **{**PLAIN, "models": ("test/net",)}), tmp_path)
    (probe,), (journal,) = job.probes, job.journals
    elsewhere = replace(probe, device="another", outputs={"model": probe.outputs["model"] + np.float32(0.01)})
    resume.keep(journal, elsewhere)
    resume.verify(job)
    with pytest.raises(HarnessError, match=r"computed on another, and here is .* --mixed-devices"):
        loop.run(job)
    (path,) = loop.run(job, mixed_devices=True)
    entry = record.load(path)
    assert any("Computed on another and on" in note and "0.01 apart" in note for note in entry.notes)
    record.save(replace(entry, probe=elsewhere.to_json()), path)
    with pytest.warns(Notice, match="was computed on another; on .* outputs differ: those of the model"):
        assert loop.run(job) == [path], "the record stands"


def test_two_versions_at_once_in_one_folder_are_noticed(tmp_path: Path) -> None:
    plugins.model("test/net")(Net)
    job = prepare(replace(SMALL, **{**PLAIN, "models": ("test/net",)}), tmp_path)
    (probe,), (journal,) = job.probes, job.journals

    def overtake(tick: loop.Progress) -> None:
        for file in journal.probes:
            file.unlink()
        resume.keep(journal, replace(probe, outputs={"model": probe.outputs["model"] + 1}))

    with pytest.raises(HarnessError, match="another process evaluates another version"):
        loop.run(job, report=overtake)


def test_probes_survive_their_file_and_compare_within_rounding() -> None:
    probe = Probe(
        ("a",), "cpu", {"model": "float32"}, {"model": np.array([[1.0, -2.0, np.nan]], np.float32)}, {"x": "y"}
    )
    again = Probe.from_json(probe.to_json())
    assert (again.ids, again.device, again.dtypes, again.unknown) == (("a",), "cpu", {"model": "float32"}, {"x": "y"})
    assert np.array_equal(again.outputs["model"], probe.outputs["model"], equal_nan=True)

    def moved(by: float, dtype: str = "float32") -> dict[str, float]:
        dtypes = {"model": dtype}
        return replace(probe, dtypes=dtypes).differences(replace(probe, outputs={"model": probe.outputs["model"] + by}))

    assert moved(5e-5) == {} and moved(5e-3, "bfloat16") == {}
    assert moved(5e-3)["model"] == pytest.approx(5e-3, rel=1e-3)
    assert probe.differences(replace(probe, outputs={"model": np.zeros((1, 2), np.float32)})) == {"model": float("inf")}
    assert probe.differences(replace(probe, ids=("b",), outputs={})) == {}


def test_fingerprints_cover_what_no_state_dict_holds() -> None:
    class Holder(nn.Module):
        def __init__(self, plain: float = 1.0, unsaved: float = 1.0, number: float = 1.0) -> None:
            super().__init__()
            self.plain, self.number = [torch.tensor(plain)], {"scale": number}
            self.register_buffer("unsaved", torch.tensor(unsaved), persistent=False)

    networks = [Holder(), Holder(plain=2.0), Holder(unsaved=2.0), Holder(number=2.0)]
    assert len({fingerprint(n) for n in networks}) == 4 and fingerprint(Holder()) == fingerprint(Holder())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and still what people have
        frozen = [torch.jit.freeze(torch.jit.trace(Scaled(g).eval(), torch.ones(1, 2))) for g in (1.0, 1.0, 2.0)]
    first, same, other = map(fingerprint, frozen)
    assert first == same != other


class Scaled(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        nn.init.constant_(self.fc.weight, gain)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x)


PLUGIN = """
from torch import nn
from harness.plugins import model
import {helper}
from {package}.inner import DEPTH

@model("{name}", dataset="digits")
def build() -> nn.Module:
    \"\"\"Linear.\"\"\"
    import {late}
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, {helper}.WIDTH))
"""


def write_plugin(folder: Path, name: str, helper: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{helper}.py").write_text(f"WIDTH = 10\nimport {helper}_more\n")
    (folder / f"{helper}_more.py").write_text("MORE = 1\n")
    (folder / f"{helper}_late.py").write_text("LATE = 1\n")
    (folder / f"{helper}_package").mkdir(exist_ok=True)
    (folder / f"{helper}_package" / "inner.py").write_text("DEPTH = 1\n")
    file = folder / f"{name}.py"
    parts = {"helper": helper, "package": f"{helper}_package", "late": f"{helper}_late", "name": name}
    file.write_text(PLUGIN.format(**parts))
    return file


def source_of(file: Path) -> str:
    """What would identify a plugin file as it is now."""
    content = file.read_bytes()
    return discovery._source(content, discovery._modules_beside(file, content))


def test_modules_beside_a_plugin_are_imported_and_part_of_its_hash(tmp_path: Path) -> None:
    file = write_plugin(tmp_path, "beside", "beside_helper")
    plugins.discover(file)
    entry = plugins.model["beside"]
    assert entry.build()[1].out_features == 10
    sources = [source_of(file)]
    assert (entry.origin.name, entry.source) == ("beside.py", sources[0])
    (tmp_path / "unrelated.py").write_text("OTHER = 1")
    assert source_of(file) == sources[0]
    for changed in (
        "beside",
        "beside_helper",
        "beside_helper_more",
        "beside_helper_late",
        "beside_helper_package/inner",
    ):
        with (tmp_path / f"{changed}.py").open("a") as opened:
            opened.write("# changed\n")
        sources.append(source_of(file))
    assert len(set(sources)) == 6


def test_two_folders_with_a_module_of_one_name_are_told_apart(tmp_path: Path) -> None:
    plugins.discover(write_plugin(tmp_path / "one", "first_one", "shared_helper"))
    with pytest.raises(HarnessError, match=r"import the module 'shared_helper\w*' beside them, and another module"):
        plugins.discover(write_plugin(tmp_path / "two", "second_one", "shared_helper"))


def test_records_name_the_files_behind_them(tmp_path: Path) -> None:
    file = tmp_path / "odd_parts.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom harness.plugins import method, model\n"
        "from harness.models.lookup import bundled, load_classifier\n"
        "@model('test/wrapped', dataset='digits')\ndef build():\n    return load_classifier(*bundled('digits-vit'))\n"
        "@method('test/flipped')\n@dataclass(frozen=True)\nclass Flipped:\n"
        "    def __call__(self, views, classifier):\n        return classifier(views.original().flip(-1)).softmax(-1)\n"
    )
    plugins.discover(file)
    (entry,) = run_small(tmp_path, {**PLAIN, "models": ("test/wrapped",), "methods": ("test/flipped",)})
    source = plugins.method["test/flipped"].source
    assert entry.plugins == {"model": f"odd_parts.py {source}", "test-time method": f"odd_parts.py {source}"}
    assert entry.probe and Probe.from_json(entry.probe).outputs.keys() == {"images", "model", "method"}


def test_attributes_that_are_no_plain_numbers_are_no_obstacle() -> None:
    network = nn.Linear(2, 2)
    nn.init.ones_(network.weight), nn.init.zeros_(network.bias)
    plain = fingerprint(network)
    network.names = np.array(["cat", "dog"])
    network.table = torch.eye(2).to_sparse()
    network.counts = np.arange(3, dtype=">i4")
    network.things = np.array([object()], dtype=object)
    named = fingerprint(network)
    network.names = np.array(["dog", "cat"])
    assert plain != named != fingerprint(network)


def test_a_damaged_probe_costs_parts_and_no_record(tmp_path: Path) -> None:
    plugins.model("test/net")(Net)
    job = prepare(replace(SMALL, **{**PLAIN, "models": ("test/net",)}), tmp_path)
    (path,) = loop.run(job)
    before = path.read_bytes()
    (journal,), (probe,) = job.journals, job.probes
    resume.keep(journal, probe)
    (file,) = journal.probes
    file.write_bytes(file.read_bytes()[:-70] + b"x" + file.read_bytes()[-69:])
    with pytest.warns(Notice, match=r"\.probe is damaged: the parts of test/net under default are computed anew"):
        assert loop.run(job) == [path]
    assert path.read_bytes() == before and not journal.probes
