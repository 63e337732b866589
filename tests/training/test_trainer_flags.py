"""Switches for speed that cannot work here are refused before anything starts."""

import pytest
import torch

from hep2gan.cli.local import run_settings
from hep2gan.config import parse_sound_part
from hep2gan.training import trainer_flags
from hep2gan.training.preflight import check_optimizers
from hep2gan.training.preflight_report import PreflightReport
from hep2gan.training.trainer_flags import check_trainer_flags
from tests.helpers.configs import composed


def found(*overrides):
    """Problems and notes of a configuration."""
    config, invalid = parse_sound_part(run_settings(composed("train", *overrides)))
    report = PreflightReport()
    report.add("settings", invalid.values())
    report.add("switches", check_trainer_flags(config.trainer))
    report.add("optimizers", check_optimizers(config))
    return [str(problem) for problem in report.problems], report.notes


@pytest.fixture
def gpu(monkeypatch):
    """As if there were a GPU of a recent kind."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))


@pytest.mark.parametrize("trainer", ["default", "cpu", "gpu", "ddp"])
def test_the_presets_are_sound(trainer, gpu):
    assert found(f"trainer={trainer}") == ([], [])


@pytest.mark.parametrize("mode", ["true", "reduce-overhead", "max-autotune"])
def test_every_mode_works_on_one_gpu(mode, gpu):
    assert found(f"trainer.compile={mode}", "trainer=gpu") == ([], [])


GRAPHS = "trainer.compile=reduce-overhead"
SYNC = "trainer.sync_batchnorm=true"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([GRAPHS, "trainer=cpu"], "CUDA graphs need a GPU"),
        (["trainer.compile=max-autotune", "trainer=cpu"], "CUDA graphs need a GPU"),
        (["trainer.cuda_graph=true", "trainer=cpu"], "set trainer.cuda_graph=false"),
        (["trainer.compile=fast"], "true or false, or one of reduce-overhead, max-autotune"),
        (["trainer.compile=1"], "true or false, or one of"),
        ([SYNC, "trainer=cpu"], "set trainer.sync_batchnorm=false"),
        (["trainer.fused_optimizers=maybe"], "auto, or true or false"),
        (
            ["trainer.fused_optimizers=true", "optimizer.generator._target_=torch.optim.RMSprop"],
            "no fused RMSprop",
        ),
    ],
)
def test_refusals_without_a_gpu(overrides, told):
    (problem,) = found(*overrides)[0]
    assert told in problem


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([GRAPHS], "reduce-overhead on 2 devices"),
        ([GRAPHS, "trainer.devices=1", "trainer.num_nodes=4"], "reduce-overhead on 4 devices"),
        (["trainer.compile=true", SYNC], "compile is true with trainer.sync_batchnorm=true"),
    ],
)
def test_refusals_on_several_gpus(overrides, told, gpu):
    (problem,) = found("trainer=ddp", *overrides)[0]
    assert told in problem


def test_two_kinds_of_graphs_are_refused(gpu):
    (problem,) = found("trainer=gpu", "trainer.cuda_graph=true", GRAPHS)[0]
    assert "set trainer.compile=true or false" in problem
    assert found("trainer=gpu", "trainer.cuda_graph=true", "trainer.compile=true") == ([], [])


@pytest.mark.parametrize("setting", ["trainer.precision=16-mixed", "trainer.nonfinite=skip"])
def test_a_graph_has_no_effect_where_updates_wait(setting, gpu):
    problems, notes = found("trainer=gpu", "trainer.cuda_graph=true", setting)
    assert problems == []
    assert notes == [
        f"trainer.cuda_graph has no effect with {setting}, which waits for the GPU before each"
        " update"
    ]


def test_a_graph_on_several_gpus_is_called_experimental(gpu):
    problems, (note,) = found("trainer=ddp", "trainer.cuda_graph=true")
    assert problems == []
    assert "experimental" in note


def test_old_gpus_are_refused(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    (problem,) = found("trainer.compile=true")[0]
    assert "compute capability 6.1" in problem


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_without_a_compiler_nothing_is_compiled(monkeypatch, accelerator):
    monkeypatch.setattr(trainer_flags.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    (problem,) = found("trainer.compile=true", f"trainer.accelerator={accelerator}")[0]
    assert "needs a compiler" in problem
    assert ("g++" in problem) == (accelerator == "cpu")


def test_what_has_no_effect_is_said(gpu):
    notes = found("trainer=gpu", "trainer.num_workers=2", SYNC)[1]
    assert len(notes) == 2
    assert "one device" in notes[0]
    assert "trainer.num_workers=2" in notes[1]


@pytest.mark.parametrize(
    ("overrides", "where"),
    [(["trainer=gpu"], "one device"), (["trainer=ddp", "trainer.accelerator=cpu"], "the CPU")],
)
def test_sharing_without_effect_is_said(overrides, where, gpu):
    assert found(*overrides, "trainer.share_device=true") == (
        [],
        [f"trainer.share_device has no effect on {where}"],
    )


def test_the_classes_of_others_are_not_looked_up_here():
    wrong = ("optimizer.generator._target_=os.system", "trainer.fused_optimizers=true")
    (problem,) = found(*wrong)[0]
    assert "optimizer.generator._target_ is 'os.system'" in problem
