"""Generation: samples that depend on their number alone, parts that survive a kill, and what is left in the folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ROOT
from PIL import Image
from torch import Tensor

from harness import plugins
from harness.base import sealed
from harness.base.errors import Notice
from harness.base.files import file_sha256
from harness.evaluation.views.batch import BatchViews
from harness.generation import outputs, run
from harness.generation.classes import labels_of
from harness.generation.estimate import GuidedCalls, tally
from harness.generation.job import Generation, prepare
from harness.generation.parts import PartFolder
from harness.generation.requested import RequestedSamples
from harness.generation.run import GenerationProgress, generate
from harness.generation.spec import GenerateSpec, sample_id
from harness.models.tiles import Tiles
from harness.types import Batch, Geometry, HarnessError, Sampling

TINY = ROOT / "tests" / "tiny_generation.py"
FEW = GenerateSpec(dataset="tiny", sampling=Sampling(steps="ddim5"), samples=7, tile=3)
ANCESTRAL = Sampling("ancestral", "6")


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path) -> Path:
    """The file of tiny networks, registered."""
    file = tmp_path / "plugin" / "tiny_generation.py"
    file.parent.mkdir()
    shutil.copy(TINY, file)
    plugins.discover(file)
    return file


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def job(**changes: Any) -> Generation:
    return prepare(replace(FEW, **changes))


def pixels(folder: Path) -> np.ndarray:
    return np.load(folder / "samples.npz")["arr_0"]


def hashes(folder: Path) -> list[str]:
    """SHA-256 of samples and grid."""
    return [file_sha256(folder / name) for name in ("samples.npz", "grid.png")]


@pytest.fixture
def undisturbed(tmp_path: Path) -> Path:
    """A run in one piece."""
    folder = tmp_path / "undisturbed"
    assert generate(job(), folder)
    return folder


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_batch_size_changes_no_byte(batch_size: int, out: Path, undisturbed: Path) -> None:
    generate(job(), out, batch_size=batch_size)
    assert hashes(out) == hashes(undisturbed)


def test_stochastic_samplers_depend_on_no_batch_either(tmp_path: Path) -> None:
    for sampling in (ANCESTRAL, Sampling(steps="ddim5", eta=1.0)):
        whole = job(sampling=sampling)
        together = whole.sample(range(7))
        alone = torch.cat([whole.sample([number]) for number in (5, 0)])
        assert torch.equal(together[[5, 0]], alone)


def test_the_suite_of_guided_generation_sees_the_same_samples() -> None:
    whole = job(guide="classifier:scale=20", model="tiny/da", sampling=ANCESTRAL)
    batch = Batch(tuple(map(sample_id, range(7))), torch.zeros(7, 3, 8, 8), whole.labels)
    views = BatchViews(batch, whole.denoiser, Tiles(3), whole.spec.seed)
    images = views.generated(whole.guide, whole.network, batch.labels, ANCESTRAL)
    assert torch.equal(images.permute(0, 2, 3, 1), whole.sample(range(7)).float() / 255)
    requested = RequestedSamples("tiny", 7, 3, Geometry(8, 8, "bilinear"))
    assert (tuple(requested.ids), requested.labels.tolist()) == (batch.ids, whole.labels.tolist())


def test_shards_in_any_order_give_the_samples_of_one_run(out: Path, undisturbed: Path) -> None:
    assert generate(job(), out, shard=(1, 2)) is None
    assert not (out / "samples.npz").exists()
    assert json.loads((out / "card.json").read_text())["status"] == "partial"
    assert generate(job(), out, shard=(0, 2), batch_size=2)
    assert hashes(out) == hashes(undisturbed)


def test_what_is_there_is_not_computed_again(out: Path, undisturbed: Path) -> None:
    generate(job(), out, shard=(0, 2))
    seen: list[GenerationProgress] = []
    generate(job(), out, report=seen.append)
    assert seen[-1] == GenerationProgress(7, 3, 7), "four of the seven samples were on disk"
    assert hashes(out) == hashes(undisturbed)
    seen.clear()
    again = generate(job(), out, report=seen.append)
    assert not seen and again == json.loads((out / "card.json").read_text())


def test_a_damaged_part_is_computed_anew(out: Path, undisturbed: Path) -> None:
    generate(job(), out, shard=(0, 2))
    folder = PartFolder(out, job().key, (3, 8, 8))
    first = min(folder.path.glob("*.npy"))
    content = bytearray(first.read_bytes())
    content[200] ^= 1
    first.write_bytes(content)
    with pytest.warns(Notice, match="is damaged"):
        assert generate(job(), out)
    assert hashes(out) == hashes(undisturbed)


def test_each_part_is_read_and_hashed_once(out: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, names = sealed.read_or_tell, []
    monkeypatch.setattr(sealed, "read_or_tell", lambda file, name: names.append(file.name) or read(file, name))
    assert generate(job(), out)
    assert names == ["000000-000003.npy", "000003-000006.npy", "000006-000007.npy"]
    assert hashes(out) == hashes(undisturbed)


def test_a_part_that_is_damaged_while_others_are_computed_stops_the_run(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PartFolder.write

    def damaging(self: PartFolder, start: int, pixels: np.ndarray, cost: Any) -> None:
        write(self, start, pixels, cost)
        if start == 6:
            (self.path / "000003-000006.npy").write_bytes(b"")

    monkeypatch.setattr(PartFolder, "write", damaging)
    with pytest.warns(Notice, match="is damaged"), pytest.raises(HarnessError, match="damaged or deleted while"):
        generate(job(), out)
    assert not (out / "samples.npz").exists()


def test_a_damaged_result_is_made_anew(undisturbed: Path) -> None:
    before = hashes(undisturbed)
    with (undisturbed / "samples.npz").open("ab") as file:
        file.write(b"x")
    with pytest.warns(Notice, match="absent or damaged"):
        generate(job(), undisturbed)
    assert hashes(undisturbed) == before


def command(plugin: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "harness", "generate", "--plugin", str(plugin), "--dataset", "tiny", "--guide", "none"),
        *("--steps", "ddim5", "--samples", "6", "--tile", "2", "--device", "cpu", "--out", str(out)),
    ]


def test_a_killed_process_goes_on(plugin: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TINY_SECONDS": "0.2"}
    process = subprocess.Popen(command(plugin, killed), env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(killed.glob(".parts/*/*.npy")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(killed.glob(".parts/*/*.npy")) and not (killed / "samples.npz").exists()
    seen: list[GenerationProgress] = []
    one = job(guide="none", samples=6, tile=2)
    generate(one, killed, report=seen.append)
    assert 0 < seen[-1].computed < 6
    generate(one, whole)
    assert hashes(killed) == hashes(whole)


def test_the_samples_are_in_openais_layout_truncated(out: Path) -> None:
    whole = job()
    generate(whole, out)
    with np.load(out / "samples.npz", allow_pickle=False) as arrays:
        assert arrays.files == ["arr_0", "arr_1"]
        images, labels = arrays["arr_0"], arrays["arr_1"]
    assert images.shape == (7, 8, 8, 3) and images.dtype == np.uint8
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0] and labels.dtype == np.int64
    x = exact(whole)
    scaled = ((x.double() + 1) * 127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert (images == np.floor(scaled)).mean() > 0.99
    assert (images == np.round(scaled)).mean() < 0.7, "rounding would be seen"
    card = json.loads((out / "card.json").read_text())
    assert card["samples"] == {"file": "samples.npz", "count": 7, "sha256": file_sha256(out / "samples.npz")}
    assert card["samples per class"] == [3, 2, 2] and card["classes"] == ["ant", "bee", "cat"]
    assert card["times"] == [0, 200, 400, 600, 800] and card["steers"] is True


def test_the_grid_has_a_row_per_class_under_its_name_and_magnifies_small_images(out: Path, tmp_path: Path) -> None:
    generate(job(), out)
    images, labels = outputs.read_samples(out / "samples.npz")
    grid = np.asarray(Image.open(out / "grid.png"))
    step = 96 + 2
    margin = grid.shape[1] - (2 + 3 * step)
    assert grid.shape[0] == 2 + 3 * step and margin > 10
    pixels = grid[:, margin:]
    for row in range(3):
        assert grid[2 + row * step : (row + 1) * step, :margin].min() == 0, "a name stands beside the row"
        for column, number in enumerate(np.flatnonzero(labels == row)):
            shown = pixels[2 + row * step : 2 + row * step + 96 : 12, 2 + column * step : 2 + column * step + 96 : 12]
            assert (shown == images[number]).all()
    generate(job(guide="none"), tmp_path / "none")
    assert Image.open(tmp_path / "none" / "grid.png").width == 2 + 3 * step, "without a guide a row has no class"


def exact(whole: Generation) -> Tensor:
    """The samples before they become pixels."""
    found: list[Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.diffusion.guided_sampler.pixels", lambda x: found.append(x) or x)
        whole.sample(range(7))
    return torch.cat(found)[:7]  # the last tile is padded


def test_guides_share_noise_and_labels_and_differ_where_they_steer() -> None:
    free, weak = job(guide="none"), job(guide="classifier:scale=0.000001")
    strong = job(guide="classifier:scale=50")
    unguided, hardly, guided = (one.sample(range(7)) for one in (free, weak, strong))
    assert (unguided == hardly).float().mean() > 0.99
    assert (unguided != guided).float().mean() > 0.2
    assert torch.equal(free.labels, strong.labels) and free.key != strong.key


def test_the_class_asked_for_becomes_more_likely() -> None:
    free, guided = job(guide="none"), job(guide="denoised:scale=5")
    network = guided.network
    with torch.no_grad():
        before, after = (
            network(one.sample(range(7)).permute(0, 3, 1, 2).float() / 255).log_softmax(1) for one in (free, guided)
        )
    rows = torch.arange(7)
    assert (after[rows, free.labels] > before[rows, free.labels]).float().mean() > 0.8


@pytest.mark.parametrize(
    "changes, calls",
    [
        ({"guide": "none"}, GuidedCalls(5)),
        ({"guide": "classifier", "model": "tiny/noisy"}, GuidedCalls(5, 0, 5, 5)),
        ({"guide": "classifier", "model": "tiny/da"}, GuidedCalls(5, 5, 5, 5)),
        ({"guide": "classifier:through=partial", "model": "tiny/da"}, GuidedCalls(5, 0, 5, 5)),
        ({"guide": "classifier:interval=200,601", "model": "tiny/da"}, GuidedCalls(5, 3, 3, 3)),
        ({"guide": "denoised"}, GuidedCalls(5, 5, 5, 5)),
        ({"guide": "cfg:scale=3"}, GuidedCalls(10)),
        ({"guide": "cfg:scale=3,interval=200,601"}, GuidedCalls(8)),
        ({"guide": "cfg"}, GuidedCalls(5)),
        ({"guide": "push"}, GuidedCalls(5)),
    ],
)
def test_one_denoiser_call_per_step_serves_the_sampler_and_the_guide(changes: Any, calls: GuidedCalls) -> None:
    """Counted at the networks themselves, and foretold on stand-ins."""
    whole = job(**changes)
    assert tally(whole) == calls
    seen: list[int] = []
    whole.denoiser.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    whole.sample(range(3))
    assert sum(seen) == 3 * calls.denoiser


def test_a_name_of_two_classes_is_refused() -> None:
    """ImageNet has two cranes: a bird and a machine."""
    names = ["crane", "ant", "crane"]
    with pytest.raises(HarnessError, match=r"the classes 0 and 2 are both called 'crane'\. Give the number"):
        labels_of(GenerateSpec(classes="ant,crane"), names)
    assert labels_of(GenerateSpec(classes="ant,2", samples=3), names).tolist() == [1, 2, 1]


def test_the_labels_are_balanced_listed_or_random_by_sample() -> None:
    assert job(samples=30).labels.bincount().tolist() == [10, 10, 10]
    assert job(classes="cat,1").labels.tolist() == [2, 1, 2, 1, 2, 1, 2]
    few, many = job(classes="random").labels, job(classes="random", samples=60).labels
    assert torch.equal(few, many[:7]) and sorted(set(many.tolist())) == [0, 1, 2]
    assert not torch.equal(few, job(classes="random", seed=1).labels)


def test_classes_are_matched_by_name_in_classifiers_and_in_conditional_denoisers() -> None:
    da = job(guide="classifier", model="tiny/da")
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    own = plugins.model["tiny/da"].build()[0].noisy(x, x, torch.tensor([1, 1]))
    assert torch.equal(da.network.noisy(x, x, torch.tensor([1, 1])), own[:, [1, 2, 0]])
    conditional = job(guide="cfg").denoiser
    original = plugins.denoiser["tiny-conditional"].build()[0]
    index = torch.tensor([7, 7])
    for mine, theirs in ((0, 2), (1, 1), (2, 0), (3, 3)):
        told = [torch.full((2,), label) for label in (mine, theirs)]
        pair = [one.predict_noise(x, index, labels=l)[0] for one, l in zip((conditional, original), told, strict=True)]
        assert torch.equal(*pair)


def test_other_settings_in_the_same_folder_are_refused(out: Path) -> None:
    generate(job(), out)
    with pytest.raises(HarnessError, match=r"made otherwise \(seed: 0 there, 1 here\). Give another --out, or --fresh"):
        generate(job(seed=1), out)
    assert generate(job(seed=1), out, fresh=True)
    out2 = out.parent / "foreign"
    out2.mkdir()
    (out2 / "notes.txt").write_text("mine")
    with pytest.raises(HarnessError, match=r"holds files but no card.json"):
        generate(job(), out2, fresh=True)
    assert (out2 / "notes.txt").exists()


def test_a_folder_grows_and_keeps_what_is_there(out: Path, tmp_path: Path) -> None:
    generate(job(samples=4), out)
    seen: list[GenerationProgress] = []
    card = generate(job(), out, report=seen.append)
    assert card and card["samples"]["count"] == 7
    assert seen[-1] == GenerationProgress(7, 3, 7), "four of the seven samples were there"
    generate(job(), tmp_path / "at once")
    assert hashes(out) == hashes(tmp_path / "at once")
    with pytest.raises(HarnessError, match=r"holds 7 samples, or will, and 4 are asked for. Give another --out"):
        generate(job(samples=4), out)
    assert generate(job(samples=4), out, fresh=True)


def test_finished_samples_are_read_in_pieces(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty thousand photographs are 10 GB: neither a folder that grows nor single images hold them all."""
    monkeypatch.setattr(outputs, "PIECE", 2 * 8 * 8 * 3)
    monkeypatch.delattr(outputs, "read_samples")
    generate(job(samples=5), out)
    first = json.loads((out / "card.json").read_text())["seconds"]
    written: list[int] = []
    write = PartFolder.write
    monkeypatch.setattr(
        PartFolder,
        "write",
        lambda self, start, pixels, cost: (written.append(len(pixels)), write(self, start, pixels, cost)),
    )
    card = generate(job(), out, images=True)
    assert written[:3] == [2, 2, 1] and sum(written) == 7 and card and card["seconds"] >= first
    generate(job(), tmp_path / "at once", images=True)
    assert hashes(out) == hashes(tmp_path / "at once")
    for file in (tmp_path / "at once").glob("images/*/*.png"):
        assert file.read_bytes() == (out / file.relative_to(tmp_path / "at once")).read_bytes()


