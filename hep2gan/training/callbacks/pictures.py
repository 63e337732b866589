"""Pictures of a few cells with their outlines while a training goes on."""

from contextlib import ExitStack
from pathlib import Path

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from hep2gan.data.splits import Split
from hep2gan.data.store.store import Store
from hep2gan.reports.figures.overlay import draw_outlines
from hep2gan.training.callbacks.networks import CompileNetworks, ExponentialMovingAverage
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.loggers.course import save_picture
from hep2gan.training.module import SegmentationGuidedClassification

CELLS, SIDE = 8, 128
"""Cells of a picture, and the least side of each in pixels."""


class EpochPictures(Callback):
    """Log a picture of the same few cells every few epochs and after the last.

    The upper row is the images, the lower one the true outlines in green and the generated ones in
    purple. The networks are those that a validation would use. Pictures lie in `pictures` of the
    run's folder, from where a resumed run's dashboard gets them.

    Args:
        folder: The run's folder.
        data: The cells.
        every: Epochs between two pictures.
    """

    def __init__(self, folder: Path, data: CellDataModule, every: int) -> None:
        self._folder, self._data, self._every = folder, data, every
        part = "validation" if len(data.split.validation) else "training"
        self._rows = choose_cells(data.store, data.split)
        names = ", ".join(str(data.store.id[row]) for row in self._rows)
        self._caption = (
            f"{part} cells {names}: below, the true outline in green, the generated one in purple"
        )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Plot and log, on the first rank."""
        done = trainer.current_epoch + 1
        is_due = done % self._every == 0 or done == trainer.max_epochs
        if not trainer.is_global_zero or not is_due:
            return
        assert isinstance(pl_module, SegmentationGuidedClassification)
        image = compose_picture(self._data.store, self._rows, self._masks(trainer, pl_module))
        caption = f"After epoch {done}, {self._caption}"
        picture = save_picture(self._folder, trainer.current_epoch, image, caption)
        for logger in trainer.loggers:
            if log_picture := getattr(logger, "log_picture", None):
                log_picture(picture)

    @torch.no_grad()
    def _masks(
        self, trainer: L.Trainer, task: SegmentationGuidedClassification
    ) -> npt.NDArray[np.uint8]:
        store, data, generator = self._data.store, self._data, task.generator
        assert generator is not None
        store.check_not_truncated()
        stored, levels = (
            torch.from_numpy(np.array(array[self._rows])).to(task.device)
            for array in (store.image, store.levels)
        )
        image = data.normalisation(stored, levels).to(memory_format=data.format)
        modes = {module: module.training for module in generator.modules()}
        with ExitStack() as stack:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, CompileNetworks | ExponentialMovingAverage):
                    stack.enter_context(callback.evaluating())
            stack.enter_context(trainer.precision_plugin.forward_context())
            generator.eval()
            logits = generator(image)
        for module, mode in modes.items():
            module.training = mode
        masks: npt.NDArray[np.uint8] = (logits[:, 0] >= 0).to(torch.uint8).cpu().numpy()
        return masks


def choose_cells(store: Store, split: Split, count: int = CELLS) -> npt.NDArray[np.int64]:
    """Choose cells of the validation part, or of training where there is none, class by class.

    Args:
        store: The packed cells.
        split: Their split.
        count: How many at most.

    Returns:
        Rows of the store: the first cell of each class, then the second, until there are enough.
    """
    rows = np.sort(split.validation if len(split.validation) else split.train)
    labels = np.asarray(store.label[rows])
    rank = np.zeros(len(rows), np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    chosen: npt.NDArray[np.int64] = rows[np.lexsort((labels, rank))][:count]
    return chosen


def compose_picture(
    store: Store, rows: npt.NDArray[np.int64], masks: npt.NDArray[np.uint8]
) -> Image.Image:
    """Compose a picture of cells: their images above, their outlines below.

    Args:
        store: The packed cells.
        rows: Rows of the store (N,).
        masks: Their generated masks (N, S, S) of {0, 1}.

    Returns:
        The picture, N cells wide and two high.
    """
    columns = []
    for row, mask in zip(rows, masks, strict=True):
        image = np.asarray(store.image[row])
        truth = None if store.mask is None else np.asarray(store.mask[row])
        plain = draw_outlines(image, None, None, SIDE)
        columns.append(np.concatenate([plain, draw_outlines(image, truth, mask, SIDE)]))
    return Image.fromarray(np.concatenate(columns, axis=1))
