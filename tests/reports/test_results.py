from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import TestCells, check_same_target, group_methods, pool
from hep2gan.reports.tables.estimates import pair_results
from hep2gan.statistics.classification import sum_by_group
from tests.helpers.made_up_results import cells, result
from tests.helpers.report_fixtures import make_predictions, some_rows


def test_folds_and_seeds_are_one_method_and_rows_stand_in_the_papers_order():
    one = cells(range(4), [1, 1, 0, 1])
    names = ["mine", "proposed,split.fold=1", "without_gm", "proposed,split.fold=0,loss.beta=5"]
    names += ["proposed,split.fold=0", "gao,split=specimen"]
    found = group_methods([result(name, one) for name in names])
    assert [method.name for method in found] == [
        "gao,split=specimen",
        "without_gm",
        "proposed",
        "proposed,loss.beta=5",
        "mine",
    ]
    assert len(found[2].results) == 2
    assert found[0].published.metrics["test/accuracy"] == 0.9676
    assert found[4].published is None


def of_intensity(name):
    run, tested = result(name, cells(range(4), [1, 1, 0, 1]))
    return result(name, tested)._replace(
        run=replace(run, config=run.config | {"target": "intensity"})
    )


def test_the_paper_has_no_results_of_intensities():
    (method,) = group_methods([of_intensity("proposed")])
    assert method.published is None


def test_runs_of_two_targets_are_refused():
    pattern, intensity = result("m", cells(range(4), [1] * 4)).run, of_intensity("n").run
    check_same_target([pattern, pattern])
    check_same_target([intensity, intensity])
    fact = "runs/s/m/seed0 has target=pattern and runs/s/n/seed0 target=intensity"
    with pytest.raises(Hep2ganError, match=fact):
        check_same_target([pattern, pattern, intensity])


def test_folds_of_a_seed_are_pooled_and_seeds_come_in_order():
    parts = [
        result("m", cells(range(10, 14), [1] * 4), seed="10"),
        result("m,split.fold=1", cells(range(4, 9), [0] * 5), seed="2", folds=2, fold=1),
        result("m,split.fold=0", cells(range(3), [1, 0, 1]), seed="2", folds=2, fold=0),
    ]
    (method,) = group_methods(parts)
    assert list(method.tests) == ["2", "10"]
    assert sorted(method.tests["2"].id) == [f"{n:05d}" for n in (0, 1, 2, 4, 5, 6, 7, 8)]
    assert len(method.cells) == 12
    assert [part.run.fold for part in parts] == [None, 1, 0]


def test_a_cell_counts_once_as_its_first_test_has_it():
    found = pool([cells([0, 1], [1, 1]), cells([1, 2], [0, 0])])
    assert found.id.tolist() == ["00000", "00001", "00002"]
    assert (found.predicted == found.label).tolist() == [True, True, False]
    with pytest.raises(Hep2ganError, match="classes or image size"):
        pool([cells([0], [1]), three_classes()])


def three_classes():
    return TestCells.from_predictions(make_predictions(counts=(1, 1, 1)))


def test_predictions_lose_their_images_alone(predictions, replace):
    found = TestCells.from_predictions(predictions)
    np.testing.assert_array_equal(found.predicted, predictions.predicted)
    np.testing.assert_array_equal(found.dice, predictions.dice)
    a, b = predictions.mask[3] >= 128, predictions.truth[3] == 1
    assert found.jaccard[3] == pytest.approx((a & b).sum() / (a | b).sum())
    assert found.specimens == 0
    less = TestCells.from_predictions(replace(predictions, mask=None, probabilities=None))
    assert less.dice is less.jaccard is less.predicted is None


def pair(first, second, **keywords):
    return pair_results(group_methods(first)[0], group_methods(second)[0], **keywords)


def test_pairs_are_of_one_seed_and_fold():
    first = [
        result("a", cells(range(6), [1, 1, 1, 1, 0, 0]), seed="0"),
        result("a", cells(range(4, 10), [1] * 6), seed="1"),
    ]
    second = [
        result("b", cells(range(2, 6), [1, 0, 1, 0]), seed="0"),
        result("b", cells(range(5, 9), [0, 0, 1, 1]), seed="1"),
        result("b", cells(range(9), [0] * 9), seed="7"),
    ]
    found = pair(first, second)
    # 2 to 5 at seed 0, where 3 is gained and 4 is lost; 5 to 8 at seed 1, where 5, 6 are gained.
    for side in (found.first, found.second):
        assert [one.id.tolist() for one in side] == [
            [f"{n:05d}" for n in range(2, 6)], [f"{n:05d}" for n in range(5, 9)],
        ]  # fmt: skip
    assert found.gained.tolist() == [0, 1, -1, 0, 1, 1, 0, 0]
    assert (len(found.each), found.each.specimens) == (7, 2)
    assert found.discordant == (3, 1)
    gap = found.differences["accuracy"]
    assert (gap.seeds, gap.few) == (2, (0, 2))
    assert gap.estimate == pytest.approx((0 + 2 / 4) / 2)


