"""The training input as other libraries have it: torchvision's way of a sample, MONAI's cache."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
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
                v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.float32}),
                v2.Resize([size, size]),
                Stretch(),
            ]
        )

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, int]:
        cell = self.cells[place]
        image, mask = tv_tensors.Image(_read(cell.image)), tv_tensors.Mask(_read(cell.mask) // 255)
        image, mask = self.transform(image, mask)
        return image, mask, cell.label


def _read(path: Path) -> Tensor:
    # With Pillow: torchvision's own decoders are deprecated.
    with Image.open(path) as image:
        return v2.functional.pil_to_tensor(image)  # type: ignore[no-any-return]


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
    cells: Sequence[CellFiles], size: int, batch_size: int, *, metadata: bool, flips: float = 0.5
) -> Callable[[], Iterator[Any]]:
    """Passes of batches {image, mask, label} from memory, as MONAI's guide to fast training has it.

    All that is not random is cached, and a thread makes the batches. metadata: tensors carry what
    was done to them, which is MONAI's default; its guide leaves that out for speed. Raises
    Hep2ganError without MONAI.
    """
    try:
        from monai import transforms
        from monai.data.dataset import CacheDataset
        from monai.data.meta_obj import set_track_meta
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
        transforms.EnsureTyped(both, dtype=torch.float32),
        transforms.RandFlipd(both, prob=flips, spatial_axis=1),
        transforms.RandFlipd(both, prob=flips, spatial_axis=0),
    ]
    set_track_meta(metadata)
    items = [
        {"image": str(cell.image), "mask": str(cell.mask), "label": cell.label} for cell in cells
    ]
    cached = CacheDataset(items, transforms.Compose(steps), num_workers=2, progress=False)
    loader = ThreadDataLoader(
        cached, batch_size=batch_size, shuffle=flips > 0, drop_last=True, num_workers=0
    )

    def batches() -> Iterator[Any]:
        # A setting of the whole process, read whenever a cell is changed.
        set_track_meta(metadata)
        yield from loader

    return batches
