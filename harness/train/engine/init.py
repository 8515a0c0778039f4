"""Initial weights (``--init``): start from the weights of another training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from harness.models.matching import model_classes, order_of
from harness.models.published.locate import WeightFiles
from harness.train.classes import reordered
from harness.train.kinds import kind_of
from harness.train.spec import TrainSpec
from harness.types import Dataset, HarnessError


def start_from(
    network: nn.Module, spec: TrainSpec, arguments: Mapping[str, Any], data: Dataset, weight_files: WeightFiles
) -> str:
    """Load the weights of ``--init`` into the network, which was built with these arguments; their SHA-256.

    Classes are matched by name where both sides have names. Raises HarnessError for weights of other classes.
    """
    source, info = kind_of(spec).init(spec.init, weight_files)
    architecture = info.details.get("architecture", spec.model)
    if architecture != spec.model:
        raise HarnessError(
            f"--init {spec.init} is a checkpoint of {architecture!r}, not of {spec.model!r}. Give another, or "
            f"--architecture {architecture}."
        )
    classes = info.details.get("arguments", {}).get("num_classes")
    wanted = arguments.get("num_classes")
    if classes and wanted and classes != wanted:
        raise HarnessError(
            f"--init {spec.init} tells {classes} classes apart, and {spec.dataset!r} has {wanted}. Start from weights "
            "of the same classes, or leave --init out."
        )
    state = source.state_dict()
    if wanted:
        order = order_of(model_classes(spec.init, info), data, f"--init {spec.init}")
        state = state if order == sorted(order) else reordered(state, spec, arguments, order)
    try:
        network.load_state_dict(_resampled(state, network))
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise HarnessError(f"--init {spec.init}: not a checkpoint of {spec.model!r} ({reason[:200]}).") from error
    return info.sha256


def _resampled(state: dict[str, Tensor], network: Any) -> dict[str, Tensor]:
    """Weights whose position embedding is interpolated where the network's is for images of another size."""
    name = "body.pos_embed"
    wanted = getattr(getattr(network, "body", None), "pos_embed", None)
    if name not in state or wanted is None or state[name].shape == wanted.shape:
        return state
    from timm.layers import resample_abs_pos_embed

    size = network.body.patch_embed.grid_size
    prefix = 0 if network.body.no_embed_class else network.body.num_prefix_tokens
    return {**state, name: resample_abs_pos_embed(state[name], size, num_prefix_tokens=prefix)}
