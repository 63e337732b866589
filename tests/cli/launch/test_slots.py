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


def test_jobs_share_gpus_evenly(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("hep2gan.cli.launch.slots.available_cores", lambda: 8)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    slots = device_slots(Needs(), jobs_per_device=2)
    assert [slots.take(job)["CUDA_VISIBLE_DEVICES"] for job in range(4)] == ["3", "5", "3", "5"]
    assert not slots.free
    slots.release(1)
    assert slots.free
    assert slots.take(4) == {"CUDA_VISIBLE_DEVICES": "5", "OMP_NUM_THREADS": "2"}
    slots.release(0)
    slots.release(2)
    assert slots.take(5)["CUDA_VISIBLE_DEVICES"] == "3"
    assert device_slots(Needs(), 3, 2).count == 3
    assert device_slots(Needs(devices=2), jobs_per_device=3).count == 3


def test_a_job_waits_until_enough_different_gpus_have_room():
    slots = DeviceSlots(["0", "1", "2"], each=2, count=3, jobs_per_device=2)
    taken = [slots.take(job)["CUDA_VISIBLE_DEVICES"] for job in range(3)]
    assert taken == ["0,1", "2,0", "1,2"]
    slots.taken = {0: ["0", "1"], 1: ["0", "1"]}
    assert not slots.free
    slots.release(1)
    assert slots.free
    assert slots.take(2)["CUDA_VISIBLE_DEVICES"] == "2,0"


def test_where_no_gpu_is_used_none_is_shared_which_is_told(caplog):
    assert device_slots(Needs(accelerator="cpu"), 2, jobs_per_device=3).count == 2
    assert caplog.messages == ["No GPU is used, and none shared; jobs at once on the CPU: 2"]


def test_too_few_gpus_are_told_with_what_to_do(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(Hep2ganError, match=r"a job needs 2 GPUs, this machine has 1.*ask for less"):
        device_slots(Needs(devices=2, accelerator="gpu"), fewer="ask for less")
    assert device_slots(Needs(devices=2)).gpus == []
