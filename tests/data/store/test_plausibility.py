"""Pairs that do not fit are told when they are packed, and stop the pack where that is certain."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from hep2gan.cli import pack
from hep2gan.data.readers.source import RawCell, RawCells
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.report import format_report
from hep2gan.errors import Hep2ganError
from tests.helpers.commands import call

SIDE = 48


def lopsided(number):
    """An uneven cell and its mask of {0, 255}, no turn of which looks the same."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.zeros((SIDE, SIDE), bool)
    for radius, reach in ((11, 4), (6, 11)):
        middle = SIDE / 2 + rng.uniform(-reach, reach, 2)
        inside |= np.hypot(y - middle[0], x - middle[1]) < radius
    image = gaussian_filter(inside * 120.0, 1) + rng.normal(30, 5, inside.shape)
    return image.clip(0, 255).astype(np.uint8), inside.astype(np.uint8) * 255


def pairs(folder, count=40, image=lambda a: a, mask=lambda a: a, pair=lambda n: n):
    """Raw cells whose images and masks are changed; cell n has the mask of cell `pair(n)`."""
    folder.mkdir()
    found = []
    for n in range(count):
        cell = RawCell(f"c{n}", folder / f"{n}.png", folder / f"{n}_m.png", n % 2)
        Image.fromarray(np.ascontiguousarray(image(lopsided(n)[0]))).save(cell.image)
        Image.fromarray(np.ascontiguousarray(mask(lopsided(pair(n))[1]))).save(cell.mask)
        found.append(cell)
    return RawCells("made", ("a", "b"), found)


def packed(raw, folder, **settings):
    return pack_cells(raw, folder / "store", size=64, workers=1, **settings)


def refused(raw, folder, **settings):
    with pytest.raises(Hep2ganError) as caught:
        packed(raw, folder, **settings)
    assert not (folder / "store").exists()
    return str(caught.value)


def warnings(store):
    return [line for line in format_report(store) if line.startswith("warning")]


def middle_is_nucleus(store):
    assert not store.mask[:, 0].any()
    assert store.mask[:, 28:36, 28:36].mean() > 0.8


def test_pairs_that_fit_have_no_warnings(tmp_path):
    assert warnings(packed(pairs(tmp_path / "raw"), tmp_path)) == []


# ---------------------------------------------------------------------- single masks


def test_masks_of_the_background_stop_the_pack_and_can_be_inverted(tmp_path):
    raw = pairs(tmp_path / "raw", mask=lambda a: 255 - a)
    text = refused(raw, tmp_path)
    assert "40 of 40 cells" in text
    assert f"{raw.cells[0].mask} covers the border of its crop" in text
    assert "data.invert_masks=true (40 look so)" in text
    store = packed(raw, tmp_path, invert_masks=True)
    middle_is_nucleus(store)
    assert warnings(store) == []


def test_the_command_takes_the_setting_that_the_error_names(tmp_path, capsys):
    raw = pairs(tmp_path / "raw", 4, mask=lambda a: 255 - a)
    rows = [f"{cell.image.name},{cell.mask.name},{'ab'[cell.label]}" for cell in raw.cells]
    (tmp_path / "raw" / "manifest.csv").write_text("\n".join(["image,mask,label", *rows]))
    settings = ["data=manifest", f"data.root={tmp_path / 'raw'}", f"data.store={tmp_path / 's'}"]
    assert call(pack, *settings) == 2
    assert "data.invert_masks=true" in capsys.readouterr().err
    assert call(pack, *settings, "data.invert_masks=true") == 0
    assert "warning" not in capsys.readouterr().out


def test_inverting_masks_that_are_right_is_told_as_well(tmp_path):
    text = refused(pairs(tmp_path / "raw", 4), tmp_path, invert_masks=True)
    assert "data.invert_masks=false (4 look so)" in text


