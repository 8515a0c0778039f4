"""Files of weights as data from strangers: averages beside the weights, other kinds of file, hostile archives."""

from __future__ import annotations

import gzip
import json
import os
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from helpers import harness
from safetensors.torch import save_file
from torch import nn

from harness import plugins
from harness.api.machine import threads
from harness.base.files import file_sha256
from harness.diffusion.lookup import load_denoiser
from harness.models.files import archives, bounded, formats
from harness.models.files.state_dict import read_state, recorded, unwrapped
from harness.models.lookup import find_classifier, load_classifier
from harness.models.published import manifest
from harness.models.published.locate import WeightFiles, chosen
from harness.plugins.settings import parse
from harness.train import recipes
from harness.train.engine.optimize import learning_rate
from harness.train.spec import TrainSpec
from harness.types import HarnessError

State = dict[str, torch.Tensor]


def network(value: float, names: str = "") -> State:
    """Tensors of a small network, all of one value."""
    shapes = {
        "conv.weight": (4, 3, 3, 3),
        "conv.bias": (4,),
        "bn.running_mean": (4,),
        "fc.weight": (2, 4),
        "fc.bias": (2,),
    }
    return {f"{names}{name}": torch.full(shape, value) for name, shape in shapes.items()}


def read(file: Path) -> float:
    """The value of the network that is taken from a file."""
    state = unwrapped(file, read_state(file, "network", "Origin."), network(0).keys())
    assert state.keys() == network(0).keys()
    (value,) = {float(tensor.unique()) for tensor in state.values()}
    return value


# --- an average beside the weights --------------------------------------------------------------------------------

OPTIMISER = {
    "state": {0: {"exp_avg": torch.ones(4, 3, 3, 3), "step": torch.tensor(3.0)}},
    "param_groups": [{"lr": 0.1}],
}
BESIDE: dict[str, tuple[dict[str, Any], str, str]] = {
    "DeiT": ({"model": network(1), "model_ema": network(2)}, "model", "model_ema"),
    "timm": ({"state_dict": network(1), "state_dict_ema": network(2)}, "state_dict", "state_dict_ema"),
    "ema": ({"model": network(1), "ema": network(2), "optimizer": OPTIMISER}, "model", "ema"),
    "BasicSR": ({"params": network(1), "params_ema": network(2)}, "params", "params_ema"),
    "nested": (
        {"model": network(1), "model_ema": {"decay": 0.99, "state_dict": network(2, "module.")}},
        "model",
        "model_ema.state_dict",
    ),
    "in a callback": (
        {"state_dict": network(1, "model."), "callbacks": {"EMA": {"ema_weights": network(2, "model.")}}},
        "state_dict",
        "callbacks.EMA.ema_weights",
    ),
    "AveragedModel": (
        {"net": network(1), "swa": {"n_averaged": torch.tensor(3), **network(2, "module.")}},
        "net",
        "swa",
    ),
    "DINO": ({"student": network(1, "module."), "teacher": network(2)}, "student", "teacher"),
    "in one state dict": ({"state_dict": {**network(1, "model."), **network(2, "model_ema.")}}, "model", "model_ema"),
    "with dots": ({"state_dict": {**network(1, "net.body."), **network(2, "ema.body.")}}, "net.body", "ema.body"),
}


@pytest.mark.parametrize("way", BESIDE)
def test_an_average_beside_the_weights_is_refused_or_chosen(tmp_path: Path, way: str) -> None:
    saved, raw, average = BESIDE[way]
    torch.save({**saved, "epoch": 3}, tmp_path / "both.pth")
    with pytest.raises(HarnessError, match=r"holds two networks, as .* and as ") as refused:
        read(tmp_path / "both.pth")
    assert f"#{average}" in str(refused.value) and raw in str(refused.value)
    assert read(tmp_path / f"both.pth#{raw}") == 1
    assert read(tmp_path / f"both.pth#{average}") == 2


def test_an_average_without_names_is_refused_and_cannot_be_chosen(tmp_path: Path) -> None:
    shadow = list(network(2).values())
    torch.save({"model": network(1), "ema": {"shadow_params": shadow}}, tmp_path / "both.pth")
    with pytest.raises(HarnessError, match=r"as model and as ema\.shadow_params"):
        read(tmp_path / "both.pth")
    assert read(tmp_path / "both.pth#model") == 1
    with pytest.raises(HarnessError, match="ema as a list: its tensors have no names"):
        read(tmp_path / "both.pth#ema")


