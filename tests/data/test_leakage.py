import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hep2gan.data.leakage import measure_leakage
from hep2gan.data.splits import Split, SplitSettings, make_split
from tests.helpers.made_store import made_store, published_store


def digests(names):
    """(N, 16) digests, equal where letters are equal."""
    return np.asarray([[ord(name)] * 16 for name in names], np.uint8)


def split_of(parts):
    return Split.from_parts(np.asarray([{"t": 0, "v": 1, "T": 2}[p] for p in parts]), {})


def test_shared_specimens_and_duplicates_by_hand():
    store = made_store(
        [0] * 8, specimen=[0, 0, 1, 1, 2, 2, 3, 4], digest=digests("abacadef"), size=1
    )
    found = measure_leakage(store, split_of("ttTTTvtT"))
    # Test rows 2 3 4 7: row 2 equals training row 0, row 4 too; 3 and 7 have no twin.
    assert found.duplicates == (("00003", "00001"), ("00005", "00001"))
    # Test specimens 1 2 4; none is trained on (2's other cell is in validation).
    assert (found.test_specimens, found.shared_specimens) == (3, 0)
    assert measure_leakage(store, split_of("tTtTTvtT")).shared_specimens == 2
    assert found.metrics() == {
        "leakage/duplicate_test_cells": 2.0,
        "leakage/shared_specimens": 0.0,
    }


def test_random_split_of_the_full_set_leaks():
    store = published_store()
    found = measure_leakage(store, make_split(store, SplitSettings()))
    first, second = found.warnings()
    # 194 pairs; 2·194·0.1·0.9 = 35 test cells with a twin in training are expected.
    assert 20 <= len(found.duplicates) <= 50
    assert all(abs(int(one) - int(other)) == 194 for one, other in found.duplicates)
    assert first.startswith(
        f"Leakage: {len(found.duplicates)} of 1,360 test cells have a byte-identical twin in"
        f" training (e.g. {found.duplicates[0][0]} = {found.duplicates[0][1]})"
    )
    assert second == (
        "Leakage: 83 of 83 test specimens also have cells in training: accuracy on unseen"
        " specimens may be much lower."
    )


def test_the_guard_is_told_with_what_it_cannot_do():
    store = published_store()
    split = make_split(store, SplitSettings(kind="block"))
    last = measure_leakage(store, split).warnings()[-1]
    assert last == (
        f"Guard: {len(split.left_out):,} cells within 169 ids of a held-out block are in no part;"
        " a specimen with more cells than that is on both sides still."
    )


def test_clean_split_says_so():
    store = published_store()
    found = measure_leakage(
        store, make_split(store, SplitSettings(kind="specimen", group_duplicates=True))
    )
    assert found.warnings() == [
        "No specimen and no byte-identical cell is in both training and test."
    ]
    assert found.metrics()["leakage/shared_specimens"] == 0


@pytest.mark.parametrize(
    ("specimen", "sentence"),
    [
        ([-1, -1, -1], "3 cells name no specimen: whether training and test share"),
        ([0, -1, 1], "1 cell names no specimen: whether training and test share"),
    ],
)
def test_unknown_specimens_cannot_be_known(specimen, sentence):
    found = measure_leakage(made_store([0] * 3, specimen=specimen, size=1), split_of("tTT"))
    assert not found.specimens_known
    assert [line.startswith(sentence) for line in found.warnings()] == [True]
    assert found.metrics() == {"leakage/duplicate_test_cells": 0.0}


def test_one_twin_is_told_in_the_singular():
    store = made_store([0] * 3, specimen=[0, 1, 2], digest=digests("aba"), size=1)
    assert (
        "1 of 1 test cell has a byte-identical"
        in measure_leakage(store, split_of("ttT")).warnings()[0]
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 3), st.sampled_from("abcd"), st.sampled_from("tvT"))))
def test_agrees_with_looking_at_every_pair(cells):
    specimen, names, parts = zip(*cells, strict=True) if cells else ((), (), ())
    store = made_store([0] * len(cells), specimen=specimen, digest=digests(names).reshape(-1, 16))
    found = measure_leakage(store, split_of(parts))
    train = [i for i, p in enumerate(parts) if p == "t"]
    test = [i for i, p in enumerate(parts) if p == "T"]
    leaking = [i for i in test if any(names[i] == names[j] for j in train)]
    assert [one for one, _ in found.duplicates] == [store.id[i] for i in leaking]
    number = {name: i for i, name in enumerate(store.id.tolist())}
    assert all(names[number[a]] == names[number[b]] for a, b in found.duplicates)
    assert all(parts[number[b]] == "t" for _, b in found.duplicates)
    shared = {specimen[i] for i in train} & {specimen[i] for i in test} - {-1}
    assert found.shared_specimens == len(shared)
    assert found.unknown_cells == sum(specimen[i] < 0 for i in train + test)
