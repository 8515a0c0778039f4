"""Read state dicts from published files, pickled or not; only tensors are ever used."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from harness.base.errors import missing
from harness.base.files import file_sha256
from harness.models.files import archives, formats
from harness.models.files.choice import network, several
from harness.models.published.locate import chosen
from harness.types import HarnessError, Weights

WRAPPER = "module."
"""Prefix of every name under ``DataParallel`` and ``DistributedDataParallel``."""
AVERAGED = "n_averaged"
"""A counter of ``torch.optim.swa_utils.AveragedModel``, beside the network that it wraps."""
COUNTER = "num_batches_tracked"
"""End of the names of batch counters, which files from before torch 0.4.1 lack."""
LISTED = 5
"""Largest number of a pickle's objects that a message names."""


def read_state(path: Path, kind: str, origin: str) -> Mapping[str, Tensor]:
    """The tensors of a state dict, on the CPU: ``torch.save``d, bare or in a training script's dict, or safetensors.

    Prefixes of torch's wrappers are removed; for other prefixes see `unwrapped`. path: FILE or FILE#PART, see
    `harness.models.files.choice`. kind, origin: the expected content and its origin, for messages.
    Raises HarnessError for a file that is missing, is of another kind, was cut short, or holds several networks or
    anything but named tensors.
    """
    return read_file(path, kind, origin)[0]


def read_file(path: Path, kind: str, origin: str) -> tuple[Mapping[str, Tensor], Any]:
    """The tensors of a state dict as `read_state` returns them, and all that the file holds."""
    path, part = chosen(path)
    if not path.exists():
        raise missing(path, f"No {kind} at {path}. {origin}")
    try:
        held = _safetensors(path) if path.suffix == ".safetensors" else unpickled(path)
        state = network(path, held, part)
    except HarnessError as error:
        raise HarnessError(f"No {kind}: {error} {origin}") from error
    if fault := _fault(state):
        raise HarnessError(
            f"{path} holds no {kind}: {fault}, where a state dict maps names to tensors. Save the network's "
            f"state_dict() alone, or name the part of the file that is one: FILE#PART. {origin}"
        )
    state = {name: tensor for name, tensor in state.items() if name != AVERAGED}
    if all(name.startswith(WRAPPER) for name in state):
        state = {name.removeprefix(WRAPPER): tensor for name, tensor in state.items()}
    return state, held


def _fault(state: Any) -> str:
    """The reason why an object is no state dict, in a few words; empty if it is one."""
    if not isinstance(state, Mapping):
        return f"it holds a {type(state).__name__}"
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            return f"it holds {name!r}: {type(tensor).__name__}"
        if tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
            return f"its tensor {name} is empty, quantised or sparse"
    return "" if state else "it is empty"


def unwrapped(path: Path, state: Mapping[str, Tensor], names: Collection[str]) -> Mapping[str, Tensor]:
    """Remove the prefix, if any, that all tensors of the file have beyond the names of the network, `names`.

    Examples are Lightning's ``model.`` and torch.compile's ``_orig_mod.``. Raises HarnessError if the file holds most
    of the network under several prefixes.
    """
    heads = Counter(name[: len(name) - len(tail)] for name in state for tail in _tails(name) if tail in names)
    complete = [head for head, count in heads.items() if 2 * count > len(names)]
    if len(complete) > 1:
        raise several(path, [head.rstrip(".") for head in complete])
    ends = zip(min(state).split("."), max(state).split("."), strict=False)
    prefixes = ["", *accumulate(f"{part}." for part, _ in takewhile(lambda pair: pair[0] == pair[1], ends))]
    prefix = max(prefixes, key=lambda prefix: sum(name.removeprefix(prefix) in names for name in state))
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _tails(name: str) -> Iterator[str]:
    """A name, and its remainder after each of its dots."""
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield name


def recorded(
    path: Path,
    details: Mapping[str, Any] | None = None,
    beside: Sequence[Path] = (),
    code: Mapping[str, str] = {},
) -> Weights:
    """The provenance of a published file, FILE or FILE#PART, named as the file without its ending.

    beside: further files that decide the numbers. code: hashes of code that does, by name. The hash is the file's; with
    a part, further files or code it covers them all, and `details` list each.
    """
    file, part = chosen(path)
    hashes = {**{each.name: file_sha256(each) for each in (file, *beside)}, **code}
    if not part and not beside and not code:
        return Weights(file.stem, hashes[file.name], file.name, dict(details or {}))
    identity = {**hashes, f"#{part}": "part"} if part else hashes
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    more = {"files": hashes, **({"part": part} if part else {}), **(details or {})}
    return Weights(file.stem, digest, f"{file.name}#{part}" if part else file.name, more)


@contextmanager
def harmless() -> Iterator[None]:
    """In its scope ``torch.load`` opens tensors, parsed arguments and numpy's numbers only.

    Training scripts save these, and they run no code. Anything else in a pickle stays closed, even if a library asks.
    """
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [argparse.Namespace, np.dtype, scalar]
    allowed += [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    # Newer versions can allow an object under a second name.
    if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6):
        allowed += [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    with mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD="1"), torch.serialization.safe_globals(allowed):
        yield


def unpickled(path: Path) -> Any:
    """The content of a ``torch.save``d file, on the CPU; raises HarnessError for anything that is not `harmless`."""
    formats.check(path, safetensors=False)
    try:
        archives.check(path)
    except ValueError as error:
        raise HarnessError(
            f"{path} is not a checkpoint of tensors: {first_line(error)}. Fetch it again from its publisher."
        ) from error
    try:
        with harmless():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # for a damaged file that may be anything, assertions and struct.error included
        if any(word in str(error) for word in ("GLOBAL", "instantiate", "build")):
            raise HarnessError(
                f"{path} holds other objects than tensors{_objects(path)}. Opening them could run code, so it was not "
                "opened. Where you trust it, save its state dict alone with torch.save and give that file with "
                "--architecture, or evaluate the loaded network from Python: harness.evaluate(model)."
            ) from error
        raise HarnessError(
            f"{path} is not a checkpoint of tensors: it was cut short or is something else ({first_line(error)}). "
            "Fetch it again from its publisher."
        ) from error


def _objects(path: Path) -> str:
    try:
        with harmless():
            objects = sorted(map(str, torch.serialization.get_unsafe_globals_in_checkpoint(path)))
    except Exception:  # older versions of torch cannot list them, nor can any for legacy files
        return ""
    more = f" and {len(objects) - LISTED} more" if len(objects) > LISTED else ""
    return f" ({', '.join(objects[:LISTED])}{more})" if objects else ""


def first_line(error: Exception) -> str:
    """First line of an error, without torch's advice to trust the file."""
    first = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
    return first.strip().split("\n")[0][:150].rstrip(". ") or type(error).__name__


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    formats.check(path, safetensors=True)
    try:
        tensors: Mapping[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise HarnessError(
            f"{path} is not a readable safetensors file: {first_line(error)}. Fetch it again."
        ) from error
    return tensors
