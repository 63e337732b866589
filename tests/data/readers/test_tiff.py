"""TIFF files of all kinds: read as tifffile reads them, or refused by what they are.

The rule beyond raw values: alpha is dropped, a palette is looked up, colours become luma, zeros
that are white are turned around, and the orientation tag is obeyed.
"""

import re
from collections import Counter
from functools import partial
from itertools import product

import numpy as np
import pytest
import tifffile
from PIL import Image

from hep2gan.data.readers.decoding import read_pixels
from hep2gan.data.readers.image import read_image
from hep2gan.data.readers.stack import PlaneChoice
from hep2gan.errors import Hep2ganError

SIZE = (20, 24)
TURNED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


def pixels(kind, channels=0):
    rng, shape = np.random.default_rng(0), (*SIZE, channels) if channels else SIZE
    kind = np.dtype(kind)
    if kind.kind in "fc":
        return (rng.random(shape) * 100).astype(kind)
    high = 1 if kind.kind == "b" else np.iinfo(kind).max
    return rng.integers(0, high, shape, np.uint64, endpoint=True).astype(kind)


def made(array, **options):
    return partial(tifffile.imwrite, data=array, **options)


def made_by_pillow(mode, **options):
    image = Image.fromarray(pixels("u1")).convert(mode)
    return partial(image.save, **options)


def greys():
    kinds = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "f2", "f4", "f8", "c8")
    packings = ((None, None), ("lzw", None), ("lzw", True), ("deflate", True), ("zstd", None))
    photometrics = ("minisblack", "miniswhite")
    for kind, order, (packing, predictor), tile, photometric in product(
        kinds, "<>", packings, (None, (16, 16)), photometrics
    ):
        if not (predictor and kind in ("u8", "c8")):
            yield made(
                pixels(kind),
                byteorder=order,
                compression=packing,
                predictor=predictor,
                tile=tile,
                photometric=photometric,
            )


def channels():
    extras = {0: [None], 1: [["unspecified"], ["unassalpha"], ["assocalpha"]]}
    for kind, order, packing, planar, samples, photometric in product(
        ("u1", "u2", "f4"),
        "<>",
        (None, "lzw"),
        ("contig", "separate"),
        (2, 3, 4, 5),
        ("minisblack", "rgb"),
    ):
        array = pixels(kind, samples)
        if planar == "separate":
            array = np.moveaxis(array, -1, 0).copy()
        extra = samples - (3 if photometric == "rgb" else 1)
        for meaning in () if extra < 0 else extras.get(extra, [["unspecified"] * extra]):
            yield made(
                array,
                byteorder=order,
                compression=packing,
                planarconfig=planar,
                photometric=photometric,
                extrasamples=meaning,
            )


def compressions():
    for packing in ("jpeg", "jpeg2000", "jpegxl", "png", "packbits", "lzma", "lerc", "jpegxr"):
        for kind, samples in product(("u1", "u2"), (0, 3)):
            if (packing, kind) != ("jpeg", "u2"):
                photometric = "rgb" if samples else "minisblack"
                yield made(pixels(kind, samples), compression=packing, photometric=photometric)
    smooth = np.repeat(np.arange(40, 64, dtype=np.uint8)[None], 20, 0)
    yield made(np.dstack([smooth] * 3), compression="jpeg", photometric="ycbcr")
    yield made(pixels("u1", 3), photometric="ycbcr")
    for packing in ("raw", "group3", "group4", "tiff_ccitt", "tiff_lzw", "packbits"):
        yield made_by_pillow("1", compression=packing)
    for mode in ("L", "LA", "RGB", "RGBA", "P", "CMYK", "LAB", "YCbCr", "I;16", "F"):
        yield made_by_pillow(mode)


def depths():
    for bits, photometric in product((1, 2, 4, 6, 8, 9, 10, 12, 14, 16), (1, 0)):
        kind = "u1" if bits <= 8 else "u2"
        array = pixels(kind) >> (8 * np.dtype(kind).itemsize - bits)
        photometric = "minisblack" if photometric else "miniswhite"
        yield made(array, bitspersample=bits, photometric=photometric)
        yield made(array, bitspersample=bits, photometric=photometric, rowsperstrip=7)
    for fill, kind in product((1, 2), ("u1", "u2", "?")):
        yield made(pixels(kind), extratags=[(266, "H", 1, fill, True)], photometric="minisblack")
        yield made(pixels("?"), photometric="miniswhite")