def test_the_key_holds_the_source_of_a_classifier_with_settings() -> None:
    whole = job(guide="classifier", model="tiny/da")
    named = replace(whole, spec=replace(whole.spec, model="tiny/da:layers=3"))
    assert whole.identity["plugins"]["model"] == named.identity["plugins"]["model"] != ""


@pytest.mark.parametrize("text", ["", "[]", '{"status": "complete", "made_from": {"a": 1}}', '{"made_from": {}}'])
def test_a_damaged_card_is_reported(text: str, out: Path) -> None:
    out.mkdir()
    (out / "card.json").write_text(text)
    with pytest.raises(HarnessError, match=r"card\.json is damaged .* --fresh starts over"):
        generate(job(), out)
    assert generate(job(), out, fresh=True)


def test_every_setting_that_decides_a_pixel_names_other_parts() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"seed": 1}, {"guide": "classifier:scale=3"}, {"model": "tiny/da"}, {"denoiser": "tiny-fixed"}, {"tile": 4},
        {"sampling": Sampling(steps="ddim10")}, {"sampling": Sampling(steps="5")}, {"sampling": ANCESTRAL},
        {"sampling": Sampling(steps="ddim5", eta=0.5)}, {"classes": "0"}, {"dtype": "bfloat16"},
        {"sampling": Sampling("ancestral", "6", variance="fixed_large")},
    ]  # fmt: skip
    keys = [job(**change).key for change in changes]
    assert len(set(keys)) == len(keys)
    assert job(samples=70).key == keys[0], "how many there are decides no sample"