def test_masks_that_look_wrong_can_be_left_out_or_kept(tmp_path):
    raw = pairs(tmp_path / "raw", 6)
    Image.new("L", (SIDE, SIDE), 255).save(raw.cells[0].mask)
    Image.fromarray(255 - lopsided(1)[1]).save(raw.cells[1].mask)
    text = refused(raw, tmp_path)
    assert f"c0: {raw.cells[0].mask} covers its whole crop" in text
    assert "2 of 6 cells" in text
    assert "data.keep_implausible=true" in text
    assert packed(raw, tmp_path, on_error="skip").id.tolist() == ["c2", "c3", "c4", "c5"]
    kept = packed(raw, tmp_path, keep_implausible=True)
    assert kept.mask[0].all()
    assert warnings(kept) == [
        "warning: 1 masks kept although each covers its whole crop: c0",
        "warning: 1 masks kept although each covers the border of its crop and leaves the middle"
        " empty: c1",
    ]


@pytest.mark.parametrize("kind", ["alpha", "palette", "white"])
def test_masks_are_read_for_what_they_mean_and_the_way_is_told(tmp_path, kind):
    raw = pairs(tmp_path / "raw", 4)
    for n, cell in enumerate(raw.cells):
        shape = lopsided(n)[1]
        if kind == "alpha":
            Image.fromarray(np.dstack([np.full_like(shape, 255)] * 3 + [shape])).save(cell.mask)
        elif kind == "palette":
            image = Image.fromarray(shape // 255).convert("P")
            image.putpalette([255, 255, 255, 0, 0, 0])
            image.save(cell.mask)
        else:
            tifffile.imwrite(cell.mask, shape, photometric="miniswhite")
    store = packed(raw, tmp_path)
    middle_is_nucleus(store)
    told = {
        "alpha": "masks of one colour, read by alpha",
        "palette": "masks with a palette in which 0 is brighter, read by their stored values",
        "white": "masks with the tag that white is 0, read by their stored values",
    }
    assert warnings(store) == [f"warning: 4 {told[kind]}: c0, c1, c2, c3"]


def test_the_tag_is_obeyed_where_only_that_makes_a_nucleus(tmp_path):
    raw = pairs(tmp_path / "raw", 3)
    for n, cell in enumerate(raw.cells):
        tifffile.imwrite(cell.mask, 255 - lopsided(n)[1], photometric="miniswhite")
    store = packed(raw, tmp_path)
    middle_is_nucleus(store)
    told = "3 masks with the tag that white is 0, read by it: c0, c1, c2"
    assert warnings(store) == [f"warning: {told}"]


def test_a_doubtful_mask_whose_shape_does_not_tell_stops_the_pack(tmp_path):
    raw = pairs(tmp_path / "raw", 3)
    half = np.repeat([[0] * (SIDE // 2) + [255] * (SIDE // 2)], SIDE, 0).astype(np.uint8)
    tifffile.imwrite(raw.cells[1].mask, half, photometric="miniswhite")
    text = refused(raw, tmp_path)
    assert "1 of 3 cells" in text
    assert "may be inverted, for it has the tag that white is 0" in text
    Image.fromarray(half).save(raw.cells[1].mask)
    assert warnings(packed(raw, tmp_path)) == []


def nuclei(count, radius=10):
    """A mask of {0, 255} with nuclei in rows of five."""
    y, x = np.mgrid[: 30 * -(-count // 5), :150]
    places = [(15 + 30 * (n // 5), 15 + 30 * (n % 5)) for n in range(count)]
    found = [np.hypot(y - row, x - column) < radius for row, column in places]
    return np.any(found, axis=0).astype(np.uint8) * 255


@pytest.mark.parametrize(("count", "is_field"), [(1, False), (3, False), (4, True), (40, True)])
def test_a_field_of_cells_is_not_packed_as_one(tmp_path, count, is_field):
    field = nuclei(count)
    grey = gaussian_filter(field * 0.5, 1).astype(np.uint8)
    raw = pairs(tmp_path / "raw", 2, lambda _: grey, lambda _: field)
    if not is_field:
        packed(raw, tmp_path)
        return
    said = refused(raw, tmp_path)
    assert "shows several nuclei, as that of a field of cells does" in said
    assert "crop the cells out of fields, one a file" in said
    kept = packed(raw, tmp_path, keep_implausible=True)
    assert "2 masks kept although each shows several nuclei" in " ".join(warnings(kept))


def test_specks_beside_a_nucleus_make_no_field(tmp_path):
    mask = nuclei(1, 14)
    mask[2:28:3, 40:140:5] = 255
    raw = pairs(tmp_path / "raw", 2, lambda _: mask, lambda _: mask)
    packed(raw, tmp_path)


def test_masks_that_lie_at_the_border_more_than_in_the_middle_are_told(tmp_path):
    raw = pairs(tmp_path / "raw", 3)
    edge = np.zeros((SIDE, SIDE), np.uint8)
    edge[:, :18] = 255
    Image.fromarray(edge).save(raw.cells[1].mask)
    told = "1 masks that cover more of the border of the crop than of its middle: c1"
    assert warnings(packed(raw, tmp_path)) == [f"warning: {told}"]


# ---------------------------------------------------------------------- masks of a whole set


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.fliplr, "mirrored left to right"),
        (np.flipud, "mirrored top to bottom"),
        (lambda a: np.rot90(a, 2), "turned by 180°"),
        (np.rot90, "turned by 90° to the right"),
        (lambda a: np.rot90(a, -1), "turned by 90° to the left"),
        (np.transpose, "with rows and columns exchanged:"),
        (lambda a: np.rot90(a, 2).T, "with rows and columns exchanged and turned by 180°"),
        (lambda a: np.roll(a, 6, 0), "lie +12% of the height and +0% of the width off"),
        (lambda a: np.roll(a, -9, 1), "lie +0% of the height and -19% of the width off"),
    ],
)
def test_masks_that_are_turned_or_shifted_stop_the_pack(tmp_path, mask, said):
    raw = pairs(tmp_path / "raw", mask=mask)
    text = refused(raw, tmp_path)
    assert said in text
    assert "Fix: export images and masks again in the same way" in text
    assert any(said in line for line in warnings(packed(raw, tmp_path, keep_implausible=True)))


def test_masks_of_other_images_stop_the_pack(tmp_path):
    raw = pairs(tmp_path / "raw", 120, pair=lambda n: (n + 1) % 120)
    assert "120 masks looked at fit their images no better" in refused(raw, tmp_path)


def test_a_few_masks_of_other_images_are_no_reason(tmp_path):
    raw = pairs(tmp_path / "raw", 40, pair=lambda n: n - n % 8 // 7)
    told = "10 masks are the same as those of other images: c6, c7, c14, c15, c22, … and 5 more"
    assert warnings(packed(raw, tmp_path)) == [f"warning: {told}"]


def test_images_that_are_dark_on_bright_are_told(tmp_path):
    raw = pairs(tmp_path / "raw", image=lambda a: 255 - a)
    told = warnings(packed(raw, tmp_path, keep_implausible=True))
    assert any("40 masks looked at lie where images are dark: c0, c1" in line for line in told)


def test_identical_masks_are_told_but_not_those_of_identical_cells(tmp_path):
    told = warnings(packed(pairs(tmp_path / "raw", 12, pair=lambda n: n % 3), tmp_path))
    assert told == [
        "warning: 12 masks are the same as those of other images: c0, c3, c6, c9, c1, … and 7 more"
    ]
    raw = pairs(tmp_path / "copies", 12)
    for cell in raw.cells[1:]:
        cell.image.write_bytes(raw.cells[0].image.read_bytes())
        cell.mask.write_bytes(raw.cells[0].mask.read_bytes())
    assert not any("masks are the same" in line for line in warnings(packed(raw, tmp_path)))
