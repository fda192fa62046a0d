"""Colours: every pair of text and background has enough contrast (WCAG 2, AA).

Covers: api/web/rendering.py (its style sheet, api/web/static)
"""

import re
from importlib import resources

import pytest

SHEET = (resources.files("api.web") / "static" / "1-base.css").read_text(encoding="utf-8")
TEXT, LARGE_OR_EDGE = 4.5, 3.0
PAIRS = [
    ("ink", "ground", TEXT),
    ("ink", "sheet", TEXT),
    ("ink", "sunken", TEXT),
    ("quiet", "ground", TEXT),
    ("quiet", "sheet", TEXT),
    ("link", "ground", TEXT),
    ("link", "sheet", TEXT),
    ("link", "sunken", TEXT),
    ("band-ink", "band", TEXT),
    ("band-quiet", "band", TEXT),
    ("action-ink", "action", TEXT),
    ("action-ink", "action-over", TEXT),
    ("good", "good-ground", TEXT),
    ("wait", "wait-ground", TEXT),
    ("bad", "bad-ground", TEXT),
    ("bad", "sheet", TEXT),
    ("plain", "plain-ground", TEXT),
    ("edge", "sheet", LARGE_OR_EDGE),
    ("focus", "ground", LARGE_OR_EDGE),
    ("focus", "sheet", LARGE_OR_EDGE),
    ("good", "sheet", LARGE_OR_EDGE),
]


def palettes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", SHEET, re.DOTALL)
    found = {
        name: dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for name, block in (("light", light), ("dark", dark))
    }
    return {"light": found["light"], "dark": found["light"] | found["dark"]}


def luminance(colour: str) -> float:
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground", "least"), PAIRS)
def test_text_has_enough_contrast_to_its_background(
    mode: str, ink: str, ground: str, least: float
) -> None:
    colours = palettes()[mode]
    assert contrast(colours[ink], colours[ground]) >= least
