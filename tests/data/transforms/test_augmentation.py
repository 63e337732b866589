import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from hep2gan.data.batch import BatchSeed
from hep2gan.data.phantom.generate import generate_cells
from hep2gan.data.readers.image import resize, resize_mask
from hep2gan.data.transforms import functional
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.functional import AugmentationParams
from hep2gan.errors import Hep2ganError

OFF = {"horizontal_flip": 0.0, "vertical_flip": 0.0}
EVERYTHING = Augmentation(
    rotation=30,
    quarter_turns=True,
    shift=0.1,
    scale=(0.8, 1.2),
    gain=(0.8, 1.2),
    offset=0.1,
    gamma=(0.7, 1.4),
    jitter=0.9,
    blur=(0.2, 1.5),
    noise=0.1,
)


def draw(total=1, seed=0, epoch=0, batch=0, offset=0, stride=1):
    return BatchSeed(seed, epoch, batch, offset, stride, total)


def cells(count, side=16, seed=0):
    g = torch.Generator().manual_seed(seed)
    image = torch.rand(count, 1, side, side, generator=g)
    return image, (torch.rand(count, 1, side, side, generator=g) > 0.5).float()


@pytest.fixture
def fixed(monkeypatch):
    """Give every cell the same numbers: 0.5 unless named."""

    def fix(**numbers):
        def sample(batch_seed, device):
            return AugmentationParams(
                *(torch.tensor([numbers.get(n, 0.5)]) for n in AugmentationParams._fields)
            )

        monkeypatch.setattr(AugmentationParams, "sample", sample)

    return fix


# -------------------------------------------------------------------- flips and quarter turns


def test_default_is_paired_flips_at_even_odds():
    image, mask = cells(4000, side=3)
    flipped, flipped_mask = Augmentation()(image, mask, draw(4000))
    seen = torch.zeros(4, dtype=torch.long)
    matched = torch.zeros(4000, dtype=torch.bool)
    for number, axes in enumerate([(), (3,), (2,), (2, 3)]):
        same = (image.flip(axes) == flipped).flatten(1).all(1)
        assert torch.equal(mask.flip(axes)[same], flipped_mask[same])
        seen[number], matched = same.sum(), matched | same
    assert matched.all()
    # 1000 expected of each; the standard deviation is 27.
    assert (seen - 1000).abs().max() < 110


@pytest.mark.parametrize(("horizontal", "vertical", "axes"), [(1, 0, 3), (0, 1, 2), (0, 0, ())])
def test_certain_flips(horizontal, vertical, axes):
    image, mask = cells(5)
    found = Augmentation(horizontal_flip=horizontal, vertical_flip=vertical)(image, mask, draw(5))
    axes = axes or []
    assert torch.equal(found[0], image.flip(axes))
    assert torch.equal(found[1], mask.flip(axes))


def test_quarter_turns_are_exact_paired_and_even():
    image, mask = cells(4000, side=3)
    turned, turned_mask = Augmentation(quarter_turns=True, **OFF)(image, mask, draw(4000))
    seen = []
    for k in range(4):
        same = (np.rot90(image.numpy(), k, (2, 3)) == turned.numpy()).all((1, 2, 3))
        assert np.array_equal(np.rot90(mask.numpy(), k, (2, 3))[same], turned_mask.numpy()[same])
        seen.append(int(same.sum()))
    assert sum(seen) == 4000
    assert max(abs(count - 1000) for count in seen) < 110


# ---------------------------------------------------------------------------------- resampling


@pytest.mark.parametrize(
    ("number", "degrees", "turns"), [(1.0, 90, 1), (0.0, 90, 3), (1.0, 180, 2), (0.5, 90, 0)]
)
def test_rotation_by_right_angles_is_a_quarter_turn(fixed, number, degrees, turns):
    fixed(rotation=number)
    image, mask = cells(1)
    found, found_mask = Augmentation(rotation=degrees, **OFF)(image, mask, draw())
    assert torch.allclose(found, image.rot90(turns, (2, 3)), atol=1e-4)
    assert torch.equal(found_mask, mask.rot90(turns, (2, 3)))


def test_shift_mirrors_the_image_and_empties_the_mask(fixed):
    fixed(shift_x=1.0, shift_y=0.0)
    image, mask = cells(1)
    mask[..., :2] = mask[..., -3:, :] = 0
    mask[..., 8, 8] = 1
    found, found_mask = Augmentation(shift=0.125, **OFF)(image, mask, draw())
    # An eighth of 16 pixels: 2 to the right, 2 up.
    assert torch.allclose(found[..., :14, 2:], image[..., 2:, :14], atol=1e-5)
    assert torch.equal(found_mask[..., :14, 2:], mask[..., 2:, :14])
    assert torch.allclose(found[..., :14, :2], image[..., 2:, :2].flip(-1), atol=1e-5)
    assert torch.allclose(found[..., 14:, 2:], image[..., 14:, :14].flip(-2), atol=1e-5)
    assert found_mask[..., :2].sum() == found_mask[..., 14:, :].sum() == 0


