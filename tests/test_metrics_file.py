import csv

from hep2gan.metrics_file import MetricsFile


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_new_metrics_widen_the_table(tmp_path):
    path = tmp_path / "metrics.csv"
    log = MetricsFile(path)
    log.log_metrics({"epoch": 0.0, "b": 0.1}, step=1)
    log.log_metrics({"epoch": 0.0, "a": 0.2, "b": 0.3}, step=2)
    assert rows(path) == [
        {"epoch": "0", "step": "1", "b": "0.1", "a": ""},
        {"epoch": "0", "step": "2", "b": "0.3", "a": "0.2"},
    ]


def test_resuming_keeps_batches_that_are_done_and_drops_the_rest(tmp_path):
    path = tmp_path / "metrics.csv"
    log = MetricsFile(path)
    for epoch in range(4):
        log.log_metrics({"epoch": epoch, "x": epoch / 8}, step=epoch)
    log = MetricsFile(path, start=2)
    log.log_metrics({"epoch": 2, "x": 9.0}, step=2)
    assert [row["x"] for row in rows(path)] == ["0.0", "0.125", "9.0"]


def test_half_a_line_of_a_killed_process_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    MetricsFile(path).log_metrics({"epoch": 0, "x": 1.0}, step=0)
    with path.open("a") as file:
        file.write("1,")
    log = MetricsFile(path, start=5)
    log.log_metrics({"epoch": 5, "x": 2.0}, step=5)
    assert [row["epoch"] for row in rows(path)] == ["0", "5"]


def test_a_fresh_start_begins_empty(tmp_path):
    path = tmp_path / "metrics.csv"
    MetricsFile(path).log_metrics({"epoch": 0, "x": 1.0}, step=0)
    MetricsFile(path)
    assert rows(path) == []
