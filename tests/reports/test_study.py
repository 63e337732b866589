import shutil

import numpy as np
import pytest
import yaml

from hep2gan.errors import Hep2ganError
from hep2gan.reports import study as module
from hep2gan.reports.study import read_runs, read_study
from hep2gan.runs.predictions import Predictions
from tests.helpers.report_fixtures import another, some_rows, write_run


@pytest.fixture
def seeds(make_run, tmp_path):
    """Two methods, the paper's later one first; the first of two seeds."""
    places = [("proposed", 1), ("proposed", 0), ("without_gm", 1)]
    return [
        make_run(tmp_path / "default" / name / f"seed{seed}", method=name, seed=seed)
        for name, seed in places
    ]


def folds(place, predictions, write_run, name="m"):
    """Two folds of one method, as a sweep names them."""
    found = []
    for fold, chosen in enumerate((slice(0, None, 2), slice(1, None, 2))):
        path = place / "default" / f"{name},split.fold={fold}" / "seed0"
        write_run(path, some_rows(predictions, chosen), method=f"'{name},split.fold={fold}'")
        config = yaml.safe_load((path / "config.yaml").read_text())
        config["split"] |= {"folds": 2, "fold": fold}
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        found.append(path)
    return found


def test_predictions_are_read_once_a_run(seeds, monkeypatch):
    read = []
    load = Predictions.load
    monkeypatch.setattr(Predictions, "load", lambda path: read.append(path) or load(path))
    visited = []
    study = read_study(read_runs(seeds), visit=lambda run, own: visited.append((run.path, own.id)))
    assert [path for path, _ in visited] == [path.resolve() for path in seeds]
    assert all(ids.tolist() == visited[0][1].tolist() for _, ids in visited)
    assert len(study.methods) == 2
    assert read == [path.resolve() / "predictions.npz" for path in seeds]


def test_the_first_seed_stands_for_a_method_in_the_order_of_table_one(seeds, monkeypatch):
    study = read_study(read_runs(seeds))
    assert list(study.first_seeds) == ["without_gm", "proposed"]
    assert read_study(read_runs(seeds), figures=False).first_seeds == {}
    assert study.not_comparable == ""
    monkeypatch.setattr(module, "MOST_METHODS", 1)
    many = read_study(read_runs(seeds))
    assert many.first_seeds == {}
    assert many.not_comparable.startswith("2 methods are too many to be shown side by side")


def test_predictions_that_are_not_kept_are_those_of_the_first_seed(seeds, predictions, tmp_path):
    first = another(predictions, 5)
    (seeds[1] / "predictions.npz").unlink()
    write_run(seeds[1], first)
    found = read_study(read_runs(seeds), figures=False).predictions("proposed")
    np.testing.assert_array_equal(found.id, first.id)
    halves = read_study(read_runs(folds(tmp_path / "f", predictions, write_run)), figures=False)
    assert sorted(halves.predictions("m").id) == predictions.id.tolist()


def test_folds_are_shown_as_one_test_set(predictions, tmp_path):
    study = read_study(read_runs(folds(tmp_path, predictions, write_run)))
    assert sorted(study.first_seeds["m"].id) == predictions.id.tolist()
    (method,) = study.methods
    assert [result.run.fold for result in method.results] == [0, 1]
    assert len(method.cells) == 62


def test_a_folder_that_is_named_twice_is_one_run(seeds):
    again = seeds[0] / ".." / seeds[0].name
    study = read_study(read_runs([*seeds, again]), figures=False)
    assert [run.path for run in study.runs] == seeds


def test_two_runs_of_a_seed_are_refused(seeds, make_run, tmp_path):
    twin = make_run(tmp_path / "b" / "proposed" / "seed1", seed=1)
    words = (
        f"{seeds[0]} and {twin} are both default/proposed, seed 1: a method has one run per seed"
    )
    with pytest.raises(Hep2ganError, match=rf"{words}.*Fix: report them apart"):
        read_runs([*seeds, twin])


def test_a_whole_test_part_and_folds_of_a_seed_are_refused(predictions, make_run, tmp_path):
    own = folds(tmp_path, predictions, write_run)
    whole = make_run(tmp_path / "default" / "m" / "seed0", method="m")
    for runs in ([*own, whole], [whole, *own], [*own, own[0].parent / "copy"]):
        if not runs[-1].exists():
            shutil.copytree(own[0], runs[-1])
        with pytest.raises(Hep2ganError, match="are both default/m, seed 0"):
            read_runs(runs)


def test_no_runs():
    with pytest.raises(Hep2ganError, match="no runs to report"):
        read_runs([])
