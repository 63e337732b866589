"""Predict the cells of one field: each is cut out and goes through the networks, in batches."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.data.fields.regions import CellCrop, CellRegion, Labels, cut_cell, find_regions
from hep2gan.data.readers.image import ByteImage, GreyImage, resize, stretch
from hep2gan.inference.predict import (
    BackendOutput,
    InferenceBackend,
    bring_to_size,
    threshold_at_size,
)
from hep2gan.statistics.trust_rule import CellMeasures, TrustRule

Box = tuple[int, int, int, int]


class FieldResult(NamedTuple):
    """The n cells of a field and what the networks predict for them.

    Attributes:
        regions: The cells, in the order of their labels.
        boxes: Where each was cut out: top, left, bottom, right in px, with the margin.
        probabilities: (n, K) class probabilities, scaled; None without a classifier.
        distances: float32 (n, K) squared distances to the mixture's means; None without a mixture.
        masks: The generated mask of each cell, uint8 {0, 1} of the size of its box; None without a
            generator.
        spread: float32 (n,) how far members or views disagree; None of one network that looks once.
        activations: What speaks for the class of each cell and where, float32 in [0, 1] of the size
            of its box; None where nobody asks.
        trust: How the cells are measured.
    """

    regions: Sequence[CellRegion]
    boxes: Sequence[Box]
    probabilities: npt.NDArray[np.floating] | None
    distances: npt.NDArray[np.floating] | None
    masks: Sequence[ByteImage] | None
    spread: npt.NDArray[np.float32] | None = None
    activations: Sequence[GreyImage] | None = None
    trust: TrustRule = TrustRule()

    @property
    def predicted(self) -> npt.NDArray[np.int64] | None:
        """(n,) most probable classes; None without a classifier."""
        if self.probabilities is None:
            return None
        if not len(self.probabilities):
            return np.zeros(0, np.int64)
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    def measure(self) -> CellMeasures:
        """Measure how sure the classes are, and how near the cells are to the mixture's means."""
        return self.trust.measure(self.probabilities, self.distances)


class FieldPredictor:
    """Cut out the cells of fields as those of the training were, and predict them.

    Args:
        backend: The networks, with PyTorch or ONNX Runtime.
        classes: K class names, in the order of the probabilities; empty without a classifier.
        size: S, the side in pixels of the images that the networks take.
        margin: Pixels between a cell and the edge of its crop, as in the training.
        batch_size: Cells that the networks take at once.
        trust: How probabilities are scaled, and from which distance on a cell is unlike the
            training.

    Attributes:
        classes: The class names.
        trust: As given.
    """

    def __init__(
        self,
        backend: InferenceBackend,
        classes: Sequence[str],
        size: int,
        margin: int,
        batch_size: int = 64,
        trust: TrustRule = TrustRule(),  # noqa: B008, it cannot change
    ) -> None:
        self.classes, self.trust = tuple(classes), trust
        self._backend, self._size = backend, size
        self._margin, self._batch_size = margin, batch_size

    @cached_property
    def outputs(self) -> BackendOutput:
        """What the networks say of an empty picture, which shows what they say at all."""
        empty = np.zeros((1, self._size, self._size), np.uint8)
        return self._backend(empty, np.zeros((1, 2), np.float32))

    def predict_field(self, image: GreyImage, labels: Labels) -> FieldResult:
        """Predict all cells of one field.

        Args:
            image: float32 (h, w) grey levels on the 0 to 255 scale.
            labels: int32 (h, w) label image of its cells.

        Returns:
            The cells and their predictions.
        """
        regions = find_regions(labels)
        boxes: list[Box] = []
        masks: list[ByteImage] = []
        activations: list[GreyImage] = []
        # Of no cell, so that there is something to join where a field has none.
        outputs = [BackendOutput(*(None if part is None else part[:0] for part in self.outputs))]
        crops = (cut_cell(image, labels, region, self._margin) for region in regions)
        for batch, output in self._run(crops):
            boxes += [crop.box for crop in batch]
            if output.mask is not None:
                masks += [
                    threshold_at_size(probability, crop.image.shape)
                    for crop, probability in zip(batch, output.mask, strict=True)
                ]
            if output.activation is not None:
                activations += [
                    bring_to_size(values, crop.image.shape)
                    for crop, values in zip(batch, output.activation, strict=True)
                ]
            scaled = self.trust.scale(output.probabilities)
            outputs.append(output._replace(mask=None, activation=None, probabilities=scaled))
        return FieldResult(
            regions,
            boxes,
            _join([output.probabilities for output in outputs]),
            _join([output.distances for output in outputs]),
            None if self.outputs.mask is None else masks,
            _join([output.spread for output in outputs]),
            None if self.outputs.activation is None else activations,
            self.trust,
        )

    def _run(self, crops: Iterator[CellCrop]) -> Iterator[tuple[list[CellCrop], BackendOutput]]:
        while batch := list(islice(crops, self._batch_size)):
            stored = [stretch(resize(crop.image, self._size)) for crop in batch]
            pixels = np.stack([image for image, _ in stored])
            levels = np.array([level for _, level in stored], np.float32)
            yield batch, self._backend(pixels, levels)


def _join(parts: Sequence[npt.NDArray[np.floating] | None]) -> npt.NDArray[np.floating] | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if there else None
