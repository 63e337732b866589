import dataclasses
import re
from itertools import product

import numpy as np
import pytest
import yaml

from hep2gan.reports import build
from hep2gan.reports.page.page import _RANGE
from tests.helpers.report_fixtures import add_stand_ins, small_png, some_rows, write_page, write_run


@pytest.fixture(scope="module")
def splits(tmp_path_factory, predictions):
    """A method under two kinds of split in two folds each: every table that a page may have."""
    known = dataclasses.replace(predictions, specimen=3 * predictions.label + 1)
    place, found = tmp_path_factory.mktemp("splits"), []
    for kind, fold in product(("random", "specimen"), (0, 1)):
        name = f"m,split={kind},split.fold={fold}"
        run = place / name / "seed0"
        write_run(run, some_rows(known, np.arange(fold, 62, 2)), f"'{name}'", leaks=False)
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        config["split"] |= {"kind": kind, "folds": 2, "fold": fold}
        (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        found.append(add_stand_ins(run))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "render_figure", lambda figure, form="png": small_png())
        return write_page(found, place / "report.html").read_text(encoding="utf-8")


def linked(page, title):
    """Of each row of a part: its words but for links to runs, and the runs it leads to."""
    part = page.partition(f">{title}</h2>")[2].partition("</section>")[0]
    found = []
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", part, re.DOTALL):
        told = re.sub(r'<span class="runs">.*?</span>', "", row)
        fields = re.findall("<t[hd][^>]*>(.*?)</t[hd]>", told)
        words = " ".join(re.sub("<[^>]*>", "", one).strip() for one in fields)
        found.append((words, [int(n) for n in re.findall("#run-([0-9]+)", row)]))
    return [(words, runs) for words, runs in found if not words.startswith(("Method", "Run "))]


def test_rows_lead_to_all_their_runs(splits):
    baselines = linked(splits, "Masks beside trivial baselines")
    assert [runs for _, runs in baselines] == [[1, 2]] * 3 + [[3, 4]] * 3
    assert baselines[3][0].startswith("m,split=specimen Dice")
    folds = linked(splits, "Cross-validation")
    assert [runs for _, runs in folds] == [[1, 2], [3, 4]] * 2
    results = dict(linked(splits, "Results"))
    (against,) = (runs for words, runs in results.items() if words.startswith("Against m,"))
    assert against == [1, 2, 3, 4]
    assert [runs for words, runs in results.items() if "2 folds" in words] == [[1, 2], [3, 4]]


def test_no_line_breaks_an_interval(splits):
    part = splits.partition(">Cross-validation</h2>")[2].partition("</section>")[0]
    assert (
        re.findall(r'<td data-label="Over cells">(?!<span class="range">[^<]*</span></td>)', part)
        == []
    )
    assert re.search(r" of [0-9]+; <span class=\"range\">[0-9.]+–[0-9.]+</span>\)</td>", part)
    means = re.findall(
        r'<td data-label="F1">([^<]*<span class="range">[^<]* ± [^<]*</span>)</td>', part
    )
    assert len(means) == 2
    assert _RANGE.split("more than noise (p < 0.001)")[1] == "p < 0.001"
    assert ".range { white-space: nowrap; }" in splits


def test_each_of_two_splits_leads_to_the_runs_under_it(splits):
    *protocols, gap = linked(splits, "What the split changes")
    assert [runs for _, runs in protocols] == [[1, 2], [3, 4]]
    assert gap[0].startswith("m random specimen")
    assert gap[1] == [1, 2, 3, 4]
    second = re.search('<td data-label="less split">(.*?)</td>', splits)[1]
    assert re.findall("run-([0-9])", second) == ["3", "4"]


def test_classes_are_folded_below_the_hardest_of_them(splits, predictions):
    part = splits.partition(">Class by class</h2>")[2].partition("</section>")[0]
    assert "<details><summary>6 classes by 2 methods</summary>" in part
    own = linked(splits, "Class by class")
    assert [runs for _, runs in own] == [[1, 2], [3, 4]] * 6
    right = predictions.predicted == predictions.label
    recalls = [right[predictions.label == label].mean() for label in range(6)]
    name = predictions.classes[int(np.argmin(recalls))]
    assert (
        f"<p>On these cells {name} has the lowest recall: {100 * min(recalls):.2f} %.</p>" in part
    )