def test_zoom_out_halves_the_mask_and_pads_with_zeros(fixed):
    fixed()
    image, _ = cells(1)
    _, found = Augmentation(scale=(0.5, 0.5), **OFF)(image, torch.ones_like(image), draw())
    expected = torch.zeros_like(image)
    expected[..., 4:12, 4:12] = 1
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("angle", "x", "y", "zoom"), [(20, 0.1, -0.05, 1.2), (-50, 0, 0.1, 0.8), (0, -0.1, 0, 1.5)]
)
def test_resampling_agrees_with_scipy(fixed, angle, x, y, zoom):
    side = 33
    image, mask = cells(1, side)
    image = torch.from_numpy(ndimage.gaussian_filter(image.numpy(), (0, 0, 1, 1)))
    fixed(
        rotation=(angle / 90 + 1) / 2, shift_x=(x / 0.2 + 1) / 2, shift_y=(y / 0.2 + 1) / 2, scale=0
    )
    moving = Augmentation(rotation=90, shift=0.2, scale=(zoom, zoom), **OFF)
    found, _ = moving(image, torch.zeros_like(mask), draw())
    _, found_mask = moving(image, mask, draw())
    # scipy maps output (row, column) to input; the picture turns anticlockwise, rows run down.
    a, centre = math.radians(angle), (side - 1) / 2
    matrix = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]) / zoom
    origin = centre - matrix @ (centre + side * np.array([y, x]))
    theirs = ndimage.affine_transform(
        image[0, 0].numpy().astype(float), matrix, origin, order=1, mode="reflect"
    )
    assert np.abs(found[0, 0].numpy() - theirs).max() < 1e-4
    theirs = ndimage.affine_transform(
        mask[0, 0].numpy(), matrix, origin, order=0, mode="grid-constant", cval=0
    )
    # Pixels that fall midway between two may go either way.
    assert (found_mask[0, 0].numpy() != theirs).mean() < 0.005


@pytest.mark.parametrize(
    ("margins", "before", "after"),
    [
        ((4, 3), [2, 3, 2, 1, 0], [9, 8, 7, 8, 9]),
        ((1, 3), [0, 0, 0, 0, 0], [9, 8, 7, 8, 9]),
        ((0, 3), [9, 8, 7, 8, 9], [9, 8, 7, 8, 9]),  # The nucleus touches: the margin opposite.
        ((0, 0), [0, 0, 0, 0, 0], [9, 9, 9, 9, 9]),
    ],
)
def test_beyond_an_edge_lies_the_margin_and_no_nucleus(margins, before, after):
    """Ten pixels in a row, and what is seen five pixels beyond either end."""
    places = (torch.arange(-5, 15) + 0.5) / 5 - 1
    grid = torch.stack([places, torch.zeros(20)], 1).expand(1, 10, 20, 2)
    folded = functional._fold_into_margins(grid, torch.tensor([[margins, (0, 0)]]).float())
    found = ((folded[0, 0, :, 0] + 1) * 5 - 0.5).clamp(0, 9)
    assert found.tolist() == pytest.approx([*before, *range(10), *after], abs=1e-4)


def test_no_nucleus_is_seen_where_the_mask_says_background():
    made = list(generate_cells(40, 1))
    image = torch.stack([whole(resize(cell.image.astype(np.float32), 64)) for cell in made])
    mask = torch.stack([whole(resize_mask((cell.mask > 0).astype(np.uint8), 64)) for cell in made])
    # The image is the mask, so that what is seen of a nucleus can be counted.
    moving = Augmentation(rotation=180, shift=0.08, scale=(0.9, 1.15))
    seen, there = moving(mask, mask, draw(40))
    # Bilinear and nearest differ by a rim of half a pixel, and nowhere else.
    rim = functional.F.max_pool2d(there, 3, 1, 1)
    assert (seen * (1 - rim)).amax() < 0.01
    assert torch.isfinite(moving(image, None, draw(40))[0]).all()


def whole(pixels):
    return torch.from_numpy(pixels).float()[None]


def test_image_and_mask_move_together():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    disc = torch.sigmoid(15 - ((y - 30) ** 2 / 2 + (x - 35) ** 2).sqrt()).expand(40, 1, 64, 64)
    moving = Augmentation(rotation=180, shift=0.1, scale=(0.8, 1.3), quarter_turns=True)
    image, mask = moving(disc, (disc > 0.5).float(), draw(40))
    assert set(mask.unique().tolist()) == {0, 1}
    assert ((image > 0.5).float() - mask).abs().mean() < 0.01
    assert len({tuple(m.nonzero().flatten().tolist()) for m in mask}) == 40


