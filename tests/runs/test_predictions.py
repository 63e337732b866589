import io
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.runs.predictions import Predictions, find_subgroups


def drawn(**changes) -> Predictions:
    random = np.random.default_rng(0)
    cells, side = 4, 6
    probabilities = np.array([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5], [0.1, 0.9]], dtype=np.float32)
    whole = Predictions(
        classes=("Homogeneous", "Färbung"),
        id=np.array(["00001", "00002", "a/3", "ü"]),
        specimen=np.array([-1, 0, 0, 7]),
        label=np.array([0, 1, 0, 1]),
        image=random.integers(0, 256, (cells, side, side), dtype=np.uint8),
        truth=random.integers(0, 2, (cells, side, side), dtype=np.uint8),
        crop_size=np.array([[69, 70], [54, 111], [60, 60], [80, 79]]),
        mask=random.integers(0, 256, (cells, side, side), dtype=np.uint8),
        probabilities=probabilities,
        probabilities_true_mask=probabilities[::-1].copy(),
        features=random.standard_normal((cells, 5)).astype(np.float32),
        mean_mask=random.random((side, side)).astype(np.float32),
        train_counts=np.array([3, 0]),
        intensity=np.array(["positive", "", "intermediate", "positive"]),
        pattern=np.array(["b", "a", "b", "b"]),
        block=np.array([0, 0, 1, 1]),
        crop_margin=np.array([10.0, 0.0]),
        distances=random.random((cells, 2)).astype(np.float32),
        train_specimens=np.array([0, 3]),
        validation_specimen=np.array([4, 4, 5]),
        validation_label=np.array([0, 0, 1]),
        validation_probabilities=probabilities[:3],
        validation_distances=random.random((3, 2)).astype(np.float32),
    )
    return replace(whole, **changes)


def same(one: Predictions, other: Predictions) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(Predictions)]
    return all(
        a is b if a is None or b is None else np.array_equal(a, b) and type(a) is type(b)
        for a, b in pairs
    )


OPTIONAL = [f.name for f in fields(Predictions) if f.default is None]


def test_round_trip(tmp_path):
    drawn().save(tmp_path / "p.npz")
    assert same(Predictions.load(tmp_path / "p.npz"), drawn())
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


@pytest.mark.parametrize("name", OPTIONAL)
def test_round_trip_without(name, tmp_path):
    drawn(**{name: None}).save(tmp_path / "p.npz")
    loaded = Predictions.load(tmp_path / "p.npz")
    assert getattr(loaded, name) is None
    assert same(loaded, drawn(**{name: None}))


def test_same_predictions_same_bytes(tmp_path):
    drawn().save(tmp_path / "one.npz")
    drawn().save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_predicted_and_foreground():
    assert drawn().predicted.tolist() == [0, 1, 0, 1]
    mask = np.array([[[0, 127], [128, 255]]], dtype=np.uint8)
    assert drawn(mask=mask).foreground.tolist() == [[[False, False], [True, True]]]
    with pytest.raises(Hep2ganError, match="no class probabilities"):
        _ = drawn(probabilities=None).predicted
    with pytest.raises(Hep2ganError, match="no generated masks"):
        _ = drawn(mask=None).foreground


def test_subgroups_by_hand():
    found = find_subgroups(drawn(pattern=None))
    assert [(kind, name, rows.tolist()) for kind, name, rows in found] == [
        ("intensity", "intermediate", [2]),
        ("intensity", "positive", [0, 3]),
    ]
    found = find_subgroups(drawn(intensity=None))
    assert [(kind, name, rows.tolist()) for kind, name, rows in found] == [
        ("pattern", "a", [1]),
        ("pattern", "b", [0, 2, 3]),
    ]
    assert find_subgroups(drawn(intensity=None, pattern=None)) == []


def test_stored_threshold_is_probability_half():
    probability = np.array([0.49999, 0.5, 0.50001], dtype=np.float32)
    mask = np.rint(probability * 255).astype(np.uint8)[None, None]
    assert drawn(mask=mask).foreground.tolist() == [[[False, True, True]]]