def test_images_lie_in_folders_of_their_class_and_train(out: Path) -> None:
    generate(job(), out, images=True)
    names = sorted(str(file.relative_to(out / "images")) for file in out.glob("images/*/*.png"))
    assert names[:4] == [
        "ant/sample-000000.png",
        "ant/sample-000003.png",
        "ant/sample-000006.png",
        "bee/sample-000001.png",
    ]
    assert (np.asarray(Image.open(out / "images" / names[1])) == pixels(out)[3]).all()
    from harness.data import open_copy
    from harness.types import Geometry

    copy = open_copy(out / "images", Geometry(8, 8, "bilinear"), ("ant", "bee", "cat"), "tiny")
    assert copy.labels.tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_unguided_images_claim_no_class(out: Path) -> None:
    generate(job(guide="none"), out)
    generate(job(guide="none"), out, images=True)
    assert len(list(out.glob("images/unguided/*.png"))) == 7 == len(list(out.glob("images/*/*.png")))


def test_the_bytes_of_the_samples_hold_no_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    for name, second in (("a", 0.0), ("b", 1e9)):
        monkeypatch.setattr(time, "time", lambda second=second: second)
        outputs.write_samples(tmp_path / name, [numbers[:1], numbers[1:]], np.array([1, 0]), (3, 8, 8))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    read, labels = outputs.read_samples(tmp_path / "a")
    assert (read == numbers).all() and labels.tolist() == [1, 0]


