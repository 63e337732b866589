import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures.cells import confident_errors, lowest_dice, typical_cells


@pytest.fixture
def scored(predictions, replace):
    """Seven cells of three classes whose Dice is known: overlap k of two 6-pixel masks is k/6."""
    truth = np.zeros((7, 4, 8), np.uint8)
    truth[:, 1, :6] = 1
    mask = np.zeros((7, 4, 8), np.uint8)
    for row, overlap in enumerate((5, 2, 6, 3, 3, 1, 0)):
        mask[row, 1, :overlap] = 128
        mask[row, 2, : 6 - overlap] = 255
        mask[row, 3] = 127
    return replace(
        predictions,
        classes=("a", "b", "c"),
        id=np.array(list("tuvwxyz")),
        specimen=np.full(7, -1),
        label=np.array([0, 0, 0, 0, 2, 2, 2]),
        image=truth,
        truth=truth,
        mask=mask,
        crop_size=np.full((7, 2), 9),
        probabilities=None,
        features=None,
        train_counts=None,
    )


def test_dice_counts_foreground_from_128_on(scored):
    np.testing.assert_allclose(scored.dice, np.array([5, 2, 6, 3, 3, 1, 0]) / 6)


def test_dice_of_two_empty_masks_is_one(scored, replace):
    nothing = np.zeros_like(scored.truth)
    assert replace(scored, truth=nothing, mask=nothing).dice.tolist() == [1.0] * 7


def test_dice_needs_masks(scored, replace):
    for less in (replace(scored, mask=None), replace(scored, truth=None)):
        assert less.dice is None
        assert lowest_dice(less, 4) == []


def test_typical_cells_without_true_masks_are_of_median_size(scored, replace):
    mask = np.zeros_like(scored.mask)
    for row, side in enumerate((1, 2, 3, 0, 1, 2, 3)):
        mask[row, :side] = 255
    size = mask.mean(axis=(1, 2))
    chosen = typical_cells(replace(scored, truth=None, mask=mask))
    for label, row in chosen.items():
        of_class = np.sort(size[scored.label == label])
        assert size[row] == of_class[(len(of_class) - 1) // 2]
    assert chosen
    assert typical_cells(replace(scored, truth=None, mask=None)) == {}


def test_the_typical_cell_is_the_lower_median_and_absent_classes_have_none(scored):
    assert typical_cells(scored) == {0: 3, 2: 5}


def test_without_generator_the_typical_cell_is_of_median_size(scored, replace):
    truth = scored.truth.copy()
    for row, size in enumerate((8, 1, 4, 3, 2, 7, 5)):
        truth[row] = 0
        truth[row, 1, :size] = 1
    chosen = typical_cells(replace(scored, truth=truth, mask=None))
    assert chosen == {0: 3, 2: 6}


def test_lowest_dice_worst_first_ties_in_order(scored):
    assert lowest_dice(scored, 4) == [6, 5, 1, 3]


def test_confident_errors_are_wrong_and_sorted_by_confidence(scored, replace):
    odds = [[9, 1, 0], [1, 8, 1], [0, 6, 4], [1, 0, 9], [0, 0, 1], [5, 3, 2], [1, 0, 9]]
    shares = np.array([np.array(row) / sum(row) for row in odds], np.float32)
    assert confident_errors(replace(scored, probabilities=shares), 3) == [3, 1, 2]
    assert confident_errors(replace(scored, probabilities=shares), 9) == [3, 1, 2, 5]
    with pytest.raises(Hep2ganError):
        confident_errors(scored, 3)
