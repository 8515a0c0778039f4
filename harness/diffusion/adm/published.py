"""Checkpoints as OpenAI publishes them."""

from __future__ import annotations

from harness.models.published.locate import PublishedFile, PublishedWeights

OPENAI = "https://openaipublic.blob.core.windows.net/diffusion"
"""Address of the checkpoints."""

GUIDED = "https://github.com/openai/guided-diffusion"
"""Page that describes the checkpoints of ImageNet."""


def published_by_openai(
    name: str, about: str, folder: str, file: str, page: str, sha256: str = "", size: int = 0
) -> PublishedWeights:
    """A checkpoint on OpenAI's server: FOLDER/FILE, described on a page."""
    files = [PublishedFile(file, (f"{OPENAI}/{folder}/{file}",), sha256, size)]
    return PublishedWeights(name=name, about=about, files=files, page=page, licence="MIT", format="ADM, a state dict")