BAD = {
    "there are no cells": {
        f.name: getattr(drawn(), f.name)[:0]
        for f in fields(Predictions)
        if f.name not in ("classes", "mean_mask", "train_counts", "train_specimens", "crop_margin")
        and not f.name.startswith("validation_")
    },
    "ids occur twice": {"id": np.array(["1", "1", "2", "3"])},
    "id is int64": {"id": np.arange(4)},
    "id is object": {"id": np.array(["1", "2", "3", None], dtype=object)},
    r"specimen has shape \(3,\), must be \(4,\)": {"specimen": np.zeros(3, dtype=np.int64)},
    "specimen is below -1": {"specimen": np.array([0, 0, 0, -2])},
    "label is float64": {"label": np.zeros(4)},
    r"label is not in 0\.\.1": {"label": np.array([0, 1, 2, 0])},
    r"label has shape \(4, 1\), must have axes \(N\)": {"label": np.zeros((4, 1), dtype=np.int64)},
    "image is float32": {"image": np.zeros((4, 6, 6), dtype=np.float32)},
    r"truth has shape \(4, 6, 5\)": {"truth": np.zeros((4, 6, 5), dtype=np.uint8)},
    "truth holds values beside 0 and 1": {"truth": np.full((4, 6, 6), 255, dtype=np.uint8)},
    r"crop_size has shape \(4, 3\), must be \(4, 2\)": {"crop_size": np.ones((4, 3), dtype=int)},
    "crop_size is not positive": {"crop_size": np.zeros((4, 2), dtype=np.int64)},
    "mask is bool": {"mask": np.zeros((4, 6, 6), dtype=bool)},
    r"mask has shape \(3, 6, 6\)": {"mask": np.zeros((3, 6, 6), dtype=np.uint8)},
    r"probabilities has shape \(4, 3\)": {"probabilities": np.full((4, 3), 1 / 3, np.float32)},
    r"probabilities are not in \[0, 1\]": {"probabilities": np.array([[2, -1]] * 4, np.float32)},
    "did training diverge": {"probabilities": np.full((4, 2), np.nan, np.float32)},
    "probabilities do not sum to 1": {"probabilities": np.full((4, 2), 0.4, np.float32)},
    "probabilities_true_mask do not": {"probabilities_true_mask": np.zeros((4, 2), np.float32)},
    "probabilities is float64": {"probabilities": np.full((4, 2), 0.5)},
    "features are not finite": {"features": np.full((4, 5), np.inf, dtype=np.float32)},
    r"features has shape \(5, 5\)": {"features": np.zeros((5, 5), dtype=np.float32)},
    r"mean_mask has shape \(5, 6\)": {"mean_mask": np.zeros((5, 6), dtype=np.float32)},
    r"mean_mask is not in \[0, 1\]": {"mean_mask": np.full((6, 6), np.nan, dtype=np.float32)},
    r"train_counts has shape \(3,\), must be \(2,\)": {"train_counts": np.ones(3, dtype=np.int64)},
    r"intensity has shape \(3,\), must be \(4,\)": {"intensity": np.array(["", "", "positive"])},
    "pattern is int64": {"pattern": np.arange(4)},
    "train_counts is negative": {"train_counts": np.array([1, -1])},
    "distances are not finite and 0 or more": {"distances": np.full((4, 2), -1, np.float32)},
    r"distances has shape \(4, 3\)": {"distances": np.zeros((4, 3), np.float32)},
    r"validation_label is not in 0\.\.1": {"validation_label": np.array([0, 1, 2])},
    r"validation_label has shape \(2,\), must be \(3,\)": {"validation_label": np.array([0, 1])},
    "validation_probabilities do not sum": {
        "validation_probabilities": np.zeros((3, 2), np.float32)
    },
    "validation_distances are not finite": {
        "validation_distances": np.full((3, 2), np.inf, np.float32)
    },
    "class names are missing or occur twice": {"classes": ("Golgi", "Golgi")},
}


