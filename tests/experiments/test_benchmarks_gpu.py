"""The benchmark of the GPU's switches: its blocks, its table, and what it says without a GPU."""

import pytest
import torch

from experiments.benchmarks import blocks, gpu, trainings
from experiments.benchmarks.blocks import Block, Length
from experiments.benchmarks.gpu import SWITCHES, Switch
from hep2gan.training.preflight import check_trainer_flags
from tests.helpers.started import NETS, SMALL

TINY = (*SMALL, *NETS, "trainer.batch_size=4")


class Pipe:
    """Asks for so many blocks, then for the end."""

    def __init__(self, number):
        self.asked, self.got = [True] * number + [False], []

    def recv(self):
        return self.asked.pop(0)

    def send(self, block):
        self.got.append(block)


@pytest.mark.parametrize("more", [(), ("trainer.resident=true", "trainer.channels_last=true")])
def test_a_training_goes_on_by_blocks(tmp_path, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    pipe = Pipe(3)
    trainings.train([*TINY, *more], pipe, Length(timed=2, settling=1), 3)
    assert pipe.asked == []
    assert len(pipe.got) == 3
    for block in pipe.got:
        assert block.step > 0
        assert block.cells_per_second == pytest.approx(4 / block.step)
        assert 0 < block.waiting < 1
        assert block.memory > 0


def test_steps_and_what_lies_between_them(monkeypatch):
    # One step settles. Then two of 3 s with 1 s between them; the clock starts 2 s before.
    clock = iter([10.0, 12.0, 15.0, 16.0, 19.0, 20.0])
    monkeypatch.setattr(blocks.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(blocks, "_held_gib", lambda device: 1.5)
    pipe = Pipe(1)
    callback = blocks.Blocks(pipe, Length(timed=2, settling=1))

    class Task:
        device = torch.device("cpu")

    class Batch:
        label = [0] * 8

    for _ in range(3):
        callback.on_train_batch_start(None, Task)
        callback.on_train_batch_end(None, Task, None, Batch)
    assert pipe.got == [Block(step=5.0, cells_per_second=1.6, waiting=1 / 7, memory=1.5)]


def test_a_line_of_the_table():
    ours = [Block(0.1, 160, 0.05, 2.0), Block(0.2, 80, 0.05, 2.5)]
    theirs = [Block(0.2, 80, 0.1, 3.0), Block(0.2, 80, 0.2, 3.0)]
    assert gpu.line("it", ours, theirs) == (
        "| it | **0.75** (0.625–0.875) | 150 ms | 200 ms | 2.25 GiB | 3 GiB | 120 | 80"
        " | 5 % | 15 % | 2 |"
    )
    assert gpu.HEAD.splitlines()[0].count("|") == gpu.line("it", ours, theirs).count("|")


@pytest.mark.slow
def test_two_trainings_take_turns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    switches = (Switch("last", ("trainer.channels_last=true",)), Switch("no", ("seed=none",)))
    last, failed = gpu.measured(
        switches, pairs=1, length=Length(2, 1), accelerator="cpu", given=TINY
    )
    assert last.startswith("| last | **")
    assert last.endswith("| 1 |")
    assert failed.startswith("| no | **failed**")
    assert failed.count("|") == last.count("|")


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda s: s.name)
def test_every_switch_composes_and_changes_the_configuration(switch, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    base = (*gpu.DRAWN, "trainer.accelerator=gpu")
    on, off = (trainings.composed((*base, *o)) for o in (switch.on, switch.off))
    assert {key for key in on if on[key] != off[key]} == {"trainer"}
    for config in (on, off):
        assert config["trainer"]["accelerator"] == "gpu"
        assert list(check_trainer_flags(config)) == []


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 2
    assert "no GPU" in capsys.readouterr().err


def test_a_failure_is_not_hidden(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "machine", lambda: "here")
    monkeypatch.setattr(gpu, "measured", lambda: ["| a | **failed**: x |"])
    assert gpu.main() == 1
    assert "| a | **failed**: x |" in capsys.readouterr().out
