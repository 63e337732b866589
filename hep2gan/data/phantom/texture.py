"""What stains are made of: random fields, Gaussian blobs, and points that keep their distance."""

from typing import cast

import numpy as np
from scipy import ndimage

from hep2gan.data.phantom.nucleus import Image, Nucleus, Points


def random_field(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Image:
    """Sample a smooth Gaussian random field of zero mean and unit standard deviation.

    Args:
        rng: Source of the random numbers.
        shape: (h, w) in px.
        scale: Standard deviation of the smoothing in px.

    Returns:
        (h, w) values.
    """
    step = max(1, int(scale / 1.5))  # a coarser grid holds a smooth field as well, and is faster
    rough = tuple(-(-side // step) + 3 for side in shape)
    noise = rng.standard_normal(rough, dtype=np.float32)
    field: Image = ndimage.gaussian_filter(noise, scale / step, truncate=2.5, mode="wrap")
    field = (field - field.mean()) / (field.std() + np.float32(1e-6))
    if step == 1:
        return field[: shape[0], : shape[1]]
    return _enlarge(field, shape, step, rng.random(2))


def _enlarge(rough: Image, shape: tuple[int, int], step: int, shift: Points) -> Image:
    """Interpolate a coarse field at every pixel, linearly; separable."""
    rows = _interpolation_weights(shape[0], rough.shape[0], step, float(shift[0]))
    columns = _interpolation_weights(shape[1], rough.shape[1], step, float(shift[1]))
    return cast(Image, np.dot(np.dot(rows, rough), columns.T))


def _interpolation_weights(fine: int, rough: int, step: int, shift: float) -> Image:
    position = np.arange(fine) / step + shift
    away = np.abs(position[:, None] - np.arange(rough)[None, :]).astype(np.float32)
    return cast(Image, np.maximum(1 - away, 0))


def blobs(shape: tuple[int, int], centre: Points, sigma: Points, height: Points) -> Image:
    """Sum n round Gaussians.

    Args:
        shape: (h, w) in px.
        centre: (n, 2) centres (y, x) in px.
        sigma: (n,) standard deviations in px.
        height: (n,) values at the centres.

    Returns:
        (h, w) values.
    """
    y = np.arange(shape[0], dtype=np.float32)
    x = np.arange(shape[1], dtype=np.float32)
    at = centre.astype(np.float32)
    falloff = (-0.5 / sigma.astype(np.float32) ** 2)[:, None]
    rows = np.exp(falloff * (y - at[:, :1]) ** 2) * height.astype(np.float32)[:, None]
    columns = np.exp(falloff * (x - at[:, 1:]) ** 2)
    return rows.T @ columns


def sample_spaced_points(
    rng: np.random.Generator, nucleus: Nucleus, count: int, *, rho: float, apart: float
) -> Points:
    """Sample points inside a nucleus that keep a distance from each other.

    Args:
        rng: Source of the random numbers.
        nucleus: The nucleus.
        count: Largest number of points.
        rho: Normalised radius that contains them; 1 is the outline.
        apart: Least distance in px.

    Returns:
        (n, 2) points (y, x) in px of the canvas, 1 ≤ n ≤ count; fewer if there is no more room.
    """
    candidates = nucleus.sample_points(rng, rho, 4 * count + 8)
    y, x = candidates.T
    close = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2 < apart**2
    blocked = np.zeros(len(candidates), dtype=bool)
    kept: list[int] = []
    for index in range(len(candidates)):
        if not blocked[index]:
            kept.append(index)
            blocked |= close[index]
    return candidates[kept[:count]]


def lognormal(rng: np.random.Generator, median: float, sd: float) -> float:
    """Sample a log-normal number: median·exp(sd·N(0, 1)).

    Args:
        rng: Source of the random numbers.
        median: Its median.
        sd: Standard deviation of its logarithm.

    Returns:
        The number.
    """
    return float(median * np.exp(sd * rng.standard_normal()))


def nucleoli_holes(rng: np.random.Generator, nucleus: Nucleus, depth: tuple[float, float]) -> Image:
    """Sample one to four unstained nucleoli.

    Args:
        rng: Source of the random numbers.
        nucleus: The nucleus.
        depth: Interval of their depth, 0 to 1.

    Returns:
        (h, w) factor of the stain.
    """
    count = int(rng.integers(1, 5))
    centre = sample_spaced_points(rng, nucleus, count, rho=0.75, apart=8)
    sigma = rng.uniform(2.2, 4.2, len(centre))
    dark = blobs(nucleus.shape, centre, sigma, rng.uniform(*depth, len(centre)))
    return 1 - np.minimum(dark, depth[1])
