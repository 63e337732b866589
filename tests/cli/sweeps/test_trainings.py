"""Sweeps of trainings: what their settings ask of the launcher."""

import pytest

from hep2gan.cli.sweeps.trainings import training_slots
from hep2gan.errors import Hep2ganError
from tests.helpers.configs import composed

ONE = {"slots": None, "jobs_per_device": 1}


def trainer(*overrides):
    return composed("train", "data.root=x", *overrides)["trainer"]


@pytest.mark.parametrize(
    ("overrides", "options", "words"),
    [
        (["trainer.num_nodes=2"], {}, r"trainer.num_nodes is 2.*use hydra/launcher=slurm"),
        (["trainer.devices=two"], {}, r"trainer.devices is 'two'"),
        ([], {"slots": 0}, r"hydra.launcher.slots is 0"),
        ([], {"jobs_per_device": 0}, r"hydra.launcher.jobs_per_device is 0: .*1 or more"),
        (["trainer.accelerator=gpu", "trainer.devices=2"], {}, r"set trainer.devices lower"),
    ],
)
def test_what_no_launch_could_do_is_refused(monkeypatch, overrides, options, words):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(Hep2ganError, match=words):
        training_slots(trainer(*overrides), ONE | options)


def test_the_slots_of_trainings_are_their_devices(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert training_slots(trainer("trainer.devices=2"), ONE).count == 2
    assert training_slots(trainer(), ONE | {"jobs_per_device": 3}).count == 12
    assert training_slots(trainer("trainer=cpu"), ONE | {"slots": 3}).gpus == []
    # Ranks that share GPUs need one.
    shared = trainer("trainer.devices=8", "trainer.share_device=true")
    assert training_slots(shared, ONE).count == 4
