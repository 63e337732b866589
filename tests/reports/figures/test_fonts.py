"""Names in any script: shown by the installed font that has them, or said to be missing, once."""

import logging
import warnings

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from hep2gan.reports.figures import fonts
from hep2gan.reports.figures.catalogue import render_figure
from hep2gan.reports.figures.style import fit_text, new_figure

HAN = "均质斑点"


def make_font(path, family, characters):
    """A font in which every character is a full square."""
    names = {ord(c): f"u{ord(c):04X}" for c in characters}
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", *names.values()])
    font.setupCharacterMap(names)
    font.setupGlyf({name: pen.glyph() for name in (".notdef", *names.values())})
    font.setupHorizontalMetrics(dict.fromkeys((".notdef", *names.values()), (1000, 100)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": family, "styleName": "Regular", "psName": family})
    font.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    font.setupPost()
    font.save(path)
    return path


def forget():
    for cached in (fonts._family_with, fonts._say_missing, fonts._characters):
        cached.cache_clear()


@pytest.fixture
def installed(monkeypatch):
    """Fonts of this machine, reduced to matplotlib's own; a function adds one."""
    own = [e for e in fontManager.ttflist if e.name == fonts.OWN or "Last" in e.name]
    monkeypatch.setattr(fontManager, "ttflist", own)
    forget()
    yield lambda path: (fontManager.addfont(path), forget())
    forget()


def test_a_name_gets_the_fonts_that_it_needs(installed, tmp_path, caplog):
    installed(make_font(tmp_path / "han.ttf", "TestHan", HAN))
    installed(make_font(tmp_path / "thai.ttf", "TestThai", "นิวเคลียส"))
    assert fonts.families_of("Homogeneous α, ядро, é, $\\mu$\nline") == [fonts.OWN]
    assert fonts.families_of(f"1 {HAN}") == [fonts.OWN, "TestHan"]
    assert set(fonts.families_of(f"{HAN} นิวเคลียส")) == {fonts.OWN, "TestHan", "TestThai"}
    assert caplog.text == ""


def test_a_script_without_a_font_is_said_once_and_plotted_all_the_same(installed, caplog):
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for _ in range(2):
            assert fonts.families_of("均质") == [fonts.OWN]
            assert fonts.families_of("斑点 é") == [fonts.OWN]
        assert fonts.families_of("नाभिक") == [fonts.OWN]
        figure = new_figure(2, 1)
        figure.subplots().set_title("均质")
        assert render_figure(figure).startswith(b"\x89PNG")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "No installed font has the CJK characters" in said[0]
    assert "Fix: install a font" in said[0]
    assert "DEVANAGARI" in said[1]


def test_every_text_of_a_figure_is_looked_at(installed, tmp_path):
    installed(make_font(tmp_path / "han.ttf", "TestHan", HAN))
    figure = new_figure(3, 2)
    ax = figure.subplots()
    ax.set_title("斑 plain")
    ax.set_xticks([0, 1], ["均质", "b"])
    ax.plot([0, 1], label="点")
    ax.legend()
    assert b"TestHan" in render_figure(figure, "pdf")
    shown = {t.get_text(): t.get_fontfamily() for t in figure.findobj(Text) if t.get_text()}
    for name in ("斑 plain", "均质", "点"):
        assert shown[name] == [fonts.OWN, "TestHan"]
    assert shown["0.50"] == ["sans-serif"]


def test_a_font_that_no_longer_lies_there_is_passed_over(installed, tmp_path):
    gone, there = (make_font(tmp_path / f"{n}.ttf", n, HAN) for n in ("AGone", "Here"))
    installed(gone)
    installed(there)
    gone.unlink()
    fonts._characters_of.cache_clear()
    assert fonts.families_of(HAN) == [fonts.OWN, "Here"]


def test_names_are_cut_to_the_width_that_their_font_takes(installed, tmp_path):
    installed(make_font(tmp_path / "han.ttf", "TestHan", HAN))
    # A square of 7 points: five and an ellipsis are more than half an inch, four are less.
    assert fit_text(HAN * 4, 0.5, 7) == "均质斑点…"
    assert fit_text(HAN, 0.5, 7) == HAN
