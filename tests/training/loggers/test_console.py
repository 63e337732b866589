"""The line an epoch that takes a bar's place."""

import logging

from hep2gan.training.loggers.local import ConsoleLogger


def test_a_line_is_printed_when_losses_and_time_are_there(caplog):
    lines = ConsoleLogger(20)
    with caplog.at_level(logging.INFO):
        lines.log_metrics({"step/generator/total": 9.0, "epoch": 4.0}, step=3)
        lines.log_metrics({"val/f1": 0.875, "val/dice/Golgi": 0.5, "epoch": 4.0}, step=4)
        assert caplog.messages == []
        losses = {"train/generator/total": 5.25, "train/generator/l1": 0.5}
        losses |= {"train/classifier/total": 1.0 / 3}
        lines.log_metrics(losses | {"epoch": 4.0}, step=4)
        assert caplog.messages == []
        lines.log_metrics({"speed/seconds_per_epoch": 12.34, "epoch": 4.0}, step=4)
        lines.log_metrics({"speed/seconds_per_epoch": 9.0, "epoch": 5.0}, step=5)
        lines.log_metrics({"train/classifier/total": 0.25, "epoch": 5.0}, step=5)
    assert caplog.messages == [
        "epoch 5/20  generator 5.25  classifier 0.3333  val/f1 0.875  12.3 s",
        "epoch 6/20  classifier 0.25  9.0 s",
    ]
