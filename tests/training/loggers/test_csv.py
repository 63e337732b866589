import csv

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.runs.metrics_csv import logged_before
from hep2gan.training.loggers.local import CsvLogger


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_new_metrics_widen_the_table(tmp_path):
    path = tmp_path / "metrics.csv"
    log = CsvLogger(path)
    log.log_metrics({"epoch": 0.0, "b": 0.1}, step=1)
    log.log_metrics({"epoch": 0.0, "a": 0.2, "b": 0.3}, step=2)
    assert rows(path) == [
        {"epoch": "0", "step": "1", "b": "0.1", "a": ""},
        {"epoch": "0", "step": "2", "b": "0.3", "a": "0.2"},
    ]


def test_resuming_keeps_batches_that_are_done_and_drops_the_rest(tmp_path):
    path = tmp_path / "metrics.csv"
    log = CsvLogger(path)
    for epoch in range(4):
        log.log_metrics({"epoch": epoch, "x": epoch / 8}, step=epoch)
    log = CsvLogger(path, start=2)
    log.log_metrics({"epoch": 2, "x": 9.0}, step=2)
    assert [row["x"] for row in rows(path)] == ["0.0", "0.125", "9.0"]


def test_half_a_line_of_a_killed_process_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    CsvLogger(path).log_metrics({"epoch": 0, "x": 1.0}, step=0)
    with path.open("a") as file:
        file.write("1,")
    log = CsvLogger(path, start=5)
    log.log_metrics({"epoch": 5, "x": 2.0}, step=5)
    assert [row["epoch"] for row in rows(path)] == ["0", "5"]


def test_a_fresh_start_begins_empty(tmp_path):
    path = tmp_path / "metrics.csv"
    CsvLogger(path).log_metrics({"epoch": 0, "x": 1.0}, step=0)
    CsvLogger(path)
    assert rows(path) == []


HEAD = "epoch,step,train/a,val/b\n"


def test_bytes_that_are_no_text_are_told(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"epoch,step\n\xff\xfe")
    for read in (lambda: CsvLogger(path, 3), lambda: list(logged_before(path, 3))):
        with pytest.raises(Hep2ganError, match="damaged"):
            read()
    assert path.read_bytes() == b"epoch,step\n\xff\xfe"


def test_a_line_that_lost_its_end_is_dropped_with_a_word(tmp_path, caplog):
    path = tmp_path / "metrics.csv"
    # 0.5 may have been 0.51: what has no end is not believed.
    path.write_text(HEAD + "0,3,1.5,\n1,7,0.5,0.5")
    log = CsvLogger(path, start=8)
    assert "ended within a line" in caplog.text
    log.log_metrics({"epoch": 1, "train/a": 2.0}, step=7)
    assert [row["train/a"] for row in rows(path)] == ["1.5", "2.0"]
