"""Check files of weights by their content, with a remedy for every other format."""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path

from harness.base.errors import HarnessError
from harness.base.files import check_regular
from harness.base.signatures import STARTED, sniff
from harness.models.files.archives import check_directory

SAVED_BY = "Save the network's state_dict() with torch.save, or as safetensors, and give that file with --architecture."
"""Remedy for formats that hold more than weights."""
REMEDIES = {
    "a Git LFS pointer": "Run that and give the same file again.",
    "empty": "Fetch it again from its publisher.",
    "all zeros": "Fetch it again from its publisher.",
    "an HTML page": "Fetch it again from its publisher.",
    "compressed with": "Unpack it and give what is in it.",
    "a tar archive": "Unpack it and give the file of weights in it.",
    "a 7z archive": "Unpack it and give the file of weights in it.",
    "a RAR archive": "Unpack it and give the file of weights in it.",
    "a zip archive": "Unpack it and give the file of weights in it.",
    "a TorchScript archive": f"Load it with torch.jit.load, for harness.evaluate in Python. {SAVED_BY}",
    "a program of torch.export": f"Load it in a plugin file with torch.export.load. {SAVED_BY}",
    "arrays of numpy": SAVED_BY,
    "an array of numpy": SAVED_BY,
    "a Keras model": f"Convert it to PyTorch. {SAVED_BY}",
    "an HDF5 file": f"Keras writes these: convert it to PyTorch. {SAVED_BY}",
    "a TensorFlow checkpoint": f"Convert it to PyTorch. {SAVED_BY}",
    "an ONNX model": f"Load it in a plugin file. {SAVED_BY}",
    "a GGUF file": f"Its numbers are quantised. {SAVED_BY}",
    "an index of shards": "Join the shards that it names into one file and give that.",
    "text": "Fetch it again from its publisher.",
    "JSON": "Give the file of weights, not its configuration.",
}
"""Remedies, by the first words of the format's description."""
ZIPPED = (
    ("/constants.pkl", "a TorchScript archive"),
    ("/data.pkl", ""),
    ("/serialized_exported_program.json", "a program of torch.export"),
    ("/archive_format", "a program of torch.export"),
    (".npy", "arrays of numpy (.npz)"),
    (".weights.h5", "a Keras model"),
)
"""Formats of zip archives by the ending of a member; empty for those of `torch.save`."""
HEADER = 16 * 2**20
"""Largest header of a safetensors file, in bytes: about 150,000 tensors."""
SAFETENSORS = "a safetensors file"
"""Description of safetensors files by `what_is`."""
PICKLES = ("a pickle", "torch")
"""Descriptions of pickles by `what_is`."""


def check(path: Path, safetensors: bool) -> None:
    """Raise HarnessError, naming the format, for a file that is not of safetensors or else of ``torch.save``.

    The content decides. Unknown formats pass: their reader will name the fault.
    """
    if path.is_dir():
        raise HarnessError(f"{path} is a folder. Give the file of weights in it, where one file holds all of them.")
    check_regular(path)
    held = what_is(path)
    if held in (None, SAFETENSORS) and safetensors:
        _check_header(path)
    elif held == SAFETENSORS:
        raise HarnessError(f"{path}: it is {held}. Give it the name {path.with_suffix('.safetensors').name}.")
    if held in PICKLES and safetensors:
        raise HarnessError(
            f"{path}: it is a pickle, which can run code when it is opened, and no safetensors file. Weights of a "
            "published model load by its name, with --weights NAME=FILE (harness weights list), from a file that is "
            "called .pth; a classifier's state dict loads with --architecture."
        )
    if held and held != SAFETENSORS and held not in PICKLES:
        advice = next((text for start, text in REMEDIES.items() if held.startswith(start)), SAVED_BY)
        raise HarnessError(f"{path} holds no weights: it is {held}. {advice}")


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > path.stat().st_size - 8:
        raise HarnessError(
            f"{path} is not a readable safetensors file: it was cut short or is something else. Fetch or train it "
            "again."
        )
    if length > HEADER:
        raise HarnessError(f"{path}: its header has {length:,} bytes, and {HEADER:,} are more than any network needs.")


def what_is(path: Path) -> str | None:
    """The format of a file, to follow "it is"; None if unknown, "torch" for torch's archives."""
    with path.open("rb") as file:
        start = file.read(STARTED)
    held = sniff(start)
    if path.suffix == ".index" or path.name.partition(".data-")[2][:5].isdigit():
        return "a TensorFlow checkpoint"
    if held and held.startswith("a zip archive"):
        return _zipped(path)
    if start[:1] == b"\x08" and any(word in start[:64] for word in (b"pytorch", b"onnx", b"keras", b"sklearn")):
        return "an ONNX model"
    if start.lstrip()[:1] == b"{" and held is None:
        return "an index of shards (JSON)" if path.name.endswith(".index.json") or b'"weight_map"' in start else "JSON"
    return "text" if held is None and re.fullmatch(rb"[\t\n\r -~]+", start) else held


def _zipped(path: Path) -> str | None:
    """The format of a zip archive, by its members; None if these cannot be listed."""
    try:
        check_directory(path)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OverflowError):
        return None
    for ending, what in ZIPPED:
        if any(f"/{name}".endswith(ending) for name in names):
            return what or "torch"
    return "a zip archive"
