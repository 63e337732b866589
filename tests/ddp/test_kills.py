"""Two ranks killed again and again at random moments end where an undisturbed training ends."""

import os
import random
import signal
import time

import pytest

from hep2gan.checkpoints import Position, checkpoints
from tests.ddp.started import NETS, RESTLESS, SMALL, TWO, assert_same_training, final, train
from tests.ddp.test_stopping import children

KILLS = 20


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    options = (*SMALL, *NETS, *RESTLESS, *TWO, "trainer.max_epochs=600")
    train(tmp_path, *options, "study=whole")
    run = tmp_path / "runs/killed/proposed/seed0"
    dice, story = random.Random(0), []
    while len(story) < KILLS:
        process = train(tmp_path, *options, "study=killed", wait=False)
        time.sleep(dice.uniform(4, 14))
        assert process.poll() is None, process.communicate()[0]
        ranks = children(process.pid)
        victims = dice.choice([ranks[:1], ranks[-1:], ranks])
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        process.communicate(timeout=60)
        newest = next(iter(checkpoints(run / "checkpoints")), None)
        story.append((len(victims), Position.of(newest).epochs))
        assert process.returncode not in (0, None) or not victims
    print("killed ranks, epochs done:", story)
    # Enough of them came while it trained.
    assert len({epochs for _, epochs in story}) > KILLS // 4
    train(tmp_path, *options, "study=killed")
    assert_same_training(final(run), final(tmp_path / "runs/whole/proposed/seed0"))
