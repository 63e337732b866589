"""Channels and planes, written by tifffile: the values of the chosen one, or a refusal."""

import builtins
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from hep2gan.data.prepare import open_store
from hep2gan.data.readers.image import decode_image
from hep2gan.data.readers.source import DataSource
from hep2gan.data.store.pack import pack_cells
from hep2gan.errors import Hep2ganError
from tests.helpers.raw_sets import cells

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 65536, (3, 4, 20, 24), np.uint16)
COLOURS = RNG.integers(0, 256, (20, 24, 3), np.uint8)
SAMPLES = RNG.integers(0, 256, (20, 24, 5), np.uint8)
NAMES = {"Channel": {"Name": ["DAPI", "FITC", "Cy3", "Cy5"]}}
OME = {"ome": True, "metadata": {"axes": "ZCYX", **NAMES}}
IMAGEJ = {"imagej": True, "metadata": {"axes": "ZCYX"}}
GREY = {"photometric": "minisblack"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.tif"


def refused(path, channel, plane, *words):
    with pytest.raises(Hep2ganError) as caught:
        decode_image(path, channel, plane)
    for word in (*words, "Fix: "):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("array", "options", "channel", "plane", "expected"),
    [
        (STACK, OME, "FITC", 2, STACK[2, 1]),
        (STACK, OME, "cy5", 0, STACK[0, 3]),
        (STACK, {**OME, "compression": "zlib"}, 3, 1, STACK[1, 3]),
        (STACK, {**OME, "byteorder": ">"}, 2, 1, STACK[1, 2]),
        (STACK, {**OME, "bigtiff": True}, 2, 1, STACK[1, 2]),
        (STACK, {"ome": True, "metadata": {"axes": "CZYX"}}, 2, 3, STACK[2, 3]),
        (STACK, {"ome": True, "metadata": {"axes": "TCYX"}}, 3, 2, STACK[2, 3]),
        (STACK[:2].reshape(2, 2, 2, 20, 24), {"ome": True, "metadata": {"axes": "CTZYX"}}, 1, 2,
         STACK[1, 2]),
        (STACK[0, 0], {"ome": True, "metadata": {"axes": "YX", "Channel": {"Name": ["FITC"]}}},
         "fitc", None, STACK[0, 0]),
        (STACK, IMAGEJ, 2, 1, STACK[1, 2]),
        (STACK[:, 0], {"imagej": True, "metadata": {"axes": "ZYX"}}, None, 2, STACK[2, 0]),
        (STACK[0], GREY, None, 3, STACK[0, 3]),
        (STACK[0], {**GREY, "metadata": None}, 0, 3, STACK[0, 3]),
        (SAMPLES, {**GREY, "planarconfig": "contig"}, 4, None, SAMPLES[..., 4]),
        (SAMPLES, {**GREY, "planarconfig": "contig", "compression": "lzw", "predictor": True}, 1, 0,
         SAMPLES[..., 1]),
        (np.moveaxis(SAMPLES, 2, 0).copy(), {**GREY, "planarconfig": "separate"}, 3, None,
         SAMPLES[..., 3]),
        (STACK[0, :3], {"photometric": "rgb", "planarconfig": "separate"}, "green", None,
         STACK[0, 1]),
        (COLOURS, {"photometric": "rgb"}, "Green", None, COLOURS[..., 1]),
        (np.stack([COLOURS, 255 - COLOURS]), {"photometric": "rgb", "metadata": None}, "blue", 1,
         255 - COLOURS[..., 2]),
        (np.stack([COLOURS, 255 - COLOURS]), {"photometric": "rgb"}, 0, 0, COLOURS[..., 0]),
        (STACK[0, 0], GREY, 0, 0, STACK[0, 0]),
    ],
)  # fmt: skip
def test_the_chosen_channel_and_plane_are_read(path, array, options, channel, plane, expected):
    tifffile.imwrite(path, array, **options)
    decoded = decode_image(path, channel, plane)
    np.testing.assert_array_equal(decoded.values, expected)
    assert decoded.full_scale == (65535 if expected.dtype == np.uint16 else 255)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
@pytest.mark.parametrize("channel", ["red", "green", "blue", 0, 1, 2])
def test_one_of_the_colours_instead_of_their_grey(tmp_path, suffix, channel):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOURS).save(path)
    index = channel if isinstance(channel, int) else ["red", "green", "blue"].index(channel)
    np.testing.assert_array_equal(decode_image(path, channel).values, COLOURS[..., index])


def test_a_palette_has_colours_too(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 200, 210, 220])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png", "green").values, [[20, 210]])


def test_planes_of_colours_are_read_as_grey(path):
    tifffile.imwrite(path, np.stack([COLOURS, 255 - COLOURS]), photometric="rgb", metadata=None)
    luma = (255 - COLOURS) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(decode_image(path, None, 1).values, luma, atol=1e-3)


