"""Room for a run: what checkpoints take, and what is said where there is too little."""

from types import SimpleNamespace

import pytest
import torch

from hep2gan.errors import Hep2ganError
from hep2gan.settings import Component
from hep2gan.training import disk_space
from hep2gan.training.disk_space import require_disk_space, state_copies


def test_what_optimizers_keep_of_a_parameter():
    weight = torch.nn.Parameter(torch.ones(3))
    for settings in (
        {"_target_": "torch.optim.SGD", "lr": 0.1},
        {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9},
        {"_target_": "torch.optim.Adam", "lr": 0.1, "amsgrad": True},
        {"_target_": "torch.optim.AdamW", "lr": 0.1},
        {"_target_": "torch.optim.NAdam", "lr": 0.1},
        {"_target_": "torch.optim.RAdam", "lr": 0.1},
        {"_target_": "torch.optim.RMSprop", "lr": 0.1, "momentum": 0.9, "centered": True},
    ):
        arguments = {k: v for k, v in settings.items() if k != "_target_"}
        optimizer = getattr(torch.optim, settings["_target_"].rpartition(".")[2])(
            [weight], **arguments
        )
        weight.grad = torch.ones(3)
        optimizer.step()
        kept = [v for v in optimizer.state[weight].values() if torch.is_tensor(v) and v.ndim]
        assert state_copies(Component.model_validate(settings)) == len(kept), settings


def test_no_room_is_told_with_its_sum(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    room = {"checkpoint": 300_000_000, "predictions": 50_000_000}
    # 3 x 0.30 + 0.05 + 0.02 GB of figures and tables.
    assert "up to 0.97 GB" in require_disk_space(tmp_path / "run", keeps_best=False, **room)
    with pytest.raises(Hep2ganError, match=r"1\.00 GB free.*up to 1\.57 GB more \(5 checkpoints"):
        require_disk_space(tmp_path / "run", keeps_best=True, **room)
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    with (tmp_path / "run/checkpoints/epoch0001.ckpt").open("wb") as file:
        file.truncate(600_000_000)
    assert "up to 0.97 GB" in require_disk_space(tmp_path / "run", keeps_best=True, **room)
