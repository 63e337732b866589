"""Checkpoints and weight files of strangers run no code: each tries to leave a marker."""

import io
import os
import pickle
import pickletools
import subprocess
import tarfile
import zipfile
from functools import partial
from operator import methodcaller
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion

from hep2gan.errors import Hep2ganError
from hep2gan.models.pretrained import PretrainedWeights
from hep2gan.runs.checkpoints import TrainingPosition, load_best_or_latest, read_checkpoint
from hep2gan.runs.predictions import Predictions
from hep2gan.training.callbacks.checkpoint import AtomicCheckpointIO


class Payload:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def loading_another(marker):
    """torch.load without its guard, of a file that has a payload in turn."""
    inner = Path(marker).with_name("inner.pt")
    torch.save(Payload(os.system, f"touch {marker}"), inner)
    return partial(torch.load, weights_only=False), (str(inner),)


CALLS = {
    "os.system": lambda marker: (os.system, (f"touch {marker}",)),
    "subprocess": lambda marker: (subprocess.check_call, (["touch", str(marker)],)),
    "eval": lambda marker: (eval, (f"open({str(marker)!r}, 'w').close()",)),
    "exec": lambda marker: (exec, (f"open({str(marker)!r}, 'w').close()",)),
    "open": lambda marker: (open, (str(marker), "w")),
    "pathlib": lambda marker: (Path.touch, (Path(marker),)),
    "methodcaller": lambda marker: (methodcaller("touch"), (Path(marker),)),
    "torch.load": loading_another,
    "torch.save": lambda marker: (torch.save, (1, str(marker))),
    "numpy": lambda marker: (np.ndarray.tofile, (np.ones(1), str(marker))),
}


def payload(call, marker):
    function, arguments = CALLS[call](marker)
    return Payload(function, *arguments)


def zipped(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def with_member(name, data, seed=None):
    """A sound checkpoint whose member `name` is replaced or added, checksums right."""
    sound = zipped({"state_dict": {"w": torch.ones(2)}}) if seed is None else seed
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sound)) as old, zipfile.ZipFile(file, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
        new.writestr(name, data)
    return file.getvalue()


def tar(data):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return file.getvalue()


PLACES = {
    "alone": zipped,
    "beside": lambda bad: zipped({"state_dict": {"w": torch.ones(2)}, "hyper_parameters": bad}),
    "within": lambda bad: zipped({"state_dict": {"w": bad}}),
    "deep": lambda bad: zipped({"state_dict": {}, "loops": [{"a": (1, {"b": [bad]})}]}),
    "as a key": lambda bad: zipped({"state_dict": {}, bad: 1}),
    "legacy": lambda bad: zipped({"state_dict": bad}, _use_new_zipfile_serialization=False),
    "bare": lambda bad: pickle.dumps({"state_dict": bad}, 0),
    "protocol 4": lambda bad: zipped({"state_dict": {}, "x": bad}, pickle_protocol=4),
    "tar": lambda bad: tar(pickle.dumps(bad, 2)),
    "second pickle": lambda bad: with_member("archive/constants.pkl", pickle.dumps(bad, 2)),
    "replaced": lambda bad: with_member("archive/data.pkl", pickle.dumps(bad, 2)),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:'torch.load' received")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", CALLS)
def test_no_pickle_runs_code(tmp_path, call, place, caplog):
    marker = tmp_path / "marker"
    bad = payload(call, marker)
    path = tmp_path / "epoch0001.ckpt"
    path.write_bytes(PLACES[place](bad))
    marker.unlink(missing_ok=True)
    with pytest.raises(Hep2ganError, match=r"epoch0001\.ckpt cannot be loaded.*Fix: "):
        read_checkpoint(path)
    with pytest.raises(Hep2ganError):
        load_best_or_latest(tmp_path)
    assert "cannot be loaded" in caplog.text
    for name in ("w.pth", "w.pt", "w.bin", "w.safetensors"):
        path.replace(weights := tmp_path / name)
        with pytest.raises(Hep2ganError, match=r"weights file .*Fix: "):
            PretrainedWeights("resnet10t", False, weights, "classifier.backbone").timm_arguments()
        path = weights
    assert not marker.exists()


@pytest.mark.parametrize("call", CALLS)
def test_the_payloads_would_leave_their_marker(tmp_path, call):
    bad = zipped(payload(call, tmp_path / "marker"))
    torch.load(io.BytesIO(bad), weights_only=False)
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02cos\nsystem\nU\x08touch {}\x85R.",
        b"(S'touch {}'\nios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x08touch {}\x85R.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02ctorch.storage\n_load_from_bytes\nC\x04abcd\x85R.",
        b"\x80\x02ctorch.hub\nload\nX\x01\0\0\0x\x85R.",
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x10\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_device_tensor_from_numpy\n)R.",
    ],
)
def test_opcodes_by_hand(tmp_path, pickled):
    assert list(pickletools.genops(pickled))
    path = tmp_path / "a.ckpt"
    path.write_bytes(with_member("archive/data.pkl", pickled))
    with pytest.raises(Hep2ganError, match=r"(names|pickle has)"):
        read_checkpoint(path)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_archives_are_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(path))
    with pytest.raises(Hep2ganError, match="cannot be loaded"):
        read_checkpoint(path)


