"""Classifiers in the formats of the Hugging Face hub: timm's, and those of transformers' image classification.

A folder holds ``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``; transformers adds
``preprocessor_config.json``. Networks are built by the installed library alone: no code of a repository is run.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import Any

from torch import nn

from harness.base.files import read_limited
from harness.base.parsing import parse_json
from harness.models.external.class_names import in_order
from harness.models.external.settings import beside, finished
from harness.models.external.text import ModelText
from harness.models.files import bounded
from harness.models.files.state_dict import harmless, read_state, recorded
from harness.models.preprocessing import Preprocessing, built_size
from harness.types import Absent, HarnessError, Weights

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
"""Files of a network's configuration, and of its image processor."""
TENSORS = ("model.safetensors", "pytorch_model.bin")
"""Files of weights; the first that exists counts."""
SHARDS = "model.safetensors.index.json"
"""File that names the parts of weights in several files."""
REMOTE = ("auto_map", "attn_implementation", "_attn_implementation", "experts_implementation", "trust_remote_code")
"""Settings by which a configuration asks for code of a repository."""
INSTALL = 'pip install "robustness-harness[transformers]"'


def is_repository(folder: Path) -> bool:
    """True for a folder in one of the hub's formats."""
    return folder.is_dir() and (folder / CONFIG).is_file()


def fetched(repository: str, revision: str = "") -> Path:
    """The folder of a classifier of the hub, ORG/NAME, from its cache or the network; raises Absent without either."""
    from huggingface_hub import snapshot_download

    try:
        wanted = [CONFIG, PROCESSOR, *TENSORS[:1]]
        folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
        if not any((folder / name).exists() for name in TENSORS):
            folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=[*wanted, *TENSORS]))
    except Exception as error:  # of the hub, of HTTP, of the name's form
        reason = shorten(str(error), 300, placeholder=" ...")
        kind = Absent if isinstance(error, OSError) else HarnessError
        raise kind(
            f"hf/{repository} is not in the hub's cache and could not be fetched ({reason}). Without a network, give "
            "the path of a folder that was downloaded elsewhere."
        ) from error
    return folder


def load_folder(folder: Path, text: ModelText) -> tuple[nn.Module, Weights]:
    """The classifier in a folder, under the settings of a text; raises HarnessError for any other content."""
    if text.architecture:
        raise HarnessError(f"{folder / CONFIG} names the architecture: leave out architecture={text.architecture}.")
    config = _object(folder / CONFIG)
    weights = next((folder / name for name in TENSORS if (folder / name).is_file()), None)
    if weights is None:
        parts = f" Join the parts that {SHARDS} names into one file." if (folder / SHARDS).exists() else ""
        raise HarnessError(f"{folder} holds no weights: {' or '.join(TENSORS)} is expected there.{parts}")
    with _translated(folder):
        load = _of_timm if "architecture" in config else _of_transformers
        network, own, names, details = load(folder, weights, config)
    count = len(names) or int(details.pop("num_classes"))
    details.pop("num_classes", None)
    classifier, more = finished(network, own, text, names, count)
    files = [path for path in (folder / CONFIG, folder / PROCESSOR) if path.is_file()]
    info = recorded(weights, {"kind": "classifier", **details, **more}, [*files, *beside(text)])
    return classifier, replace(info, name=str(text))


Loaded = tuple[nn.Module, Preprocessing, list[str], dict[str, Any]]
"""A network, what its configuration states of images, the names of its outputs, and details for the record."""


def _of_timm(folder: Path, weights: Path, config: Mapping[str, Any]) -> Loaded:
    import timm

    read_state(weights, "weights of timm", "They lie beside their configuration.")  # names any fault
    with harmless():
        network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    own: Any = network.pretrained_cfg
    names = list(own.get("label_names") or ())
    details = {
        "architecture": f"timm/{config['architecture']}",
        "num_classes": network.num_classes,
        "made_with": f"timm {timm.__version__}",
        "data_config": {key: own.get(key) for key in ("crop_pct", "crop_mode")},
    }
    return network, Preprocessing.of(network), names if len(names) == network.num_classes else [], details


