import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from hep2gan.data.grouping import (
    block_groups,
    duplicate_groups,
    fraction_quota,
    id_order,
    largest_remainder,
    merge_groups,
)
from hep2gan.data.leakage import measure_leakage
from hep2gan.data.splits import LEFT_OUT, Split, SplitSettings, halve, make_split
from hep2gan.errors import Hep2ganError
from tests.helpers.made_store import PUBLISHED, made_store, published_store

quick = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def published():
    return published_store()


@st.composite
def stores(draw):
    """Small stores: a few classes of specimens of 1 to 9 cells, some cells twice."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    label, specimen = [], []
    for k in range(draw(st.integers(1, 4))):
        for _ in range(draw(st.integers(4, 9))):
            cells = int(rng.integers(1, 10))
            specimen += [len(set(specimen))] * cells
            label += [k] * cells
    digest = rng.integers(0, 256, (len(label), 16), np.uint8)
    for _ in range(draw(st.integers(0, 3))):
        one, other = rng.integers(len(label), size=2)
        digest[one] = digest[other]
    return made_store(label, specimen=specimen, digest=digest, size=1)


kinds = st.sampled_from(["random", "block", "specimen"])


def complete(split, n):
    rows = np.concatenate([split.train, split.validation, split.test, split.left_out])
    return np.array_equal(np.sort(rows), np.arange(n))


def uncut(group, part):
    """Whether every group lies in one part."""
    return all(len(set(part[group == g])) == 1 for g in np.unique(group))


def kept_uncut(group, split):
    """Whether every group lies in one part, but for what the guard leaves out of it."""
    kept = split.part != LEFT_OUT
    return uncut(group[kept], split.part[kept])


def class_counts(store, rows):
    return np.bincount(store.label[rows], minlength=len(store.classes))


# ---------------------------------------------------------------- the numbers of the paper's set


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_random_split_of_the_full_set(published, seed):
    split = make_split(published, SplitSettings(seed=seed))
    assert (len(split.train), len(split.validation), len(split.test)) == (12236, 0, 1360)
    # 10 % is 249.4 283.1 259.8 274.1 220.8 72.4; of the three cells left after rounding down two
    # go to .8 and .8, the third to .4.
    assert class_counts(published, split.test).tolist() == [250, 283, 260, 274, 221, 72]


def test_random_split_with_duplicates_grouped_keeps_the_counts(published):
    split = make_split(published, SplitSettings(group_duplicates=True))
    assert len(split.test) == 1360
    assert uncut(duplicate_groups(published.digest)[11004:11392], split.part[11004:11392])


def test_random_split_with_validation(published):
    split = make_split(published, SplitSettings(validation_fraction=0.1))
    assert np.array_equal(split.test, make_split(published, SplitSettings()).test)
    assert len(split.validation) == 12236 - round(0.9 * 12236)
    assert np.abs(class_counts(published, split.validation) - 0.09 * np.array(PUBLISHED)).max() < 1


def test_block_split_of_the_full_set(published):
    split = make_split(published, SplitSettings(kind="block"))
    assert class_counts(published, split.test).tolist() == [250, 283, 260, 274, 221, 72]
    for k in range(6):
        rows = split.test[published.label[split.test] == k]
        assert np.array_equal(rows, np.arange(rows[0], rows[-1] + 1))


def test_specimen_split_of_the_full_set(published):
    for seed in range(3):
        split = make_split(published, SplitSettings(kind="specimen", seed=seed))
        tested = class_counts(published, split.test)
        assert not set(published.specimen[split.test]) & set(published.specimen[split.train])
        assert 0.08 < len(split.test) / 13596 < 0.12
        assert (tested > 0).all()
        # No class is further off than one specimen of about 160 cells, a quarter for Golgi.
        assert np.abs(tested[:5] - 0.1 * np.array(PUBLISHED[:5])).max() < 130


def test_specimen_splits_of_different_seeds_differ(published):
    tested = {
        tuple(
            np.unique(
                published.specimen[
                    make_split(published, SplitSettings(kind="specimen", seed=s)).test
                ]
            )
        )
        for s in range(6)
    }
    assert len(tested) == 6


def test_leave_one_specimen_out(published):
    for fold in (0, 41, 82):
        alone = SplitSettings(kind="specimen", folds=83, fold=fold, group_duplicates=False)
        split = make_split(published, alone)
        assert len(np.unique(published.specimen[split.test])) == 1


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(1, 3), min_size=4, max_size=9))
def test_as_many_folds_as_specimens_leave_one_out(seed, sizes):
    specimen = np.repeat(np.arange(len(sizes)), sizes)
    store = made_store(specimen % 2, specimen=specimen, size=1, classes=("A", "B"))
    folds = {"kind": "specimen", "folds": len(sizes), "seed": seed}
    tested = [make_split(store, SplitSettings(fold=i, **folds)).test for i in range(len(sizes))]
    assert all(len(np.unique(specimen[rows])) == 1 for rows in tested)


def test_random_folds_equal_scikit_learns_counts(published):
    label = published.label
    reference = StratifiedKFold(10, shuffle=True, random_state=0).split(label, label)
    theirs = sorted(tuple(class_counts(published, test)) for _, test in reference)
    ours = sorted(
        tuple(class_counts(published, make_split(published, SplitSettings(folds=10, fold=i)).test))
        for i in range(10)
    )
    assert theirs == ours


def test_specimen_folds_are_as_even_as_scikit_learns(published):
    label, folds = published.label, 4
    wanted = np.bincount(label) / folds

    def unevenness(tests):
        return sum((((class_counts(published, t) - wanted) ** 2) / wanted).sum() for t in tests)

    reference = StratifiedGroupKFold(folds).split(label, label, published.specimen)
    ours = [
        make_split(published, SplitSettings(kind="specimen", folds=folds, fold=i)).test
        for i in range(folds)
    ]
    assert unevenness(ours) <= 1.5 * unevenness([test for _, test in reference])


# ------------------------------------------------------------------------------------ properties


@quick
@given(stores(), kinds, st.integers(0, 99), st.sampled_from([0.0, 0.2]), st.booleans())
def test_parts_partition_and_groups_stay_whole(store, kind, seed, validation, grouped):
    settings = SplitSettings(
        kind=kind,
        seed=seed,
        test_fraction=0.25,
        validation_fraction=validation,
        group_duplicates=grouped,
    )
    try:
        split = make_split(store, settings)
    except Hep2ganError:
        # Only joined duplicates can leave a class with too few groups here.
        if grouped:
            return
        raise
    assert complete(split, len(store))
    assert all((np.diff(rows) > 0).all() for rows in (split.train, split.validation, split.test))
    for rows in (split.train, split.test) + ((split.validation,) if validation else ()):
        assert len(rows)
        if not grouped:
            assert (class_counts(store, rows) > 0).all()
    if kind == "specimen":
        assert uncut(store.specimen, split.part)
    if kind == "block":
        minimum = 3 if validation else 2
        assert kept_uncut(block_groups(store.id, store.label, 10, minimum), split)
    if grouped:
        assert kept_uncut(duplicate_groups(store.digest), split)
    again = make_split(store, settings)
    assert np.array_equal(again.part, split.part)


@quick
@given(stores(), kinds, st.integers(2, 4), st.integers(0, 99), st.booleans())
def test_test_parts_of_folds_partition_the_set(store, kind, folds, seed, grouped):
    options = {"kind": kind, "folds": folds, "seed": seed, "group_duplicates": grouped}
    try:
        splits = [make_split(store, SplitSettings(fold=i, **options)) for i in range(folds)]
    except Hep2ganError:
        if grouped:
            return
        raise
    tested = np.concatenate([split.test for split in splits])
    assert np.array_equal(np.sort(tested), np.arange(len(store)))
    for split in splits:
        assert complete(split, len(store))
        assert kind != "specimen" or uncut(store.specimen, split.part)
        assert not grouped or kept_uncut(duplicate_groups(store.digest), split)
    if not grouped:
        assert all((class_counts(store, split.test) > 0).all() for split in splits)
    if kind == "random" and not grouped:
        counts = [class_counts(store, split.test) for split in splits]
        assert np.ptp(counts, axis=0).max() <= 1


@quick
@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any), st.integers(0, 200))
def test_shares_are_within_one_of_exact_proportion(weights, total):
    found = largest_remainder(np.asarray(weights), total)
    assert found.sum() == total
    assert np.abs(found - np.asarray(weights) * total / sum(weights)).max() < 1


def test_every_class_is_tested_even_where_its_share_is_below_one_cell():
    assert fraction_quota(np.array([1000, 4, 0]), 0.1).tolist() == [[900, 3, 0], [100, 1, 0]]


def test_order_of_cells_is_random():
    store = made_store(np.zeros(100), size=1)
    tests = {tuple(make_split(store, SplitSettings(seed=s)).test) for s in range(20)}
    assert len(tests) == 20
    assert len(set().union(*map(set, tests))) > 70


# ---------------------------------------------------------------------------------------- groups


def test_ids_are_ordered_by_their_numbers():
    assert id_order(np.array(["10", "9", "001"])).tolist() == [2, 1, 0]
    assert id_order(np.array(["c10", "c9", "b2", "b"])).tolist() == [3, 2, 1, 0]


def test_blocks_are_contiguous_in_id_order_whatever_the_row_order():
    rng = np.random.default_rng(0)
    number = rng.permutation(100)
    label = (number >= 60).astype(np.int64)
    block = block_groups(number.astype(str), label, 4, 2)
    # 60 cells make 4 blocks of 15; 40 cells 4 blocks of 10.
    expected = np.where(label == 0, number // 15, 4 + (number - 60) // 10)
    assert np.array_equal(block, expected)


def test_small_classes_have_fewer_blocks():
    ids, label = np.arange(100).astype(str), np.repeat([0, 1], [80, 20])
    assert np.bincount(block_groups(ids, label, 10, 2)).tolist() == [8] * 10 + [10, 10]


def test_joined_groups_are_connected_components():
    found = merge_groups(np.array([0, 0, 1, 1, 2, 3]), np.array([5, 6, 6, 7, 8, 9]))
    assert found.tolist() == [0, 0, 0, 0, 1, 2]


def test_digests_that_end_in_zero_bytes_stay_apart():
    digest = np.zeros((4, 16), np.uint8)
    digest[1, 0], digest[2, 15], digest[3, 0] = 1, 1, 1
    group = duplicate_groups(digest)
    assert group[1] == group[3]
    assert len(set(group[:3])) == 3


# ---------------------------------------------------------------------- what is near, and alike


def test_the_guard_leaves_out_the_ids_beside_a_tested_block():
    store = cells(40, 40)
    split = make_split(store, SplitSettings(kind="block", guard=3, blocks_per_class=5, seed=2))
    for rows in (split.test[split.test < 40], split.test[split.test >= 40]):
        first, last, start = rows[0], rows[-1], 40 * (rows[0] >= 40)
        assert len(rows) == last - first + 1 == 8
        beside = [*range(first - 3, first), *range(last + 1, last + 4)]
        own = [row for row in beside if start <= row < start + 40]
        found = split.left_out[(split.left_out >= start) & (split.left_out < start + 40)]
        assert found.tolist() == own
    assert complete(split, 80)
    without = make_split(store, SplitSettings(kind="block", guard=0, blocks_per_class=5, seed=2))
    assert np.array_equal(without.test, split.test)
    assert len(without.left_out) == 0


def test_the_guard_stands_around_the_validation_part_too():
    store = cells(200)
    settings = SplitSettings(kind="block", guard=4, validation_fraction=0.2)
    part = make_split(store, settings).part
    held = np.flatnonzero((part == 1) | (part == 2))
    for row in np.flatnonzero(part == 0):
        assert np.abs(held - row).min() > 4
    # None of the validation cells is beside a tested one.
    tested = np.flatnonzero(part == 2)
    assert min(np.abs(tested - row).min() for row in np.flatnonzero(part == 1)) > 4


@pytest.mark.parametrize("kind", ["random", "specimen", "block"])
def test_seeds_that_take_turns_test_every_cell_once_in_each_round(published, kind):
    def tested(seed, **options):
        given = {"kind": kind, "folds": 5, "guard": 0, "validation_fraction": 0.1} | options
        return make_split(published, SplitSettings(seed=seed, **given))

    rounds = [[tested(5 * turn + k, fold=None) for k in range(5)] for turn in (0, 1)]
    for splits in rounds:
        every = np.concatenate([split.test for split in splits])
        assert sorted(every) == list(range(len(published)))
    # The first round is the division of seed 0 by fold, the second that of seed 1.
    for seed, splits in enumerate(rounds):
        for fold, split in enumerate(splits):
            alone = tested(seed, fold=fold)
            np.testing.assert_array_equal(split.test, alone.test)
            np.testing.assert_array_equal(split.validation, alone.validation)
    assert not np.array_equal(rounds[0][0].test, rounds[1][0].test)


def test_turns_need_folds():
    with pytest.raises(Hep2ganError, match=r"split.folds too.*set split.folds=5"):
        SplitSettings(fold=None)


def shared(store, **options):
    """Share of test cells whose specimen is trained on, over five seeds."""
    found = []
    for seed in range(5):
        split = make_split(store, SplitSettings(kind="block", seed=seed, **options))
        found.append(np.isin(store.specimen[split.test], store.specimen[split.train]).mean())
    return np.mean(found)


def test_a_guard_of_about_one_specimen_keeps_most_specimens_apart(published):
    assert SplitSettings(kind="block").guard_of(13596) == 169
    assert SplitSettings().guard_of(13596) == 0
    assert shared(published, guard=0) > 0.5
    assert shared(published) < 0.15
    assert shared(published, guard=340) < 0.02


def test_identical_cells_stay_together_by_default_where_specimens_do(published):
    twins = np.arange(11004, 11198), np.arange(11198, 11392)
    for kind, apart in (("random", True), ("block", False), ("specimen", False)):
        cut = 0
        for seed in range(8):
            part = make_split(published, SplitSettings(kind=kind, seed=seed, guard=0)).part
            cut += int((part[twins[0]] != part[twins[1]]).sum())
        assert (cut > 0) is apart
    loose = SplitSettings(kind="specimen", folds=5, group_duplicates=False)
    parts = [
        make_split(published, loose.model_copy(update={"fold": fold})).part for fold in range(5)
    ]
    assert sum((part[twins[0]] != part[twins[1]]).sum() for part in parts) > 0
    recorded = make_split(published, SplitSettings(kind="specimen")).settings
    assert (recorded["group_duplicates"], recorded["guard"]) == (True, 0)


def test_blocks_are_numbered_as_the_split_kept_them():
    store = cells(80, 40)
    split = make_split(store, SplitSettings(kind="block", blocks_per_class=4))
    expected = block_groups(store.id, store.label, 4, 2)
    assert np.array_equal(split.blocks(store), expected)
    assert make_split(store, SplitSettings()).blocks(store) is None


# ----------------------------------------------------------------------------------------- given


def test_given_split_is_the_manifests():
    split = make_split(made_store([0] * 6, part=[2, 0, 1, 0, 2, 0]), SplitSettings(kind="given"))
    assert (split.train.tolist(), split.validation.tolist()) == ([1, 3, 5], [2])
    assert split.test.tolist() == [0, 4]


def test_given_split_with_duplicates_grouped_tests_the_twins_too():
    store = made_store([0] * 6, part=[2, 0, 1, 0, 2, 0])
    store.digest[1] = store.digest[0]
    store.digest[3] = store.digest[2]
    split = make_split(store, SplitSettings(kind="given", group_duplicates=True))
    assert split.part.tolist() == [2, 2, 1, 1, 2, 0]


def test_given_split_can_have_a_validation_part_cut_from_training():
    store = made_store([0] * 30, part=[0] * 20 + [2] * 10)
    split = make_split(store, SplitSettings(kind="given", validation_fraction=0.2))
    assert (len(split.train), len(split.validation)) == (16, 4)
    assert split.test.tolist() == list(range(20, 30))


# ---------------------------------------------------------------------------------------- errors


def cells(*counts, **given):
    return made_store(np.repeat(np.arange(len(counts)), counts), size=1, **given)


@pytest.mark.parametrize(
    ("store", "options", "words"),
    [
        (cells(9, 1), {}, ["Class 'B' has 1 cell", "at least 2"]),
        (cells(9, 2), {"validation_fraction": 0.1}, ["'B' has 2 cells", "3", "fraction=0"]),
        (cells(6, specimen=[0] * 6), {"kind": "specimen"}, ["'A' has 1 specimen:", "at least 2"]),
        (
            cells(6, specimen=[0, 0, 0, 1, 1, 1]),
            {"kind": "specimen", "validation_fraction": 0.5},
            ["'A' has 2 specimens", "at least 3"],
        ),
        (cells(6, specimen=[0, 1, 2, -1, -1, 3]), {"kind": "specimen"}, ["2 of 6", "block"]),
        (cells(6), {"kind": "given"}, ["6 of 6 cells", "no given part", "split column"]),
        (cells(3, part=[0, 0, 1]), {"kind": "given"}, ["test part has no cells"]),
        (cells(3, part=[2, 2, 1]), {"kind": "given"}, ["train part has no cells"]),
        (
            cells(4, part=[0, 0, 1, 2]),
            {"kind": "given", "validation_fraction": 0.5},
            ["already gives a validation part"],
        ),
        (cells(6), {"kind": "given", "folds": 3}, ["no folds"]),
        (cells(6), {"folds": 7, "fold": 6}, ["test part of fold 6 has no cells", "fewer folds"]),
        (cells(6), {"kind": "blocks"}, ["kind is 'blocks'", "block, specimen, given"]),
        (cells(6), {"test_fraction": 1.0}, ["test_fraction is 1.0", "above 0 and below 1"]),
        (
            cells(6),
            {"validation_fraction": -0.1},
            ["validation_fraction is -0.1", "0 or more and below 1"],
        ),
        (cells(6), {"folds": 1}, ["folds is 1", "2 or more"]),
        (cells(6), {"folds": 3, "fold": 3}, ["fold is 3", "0..2"]),
        (cells(6), {"fold": 1}, ["fold is 1", "0..0"]),
        (cells(6), {"seed": -1}, ["seed is -1", "from 0 to"]),
        (cells(6), {"blocks_per_class": 0}, ["blocks_per_class is 0", "1 or more"]),
        (
            cells(40),
            {"kind": "block", "guard": 40},
            ["guard=40 leaves class 'A' no cell to train on", "set split.guard=10"],
        ),
        (cells(6), {"guard": -1}, ["guard is -1", "0 or more"]),
    ],
)
def test_errors_say_what_is_wrong_and_what_to_do(store, options, words):
    with pytest.raises(Hep2ganError) as error:
        make_split(store, SplitSettings(**options))
    assert all(word in str(error.value) for word in words), error.value
    assert error.value.fix


def test_classes_without_cells_are_no_error():
    split = make_split(made_store([0] * 10 + [2] * 10, classes=("A", "B", "C")), SplitSettings())
    assert len(split.test) == 2


# ----------------------------------------------------------------------------------------- files


@pytest.fixture
def saved(tmp_path):
    store = cells(20, 10, ids=[f"a,{i}" for i in range(30)])
    split = make_split(store, SplitSettings(seed=3, validation_fraction=0.25))
    split.save(tmp_path / "run", store)
    return store, split, tmp_path / "run"


def test_split_survives_the_disk(saved):
    store, split, folder = saved
    found = Split.load(folder, store)
    assert np.array_equal(found.part, split.part)
    assert found.settings == split.settings
    assert found.settings["seed"] == 3
    assert found.settings["fingerprint"] == store.fingerprint
    assert sorted(path.name for path in folder.iterdir()) == ["split.csv", "split.json"]


def test_what_the_guard_leaves_out_survives_the_disk(tmp_path):
    store = cells(60)
    split = make_split(store, SplitSettings(kind="block", guard=2))
    split.save(tmp_path, store)
    found = Split.load(tmp_path, store)
    assert np.array_equal(found.left_out, split.left_out)
    assert len(found.left_out)
    assert ",left_out\n" in (tmp_path / "split.csv").read_text()
    record = json.loads((tmp_path / "split.json").read_text())
    assert (record["guarded"], record["settings"]["guard"]) == (len(split.left_out), 2)


def test_files_can_be_read_by_people(saved):
    _, split, folder = saved
    lines = (folder / "split.csv").read_text().splitlines()
    assert lines[0] == "id,part"
    assert lines[1 + split.test[0]] == f'"a,{split.test[0]}",test'
    counts = json.loads((folder / "split.json").read_text())["counts"]
    assert counts["test"] == {"A": 2, "B": 1}
    assert sum(sum(part.values()) for part in counts.values()) == 30


def test_rows_may_be_packed_in_another_order(saved):
    store, split, folder = saved
    turned = replace(store, id=store.id[::-1], label=store.label[::-1])
    assert np.array_equal(Split.load(folder, turned).part, split.part[::-1])


def test_loading_tells_what_differs(saved):
    store, _, folder = saved
    with pytest.raises(Hep2ganError, match=r"fingerprint 0123456789ab, but made has ffff"):
        Split.load(folder, replace(store, fingerprint="f" * 64))
    smaller = cells(20, 9, ids=store.id[:-1])
    with pytest.raises(Hep2ganError, match=r"1 cells of the split are not in the store .*a,29"):
        Split.load(folder, smaller)
    larger = cells(20, 11, ids=[*store.id, "new"])
    with pytest.raises(Hep2ganError, match=r"1 cells of the store are not in the split .*new"):
        Split.load(folder, larger)


def test_loading_refuses_missing_edited_and_damaged_files(saved):
    store, _, folder = saved
    table, about = folder / "split.csv", folder / "split.json"
    table.write_text(table.read_text().replace("train", "test", 1))
    with pytest.raises(Hep2ganError, match=r"split.csv has changed"):
        Split.load(folder, store)
    table.unlink()
    with pytest.raises(Hep2ganError, match=r"split.csv does not exist"):
        Split.load(folder, store)
    for text in ("{", "[]", '{"settings": {}}', "\udcff"):
        about.write_text(text, errors="surrogateescape")
        with pytest.raises(Hep2ganError, match=r"split.json is damaged"):
            Split.load(folder, store)
    about.unlink()
    with pytest.raises(Hep2ganError, match=r"split.json does not exist"):
        Split.load(folder, store)


def test_saving_refuses_another_store(saved, tmp_path):
    store, split, _ = saved
    with pytest.raises(Hep2ganError, match="was made for"):
        split.save(tmp_path / "other", replace(store, fingerprint="f" * 64))
    assert not (tmp_path / "other").exists()


def test_intensities_are_split_in_their_own_proportions(tmp_path):
    """Of 40 cells 4 have no intensity; 12 of the others are positive, all of class B."""
    intensity = np.repeat([0, -1, 1], [24, 4, 12])
    store = made_store(np.repeat([0, 1], 20), intensity=intensity, specimen=np.arange(40) // 4)
    other = store.for_target("intensity")
    split = make_split(other, SplitSettings(test_fraction=0.25, validation_fraction=0.25))
    assert split.counts(other) == {
        "train": {"intermediate": 13, "positive": 7},
        "validation": {"intermediate": 5, "positive": 2},
        "test": {"intermediate": 6, "positive": 3},
    }
    split.save(tmp_path, other)
    assert json.loads((tmp_path / "split.json").read_text())["left_out"] == 4
    parts = (tmp_path / "split.csv").read_text()
    assert parts.count("\n") == 37
    assert not any(name in parts for name in store.id[24:28])
    assert np.array_equal(Split.load(tmp_path, other).part, split.part)
    with pytest.raises(Hep2ganError, match="4 cells of the store are not in the split"):
        Split.load(tmp_path, store)
    whole = make_split(other, SplitSettings(kind="specimen", test_fraction=0.25))
    assert uncut(other.specimen, whole.part)
    assert measure_leakage(other, whole).shared_specimens == 0
    assert measure_leakage(other, split).test_specimens == len(set(other.specimen[split.test]))


def test_halves_keep_specimens_together():
    store = made_store(np.arange(120) // 6 % 3, specimen=np.arange(120) // 6)
    rows = np.arange(10, 110)
    half = halve(store, rows, 0)
    specimen = np.asarray(store.specimen)[rows]
    assert all(len(set(half[specimen == one])) == 1 for one in np.unique(specimen))
    counts = np.stack([np.bincount(store.label[rows[half == h]], minlength=3) for h in (0, 1)])
    assert np.abs(counts[0] - counts[1]).max() <= 6
    assert np.array_equal(half, halve(store, rows, 0))
    assert not np.array_equal(half, halve(store, rows, 1))
