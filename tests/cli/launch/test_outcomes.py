"""How jobs ended, in words."""

import json

from hep2gan.cli.launch.jobs import Outcome
from hep2gan.cli.launch.outcomes import describe_failure, summarize
from hep2gan.cli.sweeps.jobs import TrainingJob
from hep2gan.cli.sweeps.results import results_table


def test_the_table_of_a_sweep_marks_what_is_missing_and_masks_that_are_all_alike(tmp_path):
    found = {
        "a": {"test/accuracy": 0.5, "test/dice": 0.0, "test/constant_masks": 1.0},
        "b": {"test/accuracy": 0.25, "test/constant_masks": 0.0},
    }
    for name, metrics in found.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(metrics))
    jobs = [TrainingJob(0, (), {"run_dir": str(tmp_path / name)}) for name in found]
    assert [line.split() for line in results_table(jobs)] == [
        ["test/accuracy", "test/dice"],
        ["0.5000", "0.0000", f"{tmp_path}/a", "(all", "masks", "are", "alike)"],
        ["0.2500", "–", f"{tmp_path}/b"],
    ]


def test_a_sweep_that_was_only_checked_says_so(tmp_path, caplog):
    caplog.set_level("INFO")
    job = TrainingJob(
        0, (), {"run_dir": str(tmp_path / "a"), "name": "a", "seed": 0, "doctor": True}
    )
    assert summarize([Outcome(job, None)]) is None
    error = summarize([Outcome(job, None), Outcome(job._replace(number=1), "it is wrong")])
    assert caplog.messages == [
        "1 job checked: 1 can start, 0 cannot; nothing was trained",
        "2 jobs checked: 1 can start, 1 cannot; nothing was trained",
    ]
    assert "1 of 2 jobs cannot start" in error.fact
    assert "nothing was started" in error.rule


def test_the_last_words_of_a_job_are_its_whole_error(tmp_path):
    log = tmp_path / "output.log"
    log.write_text("a\nerror: 2 things stand\n  - one\n  - two\nNothing was started.\n\n")
    assert describe_failure(2, log) == (
        f"exit status 2; error: 2 things stand - one - two Nothing was started. (log: {log})"
    )
    log.write_text("first\nlast\n")
    assert describe_failure(-9, log) == f"ended by SIGKILL; last (log: {log})"
