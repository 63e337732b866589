"""Who does what an error says gets on: each case raises one, does its fix, and succeeds.

A fix that leads to a second error, which leads out in turn, counts as one that helps.
"""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from huggingface_hub import constants
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import save_file
from torch.torch_version import TorchVersion

from hep2gan.cli import evaluate, pack, predict, report, train
from hep2gan.cli.app import name_positionals, quote_text, resolve_config
from hep2gan.cli.config_safety import check_external_configs
from hep2gan.data.prepare import pack_store
from hep2gan.data.readers.csv_table import read_table
from hep2gan.data.readers.fields import FieldsSource
from hep2gan.data.readers.folders import read_folders
from hep2gan.data.readers.icpr2012 import read_icpr2012
from hep2gan.data.readers.icpr2016 import Icpr2016Source, read_icpr2016
from hep2gan.data.readers.image import ImageReading, read_array
from hep2gan.data.readers.manifest import read_manifest
from hep2gan.data.splits import SplitSettings, make_split
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.inference.fields.kind import sort_inputs
from hep2gan.inference.hub import check_push, fetch_export, push_export
from hep2gan.inference.open import find_model
from hep2gan.inference.predict import InputImage, check_output, find_images, load_image
from hep2gan.models.pretrained import PretrainedWeights
from hep2gan.runs.folder import CropGeometry
from hep2gan.training.devices import require_devices
from hep2gan.training.gpu_support import TorchBuild, kernels_problem
from hep2gan.training.loggers import require_logger
from tests.helpers.commands import call, folder_after
from tests.helpers.configs import parsed
from tests.helpers.exports import small_export
from tests.helpers.field_sets import field, labelled_fields
from tests.helpers.hub import running_hub, use_hub
from tests.helpers.made_store import made_store
from tests.helpers.raw_sets import (
    class_folders,
    contest_2012,
    flat,
    folders,
    headed,
    write_csv,
    write_pair,
)
from tests.helpers.raw_sets import save as save_image
from tests.helpers.started import NETS, SMALL
from tests.test_schema import FIELDS, refusals, takes


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refusal(action, fix):
    """The error of an action, whose fix must hold these words."""
    with pytest.raises(Hep2ganError) as caught:
        action()
    assert re.search(fix, caught.value.fix), caught.value.fix
    return caught.value


# ---------------------------------------------------------------- tables


AS_TRAINED = ImageReading()
MANIFEST = Path("manifest.csv")
GOOD = "image,mask,label\n1.png,1_m.png,a\n2.png,2_m.png,b\n"


def manifest(text):
    MANIFEST.write_bytes(text if isinstance(text, bytes) else text.encode())


