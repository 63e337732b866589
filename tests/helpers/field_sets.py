"""Small sets of labelled fields: bright discs on a dark ground, and their label images."""

from pathlib import Path

import numpy as np

from tests.helpers.raw_sets import save, write_csv

SHAPE = (90, 120)
CENTRES = ((22, 24), (22, 64), (60, 30), (62, 86), (40, 112))
"""Of the discs, of radius 11; the last one is cut by the right border."""


def field(seed: int, cells: int = len(CENTRES)) -> tuple[np.ndarray, np.ndarray]:
    """uint8 image and uint16 label image; no two seeds look alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image, labels = rng.normal(20, 3, SHAPE), np.zeros(SHAPE, np.uint16)
    for number, (row, column) in enumerate(CENTRES[:cells], 1):
        inside = (y - row) ** 2 + (x - column) ** 2 <= 11**2
        labels[inside] = number
        image += inside * (rng.integers(60, 160) + x - column)
    return image.clip(0, 255).astype(np.uint8), labels


def labelled_fields(root: Path, count: int = 4, ending: str = "_labels") -> Path:
    """Fields 00001_p0.png … two a specimen, classes a and b by turns of the specimens."""
    rows = [["image", "specimen", "label", "intensity"]]
    for n in range(count):
        specimen, name = n // 2, f"{n // 2 + 1:05d}_p{n % 2}"
        image, labels = field(n)
        save(image, root / f"{name}.png")
        save(labels, root / f"{name}{ending}.png")
        rows.append([f"{name}.png", f"s{specimen}", "ab"[specimen % 2], "positive"])
    write_csv(root / "fields.csv", rows)
    return root
