"""The words of the field: staining patterns of the ICPR 2016 set, and a batch of cells."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Cells on their way through the networks.

    image: float32 (B, 1, H, W), normalised. mask: float32 (B, 1, H, W) of {0, 1}.
    label: int64 (B,). rows: int64 (B,), their places in the store.
    """

    image: Tensor
    mask: Tensor
    label: Tensor
    rows: Tensor