# What is wrong, what the fix says, and the table after somebody has done so.
TABLES = {
    "not UTF-8": (GOOD.replace("a\n", "ä\n").encode("cp1252"), "encoding UTF-8", GOOD),
    "UTF-16": (GOOD.encode("utf-16"), "encoding UTF-8", GOOD),
    "open quote": (GOOD + '3.png,3_m.png,"' + "c" * 200_000, "quote that is not closed", GOOD),
    "header lacks": (GOOD.replace("label", "class"), "correct the first line", GOOD),
    "header twice": (GOOD.replace("mask", "image,mask"), "correct the first line", GOOD),
    "a comment": ("# of 2024\n" + GOOD, "correct the first line", GOOD),
    "sep=": ("sep=,\n" + GOOD, "correct the first line", GOOD),
    "empty": ("", "one line per cell below the header", GOOD),
    "no cells": ("image,mask,label\n", "one line per cell below the header", GOOD),
    "no label": (GOOD.replace("b\n", "nan\n"), "(?s)correct these lines.*line 3: no label", GOOD),
    "outside": (GOOD.replace("2.png", "../2.png"), "copy the files there", GOOD),
    "absolute": (GOOD.replace("2.png", "/x/2.png"), "use relative paths", GOOD),
    "twice": (GOOD + "1.png,1_m.png,a\n", "(?s)correct these lines.*line 4", GOOD),
    "no name": (GOOD.replace("b\n", "b,x\n"), "4 columns, but the header names 3", GOOD),
    "two spellings": (GOOD + "3.png,3_m.png,A\n", "choose one", GOOD + "3.png,3_m.png,a\n"),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.usefixtures("here")
def test_manifests(name):
    broken, fix, fixed = TABLES[name]
    manifest(broken)
    refusal(lambda: read_manifest(MANIFEST), fix)
    manifest(fixed)
    assert len(read_manifest(MANIFEST).cells) == fixed.count("\n") - 1


@pytest.mark.usefixtures("here")
def test_a_manifest_that_is_not_there():
    Path("set").mkdir()
    refusal(lambda: read_manifest(Path("set")), "to a csv file, or to a folder that holds manifest")
    refusal(lambda: read_table(MANIFEST), "check the path")
    manifest(GOOD)
    assert read_manifest(MANIFEST).cells
    assert read_manifest(Path()).cells


@pytest.mark.usefixtures("here")
def test_a_set_without_intensities_to_learn():
    for number in (1, 2):
        write_pair(Path(), number)
    table = "image,mask,label,intensity\n1.png,1_m.png,a,\n2.png,2_m.png,b,\n"
    table = re.sub(r"(\d)(_m)?(?=\.png)", lambda m: f"0000{m[1]}{'_Mask' * bool(m[2])}", table)

    def learn(text):
        manifest(text)
        return pack_cells(read_manifest(MANIFEST), Path("store"), size=32).for_target("intensity")

    refusal(lambda: learn(table), "column intensity says positive or intermediate")
    filled = table.replace("a,\n", "a,positive\n")
    refusal(lambda: learn(filled), "set target=pattern; or pack again")
    assert learn(filled.replace("b,\n", "b,intermediate\n")).label.tolist() == [1, 0]
    assert Store.open(Path("store")).for_target("pattern").classes == ("a", "b")


# ---------------------------------------------------------------- labelled fields


def fields_source(**settings):
    given = {"name": "mine", "root": "set", "store": "store", "size": 32} | settings
    return FieldsSource(**given)


def pack_fields(**settings):
    return pack_store(fields_source(**settings), workers=1)


def wrong_size(root, labels):
    save_image(labels[:-1], root / "00001_p0_labels.png")
    yield "export it again at the size of the field"
    save_image(labels, root / "00001_p0_labels.png")


def wrong_colours(root, labels):
    save_image(
        np.stack([labels, labels * 2, labels], 2).astype(np.uint8), root / "00001_p0_labels.png"
    )
    yield r"labels.astype\('uint16'\)"
    save_image(labels.astype("uint16"), root / "00001_p0_labels.png")


def wrong_stack(root, labels):
    (root / "00001_p0_labels.png").unlink()
    tifffile.imwrite(root / "00001_p0_labels.tif", np.stack([labels] * 3), metadata={"axes": "ZYX"},
                     photometric="minisblack")  # fmt: skip
    yield "save the number of each cell.* as one 16-bit grey PNG"
    (root / "00001_p0_labels.tif").unlink()
    save_image(labels, root / "00001_p0_labels.png")


def float_labels(root, labels):
    (root / "00001_p0_labels.png").unlink()
    tifffile.imwrite(root / "00001_p0_labels.tif", labels.astype(np.float32))
    yield r"labels.astype\('uint16'\)"
    tifffile.imwrite(root / "00001_p0_labels.tif", labels.astype("uint16"))


def the_field_itself(root, labels):
    shutil.copy(root / "00001_p0.png", root / "00001_p0_labels.png")
    yield "name the label image of the field, not an image"
    save_image(labels, root / "00001_p0_labels.png")


def no_label_image(root, labels):
    (root / "00001_p0_labels.png").rename("away.png")
    yield "00001_p0.png has no label image. Fix: add it"
    Path("away.png").rename(root / "00001_p0_labels.png")


def no_table(root, labels):
    table = (root / "fields.csv").read_bytes()
    (root / "fields.csv").unlink()
    yield "write fields.csv headed image,label"
    (root / "fields.csv").write_bytes(table)


def table_of_other_fields(root, labels):
    mend_text(root / "fields.csv", ".png", ".tif")
    for name in ("00001_p0", "00001_p1", "00002_p0", "00002_p1"):
        mend_text(root / "fields.csv", name, f"x{name}")
    yield "correct its names"
    mend_text(root / "fields.csv", "x0", "0")
    mend_text(root / "fields.csv", ".tif", ".png")


def field_without_a_line(root, labels):
    mend_text(root / "fields.csv", "00001_p0.png,s0,a,positive", "")
    yield "add its line"
    with (root / "fields.csv").open("a") as file:
        file.write("00001_p0.png,s0,a,positive\n")


@pytest.mark.parametrize(
    "trouble",
    [wrong_size, wrong_colours, wrong_stack, float_labels, the_field_itself, no_label_image,
     no_table, table_of_other_fields, field_without_a_line],
)  # fmt: skip
@pytest.mark.usefixtures("here")
def test_labelled_fields(trouble):
    root = labelled_fields(Path("set"))
    steps = trouble(root, field(0)[1])
    refusal(pack_fields, f"(?s){next(steps)}")
    next(steps, None)
    assert len(pack_fields()) == 20


@pytest.mark.usefixtures("here")
def test_label_images_by_another_name_and_inverted_masks():
    labelled_fields(Path("set"), ending="_cells")
    refusal(pack_fields, r"data.labels=\*_ENDING")
    assert len(pack_fields(labels="*_cells")) == 20
    for path in Path("set").glob("*_cells.png"):
        save_image(np.uint8(255) * (np.asarray(Image.open(path)) == 0), path)
    refusal(lambda: pack_fields(labels="*_cells"), "(?s)repair these.*data.invert_masks=true")
    assert len(pack_fields(labels="*_cells", invert_masks=True)) == 20


# ---------------------------------------------------------------- the ICPR 2016 set


def mend_text(file, old, new):
    Path(file).write_text(Path(file).read_text().replace(old, new))


def several_tables(root):
    headed(root)
    shutil.copy(root / "classes.csv", root / "copy.csv")
    yield "call the right one gt_training.csv"
    (root / "classes.csv").rename(root / "gt_training.csv")


def wrong_lines(root):
    flat(root)
    mend_text(root / "gt_training.csv", "Golgi", "Mitotic")
    yield "(?s)correct these lines.*unknown class 'Mitotic'"
    mend_text(root / "gt_training.csv", "Mitotic", "Golgi")


def one_cell_twice(root):
    flat(root)
    shutil.copy(root / "00001.png", root / "1.png")
    yield "move one of them away"
    (root / "1.png").unlink()


def one_id_in_two_classes(root):
    folders(root)
    write_pair(root / "Golgi", 1)
    yield "move one of them away with its mask"
    (root / "Golgi" / "00001.png").unlink()
    (root / "Golgi" / "00001_Mask.png").unlink()


def unknown_folder(root):
    folders(root)
    write_pair(root / "whole", 60)
    yield "rename it, move it away, or read any classes with data=folders"
    shutil.rmtree(root / "whole")


def empty_specimens(root):
    flat(root)
    (root / "specimens.csv").touch()
    yield "write or remove it"
    (root / "specimens.csv").unlink()


def wrong_specimens(root):
    flat(root)
    write_csv(root / "specimens.csv", [["image", "specimen"], ["99", "s"]])
    yield "correct these lines"
    write_csv(root / "specimens.csv", [["image", "specimen"], ["12", "s"]])


def no_such_folder(root):
    yield "set data.root to the folder of the set"
    flat(root)


def empty_folder(root):
    root.mkdir()
    yield "unpack the set there"
    flat(root)


def no_table(root):
    flat(root)
    (root / "gt_training.csv").unlink()
    yield "write a csv table headed 'Image ID,Image class' there"
    headed(root)


def another_table(root):
    flat(root)
    (root / "gt_training.csv").write_text("name,pattern\n1,Golgi\n")
    yield "write a csv table headed 'Image ID,Image class' there"
    (root / "gt_training.csv").unlink()
    headed(root)


def other_kinds(root):
    folders(root)
    for path in root.rglob("*.png"):
        path.rename(path.with_suffix(".gif"))
    yield "save them as PNG"
    for path in root.rglob("*.gif"):
        path.rename(path.with_suffix(".png"))


def no_images(root):
    root.mkdir()
    (root / "notes.txt").touch()
    yield "set data.root to the folder of the images"
    flat(root)


def table_elsewhere(root):
    headed(root / "dataset")
    (root / "dataset" / "classes.csv").rename(root / "classes.csv")
    yield "move images and masks there"
    for path in (root / "dataset").iterdir():
        path.rename(root / path.name)


def table_without_images(root):
    headed(root)
    for path in root.glob("*.png"):
        path.unlink()
    yield "unpack images and masks there"
    headed(root)


LAYOUTS = [
    *(several_tables, wrong_lines, one_cell_twice, one_id_in_two_classes, unknown_folder),
    *(empty_specimens, wrong_specimens, no_such_folder, empty_folder, no_table, another_table),
    *(other_kinds, no_images, table_elsewhere, table_without_images),
]


def follow(layout, read, root):
    """A set that is refused, and read whole after what the fix says."""
    steps = layout(root)
    refusal(lambda: read(root), next(steps))
    assert next(steps, None) is None
    raw = read(root)
    assert (len(raw.cells), raw.problems) == (12, ())
    assert all(cell.image.is_file() and cell.mask.is_file() for cell in raw.cells)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_folders_of_the_set(layout, tmp_path):
    follow(layout, read_icpr2016, tmp_path / "set")


def test_a_folder_above_the_set_names_the_folder_of_the_set(tmp_path):
    flat(tmp_path / "inner")
    found = refusal(lambda: read_icpr2016(tmp_path), "set data.root to ")
    assert len(read_icpr2016(Path(found.fix.removeprefix("set data.root to "))).cells) == 12


def other_reader(root):
    """Follow the fix of data=icpr2016 for a folder of another layout."""
    fix = refusal(lambda: read_icpr2016(root), "read it with data=").fix
    reader, place = re.fullmatch(r"read it with data=(\w+) data.root=(.*)", fix).groups()
    return {"folders": read_folders, "icpr2012": read_icpr2012}[reader](Path(place))


def test_layouts_of_others_name_their_reader(tmp_path):
    for name, pattern, mask in (
        ("split", "{split}/{name}/{n}", ""),
        ("parallel", "images/{name}/{n}", "masks/{name}/{n}"),
        ("numbered", "{name}/{n}", "{name}/{n}_mask"),
    ):
        class_folders(tmp_path / name, pattern, mask, names=("1", "2", "3"))
        assert len(other_reader(tmp_path / name).cells) == 12
    raw = other_reader(contest_2012(tmp_path / "2012"))
    assert (len(raw.cells), len(raw.classes)) == (12, 6)
    flat(tmp_path / "table")
    (tmp_path / "table" / "gt_training.csv").unlink()
    write_csv(tmp_path / "table" / "all.csv", [["image", "mask", "label"]])
    refusal(lambda: read_icpr2016(tmp_path / "table"), "read it with data=manifest")


# Folders as data=folders does not read them: broken by, what the fix says, and mended by.


def plain(root):
    return class_folders(root, "{name}/{n}", "{name}/{n}_mask")


def two_layouts(root):
    plain(root)
    class_folders(root, "train/{name}/{n}", "train/{name}/{n}_mask")
    yield "move the other images away"
    shutil.rmtree(root / "train")


def loose_images(root):
    plain(root)
    write_pair(root, 99)
    yield "move the other images away"
    (root / "00099.png").unlink()
    (root / "00099_Mask.png").unlink()


def one_folder_too_high(root):
    class_folders(root, "set/{name}/{n}", "set/{name}/{n}_mask")
    yield f"set data.root={root / 'set'}"
    for folder in (root / "set").iterdir():
        folder.rename(root / folder.name)


def deeper(root):
    class_folders(root, "{name}/{split}/x/{n}", "{name}/{split}/x/{n}_mask")
    yield "move the images up into the folders of their classes"
    for file in root.rglob("*.png"):
        file.rename(file.parent.parent.parent / file.name)


def masks_of_other_names(root):
    class_folders(root, "images/{name}/{n}", "masks/{name}/of_{n}")
    yield "rename the masks after their images"
    for mask in (root / "masks").rglob("*.png"):
        mask.rename(mask.with_name(mask.name.removeprefix("of_")))


def two_masks(root):
    plain(root)
    class_folders(root, "masks/{name}/{n}")
    yield "move the others away"
    shutil.rmtree(root / "masks")


def no_classes(root):
    class_folders(root, "images/{n}", "masks/{n}")
    yield "labels.csv headed image,label"
    names = [[n, "abc"[n % 3]] for n in range(1, 13)]
    write_csv(root / "labels.csv", [["image", "label"], *names])


def table_of_other_files(root):
    class_folders(root, "images/{n}", "masks/{n}")
    write_csv(root / "labels.csv", [["image", "label"], *([f"x{n}", "a"] for n in range(1, 13))])
    yield "or correct its names"
    mend_text(root / "labels.csv", "x", "")


def line_without_class(root):
    class_folders(root, "images/{n}", "masks/{n}")
    write_csv(
        root / "labels.csv", [["image", "label"], *([n, "a"] for n in range(1, 12)), [12, ""]]
    )
    yield "correct the line"
    mend_text(root / "labels.csv", "12,", "12,a")


def several_label_tables(root):
    no_classes_yet = no_classes(root)
    next(no_classes_yet)
    next(no_classes_yet, None)
    shutil.copy(root / "labels.csv", root / "images" / "old.csv")
    yield "move the others away"
    (root / "images" / "old.csv").unlink()


def two_spellings(root):
    class_folders(root, "{split}/{name}/{n}", "{split}/{name}/{n}_mask", names=("Golgi", "b"))
    (root / "test" / "Golgi").rename(root / "test" / "golgi")
    yield "call both 'Golgi'"
    (root / "test" / "golgi").rename(root / "test" / "Golgi")


def untrained_class(root):
    class_folders(root, "{split}/{name}/{n}", "{split}/{name}/{n}_mask")
    (root / "test" / "Rods").rename(root / "test" / "misc")
    yield "rename them as in the training folder"
    (root / "test" / "misc").rename(root / "test" / "Rods")


def a_field(root):
    plain(root)
    field = Image.fromarray(np.zeros((1038, 1388, 3), np.uint8))
    (root / "01").mkdir()
    field.save(root / "01" / "01.bmp")
    field.save(root / "01" / "01_mask.bmp")
    yield "crop the cells out of the fields"
    shutil.rmtree(root / "01")


def table_of_others(root):
    plain(root)
    (root / "manifest.csv").write_text("image,label\n")
    yield "set data=manifest, or move the table away"
    (root / "manifest.csv").unlink()


def nothing_there(root):
    yield "set data.root to the folder of the set"
    plain(root)


FOREIGN = [
    *(two_layouts, loose_images, one_folder_too_high, deeper, masks_of_other_names, two_masks),
    *(no_classes, table_of_other_files, line_without_class, several_label_tables, two_spellings),
    *(untrained_class, a_field, table_of_others, nothing_there),
]


@pytest.mark.parametrize("layout", FOREIGN, ids=lambda layout: layout.__name__)
def test_folders_of_any_set(layout, tmp_path):
    follow(layout, read_folders, tmp_path / "set")


def test_the_folder_of_images_alone_names_the_folder_of_the_set(tmp_path):
    class_folders(tmp_path, "images/{name}/{n}", "masks/{name}/{n}")
    found = refusal(lambda: read_folders(tmp_path / "images"), "set data.root=")
    assert len(read_folders(Path(found.fix.removeprefix("set data.root="))).cells) == 12


# ---------------------------------------------------------------- arrays


def test_arrays_that_are_no_image():
    cells = np.random.default_rng(0).random((40, 30, 3)).astype(np.float32)
    refusal(lambda: read_array("a", cells), r"one channel, as image\[\.\.\., 1\]")
    one = cells[..., 1]
    refusal(lambda: read_array("a", one - 0.5), "subtract its smallest value, or clip it")
    refusal(lambda: read_array("a", one), "set data.white_level .* to the value that means white")
    assert np.array_equal(read_array("a", one, 1), one * np.float32(255))
    refusal(lambda: read_array("a", one > 0.5), "give uint8, uint16 or float")
    assert np.array_equal(read_array("a", (one > 0.5).astype(np.uint8)), one > 0.5)


# ---------------------------------------------------------------- masks


def packed(root, **settings):
    source = Icpr2016Source(name="set", root=str(root), size=32, store=f"{root}_store", **settings)
    return pack_store(source, workers=1)


def test_masks_for_some_cells_only(tmp_path):
    root = folders(tmp_path / "set")
    mask = root / "Golgi" / "00011_Mask.png"
    content = mask.read_bytes()
    mask.unlink()
    refusal(
        lambda: packed(root),
        r"add the missing masks, .*data\.on_error=skip, .*data\.masks=false",
    )
    assert len(packed(root, on_error="skip")) == 11
    assert not packed(root, masks=False).has_masks
    mask.write_bytes(content)
    assert packed(root).has_masks


def test_masks_of_another_folder(tmp_path):
    root, drawn = folders(tmp_path / "set"), tmp_path / "drawn"
    for mask in root.rglob("*_Mask.png"):
        place = drawn / "masks" / mask.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        mask.rename(place)
    refusal(lambda: packed(root, masks=str(drawn)), "set data.masks to that folder, or to false")
    assert packed(root, masks=str(drawn / "masks")).has_masks
    assert not packed(root, masks=False).has_masks


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(("kind", "key", "field"), FIELDS)
def test_values_that_errors_propose_are_taken(kind, key, field):
    nonsense = next(value for value in (-1, [], {}, "abc") if not takes(key, field, value))
    error = refusals(kind, key, nonsense)[key]
    if not (proposed := re.fullmatch(rf"set ({re.escape(key)}=.*), for example", error.fix)):
        assert error.fix.startswith(f"choose {key.replace('.', '/')}=NAME")
        return
    # As the command line takes it.
    value = OverridesParser.create().parse_override(quote_text(proposed[1])).value()
    assert key not in refusals(kind, key, value)


# ---------------------------------------------------------------- commands


def save(path, shape=(60, 60)):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 200, shape, np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.mark.usefixtures("here")
def test_inputs_of_predictions():
    output = Path("out")
    refusal(lambda: find_images(["a"], output), "check the path")
    Path("a").mkdir()
    refusal(lambda: find_images(["a"], output), "name an image, or a folder that holds some")
    save("a/1_mask.png")
    refusal(lambda: find_images(["a"], output), "name an image")
    assert find_images(["a/1_mask.png"], output).images
    save("j/1.gif")
    refusal(lambda: find_images(["j"], output), "save them as PNG")
    save("j/1.png")
    assert find_images(["j"], output).images
    save("k/1.png")
    refusal(lambda: find_images(["j", "k"], output), "two commands")
    assert find_images(["j"], output).images
    assert find_images(["k"], output).images
    save("f.png", (700, 900))
    (field,) = find_images(["f.png"], output).images
    crops = CropGeometry(100, 60, 80, 10, 55.0)
    words = "set input=field if it shows many cells, input=crop if it shows one"
    refusal(lambda: load_image(field, 32, ImageReading(), False, crops), words)
    assert sort_inputs([field], "field", crops).fields == [field]
    # What input=crop does.
    assert load_image(field, 32, ImageReading(), False).shape == (700, 900)


@pytest.mark.usefixtures("here")
def test_results_of_other_images():
    save("a/1.png")
    save("b/2.png")
    (one,), (two,) = (find_images([name], Path("out")).images for name in "ab")
    check_output(Path("out"), [one])
    Path("out").mkdir()
    Path("out/predictions.csv").write_text("image,predicted\na/1.png,Golgi\n")
    check_output(Path("out"), [one])
    check_output(Path("out"), [two, one])
    check_output(Path("out"), [InputImage(Path("a/1.png").resolve(), Path("1"))])
    found = refusal(lambda: check_output(Path("out"), [two]), "set output=out_2 .*, or remove out")
    assert "lists 1 other image, e.g. a/1.png" in found.fact
    check_output(Path("out_2"), [two])
    Path("out/predictions.csv").write_text("patient,diagnosis\n1,x\n")
    refusal(lambda: check_output(Path("out"), [two]), "remove out")
    shutil.rmtree("out")
    check_output(Path("out"), [two])


def test_arguments():
    found = refusal(lambda: name_positionals(["a", "b"], ("run",)), "see --help")
    assert "KEY=VALUE" in found.rule
    assert name_positionals(["a", "checkpoint=b"], ("run",))
    for key, fixed in (("hydra.run.dir=x", "run_dir=x"), ("hydra.sweep.dir=x", "runs=x")):
        found = refusal(lambda key=key: name_positionals([key], ()), "set run")
        assert fixed.partition("=")[0] in found.fix
        assert name_positionals([fixed], ())
    refusal(lambda: name_positionals(["hydra.job.chdir=true"], ()), "leave it out")
    refusal(lambda: resolve_config(OmegaConf.create({"run": "???"})), "add run=")
    assert resolve_config(OmegaConf.create({"run": "a"})) == {"run": "a"}


@pytest.mark.parametrize("text", ["hydra: {run: {dir: x}}", "trusted: [a]", "runs: x", "a: b: c"])
def test_configurations_from_elsewhere(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(f"loss: 1\n{text}\n")
    refusal(lambda: check_external_configs(["--config-dir", str(tmp_path)]), "read the files")
    file.write_text("loss: 1\n")
    check_external_configs(["--config-dir", str(tmp_path)])
    refusal(lambda: check_external_configs(["--experimental-rerun", "x"]), "with its command line")


@pytest.mark.usefixtures("here")
def test_packing(capsys):
    """From no data to a store, by what the command itself says."""

    def said(*arguments):
        assert call(pack, "data.size=32", "workers=1", *arguments) == 2
        return capsys.readouterr().err

    assert "add data.root=FOLDER" in said()
    assert "set data.root to the folder of the set" in said("data.root=set")
    Path("set").mkdir()
    assert "unpack the set there" in said("data.root=set")
    flat(Path("set"))
    assert call(pack, "data.size=32", "workers=1", "data.root=set") == 0
    refused = ("data=phantom", "data.store=stores/icpr2016_32", "data.size=64")
    assert call(train, *refused, "pretrained=false", "trainer.accelerator=cpu") == 2
    assert "set data.size=32" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_store_of_another_size(capsys):
    """Packed at one size and trained at another: the error names the whole command."""
    flat(Path("a set"))
    options = ["data.root=a set", "data.name=mine", "data.masks=false", "data.on_error=skip"]
    assert call(pack, *options, "workers=1", "data.size=48") == 0
    capsys.readouterr()
    small = [*options, "method=resnet50", "pretrained=false", "trainer.accelerator=cpu"]
    assert call(train, *small, "scale=laptop") == 2
    said = capsys.readouterr().err
    assert "here of 64 px; stores/mine_48 holds images of 48 px" in said
    command, *words = shlex.split(re.search(r"Fix: run (hep2gan-pack .*)\.\n", said)[1])
    assert {"data.size=64", *options} < set(words)
    assert call(pack, *words, "workers=1") == 0
    assert (Store.open(Path("stores/mine_64")).size, command) == (64, "hep2gan-pack")
    # The word of the other command is answered with the key of this one.
    assert call(pack, *options, "scale=laptop") == 2
    assert "Fix: write data.size=64 instead" in capsys.readouterr().err
    assert call(pack, *options, "method=proposed") == 2
    assert "method is a group of hep2gan-train. Fix: leave it out" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_nothing_packed_and_no_set(capsys):
    assert call(train, "data=manifest", "stores=elsewhere") == 2
    said = capsys.readouterr().err
    assert "run hep2gan-pack data=manifest data.root=FOLDER stores=elsewhere;" in said
    assert "try it without a data set: hep2gan-train data=phantom scale=laptop" in said


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    trained = (train, *SMALL, *NETS, "trainer.max_epochs=1")
    with folder_after(tmp_path_factory, trained):
        yield Path("runs/default/proposed/seed0")


@pytest.mark.integration
def test_predictions_of_a_run(run, capsys):
    def said(*arguments):
        assert call(predict, *arguments) == 2
        return capsys.readouterr().err

    save("in/cell.png")
    trusted = "trusted=[tests.integration.nets]"
    assert "give a folder that hep2gan-train wrote" in said("in", "in")
    assert f"name a run in it: {run}." in said("runs", "in")
    assert "add trusted=" in said(str(run), "in")
    assert "does not exist" in said(str(run), "in", trusted, "checkpoint=gone.ckpt")
    assert call(predict, str(run), "in", trusted) == 0
    assert "set output=in/predictions" in said(str(run), "in", trusted, "output=in")
    assert call(predict, str(run), "in", trusted, "output=in/predictions") == 0
    assert call(predict, str(run), "in", trusted, "output=in/predictions") == 0
    assert "1 of 1 image done" in capsys.readouterr().out
    # Two runs together: their weights are those that each chose, and they have seen alike images.
    shutil.copytree(run, run.with_name("seed1"))
    together = (str(run.parent), "in", trusted, "output=together")
    assert "leave checkpoint out" in said(*together, "checkpoint=last.ckpt")
    assert call(predict, *together) == 0
    assert "2 runs predict together" in capsys.readouterr().out
    mend_text(run.with_name("seed1") / "store.json", '"size": 32', '"size": 48')
    assert f"leave {run.with_name('seed1')} out" in said(*together)
    assert call(predict, str(run), *together[1:]) == 0
    shutil.rmtree(run.with_name("seed1"))
    # A field, as it is photographed; the run knows how large its cells were.
    save("fields/field.png", (1040, 1388))
    field = ("fields", trusted, "~cells", "output=of_fields")
    assert "add the label image" in said(str(run), *field)
    labels = np.zeros((1040, 1388), np.uint16)
    labels[300:370, 300:380], labels[500:570, 300:380] = 1, 2
    Image.fromarray(labels).save("fields/field_labels.png")
    assert call(predict, str(run), *field) == 0
    assert "1 image taken for a field of cells" in capsys.readouterr().out
    Path("slides.csv").write_text("image,specimen\nother.png,A\n")
    assert "add a line for each" in said(str(run), *field, "specimens=slides.csv")
    Path("slides.csv").write_text("image,specimen\nfield.png,A\n")
    assert call(predict, str(run), *field, "specimens=slides.csv") == 0
    assert call(predict, str(run), *field, "input=crop", "output=of_one") == 0
    # The key that the fix names is one of this command.
    Image.fromarray(np.full((40, 40), 4000, np.int32)).save("in/deep.tif")
    fix = re.search(r"set (\S*white_level)", said(str(run), "in", trusted))
    assert call(predict, str(run), "in", trusted, f"{fix[1]}=4095") == 0


@pytest.mark.integration
def test_evaluation_and_report_of_a_run(run, capsys):
    for command in (evaluate, report):
        assert call(command) == 2
        assert re.search(r"no RUN is given: .* add it, see --help", capsys.readouterr().err)
        options = ["trusted=[tests.integration.nets]"] if command is evaluate else ["files=false"]
        assert call(command, str(run), *options) == 0


@pytest.mark.integration
def test_another_set(run, capsys):
    options = ["figures=false", "trusted=[tests]"]

    def said(*words):
        assert call(evaluate, str(run), *words, *options) == 2
        return capsys.readouterr().err

    lab = ["data=phantom", "data.count=60", "data.lab=1"]
    assert "add as=NAME" in said(*lab)
    assert "add data=manifest data.root=FOLDER" in said("as=lab1")
    assert "choose another, e.g. as=lab2" in said(*lab, "as=lab/1")
    assert "leave data.size out" in said(*lab, "as=lab1", "data.size=64")
    assert call(evaluate, str(run), *lab, "as=lab1", *options) == 0
    assert "choose another as=NAME, or delete" in said(*lab[:2], "data.lab=2", "as=lab1")
    assert call(evaluate, str(run), *lab[:2], "data.lab=2", "as=lab2", *options) == 0
    own = ["data=phantom", "data.count=60", "as=own"]
    assert "hep2gan-evaluate runs/default/proposed/seed0 tests on the run's own" in said(*own)
    # Classes that no name says are the same.
    raw = Path("stores/synthetic_60_0_lab1")
    cells = [line.split(",") for line in (raw / "gt_training.csv").read_text().splitlines()]
    rows = [[image, mask, f"pattern {name[0]}"] for image, mask, name, _ in cells]
    shutil.copytree(raw, "codes")
    write_csv(Path("codes/manifest.csv"), [["image", "mask", "label"], *rows])
    codes = ["data=manifest", "data.root=codes", "as=codes"]
    example = re.search(r"e\.g\. '(classes=.*)'", said(*codes))
    assert call(evaluate, str(run), *codes, example[1], *options) == 0
    # Cells are found in fields.
    finder = "cells._target_=tests.inference.fields.test_evaluation.BrightPieces"
    assert "add data=fields data.root=FOLDER" in said(finder)
    assert "or name fields: data=fields data.root=FOLDER" in said(*lab, "as=lab1", finder)
    labelled_fields(Path("FOLDER"))
    fields = ["data=fields", "data.root=FOLDER", "as=fields", "data.keep_implausible=true"]
    names = "classes={a: Homogeneous, b: Golgi}"
    assert call(evaluate, str(run), *fields, names, finder, *options) == 0


# ---------------------------------------------------------------- the hub


@pytest.fixture
def pushed(tmp_path, monkeypatch):
    """A hub with one public model, of which this machine has seen nothing."""
    with running_hub() as hub:
        use_hub(monkeypatch, hub.endpoint, tmp_path / "home")
        monkeypatch.setenv("HF_TOKEN", "hf_of_the_lab")
        export = small_export(tmp_path / "export")
        push_export(export, "lab/hep2", private=False, message="first")
        monkeypatch.delenv("HF_TOKEN")
        yield hub


def test_no_token(pushed, monkeypatch):
    refusal(lambda: check_push("lab/hep2"), "`hf auth login`, or set HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_lab")
    check_push("lab/hep2")


def test_a_private_model_without_token(pushed, monkeypatch):
    pushed.repositories["lab/hep2"].private = True
    refusal(lambda: fetch_export("hf://lab/hep2"), "check the name; of a private one, log in")
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_lab")
    assert fetch_export("hf://lab/hep2").size == 32


def test_a_model_of_another_name(pushed):
    refusal(lambda: fetch_export("hf://lab/hep3"), "check the name")
    assert fetch_export("hf://lab/hep2").size == 32


def test_no_such_revision(pushed):
    refusal(lambda: fetch_export("hf://lab/hep2@v9"), "leave @v9 out")
    assert fetch_export("hf://lab/hep2").size == 32


def test_offline_before_the_first_download(pushed, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refusal(
        lambda: fetch_export("hf://lab/hep2"),
        "connect this machine once, HF_HUB_OFFLINE not set, or copy",
    )
    assert find_model(str(tmp_path / "export")).size == 32
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    fetch_export("hf://lab/hep2")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch_export("hf://lab/hep2").size == 32


def test_a_private_push_into_a_public_model(pushed, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_lab")

    def push(name="lab/hep2", private=True):
        return push_export(tmp_path / "export", name, private=private, message="second")

    refusal(push, "set private=false, or push to another name")
    assert not push(private=False).private
    assert push("lab/hep4").private


def test_a_guard_that_leaves_nothing_to_train_on():
    store = made_store([0] * 40 + [1] * 40, size=1)

    def split(guard):
        return make_split(store, SplitSettings(kind="block", guard=guard))

    fix = refusal(lambda: split(40), r"split\.guard=10").fix
    smaller = int(re.search(r"split\.guard=(\d+)", fix)[1])
    assert len(split(smaller).train)


# ---------------------------------------------------------------- ranks


@pytest.mark.parametrize(
    ("gpus", "overrides"),
    [
        (1, ["trainer.accelerator=gpu"]),
        (2, ["trainer.share_device=true", "trainer.process_group_backend=nccl"]),
        (0, ["trainer.accelerator=cpu", "trainer.process_group_backend=nccl"]),
    ],
    ids=["too few GPUs", "shared by NCCL", "NCCL on the CPU"],
)
def test_ranks_and_what_sends_between_them(gpus, overrides, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "a card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number=0: (9, 0))
    given = ["trainer=ddp", *overrides]
    error = refusal(lambda: require_devices(parsed(*given).trainer), r"trainer\.")
    proposed = re.findall(r"trainer\.\w+=\w+", error.fix)
    assert proposed
    for override in proposed:
        assert require_devices(parsed(*given, override).trainer)


# ---------------------------------------------------------------- torch


def test_a_gpu_older_than_the_installed_torch():
    newest = TorchBuild("2.14.1+cu130", "13.0", ("sm_75", "sm_80", "sm_90", "sm_100", "sm_120"))
    error = kernels_problem("NVIDIA TITAN Xp", (6, 1), newest)
    (version,) = re.findall(r'"torch==([\d.]+)\*"', error.fix)
    # What torch 2.6 has kernels for.
    named = TorchBuild(f"{version}0+cu124", "12.4", ("sm_50", "sm_60", "sm_70", "sm_75", "sm_90"))
    assert kernels_problem("NVIDIA TITAN Xp", (6, 1), named) is None


def test_a_weights_file_of_an_old_format_with_an_old_torch(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.9.1"))
    state, file = {"w": torch.ones(2)}, tmp_path / "w.pth"
    torch.save(state, file, _use_new_zipfile_serialization=False)
    weights = PretrainedWeights("resnet10t", False, file, "classifier.backbone")
    refusal(weights.timm_arguments, r"classifier\.weights=FILE \(\.pth or \.safetensors\)")
    save_file(state, file.with_suffix(".safetensors"))
    replace(weights, file=file.with_suffix(".safetensors")).timm_arguments()


# ---------------------------------------------------------------- loggers


def test_a_store_with_a_password_goes_into_the_environment(here, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    address = "postgresql://me:secret@host/runs"
    given = parsed("logger=mlflow", f"logger.tracking_uri='{address}'").logger
    error = refusal(lambda: require_logger(given), "leave it out, and set MLFLOW_TRACKING_URI")
    assert "secret" not in str(error)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert require_logger(parsed("logger=mlflow").logger).endswith("//***@host/runs")


def test_a_tracking_server_that_is_gone_is_left_out(here, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    gone = parsed("logger=mlflow", "logger.tracking_uri='http://127.0.0.1:9'").logger
    refusal(lambda: require_logger(gone), "leave both out: a run then has its own mlflow.db")
    assert "in mlflow.db of the run" in require_logger(parsed("logger=mlflow").logger)
