"""What finds the cells of a field: the protocol of its classes."""

from typing import Protocol

from hep2gan.data.fields.regions import Labels
from hep2gan.data.readers.image import GreyImage


class CellFinder(Protocol):
    """Find the cells of fields; a class of one's own follows it, named by `cells._target_`."""

    def find(self, image: GreyImage, diameter: float | None) -> Labels:
        """Find the cells of one field.

        Args:
            image: float32 (h, w) grey levels on the 0 to 255 scale.
            diameter: Usual diameter of a cell's mask in px; None if it is not known.

        Returns:
            int32 (h, w) label image; zeros alone where there is no cell.
        """