def test_lightnings_instantiator_is_never_followed(tmp_path):
    marker = tmp_path / "marker"
    about = {
        "_instantiator": "os.system",
        "_class_path": "subprocess.check_call",
        "init_args": {"args": ["touch", str(marker)]},
    }
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped({"state_dict": {}, "hyper_parameters": about, **about}))
    assert read_checkpoint(path)["hyper_parameters"] == about
    assert not marker.exists()


def test_a_flipped_bit_of_a_weight_is_noticed(tmp_path):
    path = tmp_path / "a.ckpt"
    whole = zipped({"state_dict": {"w": torch.full((64,), 0.7)}})
    place = whole.index(torch.full((8,), 0.7).numpy().tobytes())
    for bit in range(8):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        with pytest.raises(Hep2ganError, match="checksum of its member"):
            read_checkpoint(path)


def test_compressed_archives_are_refused_before_they_are_unpacked(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(50_000_000))
    (tmp_path / "a.ckpt").write_bytes(file.getvalue())
    with pytest.raises(Hep2ganError, match="compressed members"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_arrays_of_objects_in_predictions_are_not_unpickled(tmp_path):
    marker = tmp_path / "marker"
    bad = np.array([Payload(os.system, f"touch {marker}")], object)
    for name in ("id", "classes", "contents", "other"):
        np.savez(tmp_path / "p.npz", allow_pickle=True, **{name: bad})
        with pytest.raises(Hep2ganError, match=r"p\.npz cannot be read.*Fix: "):
            Predictions.load(tmp_path / "p.npz")
    (tmp_path / "p.npz").write_bytes(pickle.dumps(bad))
    with pytest.raises(Hep2ganError, match=r"p\.npz cannot be read"):
        Predictions.load(tmp_path / "p.npz")
    assert not marker.exists()


@pytest.mark.parametrize("state", [None, [1], {"a": 1}, {1: torch.ones(1)}, {"a": None}])
def test_what_holds_no_weights_is_refused(state, tmp_path):
    path = TrainingPosition(1, 0).path(tmp_path)
    torch.save({"state_dict": state}, path)
    with pytest.raises(Hep2ganError, match="is no checkpoint of a run"):
        read_checkpoint(path)


# ---------------------------------------------------------------------- before torch.load

STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0%sX\x03\0\0\0cpuM%stQ"
TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n(%sK\0K\x02\x85K\x01\x85\x89"
    b"ccollections\nOrderedDict\n)RtR"
)


def of_tensor(values, member=b"0", more=b""):
    """A pickle of {"state_dict": {"w": a tensor}} that says how many values its storage has."""
    storage = STORAGE % (member, values.to_bytes(2, "little"))
    tensor = TENSOR % storage + more
    return b"\x80\x02}X\x0a\0\0\0state_dict}X\x01\0\0\0w" + tensor + b"ss."


TRAPS = {
    # CVE-2026-24747: more values than bytes; an item set of what is no dict.
    "too large": (of_tensor(60_000), "has fewer bytes than its tensor needs"),
    "not there": (of_tensor(2, b"7"), "member archive/data/7 has fewer bytes"),
    "item of a tensor": (of_tensor(2, more=b"K\0K\x01s"), "does not support item assignment"),
    "items of a tensor": (of_tensor(2, more=b"(K\0K\x01u"), "does not support item assignment"),
    "memory": (b"\x80\x02}r\xff\xff\xff\x7f.", "numbers more objects than it has bytes"),
}


def test_the_pickles_by_hand_are_those_of_torch(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(with_member("archive/data.pkl", of_tensor(2)))
    assert read_checkpoint(tmp_path / "a.ckpt")["state_dict"]["w"].tolist() == [1, 1]


@pytest.mark.parametrize("trap", TRAPS)
def test_what_old_torch_would_trust_is_refused_before_torch_sees_it(tmp_path, monkeypatch, trap):
    loaded = []
    original = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **o: loaded.append(a[0]) or original(*a, **o))
    path = tmp_path / "a.ckpt"
    pickled, said = TRAPS[trap]
    path.write_bytes(with_member("archive/data.pkl", pickled))
    with pytest.raises(Hep2ganError, match=said):
        read_checkpoint(path)
    # A loader of Lightning's reads by the same way.
    with pytest.raises(Hep2ganError, match=said):
        AtomicCheckpointIO().load_checkpoint(path)
    assert not loaded
    path.write_bytes(with_member("archive/data.pkl", of_tensor(2)))
    read_checkpoint(path)
    assert loaded == [path]


@pytest.mark.parametrize("trap", TRAPS)
def test_weights_too_where_torch_is_old(tmp_path, monkeypatch, trap):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.9.1"))
    file = tmp_path / "w.pth"
    weights = PretrainedWeights("resnet10t", False, file, "classifier.backbone")
    file.write_bytes(with_member("archive/data.pkl", TRAPS[trap][0]))
    with pytest.raises(Hep2ganError, match=f"{TRAPS[trap][1]}.*below 2.10 reads .safetensors"):
        weights.timm_arguments()
    for state in ({"w": torch.ones(2)}, torch.nn.Linear(2, 2).state_dict()):
        torch.save(state, file)
        assert weights.timm_arguments()["pretrained"]
