import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.reports import tables as module
from hep2gan.reports.tables import write_tables
from tests.reports.tables import read_csv


@pytest.fixture
def runs(make_run, tmp_path):
    places = [("proposed", 0), ("proposed", 1), ("without_gm", 1)]
    return [
        make_run(tmp_path / "default" / name / f"seed{seed}", method=name, seed=seed)
        for name, seed in places
    ]


def test_files_and_their_numbers(runs, tmp_path, predictions):
    written = write_tables(runs, tmp_path / "new" / "tables")
    names = ["table_1.md", "table_1.tex", "table_1.csv", "priors.md", "priors.csv"]
    assert list(written) == names
    first, second = read_csv(written["table_1.csv"].read_text("utf-8"))
    assert (first["method"], second["method"]) == ("without_gm", "proposed")
    right = (predictions.predicted == predictions.label).mean()
    assert float(first["accuracy"]) == pytest.approx(right)
    assert first["verdict"] == "within noise (p = 1.000)"
    assert second["run_paths"].split(";") == [str(run.resolve()) for run in runs[:2]]
    assert all("drawn cells" in written[name].read_text("utf-8") for name in names[:2])
    assert not list(tmp_path.rglob("*.partial"))


def test_the_same_runs_give_the_same_bytes(runs, tmp_path):
    one, other = (write_tables(runs, tmp_path / name) for name in "ab")
    assert all(one[name].read_bytes() == other[name].read_bytes() for name in one)


def test_a_damaged_run_leaves_nothing(runs, tmp_path):
    (runs[1] / "predictions.npz").write_bytes(b"")
    with pytest.raises(Hep2ganError, match="seed1 cannot be reported"):
        write_tables(runs, tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
    with pytest.raises(Hep2ganError, match="no runs"):
        write_tables([], tmp_path / "tables")


def test_a_file_is_whole_or_as_before(runs, tmp_path, monkeypatch):
    before = write_tables(runs, tmp_path)["table_1.md"].read_text("utf-8")

    def broken(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "priors_csv", broken)
    with pytest.raises(OSError, match="No space"):
        write_tables(runs[:1], tmp_path)
    assert (tmp_path / "table_1.md").read_text("utf-8") == before
