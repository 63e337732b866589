import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import balanced_accuracy_score, f1_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import group_methods
from hep2gan.reports.tables.estimates import make_estimates
from hep2gan.reports.tables.table_1 import table_1, table_1_rows
from tests.helpers.made_up_results import cells, read_csv, read_markdown, result, study_of

N = 200


def right(misses):
    return ~np.isin(np.arange(N), misses)


def made(**keywords):
    """Three methods of the paper and a segmentation on 200 cells of 40 specimens."""
    dice = np.linspace(0.9, 1, N)
    ids = np.arange(N)
    return [
        result("segmentation", cells(ids, right([]), dice=dice**2, classify=False), **keywords),
        result("proposed", cells(ids, right(range(0, 50, 10)), dice=dice), **keywords),
        result("proposed", cells(ids, right(range(7)), dice=dice - 0.1), seed="1", **keywords),
        result("resnet50", cells(ids, right(range(0, N, 4))), **keywords),
        result("without_gm", cells(ids, right(range(0, 60, 10)), dice=dice**1.1), **keywords),
    ]


@pytest.fixture(scope="module")
def study():
    return study_of(made())


@pytest.fixture(scope="module")
def rows(study):
    return study.table_1


def test_rows_and_figures(rows):
    names = [row.method.name for row in rows]
    assert names == ["resnet50", "without_gm", "proposed", "segmentation"]
    proposed = rows[2].estimates
    assert proposed["accuracy"].mean == pytest.approx((195 + 193) / 400)
    assert proposed["accuracy"].sd == pytest.approx(np.std([0.975, 0.965], ddof=1))
    assert proposed["dice"].mean == pytest.approx(0.9)
    tests = [one.cells for one in made() if one.run.method == "proposed"]
    each = [f1_score(one.label, one.predicted, average="macro") for one in tests]
    assert proposed["f1"].mean == pytest.approx(np.mean(each))
    assert "dice" not in rows[0].estimates
    assert list(rows[3].estimates) == ["dice", "jaccard"]


def test_intervals(study, rows):
    expected = proportion_confint(150, N, method="wilson")
    assert rows[0].method.cells.wilson() == pytest.approx(expected)
    printed = read_csv(table_1(study).to_csv())
    assert float(printed[0]["accuracy_cells_low"]) == pytest.approx(expected[0])
    found = rows[0].estimates["accuracy"]
    assert found.intervals["cell"] == pytest.approx(expected)
    specimens = right(range(0, N, 4)).reshape(40, 5).mean(axis=1)
    half = stats.t.ppf(0.975, 39) * specimens.std(ddof=1) / 40**0.5 / (0.75 * 0.25)
    ends = expit(logit(0.75) + np.array([-half, half]))
    assert found.interval == found.intervals["specimen"] == pytest.approx(tuple(ends))
    assert rows[0].estimates["f1"].intervals == {}
    by_seed = [one.cells.predicted == one.cells.label for one in made()[1:3]]
    assert rows[2].estimates["accuracy"].mean == pytest.approx(np.mean(by_seed))


def test_each_method_against_the_row_below(rows):
    first, second, third, last = (row.comparison for row in rows)
    assert (first.other.name, len(first.pairs.each), first.pairs.each.specimens) == (
        "without_gm",
        N,
        40,
    )
    # Misses 0, 4, …, 196 against 0, 10, …, 50: both miss 0, 20 and 40.
    assert first.pairs.discordant == (3, 47)
    assert second.pairs.discordant == (0, 1)
    gained = right(range(0, N, 4)).astype(int) - right(range(0, 60, 10))
    sums = gained.reshape(40, 5).sum(axis=1)
    one, other = (test.pairs.differences["accuracy"] for test in (first, second))
    assert one.estimate == pytest.approx(-44 / N)
    assert one.p == pytest.approx(stats.ttest_1samp(sums, 0).pvalue)
    corrected = multipletests([one.p, other.p], method="holm")[1]
    assert [first.p["accuracy"], second.p["accuracy"]] == pytest.approx(corrected)
    told = "these two trainings differ (p < 0.001); one seed: no verdict on methods"
    assert first.verdict == told
    assert second.verdict.startswith("these two trainings are not shown to differ (p = 0.")
    assert third == "the last row"
    assert last == "no classifier"


