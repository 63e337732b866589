import unicodedata

import pytest

from hep2gan.data.patterns import CLASSES, canonical_class


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (("Homogeneous", "HOM", "AC-1", "ac1", "AC_01", "AC 1", " homogeneous "), "homogeneous"),
        (("Speckled", "Spe", "AC-4", "AC-5"), "speckled"),
        (("fine_speckled", "FineSpeckled", "Fine  speckled", "fine-speckled"), "fine speckled"),
        (("coarse speckled", "Coarse_Speckled"), "coarse speckled"),
        (("Nucleolar", "AC-8", "AC-9", "AC-10"), "nucleolar"),
        (("Centromere", "centromeric", "AC-3", "AC\u20113"), "centromere"),
        (("NuMem", "nuclear_membrane", "Nuclear envelope", "AC-11", "AC-12"), "numem"),
        (("Golgi", "golgi apparatus", "AC-22"), "golgi"),
        (("cytoplasmatic", "Cytoplasmic"), "cytoplasmic"),
        (("MitSp", "mitotic_spindle"), "mitotic spindle"),
        (("AC-0", "Negative"), "negative"),
    ],
)
def test_spellings_and_codes_of_one_class_have_one_key(names, key):
    assert {canonical_class(name) for name in names} == {key}


def test_unknown_names_are_folded_and_kept_apart():
    assert canonical_class("Rods_and  rings") == "rods and rings"
    assert canonical_class("AC-23") == "ac 23"
    names = ["1-2", "12", "1+", "1", "AC-10x", "AC-100", "-", ""]
    assert len({canonical_class(name) for name in names}) == len(names)
    composed = "nucleol\u00e4r"
    assert canonical_class(composed) == canonical_class(unicodedata.normalize("NFD", composed))


def test_keys_are_their_own_and_the_classes_of_2016_stay_apart():
    keys = [canonical_class(name) for name in CLASSES]
    assert len(set(keys)) == 6
    assert [canonical_class(key) for key in keys] == keys
