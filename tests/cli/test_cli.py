"""The command line: what users type, and what they get when they mistype."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import ROOT, outputs, process
from rich.console import Console
from safetensors.torch import save_file

from harness import __version__
from harness.diffusion.lookup import load_denoiser
from harness.models.checkpoint import build_network, read_checkpoint, write_checkpoint
from harness.models.lookup import bundled, load_classifier
from harness.report.table import Table
from harness.terminal import console
from harness.types import HarnessError, RunSpec

PLUGIN = '''
import torch
from torch import nn
from harness.plugins import model


@model("mine", dataset="digits")
def mine() -> nn.Module:
    """A linear classifier."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
'''


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of things that are not what they should be."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "page.safetensors").write_text("<!DOCTYPE html><html>Sign in</html>")
    torch.save({"weight": torch.zeros(1)}, folder / "pickle.safetensors")
    save_file({"weight": torch.zeros(1)}, folder / "headless.safetensors")
    (folder / "short.safetensors").write_bytes(bundled("digits-vit")[0].read_bytes()[:5000])
    for name, header in {
        "damaged": "{",
        "nothing": '{"kind": "classifier", "dataset": "digits"}',
        "odd": '{"kind": "denoiser", "schedule": "round", "steps": 1000}',
    }.items():
        save_file({"weight": torch.zeros(1)}, folder / f"{name}.safetensors", metadata={"harness": header})
    weightless = PLUGIN.replace("torch.manual_seed(0)", "torch.load('mine.pt')").replace('"mine"', '"weightless"')
    (folder / "weightless.py").write_text(weightless)
    (folder / "mine.py").write_text(PLUGIN)
    (folder / "broken.py").write_text("import nothing_of_that_name\n")
    (folder / "twice.py").write_text(PLUGIN.replace('"mine"', '"digits/vit"'))
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (folder / "images" / split / name).mkdir(parents=True)
            (folder / "images" / split / name / "1.png").write_bytes(b"not a picture")
    return folder


BAD = [
    (["run", "--model", "digits/vti"], ["Unknown model 'digits/vti'", "Did you mean digits/vit", "Available:"]),
    (["run", "--tta", "dd"], ["Unknown test-time method 'dd'", "dda"]),
    (["run", "--suite", "digits-d"], ["Unknown suite 'digits-d'", "digits-c"]),
    (["run", "--denoiser", "imagenet"], ["Unknown denoiser 'imagenet'", "digits"]),
    (["run", "--tta", "de:time=0,50"], ["Unknown setting 'time' in 'de:time=0,50'", "times"]),
    (["run", "--tta", "de:times=0,x"], ["times='0,x'"]),
    (["run", "--tta", "de:times=0,1000"], ["1000", "0 to 999"]),
    (["run", "--tta", "dda:norm=batch"], ["norm='batch'"]),
    (["run", "--severity", "6"], ["severity=6", "1,2,3,4,5"]),
    (["run", "--suite", "digits", "--severity", "3"], ["--severity", "no such setting"]),
    (["run", "--shard", "2/2"], ["--shard '2/2'", "0/2"]),
    (["run", "--device", "cuda:7"], ["--device cuda:7", "--device cpu"]),
    (["run", "--device", "gpu"], ["--device gpu", "one of auto, cpu", "Use --device cpu"]),
    (["run", "--every", "0"], ["--every", "1"]),
    (["run", "--data", "somewhere"], ["--data somewhere is not a folder"]),
    (["run", "--suite", "digits", "--data", "somewhere"], ["--data", "no such setting"]),
    (["run", "--data", "{files}/images/train/cat"], ["holds no data set", "--suite"]),
    (["run", "--only", "digits"], ["--only and --skip choose among what --data DIR holds"]),
    (
        ["run", "--suite", "imagenet", "--data", "{files}", "--model", "digits/vit", "--denoiser", "digits"],
        ["--denoiser digits was trained on images of 32 pixels, and these have 224", "fit: adm256"],
    ),
    (["run", "--suite", "digits", "--denoiser", "adm256"], ["adm256", "these have 32", "cifar10, digits"]),
    (["run", "--suite", "folder", "--model", "digits/vit"], ["--data DIR"]),
    (["run", "--suite", "folder", "--data", "{files}/none", "--model", "digits/vit"], ["none", "test/CLASS"]),
    (["run", "--suite", "openood-cifar10", "--data", "{files}/none"], ["none/benchmark_imglist", "test_svhn"]),
    (["run", "--fresh", "--shard", "0/2"], ["--fresh", "other shards"]),
    (["run", "--model", "{files}/damaged.safetensors"], ["damaged.safetensors", "header"]),
    (["run", "--model", "{files}/nothing.safetensors"], ["nothing.safetensors", "does not describe a network"]),
    (["run", "--denoiser", "{files}/odd.safetensors"], ["odd.safetensors", "schedule 'round'"]),
    (["run", "--plugin", "{files}/weightless.py", "--model", "weightless"], ["could not be built", "mine.pt"]),
    (["run", "--suite", "digits-c:frost={files}", "--model", "digits/resnet", "--limit", "1"], ["frost1.png"]),
    (["run", "--model", "missing.safetensors"], ["No checkpoint at missing.safetensors", "Train one"]),
    (["run", "--model", "{files}/page.safetensors"], ["HTML page"]),
    (["run", "--model", "{files}/pickle.safetensors"], ["pickle", "run code"]),
    (["run", "--model", "{files}/headless.safetensors"], ["header", "architecture"]),
    (["run", "--model", "{files}/short.safetensors"], ["not a readable safetensors file"]),
    (["run", "--plugin", "{files}/none.py"], ["none.py", "No such file"]),
    (["run", "--plugin", "{files}/broken.py"], ["broken.py", "nothing_of_that_name"]),
    (["run", "--plugin", "{files}/twice.py"], ["Two model plugins are called 'digits/vit'"]),
    (["run", "--limit", "-1"], ["--limit"]),
    (["run", "--out", "/proc/nowhere"], ["Cannot write", "--out"]),
    (["run", "--suite", "certify", "--tta", "de"], ["--tta de", "certify takes --smooth"]),
    (["run", "--attack", "pgd"], ["--attack pgd", "digits-c takes --tta"]),
    (["run", "--dtype", "float64"], ["'float64' is not one of", "bfloat16"]),
    (["run", "--smooth", "gaussian"], ["--smooth gaussian", "digits-c takes --tta"]),
    (["run", "--suite", "certify", "--smooth", "gausian"], ["Unknown smoother 'gausian'", "gaussian"]),
    (["run", "--suite", "certify", "--sigma", "0"], ["sigma=0", "positive"]),
    (["run", "--suite", "certify", "--sigma", "1000", "--limit", "1", "--model", "digits/vit"], ["1000", "sigma"]),
    (["run", "--suite", "certify:alpha=0"], ["alpha=0", "between 0 and 1"]),
    (["run", "--suite", "certify:n=50"], ["n=50", "n0=100"]),
    (["run", "--suite", "certify", "--radii", "1,0.5"], ["radii", "rising"]),
    (["train"], ["--architecture NAME", "--denoiser"]),
    (["train", "--model", "resent"], ["Unknown architecture 'resent'", "resnet"]),
    (["train", "--architecture", "resent"], ["Unknown architecture 'resent'", "resnet"]),
    (["train", "--architecture", "vit", "--diffaug-times", "0,x"], ["--diffaug-times '0,x'", "0,500"]),
    (["train", "--model", "vit", "--dataset", "digit"], ["Unknown data set 'digit'", "digits"]),
    (["train", "--model", "vit", "--batch-size", "5000", "--out", "{files}/t"], ["--batch-size 5000", "1197"]),
    (["train", "--model", "vit", "--data", "{files}"], ["reads no folder"]),
    (["train", "--model", "vit", "--dataset", "folder"], ["--data DIR"]),
    (["train", "--model", "vit", "--dataset", "folder", "--data", "{files}/images"], ["not a readable image", "1.png"]),
    (["train", "--model", "vit", "--dataset", "folder", "--data", "{files}/t"], ["train/CLASS"]),
    (["train", "--model", "vit", "--dtype", "float16"], ["loss scaling", "bfloat16"]),
    (["run", "--model", "{files}/none.pt"], ["No checkpoint at", "none.pt"]),
    (["train", "--denoiser", "--diffaug"], ["--diffaug is for networks of kind classifier"]),
    (["compare", "digits/vit:de", "digits/vti:de"], ["Unknown record 'digits/vti:de'", "digits/vit:de"]),
    (["compare", "{files}/mine.py", "digits/vit:de"], ["not a run record"]),
    (["leaderboard", "--results", "{files}/nowhere"], ["No results folder", "harness run"]),
    (["leaderboard", "--suite", "nowhere"], ["No records of suite 'nowhere'", "There are records of certify"]),
    (["leaderboard", "--suite", "digit"], ["No records of suite 'digit'", "Did you mean digits"]),
    (["list", "modles"], ["Unknown kind of plugin 'modles'", "Did you mean models"]),
]


@pytest.mark.parametrize("arguments, fragments", BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_mistakes_get_one_message_and_exit_code_2(
    arguments: list[str],
    fragments: list[str],
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [a.format(files=files) for a in arguments]
    extra = ["--out", str(files / "out")] if words[0] == "run" and "--out" not in words else []
    monkeypatch.chdir(ROOT)
    code, _, errors = outputs(monkeypatch, capsys, *words, *extra)
    assert code == 2, errors
    assert "Traceback" not in errors
    for fragment in fragments:
        assert fragment in errors


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert outputs(monkeypatch, capsys, "--version") == (0, f"harness {__version__}", "")


def test_published_tables_need_no_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for results in (tmp_path, tmp_path / "absent"):
        code, printed, errors = outputs(monkeypatch, capsys, "leaderboard", "--published", "--results", str(results))
        assert code == 0 and printed.count("not measured here") > 2, errors
        code, _, errors = outputs(monkeypatch, capsys, "leaderboard", "--results", str(results))
        assert code == 2 and "harness run" in errors


def test_lists_keep_to_80_columns_and_tell_everything_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(console, "out", console.Screen(file=log, width=console.BOUNDLESS))
    assert outputs(monkeypatch, capsys, "list")[0] == 0
    lines = log.getvalue().splitlines()
    assert max(map(len, lines)) == 80 and "digits/resnet+augmix+deepaugment+diffaug" in log.getvalue()
    log.truncate(0)
    log.seek(0)
    assert outputs(monkeypatch, capsys, "list", "tta", "--json")[0] == 0
    methods = {entry["name"]: entry for entry in json.loads(log.getvalue())}
    assert {"default", "de", "dda"} <= set(methods)
    assert methods["de"] == {
        "kind": "methods", "name": "de", "facts": {"denoiser": True},
        "summary": "Mean class probability over one-step denoisings at several times; t = 0 is the image itself.",
        "settings": {"times": "0,50,100,150,200,250,300,350,400,450"},
    }  # fmt: skip
    log.truncate(0)
    log.seek(0)
    assert outputs(monkeypatch, capsys, "list", "--json")[0] == 0
    datasets = {entry["name"]: entry["facts"] for entry in json.loads(log.getvalue()) if entry["kind"] == "datasets"}
    assert datasets["digits"]["image_size"] == 32 and datasets["imagenet"]["reads_folder"] is True


def test_a_finished_bar_stands_still() -> None:
    clock = [0.0]
    bar = console.Bar(console=Console(file=io.StringIO()), auto_refresh=False, get_time=lambda: clock[-1])
    with bar:
        first = bar.begin("a", 100)
        clock.append(10.0)
        bar.update(first, completed=100, computed=100)
        shown = console.pace(bar.tasks[0])
        second = bar.begin("b", 100)
        clock.append(30.0)
        bar.update(second, completed=40, computed=40)
        assert console.pace(bar.tasks[0]) == shown == "10 images/s, 0:00:10"
        assert console.pace(bar.tasks[1]) == "2 images/s, 0:00:30 left"
        bar.begin("c", 100)
        clock.append(50.0)
        assert console.pace(bar.tasks[1]) == "2 images/s, 0:00:30 left", "a shard's share is not the whole"


def test_a_changed_bundled_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sha256 = bundled("digits-vit")
    copy = tmp_path / "digits-vit.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    copy.write_bytes(data)
    with pytest.raises(HarnessError, match="its card says"):
        load_classifier(copy, sha256)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(bundled("digits-vit")[0])
    network = build_network(checkpoint)
    write_checkpoint(tmp_path / "odd.safetensors", network, {**checkpoint.header, "architecture": "resnet"})
    with pytest.raises(HarnessError, match="does not fit architecture 'resnet'"):
        load_classifier(tmp_path / "odd.safetensors")
    with pytest.raises(HarnessError, match="holds a classifier, not a denoiser"):
        load_denoiser(bundled("digits-vit")[0])


VIEWS = "de:times=0,100"


def test_a_model_in_a_file_of_ten_lines_runs_in_every_suite(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    plugin = ["--plugin", str(files / "mine.py"), "--model", "mine"]
    suites = ["--suite", "digits", "--suite", "digits-c:corruption=fog,frost"]
    subset = ["--limit", "4", "--tile", "4", "--out", str(out)]
    done = process("run", *plugin, *suites, *subset, "--tta", "default", "--tta", VIEWS)
    assert done.returncode == 0, done.stderr
    assert len(list(out.rglob("*.json"))) == 4
    assert "mine" in done.stdout and "subset" in done.stdout
    compared = process("compare", "mine:default", f"mine:{VIEWS}", "--suite", "digits-c", "--results", str(out))
    assert compared.returncode == 0, compared.stderr
    assert "McNemar" in compared.stdout
    code, board, _ = outputs(monkeypatch, capsys, "leaderboard", "--results", str(out))
    assert code == 0 and board.count("mine") == 4


def test_dry_run_counts_and_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--dry-run", "--out", str(tmp_path), "--tta", "default", "--tta", "de", "--tile", "4"]
    code, row, errors = outputs(monkeypatch, capsys, *arguments, "--model", "digits/vit")
    assert code == 0, errors
    assert "1,500" in row, "15 conditions of 100 images"
    assert "15,000" in row, "ten views of each for one classifier"
    assert "13,500" in row, "nine denoisings of each"
    assert not list(tmp_path.rglob("*.json"))


def test_a_full_disk_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder whose quota is a tiny file system would need root; a file-size limit fails the same writes."""
    arguments = ["run", "--suite", "digits-c:corruption=brightness,contrast,fog,pixelate,jpeg_compression"]
    arguments += ["--model", "digits/resnet", "--tta", "default", "--limit", "100", "--tile", "100"]
    arguments += ["--out", str(tmp_path)]
    limited = f"trap '' XFSZ; ulimit -f 5; exec {sys.executable} -m harness {shlex.join(arguments)}"
    done = subprocess.run(["bash", "-c", limited], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "Cannot write" in " ".join(done.stderr.split())
    parts = list((tmp_path / ".parts").rglob("*.parquet"))
    assert len(parts) == 5, "every part was kept; only the sample table was too large"
    code, _, errors = outputs(monkeypatch, capsys, *arguments)
    assert code == 0, errors
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_help_teaches() -> None:
    assert "--suite" in process("run", "--help").stdout
    top = process("--help").stdout
    assert all(axis in top for axis in ("covariate shift", "certification", "detection", "train"))
    assert all(command in top for command in ("run", "train", "list", "compare", "leaderboard"))
    for command in ("run", "train", "compare"):
        assert "Example" in process(command, "--help").stdout


def test_list_shows_every_kind() -> None:
    done = process("list")
    assert done.returncode == 0
    for name in ("digits/resnet+diffaug", "dda-se", "digits-c", "folder", "unet"):
        assert name in done.stdout


TABLE = Table(
    "a title",
    ["", "model", "method", "auroc near (%)", "fpr95 ood pos near (%)", "accuracy id (%)", "denoiser calls"],
    [["1", "a/model+diffaug", "msp [tile 4]", "94.5 [86.2, 100.0]", "30.0 [0.0, 50.0]", "99.8 [98, 100]", "0 / image"]],
    "A caption.",
    names=3,
)


@pytest.mark.parametrize("room", [40, 60, 80, 150])
def test_a_table_of_numbers_stays_readable_at_any_width(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is a line where the names leave room for a number; the other columns follow in blocks."""
    monkeypatch.setattr(console.out, "_width", room)
    with console.out.capture() as screen:
        console.show(TABLE)
    lines = screen.get().splitlines()
    rows = [line.split() for line in lines if line.startswith("1 ")]
    assert max(map(len, lines)) <= room and " ".join(lines).endswith("A caption.") == (room > 40)
    assert " ".join(rows[0][:6]) == "1 a/model+diffaug msp [tile 4] 94.5" or room == 40
    assert len(rows) == {40: 4, 60: 3, 80: 2, 150: 1}[room]
    assert ("[86.2," in rows[0]) == (room > 40), "intervals go where they would take more than three blocks"


def test_a_log_tells_rates_that_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of a line runs from the end of the one before, and parts of an image count."""
    log, clock = io.StringIO(), [0.0]
    monkeypatch.setattr(console.Bar, "LOG_EVERY", -1.0)
    with console.Bar(console=Console(file=log, width=100), auto_refresh=False, get_time=lambda: clock[-1]) as bar:
        for now, name, done, total in [(10.0, "a", 0.05, 6), (12.0, "b", 3000, 6000), (12.5, "c", 100, 200)]:
            clock.append(now)
            bar.update(bar.begin(name, total), completed=done, computed=done)
    lines = re.findall(r"^\w: .*", log.getvalue(), re.M)
    assert lines[:3] == [
        "a: 0.05/6, 0.005 images/s, 0:19:50 left", "b: 3000/6000, 1,500 images/s, 0:00:02 left", "c: 100/200, starting",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 200])
def test_progress_keeps_to_one_line(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "err", Console(file=io.StringIO(), width=width))
    bar = console.Bar(console.Line(), console=console.err, auto_refresh=False, get_time=lambda: 10.0)
    task = bar.add_task(
        "digits-resnet+augmix+deepaugment+diffaug", total=1000, computed=300, completed=300, info="ce 0.1"
    )
    (shown,) = bar.tasks
    shown.start_time, shown.fields["info"] = 0.0, " ".join(["ce 0.123"] * 20)
    line = console.Line().render(shown).plain
    assert task == shown.id and len(line) <= width and "━━━━─────" in line and "300/1000 30 images/s" in line
    assert ("digits-resnet+augmix+deepaugment+diffaug" in line) == (width == 200)


def test_strides_in_words() -> None:
    strides = [RunSpec("digits", ("m",), ("default",), every=k).stride for k in (2, 3, 10, 11, 12, 21, 113)]
    assert strides == [f"every {word}" for word in ("2nd", "3rd", "10th", "11th", "12th", "21st", "113th")]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_local_records_are_ignored_by_git() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    done = subprocess.run(["git", "check-ignore", "results/local/x.json"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0
