"""Every pretrained model of timm, as ``timm/NAME``: https://huggingface.co/timm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

from torch import nn

from harness.base.files import file_sha256
from harness.models.classifier import ImageClassifier
from harness.models.external.settings import beside, finished
from harness.models.external.text import ModelText
from harness.models.files.state_dict import COUNTER, harmless, read_state, recorded, unwrapped
from harness.models.fingerprint import fingerprint
from harness.models.preprocessing import Preprocessing
from harness.models.published.locate import WeightFiles
from harness.plugins import model, suggest
from harness.types import Absent, HarnessError, Weights

ELSEWHERE = ("hf-hub:", "hf_hub:", "local-dir:")
"""Prefixes of names that timm takes for places."""


def _source(name: str) -> str:
    return f"timm {version('timm')}"


@model.family("timm", _source)
def timm_pretrained(name: str) -> Callable[[WeightFiles, ModelText], tuple[nn.Module, Weights]]:
    """Model NAME of timm, such as resnet50.a1_in1k: its weights, its input size and its normalisation."""
    import timm

    names = timm.list_models(pretrained=True)
    if not name.startswith(ELSEWHERE) and (name not in names if "." in name else not timm.is_model(name)):
        raise suggest("timm model", name, names)
    return lambda weight_files, stated: _load(name, weight_files, stated)


def _load(name: str, weight_files: WeightFiles, stated: ModelText) -> tuple[nn.Module, Weights]:
    import timm

    try:
        with harmless():
            if name.startswith(ELSEWHERE):
                body, path = timm.create_model(name, pretrained=True), None
            else:
                body = timm.create_model(name)
                path = weight_files.find(f"timm/{name}") or _from_hub(body.pretrained_cfg)
                body = _filled(body, name, path) if path else timm.create_model(name, pretrained=True)
    except HarnessError:
        raise
    except Exception as error:
        reason = shorten(str(error), 200, placeholder=" ...")
        kind = Absent if isinstance(error, OSError) else HarnessError  # from the network and the hub
        raise kind(
            f"timm/{name} could not be fetched ({type(error).__name__}: {reason}). Without a network, put its "
            f"model.safetensors to {weight_files.folder / 'timm' / name}.safetensors, or give a file with --weights "
            f"timm/{name}=FILE."
        ) from error
    network, details = _fitted(body, stated)
    details |= {"name": f"timm/{name}", "made_with": _source(name)}
    if not name.startswith(ELSEWHERE):
        details |= {"kind": "classifier", "architecture": f"timm/{name}", "arguments": {}}
    if path:
        return network, replace(recorded(path, details, beside(stated)), name=f"timm/{name}")
    listed = "".join(map(file_sha256, beside(stated)))
    return network, Weights(f"timm/{name}", fingerprint(network, _source(name) + listed), "timm", details)


def _fitted(body: Any, stated: ModelText) -> tuple[ImageClassifier, dict[str, Any]]:
    """The classifier under timm's data configuration, and the details for its record.

    Images of the training or test size stay unchanged; others are resized to the first of these. The crop is recorded
    only, because cropping belongs to the data.
    """
    from timm.data import resolve_data_config

    pretrained = body.pretrained_cfg
    config = resolve_data_config(pretrained_cfg=pretrained)
    keys = [key for key in ("input_size", "test_input_size") if pretrained.get(key)]
    sizes = list(dict.fromkeys(tuple(pretrained[key])[1:] for key in keys))
    interpolation = config["interpolation"] if config["interpolation"] in ("bilinear", "bicubic") else "bicubic"
    details = {
        "pretrained": f"{pretrained.get('architecture')}.{pretrained.get('tag')}",
        "data_config": config,
        "sizes": sizes,
        "interpolation": interpolation,
    }
    if body.num_classes == 1000 and str(pretrained.get("tag")).endswith("in1k"):
        details["dataset"] = "imagenet"
    mean, std = tuple(config["mean"]), tuple(config["std"])
    if stated.stated:
        own = Preprocessing(mean, std, sizes[0] if sizes else None, interpolation, tuple(sizes[1:]))
        _, more = finished(body, own, stated, (), body.num_classes)
        details = {key: value for key, value in details.items() if key != "dataset" or not stated.classes} | more
        mean, std, interpolation = details["mean"], details["std"], details["interpolation"]
        sizes = [tuple(size) for size in details["sizes"]]
    return ImageClassifier(body, mean, std, sizes, interpolation).eval(), details


def _from_hub(config: dict[str, Any]) -> Path | None:
    """The hub's file, from the cache or the network; None for a model that timm reads specially."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if not config.get("hf_hub_id") or config.get("hf_hub_filename") or config.get("custom_load"):
        return None
    try:
        return Path(hf_hub_download(config["hf_hub_id"], "model.safetensors"))
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        return None


def _filled(body: Any, name: str, path: Path) -> nn.Module:
    """The network with the tensors of a file, under timm's names or names that timm translates."""
    import timm

    own = {key: tensor for key, tensor in body.state_dict().items() if not key.endswith(COUNTER)}
    state = unwrapped(
        path, read_state(path, f"weights of timm/{name}", f"The state dict of timm's {name} is expected."), own.keys()
    )
    other = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if other:
        key = min(other)
        shapes = f"{key} is {tuple(state[key].shape)} there and {tuple(own[key].shape)} here"
        raise HarnessError(f"{path} does not hold weights of timm/{name}: {shapes}.")
    try:
        if own.keys() <= state.keys():
            body.load_state_dict(state)
            return body
        overlay = {"state_dict": dict(state)}
        translated = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        translated.pretrained_cfg = body.pretrained_cfg
    except (RuntimeError, KeyError, ValueError) as error:
        reason = shorten(str(error), 200, placeholder=" ...")
        raise HarnessError(f"{path} does not hold weights of timm/{name}: {reason}") from error
    return translated
