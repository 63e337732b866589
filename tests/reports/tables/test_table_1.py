import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import group_methods
from hep2gan.reports.tables.estimates import PairedResults, make_estimates, method_differences
from hep2gan.reports.tables.table import verdict
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
        result("segmentation", cells(ids, right([]), dice=dice, classify=False), **keywords),
        result("proposed", cells(ids, right(range(0, 50, 10)), dice=dice), **keywords),
        result("proposed", cells(ids, right(range(7)), dice=dice - 0.1), seed="1", **keywords),
        result("resnet50", cells(ids, right(range(0, N, 4))), **keywords),
        result("without_gm", cells(ids, right(range(0, 60, 10)), dice=dice), **keywords),
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
    assert float(printed[0]["accuracy_wilson_low"]) == pytest.approx(expected[0])
    assert printed[2]["accuracy_wilson_low"] == ""
    found = rows[0].estimates["accuracy"]
    assert found.cells == pytest.approx(expected, abs=0.012)
    specimens = right(range(0, N, 4)).reshape(40, 5).mean(axis=1)
    reference = stats.bootstrap((specimens,), np.mean, n_resamples=9999, rng=0)
    assert found.specimens == pytest.approx(tuple(reference.confidence_interval), abs=0.004)


def test_each_method_against_the_row_below(rows):
    first, second, third, last = (row.comparison for row in rows)
    assert (first.other.name, len(first.pairs.each), first.pairs.each.specimens) == (
        "without_gm",
        N,
        40,
    )
    # Misses 0, 4, …, 196 against 0, 10, …, 50: both miss 0, 20 and 40.
    assert first.pairs.discordant == (3, 47)
    assert first.pairs.over_cells["accuracy"].estimate == pytest.approx(-44 / N)
    assert second.pairs.discordant == (0, 1)
    raw = [mcnemar([[0, a], [b, 0]], exact=True).pvalue for a, b in ((3, 47), (0, 1))]
    assert [first.pairs.p_cells, second.pairs.p_cells] == pytest.approx(raw)
    corrected = multipletests(raw, method="holm")[1]
    assert [first.p_cells_holm, second.p_cells_holm] == pytest.approx(corrected)
    assert first.p < 0.05
    assert verdict(first.p) == "more than noise (p < 0.001)"
    assert verdict(second.p) == "within noise (p = 1.000)"
    assert third == "the last row"
    assert last == "no classifier"


def test_each_method_against_the_reference():
    study = study_of(made(), "proposed")
    rows = study.table_1
    first, second, third, last = (row.comparison for row in rows)
    assert first.other.name == second.other.name == "proposed"
    assert (third, last) == ("the reference", "no classifier")
    assert [row.compared for row in rows] == [True, True, False, False]
    # Of seed 0, proposed misses 0, 10, …, 40.
    assert first.pairs.discordant == (2, 47)
    assert second.pairs.discordant == (0, 1)
    raw = [mcnemar([[0, a], [b, 0]], exact=True).pvalue for a, b in ((2, 47), (0, 1))]
    corrected = multipletests(raw, method="holm")[1]
    assert [first.p_cells_holm, second.p_cells_holm] == pytest.approx(corrected)
    text = table_1(study).to_markdown()
    assert "## Each method against `proposed`\n" in text
    assert ["resnet50", "proposed", "200", "2", "47"] in [n[:5] for n in read_markdown(text)]
    assert "{Each method against proposed.}" in table_1(study).to_latex()
    lines = read_csv(table_1(study).to_csv())
    assert [line["against"] for line in lines] == ["proposed", "proposed", "", ""]
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
    assert compared.mean_class_accuracy.estimate == pytest.approx(mean - low)
    pairs = PairedResults((one,), (other,))
    specimens = method_differences(pairs, specimens=True)["mean_class_accuracy"]
    assert compared.pairs.p_mean_class_accuracy == pairs.p_mean_class_accuracy
    assert compared.mean_class_accuracy == specimens
    lines = read_markdown(table_1(study).to_markdown())
    line = next(n for n in lines if n[:2] == ["resnet50", "without_gm"])
    assert line[8].startswith(f"{100 * (mean - low):+.2f}".replace("-", "−") + " (−")
    csv = read_csv(table_1(study).to_csv())[0]
    assert float(csv["difference_mean_class_accuracy"]) == compared.mean_class_accuracy.estimate
    assert float(csv["difference_mean_class_accuracy_high"]) == specimens.interval.high