def test_an_optimiser_is_no_second_network(tmp_path: Path) -> None:
    momentum = {"momentum": list(network(2).values()), "exp_avg": network(3)}
    torch.save({"model": network(1), "optimizer": momentum, "scaler": {}}, tmp_path / "one.pth")
    assert read(tmp_path / "one.pth") == 1


def test_a_part_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    torch.save({"model": network(1), "model_ema": network(2)}, tmp_path / "both.pth")
    with pytest.raises(HarnessError, match=r"no network as ema\. Its groups of tensors: model, model_ema"):
        read(tmp_path / "both.pth#ema")


def test_a_name_with_a_hash_sign_is_a_file_first(tmp_path: Path) -> None:
    torch.save(network(1), tmp_path / "a#b.pth")
    torch.save({"model": network(3), "ema": network(4)}, tmp_path / "c#d.pth")
    assert read(tmp_path / "a#b.pth") == 1
    assert read(tmp_path / "c#d.pth#ema") == 4
    assert chosen(tmp_path / "c#d.pth") == (tmp_path / "c#d.pth", "")


def test_the_choice_is_part_of_what_is_recorded(tmp_path: Path) -> None:
    torch.save({"model": network(1), "model_ema": network(2)}, tmp_path / "both.pth")
    raw, average = (recorded(tmp_path / f"both.pth#{part}") for part in ("model", "model_ema"))
    plain = recorded(tmp_path / "both.pth")
    assert len({raw.sha256, average.sha256, plain.sha256}) == 3
    assert plain.sha256 == file_sha256(tmp_path / "both.pth") and not plain.details
    assert average.details == {"files": {"both.pth": plain.sha256}, "part": "model_ema"}
    assert average.source == "both.pth#model_ema" and average.name == "both"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A registered model, and a file both.pth with its raw and its averaged weights."""
    name = f"small-{tmp_path.name}"
    manifest.register(
        f"""
        [shared]
        [[classifier]]
        name = "{name}"
        about = "A small network"
        dataset = "digits"
        architecture = "resnet"
        num_classes = 10
        mean = [0.5, 0.5, 0.5]
        std = [0.5, 0.5, 0.5]
        page = "https://example.org"
        licence = "MIT"
        format = "a state dict"
        files = [{{ name = "small.pth" }}]
        """
    )
    monkeypatch.chdir(tmp_path)
    raw, average = (plugins.architecture["resnet"].build(num_classes=10).state_dict() for _ in range(2))
    torch.save({"model": raw, "model_ema": average}, tmp_path / "both.pth")
    return name


def test_a_model_is_loaded_from_the_chosen_weights(small: str) -> None:
    saved = torch.load("both.pth", weights_only=True)
    found = {}
    for part in ("model", "model_ema"):
        loaded, found[part] = find_classifier(small, WeightFiles.of([f"{small}=both.pth#{part}"]))
        assert torch.equal(loaded.body.fc.weight, saved[part]["fc.weight"])  # type: ignore[union-attr]
        assert found[part].details["part"] == part and found[part].details["architecture"] == "resnet"
    assert found["model"].sha256 != found["model_ema"].sha256
    with pytest.raises(HarnessError, match=r"two networks, as model and as model_ema.*both\.pth#model_ema"):
        find_classifier(small, WeightFiles.of([f"{small}=both.pth"]))
    with pytest.raises(HarnessError, match="there is no such file"):
        WeightFiles.of([f"{small}=other.pth#model"])


def test_a_converted_file_remembers_the_part_that_it_was_made_of(small: str, tmp_path: Path) -> None:
    weight_files = WeightFiles.of([f"{small}=both.pth#model_ema"])
    manifest.write_classifier(*find_classifier(small, weight_files), tmp_path / "converted.safetensors")
    _, found = load_classifier(tmp_path / "converted.safetensors")
    assert found.details["part"] == "model_ema" and found.details["original"] == "both.pth#model_ema"
    with pytest.raises(HarnessError, match="holds one network: leave out #model"):
        load_classifier(tmp_path / "converted.safetensors#model")


def test_the_command_converts_the_chosen_part(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = harness(
        monkeypatch, capsys, "weights", "convert", "both.pth#model_ema", "--as", small, "--out", "one.safetensors"
    )
    assert code == 0 and "both.pth#model_ema" in printed
    assert load_classifier(tmp_path / "one.safetensors")[1].details["part"] == "model_ema"
    code, printed = harness(
        monkeypatch, capsys, "weights", "convert", "both.pth", "--as", small, "--out", "two.safetensors"
    )
    assert code == 2 and "holds two networks" in printed and not (tmp_path / "two.safetensors").exists()


# --- files are called what they are -------------------------------------------------------------------------------


def zipped(file: Path, **members: bytes) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)


def packed(file: Path, mode: Literal["w", "w:gz"] = "w:gz") -> None:
    with tarfile.open(file, mode) as archive:
        archive.add(__file__, "x")


def arrays(file: Path) -> None:
    with file.open("wb") as opened:
        np.savez_compressed(opened, a=np.ones(3))


KINDS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "LFS": (
        "x.pth",
        lambda f: f.write_text("version https://git-lfs.github.com/spec/v1\noid"),
        "Git LFS.*git lfs pull",
    ),
    "LFS safetensors": (
        "x.safetensors",
        lambda f: f.write_text("version https://git-lfs.github.com/spec/v1"),
        "Git LFS",
    ),
    "safetensors": ("x.bin", lambda f: save_file(network(1), f), "it is a safetensors file.*x.safetensors"),
    "pickle": ("x.safetensors", lambda f: torch.save(network(1), f), "it is a pickle"),
    "old pickle": ("x.safetensors", lambda f: f.write_bytes(b"\x80\x02}."), "it is a pickle"),
    "TorchScript": (
        "x.pt",
        lambda f: torch.jit.save(torch.jit.script(nn.Linear(1, 1)), f),
        "TorchScript.*torch.jit.load",
    ),
    "tar.gz": ("x.pth", packed, "compressed with gzip. Unpack"),
    "tar": ("x.pth", lambda f: packed(f, "w"), "tar archive. Unpack"),
    "gzip": ("x.ckpt", lambda f: f.write_bytes(gzip.compress(b"x")), "compressed with gzip"),
    "zip": ("x.pth", lambda f: zipped(f, readme=b"x"), "a zip archive. Unpack"),
    "npz": ("x.pth", arrays, "arrays of numpy"),
    "Keras": ("x.pth", lambda f: zipped(f, **{"model.weights.h5": b"x"}), "Keras model"),
    "HDF5": ("x.pth", lambda f: f.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5"),
    "ONNX": ("x.pth", lambda f: f.write_bytes(b"\x08\x07\x12\x07pytorch" + bytes(99)), "ONNX"),
    "GGUF": ("x.bin", lambda f: f.write_bytes(b"GGUF" + bytes(99)), "GGUF"),
    "TensorFlow": ("x.ckpt.data-00000-of-00001", lambda f: f.write_bytes(os.urandom(99)), "TensorFlow checkpoint"),
    "page": ("x.safetensors", lambda f: f.write_text("<!DOCTYPE html>"), "HTML page"),
    "JSON": ("x.pth", lambda f: f.write_text('{"a": 1}'), "JSON. Give the file of weights"),
    "shards": ("x.safetensors.index.json", lambda f: f.write_text('{"weight_map": {}}'), "index of shards.*Join"),
    "empty": ("x.pth", lambda f: f.write_bytes(b""), "it is empty"),
    "empty safetensors": ("x.safetensors", lambda f: f.write_bytes(b""), "it is empty"),
    "zeros": ("x.pth", lambda f: f.write_bytes(bytes(600)), "all zeros"),
    "text": ("x.pth", lambda f: f.write_text("404: Not Found"), "it is text"),
    "folder": ("x.pth", lambda f: f.mkdir(), "is a folder"),
    "pipe": ("x.pth", os.mkfifo, "a pipe or device, not a file"),
    "device": ("x.pth", lambda f: f.symlink_to("/dev/zero"), "a pipe or device, not a file"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path: Path, kind: str) -> None:
    name, write, message = KINDS[kind]
    write(tmp_path / name)
    with pytest.raises(HarnessError, match=message) as refused:
        read_state(tmp_path / name, "network", "Origin.")
    assert str(tmp_path / name) in str(refused.value)
    if name.endswith(".safetensors"):
        with pytest.raises(HarnessError, match=message):
            load_classifier(tmp_path / name)


def test_a_folder_of_diffusers_with_an_average_is_refused(tmp_path: Path) -> None:
    for name in ("unet", "unet_ema"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    with pytest.raises(HarnessError, match="two networks, as unet and as unet_ema"):
        load_denoiser(tmp_path)


# --- hostile archives ---------------------------------------------------------------------------------------------

START = b"\x80\x02"
BILLION = b"J" + (2 * 10**9).to_bytes(4, "little")


def archive(file: Path, pickled: bytes, storage: bytes = b"", compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", "data/0": storage}.items():
            opened.writestr(f"archive/{name}", content)


def tensor(elements: bytes, size: bytes, stride: bytes = b"K\x01") -> bytes:
    """The pickle of {"w": a tensor}: elements of its storage, its size and stride as pickled numbers."""
    storage = (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + elements + b"tQ"
    )
    view = b"K\x00" + size + b"\x85" + stride + b"\x85\x89ccollections\nOrderedDict\n)R"
    return START + b"}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"tRs."


def old(pickled: bytes) -> Callable[[Path], Any]:
    """A file from before torch's archives, with another pickle in the place of what was saved."""
    import pickle

    head = b"".join(pickle.dumps(value, protocol=2) for value in (archives.MAGIC, 1001, {"little_endian": True}))
    return lambda f: f.write_bytes(head + pickled + pickle.dumps(["0"], protocol=2))


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "compressed": (lambda f: archive(f, START + b"}.", bytes(10**6), zipfile.ZIP_DEFLATED), "is compressed"),
    "storage": (lambda f: archive(f, tensor(BILLION, BILLION), bytes(16)), "claims 8,000,000,000 bytes of '0'"),
    "view": (lambda f: archive(f, tensor(b"K\x04", BILLION), bytes(16)), "claims more than the 4 numbers"),
    "stride of zero": (lambda f: archive(f, tensor(b"K\x04", BILLION, b"K\x00"), bytes(16)), "claims more than the 4"),
    "negative": (lambda f: archive(f, tensor(b"K\x04", b"J\xff\xff\xff\xff"), bytes(16)), "claims more than the 4"),
    "nested": (lambda f: archive(f, START + b")" + b"\x85" * 10_000 + b"."), "nests tuples"),
    "hash": (lambda f: archive(f, START + b"})" + b"q\x00h\x00\x86" * 60 + b"K\x01s."), "nests tuples"),
    "bytearray": (lambda f: archive(f, START + b"cbuiltins\nbytearray\n" + BILLION + b"\x85R."), "builtins.bytearray"),
    "dtype": (
        lambda f: archive(f, START + b"cnumpy\ndtype\nX\x0b\x00\x00\x00V2000000000\x89\x88\x87R."),
        "numbers of the kind 'V2000000000'",
    ),
    "old storage": (old(tensor(BILLION, BILLION)), "claim 8,000,000,000 bytes, and the file has"),
    "old view": (old(tensor(b"K\x04", BILLION)), "claims more than the 4 numbers"),
    "decoy": (
        lambda f: zipped(
            f, **{"a/version": b"3", "b/data.pkl": START + b"}.", "a/x/data.pkl": tensor(BILLION, BILLION)}
        ),
        "none that torch.save wrote",
    ),
    "decoy in capitals": (
        lambda f: zipped(f, **{"a/data.pkl": START + b"}.", "a/DATA.PKL": tensor(BILLION, BILLION)}),
        "two of its members have one name",
    ),
    "protocol": (lambda f: f.write_bytes(b"\x80\x04\x95" + bytes(20)), "which torch.save does not write|damaged"),
}


