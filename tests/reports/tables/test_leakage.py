import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from hep2gan.reports.tables.leakage import (
    Protocol,
    distinct_protocols,
    leakage_rows,
    leakage_sentence,
    leakage_table,
)
from tests.helpers.made_up_results import cells, read_csv, read_markdown, result, study_of

N = 400
ALL = np.arange(N)


def right(share, seed):
    return np.random.default_rng(seed).random(N) < share


def folded(name, kind, named, *, grouped=False, order=ALL, other=(), **keywords):
    """Two folds of all cells, dealt in `order`; `other` settings of the split."""
    known = keywords.pop("known", True)
    settings = {"kind": kind, "folds": 2, "group_duplicates": grouped, **dict(other)}
    full = f"{name},split={kind}" + ",split.group_duplicates=true" * bool(grouped)
    return [
        result(
            f"{full},split.fold={fold}",
            cells(ids, named[ids], known=known),
            **settings,
            fold=fold,
            **keywords,
        )
        for fold, ids in enumerate(np.split(order, 2))
    ]


NAMED = {"random": right(0.95, 0), "specimen": right(0.7, 1), "block": right(0.8, 2)}


def study(**keywords):
    shuffled = np.random.default_rng(9).permutation(N)
    found = folded("proposed", "random", NAMED["random"], order=shuffled, **keywords)
    found += folded("proposed", "specimen", NAMED["specimen"], **keywords)
    found += folded("proposed", "block", NAMED["block"], order=ALL[::-1], **keywords)
    found += folded("proposed", "random", right(0.94, 3), grouped=True, **keywords)
    return found + folded("lonely", "random", NAMED["random"], **keywords)


def test_accuracies_and_differences():
    rows, gaps = leakage_rows(study())
    found = {row.protocol: row for row in rows}
    assert {row.method.name for row in rows} == {"proposed"}
    assert set(found) == {
        *(Protocol(kind, False) for kind in NAMED),
        Protocol("random", True),
    }
    for kind, named in NAMED.items():
        estimate = found[Protocol(kind, False)].estimates["accuracy"]
        assert estimate.mean == pytest.approx(named.mean())
        by_specimen, mean = named.reshape(-1, 5).mean(axis=1), named.mean()
        half = stats.t.ppf(0.975, 79) * stats.sem(by_specimen) / (mean * (1 - mean))
        ends = expit(logit(mean) + np.array([-half, half]))
        assert estimate.interval == pytest.approx(tuple(ends))
    compared = [(gap.first, gap.second.kind, gap.second.grouped) for gap in gaps]
    plain = Protocol("random", False)
    assert compared == [(plain, "specimen", 0), (plain, "block", 0), (plain, "random", 1)]
    gap = gaps[0]
    assert (gap.cells, gap.specimens) == (N, 80)
    one = NAMED["random"].astype(float) - NAMED["specimen"]
    assert gap.differences["accuracy"].estimate == pytest.approx(one.mean())
    label = ALL // 5 % 2
    mean = np.mean([one[label == 0].mean(), one[label == 1].mean()])
    assert gap.differences["mean_class_accuracy"].estimate == pytest.approx(mean)
    sums = one.reshape(-1, 5).sum(axis=1)
    p = gap.differences["accuracy"].p
    assert p == pytest.approx(stats.ttest_1samp(sums, 0).pvalue)
    assert gap.p_holm == pytest.approx(3 * p)
    assert gap.p_holm < 0.05
    assert gaps[2].p_holm >= 0.05


def test_without_specimens_cells_are_what_is_tested():
    _, gaps = leakage_rows(study(known=False))
    one = NAMED["random"].astype(int) - NAMED["specimen"]
    assert gaps[0].specimens == 0
    assert gaps[0].differences["accuracy"].p == pytest.approx(stats.ttest_1samp(one, 0).pvalue)
    assert "over cells" in leakage_sentence("proposed", gaps)


def test_blocks_of_one_split_are_what_both_are_tested_over():
    bad = ALL < 40
    block = ALL // 40
    random = cells(ALL, ALL >= 0, known=False)
    kept = dataclasses.replace(cells(ALL, ~bad, known=False), block=block)
    found = [
        result("m,split=random", random, kind="random"),
        result("m,split=block", kept, kind="block"),
    ]
    (gap,) = leakage_rows(found)[1]
    sums = np.bincount(block, bad)
    accuracy = gap.differences["accuracy"]
    assert (gap.unit, accuracy.estimate) == ("block", pytest.approx(0.1))
    assert accuracy.p == pytest.approx(stats.ttest_1samp(sums, 0).pvalue)
    assert accuracy.p > 0.3


def test_sentences():
    _, gaps = leakage_rows(study())
    size = 100 * (NAMED["random"].mean() - NAMED["specimen"].mean())
    text = leakage_sentence("proposed", gaps)
    start = f"a random split inflates accuracy of these trainings: {size:+.2f} points against"
    assert text.startswith(start + " specimens kept apart (95 %: +")
    assert text.endswith("over specimens; p < 0.001).")
    _, gaps = leakage_rows(study(data="phantom"))
    text = leakage_sentence("proposed", gaps)
    assert "inflates accuracy of these trainings on synthetic cells: +" in text
    alike = folded("m", "random", NAMED["random"]) + folded("m", "block", NAMED["random"])
    _, gaps = leakage_rows(alike)
    text = leakage_sentence("m", gaps)
    assert "is not shown to inflate accuracy of these trainings: +0.00 points against" in text
    seeds = [
        one
        for seed in range(3)
        for kind, share in (("random", 0.95), ("specimen", 0.7))
        for one in folded("m", kind, right(share, 10 * seed + len(kind)), seed=str(seed))
    ]
    _, gaps = leakage_rows(seeds)
    text = leakage_sentence("m", gaps)
    assert text.startswith("a random split inflates accuracy: +2")
    assert "over seeds × specimens; p = 0.0" in text


