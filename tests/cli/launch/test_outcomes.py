"""How jobs ended, in words."""

import json

from hep2gan.cli.launch.jobs import Job
from hep2gan.cli.launch.outcomes import describe_failure, results_table


def test_the_table_of_a_sweep_marks_what_is_missing_and_masks_that_are_all_alike(tmp_path):
    found = {
        "a": {"test/accuracy": 0.5, "test/dice": 0.0, "test/constant_masks": 1.0},
        "b": {"test/accuracy": 0.25, "test/constant_masks": 0.0},
    }
    for name, metrics in found.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(metrics))
    jobs = [Job(0, (), {"run_dir": str(tmp_path / name)}) for name in found]
    assert [line.split() for line in results_table(jobs)] == [
        ["test/accuracy", "test/dice"],
        ["0.5000", "0.0000", f"{tmp_path}/a", "(all", "masks", "are", "alike)"],
        ["0.2500", "–", f"{tmp_path}/b"],
    ]


def test_the_last_words_of_a_job_are_its_whole_error(tmp_path):
    log = tmp_path / "output.log"
    log.write_text("a\nerror: 2 things stand\n  - one\n  - two\nNothing was started.\n\n")
    assert describe_failure(2, log) == (
        f"exit status 2; error: 2 things stand - one - two Nothing was started. (log: {log})"
    )
    log.write_text("first\nlast\n")
    assert describe_failure(-9, log) == f"ended by SIGKILL; last (log: {log})"