def test_two_processes_do_not_compute_the_same_share(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.base import files

    monkeypatch.setattr(files, "PATIENCE", 0.1)
    own = out / run.SHARDS / "0-of-1"
    own.mkdir(parents=True)
    with files.locked(own), pytest.raises(HarnessError, match="Another process is at work"):
        generate(job(), out)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"guide": "classifier:scale=nan"}, "scale='nan' is not a valid float"),
        ({"guide": "classifier:scale=inf"}, "scale='inf' is not a valid float"),
        ({"guide": "classifier:through=all"}, "must be one of total, partial"),
        ({"guide": "classifier", "model": "tiny/plain"}, "knows no diffusion time"),
        ({"guide": "classifier", "model": "tiny/others"}, "knows other classes than the data"),
        ({"guide": "classifier", "model": "digits/resnet"}, "was trained on the classes of 'digits'"),
        ({"guide": "classifier", "model": "tiny/large"}, "fail on an image of 8 pixels"),
        ({"guide": "classifier", "model": "tiny/five"}, "for one image; 'tiny' has 3 classes"),
        ({"guide": "none:conditional=true", "denoiser": "tiny-five"}, "takes one of 5 classes, and 'tiny' has 3"),
        ({"guide": "none", "model": "tiny/da"}, "asks no classifier: leave out --model"),
        ({"guide": "none", "denoiser": "tiny-needs-class"}, "needs the class: give the guide none the setting"),
        ({"guide": "none:conditional=true", "denoiser": "tiny"}, "needs a denoiser that takes the class"),
        ({"guide": "cfg", "denoiser": "tiny"}, "with and without a class"),
        ({"guide": "cfg", "denoiser": "tiny-needs-class"}, "with and without a class"),
        ({"guide": "classifier:interval=961,999"}, "its interval holds none of the sampler's 5 times"),
        ({"guide": "none:scale=4"}, "never steers: scale and interval decide nothing"),
        ({"guide": "none:interval=200,800"}, "never steers: scale and interval decide nothing"),
        ({"guide": "cfg:conditional=true"}, "cfg always tells the class: conditional=true decides nothing"),
        ({"guide": "classifier:through=partial", "model": "tiny/noisy"}, "tiny/noisy sees no denoised image: through"),
        ({"guide": "nothing"}, "Unknown guide 'nothing'"),
        ({"sampling": Sampling(steps="ddim300")}, "no whole stride gives 300 of 1000 times"),
        ({"sampling": Sampling(steps="1001")}, "cannot be respaced to 1001"),
        ({"sampling": Sampling("ancestral", "5", eta=1.0)}, "eta=1 is for the sampler ddim"),
        ({"sampling": Sampling(variance="learned")}, "variance=learned is for the sampler ancestral"),
        ({"sampling": Sampling("ancestral", "5", variance="learned"), "denoiser": "tiny-fixed"}, "learned none"),
        ({"classes": "ant,dog"}, "no class is called 'dog'"),
        ({"classes": "3"}, "no class is called '3'"),
        ({"dataset": "digits", "denoiser": "tiny"}, "was trained on images of 8 pixels, and these have 32"),
        (
            {"dataset": "digits", "guide": "cfg:scale=2", "denoiser": "cifar10-conditional"},
            "classes are those of 'cifar10', 'airplane'.* not those of 'digits'",
        ),
        ({"dataset": "folder", "guide": "denoised"}, "No registered classifier of 'folder' is meant for"),
        ({"dataset": "folder", "denoiser": "tiny"}, "needs its folder"),
        ({"dataset": "folder"}, "No denoiser of 'folder' is registered"),
        ({"samples": 0}, "samples=0 must be at least 1"),
    ],
)
def test_mistakes_are_explained_before_any_sample(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        job(**changes)


def test_samples_that_are_no_numbers_are_refused(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = job(guide="push")
    endless = replace(whole, guide=type(whole.guide)(scale=1e38))
    with pytest.raises(HarnessError, match="NaN or infinite"):
        generate(endless, out)
