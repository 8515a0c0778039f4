"""Every model of an installed RobustBench, as ``robustbench/DATASET/THREAT/NAME``: https://robustbench.github.io."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from harness.models.classifier import Sized
from harness.models.files.choice import network
from harness.models.files.state_dict import harmless, recorded, unpickled
from harness.models.fingerprint import fingerprint
from harness.models.published.download import offline
from harness.models.published.locate import WeightFiles, chosen
from harness.plugins import model, suggest
from harness.types import Absent, HarnessError, Weights


def _source(name: str) -> str:
    try:
        return f"robustbench {version('robustbench')}"
    except PackageNotFoundError:
        return ""


@model.family("robustbench", _source)
def robustbench(name: str) -> Callable[[WeightFiles], tuple[nn.Module, Weights]]:
    """A model of RobustBench: imagenet/corruptions/Hendrycks2020AugMix, cifar10/Linf/NAME."""
    if name.count("/") != 2:
        raise HarnessError(f"robustbench/{name}: write robustbench/DATASET/THREAT/NAME, such as cifar10/Linf/Standard.")
    dataset, threat, model_name = name.split("/")
    return lambda weight_files: _load(dataset, threat, model_name, weight_files)


def _load(dataset: str, threat: str, name: str, weight_files: WeightFiles) -> tuple[nn.Module, Weights]:
    full = f"robustbench/{dataset}/{threat}/{name}"
    utils, entry = _entry(dataset, threat, name)
    path, link = weight_files.find(full), entry["gdrive_id"]
    zoo = weight_files.folder / "robustbench"
    parts = _parts(zoo, dataset, threat, name, link) if isinstance(link, list) else []
    remedy = _remedy(full, link, parts, weight_files.folder)
    if path is not None and (parts or link == ""):
        raise HarnessError(f"{full} cannot be read from {path}. {remedy}")
    file, chosen_part = chosen(path) if path is not None else (None, "")
    here = [file] if file is not None else [part for part in parts if part.is_file()]
    if len(here) < max(1, len(parts)) and offline():
        raise Absent(f"No weights of {full} here, and HF_HUB_OFFLINE forbids to fetch them. {remedy}")
    for each in here:  # names the fault of a damaged file; RobustBench's message advises to trust it
        saved = unpickled(each)
        if full in weight_files.by_name:
            saved = network(each, saved, chosen_part)
    try:
        with TemporaryDirectory() as folder:
            if chosen_part:
                file = Path(folder, "chosen.pt")
                torch.save(dict(saved), file)
            built = _built(utils, zoo, dataset, threat, name, file, own_file=link is not None)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise HarnessError(f"{full} could not be loaded ({type(error).__name__}: {reason}). {remedy}") from error
    path = path or weight_files.find(full)
    sizes = _sizes(entry, built)
    details = {
        "dataset": dataset,
        "threat": threat,
        "preprocessing": entry.get("preprocessing"),
        "sizes": sizes,  # images of other sizes are resized (bicubic) to this, inside the network
        "made_with": _source(name),
    }
    if path:
        info = replace(recorded(path, details), name=full)
    else:
        info = Weights(full, fingerprint(built, _source(name)), "robustbench", details)
    return Sized(built, sizes).eval(), info


def _parts(zoo: Path, dataset: str, threat: str, name: str, links: Sequence[str]) -> list[Path]:
    """The files of an ensemble, where RobustBench looks for them below its folder `zoo`."""
    folder = zoo / dataset / threat.removesuffix("_3d")
    return [folder / f"{name}_m{number}.pt" for number in range(len(links))]


def _remedy(full: str, link: Any, parts: Sequence[Path], folder: Path) -> str:
    """Remedy for missing weights. link: number of a file on Google Drive, a list of these, or "" if there is none."""
    where = "https://drive.google.com/file/d/{}/view"
    if parts:
        return "Put " + ", ".join(f"{where.format(k)} to {part}" for k, part in zip(link, parts, strict=True)) + "."
    if link == "":
        return "RobustBench takes its weights from torchvision and reads no file: it needs a network."
    origin = f" from {where.format(link)}" if link else ""
    return f"Put its file{origin} to {folder / full}.pt, or name it with --weights {full}=FILE."


def _entry(dataset: str, threat: str, name: str) -> tuple[Any, Any]:
    """RobustBench's loader, and its table's entry of a model.

    It imports AutoAttack as its repository calls it; PyPI has it as pyautoattack.
    """
    try:
        if "autoattack" not in sys.modules and importlib.util.find_spec("autoattack") is None:
            for part in ("", ".state"):
                sys.modules[f"autoattack{part}"] = importlib.import_module(f"pyautoattack{part}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = importlib.import_module("robustbench.model_zoo").model_dicts
            utils = importlib.import_module("robustbench.utils")
    except ImportError as error:
        raise HarnessError(
            f"robustbench/{dataset}/{threat}/{name}: RobustBench cannot be imported ({error}). "
            'pip install "robustness-harness[robustbench]"'
        ) from error
    # The 3D corruptions have a separate leaderboard of the same models.
    models = {
        f"{data.value}/{kind.value}/{model}": entry
        for data, kinds in table.items()
        for kind, entries in kinds.items()
        for model, entry in entries.items()
    }
    sought = f"{dataset}/{threat.removesuffix('_3d')}/{name}"
    if sought not in models:
        raise suggest("model of RobustBench", sought, list(models))
    return utils, models[sought]


def _built(utils: Any, zoo: Path, dataset: str, threat: str, name: str, path: Path | None, own_file: bool) -> Any:
    """The network as RobustBench builds and loads it; only the tensors of a pickle are read."""
    with TemporaryDirectory() as here, harmless():
        folder = zoo
        settings = {}
        if path is not None and own_file:
            folder = Path(here)
            link = folder / dataset / threat.removesuffix("_3d") / f"{name}.pt"
            link.parent.mkdir(parents=True)
            link.symlink_to(path.resolve())
        elif path is not None:  # of those that timm builds
            settings = {"custom_checkpoint": str(path)}
        return utils.load_model(name, model_dir=folder, dataset=dataset, threat_model=threat, **settings)


def _sizes(entry: Any, network: Any) -> list[tuple[int, int]]:
    """The size of its images, by the name of its preprocessing or by timm's configuration; none if any size will do."""
    if side := re.search(r"(\d+)$", entry.get("preprocessing") or ""):
        return [(int(side[1]),) * 2]
    config = getattr(getattr(network, "model", network), "default_cfg", None)
    return [tuple(config["input_size"][1:])] if config and entry["gdrive_id"] is None else []
