"""What speaks for the predicted class, and where: class activation maps beside the predictions."""

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.inference.predict import (
    BackendOutput,
    ExplainingBackend,
    InferenceBackend,
    TrainedModel,
    explaining,
)

_BLANK_LEVELS = np.array([[0, 255]], np.float32)


def explain_model(model: TrainedModel) -> TrainedModel:
    """Add maps of what speaks for the predicted class to what a model predicts.

    Args:
        model: The model, a run or several.

    Returns:
        The same model, whose output has `activation` too.

    Raises:
        Hep2ganError: It does not classify, it is a graph, or its classifier has no maps.
    """
    without = "leave overlays=cam out: overlays=true draws the outlines of masks"
    if not model.classes:
        raise Hep2ganError(
            "overlays is cam, and this method does not classify",
            "a class activation map shows what speaks for the predicted class",
            without,
        )
    backend = explaining(model.backend)
    blank = np.zeros((1, model.size, model.size), np.uint8)
    first = np.zeros(1, np.int64)
    if backend is None or backend.activation_maps(blank, _BLANK_LEVELS, first) is None:
        raise Hep2ganError(
            "overlays is cam, and a graph of ONNX is among the networks",
            "class activation maps need gradients, which a graph does not have",
            f"predict with the run that it was exported from, or {without}",
        )
    return model._replace(backend=_Explained(model.backend, backend))


class _Explained:
    """Networks that also map what speaks for the class that they predict."""

    def __init__(self, backend: InferenceBackend, explains: ExplainingBackend) -> None:
        self._backend, self._explains = backend, explains

    def __call__(
        self, image: npt.NDArray[np.uint8], levels: npt.NDArray[np.float32]
    ) -> BackendOutput:
        output = self._backend(image, levels)
        assert output.probabilities is not None  # explain_model has seen to it
        predicted = output.probabilities.argmax(axis=1).astype(np.int64)
        maps = self._explains.activation_maps(image, levels, predicted)
        return output._replace(activation=maps)
