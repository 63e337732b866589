import pickle

from hep2gan.errors import Hep2ganError, listed


def test_fact_rule_and_fix_in_one_sentence():
    assert str(Hep2ganError("a is 1", "must be 2", "set a=2")) == "a is 1: must be 2. Fix: set a=2."
    assert str(Hep2ganError("a is 1")) == "a is 1."
    assert str(Hep2ganError("a is 1", "", "set a=2")) == "a is 1. Fix: set a=2."


def test_errors_cross_process_borders():
    error = pickle.loads(pickle.dumps(Hep2ganError("a", "b", "c")))
    assert (error.fact, error.rule, error.fix, str(error)) == ("a", "b", "c", "a: b. Fix: c.")


def test_long_lists_are_cut_and_counted():
    assert listed(["a", "b", "c"], limit=2) == "  - a\n  - b\n  … and 1 more"
