import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from hep2gan.statistics.significance import holm


@pytest.mark.parametrize("seed", range(5))
def test_holm_against_statsmodels(seed):
    p = np.random.default_rng(seed).beta(0.4, 2, size=7)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([]) == []
