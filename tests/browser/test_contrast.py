"""WCAG 2.2, 1.4.3: text stands out from its background by 4.5 to 1."""

import pytest

pytestmark = pytest.mark.browser

# One of each look: the text's colour, and the colours of all boxes behind it from the inside out.
LOOKS = """() => {
    const looks = new Map()
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (walker.nextNode()) {
        const text = walker.currentNode.textContent.trim()
        const parent = walker.currentNode.parentElement
        if (!text || !parent.checkVisibility()) continue
        const style = getComputedStyle(parent)
        const behind = []
        for (let one = parent; one; one = one.parentElement)
            behind.push(getComputedStyle(one).backgroundColor)
        looks.set([style.color, ...behind].join(), [text.slice(0, 40), style.color, behind])
    }
    return [...looks.values()]
}"""


def channels(color):
    """Red, green and blue in 0..1, and opacity, of a computed CSS colour."""
    numbers = [float(part) for part in color[color.index("(") + 1 : -1].split(",")]
    return [value / 255 for value in numbers[:3]], numbers[3] if len(numbers) > 3 else 1.0


def luminance(rgb):
    """Relative luminance after WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(text, behind):
    light, dark = sorted((luminance(text), luminance(behind)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_formula_gives_the_standards_own_numbers():
    assert contrast([0, 0, 0], [1, 1, 1]) == pytest.approx(21)
    # The lightest grey that passes on white.
    assert contrast([0x76 / 255] * 3, [1, 1, 1]) == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("name", ["one", "study"])
@pytest.mark.parametrize("place", ["", "#run-1-metric-1"])
def test_text_is_readable(opened, name, place):
    with opened(name, 1280) as page:
        page.evaluate(f"() => {{ location.hash = '{place}' }}")
        page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true })")
        looks = page.evaluate(LOOKS)
        assert len(looks) >= 5
        for text, color, behind in looks:
            rgb, opacity = channels(color)
            assert opacity == 1
            opaque = next(c for c, alpha in map(channels, behind) if alpha == 1)
            assert contrast(rgb, opaque) >= 4.5, text
