"""The ten classifiers of the DiffAug paper, from published files; ``imagenet.toml`` lists them."""

from importlib import resources

from harness.models.published import manifest

manifest.register((resources.files(__package__ or "") / "imagenet.toml").read_text())
