"""Inception features: those of torch-fidelity, with weights that have the published file's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.base.errors import Notice
from harness.generation.score import extractors
from harness.generation.score.extractors import find_extractor
from harness.generation.score.images import ImageSet
from harness.types import HarnessError

inception = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 20, 24), dtype=np.uint8))
SET = ImageSet("samples", 3, (20, 24), "0" * 64, lambda start, stop: IMAGES[start:stop].float() / 255)


@pytest.fixture(autouse=True)
def small_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images a call in place of 25, which this network takes seconds for."""
    monkeypatch.setattr(extractors, "INCEPTION_TILE", 3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's state dict with random numbers, in a file as the published one is."""
    file = tmp_path_factory.mktemp("weights") / "pt_inception-2015-12-05-6726825d.pth"
    with pytest.MonkeyPatch.context() as patch:
        kept: dict[str, Tensor] = {}
        patch.setattr(inception, "load_state_dict_from_url", lambda url, progress: kept)
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        network = inception.FeatureExtractorInceptionV3("random", ["2048"])
    torch.save(network.state_dict(), file)
    return file


def test_features_and_logits_are_those_of_torch_fidelity(weights: Path) -> None:
    with pytest.warns(Notice, match=r"not the published file: its SHA-256 begins with"):
        extractor = find_extractor(f"inception:weights={weights}", SET)
    network: Any = inception.FeatureExtractorInceptionV3(
        "own", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
    )
    features, logits = network(IMAGES)
    own = extractor.features(IMAGES.float() / 255)
    assert own.shape == (3, extractor.dimension) == (3, 2048) and float(features.std()) > 0
    torch.testing.assert_close(own, features, rtol=1e-4, atol=1e-5 * float(features.abs().max()))
    assert extractor.head is not None
    torch.testing.assert_close(extractor.head(features), logits, rtol=1e-4, atol=1e-5 * float(logits.abs().max()))
    assert extractor.name.startswith("inception-") and not extractor.published
    assert "TensorFlow 1" in extractor.resizing


def test_older_files_are_read_and_others_refused(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(HarnessError, match="No Inception network at"):
        find_extractor(f"inception:weights={tmp_path}/none.pth", SET)
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(HarnessError, match="holds another network than Inception"):
        find_extractor(f"inception:weights={tmp_path}/other.pth", SET)
    state = torch.load(weights)
    torch.save({name: state[name] for name in state if "num_batches" not in name}, tmp_path / "older.pth")
    with pytest.warns(Notice, match="not the published file"):
        find_extractor(f"inception:weights={tmp_path}/older.pth", SET)
    with pytest.raises(HarnessError, match="needs its weights: inception:weights=FILE"):
        find_extractor("inception", SET)
