"""How jobs ended, in words."""

from hep2gan.cli.launch.outcomes import describe_failure


def test_the_last_words_of_a_job_are_its_whole_error(tmp_path):
    log = tmp_path / "output.log"
    log.write_text("a\nerror: 2 things stand\n  - one\n  - two\nNothing was started.\n\n")
    assert describe_failure(2, log) == (
        f"exit status 2; error: 2 things stand - one - two Nothing was started. (log: {log})"
    )
    log.write_text("first\nlast\n")
    assert describe_failure(-9, log) == f"ended by SIGKILL; last (log: {log})"