def test_a_cell_of_several_seeds_counts_once_for_the_method_of_more():
    first = [result("a", cells(range(4), named), seed=str(k)) for k, named in enumerate(
        ([0, 0, 1, 1], [1, 0, 1, 0], [1, 1, 1, 0]))]  # fmt: skip
    second = [result("b", cells(range(4), [0, 1, 1, 1]), seed=str(k)) for k in range(3)]
    found = pair(first, second)
    # Cell 0: 0, 1, 1 more. Cell 1: 1, 1, 0 less. Cell 2: alike. Cell 3: 0, 1, 1 less.
    assert found.discordant == (1, 2)
    assert len(found.each) == 4
    gap = found.differences["accuracy"].estimate
    assert gap == pytest.approx(((-1 + -1 + 0) / 4) / 3)


def test_p_of_mean_class_accuracy_weighs_cells_by_their_class():
    ids = np.arange(60)
    tested = cells(ids, ids >= 0, per_specimen=6).rows(np.r_[0:60:6, 1:60:12])
    assert np.bincount(tested.label).tolist() == [10, 5]
    # The first misses four of ten of class 0, the second all five of class 1.
    tested.predicted[np.flatnonzero(tested.label == 0)[:4]] = 1
    lost = replace(tested, predicted=np.zeros(15, np.int64))
    found = pair([result("a", tested)], [result("b", lost)])
    assert found.discordant == (5, 4)
    gap = found.differences["mean_class_accuracy"]
    assert gap.estimate == pytest.approx((1 - 0.4) / 2)
    gained = np.where(tested.label == 1, 1.0, -1.0 * (tested.predicted == 1))
    means = np.array([gained[tested.label == label].mean() for label in (0, 1)])
    sizes = np.bincount(tested.label)
    influence = (gained - means[tested.label]) / sizes[tested.label] / 2
    sums = sum_by_group(tested.specimen, influence)
    variance = len(sums) / (len(sums) - 1) * (sums**2).sum()
    expected = 2 * stats.t.sf(0.3 / variance**0.5, len(sums) - 1)
    assert gap.p == pytest.approx(expected)


def test_a_run_without_folds_is_no_fold():
    folded = [result("a,split.fold=0", cells(range(4), [1] * 4), folds=2, fold=0)]
    assert "same seed and fold" in pair(folded, [result("b", cells(range(4), [0] * 4))])


def test_of_two_runs_of_one_seed_the_first_counts():
    first = [result("a", cells(range(4), named)) for named in ([1, 1, 1, 1], [0, 0, 0, 0])]
    second = [result("b", cells(range(4), [1, 1, 1, 0]))]
    assert pair(first, second).discordant == (1, 0)


def test_other_folds_are_paired_only_on_demand():
    first = [result("a,split.fold=0", cells(range(4), [1] * 4), folds=2, fold=0)]
    second = [result("b,split.fold=1", cells(range(4), [0] * 4), folds=2, fold=1)]
    assert "no cell is tested by both under the same seed and fold" in pair(first, second)
    assert pair(first, second, by_fold=False).discordant == (4, 0)


def test_what_cannot_be_paired_is_said():
    one = cells(range(4), [1] * 4)
    assert "same seed" in pair([result("a", one)], [result("b", cells(range(5, 9), [1] * 4))])
    assert "same seed" in pair([result("a", one)], [result("b", one, seed="1")])
    other = one.rows(np.arange(4))
    other.crop_size[2] += 1
    assert "different cells" in pair([result("a", one)], [result("b", other)])
    with pytest.raises(Hep2ganError, match="no classifier"):
        _ = pair([result("a", one)], [result("b", cells(range(4), [1] * 4, classify=False))]).gained


def test_folds_become_one_test_set_and_each_cell_is_there_once(predictions):
    first, second = some_rows(predictions, slice(0, 40)), some_rows(predictions, slice(30, 62))
    second = replace(second, mask=255 - second.mask)
    found = pool([first, second])
    found.check()
    assert found.id.tolist() == predictions.id.tolist()
    np.testing.assert_array_equal(found.mask[:40], predictions.mask[:40])
    np.testing.assert_array_equal(found.mask[40:], 255 - predictions.mask[40:])
    np.testing.assert_array_equal(found.probabilities, predictions.probabilities)


def test_what_belongs_to_one_training_is_not_joined(predictions):
    found = pool([some_rows(predictions, slice(0, 40)), some_rows(predictions, slice(40, 62))])
    assert found.features is found.mean_mask is found.train_counts is None
    assert pool([predictions]) is predictions


def test_what_one_fold_lacks_none_has(predictions):
    bare = replace(some_rows(predictions, slice(40, 62)), mask=None)
    assert pool([some_rows(predictions, slice(0, 40)), bare]).mask is None


def test_other_classes_or_sizes_are_refused(predictions):
    other = replace(predictions, classes=tuple("abcdef"))
    with pytest.raises(Hep2ganError, match="classes or image size"):
        pool([predictions, other])
    smaller = replace(predictions, image=predictions.image[:, :32, :32])
    with pytest.raises(Hep2ganError, match="classes or image size"):
        pool([predictions, smaller])
