"""The metric that a sweep optimizes."""

import pytest

from hep2gan.cli.sweeps.objective import check_objective, objective_value
from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import RunFolder


def test_the_objective_is_taken_at_the_chosen_epoch(tmp_path):
    run = RunFolder(tmp_path)
    run.curves_file.write_text(
        "epoch,step,val/f1,val/dice,train/x\n0,1,,,0.5\n0,1,0.4,0.9,\n1,3,0.6,0.7,\n2,5,0.5,0.8,\n"
    )
    assert objective_value(run, {"model": {"classify": True}, "optimized_metric": "val/f1"}) == 0.6
    assert (
        objective_value(run, {"model": {"classify": True}, "optimized_metric": "val/dice"}) == 0.7
    )
    with pytest.raises(Hep2ganError, match=r"no column val/x"):
        objective_value(run, {"model": {"classify": True}, "optimized_metric": "val/x"})
    split = {"kind": "random", "validation_fraction": 0.1}
    model = {"baseline": None, "segment": False, "classify": True}
    config = {"optimized_metric": "val/f1", "split": split, "model": model}
    check_objective(config)
    for change, words in (
        ({"optimized_metric": "test/f1"}, "optimized_metric is test"),
        ({"optimized_metric": "val/dice"}, "this method measures .*val/f1"),
        ({"split": split | {"validation_fraction": 0}}, r"split.validation_fraction=0.1"),
        ({"model": model | {"baseline": "intensity"}}, "the method is a forest"),
    ):
        with pytest.raises(Hep2ganError, match=words):
            check_objective(config | change)