@pytest.mark.parametrize("way", HOSTILE)
def test_an_archive_that_claims_more_than_it_holds_is_not_unpacked(tmp_path: Path, way: str) -> None:
    write, message = HOSTILE[way]
    write(tmp_path / "x.pth")
    tracemalloc.start()
    try:
        with pytest.raises(HarnessError, match=message):
            read_state(tmp_path / "x.pth", "network", "Origin.")
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


def test_members_that_overlap_or_share_a_name_are_refused(tmp_path: Path) -> None:
    torch.save(network(1), tmp_path / "x.pth")
    content = bytearray((tmp_path / "x.pth").read_bytes())
    first, second = (content.rindex(b"PK\x01\x02", 0, end) for end in (len(content), content.rindex(b"PK\x01\x02")))
    content[first + 42 : first + 46] = content[second + 42 : second + 46]  # where the member begins
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(HarnessError, match="lies within another one"):
        read_state(tmp_path / "x.pth", "network", "Origin.")
    with zipfile.ZipFile(tmp_path / "y.pth", "w") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("archive/data.pkl", b"x")
        opened.writestr("archive/data.pkl", b"x")
    with pytest.raises(HarnessError, match="two of its members have one name"):
        read_state(tmp_path / "y.pth", "network", "Origin.")


@pytest.mark.parametrize("new", [True, False])
def test_a_flipped_bit_is_no_traceback(tmp_path: Path, new: bool) -> None:
    torch.save({"state_dict": network(1), "epoch": 3}, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
    content = (tmp_path / "x.pth").read_bytes()
    draws = np.random.default_rng(0)
    refused = 0
    for place in draws.integers(len(content) * 8, size=150).tolist():
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        (tmp_path / "x.pth").write_bytes(flipped)
        try:
            read_state(tmp_path / "x.pth", "network", "Origin.")
        except HarnessError:
            refused += 1
    assert refused > 5


@pytest.mark.parametrize("new", [True, False])
def test_what_torch_saves_passes(tmp_path: Path, new: bool) -> None:
    base = torch.rand(6, 4)
    model = nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    state = {
        "view": base[1:, ::2], "transposed": base.t(), "expanded": torch.ones(1).expand(9), "empty": torch.empty(0, 3),
        "half": base.half(), "brain": base.bfloat16(), "counter": torch.tensor(3), "mask": base > 0.5,
        "parameter": nn.Parameter(base), "tied": base, "double": base.double(), "byte": base.byte(),
    }  # fmt: skip
    saved = {"state_dict": state, "optimizer": optimiser.state_dict(), "big": 10**30, "size": base.shape, "set": {1}}
    torch.save(saved, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
    read = read_state(tmp_path / "x.pth", "network", "Origin.")
    assert all(torch.equal(read[name], value) for name, value in state.items())


# --- headers ------------------------------------------------------------------------------------------------------


def headed(file: Path, header: Any) -> Path:
    text = header if isinstance(header, str) else json.dumps(header)
    save_file({"w": torch.ones(3)}, file, metadata={"harness": text})
    return file


@pytest.mark.parametrize(
    "header, message",
    [
        ("[" * 3000 + "]" * 3000, "not a JSON object"),
        ('{"a": ' + "9" * 6000 + "}", "not a JSON object"),
        ({"architecture": "resnet", "arguments": {"num_classes": 10**9}}, "more elements than the 1 tensors"),
        ({"architecture": "resnet", "arguments": {"num_classes": 10**30}}, "does not describe a network"),
        (
            {"architecture": "resnet", "arguments": {"num_classes": 10}, "sizes": [[10**5, 10**5]]},
            "images of the sizes",
        ),
        ({"architecture": "vit", "arguments": [3]}, "does not describe a network"),
        ({"architecture": "adm", "arguments": {"num_channels": 2**40}}, "more elements"),
        (
            {"architecture": "adm", "arguments": {"num_res_blocks": 10**9, "num_channels": 32}},
            "more (elements|modules)",
        ),
        ({"architecture": "adm", "arguments": {"channel_mult": "1," * 10**5}}, "more than 12 levels"),
    ],
)
def test_a_header_builds_no_more_than_its_tensors_fill(tmp_path: Path, header: Any, message: str) -> None:
    header = header if isinstance(header, str) else {"kind": "classifier", **header}
    with pytest.raises(HarnessError, match=message):
        load_classifier(headed(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize("steps", [10**9, 0, -1, "many"])
def test_a_schedule_has_a_sensible_number_of_times(tmp_path: Path, steps: Any) -> None:
    header = {"kind": "denoiser", "architecture": "unet", "schedule": "linear", "steps": steps}
    with pytest.raises(HarnessError, match=r"times|steps"):
        load_denoiser(headed(tmp_path / "x.safetensors", header))


def test_the_header_of_a_safetensors_file_is_bounded(tmp_path: Path) -> None:
    length = formats.HEADER + 2**20
    with (tmp_path / "x.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", length) + b'{"a":')
        file.truncate(length + 8)
    with pytest.raises(HarnessError, match=r"its header has .* bytes"):
        load_classifier(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{")
    with pytest.raises(HarnessError, match="cut short or is something else"):
        load_classifier(tmp_path / "x.safetensors")


def test_an_architecture_that_looks_at_numbers_is_built_within_its_bounds_all_the_same() -> None:
    def looking() -> nn.Module:
        return nn.Linear(int(torch.ones(1).item()), 3)

    bounded.check(looking, 2, 6)
    with bounded.at_most(2, 6):
        assert looking().weight.shape == (3, 1)
    with pytest.raises(bounded.TooLarge, match="more elements"), bounded.at_most(2, 6):
        nn.Linear(2**14, 2**14)


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_weights_that_are_a_device_are_refused_before_they_are_hashed(small: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(HarnessError, match="a pipe or device, not a file"):
        find_classifier(small, WeightFiles.of([f"{small}={name}"]))


def test_modules_without_tensors_are_counted(tmp_path: Path) -> None:
    with pytest.raises(bounded.TooLarge, match="more modules"):
        bounded.check(lambda: nn.Sequential(*(nn.Identity() for _ in range(3_000))), 1, 1)
    random = torch.random.get_rng_state()
    bounded.check(lambda: nn.Linear(3, 3), 2, 12)
    assert torch.equal(random, torch.random.get_rng_state())


# --- recipes and settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, message",
    [
        ("lr = " + "[" * 4000, "not in TOML"),
        ("a" + ".a" * 3000 + " = 1", "nested too deeply"),
        ("epochs = " + "9" * 6000, "thousands of digits"),
        ("epochs = 0x" + "f" * 6000, "more than 64 bits"),
        ("epochs = 9223372036854775807", "must be at most 1000000"),
        ("batch_size = 9223372036854775807", "must be at most 2147483647"),
        ("lr = nan", "must be a number"),
        ("lr = 1e400", "must be a number"),
        ("clip = -inf", "must be at least 0"),
        ("diffaug_times = [0, 9223372036854775807]", "needs two times"),
    ],
)
def test_numbers_of_a_recipe_are_bounded(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "x.toml").write_text(f'about = "x"\n[settings]\nmodel = "vit"\n{line}\n')
    with pytest.raises(HarnessError, match=message):
        TrainSpec(**recipes.load(str(tmp_path / "x.toml")).settings)


def test_only_a_regular_file_of_moderate_size_is_a_recipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    for name in ("pipe.toml", "zero.toml"):
        with pytest.raises(HarnessError, match="a pipe or device, not a file"):
            recipes.load(str(tmp_path / name))
    (tmp_path / "large.toml").write_text("#" * (recipes.LIMIT + 1))
    with pytest.raises(HarnessError, match="too many"):
        recipes.load(str(tmp_path / "large.toml"))


@pytest.mark.parametrize("kind", [int, float, tuple[int, ...], tuple[float, ...]])
@pytest.mark.parametrize("value", ["9" * 400, "9" * 6000, "nan", "inf", "-inf", "1e400", "x"])
def test_a_setting_is_a_finite_number(kind: Any, value: str) -> None:
    with pytest.raises(HarnessError, match=r"is not a valid (int|float|list)") as refused:
        parse(f"name:key={value}", f"key={value}", {"key": kind}, {})
    assert len(str(refused.value)) < 600


def test_settings_that_fit_in_64_bits_are_read() -> None:
    values = parse("x:a=9223372036854775807,b=1e300,c=-1,2", "a=9223372036854775807,b=1e300,c=-1,2",
                   {"a": int, "b": float, "c": tuple[int, ...]}, {})  # fmt: skip
    assert values == {"a": 2**63 - 1, "b": 1e300, "c": (-1, 2)}


@pytest.mark.parametrize("workers", ["9" * 6000, "\u00b2", "-1", "many"])
def test_the_number_of_threads_is_a_plain_one(workers: str) -> None:
    with pytest.raises(HarnessError, match="give a number of threads"):
        threads(workers, ())


def test_the_steps_of_a_schedule_are_a_plain_number() -> None:
    with pytest.raises(HarnessError, match="must be one of cosine, constant, step:N"):
        learning_rate(TrainSpec(model="vit", schedule="step:" + "9" * 6000), 1.0)