def seeds(name, misses, count, dice=0.9):
    """A method of several seeds, whose misses and Dice differ by seed and specimen."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng([misses, seed])
        values = dice + rng.normal(0, 0.01, N) + 0.001 * seed
        tested = cells(np.arange(N), right(rng.permutation(N)[:misses]), dice=values)
        found.append(result(name, tested, seed=str(seed)))
    return found


def test_a_verdict_on_methods_takes_seeds():
    study = study_of([*seeds("gao", 60, 5), *seeds("proposed", 10, 5, dice=0.92)])
    compared = study.table_1[0].comparison
    found = compared.pairs.differences["accuracy"]
    assert found.seeds == 5
    assert found.estimate == pytest.approx(-0.25)
    assert compared.verdict == "more than noise (p < 0.001)"
    dice = compared.pairs.differences["dice"]
    assert dice.estimate == pytest.approx(-0.02, abs=0.002)
    assert compared.p["dice"] < 0.001
    alike = study_of([*seeds("gao", 30, 5), *seeds("proposed", 31, 5)])
    assert alike.table_1[0].comparison.verdict.startswith("not shown to be more than noise (p = 0.")
    two = study_of([*seeds("gao", 60, 2), *seeds("proposed", 10, 2)])
    told = two.table_1[0].comparison.verdict
    assert told.startswith("2 seeds: too few for a verdict on methods (p ")
    text = table_1(study).to_markdown()
    assert "## Masks: each method against the row below\n" in text
    masks = next(n for n in read_markdown(text) if n[1] == "proposed" and "; p <" in n[2])
    assert masks[0] == "gao"
    assert masks[2].startswith(f"−{-100 * dice.estimate:.2f} (−2.")
    assert masks[3:5] == ["–", "–"]
    assert masks[5] == "more than noise (p < 0.001)"
    csv = read_csv(table_1(study).to_csv())[0]
    assert csv["tested_over"] == "seeds × specimens"
    assert float(csv["p_dice_holm"]) == compared.p["dice"]


def test_a_class_of_few_specimens_has_no_interval_and_the_table_says_why():
    found = [
        result(name, cells(np.arange(20), right(misses)[:20]))
        for name, misses in (("gao", range(3)), ("vgg16", range(9, 12)))
    ]
    study = study_of(found)
    compared = study.table_1[0].comparison
    assert "mean_class_accuracy" not in compared.p
    told = "+0.00 (no interval: Homogeneous has 2 specimens, fewer than 3)"
    assert told in table_1(study).to_markdown()
    assert read_csv(table_1(study).to_csv())[0]["p_mean_class_accuracy_holm"] == ""


def test_outlines_are_tested_where_they_are_scored():
    first, second = (
        replace(cells(np.arange(N), right([]), dice=np.full(N, 0.9)), hd95=own, boundary_f1=own / 9)
        for own in (np.linspace(1, 3, N), np.linspace(1, 3, N) + 0.5)
    )
    study = study_of([result("gao", first), result("vgg16", second)])
    compared = study.table_1[0].comparison
    assert compared.pairs.differences["hd95"].estimate == pytest.approx(-0.5)
    assert compared.in_words("hd95").startswith("−0.50 (")
    assert compared.in_words("boundary_f1").startswith("−5.56 (")


@pytest.mark.parametrize(
    ("shared", "words"),
    [
        (0.0, "No test specimen was trained on: intervals over specimens hold for these trainings"),
        (3.0, "Test specimens were trained on too: no interval here is one for new patients"),
        (None, "Whether test specimens were trained on is not known of all runs"),
    ],
)
def test_new_patients_are_spoken_of_only_where_none_was_trained_on(shared, words):
    metrics = {} if shared is None else {"leakage/shared_specimens": shared}
    study = study_of(made(metrics=metrics))
    text = table_1(study).to_markdown()
    assert words in text
    assert ("trainings on new patients of the same" in text) is (shared == 0)
    drawn = study_of(made(metrics=metrics, data="phantom"))
    assert ("on new synthetic specimens" in table_1(drawn).to_markdown()) is (shared == 0)


def test_each_method_against_the_reference():
    study = study_of(made(), "proposed")
    rows = study.table_1
    first, second, third, last = (row.comparison for row in rows)
    assert first.other.name == second.other.name == last.other.name == "proposed"
    assert third == "the reference"
    assert [row.compared for row in rows] == [True, True, False, True]
    # Of seed 0, proposed misses 0, 10, …, 40.
    assert first.pairs.discordant == (2, 47)
    assert second.pairs.discordant == (0, 1)
    # A method without a classifier is compared by its masks.
    assert (last.main, list(last.pairs.differences)) == ("dice", ["dice", "jaccard"])
    raw = [one.pairs.differences["dice"].p for one in (second, last)]
    corrected = multipletests(raw, method="holm")[1]
    assert [second.p["dice"], last.p["dice"]] == pytest.approx(corrected)
    text = table_1(study).to_markdown()
    assert "## Each method against `proposed`\n" in text
    assert ["resnet50", "proposed", "200", "1", "2", "47"] in [n[:6] for n in read_markdown(text)]
    assert "{Each method against proposed.}" in table_1(study).to_latex()
    lines = read_csv(table_1(study).to_csv())
    assert [line["against"] for line in lines] == ["proposed", "proposed", "", "proposed"]
    assert lines[2]["verdict"] == "the reference"


@pytest.mark.parametrize(
    ("reference", "study", "words"),
    [
        ("vgg16", "s", "reference=vgg16 names none of the methods.*choose from s/gao, t/gao"),
        ("gao", "s", "reference=gao names 2 of the methods.*choose from s/gao, t/gao"),
        ("segmentation", "", "reference=segmentation has no classifier"),
    ],
)
def test_a_reference_that_cannot_be_one(reference, study, words):
    found = [result("gao", cells(range(20), [1] * 20), study=name) for name in ("s", "t")]
    with pytest.raises(Hep2ganError, match=f"(?s){words}"):
        table_1_rows(group_methods(found if study else made()), reference)


def test_difference_of_mean_class_accuracy(study, rows):
    compared = rows[0].comparison
    one, other = rows[0].method.cells, rows[1].method.cells
    mean, low = (balanced_accuracy_score(c.label, c.predicted) for c in (one, other))
    found = compared.pairs.differences["mean_class_accuracy"]
    assert found.estimate == pytest.approx(mean - low)
    lines = read_markdown(table_1(study).to_markdown())
    line = next(n for n in lines if n[:2] == ["resnet50", "without_gm"])
    assert line[8].startswith(f"{100 * (mean - low):+.2f}".replace("-", "−") + " (−")
    csv = read_csv(table_1(study).to_csv())[0]
    assert float(csv["difference_mean_class_accuracy"]) == found.estimate
    assert float(csv["difference_mean_class_accuracy_high"]) == found.interval.high


def test_one_bad_specimen_is_noise_over_specimens():
    ids = np.arange(N)
    bad = np.arange(N) < 20
    found = [result("gao", cells(ids, ~bad, per_specimen=20))]
    found.append(result("vgg16", cells(ids, ids >= 0, per_specimen=20)))
    compared = table_1_rows(group_methods(found))[0].comparison
    assert compared.p["accuracy"] > 0.3
    found = [
        one._replace(cells=cells(ids, named, known=False))
        for one, named in zip(found, (~bad, ids >= 0), strict=True)
    ]
    compared = table_1_rows(group_methods(found))[0].comparison
    assert compared.pairs.unit == "cell"
    assert compared.p["accuracy"] < 0.001


def test_masks_of_one_generator_are_the_same_and_no_comparison_of_the_family():
    wide = np.linspace(0.8, 0.98, N)
    dice = [wide + 0.01 * np.random.default_rng(seed).random(N) for seed in range(3)]
    study = study_of(
        [
            result(name, cells(np.arange(N), right([]), dice=own + shift), seed=str(seed))
            for name, shift in (("two_stage", 0), ("bce_dice", 0.01 * wide), ("proposed", 0))
            for seed, own in enumerate(dice)
        ],
        "proposed",
    )
    found = {row.method.name: row.comparison for row in study.table_1}
    assert found["two_stage"].verdict_on("dice") == "the same results"
    assert found["two_stage"].in_words("dice") == "the same"
    other = found["bce_dice"]
    assert other.p["dice"] == other.pairs.differences["dice"].p


def test_cells_that_are_cut_wider_are_the_same_cells():
    ids = np.arange(N)
    own = cells(ids, ids >= 20)
    wider = replace(cells(ids, ids >= 0), crop_size=own.crop_size + 16)
    study = study_of([result("gao", own), result("vgg16", wider)])
    compared = study.table_1[0].comparison
    assert compared.pairs.differences["accuracy"].estimate == pytest.approx(-20 / N)
    others = replace(wider, crop_size=wider.crop_size[::-1])
    study = study_of([result("gao", own), result("vgg16", others)])
    assert study.table_1[0].comparison == "vgg16: not paired: the same ids name different cells"


def test_rows_with_settings_stand_where_the_papers_method_does():
    ids, key = np.arange(N), "optimizer.classifier.lr"
    names = [f"vgg16,{key}=0.001", "prasath", f"gao,{key}=0.003", "own"]
    study = study_of([result(name, cells(ids, ids >= 0)) for name in names])
    order = [row.method.name.partition(",")[0] for row in study.table_1]
    assert order == ["gao", "prasath", "vgg16", "own"]


def test_blocks_are_what_is_tested_over_where_specimens_are_unknown():
    ids = np.arange(N)
    bad = ids < 20
    found = [
        result(name, replace(cells(ids, named, known=False), block=ids // 20))
        for name, named in (("gao", ~bad), ("vgg16", ids >= 0))
    ]
    study = study_of(found)
    compared = study.table_1[0].comparison
    assert compared.pairs.unit == "block"
    assert compared.p["accuracy"] > 0.3
    text = table_1(study).to_markdown()
    assert "over other seeds and other blocks" in text
    line = next(n for n in read_markdown(text) if n[:3] == ["gao", "200 cells", "10 blocks"])
    assert line[4].startswith("none") is False
    assert read_csv(table_1(study).to_csv())[0]["accuracy_blocks_low"] != ""


def test_the_difference_is_that_of_the_table_over_seeds_and_folds():
    rng = np.random.default_rng(0)
    shares = {"gao": (0.7, 0.95, 0.95), "vgg16": (0.9, 0.7, 0.7)}
    found = [
        result(
            f"{name},split.fold={fold}",
            cells(np.arange(fold, N, 2), rng.random(N // 2) < share),
            seed=str(seed), folds=2, fold=fold,
        )
        for name, own in shares.items()
        for seed, share in enumerate(own)
        for fold in (0, 1)
    ]  # fmt: skip
    study = study_of(found)
    rows = study.table_1
    compared = rows[0].comparison
    gap = rows[0].estimates["accuracy"].mean - rows[1].estimates["accuracy"].mean
    assert compared.pairs.differences["accuracy"].estimate == pytest.approx(gap)
    assert gap > 0.05
    assert compared.pairs.discordant[0] > compared.pairs.discordant[1]
    assert len(compared.pairs.each) == N
    named = {  # more seeds right here, or there
        name: sum(
            np.isin(np.arange(N), one.cells.id.astype(int)[one.cells.predicted == one.cells.label])
            for one in found
            if one.run.method.startswith(name)
        )
        for name in shares
    }
    assert compared.pairs.discordant[0] == (named["gao"] > named["vgg16"]).sum()
    assert compared.pairs.discordant[1] == (named["gao"] < named["vgg16"]).sum()


def test_no_interval_where_units_show_no_spread():
    perfect = [result("gao", cells(np.arange(N), right([])), seed=str(k)) for k in range(2)]
    perfect.append(result("vgg16", cells(np.arange(N), right([]))))
    study = study_of(perfect)
    rows = study.table_1
    assert rows[0].estimates["accuracy"].interval is None
    assert rows[0].comparison.pairs.differences["accuracy"].interval is None
    assert rows[0].comparison.verdict == "the same results"
    lines = read_markdown(table_1(study).to_markdown())
    assert ["gao", "200 cells", "40", "–", "none: no spread", "none: no spread"] in lines
    compared = next(line for line in lines if line[:2] == ["gao", "vgg16"])
    assert compared[6:9] == ["+0.00", "–", "the same"]
    assert read_csv(table_1(study).to_csv())[0]["difference_low"] == ""
    one = make_estimates([cells(np.arange(N), right(range(40)), per_specimen=N)])
    assert one["accuracy"].interval is None
    assert one["accuracy"].missing == "1 specimen, fewer than 3"
    assert one["accuracy"].intervals["cell"] is not None
    few = make_estimates([cells(np.arange(20), right(range(3))[:20])])["mean_class_accuracy"]
    assert (few.interval, few.missing) == (None, "Homogeneous has 2 specimens, fewer than 3")


def test_seeds_on_the_same_cells_do_not_narrow_the_interval():
    one = cells(np.arange(N), right(range(0, N, 10)))
    once, thrice = (make_estimates([one] * n)["accuracy"] for n in (1, 3))
    assert once.interval == pytest.approx(thrice.interval)
    assert thrice.sd == 0


def test_csv_holds_full_values_and_paths(study, rows):
    found = read_csv(table_1(study).to_csv())
    proposed = found[2]
    assert float(proposed["accuracy"]) == rows[2].estimates["accuracy"].mean
    assert float(proposed["dice_sd"]) == rows[2].estimates["dice"].sd
    assert proposed["accuracy_paper"] == "0.9816"
    assert proposed["run_paths"].split(";") == ["runs/s/proposed/seed0", "runs/s/proposed/seed1"]
    assert (proposed["synthetic"], proposed["cells"], proposed["specimens"]) == (
        "false",
        "200",
        "40",
    )
    first = found[0]
    assert (first["only_here"], first["only_there"], first["paired_cells"]) == ("3", "47", "200")
    assert (first["tested_over"], first["paired_seeds"]) == ("specimens", "1")
    assert float(first["p_holm"]) == rows[0].comparison.p["accuracy"]
    expected = rows[0].comparison.pairs.differences["accuracy"].interval
    assert float(first["difference_low"]) == expected.low
    assert found[3]["accuracy"] == found[3]["p"] == ""
    assert found[3]["verdict"] == "no classifier"


def test_markdown(study):
    text = table_1(study).to_markdown()
    lines = read_markdown(text)
    assert lines[5][:2] == ["proposed", "97.00 ± 0.71"]
    assert lines[6] == [
        *("Paper: Proposed (w/ GANs and GM)", "98.16", "98.24", "98.06", "98.15"),
        *("–", "96.40", "93.07"),
    ]
    low, high = proportion_confint(150, N, method="wilson")
    wilson = f"{100 * low:.2f}–{100 * high:.2f}"
    assert ["resnet50", "200 cells", "40", wilson] in [line[:4] for line in lines]
    compared = next(line for line in lines if line[:2] == ["resnet50", "without_gm"])
    assert compared[2:7] == ["200", "1", "3", "47", "−22.00"]
    assert compared[-1].startswith("these two trainings differ (p < 0.001)")
    assert "- `proposed`: `runs/s/proposed/seed0`, `runs/s/proposed/seed1`" in text
    assert "means over seeds" in text
    assert "synthetic" not in text.lower()
    widths = [line.count(" | ") for line in text.splitlines() if line.startswith("|")]
    assert set(widths) == {7, 5, 9}


def test_latex_is_balanced_and_escaped(study):
    text = table_1(study).to_latex()
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 4
    for body in re.findall(r"\\begin\{tabular\}(.*?)\\end\{tabular\}", text, re.S):
        columns = len(re.match(r"\{(l?r+)\}", body).group(1))
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) >= 2
        assert all(len(re.findall(r"(?<!\\)&", line)) == columns - 1 for line in lines)
    assert r"without\_gm" in text
    assert r"97.00 $\pm$ 0.71" in text
    assert "$-$22.00" in text
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    stripped = code.replace(r"\label{tab:", "")
    assert not re.search(r"(?<!\\)[_%#]", stripped)
    assert not re.search(
        r"(?<![\\$pm])\$(?!\\pm)",
        stripped.replace(r"$\pm$", "").replace("$-$", "").replace(r"$\times$", ""),
    )
    assert code.isascii()
    bare = code.replace("\\{", "").replace("\\}", "")
    assert bare.count("{") == bare.count("}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_and_fits_a_page_of_two_columns(study, tmp_path):
    document = (
        r"\documentclass[twocolumn]{article}\usepackage[margin=2cm]{geometry}"
        r"\usepackage{booktabs,graphicx}\begin{document}" + "\n%s\n" + r"\end{document}"
    )
    (tmp_path / "paper.tex").write_text(document % table_1(study).to_latex())
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def test_synthetic_cells_are_called_so_everywhere():
    study = study_of(made(data="phantom"))
    assert "200 synthetic cells" in table_1(study).to_markdown()
    assert "200 synthetic cells" in table_1(study).to_latex()
    for text in (table_1(study).to_markdown(), table_1(study).to_latex()):
        assert "Synthetic cells are not micrographs" in text
    assert {line["synthetic"] for line in read_csv(table_1(study).to_csv())} == {"true"}


def test_methods_on_other_cells_are_not_compared():
    found = [result("gao", cells(range(20), [1] * 20))]
    found.append(result("vgg16", cells(range(50, 70), [1] * 20)))
    study = study_of(found)
    rows = study.table_1
    words = "vgg16: not paired: no cell is tested by both under the same seed and fold"
    assert rows[0].comparison == words
    assert words in table_1(study).to_markdown()
    assert words in table_1(study).to_latex()
    assert read_csv(table_1(study).to_csv())[0]["verdict"] == words


def test_names_cannot_break_a_table():
    found = [
        result("a|b`c\nd", cells(range(20), [1] * 20), study="x%_&{\\"),
        result("plain", cells(range(20), [1] * 20), study="other"),
    ]
    study = study_of(found)
    assert table_1(study).to_markdown().splitlines()[4].count(" | ") == 7
    assert r"x\%\_\&\{\textbackslash{}/a\textbar{}b" in table_1(study).to_latex()
    assert "\nother/plain & " in table_1(study).to_latex()
    assert Path(read_csv(table_1(study).to_csv())[0]["run_paths"]).name == "seed0"
