"""A classifier: images in [0, 1] to logits."""

import torch
from torch import Tensor, nn

from harness.plugins import model


class MyName(nn.Module):
    """Replace this network by your own. Normalisation lives inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(3 * 8 * 8, 32), nn.ReLU())
        self.last = nn.Linear(32, 10)

    # Detectors ask for features and head; test-time methods and the other suites do without.
    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, 32)."""
        return self.body((images - 0.5) / 0.5)

    def head(self, features: Tensor) -> Tensor:
        """(B, 32) to logits (B, 10)."""
        return self.last(features)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to logits (B, 10)."""
        return self.head(self.features(images))


# dataset= names the data set whose suites evaluate the model by default; classes=("zero", "one", ...) its outputs,
# where their order may differ from the data's.
@model("my-name", dataset="digits")
def my_name() -> nn.Module:
    """A small network with random weights."""
    torch.manual_seed(0)  # random weights, but the same each time: replace this line and the next by your weights
    network = MyName()
    # network.load_state_dict(torch.load("my_name.pt", weights_only=True))
    return network
