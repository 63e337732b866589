"""Paths in tables, stores, archives and run folders: what is written stays in its place.

Reading outside is allowed where a user says so (a run remembers where its store lies, data sets are
often folders of links), and shows nothing but pixels. Names in tables stay in the table's folder:
a table travels with its images, and elsewhere its absolute paths are wrong or somebody else's.
"""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from hep2gan.cli import train
from hep2gan.cli.config_safety import check_external_configs
from hep2gan.cli.worker import run_config
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.readers.image import read_image
from hep2gan.data.readers.manifest import read_manifest
from hep2gan.data.store.integrity import check_content
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.inference.predict import find_images
from hep2gan.runs.checkpoints import read_checkpoint
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.predictions import Predictions
from tests.helpers.commands import call
from tests.helpers.configs import composed
from tests.helpers.raw_sets import cells, flat
from tests.runs.test_predictions import drawn

OUTSIDE = [
    "/etc/passwd",
    "../x.png",
    "a/../../x.png",
    "a/..",
    "..",
    "~/x.png",
    "~root/x.png",
    "C:\\x.png",
    "c:x.png",
    "\\\\server\\share\\x.png",
    "a\\..\\..\\x.png",
    "//server/x.png",
    "./../x.png",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("column", ["image", "mask"])
def test_a_manifest_stays_in_its_folder(tmp_path, name, column):
    row = {"image": "1.png", "mask": "1_m.png"} | {column: name}
    path = tmp_path / "manifest.csv"
    path.write_text(f"image,mask,label\n{row['image']},{row['mask']},a\n")
    with pytest.raises(Hep2ganError, match=r"manifest\.csv.*Fix: (?s:.)*line 2: the"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_tables_of_the_set_stay_in_their_folder(tmp_path, name):
    root = flat(tmp_path / "set", 2)
    table = root / "gt_training.csv"
    sound = table.read_text()
    for file in ("00001.png", "00001_Mask.png"):
        table.write_text(sound.replace(file, name, 1))
        with pytest.raises(Hep2ganError, match=r"gt_training\.csv"):
            read_icpr2016(root)


def test_links_to_images_are_followed_and_show_pixels_alone(tmp_path):
    far = tmp_path / "far.png"
    Image.fromarray(np.full((3, 2), 9, np.uint8)).save(far)
    near = tmp_path / "set" / "1.png"
    near.parent.mkdir()
    near.symlink_to(far)
    np.testing.assert_array_equal(read_image(near), np.full((3, 2), 9))
    far.write_text("root:x:0:0:secret")
    with pytest.raises(Hep2ganError) as caught:
        read_image(near)
    assert "secret" not in str(caught.value)


def test_folders_of_links_are_walked_once(tmp_path):
    inner = tmp_path / "in"
    inner.mkdir()
    Image.fromarray(np.zeros((3, 2), np.uint8)).save(inner / "1.png")
    (inner / "again").symlink_to(tmp_path, target_is_directory=True)
    found = find_images([str(tmp_path)], tmp_path / "out").images
    assert [str(image.name) for image in found] == ["in/1"]
    assert not any(".." in image.name.parts or image.name.is_absolute() for image in found)


def test_a_store_takes_the_place_of_no_link_and_of_no_foreign_folder(tmp_path):
    raw = cells(tmp_path / "raw", 4)
    (precious := tmp_path / "precious").mkdir()
    (precious / "thesis.tex").write_text("x")
    (tmp_path / "store").symlink_to(precious, target_is_directory=True)
    with pytest.raises(Hep2ganError, match=r"thesis\.tex"):
        pack_cells(raw, tmp_path / "store", size=32)
    (tmp_path / ".other.partial").symlink_to(precious, target_is_directory=True)
    with pytest.raises(Hep2ganError, match="cannot be written"):
        pack_cells(raw, tmp_path / "other", size=32)
    assert [path.name for path in precious.iterdir()] == ["thesis.tex"]


def test_a_stores_manifest_names_no_files(tmp_path):
    store = pack_cells(cells(tmp_path / "raw", 4), tmp_path / "store", size=32)
    about = json.loads((store.path / "manifest.json").read_text())
    about |= {"image": "/etc/passwd", "path": "/etc", "source": "../../.."}
    (store.path / "manifest.json").write_text(json.dumps(about))
    again = Store.open(store.path)
    check_content(again)
    assert again.path == store.path
    np.testing.assert_array_equal(again.image, store.image)


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped-hep2gan", "a/../../escaped"])
def test_archives_are_not_unpacked(tmp_path, name):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    drawn().save(inside / "p.npz")
    for path in (inside / "p.npz", inside / "c.ckpt"):
        file = io.BytesIO()
        np.save(file, np.zeros(3))
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(f"{name}.npy", file.getvalue())
    with pytest.raises(Hep2ganError, match=r"p\.npz"):
        Predictions.load(inside / "p.npz")
    with pytest.raises(Hep2ganError, match=r"c\.ckpt"):
        read_checkpoint(inside / "c.ckpt")
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"p.npz", "c.ckpt"}


@pytest.mark.parametrize("name", ["train.log", "metrics.csv", "figures", "predictions.npz"])
def test_a_run_writes_into_its_own_folder(tmp_path, name):
    run = RunFolder(tmp_path / "run")
    run.save_config({"seed": 0})
    (target := tmp_path / "precious").write_text("x")
    for to in (target, "../precious", tmp_path / "nowhere", run.path / name):
        (run.path / name).symlink_to(to)
        for start in (lambda: RunFolder.open(run.path), lambda: run.save_config({"seed": 0})):
            with pytest.raises(Hep2ganError, match=rf"{name} is a link.*Fix: "):
                start()
        (run.path / name).unlink()
    assert target.read_text() == "x"


def test_links_inside_a_run_and_to_runs_and_checkpoints_are_fine(tmp_path):
    run = RunFolder(tmp_path / "disk" / "run")
    run.save_config({"seed": 0})
    (run.path / "a").mkdir()
    run.figures.symlink_to("a")
    (tmp_path / "checkpoints").mkdir()
    run.checkpoints.symlink_to(tmp_path / "checkpoints")
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    assert RunFolder.open(tmp_path / "runs" / "run").config() == {"seed": 0}


@pytest.mark.parametrize(
    "text",
    [
        "name: ../../x",
        "name: /tmp/x",
        "study: ..",
        "study: a\\b",
        "run_dir: /tmp/x",
        "runs: /tmp",
        "stores: ..",
    ],
)
def test_a_method_from_outside_says_not_where_runs_lie(tmp_path, text):
    (tmp_path / "evil.yaml").write_text(f"# @package _global_\n{text}\n")
    with pytest.raises(Hep2ganError, match=r"evil\.yaml .*Fix: "):
        check_external_configs(["--config-dir", str(tmp_path)])


def test_a_linked_log_is_refused_before_it_is_opened(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious").write_text("kept")
    folder = tmp_path / "runs/default/proposed/seed0"
    folder.mkdir(parents=True)
    (folder / "train.log").symlink_to(tmp_path / "precious")
    small = ("data=phantom", "scale=laptop", "trainer.accelerator=cpu")
    for options in (small, (*small, "doctor=true")):
        assert call(train, *options) == 2
        assert "train.log is a link to" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_config(composed("train", *small))
    assert (tmp_path / "precious").read_text() == "kept"
