"""Inception-v3 as the original FID uses it: torch-fidelity's network (Apache-2.0), filled from a file of the user's.

torch-fidelity reproduces TensorFlow's graph of 2015: pooling without the padding, and bilinear resizing without
half-pixel centres or antialiasing. Other ways of resizing give other distances (Parmar et al., CVPR 2022).
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.base.errors import Notice
from harness.base.files import file_sha256
from harness.models.files.state_dict import read_state
from harness.models.tiles import place
from harness.types import HarnessError

INCEPTION = "inception"
"""Name of the extractor."""

PUBLISHED = "6726825d"
"""First digits of the SHA-256 of the published weights, which their file's name ends in."""

LIBRARY = "torch-fidelity"
"""Package of the network, whose version records name."""

RESIZING = "to 299 x 299 as TensorFlow 1: bilinear, no half-pixel centres, no antialiasing"
"""The convention of resizing, for records."""

ORIGIN = "Expected is pt_inception-2015-12-05-6726825d.pth, as pytorch-fid and torch-fidelity publish it."


class InceptionFeatures(nn.Module):
    """Images (B, 3, H, W) in [0, 1], on the 8-bit grid, to pool3 features (B, 2048); logits by `head`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    @property
    def dimension(self) -> int:
        """Number of features."""
        return int(self.network.fc.in_features)

    def forward(self, images: Tensor) -> Tensor:
        (features,) = self.network((images * 255).round().to(torch.uint8))
        return cast(Tensor, features)

    def head(self, features: Tensor) -> Tensor:
        """Logits (B, 1008) without bias, as in published inception scores."""
        return cast(Tensor, features @ self.network.fc.weight.T)


def inception_network(weights: Path, device: str) -> tuple[InceptionFeatures, str]:
    """The network on a device, and the SHA-256 of the file; a file other than the published one is told.

    Raises HarnessError without torch-fidelity, and for a file that does not hold exactly this network.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise HarnessError('Inception needs torch-fidelity: pip install "robustness-harness[fidelity]".') from error
    state = read_state(weights, "Inception network", ORIGIN)
    # torch-fidelity would unpickle whatever the file holds: it gets the tensors alone.
    tensors = io.BytesIO()
    torch.save(dict(state), tensors)
    tensors.seek(0)
    try:
        network = FeatureExtractorInceptionV3(INCEPTION, ["2048"], feature_extractor_weights_path=tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise HarnessError(f"{weights} holds another network than Inception: {reason}. {ORIGIN}") from error
    sha256 = file_sha256(weights)
    if not sha256.startswith(PUBLISHED):
        message = (
            f"{weights} is not the published file: its SHA-256 begins with {sha256[:8]}, not with {PUBLISHED}. Its "
            "distance is called after it, and is no FID."
        )
        warnings.warn(Notice(message), stacklevel=2)
    return cast(InceptionFeatures, place(InceptionFeatures(network), device)), sha256
