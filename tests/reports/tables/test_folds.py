import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from hep2gan.reports.tables.folds import folds_table
from tests.helpers.made_up_results import cells, read_csv, read_markdown, result, study_of


def made(**keywords):
    """Two of three folds: 8 of 10 and 15 of 20 right; of 6 specimens the last is mostly wrong."""
    first = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1, 0])
    second = np.array([1] * 15 + [0] * 4 + [0])
    settings = {"folds": 3, "kind": "specimen", **keywords}
    return [
        result("m,split.fold=2", cells(range(10, 30), second), fold=2, **settings),
        result("m,split.fold=0", cells(range(10), first, dice=[0.9] * 10), fold=0, **settings),
        result("other", cells(range(10), first)),
    ]


def lines_of(*found):
    return read_csv(folds_table(study_of(found)).to_csv())


def test_spread_pool_and_votes():
    (line,) = lines_of(*made())
    assert (line["seed"], line["folds"], line["of_folds"]) == ("0", "2", "3")
    assert float(line["accuracy_fold_mean"]) == pytest.approx(0.775)
    assert float(line["accuracy_fold_sd"]) == pytest.approx(0.05 / 2**0.5)
    assert line["dice_pooled"] == line["dice_fold_mean"] == ""
    assert float(line["accuracy_pooled"]) == pytest.approx(23 / 30)
    expected = proportion_confint(5, 6, method="wilson")
    for vote in ("votes_probability", "votes_majority"):
        assert (line[f"{vote}_right"], float(line[f"{vote}_accuracy"])) == ("5", 5 / 6)
        ends = [float(line[f"{vote}_{end}"]) for end in ("low", "high")]
        assert ends == pytest.approx(expected)


def test_a_confident_minority_wins_by_probability_alone():
    tested = cells(range(5), [1, 1, 0, 0, 0])
    tested.probabilities[:2] = np.where(tested.probabilities[:2] > 0.5, 0.99, 0.01)
    tested.probabilities[2:] = np.where(tested.probabilities[2:] > 0.5, 0.55, 0.45)
    (line,) = lines_of(result("m", tested, folds=2))
    assert (line["votes_probability_right"], line["votes_majority_right"]) == ("1", "0")


def test_reasons_for_no_votes():
    unknown = result("m", cells(range(5), [1] * 5, known=False), folds=2)
    assert lines_of(unknown)[0]["no_votes"] == "specimens of some cells are unknown"
    masks = result("m", cells(range(5), [1] * 5, classify=False, dice=[0.9] * 5), folds=2)
    table = folds_table(study_of([masks]))
    (line,) = read_csv(table.to_csv())
    assert line["no_votes"] == "no classifier"
    assert float(line["dice_fold_mean"]) == pytest.approx(0.9)
    assert "no classifier" in table.to_markdown()
    assert folds_table(study_of([result("m", cells(range(5), [1] * 5))])) is None


def test_text_reads_back():
    table = folds_table(study_of(made(data="phantom")))
    text = table.to_markdown()
    lines = read_markdown(text)
    assert lines[1][:5] == ["m", "0", "specimen", "2 of 3", "77.50 ± 3.54"]
    low, high = proportion_confint(5, 6, method="wilson")
    vote = f"83.33 (5 of 6; {100 * low:.2f}–{100 * high:.2f})"
    assert lines[3][4:7] == ["30 synthetic cells", "6", "76.67"]
    assert lines[3][-2:] == [vote, vote]
    assert "Synthetic cells are not micrographs" in text
    (found,) = read_csv(table.to_csv())
    assert float(found["accuracy_fold_mean"]) == pytest.approx(0.775)
    assert float(found["accuracy_pooled"]) == pytest.approx(23 / 30)
    ends = [100 * float(found[f"accuracy_pooled_specimens_{end}"]) for end in ("low", "high")]
    assert lines[3][8] == "–".join(f"{end:.2f}" for end in ends)
    assert (found["votes_majority_right"], found["specimens"], found["synthetic"]) == (
        "5",
        "6",
        "true",
    )
    assert found["run_paths"].count("seed0") == 2