@pytest.mark.parametrize(
    ("array", "options", "channel", "plane", "words"),
    [
        (STACK, OME, None, None, ["of 4 channels (0 DAPI, 1 FITC, 2 Cy3, 3 Cy5) and 3 planes",
                                  "set data.channel=0 to 3 and data.plane=0 to 2"]),
        (STACK, OME, None, 1, ["of 4 channels"]),
        (STACK, OME, 1, None, ["and 3 planes"]),
        (STACK, OME, "GFP", 1, ["no channel 'GFP'", "0 DAPI, 1 FITC, 2 Cy3, 3 Cy5"]),
        (STACK, OME, 4, 1, ["no channel 4", "set data.channel=0 to 3"]),
        (STACK, OME, 0, 3, ["no plane 3", "its planes are 0 to 2", "set data.plane=0 to 2"]),
        (STACK[0, :2], GREY, None, None, ["of 2 planes", "set data.plane=0 or 1"]),
        (STACK[0, 0], GREY, "green", None, ["no channel 'green'", "set data.channel=0"]),
        (STACK[0, 0], GREY, None, 2, ["no plane 2", "set data.plane=0"]),
        (SAMPLES, {**GREY, "planarconfig": "contig"}, None, None, ["of 5 channels"]),
        (COLOURS, {"photometric": "rgb"}, "yellow", None, ["0 red, 1 green, 2 blue"]),
        (np.stack([STACK[0]] * 2).reshape(2, 4, 20, 24), {"ome": True, "metadata": {
            "axes": "ZCYX", "Channel": {"Name": ["a", "A", "b", "c"]}}}, "a", 0,
         ["several channels 'a'"]),
    ],
)  # fmt: skip
def test_what_must_be_chosen_or_is_not_there_is_told(path, array, options, channel, plane, words):
    tifffile.imwrite(path, array, **options)
    refused(path, channel, plane, *words)


def test_planes_that_are_cut_off_are_noticed(path):
    for options in (OME, IMAGEJ, {**OME, "compression": "zlib"}):
        tifffile.imwrite(path, STACK, **options)
        whole = path.read_bytes()
        decode_image(path, 3, 2)
        for length in range(200, len(whole) - 4000, 1777):
            path.write_bytes(whole[:length])
            refused(path, 3, 2)


def test_samples_that_are_cut_off_are_noticed(path):
    for options in ({}, {"compression": "lzw"}, {"compression": "zlib"}):
        tifffile.imwrite(path, SAMPLES, planarconfig="contig", metadata=None, **GREY, **options)
        whole = path.read_bytes()
        decode_image(path, 3)
        for length in range(200, len(whole) - 9, 97):
            path.write_bytes(whole[:length])
            refused(path, 3, None)


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ('<!DOCTYPE x [<!ENTITY a "&b;">]><OME/>', "declares a document type"),
        ("<OME><Image", "cannot be read"),
        ("<OME/>", "of 0 series"),
        ('<OME><Pixels DimensionOrder="XYCZT" SizeC="99999" SizeZ="99999" SizeT="9"/></OME>',
         "tells of (99999, 99999, 9)"),
        ('<OME><Pixels DimensionOrder="XYCZT" SizeC="2" SizeZ="5" SizeT="1"/></OME>',
         "tells of 10 images and holds 4"),
        ('<OME><Pixels DimensionOrder="CZTXY" SizeC="4"/></OME>', "axes"),
        ('<OME><Pixels DimensionOrder="XYCZT" SizeC="4" SizeZ="1" SizeT="1">'
         '<TiffData IFD="0" FirstC="3"/></Pixels></OME>', "another order"),
    ],
)  # fmt: skip
def test_hostile_and_wrong_descriptions_are_refused(path, xml, said):
    tifffile.imwrite(path, STACK[0], description=xml, metadata=None, **GREY)
    refused(path, 1, 0, "damaged", said)


def test_a_ring_of_images_ends(path):
    tifffile.imwrite(path, STACK[0, 0], metadata=None)
    data = bytearray(path.read_bytes())
    start = int.from_bytes(data[4:8], "little")
    link = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    data[link : link + 4] = data[4:8]
    path.write_bytes(data)
    refused(path, None, None, "of 4096 planes")


def test_the_missing_extra_is_named(path, monkeypatch):
    def without(name, *args):
        if name == "imagecodecs":
            raise ImportError("none", name=name)
        return original(name, *args)

    original = builtins.__import__
    monkeypatch.delitem(sys.modules, "imagecodecs", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    tifffile.imwrite(path, SAMPLES, planarconfig="contig", **GREY)
    refused(path, 3, None, "imagecodecs is not installed", 'pip install "hep2gan[microscopy]"')


def test_channel_and_plane_belong_to_the_store(tmp_path):
    raw = cells(tmp_path)
    for cell in raw.cells:
        grey = np.asarray(Image.open(cell.image))
        Image.fromarray(np.dstack([grey, grey.T.copy().reshape(grey.shape), grey])).save(cell.image)
    stores = [
        pack_cells(raw, tmp_path / "store", size=32, **choice)
        for choice in ({"channel": "red"}, {"channel": 1}, {"channel": 1, "plane": 0})
    ]
    assert len({store.manifest["signature"] for store in stores}) == 3
    assert stores[0].fingerprint != stores[1].fingerprint == stores[2].fingerprint
    assert stores[1].manifest["settings"]["channel"] == 1


def test_a_training_names_the_channel_that_was_packed(tmp_path):
    pack_cells(cells(tmp_path), tmp_path / "store", size=32, channel=0)
    settings = {"name": "a", "store": str(tmp_path / "store"), "size": 32}
    assert open_store(DataSource(**settings, channel=0)).size == 32
    for given in ({}, {"channel": "green"}):
        with pytest.raises(Hep2ganError, match=r"with data\.channel=0.*set data\.channel=0, or"):
            open_store(DataSource(**settings, **given))
    with pytest.raises(Hep2ganError, match=r"with data\.plane=null, here it is 2"):
        open_store(DataSource(**settings, channel=0, plane=2))
