"""Images of no digit, label -1: the out-of-distribution companions of the data set `digits`.

Near ones are printed characters prepared as the handwritten digits were; far ones are photographs, textures and digits
without structure. All are made from installed packages (fonts of matplotlib; images of scikit-learn and scikit-image):
nothing is downloaded. The versions of those packages and of Pillow, which draws and resizes, decide the pixels: the
same versions give the same pixels on any machine, and the hash of the data in every record shows where they differ.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import resources
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from harness.base import noise
from harness.data import ArrayDataset
from harness.plugins import dataset
from harness.registry.datasets.digits import SIDE, digits, render
from harness.types import Geometry, HarnessError

LATIN = string.ascii_letters
GREEK = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθικλμνξοπρςστυφχψω"
SYMBOLS = string.punctuation + "¡¢£¤¥¦§©«¬®±¶»¿×÷†‡‰€←↑→↓↔∀∂∃∅∆∇∈∏∑√∝∞∧∨∩∪∫∴∵≅≈≠≡≤≥⊂⊃⊕⊗⊢⊥♠♣♥♦"

LEFT_OUT = {
    "0": "DOQo" + "ΘΟΩαθοσφω" + "@¢¤©®∅∝∞⊕⊗",
    "1": "IJijl" + "Ιι" + "!()/[]{|}\\¡¦†↑↓∫⊥",
    "2": "Zz" + "Ζ" + "¿≥",
    "3": "∃",
    "4": "y",
    "5": "Ss" + "ζς" + "$§",
    "6": "Gb" + "δ" + "∂",
    "7": "Tf" + "Ττ" + "?¬",
    "8": "B" + "Ββ" + "%&‰",
    "9": "agq" + "ηρ" + "¶",
    "the same letter in its other size": "cpuvwx",
    "a Latin letter": "ΑΕΗΚΜΝΡΥΧγκνυχ" + "×∨∪⊂",
    "a Greek letter": "nr" + '"^∆∈∏∑∧∩≡',
    "a grey patch, its strokes merged": "Wm",
    "next to nothing when unscaled": "'`,-.:;_",
}
"""Characters left out, by what they would be taken for after preparation in at least one font."""

FONTS = (
    *(f"DejaVuSans{mono}{style}" for mono in ("", "Mono") for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
)
EM = 128
"""Pixels per em at which a glyph is drawn before it is scaled."""
NARROWEST, WIDEST = 16, 24
"""Columns of 32 that a glyph covers; digits cover about 17 to 23 in nine cases of ten, and all 32 rows."""
INK = 292
"""Black pixels of 1,024 up to which a glyph is emboldened: digits have 312 on average; thin type would stand out."""
BOLDEST = 12
"""Widest outline in pixels, at EM, with which a glyph is emboldened."""

PATCH = 64
FLAT = 6.0
"""Standard deviation, in grey values, below which a patch is left out as empty."""
PHOTOGRAPHS = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""In scikit-image's wheel; china.jpg and flower.jpg (CC BY 2.0) of scikit-learn join them. The motorcycle is from the
Middlebury stereo benchmark of 2014; the others are CC0 or in the public domain."""
TEXTURES = ("brick.png", "grass.png", "gravel.png")
"""In the same wheel, all CC0."""


def characters(alphabet: str) -> str:
    """The characters of LATIN, GREEK or SYMBOLS that are not in LEFT_OUT."""
    return "".join(c for c in alphabet if not any(c in group for group in LEFT_OUT.values()))


