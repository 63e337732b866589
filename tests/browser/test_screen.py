"""The report on a desk and on a telephone."""

import re
from itertools import pairwise

import pytest

from tests.browser.conftest import ATTACK, METHODS

pytestmark = pytest.mark.browser

NAMES = ("one", "several", "segmentation", "hostile", "hostile among others", "study", "splits")
everywhere = pytest.mark.parametrize("name", NAMES)
at_both_widths = pytest.mark.parametrize("width", [1280, 390])

OPEN_ALL = "() => document.querySelectorAll('details').forEach(one => { one.open = true })"

STICKING_OUT = """() => [...document.querySelectorAll('body *')]
    .map(one => [one.tagName, one.textContent.slice(0, 40), one.getBoundingClientRect()])
    .filter(([tag, text, box]) => box.width > 0 && box.height > 1
        && (box.right > innerWidth + 1 || box.left < -1))
    .map(([tag, text, box]) => `${tag} ${text} ${box.left}-${box.right}`)"""

# Text wider than its own box, though the box stays in the page; narrow screens hide table heads.
OVERFLOWING = """() => [...document.querySelectorAll('th, td, dt, dd, p, li, figcaption, pre')]
    .filter(one => getComputedStyle(one.closest('thead') ?? one).position !== 'absolute')
    .filter(one => one.clientWidth && one.scrollWidth > one.clientWidth + 1)
    .map(one => `${one.tagName} ${one.textContent.slice(0, 60)}`)"""


@everywhere
@at_both_widths
def test_nothing_sticks_out_is_said_or_asked_for(opened, name, width):
    with opened(name, width) as page:
        for _ in ("folded", "unfolded"):
            wide = page.evaluate("() => [document.scrollingElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1] == width
            assert page.evaluate(STICKING_OUT) == []
            assert page.evaluate(OVERFLOWING) == []
            page.evaluate(OPEN_ALL)


@everywhere
def test_every_picture_is_there_and_has_words(opened, name):
    with opened(name, 1280) as page:
        page.evaluate(OPEN_ALL)
        pictures = page.evaluate(
            "() => Promise.all([...document.images].map(async one => {"
            " await one.decode(); return [one.alt, one.naturalWidth, one.width, one.height] }))"
        )
        assert pictures
        for words, natural, width, height in pictures:
            assert len(words.strip()) > 20
            assert natural > 0
            assert min(width, height) > 20


@everywhere
def test_links_ids_headings_and_tables_are_sound(opened, name):
    with opened(name, 1280) as page:
        ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids))
        links = page.evaluate("() => [...document.links].map(one => one.getAttribute('href'))")
        assert links
        assert [link for link in links if link[0] != "#" or link[1:] not in ids] == []
        named = page.evaluate(
            "() => ['aria-labelledby', 'aria-describedby'].flatMap(name =>"
            " [...document.querySelectorAll(`[${name}]`)].map(one => one.getAttribute(name)))"
        )
        assert set(named) <= set(ids)
        levels = page.evaluate(
            "() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]"
            ".map(one => +one.tagName[1])"
        )
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        scopes = page.evaluate(
            "() => [...document.querySelectorAll('th')].map(one => one.getAttribute('scope'))"
        )
        assert set(scopes) == {"col", "row"}


def test_methods_are_shown_together_before_the_single_runs(opened):
    for name in ("study", "splits"):
        with opened(name, 1280) as page:
            read = "() => [...document.querySelectorAll('h2')].map(one => one.textContent)"
            parts = page.evaluate(read)
            assert parts.index("What was run") < parts.index("Methods side by side")
            assert parts[-1] == "Single runs"
            assert page.locator(".part img").count() >= 6
            shown = page.locator(".part img").evaluate_all("all => all.map(one => one.width)")
            assert all(width > 300 for width in shown)
    assert {"What the split changes", "Cross-validation"} < set(parts)


def test_nothing_of_the_data_is_run(opened):
    for name in ("hostile", "hostile among others"):
        with opened(name, 1280) as page:
            page.evaluate(OPEN_ALL)
            assert page.evaluate("() => document.scripts.length") == 0
            assert page.title() != "attacked"
            assert ATTACK in page.inner_text("main")


def test_a_script_would_be_refused(chromium, reports, tmp_path):
    attacked = tmp_path / "attacked.html"
    text = reports["one"].read_text(encoding="utf-8")
    attacked.write_text(text.replace("</main>", f"{ATTACK}</main>"), encoding="utf-8")
    page = chromium.new_page()
    page.goto(attacked.as_uri())
    assert page.title() != "attacked"
    page.close()


@at_both_widths
def test_what_is_folded_opens_by_keyboard(opened, width):
    with opened("study", width) as page:
        run = page.locator("details.run").nth(4)
        assert not run.evaluate("one => one.open")
        run.locator("summary").first.focus()
        page.keyboard.press("Enter")
        assert run.evaluate("one => one.open")
        page.keyboard.press("Tab")
        assert run.evaluate("one => one.contains(document.activeElement)")


def test_every_run_opens_where_it_is_linked_to(opened):
    with opened("study", 1280) as page:
        assert page.locator("details.run").count() == 21
        assert page.locator("details.run[open]").count() == 0
        for number in (1, 11, 21):
            page.locator(f"td a[href='#run-{number}']").first.click()
            section = page.locator(f"#run-{number}")
            assert section.is_visible()
            assert page.locator(f"details.run[open] #run-{number}").count() == 1
            top = section.evaluate("one => one.getBoundingClientRect().top")
            last = page.evaluate("() => scrollY + innerHeight >= document.body.scrollHeight - 1")
            assert 0 <= top < 120 or last


def test_a_study_opens_at_a_run_named_in_the_address(chromium, reports):
    page = chromium.new_page()
    page.goto(reports["study"].as_uri() + "#run-9")
    assert page.locator("#run-9").is_visible()
    page.close()


def test_a_study_holds_the_figures_of_one_run_a_method(opened):
    with opened("study", 1280) as page:
        owners = page.evaluate(
            "() => [...document.querySelectorAll('.run img')].map(one => one.closest('section').id)"
        )
        assert set(owners) == {f"run-{1 + 3 * place}" for place in range(len(METHODS))}
        page.evaluate(OPEN_ALL)
        assert re.search(
            r"The method is represented by the figures of proposed/seed0; those of this run are in "
            r"\S+figures\.",
            page.locator("#run-2").inner_text(),
        )
