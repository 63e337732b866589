"""Values that no packed store holds, however right its fingerprint is."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hep2gan.data.store.store import Store


def wrong_values(store: "Store") -> list[str]:
    """Say which arrays hold values outside their range; reads them all. See `Store` for ranges."""
    specimens = len(store.specimen_names)
    wrong = {
        "label": _outside(store.label, 0, len(store.classes) - 1),
        "mask": _outside(store.mask, 0, 1),
        "specimen": _outside(store.specimen, -1, specimens - 1),
        "intensity": _outside(store.intensity, -1, 1),
        "part": _outside(store.part, -1, 2),
        "crop_size": bool((store.crop_size < 1).any()),
        "levels": not np.isfinite(store.levels).all() or bool(np.diff(store.levels).min() < 0),
        "id": len(np.unique(store.id)) < len(store),
    }
    return [f"{name}.npy holds values that mean nothing" for name, found in wrong.items() if found]


def _outside(array: np.ndarray, low: int, high: int) -> bool:
    return int(array.min()) < low or int(array.max()) > high