def _of_transformers(folder: Path, weights: Path, config: Mapping[str, Any]) -> Loaded:
    try:
        import transformers
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    except ImportError as error:
        raise HarnessError(f"{folder}: transformers cannot be imported ({error}). {INSTALL}") from error
    if config.get("quantization_config"):
        raise HarnessError(f"{folder / CONFIG}: its numbers are quantised. Give a repository in float32.")
    if config.get("model_type") not in CONFIG_MAPPING:
        raise HarnessError(
            f"{folder / CONFIG} names the model type {str(config.get('model_type'))!r}, which transformers "
            f"{transformers.__version__} does not have. Code of a repository is never run."
        )
    described = CONFIG_MAPPING[config["model_type"]].from_dict(_cleaned(config))
    state = read_state(weights, "weights of transformers", "They lie beside their configuration.")
    elements = sum(tensor.numel() for tensor in state.values())
    classifier = transformers.AutoModelForImageClassification
    bounded.check(lambda: classifier.from_config(described), len(state), elements)
    kind: Any = type(_on_meta(classifier, described))
    # Tensors of another shape are to be listed, and refused below.
    settings = {"output_loading_info": True, "ignore_mismatched_sizes": True, "dtype": "float32"}
    network, loading = kind.from_pretrained(None, config=described, state_dict=dict(state), **settings)
    lacking = [*loading["missing_keys"], *(str(key) for key in loading["mismatched_keys"])]
    if lacking:
        raise HarnessError(
            f"{weights} does not fit {CONFIG}: {len(lacking)} tensors are missing or of another shape, such as "
            f"{min(lacking)}. Fetch both again."
        )
    own = Preprocessing(image_size=built_size(network))
    if (folder / PROCESSOR).is_file():
        own = Preprocessing.of_processor(_processor(folder, config))
    names = [str(name) for name in in_order(described.id2label)]
    details: dict[str, Any] = {
        "made_with": f"transformers {transformers.__version__}",
        "model": kind.__name__,
    }
    if unused := sorted(loading["unexpected_keys"]):
        details["unused"] = unused[:10]
    return network, own, names, details


def _processor(folder: Path, config: Mapping[str, Any]) -> Any:
    """The image processor that a folder describes, read from copies that ask for no code."""
    import transformers

    stated = _object(folder / PROCESSOR)
    kind = str(stated.get("image_processor_type") or stated.get("feature_extractor_type") or "")
    if stated.get("auto_map") and not (kind and hasattr(transformers, kind)):
        raise HarnessError(
            f"{folder / PROCESSOR} names the image processor {kind!r}, which transformers {transformers.__version__} "
            "does not have. Code of a repository is never run: load the network in a plugin file (see docs/extend.md)."
        )
    with tempfile.TemporaryDirectory() as cleaned:
        for name, values in ((CONFIG, config), (PROCESSOR, stated)):
            (Path(cleaned) / name).write_text(json.dumps(_cleaned(values)))
        return transformers.AutoImageProcessor.from_pretrained(cleaned, local_files_only=True, trust_remote_code=False)


def _cleaned(values: Any) -> Any:
    """A configuration, and those nested in it, without settings that ask for code of a repository."""
    if isinstance(values, Mapping):
        return {name: _cleaned(value) for name, value in values.items() if name not in REMOTE}
    return [_cleaned(value) for value in values] if isinstance(values, list) else values


def _on_meta(classifier: Any, described: Any) -> nn.Module:
    """The network without memory, whose class is wanted."""
    import torch

    with torch.device("meta"):
        network: nn.Module = classifier.from_config(described)
    return network


def _object(path: Path) -> dict[str, Any]:
    try:
        values = parse_json(read_limited(path))
    except ValueError as error:
        raise HarnessError(f"{path} is not JSON ({error}). Fetch it again.") from error
    if not isinstance(values, dict):
        raise HarnessError(f"{path} is no configuration of a network. Fetch it again.")
    return values


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Errors of a library in its words, with the folder; its progress bars stay silent."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except HarnessError:
        raise
    except Exception as error:
        reason = shorten(str(error), 300, placeholder=" ...")
        raise HarnessError(
            f"{folder} could not be loaded as an image classifier ({type(error).__name__}: {reason})."
        ) from error
