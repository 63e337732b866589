"""Which torch fits which GPU and driver, by value; a training is refused before it starts."""

import pytest
import torch

from hep2gan.config import TrainerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.training import devices, gpu_support, machine
from hep2gan.training.gpu_support import TorchBuild, driver_problem, has_kernels, kernels_problem
from hep2gan.training.preflight_report import Note

# What torch.cuda.get_arch_list says in the wheels of PyPI.
OF_2_6 = TorchBuild(
    "2.6.0+cu124", "12.4", ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
)
OF_2_14 = TorchBuild(
    "2.14.1+cu130", "13.0", ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
)
CPU = TorchBuild("2.14.1+cpu", None, ())
TITAN_XP, P100, V100, T4 = (6, 1), (6, 0), (7, 0), (7, 5)
RTX_3090, RTX_4090, H100, RTX_5090 = (8, 6), (8, 9), (9, 0), (12, 0)


def found(accelerator):
    """What the check of the devices says."""
    return list(machine.check_devices(TrainerSettings(accelerator=accelerator)))


@pytest.mark.parametrize(
    ("build", "runs", "fails"),
    [
        (OF_2_6, [TITAN_XP, P100, V100, T4, RTX_3090, RTX_4090, H100, (5, 2)], [RTX_5090, (3, 5)]),
        (
            OF_2_14,
            [T4, RTX_3090, RTX_4090, H100, RTX_5090, (10, 3)],
            [TITAN_XP, P100, V100, (7, 2)],
        ),
    ],
    ids=["2.6", "2.14"],
)
def test_wheels_run_on_their_generations(build, runs, fails):
    assert [has_kernels(gpu, build.kernels) for gpu in runs] == [True] * len(runs)
    assert [has_kernels(gpu, build.kernels) for gpu in fails] == [False] * len(fails)


@pytest.mark.parametrize(
    ("kernel", "runs", "fails"),
    [
        ("sm_60", [(6, 0), (6, 1)], [(5, 2), (7, 0)]),
        ("sm_86", [(8, 6), (8, 9)], [(8, 0)]),
        ("sm_90a", [(9, 0)], [(9, 1), (10, 0)]),
        ("sm_100f", [(10, 0), (10, 3)], [(11, 0), (12, 0)]),
        ("compute_60", [(6, 0), (7, 5), (12, 0)], [(5, 2)]),
        ("gfx90a", [], [(9, 0)]),
    ],
)
def test_what_code_for_a_gpu_runs_on(kernel, runs, fails):
    assert all(has_kernels(gpu, [kernel]) for gpu in runs)
    assert not any(has_kernels(gpu, [kernel]) for gpu in fails)


@pytest.mark.parametrize(
    ("build", "capability", "fix"),
    [
        (OF_2_14, TITAN_XP, '"torch==2.6.*" "torchvision==0.21.*"'),
        (OF_2_14, V100, '"torch==2.6.*" "torchvision==0.21.*"'),
        (OF_2_14, (3, 5), "set accelerator=cpu, in a training trainer.accelerator=cpu"),
        (OF_2_6, RTX_5090, '--upgrade "torch>=2.14" "torchvision>=0.29"'),
    ],
)
def test_the_torch_for_a_gpu_is_named(build, capability, fix):
    problem = kernels_problem("Some GPU", capability, build)
    assert problem.fact == (
        f"torch {build.version} has no kernels for the Some GPU (sm_{capability[0]}{capability[1]})"
    )
    assert problem.rule == f"it was built for {', '.join(build.kernels)}"
    assert problem.fix.endswith(fix)
    # The fix, followed.
    if "torch==2.6" in fix:
        assert kernels_problem("Some GPU", capability, OF_2_6) is None
    elif "torch" in fix:
        assert kernels_problem("Some GPU", capability, OF_2_14) is None


def test_builds_without_cuda_and_a_gpu_that_fits_have_no_problem():
    assert kernels_problem("H100", H100, OF_2_6) is None
    assert kernels_problem("H100", H100, CPU) is None


