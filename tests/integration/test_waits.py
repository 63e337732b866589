"""A training that waits for what does not come gives way to SIGTERM, wherever it waits."""

import os
import signal
import socket

import pytest

from hep2gan.runs.checkpoints import list_checkpoints
from tests.helpers.started import NETS, SMALL, train, until
from tests.integration.test_stopping import children

LONG = (*SMALL, *NETS, "trainer.max_epochs=2000")


def assert_gives_way(process, place):
    """It ends by SIGTERM, and says where it waited."""
    process.terminate()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 143, output
    assert f"Stopped by SIGTERM in a wait that did not end ({place}" in output
    assert "Traceback" not in output


@pytest.mark.integration
def test_loader_workers_that_stand_still(tmp_path):
    process = train(tmp_path, *LONG, "trainer.num_workers=1", wait=False)
    workers = []
    try:
        folder = tmp_path / "runs/default/proposed/seed0/checkpoints"
        until(lambda: list_checkpoints(folder), process)
        workers = children(process.pid)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        assert_gives_way(process, "torch.utils.data.dataloader.")
    finally:
        process.kill()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)


@pytest.mark.integration
def test_a_rank_whose_others_never_come(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    process = train(tmp_path, *LONG, "trainer=ddp", wait=False, env=ranks | place)
    try:
        with socket.socket() as other:
            # As soon as the rank listens, it waits.
            until(lambda: other.connect_ex(("127.0.0.1", port)) == 0, process)
            assert_gives_way(process, "torch.distributed.rendezvous.")
    finally:
        process.kill()
