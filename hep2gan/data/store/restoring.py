"""From a stored cell back to the crop it was packed from."""

import numpy as np
from PIL import Image

from hep2gan.data.readers.images import Grey
from hep2gan.data.store.store import Store


def restored(store: Store, row: int) -> Grey:
    """The grey levels (h, w) of cell `row` at the size of its raw crop, whole numbers on 0..255.

    Exact for 8-bit crops of the stored size; at other sizes what two resizings leave of it.
    """
    low, high = store.levels[row].astype(np.float64)
    grey = (low + store.image[row] * ((high - low) / 255)).astype(np.float32)
    height, width = (int(side) for side in store.crop_size[row])
    resized = Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(resized, np.float32))
