import pytest

from hep2gan.data.readers.icpr2012 import read_icpr2012
from hep2gan.errors import Hep2ganError
from tests.helpers.raw_sets import contest_2012

CLASSES = (
    "centromere", "coarse_speckled", "cytoplasmatic", "fine_speckled", "homogeneous", "nucleolar",
)  # fmt: skip
ALL = ("ID", "pattern", "image", "intensity")


def refused(root, *words):
    with pytest.raises(Hep2ganError) as caught:
        read_icpr2012(root)
    for word in (*words, "Fix: "):
        assert word in str(caught.value)


def test_crops_and_table_without_the_fields(tmp_path):
    raw = read_icpr2012(contest_2012(tmp_path))
    assert raw.classes == CLASSES
    assert [cell.id for cell in raw.cells] == [f"{n:05d}" for n in range(1, 13)]
    assert [cell.label for cell in raw.cells] == [4, 4, 3, 3, 1, 1, 5, 5, 0, 0, 2, 2]
    assert raw.cells[4].image == tmp_path / "Cells" / "005.png"
    assert raw.cells[4].mask == tmp_path / "Cells" / "005_mask.png"
    assert {(c.specimen, c.intensity, c.part) for c in raw.cells} == {(-1, -1, -1)}
    assert raw.notes == ("left out: Images/, which holds fields of cells",)
    assert raw.problems == ()


@pytest.mark.parametrize("place", ["", "Cells"])
def test_fields_are_specimens_and_intensity_is_kept(tmp_path, place):
    raw = read_icpr2012(contest_2012(tmp_path, columns=ALL) / place)
    assert raw.specimens == ("01", "02", "03", "04")
    assert [cell.specimen for cell in raw.cells] == [0] * 3 + [1] * 4 + [2] * 4 + [3]
    assert [cell.intensity for cell in raw.cells] == [1, 0] * 6


def test_crops_beside_their_table_and_without_masks(tmp_path):
    root = contest_2012(tmp_path)
    for mask in (root / "Cells").glob("*_mask.png"):
        mask.unlink()
    (root / "cells.csv").rename(root / "Cells" / "gt.csv")
    raw = read_icpr2012(root / "Cells")
    assert {cell.mask for cell in raw.cells} == {None}
    assert (len(raw.cells), raw.notes) == (12, ())


def test_what_is_wrong_is_named(tmp_path):
    root = contest_2012(tmp_path)
    table = root / "cells.csv"
    whole = table.read_text()
    table.write_text(whole.replace("001;homogeneous", "001;golgi"))
    refused(root, "cells.csv", "line 2: unknown class 'golgi'", "cytoplasmic", "data=folders")
    table.write_text(whole.replace("\n0", "\n9"))
    refused(root, "names other files than those of", "(such as 901 and 001.png)")
    table.write_text(whole.replace("ID;", "number;"))
    refused(root, "holds no table of the set of 2012", "ID;pattern", "set data.root")
    table.write_text(whole + "77;nucleolar\n")
    (root / "Cells" / "002.png").rename(root / "Cells" / "078.png")
    (root / "Cells" / "002_mask.png").rename(root / "Cells" / "078_mask.png")
    raw = read_icpr2012(root)
    assert [problem.id for problem in raw.problems] == ["00002", "00077", "00078"]
    assert "line 3, names an image that is not there" in raw.problems[0].reason
    assert "is not named in" in raw.problems[2].reason
    refused(tmp_path / "none", "does not exist")
