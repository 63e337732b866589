"""The page of a whole study: its order, its names, what it embeds."""

import dataclasses
import re

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.reports.evidence import Cell, Evidence, HtmlRow, HtmlTable, Part
from hep2gan.reports.naming import Link, links, numbers_by_method, short_name, summary
from hep2gan.reports.page import rendered_page, write_report
from hep2gan.reports.pictures import Picture
from hep2gan.reports.runs import read_run
from hep2gan.reports.sections import illustrated
from hep2gan.reports.study import configuration

ATTACK = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return read_run(make_run(tmp_path_factory.mktemp("study") / "default" / "proposed" / "seed0"))


@pytest.fixture(scope="module")
def grid(run):
    """Three methods of two seeds, seeds apart."""
    return [
        dataclasses.replace(run, method=method, seed=seed)
        for seed in ("0", "1")
        for method in ("a", "b", "c")
    ]


def test_many_runs_are_named_in_a_word(grid):
    assert links(grid, range(1, 7)) == [Link("all runs", 0)]
    assert links(grid, [4, 1]) == [Link("a", 1)]
    assert links(grid, [1, 4, 5]) == [Link("a", 1), Link("b/seed1", 5)]
    assert links(grid, [4, 5, 6]) == [Link("all of seed 1", 0)]
    assert links(grid[:1], [1]) == [Link("a/seed0", 1)]
    assert summary(grid) == "Study default: 6 runs, 3 methods, 2 seeds"


def test_the_study_is_named_where_there_are_several(grid):
    other = dataclasses.replace(grid[0], study="beta")
    assert short_name(grid[0], grid) == "a/seed0"
    assert short_name(other, [*grid, other]) == "beta/a/seed0"
    assert numbers_by_method([grid[0], other, grid[3]]) == {"default/a": [1, 3], "beta/a": [2]}
    assert summary([grid[0], other]) == "2 studies: 2 runs, 2 methods, 1 seed"


def test_long_names_keep_both_ends(grid):
    sweep = dataclasses.replace(grid[0], method="proposed," + "loss.x=1," * 20 + "loss.beta=5")
    name = links([sweep, grid[1]], [1])[0].name
    assert len(name) == 61
    assert name.startswith("proposed,loss")
    assert name.endswith("loss.beta=5/seed0")


def test_figures_of_few_runs_are_all_embedded_and_of_many_one_a_method(grid):
    assert illustrated(grid[:4]) == {1, 2, 3, 4}
    assert illustrated(grid) == {1, 2, 3}
    every = [dataclasses.replace(grid[0], method=str(number)) for number in range(40)]
    assert illustrated(every) == set(range(1, 13))


def test_the_setting_of_most_runs_is_the_last_and_unnamed(grid):
    odd = dataclasses.replace(grid[2], config=grid[2].config | {"segment": False})
    table = configuration([*grid[:2], odd, *grid[3:]]).table
    told = [(row.head.text, *(cell.text for cell in row.cells)) for row in table.rows]
    assert told == [("segment", "off", ""), ("segment", "on", "all others")]
    assert list(table.rows[0].cells[1].runs) == [3]
    assert configuration(grid).table is None


def test_parts_stand_in_the_order_of_a_report(grid):
    picture = Picture("f", "A picture", "Caption.", "A picture in words", "data:,", 10, 10)
    rows = [HtmlRow(Cell("accuracy"), [Cell("0.9", (2,), "p 0.04"), Cell("–", (3,))], "mean")]
    evidence = [
        Evidence(Part.WORST, "Worst cells", pictures=[picture]),
        Evidence(Part.FIGURES, "Comparison", text=[ATTACK]),
        Evidence(Part.RESULTS, "Folds", table=HtmlTable("Metric", ["x", "y"], rows, ATTACK)),
        Evidence(Part.LEAKAGE, "Near twins", points=[Cell("Two look alike.", (1, 4))]),
    ]
    page = rendered_page(grid, title="Study <A>", question="Is it so?", evidence=evidence)
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", page) == [
        "Leakage between training and test", "Near twins", "What was run", "Results", "Folds",
        "Comparison", "Worst cells", "Single runs",
    ]  # fmt: skip
    assert '<h1>Study &lt;A&gt;</h1>\n<p class="question">Is it so?</p>' in page
    assert "<title>Study &lt;A&gt; – hep2gan report</title>" in page
    assert (
        '<td data-label="x"><a href="#run-2">0.9</a> <span class="interval">p 0.04</span>' in page
    )
    assert '<td data-label="y">–</td>' in page
    assert 'Two look alike. <span class="small">(<a href="#run-1">a</a>)</span>' in page
    assert ATTACK not in page
    assert page.count('<details class="run">') == 6


def test_one_run_keeps_its_page_under_a_title_of_its_own(run):
    page = rendered_page([run], title="Mine")
    assert "<h1>Mine</h1>" in page
    assert "proposed, seed 0 · Study default" in page
    assert "Single runs" not in page


@pytest.mark.parametrize("name", ["report.pdf", "folder"])
def test_an_output_that_is_no_html_file(run, tmp_path, name):
    with pytest.raises(Hep2ganError, match=r"no HTML file.*Fix: output=.*report\.html"):
        write_report([run.path], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_output_below_a_file_cannot_be_written(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Hep2ganError, match=r"cannot be written \(.*\)\. Fix: choose another"):
        write_report([run.path], tmp_path / "file" / "report.html")
