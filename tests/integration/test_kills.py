"""Two ranks killed again and again at random moments end where an undisturbed training ends."""

import os
import random
import signal
import time

import pytest

from hep2gan.runs.checkpoints import TrainingPosition, list_checkpoints
from tests.helpers.started import (
    NETS,
    RESTLESS,
    SMALL,
    TWO,
    assert_same_training,
    final,
    train,
    until,
)
from tests.integration.test_stopping import children

pytestmark = pytest.mark.integration

KILLS, EPOCHS_BETWEEN = 20, 12


def epochs_done(run):
    return TrainingPosition.of(next(iter(list_checkpoints(run / "checkpoints")), None)).epochs


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    options = (*SMALL, *NETS, *RESTLESS, *TWO, f"trainer.max_epochs={KILLS * EPOCHS_BETWEEN + 100}")
    train(tmp_path, *options, "study=whole")
    run = tmp_path / "runs/killed/proposed/seed0"
    dice, story = random.Random(0), []
    for kill in range(KILLS):
        process = train(tmp_path, *options, "study=killed", wait=False)
        if kill % 4 == 3:
            # While it starts: before there are ranks, or before they train.
            time.sleep(dice.uniform(0.5, 6))
        else:
            # By progress, not by the clock, so that a fast machine is killed as often.
            due = kill * EPOCHS_BETWEEN + dice.randrange(EPOCHS_BETWEEN)
            until(lambda due=due: epochs_done(run) >= due, process)
            time.sleep(dice.uniform(0, 0.2))
        ranks = children(process.pid)
        victims = dice.choice([ranks[:1], ranks[-1:], ranks]) or [process.pid]
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        shown = process.communicate(timeout=120)[0]
        assert process.returncode != 0, shown
        assert not (run / "DONE").exists()
        story.append((len(victims), epochs_done(run)))
    print("killed processes, epochs done:", story)
    train(tmp_path, *options, "study=killed")
    assert_same_training(final(run), final(tmp_path / "runs/whole/proposed/seed0"))