def test_other_cells_are_told_not_guessed():
    found = [result("m,split=random", cells(range(20), [1] * 20), kind="random")]
    found.append(result("m,split=block", cells(range(50, 70), [1] * 20), kind="block"))
    made = study_of(found)
    _, gaps = made.leakage
    assert "is unknown: not paired: no cell is tested by both" in leakage_sentence("m", gaps)
    assert "not paired" in read_csv(leakage_table(made).to_csv())[-1]["problem"]
    assert "not paired" in leakage_table(made).to_markdown()
    only = folded("m", "specimen", NAMED["block"]) + folded("m", "block", NAMED["block"])
    assert "not run under a random and another split" in leakage_sentence(
        "m", leakage_rows(only)[1]
    )


def test_text_reads_back():
    made = study_of(study())
    _, gaps = made.leakage
    found = read_csv(leakage_table(made).to_csv())
    assert len(found) == 7
    line = next(r for r in found if r["split"] == "specimen" and not r["less_split"])
    assert float(line["accuracy"]) == pytest.approx(NAMED["specimen"].mean())
    assert line["run_paths"].count("split=specimen") == 2
    gap = found[4]
    assert (gap["split"], gap["less_split"], gap["less_group_duplicates"]) == (
        "random",
        "specimen",
        "false",
    )
    assert float(gap["accuracy"]) == gaps[0].differences["accuracy"].estimate
    assert float(gap["accuracy_specimens_high"]) == gaps[0].differences["accuracy"].interval.high
    assert float(gap["p_holm"]) == gaps[0].p_holm
    text = leakage_table(made).to_markdown()
    lines = read_markdown(text)
    accuracy = f"{100 * NAMED['specimen'].mean():.2f}"
    assert ["proposed", "specimen", "400 cells", "80", accuracy] in [one[:5] for one in lines]
    assert any(one[1:3] == ["random", "random, identical cells together"] for one in lines)
    assert f"- `proposed`: {leakage_sentence('proposed', gaps)}" in text


def test_defaults_that_differ_by_kind_are_compared():
    # Identical cells stay together by default under specimen, not under random.
    found = folded("m", "random", NAMED["random"], grouped=None)
    found += folded("m", "specimen", NAMED["specimen"], grouped=None)
    rows, gaps = leakage_rows(found)
    assert [row.protocol.grouped for row in rows] == [False, True]
    ((first, second),) = [(gap.first, gap.second) for gap in gaps]
    assert (first, second) == (Protocol("random", False), Protocol("specimen", True))


def test_one_protocol_makes_no_table():
    made = study_of(folded("m", "random", NAMED["random"]))
    assert made.leakage == ([], [])
    assert leakage_table(made) is None


def test_settings_that_runs_of_a_kind_differ_in_tell_them_apart():
    found = folded("m", "random", NAMED["random"], other={"test_fraction": 0.1})
    for blocks, named in ((5, NAMED["block"]), (20, NAMED["specimen"])):
        found += folded("m", "block", named, other={"blocks_per_class": blocks})
    made = study_of(found)
    rows, gaps = made.leakage
    accuracy = {row.protocol: row.estimates["accuracy"].mean for row in rows}
    five, twenty = (Protocol("block", False, (("blocks_per_class", n),)) for n in ("5", "20"))
    assert accuracy == {
        Protocol("random", False): pytest.approx(NAMED["random"].mean()),
        five: pytest.approx(NAMED["block"].mean()),
        twenty: pytest.approx(NAMED["specimen"].mean()),
    }
    assert five.words == "block, blocks per class 5"
    assert {(gap.first.kind, gap.second) for gap in gaps} == {("random", five), ("random", twenty)}
    lines = read_csv(leakage_table(made).to_csv())
    assert {line["split_settings"] for line in lines if line["split"] == "block"} == {
        "blocks_per_class=5",
        "blocks_per_class=20",
    }
    assert "against blocks kept apart (blocks per class 20)" in leakage_sentence("m", gaps)


def test_splits_whose_common_settings_disagree_are_not_compared():
    found = [
        one
        for kind in ("random", "block")
        for share in (0.1, 0.2)
        for one in folded("m", kind, NAMED[kind], other={"test_fraction": share})
    ]
    rows, gaps = leakage_rows(found)
    assert len(rows) == 4
    told = [(dict(gap.first.settings), dict(gap.second.settings)) for gap in gaps]
    assert told == [({"test_fraction": n}, {"test_fraction": n}) for n in ("0.1", "0.2")]
    text = leakage_sentence("m", gaps)
    assert text.startswith("a random split (test fraction 0.1) inflates accuracy of these")


def test_seeds_and_folds_are_repetitions_and_what_is_not_set_is_said():
    run = result("m", cells(range(4), [1] * 4)).run
    splits = [{"seed": 0, "folds": None}, {"seed": 1, "fold": 1, "folds": None}]
    splits.append({"seed": 1, "folds": 3, "block": 2})
    found = distinct_protocols(
        [dataclasses.replace(run, config={"split": split}) for split in splits]
    )
    plain = Protocol("random", False, (("block", "by default"), ("folds", "none")))
    assert found[:2] == [plain, plain]
    assert found[2].words == "random, block 2, folds 3"