@pytest.mark.parametrize("fact", BAD)
def test_inconsistent_is_neither_saved_nor_loaded(fact, tmp_path):
    bad = drawn(**BAD[fact])
    with pytest.raises(Hep2ganError, match=fact):
        bad.save(tmp_path / "p.npz")
    assert not list(tmp_path.iterdir())
    arrays = {f.name: getattr(bad, f.name) for f in fields(Predictions)}
    arrays["classes"] = np.asarray(bad.classes)
    kept = {k: v for k, v in arrays.items() if v is not None}
    np.savez(tmp_path / "p.npz", **kept, contents=np.asarray(sorted(kept)))
    with pytest.raises(Hep2ganError, match=r"p\.npz cannot be read"):
        Predictions.load(tmp_path / "p.npz")


def test_rounding_passes():
    rounded = np.array([[1 + 1e-6, -1e-6]] * 4, dtype=np.float32)
    drawn(probabilities=rounded).check()


def test_missing_file_names_the_fix(tmp_path):
    with pytest.raises(Hep2ganError, match=r"p\.npz does not exist.*hep2gan-evaluate"):
        Predictions.load(tmp_path / "p.npz")


@pytest.mark.parametrize(
    "content",
    [b"", b"text", b"PK\x03\x04", b"\x93NUMPY", np.random.default_rng(0).bytes(500)],
    ids=["empty", "text", "zip", "numpy", "noise"],
)
def test_no_archive(content, tmp_path):
    (tmp_path / "p.npz").write_bytes(content)
    with pytest.raises(Hep2ganError, match="cannot be read"):
        Predictions.load(tmp_path / "p.npz")


def test_other_archives(tmp_path):
    path = tmp_path / "p.npz"
    np.save(tmp_path / "p.npy", np.zeros(3))
    (tmp_path / "p.npy").rename(path)
    with pytest.raises(Hep2ganError, match="cannot be read"):
        Predictions.load(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(Hep2ganError, match="cannot be read"):
        Predictions.load(path)
    drawn().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("surplus.npy", _npy(np.zeros(2)))
    with pytest.raises(Hep2ganError, match="cannot be read"):
        Predictions.load(path)


@pytest.mark.parametrize("name", ["mask", "label", "contents"])
def test_a_lost_array_is_noticed(name, tmp_path):
    path = tmp_path / "p.npz"
    drawn().save(path)
    with np.load(path) as file:
        kept = {key: file[key] for key in file.files if key != name}
    np.savez(path, **kept)
    with pytest.raises(Hep2ganError, match=r"arrays are missing|contents"):
        Predictions.load(path)


def _npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_damaged_bytes_never_pass(tmp_path):
    path = tmp_path / "p.npz"
    drawn().save(path)
    whole = path.read_bytes()
    random = np.random.default_rng(1)
    refused = 0
    for position in random.choice(len(whole), size=300, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        try:
            # A date or a version in the archive's directory means nothing: the data are whole.
            assert same(Predictions.load(path), drawn())
        except Hep2ganError:
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_truncated(kept, tmp_path):
    path = tmp_path / "p.npz"
    drawn().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(Hep2ganError, match="cannot be read"):
        Predictions.load(path)


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.npz"
    drawn().save(path)
    before = path.read_bytes()

    def full_disk(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full_disk)
    with pytest.raises(OSError, match="No space"):
        drawn(features=None).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["p.npz"]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", bytes(300_000_000), compresslevel=1)
    with pytest.raises(Hep2ganError, match="unpacks to 300,000,000 bytes, at most 268,435,456"):
        Predictions.load(path)


def test_a_header_that_promises_more_than_there_is(tmp_path):
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (3 * 10**9,)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        archive.writestr("image.npy", header.getvalue() + bytes(9))
    with pytest.raises(Hep2ganError, match=r"image\.npy does not hold the uint8 \(3000000000,\)"):
        Predictions.load(tmp_path / "p.npz")
