import pickle

from hep2gan.errors import Hep2ganError, bullet_list, pluralize


def test_fact_rule_and_fix_in_one_sentence():
    assert str(Hep2ganError("a is 1", "must be 2", "set a=2")) == "a is 1: must be 2. Fix: set a=2."
    assert str(Hep2ganError("a is 1")) == "a is 1."
    assert str(Hep2ganError("a is 1", "", "set a=2")) == "a is 1. Fix: set a=2."


def test_errors_cross_process_borders():
    error = pickle.loads(pickle.dumps(Hep2ganError("a", "b", "c")))
    assert (error.fact, error.rule, error.fix, str(error)) == ("a", "b", "c", "a: b. Fix: c.")


def test_long_lists_are_cut_and_counted():
    assert bullet_list(["a", "b", "c"], limit=2) == "  - a\n  - b\n  … and 1 more"


def test_nothing_dangles_behind_a_list():
    error = Hep2ganError("2 things are wrong\n  - a\n  - b\n", "nothing was started", "mend them")
    lines = str(error).splitlines()
    assert lines[-1] == "Nothing was started. Fix: mend them."
    assert not any(line.endswith((": ", " ")) for line in lines)
    assert str(Hep2ganError("wrong\n  - a\n", "", "mend")).splitlines()[-1] == "Fix: mend."
    assert str(Hep2ganError("wrong\n  - a\n")) == "wrong\n  - a"


def test_one_is_no_plural():
    assert [pluralize(n, "batch", "batches") for n in (0, 1, 2)] == [
        "0 batches",
        "1 batch",
        "2 batches",
    ]
