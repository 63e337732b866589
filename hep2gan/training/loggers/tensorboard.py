"""TensorBoard files in a run's folder."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from hep2gan.errors import Hep2ganError
from hep2gan.runs.predictions import Predictions
from hep2gan.training.loggers.course import Picture
from hep2gan.training.loggers.weights import LoggedWeights

FOLDER = "tensorboard"


def require_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        Hep2ganError: It is not.
    """
    if find_spec("tensorboard") is None:
        raise Hep2ganError(
            "logger=tensorboard, but TensorBoard is not installed",
            "",
            'pip install "hep2gan[tensorboard]"',
        )


class RunTensorBoardLogger(TensorBoardLogger):
    """Lightning's logger in the folder `tensorboard` of a run.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name=FOLDER, version="")

    def log_picture(self, picture: Picture) -> None:
        """Log the picture of an epoch.

        Args:
            picture: A picture of a few cells.
        """
        self._add_image("pictures/epochs", picture.path, picture.epoch)

    def log_alarm(self, kind: str, text: str) -> None:
        """Log an alarm as a text.

        Args:
            kind: Its kind.
            text: A sentence.
        """
        self.experiment.add_text(f"alarm/{kind}", text)

    def log_results(
        self, metrics: Mapping[str, float], figures: Mapping[str, Path], predictions: Predictions
    ) -> None:
        """Log metrics and figures of the test.

        Args:
            metrics: The flat metrics.
            figures: PNG files by name.
            predictions: Not used.
        """
        self.log_metrics(dict(metrics))
        for name, path in figures.items():
            self._add_image(f"figure/{name}", path, 0)

    def _add_image(self, name: str, path: Path, step: int) -> None:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        self.experiment.add_image(name, pixels, step, dataformats="HWC")

    def log_weights(self, weights: LoggedWeights) -> None:
        """TensorBoard keeps no files.

        Args:
            weights: Not used.
        """

    def finish(self, exit_code: int) -> None:
        """Write what is still buffered; TensorBoard keeps no exit code.

        Args:
            exit_code: 0 for a finished run.
        """
        self.finalize("success" if exit_code == 0 else "failed")
