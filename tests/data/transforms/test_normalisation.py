import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError

KINDS = ("min_max", "percentile", "z_score", "none")


def images(shape=(3, 5, 5)):
    return hnp.arrays(np.uint8, shape)


def run(kind, image, levels=None, **given):
    image = torch.as_tensor(image)
    levels = torch.tensor([[0.0, 255.0]] * len(image)) if levels is None else levels
    return Normalisation(kind=kind, **given)(image, levels)


def test_min_max_by_hand():
    image = torch.tensor([[[10, 20], [30, 60]], [[0, 255], [51, 102]]], dtype=torch.uint8)
    expected = torch.tensor([[[0, 0.2], [0.4, 1]], [[0, 1], [0.2, 0.4]]])[:, None]
    assert torch.allclose(run("min_max", image), expected, atol=1e-7)


def test_absolute_grey_levels_by_hand():
    image = torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8)
    # 0 stands for grey 20 and 255 for grey 71: one stored step is 0.2 grey levels.
    expected = torch.tensor([[20, 71], [30.2, 40.4]]) / 255
    found = run("none", image, torch.tensor([[20.0, 71.0]]))
    assert torch.allclose(found[0, 0], expected, atol=1e-7)


def test_z_score_by_hand():
    image = torch.tensor([[[1, 3], [5, 7]]], dtype=torch.uint8)
    # Mean 4, variance (9 + 1 + 1 + 9)/4 = 5.
    expected = torch.tensor([[-3, -1], [1, 3]]) / 5**0.5
    assert torch.allclose(run("z_score", image)[0, 0], expected, atol=1e-6)


def test_z_scores_of_a_faint_image_are_as_exact_as_any():
    image = np.full((1, 5, 5), 129, np.uint8)
    image[0, 0, 0] = 128
    expected = torch.full((25,), 1 / 24**0.5)
    expected[0] = -(24**0.5)
    assert torch.allclose(run("z_score", image).flatten(), expected, rtol=0, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(images(), st.floats(0, 40), st.floats(60, 100))
def test_percentiles_are_numpys(image, low, high):
    found = run("percentile", image, low=low, high=high).numpy()[:, 0]
    for one, got in zip(image.astype(np.float64), found, strict=True):
        a, b = np.percentile(one, [low, high])
        if b - a <= 1e-4:
            continue
        assert np.allclose(got, np.clip((one - a) / (b - a), 0, 1), atol=1e-3 / (b - a))


@settings(max_examples=50, deadline=None)
@given(images())
def test_batches_are_normalised_image_by_image_to_their_range(image):
    levels = torch.tensor([[5.0, 9.0], [0.0, 255.0], [20.0, 40.0]])
    for kind in KINDS:
        found = run(kind, image, levels)
        assert found.shape == (3, 1, 5, 5)
        assert found.dtype == torch.float32
        assert found.isfinite().all()
        for i in range(3):
            alone = run(kind, image[i : i + 1], levels[i : i + 1])
            assert torch.allclose(alone[0], found[i], atol=1e-6)
        if kind != "z_score":
            assert Normalisation(kind=kind).bounded
            assert (found >= 0).all()
            assert (found <= 1).all()
        elif np.ptp(image[0]):
            assert abs(found[0].mean()) < 1e-5
            assert abs(found[0].std(correction=0) - 1) < 1e-4


@pytest.mark.parametrize("grey", [0, 7, 255])
def test_constant_images_become_zeros(grey):
    image = np.full((2, 4, 4), grey, np.uint8)
    for kind in ("min_max", "percentile", "z_score"):
        assert torch.equal(run(kind, image), torch.zeros(2, 1, 4, 4))
    assert torch.allclose(run("none", image), torch.full((2, 1, 4, 4), grey / 255))


def test_percentiles_that_coincide_leave_a_faint_spot_visible():
    image = np.zeros((1, 20, 20), np.uint8)
    image[0, 3, 3] = 200
    found = run("percentile", image)
    assert found[0, 0, 3, 3] == 1
    assert found.sum() == 1


def test_large_constant_images_become_zeros_too():
    # Sums beyond 2²⁴ are rounded: the mean of a constant image is not its grey level any more.
    image = np.full((1, 700, 700), 77, np.uint8)
    assert not run("z_score", image).any()


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "minmax"},
        {"low": 50, "high": 50},
        {"high": 101},
        {"low": -1},
        {"low": float("nan")},
    ],
)
def test_errors(given):
    with pytest.raises(Hep2ganError) as error:
        Normalisation(**given)
    assert error.value.fix