# --------------------------------------------------------------------------------- grey levels


def test_jitter_by_hand(fixed):
    fixed(gain=1.0, gamma=0.0, offset=0.0)
    image = torch.tensor([0.0, 0.25, 0.49, 1.0]).view(1, 1, 2, 2)
    jitter = Augmentation(gain=(0.5, 1.5), gamma=(0.5, 2), offset=0.1, **OFF)
    found, mask = jitter(image, torch.ones_like(image), draw())
    # 1.5·√image − 0.1: −0.1, 0.65, 0.95, 1.4, clamped.
    expected = torch.tensor([0, 0.65, 0.95, 1]).view(1, 1, 2, 2)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(mask, torch.ones_like(image))


def test_jitter_spares_a_share_of_the_cells_and_saturates_the_others():
    image, mask = cells(4000, side=3)
    options = {"gain": (1.5, 1.5), "offset": 0.1, **OFF}
    every, _ = Augmentation(**options)(image, mask, draw(4000))
    some, _ = Augmentation(jitter=0.3, **options)(image, mask, draw(4000))
    changed = (some != image).flatten(1).any(1)
    assert changed.float().mean() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(some[changed], every[changed])
    assert torch.equal(some[~changed], image[~changed])
    assert (every[image > 0.75] == 1).all()


def test_middle_numbers_are_geometric_means(fixed):
    fixed()
    image, mask = cells(1)
    jitter = Augmentation(gain=(0.5, 0.5), gamma=(0.5, 2.0), offset=0.3, **OFF)
    assert torch.allclose(jitter(image, mask, draw())[0], image / 2, atol=1e-6)


def test_unbounded_images_are_not_clamped(fixed):
    fixed(gain=1.0)
    image = torch.tensor([-2.0, 3.0]).view(1, 1, 1, 2).expand(1, 1, 2, 2)
    jitter = Augmentation(gain=(1, 2), **OFF)
    assert torch.allclose(jitter(image, image, draw(), bounded=False)[0], 2 * image)
    assert jitter(image, image, draw())[0].aminmax() == (0, 1)


def test_everything_stays_in_range():
    image, mask = EVERYTHING(*cells(50), draw(50))
    assert (image.min(), image.max()) >= (0, 0)
    assert image.max() <= 1
    assert set(mask.unique().tolist()) == {0, 1}
    assert image.isfinite().all()


# ---------------------------------------------------------------------------- defocus and noise


def test_blur_agrees_with_scipy():
    image, mask = cells(6, side=24)
    found, found_mask = Augmentation(blur=(0.5, 2.0), **OFF)(image, mask, draw(6))
    assert torch.equal(found_mask, mask)
    widths = 0.5 + 1.5 * AugmentationParams.sample(draw(6), torch.device("cpu")).blur
    assert len(set(widths.tolist())) == 6
    for blurred, plain, sigma in zip(found, image, widths.tolist(), strict=True):
        theirs = ndimage.gaussian_filter(plain[0].numpy(), sigma, mode="mirror", radius=6)
        assert np.abs(blurred[0].numpy() - theirs).max() < 1e-5


@pytest.mark.parametrize(("number", "sigma"), [(0.0, 0.0), (0.25, 0.5), (1.0, 2.0)])
def test_the_width_is_uniform_in_the_interval(fixed, number, sigma):
    fixed(blur=number)
    point = torch.zeros(1, 1, 15, 15)
    point[..., 7, 7] = 1
    found, _ = Augmentation(blur=(0.0, 2.0), **OFF)(point, point, draw())
    assert found.sum() == pytest.approx(1, abs=1e-6)
    # Neighbouring values of a Gaussian have the ratio exp(−1/2σ²).
    ratio = math.exp(-0.5 / sigma**2) if sigma else 0.0
    assert float(found[0, 0, 7, 8] / found[0, 0, 7, 7]) == pytest.approx(ratio, abs=1e-5)
    if not sigma:
        assert torch.equal(found, point)


def test_blur_of_an_image_smaller_than_the_kernel(fixed):
    fixed(blur=1.0)
    image, mask = cells(1, side=4)
    found, _ = Augmentation(blur=(0, 4), **OFF)(image, mask, draw())
    assert found.shape == image.shape
    assert found.std() < image.std()


def test_noise_has_the_width_that_was_sampled():
    image = torch.zeros(5, 1, 64, 64)
    noisy, mask = Augmentation(noise=0.4, **OFF)(image, image, draw(5), bounded=False)
    widths = 0.4 * AugmentationParams.sample(draw(5), torch.device("cpu")).noise
    # 4096 pixels: a relative error of 1/√8192, 1.1 %, in each standard deviation.
    assert torch.allclose(noisy.std((1, 2, 3)), widths, rtol=0.06)
    assert noisy.mean((1, 2, 3)).abs().max() < 0.03
    assert torch.equal(mask, image)
    pixels = torch.corrcoef(noisy.flatten(1)) - torch.eye(5)
    assert pixels.abs().max() < 0.08


