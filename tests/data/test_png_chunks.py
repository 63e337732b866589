"""A PNG's chunks are held against their checksums."""

import io

import numpy as np
import pytest
from PIL import Image

from hep2gan.data.png_chunks import require_checksums


@pytest.fixture(scope="module")
def png():
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_whole_file_and_what_follows_it_pass(png):
    require_checksums(png)
    require_checksums(png + b"anything")


def test_every_flipped_byte_behind_the_signature_is_noticed(png):
    for place in range(8, len(png)):
        broken = bytearray(png)
        broken[place] ^= 1
        with pytest.raises(ValueError, match="checksum|too early"):
            require_checksums(bytes(broken))


def test_every_cut_is_noticed(png):
    for length in range(len(png)):
        with pytest.raises(ValueError, match="too early"):
            require_checksums(png[:length])


def test_it_refuses_what_pillow_refuses(png):
    """Pillow's own `verify` is the reference."""
    for place in range(33, len(png)):
        broken = bytearray(png)
        broken[place] ^= 0x20
        with pytest.raises((SyntaxError, OSError)), Image.open(io.BytesIO(broken)) as image:
            image.verify()
        with pytest.raises(ValueError, match="checksum|too early"):
            require_checksums(bytes(broken))
