"""The specification of a run: one dataclass, whose fields are also the options of ``harness run``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.base.errors import HarnessError

if TYPE_CHECKING:
    import torch

LARGEST_TILE = 2**16
"""Rows per network call at most: the last tile is padded to full size, so a huge one would waste hours."""

WHAT, HOW_MUCH, HOW = "What to evaluate", "How much of it", "Noise and arithmetic"
"""Panels of ``harness run --help``."""

DTYPES = ("auto", "float32", "bfloat16", "float16")
"""Values of ``--dtype``; auto is resolved before it enters a specification."""


def as_option(help: str, panel: str, **more: Any) -> dict[str, Any]:
    """Metadata of a field that is also an option of the command line: see `harness.cli.settings`."""
    return {"help": help, "panel": panel, **more}


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a number. ``dataclasses.asdict`` of it, given back, is the same run.

    suite, models, methods: canonical names with their settings; a record's own spec holds one model and one method.
    denoiser: name or path, None where no method needs one.
    seed: of everything random, at least 0.
    every: take every k-th test sample; 1 is the whole test set.
    limit: take at most this many samples per condition; 0 is no limit.
    dtype, denoiser_dtype: arithmetic of the classifiers and of the denoiser: float32, bfloat16 or float16.
    tile: rows per network call at any batch size; see `harness.models.tiles`.
    device: as torch names it, such as "cpu" or "cuda:0".
    compile: whether the networks went through torch.compile, which changes roundings.
    gradient_tile: rows per gradient at any batch size; only attacks and suites of gradients depend on it.
    keep_logits: the sample table gets the logits, too; no number depends on it, nor a record's key.
    keep_images: adversarial images lie beside the sample table; no number depends on it, nor a record's key.
    """

    suite: str = field(
        metadata=as_option("Benchmark, with settings: digits-c:severity=1,3. Repeatable.", WHAT, several=True)
    )
    models: tuple[str, ...] = field(
        metadata=as_option(
            "Registered name or path of a checkpoint. Repeatable. "
            "[default: those of the suite's data set whose weights are here]",
            WHAT,
            flag="--model",
        )
    )
    methods: tuple[str, ...] = field(
        metadata=as_option(
            "Test-time method, with settings: de:times=0,100. Repeatable. [default: the suite's]", WHAT, flag="--tta"
        )
    )
    denoiser: str | None = field(
        default=None,
        metadata=as_option(
            "Diffusion model: a name, a checkpoint, a folder of diffusers, hf/ORG/MODEL or "
            "adm:file=X.pt,num_channels=128. [default: the suite's]",
            WHAT,
        ),
    )
    seed: int = field(default=0, metadata=as_option("Seed of everything random.", HOW, min=0, show_default=True))
    every: int = field(
        default=1,
        metadata=as_option(
            "Every k-th test image; 1 for all. [default: the suite's; without --suite 6]", HOW_MUCH, unset=None, min=1
        ),
    )
    limit: int = field(
        default=0, metadata=as_option("At most this many images per condition; 0 for all.", HOW_MUCH, min=0)
    )
    dtype: str = field(
        default="float32",
        metadata=as_option(
            "auto: float32 on the CPU; on a GPU a float16 denoiser, float32 classifiers.",
            HOW,
            unset="auto",
            choices=DTYPES,
        ),
    )
    denoiser_dtype: str = field(
        default="float32",
        metadata=as_option(
            "The denoiser's own arithmetic. [default: as --dtype]",
            HOW,
            unset="auto",
            choices=DTYPES,
            show_default=False,
        ),
    )
    tile: int = field(
        default=100,
        metadata=as_option("Images per network call; 0 chooses by image size. Recorded.", HOW, unset=0, min=0),
    )
    device: str = field(
        default="cpu",
        metadata=as_option("cpu, cuda, cuda:1, mps; auto takes a GPU where there is one.", HOW, unset="auto"),
    )
    compile: bool = field(
        default=False,
        metadata=as_option("torch.compile the networks: minutes to start, then faster. Recorded.", HOW),
    )
    gradient_tile: int = field(
        default=16,
        metadata=as_option("Images per gradient of an attack. Recorded.", HOW, min=1, show_default=True),
    )
    keep_logits: bool = field(
        default=False,
        metadata=as_option(
            "Also keep every image's logits (float16), for harness ensemble and harness posthoc: 2 bytes per class, "
            "100 MB for ImageNet's 50,000 images. Changes no number.",
            HOW_MUCH,
        ),
    )
    keep_images: bool = field(
        default=False,
        metadata=as_option(
            "Also keep every adversarial image (float32), for harness results rescore: 12 kB for one of 32 pixels. "
            "Changes no number.",
            HOW_MUCH,
        ),
    )

    def __post_init__(self) -> None:
        if self.every < 1 or self.limit < 0:
            raise HarnessError(f"every={self.every} must be at least 1, limit={self.limit} at least 0.")
        for name, rows in (("tile", self.tile), ("gradient_tile", self.gradient_tile)):
            if not 1 <= rows <= LARGEST_TILE:
                raise HarnessError(f"{name}={rows} must be at least 1 and at most {LARGEST_TILE:,}.")

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of what the run keeps beside the numbers: "logits", "images"."""
        names = {"logits": self.keep_logits, "images": self.keep_images}
        return tuple(name for name, is_kept in names.items() if is_kept)

    @property
    def stride(self) -> str:
        """`every` in words: "every 3rd"."""
        teen = self.every % 100 in (11, 12, 13)
        return f"every {self.every}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(self.every % 10, 'th')}"


def dtype_of(name: str) -> torch.dtype:
    """The torch type of a name: float32, bfloat16 or float16; HarnessError for others."""
    import torch

    try:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    except KeyError:
        raise HarnessError(f"dtype {name!r} must be one of float32, bfloat16, float16.") from None
