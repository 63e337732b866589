from itertools import product

import numpy as np
import pytest
from scipy.stats import wilcoxon
from statsmodels.stats.contingency_tables import mcnemar as reference
from statsmodels.stats.multitest import multipletests

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.significance import holm, mcnemar, sign_flip_test


def test_mcnemar_of_a_paper():
    # Fagerland, Lydersen, Laake, BMC Medical Research Methodology 13:91, 2013: 1 and 7 discordant.
    assert mcnemar(1, 7) == mcnemar(7, 1) == 18 / 256


@pytest.mark.parametrize("pair", [(0, 3), (12, 9), (86, 150), (40, 41)])
def test_mcnemar_against_statsmodels(pair):
    expected = reference([[50, pair[0]], [pair[1], 60]], exact=True).pvalue
    assert mcnemar(*pair) == pytest.approx(expected)


def test_mcnemar_without_discordant_cells():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    with pytest.raises(Hep2ganError):
        mcnemar(-1, 2)


def test_three_images_of_the_paper_prove_nothing():
    # 1,335 and 1,332 of 1,360: at the very best three cells against none.
    assert mcnemar(3, 0) == 0.25


@pytest.mark.parametrize("seed", range(5))
def test_holm_against_statsmodels(seed):
    p = np.random.default_rng(seed).beta(0.4, 2, size=7)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([]) == []


def all_signs(differences):
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    return np.mean(np.array(sums) >= abs(sum(differences)) - 1e-9)


def test_sign_flips_by_all_signs():
    differences = np.array([3, 1, -2, 0, 4, 2.5, 0, 1])
    assert sign_flip_test(differences) == all_signs([3, 1, -2, 4, 2.5, 1])
    assert sign_flip_test(np.array([1.0, 2, 4])) == 0.25
    assert sign_flip_test(np.array([5.0, 0])) == sign_flip_test(np.zeros(9)) == 1.0


def test_sign_flips_of_ranks_are_wilcoxons():
    ranks = np.arange(1, 11) * np.array([1, 1, 1, -1, 1, 1, -1, 1, 1, 1])
    assert sign_flip_test(ranks.astype(float)) == pytest.approx(
        wilcoxon(ranks, method="exact").pvalue
    )


def test_random_signs_come_close_and_are_seeded():
    differences = np.random.default_rng(0).normal(0.5, 1, 18)
    found = sign_flip_test(differences, seed=4)
    assert found == pytest.approx(all_signs(differences), abs=0.01)
    assert found == sign_flip_test(differences, seed=4)


def test_cells_of_one_specimen_are_no_many_observations():
    # 30 cells gained, all in one specimen.
    assert mcnemar(30, 0) < 1e-8
    assert sign_flip_test(np.array([30.0] + 20 * [0.0])) == 1.0
