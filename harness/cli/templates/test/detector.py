"""The detector my-name on two clusters of features."""

from pathlib import Path
from types import SimpleNamespace

import torch

from harness import plugins

plugins.discover(Path(__file__).with_name("my_name.py"))
LABELS = torch.arange(40) % 2
FEATURES = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) + 10.0 * LABELS[:, None]
BANK = SimpleNamespace(train_features=SimpleNamespace(labels=LABELS, chunks=lambda: iter(FEATURES.split(16))))
SCORE = plugins.detector.configure("my-name").plugin.fit(BANK)


def scores(features: torch.Tensor) -> torch.Tensor:
    """Scores (B,) of images with these features (B, 5)."""
    return SCORE(SimpleNamespace(features=features))


def test_training_features_score_higher_than_others() -> None:
    assert float(scores(FEATURES).min()) > float(scores(FEATURES + 50).max())


def test_a_class_mean_scores_highest() -> None:
    means = torch.stack([FEATURES[LABELS.eq(k)].mean(0) for k in (0, 1)])
    torch.testing.assert_close(scores(means), torch.zeros(2), atol=1e-4, rtol=0)


def test_an_image_does_not_depend_on_the_others() -> None:
    torch.testing.assert_close(scores(FEATURES[:1])[0], scores(FEATURES)[0])
