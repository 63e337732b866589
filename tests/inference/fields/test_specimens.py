from pathlib import Path

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.inference.fields.specimens import name_specimens
from hep2gan.inference.predict import InputImage


def fields(folder, *names):
    return [InputImage(folder / name, Path(name).with_suffix("")) for name in names]


def told(found):
    return list(found.names.values())


def test_fields_of_one_specimen_differ_in_their_number(tmp_path):
    found = name_specimens(fields(tmp_path, "1_p0.png", "1_p12.tif", "b/2_P1.png", "x.png"), None)
    assert told(found) == ["1", "1", "b/2", "x"]
    assert found.rule == "3 specimens: by the part of the name before _p and a number"


def test_other_fields_are_specimens_of_their_own(tmp_path):
    found = name_specimens(fields(tmp_path, "a.png", "slip_pa.png"), None)
    assert told(found) == ["a", "slip_pa"]
    assert "each field is one of its own" in found.rule


def table(folder, text):
    path = folder / "specimens.csv"
    path.write_text(text)
    return path


def test_a_table_names_files_as_people_do(tmp_path):
    path = table(tmp_path, "Specimen;image;age\nA;a.png;3\nB;DEEP\\b;4\nB;c;\nC;other.png;\n")
    found = name_specimens(fields(tmp_path, "a.png", "deep/b.tif", "deep/c.png"), path)
    assert told(found) == ["A", "B", "B"]
    assert found.rule == f"2 specimens: by {path}"


def test_a_table_that_names_other_fields_is_refused_and_the_fix_works(tmp_path):
    path = table(tmp_path, "image,specimen\nz.png,A\n")
    ours = fields(tmp_path, "a_p0.png", "a_p1.png")
    with pytest.raises(Hep2ganError, match="does not name 2 fields; it names z") as caught:
        name_specimens(ours, path)
    assert caught.value.fix.startswith("add a line for each, or leave specimens out")
    path.write_text(path.read_text() + "a_p0.png,A\na_p1,B\n")
    assert told(name_specimens(ours, path)) == ["A", "B"]
    assert told(name_specimens(ours, None)) == ["a", "a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("field,specimen\na,A\n", "lacks image"),
        ("image,specimen\na,A\na.png,B\n", "line 3: a.png is of A in another line"),
        ("image,specimen\na,\n", "line 2: the specimen is missing"),
    ],
)
def test_tables_that_say_nothing_sound(tmp_path, text, words):
    with pytest.raises(Hep2ganError, match=words):
        name_specimens(fields(tmp_path, "a.png"), table(tmp_path, text))
