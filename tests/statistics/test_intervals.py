import pytest
from statsmodels.stats.proportion import proportion_confint

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.significance import wilson


def test_the_papers_accuracy():
    low, high = wilson(1335, 1360)
    assert (round(low, 4), round(high, 4)) == (0.9730, 0.9875)


@pytest.mark.parametrize("successes", [0, 1, 7, 29, 30])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_against_statsmodels(successes, confidence):
    expected = proportion_confint(successes, 30, alpha=1 - confidence, method="wilson")
    assert wilson(successes, 30, confidence) == pytest.approx(expected)


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


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_newcombes_examples(successes, n, low, high):
    # R. G. Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)