def test_noise_comes_after_blur_and_grey_levels(fixed):
    fixed(noise=1.0, gain=1.0, blur=1.0)
    image, mask = cells(1, side=32)
    clean = {"blur": (0, 1), "gain": (1, 3), **OFF}
    before, _ = Augmentation(**clean)(image, mask, draw(), bounded=False)
    after, _ = Augmentation(noise=0.1, **clean)(image, mask, draw(), bounded=False)
    # Neither blurred nor amplified.
    assert (after - before).std() == pytest.approx(0.1, rel=0.1)
    kept, _ = Augmentation(noise=0.5, **clean)(image, mask, draw())
    assert kept.aminmax() == (0, 1)


def test_noise_differs_by_epoch_and_batch_and_repeats():
    image = torch.zeros(2, 1, 8, 8)
    noises = [
        Augmentation(noise=1, **OFF)(image, image, draw(2, *which), bounded=False)[0]
        for which in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)]
    ]
    assert torch.equal(noises[0], noises[4])
    assert len({float(noise[0, 0, 0, 0]) for noise in noises}) == 4


# ------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_together_do_what_one_does_alone(world):
    image, mask = cells(12)
    alone = EVERYTHING(image, mask, draw(12, seed=3, epoch=2, batch=5))
    for r in range(world):
        mine = draw(12, 3, 2, 5, offset=r, stride=world)
        ours = EVERYTHING(image[r::world], mask[r::world], mine)
        assert torch.equal(ours[0], alone[0][r::world])
        assert torch.equal(ours[1], alone[1][r::world])


def test_numbers_differ_by_seed_epoch_batch_and_cell_and_repeat():
    noises = [
        torch.stack(AugmentationParams.sample(BatchSeed(*which, 0, 1, 4), torch.device("cpu")))
        for which in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)]
    ]
    assert torch.equal(noises[0], noises[4])
    everything = torch.cat([d.flatten() for d in noises[:4]])
    assert len(set(everything.tolist())) == 4 * 13 * 4
    assert everything.dtype == torch.float32


def test_older_options_keep_the_numbers_they_always_had():
    numbers = torch.stack(AugmentationParams.sample(draw(3, 5, 6, 7), torch.device("cpu")), 1)
    rng = np.random.default_rng([2, 5, 6, 7])
    assert (AugmentationParams._fields[9], AugmentationParams._fields[11]) == ("gamma", "noise")
    assert np.array_equal(numbers[:, :10].numpy(), rng.random((3, 10), np.float32))
    assert np.array_equal(numbers[:, 10:12].numpy(), rng.random((3, 2), np.float32))


def test_switching_an_option_on_leaves_the_flips_as_they_were():
    image, mask = cells(30)
    flips = Augmentation()(image, mask, draw(30))
    jittered = Augmentation(gain=(0.5, 0.9), gamma=(0.8, 0.9))(image, mask, draw(30))
    assert torch.equal(flips[1], jittered[1])


def test_inputs_are_left_alone():
    image, mask = cells(6)
    before = image.clone(), mask.clone()
    EVERYTHING(image, mask, draw(6))
    assert torch.equal(image, before[0])
    assert torch.equal(mask, before[1])


def test_lists_from_a_configuration_file_will_do():
    given = Augmentation(scale=[1, 1], gain=[1.0, 1.0])
    assert given == Augmentation()
    assert not given.resamples
    assert not given.jitters


@pytest.mark.parametrize(
    "given",
    [
        {"horizontal_flip": 1.1},
        {"vertical_flip": -0.1},
        {"jitter": 1.5},
        {"rotation": 181},
        {"shift": 0.6},
        {"offset": -0.1},
        {"scale": (1.2, 0.8)},
        {"gain": (0, 1)},
        {"gamma": (0.5, math.inf)},
        {"blur": (2, 1)},
        {"blur": (-0.1, 1)},
        {"blur": (0, 4.1)},
        {"blur": (math.nan, 1)},
        {"noise": -0.1},
        {"noise": 1.1},
    ],
)
def test_values_out_of_range_are_refused(given):
    with pytest.raises(Hep2ganError, match=next(iter(given))) as error:
        Augmentation(**given)
    assert error.value.fix


def test_gamma_of_z_scores_is_refused():
    image, mask = cells(1)
    with pytest.raises(Hep2ganError, match="z-score"):
        Augmentation(gamma=(0.5, 2))(image, mask, draw(), bounded=False)
