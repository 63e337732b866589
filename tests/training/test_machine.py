"""What the doctor says of a machine that others use, and of room for loader workers."""

import os
from types import SimpleNamespace

import pytest
import torch

from hep2gan.config import TrainerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import RUNTIME_KEYS
from hep2gan.training import devices, machine
from hep2gan.training.devices import resolve_device, use_threads
from hep2gan.training.machine import check_machine
from hep2gan.training.preflight_report import Note
from hep2gan.training.strategy import devices_and_strategy
from tests.helpers.configs import parsed


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Four cores that nobody uses."""
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 9.0, 9.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(machine, "available_cores", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def found(*overrides, kind=Note):
    settings = parsed("trainer=default", *overrides).trainer
    return [text for text in check_machine(settings, 128) if isinstance(text, kind)]


def test_a_machine_of_ones_own():
    assert found(kind=str) == ["4 cores"]


@pytest.mark.parametrize(("load", "told"), [(1.9, False), (2.1, True), (40.0, True)])
def test_a_loaded_machine_is_told(monkeypatch, load, told):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    notes = found()
    assert len(notes) == told
    if told:
        assert f"a load of {load:.1f} on 4 cores" in notes[0]
        assert "trainer.threads=2" in notes[0]


def test_windows_counts_no_load(monkeypatch):
    monkeypatch.delattr(os, "getloadavg")
    assert found() == []


def test_more_threads_than_cores_are_told():
    assert found("trainer.threads=2", "trainer.devices=2") == []
    (note,) = found("trainer.threads=3", "trainer.devices=2")
    assert "3 threads of each of 2 processes are more than the 4 cores" in note


def test_a_gpu_that_others_use_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    free = {0: 30e9, 1: 70e9}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (free[number], 80e9))
    (note,) = found("trainer.devices=2")
    assert note.startswith("others use GPU 0: 30.0 of 80.0 GB are free")


@pytest.mark.parametrize(("free", "fits"), [(64e6, True), (1e5, False)])
def test_batch_workers_and_shared_memory_are_compared(monkeypatch, tmp_path, free, fits):
    monkeypatch.setattr(machine, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=int(free)))
    options = ("trainer.num_workers=2", "trainer.batch_size=512")
    problems = found(*options, kind=Hep2ganError)
    assert len(problems) == (not fits)
    if fits:
        said = found(*options, kind=str)
        # 512 images and masks of 128 × 128 bytes.
        assert "2 loader workers of batches of up to 16.8 MB, which go through pipes" in said[0]
        assert said[0].endswith("64 MB free")
    else:
        assert "0.1 MB free, and 2 loader workers need 0.4 MB" in str(problems[0])
    assert found(*options, "trainer.cache_on_device=true", kind=Hep2ganError) == []


def test_more_workers_than_cores_are_told():
    (note,) = found("trainer.num_workers=4")
    assert "4 loader workers" in note
    assert "on 4 cores: trainer.num_workers=0 is faster" in note


# ---------------------------------------------------------------------- threads, Apple's GPUs


def test_threads_by_the_option_the_variable_and_the_cores(monkeypatch):
    before = torch.get_num_threads()
    try:
        use_threads(3)
        assert torch.get_num_threads() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        monkeypatch.setattr(devices, "available_cores", lambda: 2)
        use_threads(None)
        assert torch.get_num_threads() == 3
        monkeypatch.delenv("OMP_NUM_THREADS")
        use_threads(None)  # A container of two cores on a machine of more.
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert "trainer.threads" in RUNTIME_KEYS


def test_apples_gpus_are_declined_in_words(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    (note,) = found()
    assert note == (
        "Apple's GPUs (MPS) are not used, since nothing here was ever tried on them: the run takes"
        " the CPU"
    )
    assert found("trainer.accelerator=cpu") == []
    assert resolve_device("auto").type == "cpu"
    # Lightning would take the GPU for auto.
    assert devices_and_strategy(parsed("trainer=default").trainer)["accelerator"] == "cpu"
    with pytest.raises(Hep2ganError, match=r"MPS.*set trainer.accelerator=cpu"):
        devices.require_devices(TrainerSettings(accelerator="gpu"))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(Hep2ganError, match=r"^accelerator is gpu.*no GPU.*Fix: set accelerator"):
        resolve_device("gpu")