def bitmap(glyph: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """A character as (32, 32) bool, as high as the field, centred, its strokes as heavy as those of a digit."""
    for outline in range(BOLDEST + 1):
        page = Image.new("L", (4 * EM, 4 * EM))
        ImageDraw.Draw(page).text((EM, EM), glyph, fill=255, font=font, stroke_width=outline)
        drawn = page.crop(page.getbbox())
        # Digits keep little of their aspect ratio, and at 8x8 a letter of natural width would be unlike any of them.
        width = int(np.clip(round(14 + 8 * drawn.width / drawn.height), NARROWEST, WIDEST))
        black = np.asarray(drawn.resize((width, SIDE), Image.Resampling.BOX)) >= 128
        if black.sum() >= INK:
            break
    left = (SIDE - width) // 2
    return np.pad(black, ((0, 0), (left, SIDE - width - left)))


def count_blocks(black: np.ndarray) -> np.ndarray:
    """Black pixels in each 4x4 block of a (32, 32) bitmap: (8, 8) of 0..16, the form in which the digits come."""
    return black.reshape(8, 4, 8, 4).sum((1, 3))


def scramble(grey: np.ndarray, ids: tuple[str, ...]) -> np.ndarray:
    """Images (N, 32, 32) with the phases of white noise and their own amplitudes: float64, not rounded, not clipped.

    The noise is keyed by seed 0 and the id. The mean keeps its sign, or half of the images would come out black.
    """
    white = noise.gaussian(grey.shape[1:], seed=0, purpose="digits-scrambled", samples=ids).double().numpy()
    phases = np.fft.fft2(white)
    phases /= np.abs(phases)
    phases[:, 0, 0] = 1
    return np.fft.ifft2(np.abs(np.fft.fft2(grey.astype(np.float64))) * phases).real


Images = Iterable[tuple[str, np.ndarray]]
"""Grey images (32, 32) uint8, each with its id."""


def _assemble(name: str, images: Images, split: str, only: str = "test") -> ArrayDataset:
    """The data set of these images in the order of their ids' hashes; of equal images only the first."""
    if split != only:
        raise HarnessError(f"Data set {name!r} has no split {split!r}, only {only!r}.")
    different: dict[bytes, tuple[str, np.ndarray]] = {}
    for sample, grey in images:
        different.setdefault(grey.tobytes(), (sample, grey))
    ids, pixels = zip(*sorted(different.values(), key=lambda x: hashlib.sha256(x[0].encode()).digest()), strict=True)
    return ArrayDataset(
        name=name,
        ids=ids,
        pixels=torch.from_numpy(np.stack(pixels))[:, None].expand(-1, 3, -1, -1).contiguous(),
        labels=torch.full((len(ids),), -1),
        num_classes=10,
        geometry=Geometry(resize=SIDE, crop=SIDE, interpolation="bicubic"),
    )


def _glyphs(prefix: str, alphabet: str) -> Images:
    """Each character in each font that has it, as ``letters/DejaVuSans/U+0041``."""
    import matplotlib
    from matplotlib.ft2font import FT2Font

    for name in FONTS:
        file = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")
        if not file.is_file():
            raise HarnessError(f"{file} is missing. It comes with matplotlib: reinstall that.")
        # Pillow draws a box for what a font lacks, and its other layout engine depends on what else is installed.
        characters_in_font = FT2Font(str(file)).get_charmap()
        font = ImageFont.truetype(str(file), EM, layout_engine=ImageFont.Layout.BASIC)
        for glyph in characters(alphabet):
            if ord(glyph) in characters_in_font:
                yield f"{prefix}/{name}/U+{ord(glyph):04X}", render(count_blocks(bitmap(glyph, font)))


def _shipped(file: str) -> Image.Image:
    """An image out of scikit-image's wheel, read as a file: its own loaders would download what is missing."""
    path = resources.files("skimage").joinpath("data", file)
    if not path.is_file():
        raise HarnessError(f"{path} is missing. It comes in scikit-image's wheel: reinstall that.")
    with path.open("rb") as stream:
        return Image.open(stream).convert("L")


def _sampled() -> Iterator[tuple[str, Image.Image]]:
    """The two photographs of scikit-learn."""
    from sklearn.datasets import load_sample_images

    raw = load_sample_images()
    for file, pixels in zip(raw.filenames, raw.images, strict=True):
        yield Path(file).name, Image.fromarray(pixels).convert("L")


def _patches(prefix: str, sources: Iterable[tuple[str, Image.Image]]) -> Images:
    """Crops that do not overlap, as ``patches/camera.png/064,128`` (top, left)."""
    for file, image in sources:
        for top in range(0, image.height - PATCH + 1, PATCH):
            for left in range(0, image.width - PATCH + 1, PATCH):
                crop = image.crop((left, top, left + PATCH, top + PATCH))
                grey = np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
                if grey.std() >= FLAT:
                    yield f"{prefix}/{file}/{top:03d},{left:03d}", grey


def _scrambled() -> Images:
    source = digits("test")
    ids = tuple(f"scrambled/{i}" for i in source.ids)
    grey = np.clip(np.round(scramble(source.pixels[:, 0].numpy(), ids)), 0, 255).astype(np.uint8)
    yield from zip(ids, grey, strict=True)


@dataset("digits-letters", image_size=SIDE, num_classes=10, splits=("test",))
@lru_cache(maxsize=1)
def letters(split: str) -> ArrayDataset:
    """Near, split "test": Latin letters of 16 fonts prepared like the digits, without those that look like one."""
    return _assemble("digits-letters", _glyphs("letters", LATIN), split)


@dataset("digits-symbols", image_size=SIDE, num_classes=10, splits=("test",))
@lru_cache(maxsize=1)
def symbols(split: str) -> ArrayDataset:
    """Near, split "test": punctuation and mathematical symbols, prepared and chosen like `digits-letters`."""
    return _assemble("digits-symbols", _glyphs("symbols", SYMBOLS), split)


@dataset("digits-greek", image_size=SIDE, num_classes=10, splits=("val",))
@lru_cache(maxsize=1)
def greek(split: str) -> ArrayDataset:
    """For tuning, split "val": Greek letters prepared like the digits, without those that look like a test set's."""
    return _assemble("digits-greek", _glyphs("greek", GREEK), split, only="val")


@dataset("digits-patches", image_size=SIDE, num_classes=10, splits=("test",))
@lru_cache(maxsize=1)
def patches(split: str) -> ArrayDataset:
    """Far, split "test": grey patches, 64 pixels shrunk to 32, of the photographs in scikit-learn and scikit-image."""
    sources = chain(_sampled(), ((file, _shipped(file)) for file in PHOTOGRAPHS))
    return _assemble("digits-patches", _patches("patches", sources), split)


@dataset("digits-textures", image_size=SIDE, num_classes=10, splits=("test",))
@lru_cache(maxsize=1)
def textures(split: str) -> ArrayDataset:
    """Far, split "test": patches of brick, grass and gravel out of scikit-image, cut like `digits-patches`."""
    return _assemble("digits-textures", _patches("textures", ((file, _shipped(file)) for file in TEXTURES)), split)


@dataset("digits-scrambled", image_size=SIDE, num_classes=10, splits=("test",))
@lru_cache(maxsize=1)
def scrambled(split: str) -> ArrayDataset:
    """Far, split "test": the 600 test digits, each with the phases of white noise."""
    return _assemble("digits-scrambled", _scrambled(), split)