OLD = (
    "The NVIDIA driver on your system is too old (found version {}). Please update your GPU driver"
)


@pytest.mark.parametrize(
    ("found", "build", "fact", "fix"),
    [
        (12020, OF_2_14, "is for CUDA 12.2, and torch 2.14.1+cu130 for CUDA 13.0",
         'update the driver to R580 or newer, or install a torch for this one: pip install'
         ' "torch==2.6.*" "torchvision==0.21.*"'),
        (11040, OF_2_6, "is for CUDA 11.4, and torch 2.6.0+cu124 for CUDA 12.4",
         "update the driver to R525 or newer"),
        (11040, OF_2_14, "is for CUDA 11.4, and", "update the driver to R580 or newer"),
        (13000, OF_2_14._replace(cuda="14.1"), "is for CUDA 13.0, and",
         "update the driver to a newer one"),
    ],
)  # fmt: skip
def test_an_old_driver_is_told_with_what_it_needs(found, build, fact, fix):
    problem = driver_problem(OLD.format(found), "535.104.05", build)
    assert problem.fact.startswith("NVIDIA's driver 535.104.05 is for CUDA")
    assert fact in problem.fact
    assert problem.fix == fix


def test_no_driver_is_no_old_driver():
    assert driver_problem("Found no NVIDIA driver on your system.", "", OF_2_14) is None
    assert driver_problem("", "", OF_2_14) is None
    assert driver_problem("Torch not compiled with CUDA enabled", "", CPU) is None


def test_torch_without_cuda_beside_a_driver_is_told():
    problem = driver_problem("Torch not compiled with CUDA enabled", "580.65.06", CPU)
    assert "2.14.1+cpu is built without CUDA, on a machine with NVIDIA's driver 580.65.06" in str(
        problem
    )
    assert "make setup TORCH=locked" in problem.fix


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 2023\n"
         "GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)\n", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n",
         "580.65.06"),
        ("something else", ""),
        (None, ""),
    ],
)  # fmt: skip
def test_the_driver_says_its_version(text, version, tmp_path, monkeypatch):
    file = tmp_path / "version"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(gpu_support, "DRIVER_FILE", file)
    assert gpu_support._driver() == version


@pytest.fixture
def titan(monkeypatch):
    """A machine with a TITAN Xp and the torch of today."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: TITAN_XP)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA TITAN Xp")
    monkeypatch.setattr(TorchBuild, "installed", lambda: OF_2_14)


@pytest.mark.parametrize("accelerator", ["gpu", "auto"])
def test_a_training_on_an_old_gpu_is_refused_before_it_starts(titan, accelerator):
    with pytest.raises(Hep2ganError, match=r"no kernels for the NVIDIA TITAN Xp \(sm_61\).*2\.6"):
        list(machine.check_devices(TrainerSettings(accelerator=accelerator)))
    # What the launcher of several ranks asks.
    with pytest.raises(Hep2ganError, match="no kernels"):
        devices.require_devices(TrainerSettings(accelerator=accelerator))
    # Without it, or with a torch that has kernels, it starts.
    assert found("cpu") == ["1 process on the CPU"]


def test_with_the_torch_that_was_named_it_starts(titan, monkeypatch):
    monkeypatch.setattr(TorchBuild, "installed", lambda: OF_2_6)
    assert found("gpu") == ["1 of 1 GPU (NVIDIA TITAN Xp)"]


def test_with_an_old_driver_gpu_is_refused_and_auto_says_why_it_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu_support, "_why_no_gpu", lambda: OLD.format(12020))
    monkeypatch.setattr(TorchBuild, "installed", lambda: OF_2_14)
    with pytest.raises(Hep2ganError, match=r"is for CUDA 12\.2, and torch .*update the driver"):
        found("gpu")
    said, note = found("auto")
    assert said == "1 process on the CPU"
    assert isinstance(note, Note)
    assert note.startswith("the run takes the CPU: NVIDIA's driver is for CUDA 12.2, and torch")
    assert "To use the GPU, update the driver to R580 or newer, or install" in note
    assert found("cpu") == ["1 process on the CPU"]
