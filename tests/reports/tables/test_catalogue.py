import pytest

from hep2gan.reports.build import TABLES, make_tables, table_files
from hep2gan.reports.study import Study
from tests.helpers.made_up_results import cells, read_csv, result


def study(**split):
    """Two methods; the better one of two seeds."""
    right = [1] * 30 + [0] * 10
    found = [result("proposed", cells(range(40), right), seed=seed, **split) for seed in "01"]
    return [*found, result("without_gm", cells(range(40), right[::-1]), seed="1", **split)]


def texts(results):
    return table_files(make_tables(Study(tuple(results), {})))


def test_table_one_is_always_made_and_the_others_where_the_runs_allow():
    names = ["table_1.md", "table_1.tex", "table_1.csv"]
    last = ["classes.md", "classes.csv", "specimens.csv"]
    assert list(texts(study())) == [*names, *last]
    assert list(texts(study(folds=5, fold=0))) == [*names, "folds.md", "folds.csv", *last]
    several = [*study(), *study(kind="block")]
    assert list(texts(several)) == [*names, "leakage.md", "leakage.csv", *last]
    masks = cells(range(4), [1] * 4, dice=[0.9] * 4, classify=False)
    found = texts([result("m", masks, metrics={"test/dice": 0.9})])
    assert list(found) == [*names, "baselines.md", "baselines.csv"]
    unknown = [result("m", cells(range(4), [1] * 4, known=False))]
    assert list(texts(unknown)) == [*names, *last[:2]]
    assert {name.partition(".")[0] for name in texts(several)} < set(TABLES)


def test_numbers_and_runs_of_the_files():
    first, second = read_csv(texts(study())["table_1.csv"])
    assert (first["method"], second["method"]) == ("without_gm", "proposed")
    assert float(second["accuracy"]) == pytest.approx(0.75)
    assert second["run_paths"] == "runs/s/proposed/seed0;runs/s/proposed/seed1"


def test_the_same_runs_give_the_same_bytes():
    assert texts(study()) == texts(study())
