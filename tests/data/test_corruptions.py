"""The corruptions against the authors' own code.

recorded/corruptions.npz was recorded with the unmodified generators of hendrycks/robustness (8190fe32) on the versions
they require; elastic_transform and jpeg_compression, which newer libraries changed, with OpenCV 5 and Pillow 13. It
holds one image per size; SIZE/NAME/SEVERITY, drawn after np.random.seed(0), every second row and column at 224;
stats/NAME, (severities 1, 3, 5; 20 seeds; mean, standard deviation, squared distance from the image) at 32.
"""

import numpy as np
import pytest
import torch
from helpers import RECORDED_FOLDER
from PIL import Image

from harness.data.corruptions import EXTRA, STANDARD, apply, corrupt, frost_source
from harness.data.corruptions.constants import SEVERITIES, SIZES
from harness.data.corruptions.frost import FILES, PROCEDURAL
from harness.data.corruptions.frost import pictures as frost_pictures
from harness.types import HarnessError

RECORDED = np.load(RECORDED_FOLDER / "corruptions.npz")
ALL = STANDARD + EXTRA
CASES = sorted(key for key in RECORDED.files if key[0].isdigit())
STOCHASTIC = sorted(key.removeprefix("stats/") for key in RECORDED.files if key.startswith("stats/"))

BLANK = torch.zeros(1, 3, 32, 32)

# Share of the values that may be off by one level, never by more. ImageMagick rounds its streaks differently.
OFF_BY_ONE = {"motion_blur": 0.02, "snow": 0.005}

AGREE = 3.5
"""Standard errors up to which two means agree."""


class Recorded:
    """numpy's legacy generator, as the authors seeded it, under the names of the new one."""

    def __init__(self, seed=0):
        self.state = np.random.RandomState(seed)

    def __getattr__(self, name):
        return getattr(self.state, "randint" if name == "integers" else name)


def image(size):
    return torch.from_numpy(RECORDED[f"img{size}"]).permute(2, 0, 1)[None]


def images(count, size=32):
    """Different images: the recorded one, moved."""
    rows = torch.cat([image(32 if size == 32 else 224).roll(3 * i, -1) for i in range(count)])
    return torch.nn.functional.interpolate(rows.float() / 255, size=(size, size)), [f"image-{i}" for i in range(count)]


def test_the_names_are_the_papers():
    assert len(STANDARD) == 15 and STANDARD[0] == "gaussian_noise" and STANDARD[-1] == "jpeg_compression"
    assert EXTRA == ("speckle_noise", "gaussian_blur", "spatter", "saturate")
    assert set(SEVERITIES) == set(ALL)
    assert all(
        set(sizes) == set(SIZES) and {len(row) for row in sizes.values()} == {5} for sizes in SEVERITIES.values()
    )


def test_every_corruption_but_frost_is_recorded():
    assert {key.split("/")[1] for key in CASES} == set(ALL) - {"frost"}


@pytest.mark.parametrize("case", CASES)
def test_pixels_equal_the_authors(case):
    size, name, severity = case.split("/")
    made = apply(image(size), name, int(severity), [Recorded()])[0].permute(1, 2, 0).numpy()
    expected = RECORDED[case]
    stride = len(made) // len(expected)
    difference = np.abs(made[stride - 1 :: stride, stride - 1 :: stride].astype(int) - expected)
    if name == "jpeg_compression":  # libjpeg is Pillow's, and versions of it differ
        assert difference.mean() < 1
    else:
        assert difference.max() <= 1
        assert (difference > 0).mean() <= OFF_BY_ONE.get(name, 0.001)


def statistics(name, severity, count=200):
    x = image(32).float() / 255
    y = corrupt(x.expand(count, -1, -1, -1), name, severity, ids=[str(i) for i in range(count)])
    levels = y.flatten(1).double() * 255
    distance = (levels - x.flatten(1).double() * 255).square().mean(1)
    return torch.stack([levels.mean(1), levels.std(1, unbiased=False), distance], 1).numpy()


