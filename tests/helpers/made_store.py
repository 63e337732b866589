"""Stores made in memory, for tests that need no files."""

from pathlib import Path

import numpy as np

from hep2gan.data.store.store import Store

PUBLISHED = (2494, 2831, 2598, 2741, 2208, 724)
"""Cells per class of the full set."""


def made_store(
    label,
    *,
    specimen=None,
    intensity=None,
    part=None,
    digest=None,
    ids=None,
    classes=None,
    size=8,
    image=None,
    mask=None,
    levels=None,
    seed=0,
    fingerprint="0123456789abcdef" * 4,
):
    """A store of len(label) cells, random wherever nothing is given."""
    label = np.asarray(label, np.int64)
    n, rng = len(label), np.random.default_rng(seed)
    classes = classes or tuple("ABCDEFGHIJ"[: int(label.max(initial=-1)) + 1])
    if image is None:
        image = rng.integers(0, 256, (n, size, size), dtype=np.uint8)
    if mask is None:
        mask = rng.integers(0, 2, (n, size, size), dtype=np.uint8)
    if levels is None:
        levels = np.sort(rng.uniform(0, 255, (n, 2)), axis=1)
    return Store(
        path=Path("made"),
        classes=classes,
        size=size,
        fingerprint=fingerprint,
        manifest={},
        image=image,
        mask=mask,
        label=label,
        specimen=np.full(n, -1) if specimen is None else np.asarray(specimen, np.int64),
        levels=np.asarray(levels, np.float32),
        crop_size=np.full((n, 2), size),
        intensity=np.asarray(np.full(n, -1) if intensity is None else intensity, np.int8),
        part=np.full(n, -1, np.int8) if part is None else np.asarray(part, np.int8),
        digest=rng.integers(0, 256, (n, 16), np.uint8) if digest is None else digest,
        id=np.asarray([f"{i + 1:05d}" for i in range(n)] if ids is None else ids, np.str_),
        specimen_names=np.asarray([], np.str_),
    )


def published_store(**changes):
    """13,596 cells of the published classes, with the specimen that is in the set twice."""
    label = np.repeat(np.arange(6), PUBLISHED)
    rng = np.random.default_rng(7)
    digest = rng.integers(0, 256, (len(label), 16), np.uint8)
    digest[11198:11392] = digest[11004:11198]
    specimen = [
        100 * k + np.sort(rng.integers(0, count, cells))
        for k, (cells, count) in enumerate(zip(PUBLISHED, (16, 16, 16, 16, 15, 4), strict=True))
    ]
    given = {"specimen": np.concatenate(specimen), "digest": digest, "size": 1} | changes
    return made_store(label, **given)
