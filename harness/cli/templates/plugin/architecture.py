"""An architecture: an untrained network, which harness train trains by name."""

from torch import nn

from harness.plugins import architecture

# Settings of the training where the command line leaves them open.
RECIPE = {"epochs": 20, "batch_size": 64, "lr": 2e-3, "weight_decay": 0.05, "warmup": 1, "augment": "affine"}


# image_size= is the side of the images in pixels. The trainer normalises: the network sees images around 0.
@architecture("my-name", image_size=32, recipe=RECIPE)
def my_name(num_classes: int) -> nn.Module:
    """Three convolutions and a linear layer."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1, stride=2), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1, stride=2), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes)),
    )
