"""Slots for jobs side by side: which GPUs and how many threads each gets."""

import os

import pytest

from hep2gan.cli.launch.slots import DeviceSlots, Needs, device_slots
from hep2gan.errors import Hep2ganError


def test_gpus_are_handed_out_by_number(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    slots = DeviceSlots(["0", "3", "5", "7"], each=2, count=2)
    assert slots.take(1) == {"CUDA_VISIBLE_DEVICES": "0,3"}
    assert slots.take(2) == {"CUDA_VISIBLE_DEVICES": "5,7"}
    assert not slots.free
    slots.release(1)
    assert slots.free
    assert slots.take(3) == {"CUDA_VISIBLE_DEVICES": "0,3"}


def test_threads_are_shared_among_jobs_on_the_cpu(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    needs = Needs(devices=2, accelerator="cpu")
    assert device_slots(needs, 2).take(0) == {"OMP_NUM_THREADS": "2"}
    assert device_slots(needs._replace(devices=1)).take(0) == {}
    with pytest.raises(Hep2ganError, match="a job needs 2 machines: jobs start on this machine"):
        device_slots(needs._replace(nodes=2))


def test_jobs_on_gpus_share_the_cores_too(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("hep2gan.cli.launch.slots.available_cores", lambda: 8)
    assert DeviceSlots(["0", "1"], each=1, count=2).take(0) == {
        "CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "4"
    }  # fmt: skip
    assert DeviceSlots(["0"], each=1, count=1).take(0) == {"CUDA_VISIBLE_DEVICES": "0"}
