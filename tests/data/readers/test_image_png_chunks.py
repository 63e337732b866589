"""A PNG's chunks are held against their checksums."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from hep2gan.data.readers.image import check_png_checksums

WRONG = re.compile("checksum|too early|no chunk")


@pytest.fixture(scope="module")
def png():
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_whole_file_and_what_follows_it_pass(png):
    check_png_checksums(png)
    check_png_checksums(png + b"anything")


def test_every_flipped_byte_of_the_content_is_noticed(png):
    for place in range(8, len(png) - 12):
        broken = bytearray(png)
        broken[place] ^= 1
        with pytest.raises(ValueError, match=WRONG):
            check_png_checksums(bytes(broken))


def test_every_cut_before_the_end_is_noticed(png):
    for length in range(len(png) - 4):
        with pytest.raises(ValueError, match="too early"):
            check_png_checksums(png[:length])


@pytest.mark.parametrize("bit", [0x01, 0x20, 0x80])
def test_it_refuses_exactly_what_pillow_refuses(png, bit):
    """Pillow's own `verify` is the reference, behind the header that opening checks."""
    cases = [png[:length] for length in range(41, len(png) + 1)]
    for place in range(33, len(png)):
        broken = bytearray(png)
        broken[place] ^= bit
        cases.append(bytes(broken))
    for data in cases:
        assert accepts(check_png_checksums, data) == accepts(verified, data)


def accepts(check, data):
    try:
        check(data)
    except (ValueError, SyntaxError, OSError):
        return False
    return True


def verified(data):
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.verify()
