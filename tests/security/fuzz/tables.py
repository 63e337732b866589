"""Csv tables: any table, a manifest of cells, and the tables of the ICPR 2016 set."""

from pathlib import Path

from hypothesis import strategies as st

from hep2gan.data.patterns import CLASSES
from hep2gan.data.readers.csv_table import CsvRow, read_table
from hep2gan.data.readers.field_tables import HEADERS, FieldTable, read_field_tables
from hep2gan.data.readers.folders import read_folders
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.readers.manifest import read_manifest
from hep2gan.data.readers.source import RawCells
from tests.security.fuzz.judge import Door
from tests.security.fuzz.mutations import mutated

MANIFESTS = (
    b"image,mask,label,specimen,intensity,split\n"
    b"a/1.png,a/1_m.png,nuclear,s1,positive,train\n"
    b"a/2.png,a/2_m.png,golgi,s2,intermediate,test\n"
    b'"a,3.png",a/3_m.png,golgi,,,validation\n',
    b"\xef\xbb\xbfImage;Mask;Label\r\n1.tif;1_m.tif;x\r\n2.tif;2_m.tif;y\r\n",
)
HANDED_OUT = b"00001.png,00001_Mask.png,Homogeneous,positive\n2.png,2_Mask.png,Golgi,intermediate\n"
HEADED = b"Image ID,Image class\n00001,Homogeneous\n2,Golgi\n3,NuMem\n"
LABELS = (b"image,label\n1.png,x\n2.png,y\ntrue.tif,x\n", b"file;pattern\r\n1;x\r\n2;y\r\n")
SPECIMENS = b"image,specimen\n00001.png,s1\n2,s10\n"


def _table(data: bytes, folder: Path) -> list[CsvRow]:
    (folder / "t.csv").write_bytes(data)
    return read_table(folder / "t.csv")


def _rows_are_in_order(rows: list[CsvRow], data: bytes) -> None:
    assert [row.line for row in rows] == sorted({row.line for row in rows})
    assert all(any(row.fields) and all(f == f.strip() for f in row.fields) for row in rows)
    if data in MANIFESTS:
        assert len(rows) in (3, 4)


def _manifest(data: bytes, folder: Path) -> tuple[RawCells, Path]:
    (folder / "manifest.csv").write_bytes(data)
    return read_manifest(folder), folder


def _labels(data: bytes, folder: Path) -> tuple[RawCells, Path]:
    (folder / "images").mkdir(exist_ok=True)
    for name in ("1.png", "2.png", "true.tif"):
        (folder / "images" / name).touch()
    (folder / "labels.csv").write_bytes(data)
    return read_folders(folder), folder


def _cells_are_whole(found: tuple[RawCells, Path], _: object) -> None:
    raw, folder = found
    assert len({cell.id for cell in raw.cells}) == len(raw.cells) > 0
    for cell in raw.cells:
        assert 0 <= cell.label < len(raw.classes)
        assert -1 <= cell.specimen < len(raw.specimens) or not raw.specimens
        assert cell.intensity in (-1, 0, 1)
        assert cell.part in (-1, 0, 1, 2)
        for file in filter(None, (cell.image, cell.mask)):
            assert folder in file.parents, "a file outside the folder of the table"
            assert ".." not in file.parts
            str(file).encode()


@st.composite
def _icpr2016_inputs(draw) -> dict[str, bytes]:
    name, table = draw(
        st.sampled_from((("gt_training.csv", HANDED_OUT), ("c.csv", HEADED), ("", b"")))
    )
    files = {name: draw(mutated([table]))} if name else {}
    return files | {"specimens.csv": draw(mutated([SPECIMENS]))}


def _icpr2016(files: dict[str, bytes], folder: Path) -> tuple[RawCells, Path]:
    inside = folder / "Homogeneous" if len(files) == 1 else folder
    inside.mkdir(exist_ok=True)
    for name in ("00001.png", "00001_Mask.png", "2.png", "2_Mask.png"):
        (inside / name).touch()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return read_icpr2016(folder), folder


def _is_the_set(found: tuple[RawCells, Path], given: dict[str, bytes]) -> None:
    _cells_are_whole(found, given)
    assert found[0].classes == CLASSES
    if given == {"c.csv": HEADED, "specimens.csv": SPECIMENS}:
        assert [cell.specimen for cell in found[0].cells] == [0, 1, -1]


FIELDS = (
    b"image,specimen,label,intensity,split,labels\n1.png,s1,a,positive,train,1_labels.png\n"
    b"2.png,s2,b,intermediate,test,\n",
    b"\xef\xbb\xbfImage;Label\r\n1;x\r\n2;y\r\n",
)
CELL_CLASSES = (b"image,cell,label,mitotic\n1.png,1,a,0\n1.png,2,,1\n2.png,7,b,0\n",)
CLASSES_OF_SPECIMENS = (b"specimen,label\ns1,a\ns2,b\n",)


@st.composite
def _fields_inputs(draw) -> dict[str, bytes]:
    tables = {"fields.csv": FIELDS, "cells.csv": CELL_CLASSES}
    tables["specimens.csv"] = CLASSES_OF_SPECIMENS
    return {name: draw(mutated(seeds)) for name, seeds in tables.items() if draw(st.booleans())}


def _fields(files: dict[str, bytes], folder: Path) -> tuple[FieldTable, Path]:
    images = [folder / "1.png", folder / "2.png"]
    for image in images:
        image.touch()
    for name in HEADERS:
        (folder / name).unlink(missing_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return read_field_tables(folder, images), folder


def _are_fields(found: tuple[FieldTable, Path], _: object) -> None:
    table, folder = found
    for row in table.rows:
        assert row.image.parent == folder
        assert row.labels is None or folder in row.labels.parents
        assert row.labels is None or ".." not in row.labels.parts
        assert row.intensity in (-1, 0, 1)
        assert row.part in (-1, 0, 1, 2)
        assert all(0 < cell < 10**7 for cell in row.classes or ())


DOORS = (
    Door("fields", _fields_inputs(), _fields, _are_fields),
    Door("table", mutated((*MANIFESTS, HANDED_OUT)), _table, _rows_are_in_order),
    Door("manifest", mutated(MANIFESTS), _manifest, _cells_are_whole),
    Door("labels", mutated(LABELS), _labels, _cells_are_whole),
    Door("icpr2016", _icpr2016_inputs(), _icpr2016, _is_the_set),
)