def layouts():
    for orientation, (kind, samples) in product(
        range(1, 9), (("u1", 0), ("u2", 0), ("f4", 0), ("u1", 3), ("u2", 3))
    ):
        tags, photometric = [(274, "H", 1, orientation, True)], "rgb" if samples else "minisblack"
        yield made(pixels(kind, samples), extratags=tags, photometric=photometric)
    for big, order, kind in product((False, True), "<>", ("u1", "u2", "f4")):
        yield made(pixels(kind), bigtiff=big, byteorder=order, photometric="minisblack")
    for kind in ("u1", "u2", "f4"):
        yield made(pixels(kind), imagej=True)
        yield made(pixels(kind), ome=True)
        yield made(pixels(kind), photometric="mask")
        yield made(pixels(kind), photometric="cfa")
    for planes, kind in product((2, 3), ("u1", "u2")):
        stack = np.stack([pixels(kind)] * planes)
        yield made(stack, volumetric=True, photometric="minisblack")
        yield made(stack, photometric="minisblack")
        yield made(stack, photometric="minisblack", truncate=True)
        yield made(stack, imagej=True)
        yield made(stack, ome=True)
    colours = np.random.default_rng(1).integers(0, 65536, (3, 256), np.uint16)
    for order, table, packing in product("<>", (colours, colours // 256), (None, "lzw")):
        options = {"photometric": "palette", "byteorder": order, "compression": packing}
        yield made(pixels("u1"), colormap=table, **options)
    table = np.random.default_rng(1).integers(0, 65536, (3, 65536), np.uint16)
    yield made(pixels("u2"), photometric="palette", colormap=table)


def expected(path):
    """Grey values by tifffile, and the value of white; 0 if that is unknown."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        values, bits, extra = page.asarray(), page.bitspersample, len(page.extrasamples)
        orientation, table = page.tags.valueof(274, 1), page.colormap
    known = page.sampleformat == 1 and bits <= 16
    white = 2**bits - 1 if known else 0
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        values = np.moveaxis(values, 0, -1)
    if extra:
        values = values[..., :-extra]
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if page.photometric == 3:
        table = table if table.max() < 256 else table >> 8
        values, white = np.moveaxis(table[:, values], 0, -1), 255
    values = values.astype(float)
    if values.ndim == 3:
        values = values @ [0.299, 0.587, 0.114]
    return TURNED[orientation](white - values if page.photometric == 0 else values), white


FACTS = re.compile(
    r"\.tif (is a TIFF (of compression"
    r"|of \d+ (channels|planes|separate \d+-bit planes)"
    r"|of \d+-bit (unsigned integers|signed integers|floats|complex|JPEG)"
    r"|of premultiplied alpha|of \S+ (kind \d+ )?colours|in big-endian BigTIFF)"
    r"|holds several frames)"
)


@pytest.mark.filterwarnings("error")
def test_every_tiff_is_read_as_tifffile_reads_it_or_refused_by_what_it_is(tmp_path, capsys):
    path, counts, wrong = tmp_path / "a.tif", Counter(), []
    for write in (*greys(), *channels(), *compressions(), *depths(), *layouts()):
        write(path)
        try:
            read = read_pixels(path)
        except Hep2ganError as error:
            counts["refused"] += 1
            if not FACTS.search(str(error)):
                wrong.append((str(error), write.keywords))
            continue
        counts["read"] += 1
        values, white = expected(path)
        grey, unit = read.grey(), max(read.full_scale, 1)
        is_same = grey.shape == values.shape and bool(white) == bool(read.full_scale)
        if not is_same or not np.allclose(grey / unit, values / max(white, 1), rtol=1e-6):
            wrong.append((str(values), str(grey), write.keywords))
    with capsys.disabled():
        print(f"\nTIFF: {counts['read']} kinds read, {counts['refused']} refused")
    assert wrong == []
    assert counts["read"] >= 300
    assert counts["refused"] >= 300


def refusal(path, write):
    write(path)
    with pytest.raises(Hep2ganError) as caught:
        read_pixels(path, PlaneChoice())
    return str(caught.value)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (made(pixels("u2", 2), photometric="minisblack", planarconfig="contig"), "of 2 channels"),
        (made(pixels("u1"), compression="jpeg2000"), "of compression JPEG 2000"),
        (
            made(np.moveaxis(pixels("u2", 3), -1, 0), photometric="rgb", planarconfig="separate"),
            "of 3 channels (0 red, 1 green, 2 blue)",
        ),
        (
            made(np.zeros((3, *SIZE), "u2"), volumetric=True, photometric="minisblack"),
            "of 3 planes in depth",
        ),
        (made(pixels("f2")), "of 16-bit floats"),
        (made(pixels("f4"), photometric="miniswhite"), "of 32-bit floats, where 0 is white"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, write, said):
    text = refusal(tmp_path / "a.tif", write)
    assert said in text
    assert "save the plane that shows the cell as 8- or 16-bit grey PNG" in text
    assert "damaged" not in text


def test_planes_behind_one_header_are_counted_and_a_page_cut_out_is_read(tmp_path):
    path = tmp_path / "a.tif"
    stack = np.stack([pixels("u2"), pixels("u2") // 2])
    assert "2 planes" in refusal(path, made(stack, photometric="minisblack", truncate=True))
    whole = path.read_bytes()
    path.write_bytes(whole[: -stack[0].nbytes])
    np.testing.assert_array_equal(read_pixels(path).stored, stack[0])


def test_opaque_premultiplied_colours_are_read(tmp_path):
    colours = pixels("u1", 4)
    colours[..., 3] = 255
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, colours, photometric="rgb", extrasamples=["assocalpha"])
    np.testing.assert_array_equal(read_pixels(path).stored, colours[..., :3])


@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "u4"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packing", [None, "deflate"])
def test_values_of_unknown_scale_are_scaled_by_white(tmp_path, kind, order, packing):
    path, values = tmp_path / "a.tif", pixels("u1").astype(kind) * 16
    tifffile.imwrite(path, values, byteorder=order, compression=packing)
    np.testing.assert_allclose(read_image(path, white_level=4095), values / 4095 * 255, rtol=1e-6)
    with pytest.raises(Hep2ganError, match=r"scale is unknown.*white_level"):
        read_image(path)


def test_a_header_that_claims_too_much_is_damaged_at_once(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels("u1"), description="x" * 40)
    whole = bytearray(path.read_bytes())
    place = whole.index(b"\x0e\x01\x02\x00")  # the entry of the description
    whole[place + 4 : place + 8] = b"\xff\xff\xff\x7f"
    path.write_bytes(whole)
    with pytest.raises(Hep2ganError, match="header is incomplete"):
        read_pixels(path)
