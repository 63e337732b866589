import dataclasses

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from hep2gan.reports.tables.classes import CLASS_MEASURES, classes_table
from hep2gan.statistics.classification import scores_by_class
from tests.helpers.made_up_results import cells, read_csv, read_markdown, result, study_of

NAMES = ("Hom", "Spe", "Nuc", "Gol")


def guesses(seed, ids=range(90), absent=3):
    """Cells of four classes, of which one has none; a classifier that is often wrong."""
    rng = np.random.default_rng(seed)
    ids = np.asarray(ids)
    label = ids % absent
    odds = rng.random((len(ids), 4)) + 0.7 * np.eye(4)[label]
    odds = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return dataclasses.replace(
        cells(ids, np.ones(len(ids))),
        classes=NAMES,
        label=label,
        probabilities=odds,
        predicted=odds.argmax(axis=1),
    )


def scores_of_method(one):
    return scores_by_class(one.label, one.predicted, one.probabilities)


def by_sklearn(one):
    """Recall, precision, F1 and AUROC of the three classes with cells."""
    precision, recall, f1, _ = precision_recall_fscore_support(
        one.label, one.predicted, labels=range(3), zero_division=0
    )
    areas = [roc_auc_score(one.label == k, one.probabilities[:, k]) for k in range(3)]
    return dict(zip(CLASS_MEASURES, (recall, precision, f1, areas), strict=True))


def test_scores_are_scikit_learns():
    one = guesses(0)
    found, expected = scores_of_method(one), by_sklearn(one)
    assert list(found) == list(CLASS_MEASURES)
    for measure, values in expected.items():
        np.testing.assert_allclose(found[measure][:3], values)
        assert np.isnan(found[measure][3])
        assert 0 < min(values) < max(values) < 1


def test_a_class_that_no_cell_is_read_as_and_one_that_is_alone():
    one = dataclasses.replace(guesses(0), predicted=np.zeros(90, int))
    found = scores_of_method(one)
    assert [found[measure][1] for measure in ("recall", "precision", "f1")] == [0, 0, 0]
    alone = scores_of_method(guesses(0, absent=1))
    assert np.isnan(alone["auroc"][0])
    assert alone["precision"][0] == 1


def lines_of(*found):
    return read_csv(classes_table(study_of(found)).to_csv())


def test_methods_stand_below_each_other_with_an_interval_for_one_seed():
    one, other = guesses(0), guesses(1)
    silent = dataclasses.replace(one, probabilities=None, predicted=None)
    lines = lines_of(result("a", one), result("b", other), result("c", silent))
    assert [(line["class"], line["method"]) for line in lines] == [
        (name, method) for name in NAMES for method in "ab"
    ]
    line, expected = lines[3], by_sklearn(other)
    for measure, values in expected.items():
        assert float(line[measure]) == pytest.approx(values[1])
        assert line[f"{measure}_sd"] == lines[7][measure] == ""
    own = other.label == 1
    right = int((other.predicted[own] == 1).sum())
    ends = [float(line[f"recall_cells_{end}"]) for end in ("low", "high")]
    assert ends == pytest.approx(proportion_confint(right, own.sum(), method="wilson"))
    assert (line["cells"], lines[7]["cells"], lines[7]["recall_cells_low"]) == ("30", "0", "")


def test_masks_alone_have_no_classes():
    silent = dataclasses.replace(guesses(0), probabilities=None, predicted=None)
    assert classes_table(study_of([result("c", silent)])) is None


def test_the_class_of_lowest_recall():
    found = [result("a", guesses(0)), result("b", guesses(1))]
    table = classes_table(study_of(found))
    recalls = np.array([by_sklearn(one.cells)["recall"] for one in found])
    worst = recalls.mean(axis=0).argmin()
    low, high = sorted(100 * recalls[:, worst])
    names = "ab" if recalls[0, worst] < recalls[1, worst] else "ba"
    share = f"from {low:.2f} % ({names[0]}) to {high:.2f} % ({names[1]})"
    assert table.text == f"On these cells {NAMES[worst]} has the lowest recall: {share}."
    assert table.folded == "4 classes by 2 methods"


def test_of_one_class_none_is_the_hardest():
    one = dataclasses.replace(guesses(0), classes=("Hom",), label=np.zeros(90, int))
    one = dataclasses.replace(one, predicted=one.label, probabilities=np.ones((90, 1), np.float32))
    table = classes_table(study_of([result("a", one)]))
    assert (table.text, table.folded) == ("", "1 class by 1 method")


def test_seeds_are_averaged_and_folds_are_one_test_set():
    parts = [guesses(0, range(45)), guesses(1, range(45, 90))]
    both = [guesses(2, range(45)), guesses(3, range(45, 90))]
    found = [
        result(f"m,split.fold={fold}", part, seed=seed, folds=2, fold=fold)
        for seed, own in (("0", parts), ("1", both))
        for fold, part in enumerate(own)
    ]
    line = lines_of(*found)[0]
    values = []
    for first, second in (parts, both):
        whole = dataclasses.replace(
            first,
            label=np.concatenate([first.label, second.label]),
            predicted=np.concatenate([first.predicted, second.predicted]),
            probabilities=np.concatenate([first.probabilities, second.probabilities]),
        )
        values.append([values[0] for values in by_sklearn(whole).values()])
    for place, measure in enumerate(CLASS_MEASURES):
        own = [one[place] for one in values]
        assert float(line[measure]) == pytest.approx(np.mean(own))
        assert float(line[f"{measure}_sd"]) == pytest.approx(np.std(own, ddof=1))
    assert line["cells"] == "30"


def test_text_reads_back():
    found = [result("a", guesses(0)), result("a", guesses(5), seed="1")]
    table = classes_table(study_of(found))
    recalls = [by_sklearn(guesses(seed))["recall"][1] for seed in (0, 5)]
    line = read_csv(table.to_csv())[1]
    assert (line["method"], line["class"], line["seeds"], line["cells"]) == ("a", "Spe", "2", "30")
    assert float(line["recall"]) == pytest.approx(np.mean(recalls))
    assert float(line["recall_sd"]) == pytest.approx(np.std(recalls, ddof=1))
    ends = [100 * float(line[f"recall_specimens_{end}"]) for end in ("low", "high")]
    assert line["run_paths"] == "runs/s/a/seed0;runs/s/a/seed1"
    text = table.to_markdown()
    recall = f"{100 * np.mean(recalls):.2f} ± {100 * np.std(recalls, ddof=1):.2f}"
    assert read_markdown(text)[2][:5] == [
        "a",
        "Spe",
        "30",
        recall,
        "–".join(f"{end:.2f}" for end in ends),
    ]
    assert read_markdown(text)[4] == ["a", "Gol", "0", *"–––––"]
    assert "- `a`: `runs/s/a/seed0`, `runs/s/a/seed1`" in text
