import pytest
from scipy.stats import binomtest

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.intervals import wilson


def test_the_papers_accuracy():
    low, high = wilson(1335, 1360)
    assert (round(low, 4), round(high, 4)) == (0.9730, 0.9875)


@pytest.mark.parametrize("successes", [0, 1, 7, 29, 30])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_against_scipy(successes, confidence):
    expected = binomtest(successes, 30).proportion_ci(confidence, method="wilson")
    assert wilson(successes, 30, confidence) == pytest.approx((expected.low, expected.high))


def test_ends():
    for n in range(1, 300):
        assert wilson(0, n)[0] == 0.0
        assert wilson(n, n)[1] == 1.0
        assert 0 < wilson(n, n)[0] < 1
        assert wilson(0, n)[1] == pytest.approx(1 - wilson(n, n)[0])


@pytest.mark.parametrize("bad", [(1, 0), (-1, 3), (4, 3), (1, 3, 0.0), (1, 3, 1.0)])
def test_refuses(bad):
    with pytest.raises(Hep2ganError):
        wilson(*bad)