def means_agree(rows, recorded):
    """True if all means over the rows of two samples agree, given their standard errors."""
    difference = rows.mean(0) - recorded.mean(0)
    errors = np.sqrt(rows.var(0, ddof=1) / len(rows) + recorded.var(0, ddof=1) / len(recorded))
    return (np.abs(difference) < AGREE * errors).all()


@pytest.mark.parametrize("name", sorted(set(STOCHASTIC) - {"frost"}))
def test_statistics_equal_the_authors_and_no_other_severitys(name):
    recorded = RECORDED[f"stats/{name}"]
    for i, severity in enumerate((1, 3, 5)):
        rows = statistics(name, severity)
        assert means_agree(rows, recorded[i])
        for other in {0, 1, 2} - {i}:
            assert not means_agree(rows, recorded[other])


def test_drawn_frost_is_about_as_bright_and_as_rough_as_the_pictures():
    for severity, recorded in zip((1, 3, 5), RECORDED["stats/frost"], strict=True):
        mean, spread, distance = np.abs(statistics("frost", severity).mean(0) - recorded.mean(0))
        assert mean < 6 and spread < 2 and distance < 0.15 * recorded.mean(0)[2]


@pytest.mark.parametrize("name", ALL)
def test_a_row_does_not_depend_on_its_batch(name):
    x, ids = images(64)
    together = corrupt(x, name, 5, ids=ids)
    sevens = [corrupt(x[i : i + 7], name, 5, ids=ids[i : i + 7]) for i in range(0, 64, 7)]
    assert torch.equal(torch.cat(sevens), together)
    for i in (0, 13, 63):
        assert torch.equal(corrupt(x[i : i + 1], name, 5, ids=ids[i : i + 1])[0], together[i])
    assert torch.equal(corrupt(x.flip(0), name, 5, ids=ids[::-1]).flip(0), together)


@pytest.mark.parametrize("name", ALL)
def test_a_large_row_does_not_depend_on_its_batch(name):
    # 299 is odd: the vectorised loops of PyTorch end at another place of every row.
    x, ids = images(3, 299)
    assert torch.equal(corrupt(x, name, 2, ids=ids)[:2], corrupt(x[:2], name, 2, ids=ids[:2]))


@pytest.mark.parametrize("name", ALL)
def test_results_lie_on_the_grid_and_grow_with_severity(name):
    x, ids = images(20)
    before = x.clone()
    legacy = np.random.get_state()[1].copy()
    distances = []
    for severity in range(1, 6):
        y = corrupt(x, name, severity, ids=ids)
        assert y.shape == x.shape and y.dtype == torch.float32
        assert torch.equal(y, (y * 255).round().clamp(0, 255) / 255)
        distances.append((y - x).square().mean().item())
    assert torch.equal(x, before) and np.array_equal(np.random.get_state()[1], legacy)
    # The published constants are not monotonous everywhere; the ends always are, but for elastic_transform (its mild
    # settings move the whole image) and saturate (its mild settings drain it).
    assert distances[4] > distances[0] > 0 or name in ("elastic_transform", "saturate")


@pytest.mark.parametrize("size", SIZES)
def test_every_published_size_and_severity_works(size):
    x, ids = images(1, size)
    for name in ALL:
        for severity in (1, 5) if size > 64 else range(1, 6):
            y = corrupt(x, name, severity, ids=ids)
            assert y.shape == x.shape and not torch.equal(x, y)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_randomness_follows_seed_and_id(name):
    x = images(1)[0].expand(2, -1, -1, -1)
    same = corrupt(x, name, 3, ids=["a", "a"])
    assert torch.equal(same[0], same[1])
    other = corrupt(x, name, 3, ids=["a", "b"])
    assert torch.equal(other[0], same[0]) and not torch.equal(other[1], same[0])
    assert not torch.equal(corrupt(x, name, 3, ids=["a", "a"], seed=1), same)


def test_inputs_are_put_on_the_grid_first():
    x, ids = images(2)
    near = (x + 0.4 / 255).clamp(0, 1)
    assert torch.equal(corrupt(near, "contrast", 3, ids=ids), corrupt(x, "contrast", 3, ids=ids))


