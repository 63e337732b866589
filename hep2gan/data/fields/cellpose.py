"""cells=cellpose: cells of a field by a Cellpose model that the user has saved."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from hep2gan.data.fields.regions import Labels
from hep2gan.data.readers.image import GreyImage
from hep2gan.errors import Hep2ganError
from hep2gan.settings import Settings, Text


class CellposeFinder(Settings):
    """Find cells with Cellpose (Stringer et al., Nature Methods 2021) and a model of one's own.

    Nothing is downloaded: without a file Cellpose would fetch weights, so that one is required.

    Args:
        model: File of the saved model, as Cellpose's training writes it; required.
        gpu: Run it on the GPU.
        flow_threshold: Largest error of the flows of a cell, Cellpose's `flow_threshold`.
        cellprob_threshold: Cellpose's `cellprob_threshold`; smaller values find more cells.
    """

    model: Text | None = None
    gpu: bool = False
    flow_threshold: Annotated[float, Field(ge=0)] = 0.4
    cellprob_threshold: Annotated[float, Field(ge=-10, le=10)] = 0.0

    def find(self, image: GreyImage, diameter: float | None) -> Labels:
        """Find the cells of one field; see `CellFinder`.

        Args:
            image: float32 (h, w) grey levels on the 0 to 255 scale.
            diameter: Usual diameter of a cell's mask in px; None for that of the model.

        Returns:
            int32 (h, w) label image; zeros alone where there is no cell.

        Raises:
            Hep2ganError: There is no model file, Cellpose is not installed, or cannot load it.
        """
        found = self._network.eval(
            image,
            diameter=diameter,
            flow_threshold=self.flow_threshold,
            cellprob_threshold=self.cellprob_threshold,
        )
        return np.asarray(found[0], np.int32)

    @cached_property
    def _network(self) -> Any:
        if self.model is None or not Path(self.model).is_file():
            raise Hep2ganError(
                f"cells.model is {self.model!r}",
                "cells=cellpose needs the file of a saved model, and downloads none",
                "set cells.model=FILE, or cells=threshold, which needs none",
            )
        try:
            # Slow, and an extra that most do without.
            from cellpose.models import CellposeModel
        except ImportError as error:
            raise Hep2ganError(
                f"cellpose cannot be imported ({error})",
                "cells=cellpose needs the extra cellpose",
                "pip install 'hep2gan[cellpose]', or set cells=threshold",
            ) from error
        try:
            return CellposeModel(gpu=self.gpu, pretrained_model=str(Path(self.model).resolve()))
        except Exception as error:
            raise Hep2ganError(
                f"{self.model} is no model that this Cellpose can load ({error})",
                "Cellpose loads the models of its own version",
                "give the model that its training saved, or set cells=threshold",
            ) from error
