"""However the ranks are started, they train the composed configuration."""

import re
import socket

import pytest

from hep2gan.runs.folder import RunFolder
from tests.helpers.started import NETS, SMALL, assert_same, final, train

pytestmark = pytest.mark.integration

QUICK = (*SMALL, *NETS, "trainer.max_epochs=1")


def test_torchrun_by_hand_on_one_machine_and_on_two(tmp_path):
    train(tmp_path, *QUICK, "trainer.devices=2", "study=ours")
    run = ("-m", "torch.distributed.run")
    by_hand = (*run, "--standalone", "--nproc-per-node", "2", "-m", "hep2gan.cli.train")
    train(tmp_path, *QUICK, "trainer.devices=2", "study=by_hand", command=by_hand)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    agents = [
        train(
            tmp_path, *QUICK, "trainer.num_nodes=2", "study=nodes", wait=False,
            command=(*run, "--nnodes", "2", "--node-rank", str(node), "--nproc-per-node", "1",
                     "--master-addr", "127.0.0.1", "--master-port", port, "-m",
                     "hep2gan.cli.train"),
        )
        for node in range(2)
    ]  # fmt: skip
    for agent in agents:
        shown = agent.communicate(timeout=200)[0]
        assert agent.returncode == 0, shown
    weights = [
        final(tmp_path / f"runs/{study}/proposed/seed0")["state_dict"]
        for study in ("ours", "by_hand", "nodes")
    ]
    assert_same(weights[0], weights[1])
    assert_same(weights[0], weights[2])


def test_another_number_of_processes_is_refused(tmp_path):
    command = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
               "hep2gan.cli.train")  # fmt: skip
    done = train(tmp_path, *QUICK, command=command, check=False)
    assert done.returncode != 0
    assert "2 processes were started, the configuration has 1" in done.output
    done = train(tmp_path, *QUICK, "trainer.num_nodes=2", check=False)
    assert done.returncode == 2
    assert "a launcher starts one process on each machine" in done.output


def test_a_shuffled_sweep_of_two_rank_jobs_trains_what_was_composed(tmp_path):
    sweep = ("loss.beta=shuffle(2,5)", "seed=shuffle(1,2)", "trainer.devices=2", "study=s", "-m")
    train(tmp_path, *QUICK, "trainer.limit_train_batches=1", *sweep)
    runs = sorted((tmp_path / "runs/s").glob("*/seed*"))
    assert len(runs) == 4
    for run in runs:
        config = RunFolder(run).config()
        beta, seed = config["loss"]["beta"], config["seed"]
        assert run.parent.name == f"proposed,loss.beta={beta:g}"
        assert run.name == f"seed{seed}"
        said = [
            re.findall(r"rank (\d) of 2 trains (\S+)", (run / name).read_text())
            for name in ("output.log", "rank1.log")
        ]
        assert [found[0][0] for found in said] == ["0", "1"]
        assert said[0][0][1] == said[1][0][1]
    assert len({(run / "config.yaml").read_text() for run in runs}) == 4


@pytest.mark.parametrize("multirun", ["-m", "--multirun"])
def test_a_sweep_inside_torchrun_is_refused(tmp_path, multirun):
    command = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
               "hep2gan.cli.train")  # fmt: skip
    done = train(tmp_path, *QUICK, "seed=0,1", multirun, command=command, check=False)
    assert done.returncode != 0
    assert "each job of a sweep starts its own ranks" in done.output