def test_one_bad_specimen_is_noise_over_specimens():
    ids = np.arange(N)
    bad = np.arange(N) < 20
    found = [result("gao", cells(ids, ~bad, per_specimen=20))]
    found.append(result("vgg16", cells(ids, ids >= 0, per_specimen=20)))
    compared = table_1_rows(group_methods(found))[0].comparison
    assert compared.p_cells_holm < 1e-4
    assert compared.p_specimens_holm == 1.0
    assert verdict(compared.p) == "within noise (p = 1.000)"
    found = [
        one._replace(cells=cells(ids, named, known=False))
        for one, named in zip(found, (~bad, ids >= 0), strict=True)
    ]
    compared = table_1_rows(group_methods(found))[0].comparison
    assert compared.pairs.p_specimens is compared.pairs.over_specimens.get("accuracy") is None
    assert compared.p < 0.05


def test_differences_against_scipy():
    rng = np.random.default_rng(0)
    one, other = rng.random(N) < 0.9, rng.random(N) < 0.8
    first, second = (cells(np.arange(N), r, dice=r * 0.5) for r in (one, other))
    found = method_differences(PairedResults((first,), (second,)), specimens=False)
    gap = one.astype(float) - other
    reference = stats.bootstrap((gap,), np.mean, n_resamples=9999, rng=0).confidence_interval
    assert found["accuracy"].estimate == pytest.approx(gap.mean())
    assert found["accuracy"].interval == pytest.approx(tuple(reference), abs=0.008)
    assert found["dice"].estimate == pytest.approx(gap.mean() / 2)
    bare = cells(np.arange(N), other)
    assert "dice" not in method_differences(PairedResults((first,), (bare,)), specimens=False)


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
    assert compared.pairs.over_cells["accuracy"].estimate == pytest.approx(gap)
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
    assert rows[0].estimates["accuracy"].cells is rows[0].estimates["accuracy"].interval is None
    assert rows[0].comparison.pairs.over_cells["accuracy"].interval is None
    assert rows[0].comparison.p == 1.0
    lines = read_markdown(table_1(study).to_markdown())
    assert ["gao", "200 cells", "40", "–", "–", "–"] in lines
    compared = next(line for line in lines if line[:2] == ["gao", "vgg16"])
    assert compared[5:9] == ["+0.00", "–", "–", "+0.00 (–; p = 1.000)"]
    assert read_csv(table_1(study).to_csv())[0]["difference_cells_low"] == ""
    one = make_estimates([cells(np.arange(N), right(range(40)), per_specimen=N)])["accuracy"]
    assert one.specimens is one.interval is None
    assert one.cells is not None


def test_seeds_on_the_same_cells_do_not_narrow_the_interval():
    one = cells(np.arange(N), right(range(0, N, 10)))
    once, thrice = (make_estimates([one] * n)["accuracy"] for n in (1, 3))
    assert once.cells == pytest.approx(thrice.cells)
    assert thrice.sd == 0


def test_csv_holds_full_values_and_paths(study, rows):
    found = read_csv(table_1(study).to_csv())
    proposed = found[2]
    assert float(proposed["accuracy"]) == rows[2].estimates["accuracy"].mean
    assert float(proposed["dice_sd"]) == rows[2].estimates["dice"].sd
    assert proposed["accuracy_paper"] == "0.9816"
    assert proposed["accuracy_wilson_low"] == ""
    assert proposed["run_paths"].split(";") == ["runs/s/proposed/seed0", "runs/s/proposed/seed1"]
    assert (proposed["synthetic"], proposed["cells"], proposed["specimens"]) == (
        "false",
        "200",
        "40",
    )
    first = found[0]
    assert (first["only_here"], first["only_there"], first["paired_cells"]) == ("3", "47", "200")
    assert float(first["p_mcnemar_holm"]) == rows[0].comparison.p_cells_holm
    assert (
        float(first["difference_specimens_low"])
        == rows[0].comparison.pairs.over_specimens["accuracy"].interval[0]
    )
    assert found[3]["accuracy"] == found[3]["p_mcnemar"] == ""
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
    assert compared[2:6] == ["200", "3", "47", "−22.00"]
    assert compared[-1] == "more than noise (p < 0.001)"
    assert "- `proposed`: `runs/s/proposed/seed0`, `runs/s/proposed/seed1`" in text
    assert "means over seeds" in text
    assert "synthetic" not in text.lower()
    widths = [line.count(" | ") for line in text.splitlines() if line.startswith("|")]
    assert set(widths) == {7, 5, 10}


def test_latex_is_balanced_and_escaped(study):
    text = table_1(study).to_latex()
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 3
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
        r"(?<![\\$pm])\$(?!\\pm)", stripped.replace(r"$\pm$", "").replace("$-$", "")
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
