"""The training input as other libraries have it: torchvision's way of a sample, MONAI's cache."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from hep2gan.errors import Hep2ganError


class CellFiles(NamedTuple):
    """One cell as it lies on disk, and its class."""

    image: Path
    mask: Path
    label: int


class Stretch(torch.nn.Module):
    """An image's darkest to brightest pixel becomes 0 to 1."""

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Stretch the image, leave the mask."""
        low, high = image.aminmax()
        return (image - low) / (high - low).clamp(min=1e-6), mask


class PerSample(Dataset[tuple[Tensor, Tensor, int]]):
    """Reads, changes and normalises one cell at a time, as torchvision's documentation has it.

    flips: odds of each. What is cheaper on the smaller crop comes before resizing.
    """

    def __init__(self, cells: Sequence[CellFiles], size: int, flips: float = 0.5) -> None:
        self.cells = cells
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(flips),
                v2.RandomVerticalFlip(flips),
                v2.ToDtype(torch.float32),
                v2.Resize([size, size]),
                Stretch(),
            ]
        )

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, int]:
        cell = self.cells[place]
        image = tv_tensors.Image(decode_image(str(cell.image), ImageReadMode.GRAY))
        mask = tv_tensors.Mask(decode_image(str(cell.mask), ImageReadMode.GRAY) / 255)
        image, mask = self.transform(image, mask)
        return image, mask, cell.label


def torchvision_loader(
    cells: Sequence[CellFiles], size: int, batch_size: int, *, workers: int, flips: float = 0.5
) -> Iterable[Any]:
    """Batches [image (B, 1, S, S), mask (B, 1, S, S), label (B,)]; the workers stay."""
    return DataLoader(
        PerSample(cells, size, flips),
        batch_size=batch_size,
        shuffle=flips > 0,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def monai_loader(
    cells: Sequence[CellFiles], size: int, batch_size: int, *, flips: float = 0.5
) -> Iterable[Any]:
    """Batches {image, mask, label} from memory, as MONAI's guide to fast training has it.

    All that is not random is cached, tensors carry no metadata, and a thread makes the batches.
    Raises Hep2ganError without MONAI.
    """
    try:
        from monai import transforms
        from monai.data.dataset import CacheDataset
        from monai.data.thread_buffer import ThreadDataLoader
    except ImportError as error:
        raise Hep2ganError(
            "MONAI is not installed",
            "the training input is measured against it",
            'pip install "hep2gan[benchmarks]"',
        ) from error
    both = ["image", "mask"]
    steps = [
        transforms.LoadImaged(both, reader="PILReader", ensure_channel_first=True),
        # MONAI's first axis is x.
        transforms.Transposed(both, (0, 2, 1)),
        transforms.Resized(both, (size, size), mode=("bilinear", "nearest-exact")),
        transforms.ScaleIntensityd(both),
        transforms.EnsureTyped(both, dtype=torch.float32, track_meta=False),
        transforms.RandFlipd(both, prob=flips, spatial_axis=1),
        transforms.RandFlipd(both, prob=flips, spatial_axis=0),
    ]
    items = [
        {"image": str(cell.image), "mask": str(cell.mask), "label": cell.label} for cell in cells
    ]
    cached = CacheDataset(items, transforms.Compose(steps), num_workers=2, progress=False)
    loader: Iterable[Any] = ThreadDataLoader(
        cached, batch_size=batch_size, shuffle=flips > 0, drop_last=True, num_workers=0
    )
    return loader
