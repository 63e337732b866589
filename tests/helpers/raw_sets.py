"""Small raw sets in the layouts that are in circulation, made of synthetic blobs."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hep2gan.data.patterns import ICPR2016
from hep2gan.data.readers.source import RawCell, RawCells

NAMES = tuple(pattern.name for pattern in ICPR2016)


def draw(number: int) -> tuple[np.ndarray, np.ndarray]:
    """One blob of 40–60 px and its mask of {0, 255}; no two numbers look alike."""
    rng = np.random.default_rng(number)
    h, w = (int(side) for side in rng.integers(40, 60, 2))
    y, x = np.mgrid[:h, :w]
    inside = ((y - h / 2) / (h / 2 - 8)) ** 2 + ((x - w / 2) / (w / 2 - 8)) ** 2 < 1
    image = rng.normal(20, 3, (h, w)) + inside * rng.integers(10, 90)
    return image.clip(0, 255).astype(np.uint8), (inside * 255).astype(np.uint8)


def write_pair(folder: Path, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image, mask = draw(number)
    Image.fromarray(image).save(folder / f"{number:05d}.png")
    Image.fromarray(mask).save(folder / f"{number:05d}_Mask.png")


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def flat(root: Path, count: int = 12, names: Sequence[str] = NAMES) -> Path:
    """Layout 1: cell n has class n·6 // count, odd cells are positive."""
    rows = []
    for n in range(1, count + 1):
        write_pair(root, n)
        bright = "positive" if n % 2 else "intermediate"
        rows.append([f"{n:05d}.png", f"{n:05d}_Mask.png", names[(n - 1) * 6 // count], bright])
    write_csv(root / "gt_training.csv", rows)
    return root


def headed(root: Path, count: int = 12, padded: bool = True) -> Path:
    """Layout 2, under any csv name."""
    rows: list[list[object]] = [["Image ID", "Image class"]]
    for n in range(1, count + 1):
        write_pair(root, n)
        rows.append([f"{n:05d}" if padded else n, NAMES[(n - 1) * 6 // count]])
    write_csv(root / "classes.csv", rows)
    return root


def folders(root: Path, count: int = 12) -> Path:
    """Layout 3."""
    for n in range(1, count + 1):
        write_pair(root / NAMES[(n - 1) * 6 // count], n)
    return root


# The layouts that data=folders and data=icpr2012 read. Cell n is `draw(n)`, its class n·K // count.

KINDS = ("AC-1", "fine speckled", "Rods")
SPLITS = ("train", "val", "test")


def save(array: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **({"quality": 75} if path.suffix == ".jpg" else {}))
    return path


def class_folders(
    root: Path,
    pattern: str,
    mask: str = "",
    count: int = 12,
    names: Sequence[str] = KINDS,
    suffix: str = ".png",
) -> Path:
    """Images, and masks if named, at paths such as {split}/{name}/{n:03d}; every fourth is val."""
    for n in range(1, count + 1):
        name = names[(n - 1) * len(names) // count]
        split = SPLITS[1 if n % 4 == 2 else 2 if n % 4 == 3 else 0]
        for template, array in zip((pattern, mask), draw(n), strict=True):
            if template:
                save(array, root / (template.format(n=n, name=name, split=split) + suffix))
    return root


def contest_2012(root: Path, count: int = 12, columns: Sequence[str] = ("ID", "pattern")) -> Path:
    """Crops and masks in Cells/, a table with semicolons, and a field as 24-bit BMP."""
    names = ("homogeneous", "fine_speckled", "coarse_speckled", "nucleolar", "centromere",
             "cytoplasmatic")  # fmt: skip
    lines = [";".join(columns)]
    for n in range(1, count + 1):
        for ending, array in zip(("", "_mask"), draw(n), strict=True):
            save(array, root / "Cells" / f"{n:03d}{ending}.png")
        values = {
            "ID": f"{n:03d}", "pattern": names[(n - 1) * 6 // count], "image": f"{1 + n // 4:02d}",
            "intensity": "positive" if n % 2 else "intermediate",
        }  # fmt: skip
        lines.append(";".join(values[column] for column in columns))
    (root / "cells.csv").write_text("\n".join(lines) + "\n")
    field = np.zeros((1038, 1388, 3), np.uint8)
    save(field, root / "Images" / "01" / "01.bmp")
    save(field[..., 0], root / "Images" / "01" / "01_mask.bmp")
    return root


def cells(root: Path, count: int = 12) -> RawCells:
    """Raw cells without a reader."""
    for n in range(1, count + 1):
        write_pair(root, n)
    found = [
        RawCell(
            f"{n:05d}",
            root / f"{n:05d}.png",
            root / f"{n:05d}_Mask.png",
            (n - 1) * 2 // count,
            specimen=n // 3,
            intensity=n % 2,
            part=n % 3,
        )
        for n in range(1, count + 1)
    ]
    specimens = tuple(f"s{k}" for k in range(count // 3 + 1))
    return RawCells(f"made in {root}", ("a", "b"), found, specimens=specimens)
