"""The report on paper."""

import re
import zlib

import pytest

from .test_screen import NAMES, OVERFLOWING, STICKING_OUT

pytestmark = pytest.mark.browser

PAPER = round((210 - 2 * 16) / 25.4 * 96)
"""Width of the text on A4 in CSS pixels."""


def contents(pdf):
    """What is drawn on each page, as PDF operators."""
    objects = dict(re.findall(rb"(?:^|\n)(\d+) 0 obj\n(.*?)\nendobj", pdf, re.DOTALL))
    pages = [body for body in objects.values() if re.search(rb"/Type /Page\b", body)]
    found = []
    for page in pages:
        stream = objects[re.search(rb"/Contents (\d+) 0 R", page)[1]]
        found.append(zlib.decompress(stream.partition(b"stream\n")[2]))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_page_has_content(opened, name):
    with opened(name, 1280) as page:
        drawn = contents(page.pdf(format="A4", prefer_css_page_size=True))
        texts = [len(re.findall(rb"\bTj\b|\bTJ\b", one)) for one in drawn]
        pictures = [len(re.findall(rb"/X\d+ Do\b", one)) for one in drawn]
    assert 2 <= len(drawn) <= 25
    assert all(text > 3 or picture for text, picture in zip(texts, pictures, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_no_table_or_figure_is_cut_off(opened, name):
    with opened(name, PAPER) as page:
        page.emulate_media(media="print")
        assert page.evaluate("() => document.scrollingElement.scrollWidth") <= PAPER
        assert page.evaluate(STICKING_OUT) == []
        assert page.evaluate(OVERFLOWING) == []
        # Rows keep their columns, as the narrow screen's do not.
        shown = (
            "() => [...document.querySelectorAll('tr')].map(one => getComputedStyle(one).display)"
        )
        assert set(page.evaluate(shown)) == {"table-row"}
