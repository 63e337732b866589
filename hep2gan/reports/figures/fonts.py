"""Fonts for names in any script: installed ones, for the characters that matplotlib's own lacks."""

import logging
import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager, get_font
from matplotlib.text import Text

log = logging.getLogger(__name__)

OWN = "DejaVu Sans"
"""The font that matplotlib brings along: Latin, Greek, Cyrillic, Arabic, Hebrew and more."""

# Said once, by `families_of`, in place of once a glyph and rendering.
warnings.filterwarnings("ignore", message="Glyph .* missing from font")


def families_of(text: str) -> list[str]:
    """Name the fonts that show a text together, the usual one first.

    Says once where no installed font has a character; a box stands in its place.

    Args:
        text: The text.
    """
    foreign = [c for c in sorted(set(text) - _characters(OWN)) if c.isprintable()]
    families = {c: _family_with(c) for c in foreign}
    for character, family in families.items():
        if family is None:
            _say_missing(unicodedata.name(character, "other").split()[0])
    return list(dict.fromkeys([OWN, *filter(None, families.values())]))


@cache
def _say_missing(script: str) -> None:
    log.warning(
        "No installed font has the %s characters of some names: figures show boxes in their place."
        " Fix: install a font of that script, such as one of Noto's, and plot again.",
        script,
    )


def use_fonts(figure: Figure) -> None:
    """Give texts of a figure the fonts that they need; texts that need none stay as they are.

    Args:
        figure: The figure, before it is drawn.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if len(families := families_of(text.get_text())) > 1:
            text.set_fontfamily(families)
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        names = "".join(label.get_text() for label in axis.get_ticklabels())
        if len(families := families_of(names)) > 1:
            axis.set_tick_params(labelfontfamily=families)


@cache
def _family_with(character: str) -> str | None:
    fonts = _by_plainness(tuple(fontManager.ttflist))
    return next((e.name for e in fonts if character in _characters_of(e.fname)), None)


@cache
def _by_plainness(entries: tuple[FontEntry, ...]) -> Sequence[FontEntry]:
    """Upright fonts of ordinary weight first; none whose glyphs are mere boxes."""
    real = [entry for entry in entries if "lastresort" not in entry.name.replace(" ", "").lower()]
    return sorted(real, key=lambda e: (e.style != "normal", str(e.weight) != "400", e.name))


@cache
def _characters(family: str) -> frozenset[str]:
    return frozenset().union(
        *(_characters_of(e.fname) for e in fontManager.ttflist if e.name == family)
    )


@cache
def _characters_of(file: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, get_font(file).get_charmap()))
    except (OSError, RuntimeError, ValueError):  # Not of a kind that matplotlib draws.
        return frozenset()
