"""A smoother: an image and noise to what the classifier of randomized smoothing sees."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import avg_pool2d

from harness.plugins import smoother
from harness.types import Noise


@smoother("my-name")
@dataclass(frozen=True)
class MyName:
    """The noisy image after a mean filter."""

    # votes: images that the classifier sees per draw; their most frequent class counts.
    # calls: denoiser calls per vote; a smoother with calls is declared with @smoother("my-name", denoiser=True).
    votes: ClassVar[int] = 1
    calls: ClassVar[int] = 0

    # Settings are fields: --smooth my-name:side=5.
    side: int = 3

    def __call__(self, images: Tensor, sigma: float, denoiser: Any, noise: Noise, vote: int) -> Tensor:
        # The certificate holds for image + sigma x standard normal noise: add it first, and do not clip.
        noisy = images + sigma * noise("image")
        return avg_pool2d(noisy, self.side, stride=1, padding=self.side // 2, count_include_pad=False)
