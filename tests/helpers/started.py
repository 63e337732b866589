"""Real commands and real ranks as processes of their own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.distributed import TCPStore

from hep2gan.runs.checkpoints import list_checkpoints, read_checkpoint

ROOT = Path(__file__).parents[2]
NETS = (
    "trusted=[tests.integration.nets]",
    "generator._target_=tests.integration.nets.Generator",
    "discriminator._target_=tests.integration.nets.Discriminator",
    "classifier._target_=tests.integration.nets.Classifier",
)
# Batch normalisation and dropout: all that could differ after a stop.
RESTLESS = ("+generator.norm=true", "+classifier.dropout=0.3")
SMALL = (
    "data=phantom", "data.count=60", "data.size=32", "split.test_fraction=0.2", "pretrained=false",
    "scale=laptop", "data.size=32", "trainer.accelerator=cpu", "trainer.max_epochs=3",
    "trainer.eval_batch_size=3", "trainer.log_every_n_steps=1",
)  # fmt: skip
TWO = ("trainer.devices=2",)


def environment(threads=1):
    """Without what a launcher, Slurm or wandb may have left in ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "WANDB_"))}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return kept | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}


def train(
    place,
    *overrides,
    wait=True,
    check=True,
    command=("-m", "hep2gan.cli.train"),
    env=None,
    output=subprocess.PIPE,
):
    """Start `hep2gan-train` in `place`; the finished process, or the running one."""
    process = subprocess.Popen(
        [sys.executable, *command, *overrides],
        cwd=place,
        env=environment() | (env or {}),
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if not wait:
        return process
    process.output = process.communicate(timeout=300)[0]
    assert not check or process.returncode == 0, process.output
    return process


def ranks(number, program, *arguments):
    """Run a Python file as so many ranks; the JSON that each prints last."""
    # The store that ranks meet in is held here: a free port that is asked for and used later may
    # have been taken in between.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = [
        subprocess.Popen(
            [sys.executable, program, *map(str, arguments)],
            env=environment()
            | {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(number),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(number)
    ]
    outputs = [process.communicate(timeout=200) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(shown.strip().splitlines()[-1]) for shown, _ in outputs]


def until(what, process, seconds=120):
    """Wait for something that a running process does."""
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def rows_logged(run):
    """Lines of a run's metrics.csv so far."""
    file = run / "metrics.csv"
    return len(file.read_text().splitlines()) if file.is_file() else 0


def final(run):
    """The newest checkpoint of a run."""
    return read_checkpoint(list_checkpoints(run / "checkpoints")[0])


def assert_same(one, other, path=""):
    """Bit for bit, through containers."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for position, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{path}[{position}]")
    else:
        assert one == other, path


def assert_same_training(one, other):
    """Weights, statistics, optimizers and schedules of two checkpoints, bit for bit."""
    assert one.keys() == other.keys()
    parts = {"trained_weights", "average_statistics"} & one.keys()
    for part in ("epoch", "state_dict", "optimizer_states", "lr_schedulers", *parts):
        assert_same(one[part], other[part], part)
