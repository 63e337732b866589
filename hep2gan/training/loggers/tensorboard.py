"""Curves and figures for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from hep2gan.runs.predictions import Predictions


class RunTensorBoardLogger(TensorBoardLogger):
    """Lightning's logger in the folder `tensorboard` of a run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="tensorboard", version="")

    def log_results(
        self, metrics: Mapping[str, float], figures: Mapping[str, Path], predictions: Predictions
    ) -> None:
        """Log metrics and figures of the test."""
        self.log_metrics(dict(metrics))
        for name, path in figures.items():
            pixels = np.asarray(Image.open(path).convert("RGB"))
            self.experiment.add_image(f"figure/{name}", pixels, dataformats="HWC")

    def finish(self, exit_code: int) -> None:
        """Write what is left; TensorBoard keeps no exit code."""
        self.finalize("success" if exit_code == 0 else "failed")
