"""cells=cellpose without its file or its extra: what is said."""

import sys

import numpy as np
import pytest

from hep2gan.data.fields.cellpose import CellposeFinder
from hep2gan.errors import Hep2ganError

BLANK = np.zeros((8, 8), np.float32)


@pytest.mark.parametrize("model", [None, "missing.model"])
def test_nothing_is_downloaded(model):
    with pytest.raises(Hep2ganError, match=r"downloads none.*cells\.model=FILE"):
        CellposeFinder(model=model).find(BLANK, None)


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cellpose.models", None)
    (tmp_path / "model").write_bytes(b"weights")
    with pytest.raises(Hep2ganError, match=r"pip install 'hep2gan\[cellpose\]'"):
        CellposeFinder(model=str(tmp_path / "model")).find(BLANK, 40.0)