def test_an_empty_batch_stays_empty():
    assert corrupt(torch.zeros(0, 3, 32, 32), "spatter", 1, ids=[]).shape == (0, 3, 32, 32)


def test_spatter_without_a_drop_leaves_the_image_alone():
    class Dry(Recorded):
        def normal(self, loc, scale, size):
            return np.zeros(size)

    assert torch.equal(apply(image(32), "spatter", 1, [Dry()]), image(32))


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for i, name in enumerate(FILES):
        levels = rng.integers(0, 256, (340 + i, 400, 3), dtype=np.uint8)
        Image.fromarray(levels).save(tmp_path / name, **({"quality": 95} if name.endswith("jpg") else {}))
    return tmp_path


@pytest.mark.parametrize("size", [32, 224])
def test_frost_blends_a_window_of_the_original_pictures(pictures, size):
    made = apply(image(size), "frost", 2, [Recorded(3)], pictures)
    rng = np.random.RandomState(3)
    picture = np.asarray(Image.open(pictures / FILES[rng.randint(5)]).convert("RGB"))
    if size == 32:
        # A fifth of the size: each output pixel is centred on every fifth input pixel.
        picture = picture[2::5, 2::5]
    top, left = rng.randint(0, picture.shape[0] - size), rng.randint(0, picture.shape[1] - size)
    window = torch.from_numpy(picture[top : top + size, left : left + size].copy()).permute(2, 0, 1)
    keep, cover = {32: (1, 0.3), 224: (0.8, 0.6)}[size]
    expected = (keep * image(size).double() + cover * window.double()).clamp(0, 255).to(torch.uint8)
    assert torch.equal(made, expected)


def test_frost_says_where_its_pictures_come_from(pictures):
    assert frost_source(None) == "procedural-1"
    source = frost_source(pictures)
    assert source.startswith("original:") and len(source) == len("original:") + 64
    (pictures / FILES[2]).write_bytes((pictures / FILES[1]).read_bytes())
    assert frost_source(pictures) != source


def test_drawn_ice_is_what_its_name_says():
    """A record that says "procedural-1" means these pixels; other pixels need another name."""
    assert PROCEDURAL == "procedural-1"
    probes = torch.stack([picture[2, 100:400:100, 300] for picture in frost_pictures(None, 1.0)])
    expected = torch.tensor([[167, 195, 180], [222, 231, 212], [209, 220, 194], [158, 151, 196], [152, 65, 215]])
    assert (probes.int() - expected).abs().max() <= 1  # the last bit of a Fourier transform is the library's


def test_frost_asks_for_a_missing_picture(pictures):
    (pictures / FILES[3]).unlink()
    for attempt in (lambda: frost_source(pictures), lambda: corrupt(BLANK, "frost", 1, ids=["a"], frost=pictures)):
        with pytest.raises(HarnessError, match=r"frost4\.jpg not found.*hendrycks/robustness"):
            attempt()


@pytest.mark.parametrize(
    ("name", "severity", "shape", "message"),
    [
        ("gausian_noise", 1, (1, 3, 32, 32), "Did you mean gaussian_noise.*Available: brightness"),
        ("fog", 0, (1, 3, 32, 32), "severity 0 must be one of 1, 2, 3, 4, 5"),
        ("fog", 6, (1, 3, 32, 32), "severity 6"),
        ("fog", 1, (1, 3, 48, 48), "32x32, 64x64, 224x224, 299x299"),
        ("fog", 1, (1, 3, 32, 64), "32x32"),
        ("fog", 1, (1, 1, 32, 32), "RGB"),
    ],
)
def test_mistakes_are_explained(name, severity, shape, message):
    with pytest.raises(HarnessError, match=message):
        corrupt(torch.zeros(shape), name, severity, ids=["a"])


def test_ids_and_images_must_match():
    with pytest.raises(ValueError, match="2 ids"):
        corrupt(BLANK, "fog", 1, ids=["a", "b"])
    with pytest.raises(ValueError, match="uint8"):
        corrupt(BLANK.byte(), "fog", 1, ids=["a"])
